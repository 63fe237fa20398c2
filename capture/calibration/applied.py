"""What a rig file knows of a camera's lens, put into what the camera says of itself."""

from __future__ import annotations

from dataclasses import replace

from capture.frames import CameraInfo, Intrinsics, StreamInfo
from codec.errors import ConfigError

_PICTURES = ("bgr8", "jpeg", "y8")
_BLOCK_PX = 16
"""Video encoders fill pictures up to whole blocks at the right and the bottom; players cut that off again."""


def with_lens(info: CameraInfo, lens: Intrinsics) -> CameraInfo:
    """`info` with `lens` for each stream of pictures that has none of its own, fitted to the pictures' size.

    Raises ConfigError where the pictures have another shape than those that were calibrated.
    """
    streams = tuple(
        replace(stream, intrinsics=_fitted(info.name, stream, lens))
        if stream.intrinsics is None and stream.pixel_format in _PICTURES
        else stream
        for stream in info.streams
    )
    return replace(info, streams=streams)


def _fitted(camera: str, stream: StreamInfo, lens: Intrinsics) -> Intrinsics:
    """The middle of the first pixel is at 0, 0."""
    width, height = stream.width, stream.height
    if (width, height) == (lens.width, lens.height) or min(width, height) <= 0:
        return lens
    if 0 <= lens.width - width < _BLOCK_PX and 0 <= lens.height - height < _BLOCK_PX:
        return replace(lens, width=width, height=height)
    if abs(width * lens.height - height * lens.width) > max(width, height):
        raise ConfigError(
            f"camera {camera}: intrinsics are of {lens.width}x{lens.height} pictures, it delivers"
            f" {width}x{height}, another shape; calibrate it at that size"
        )
    across, down = width / lens.width, height / lens.height
    return replace(
        lens,
        width=width,
        height=height,
        fx=lens.fx * across,
        fy=lens.fy * down,
        cx=(lens.cx + 0.5) * across - 0.5,
        cy=(lens.cy + 0.5) * down - 0.5,
    )
