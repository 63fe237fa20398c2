"""Turns a frame in the ring into a record ready for the file. Runs in the writer's threads.

Knows pixel formats and codecs, not files. Compressing (NumPy, LZ4, JPEG) and checksums release the GIL.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.ring import RingFrame
from codec.depth import DepthCodec, NearSettings, get_codec
from codec.depth.near import SUBPIXELS, TYPICAL_FOCAL_BASELINE_PX_M, NearCodec
from codec.errors import CodecError
from codec.records.layout import CODEC_F32, CODEC_JPEG, FRAME, pack_record
from codec.records.writer import Packed

_local = threading.local()

# What encode() takes: type and dimensions of a frame's array.
_ARRAYS = {
    "z16": (np.uint16, 2),
    "y8": (np.uint8, 2),
    "jpeg": (np.uint8, 1),
    "bgr8": (np.uint8, 3),
    "f32": (np.float32, 2),
}


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What the encoder needs to know of a stream. `near` is for the codec of that name alone."""

    pixel_format: str
    width: int
    height: int
    near: NearSettings | None = None


def stream_format(stream: Mapping[str, Any], near_bound_subpixels: float) -> StreamFormat:
    """The format of a stream, of which `stream` is a StreamInfo as a dict."""
    near = NearSettings(near_bound_subpixels, _disparity_constant(stream))
    return StreamFormat(stream["pixel_format"], stream["width"], stream["height"], near)


def _disparity_constant(stream: Mapping[str, Any]) -> float | None:
    """C of NearSettings from what the camera says of itself, or else from what is typical.

    None where that is nonsense: no frame may be lost for it.
    """
    depth_scale_m = stream.get("depth_scale_m")
    if not depth_scale_m:
        return None
    typical = TYPICAL_FOCAL_BASELINE_PX_M * stream["width"]
    constant: float = (stream.get("focal_baseline_px_m") or typical) * SUBPIXELS / depth_scale_m
    return constant if 1 <= constant <= 2**32 - 1 else None


def _codec(name: str, near: NearSettings | None = None) -> DepthCodec:
    """This thread's instance: codecs keep buffers and are not shared."""
    codecs: dict[tuple[str, NearSettings | None], DepthCodec] = _local.__dict__.setdefault("codecs", {})
    key = (name, near if name == NearCodec.name else None)
    if key not in codecs:
        codecs[key] = get_codec(name, near=near)
    return codecs[key]


def encode(frame: RingFrame, stream: StreamFormat, *, depth_codec: str, jpeg_quality: int) -> Packed:
    """The frame as a record. Raises CodecError, and nothing else, for a frame that cannot be stored."""
    _refuse_misfit(frame.data, stream.pixel_format)
    payload, codec_id = _payload(frame.data, stream, depth_codec, jpeg_quality)
    height, width = frame.data.shape[:2] if frame.data.ndim > 1 else (stream.height, stream.width)
    try:
        return pack_record(
            FRAME,
            payload,
            stream=frame.stream,
            codec=codec_id,
            clock=frame.clock,
            width=width,
            height=height,
            epoch=frame.epoch,
            number=frame.number,
            device_time_s=frame.device_time_s,
            monotonic_ns=frame.monotonic_ns,
            raw_length=frame.data.nbytes,
            meta=frame.meta,
        )
    except ValueError as error:
        raise CodecError(str(error)) from error


def _refuse_misfit(data: npt.NDArray[np.generic], pixel_format: str) -> None:
    """A source that delivers something else than it announced must not make files that lie."""
    if pixel_format not in _ARRAYS:
        raise CodecError(f"no codec for pixel format {pixel_format!r}")
    dtype, ndim = _ARRAYS[pixel_format]
    if data.dtype != dtype or data.ndim != ndim:
        raise CodecError(f"{data.dtype} of shape {data.shape} is no {pixel_format} frame")


def _payload(
    data: npt.NDArray[np.generic], stream: StreamFormat, depth_codec: str, jpeg_quality: int
) -> tuple[bytes, int]:
    pixel_format = stream.pixel_format
    if pixel_format == "z16":
        codec = _codec(depth_codec, stream.near)
        return codec.encode(data), codec.id
    if pixel_format == "y8":
        codec = _codec("lz4" if depth_codec != "raw" else "raw")
        return codec.encode(data), codec.id
    if pixel_format == "jpeg":
        return data.tobytes(), CODEC_JPEG
    if pixel_format == "bgr8":
        import cv2  # only rigs whose cameras deliver bare colour pay for it

        try:
            done, jpeg = cv2.imencode(".jpg", data, (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality))
        except cv2.error as error:
            raise CodecError(f"JPEG takes no picture of shape {data.shape} ({error.err})") from error
        if not done:
            raise CodecError(f"JPEG refused a picture of shape {data.shape}")
        return jpeg.tobytes(), CODEC_JPEG
    return data.astype("<f4", copy=False).tobytes(), CODEC_F32
