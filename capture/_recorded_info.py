"""What stream records say of cameras and streams, checked: a file may say anything, and more than that
where somebody meant it to. What is believed has the types, names and sizes that the rest of the program
counts on; what a newer version adds is passed over. Knows no files.
"""

from __future__ import annotations

from typing import Any

from capture.frames import CameraInfo, Intrinsics, StreamInfo
from capture.wire import stream_info_from_dict

_SIDE_MAX = 1 << 20
_LARGEST = 1e12
_SLOWEST_FPS = 1e-6
SCALES_M = (1e-9, 1e3)
"""What a unit of depth can be, far beyond any that is."""
_TEXT_MAX = 200
_CAMERA_TEXTS = ("backend", "model", "serial", "firmware", "usb_type")


def checked_stream(described: dict[str, Any]) -> StreamInfo:
    """The stream. Raises ValueError, TypeError or KeyError for what can be none."""
    info = stream_info_from_dict(described)
    numbers: list[object] = [info.fps, info.depth_scale_m or 0.0, info.focal_baseline_px_m or 0.0]
    sides: list[object] = [info.width, info.height]
    lens = info.intrinsics
    if lens is not None:
        numbers += [lens.fx, lens.fy, lens.cx, lens.cy, *lens.coefficients]
        sides += [lens.width, lens.height]
    if not (is_folder_name(info.name) and _is_text(info.pixel_format)):
        raise ValueError("a name that is none")
    if not (
        all(map(_is_number, numbers))
        and all(map(_is_side, sides))
        and _is_rate(info.fps)
        and _is_unit(info.depth_scale_m)
    ):
        raise ValueError("a number that is none")
    if not isinstance(info.intrinsics_from_rig, bool):
        raise ValueError("a source of a lens that is none")
    if info.camera_from_stream is not None and not _is_matrix(info.camera_from_stream):
        raise ValueError("a placement that is none")
    if isinstance(lens, Intrinsics) and not _is_text(lens.model):
        raise ValueError("a lens that is none")
    if not isinstance(info.faces, str):
        raise TypeError("triangles that are none")
    return info


def checked_camera(name: str, described: object) -> CameraInfo:
    """The camera, as far as what is said of it can be believed."""
    said = described if isinstance(described, dict) else {}
    texts = {key: said[key] if _is_text(said.get(key)) else "" for key in _CAMERA_TEXTS}
    matrix, options = said.get("world_from_camera"), said.get("options")
    plain = {
        key: value
        for key, value in (options.items() if isinstance(options, dict) else ())
        if _is_text(key) and (_is_text(value) or _is_number(value) or isinstance(value, bool))
    }
    return CameraInfo(
        **texts,
        name=name,
        streams=(),
        can_wait=said.get("can_wait") is True,
        world_from_camera=tuple(map(tuple, matrix)) if matrix is not None and _is_matrix(matrix) else None,
        options=plain,
    )


def is_folder_name(value: object) -> bool:
    """Whether a name out of a file may become one of a folder or a file."""
    return _is_text(value) and value not in ("", ".", "..") and "/" not in str(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT_MAX and (value.isprintable() or not value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST  # which NaN is not


def _is_rate(fps: float) -> bool:
    """0 is one that is not known; one near it makes intervals that are no numbers."""
    return fps == 0 or fps >= _SLOWEST_FPS


def _is_unit(scale_m: float | None) -> bool:
    """Whether depth can be told in it: a distance by a scale near 0 has no end."""
    return not scale_m or SCALES_M[0] <= scale_m <= SCALES_M[1]


def _is_side(value: object) -> bool:
    return type(value) is int and 0 <= value <= _SIDE_MAX


def _is_matrix(rows: object) -> bool:
    return (
        isinstance(rows, list | tuple)
        and len(rows) == 4
        and all(isinstance(row, list | tuple) and len(row) == 4 and all(map(_is_number, row)) for row in rows)
    )
