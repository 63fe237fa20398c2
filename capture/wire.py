"""Plain data to JSON and back, for the records and pipes that carry it."""

from __future__ import annotations

from typing import Any

from capture.frames import CameraInfo, Intrinsics, StreamInfo


def camera_info_from_dict(value: dict[str, Any]) -> CameraInfo:
    """What dataclasses.asdict(CameraInfo) and JSON made of it, back again."""
    streams = tuple(stream_info_from_dict(stream) for stream in value["streams"])
    matrix = value.get("world_from_camera")
    return CameraInfo(**{**value, "streams": streams, "world_from_camera": _matrix(matrix)})


def stream_info_from_dict(value: dict[str, Any]) -> StreamInfo:
    """One stream of it; keys of newer versions are passed over."""
    known = {key: value[key] for key in StreamInfo.__dataclass_fields__ if key in value}
    intrinsics = known.get("intrinsics")
    if intrinsics is not None:
        known["intrinsics"] = Intrinsics(
            **{**intrinsics, "coefficients": tuple(intrinsics.get("coefficients", ()))}
        )
    known["camera_from_stream"] = _matrix(known.get("camera_from_stream"))
    return StreamInfo(**known)


def _matrix(rows: Any) -> Any:
    return None if rows is None else tuple(tuple(row) for row in rows)
