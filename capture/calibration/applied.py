"""What a rig file knows of a camera's lens, put into what the camera says of itself."""

from __future__ import annotations

from dataclasses import replace

from capture.frames import CameraInfo, Intrinsics, StreamInfo
from codec.errors import ConfigError

_PICTURES = ("bgr8", "jpeg", "y8")
_BLOCK_PX = 16
"""Video encoders fill pictures up to whole blocks at the right and the bottom; players cut that off again."""


def with_lens(info: CameraInfo, lens: Intrinsics) -> CameraInfo:
    """`info` with `lens` for each stream of pictures whose lens the camera does not know itself, scaled to
    the pictures' size; what another rig file said of it before does not count any more.

    Raises ConfigError where the pictures have another shape than those that were calibrated.
    """
    return replace(info, streams=tuple(_with_lens(info.name, stream, lens) for stream in info.streams))


def _with_lens(camera: str, stream: StreamInfo, lens: Intrinsics) -> StreamInfo:
    is_known = stream.intrinsics is not None and not stream.intrinsics_from_rig
    if is_known or stream.pixel_format not in _PICTURES:
        return stream
    scaled = lens_at(lens, stream.width, stream.height)
    if scaled is None:
        raise ConfigError(
            f"camera {camera}: intrinsics are of {lens.width}x{lens.height} pictures, it delivers"
            f" {stream.width}x{stream.height}, another shape; take them out of the rig file and calibrate it"
            " at that size"
        )
    return replace(stream, intrinsics=scaled, intrinsics_from_rig=True)


def lens_at(lens: Intrinsics, width: int, height: int) -> Intrinsics | None:
    """`lens` for pictures of that size; None where they have another shape than those it is of.

    The middle of the first pixel is at 0, 0.
    """
    if (width, height) == (lens.width, lens.height) or min(width, height) <= 0:
        return lens
    if 0 <= lens.width - width < _BLOCK_PX and 0 <= lens.height - height < _BLOCK_PX:
        return replace(lens, width=width, height=height)
    if abs(width * lens.height - height * lens.width) > max(width, height):
        return None
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
