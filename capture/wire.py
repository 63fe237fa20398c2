"""Plain data to JSON and back, for the records and pipes that carry it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from capture.frames import CameraInfo, Intrinsics, StreamInfo


def camera_info_from_dict(value: dict[str, Any]) -> CameraInfo:
    """What dataclasses.asdict(CameraInfo) and JSON made of it, back again; unknown keys are passed over."""
    known = _known(CameraInfo, value)
    known["streams"] = tuple(stream_info_from_dict(stream) for stream in value["streams"])
    known["world_from_camera"] = _matrix(value.get("world_from_camera"))
    return CameraInfo(**known)


def stream_info_from_dict(value: dict[str, Any]) -> StreamInfo:
    """One stream of it; keys of newer versions are passed over."""
    known = _known(StreamInfo, value)
    if known.get("intrinsics") is not None:
        intrinsics = _known(Intrinsics, known["intrinsics"])
        intrinsics["coefficients"] = tuple(intrinsics.get("coefficients", ()))
        known["intrinsics"] = Intrinsics(**intrinsics)
    known["camera_from_stream"] = _matrix(known.get("camera_from_stream"))
    return StreamInfo(**known)


def _known(data: type, value: dict[str, Any]) -> dict[str, Any]:
    return {field.name: value[field.name] for field in fields(data) if field.name in value}


def _matrix(rows: Any) -> Any:
    return None if rows is None else tuple(tuple(row) for row in rows)
