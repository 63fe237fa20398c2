"""Turns a frame in the ring into a record ready for the file. Runs in the writer's threads.

Knows pixel formats and codecs, not files. Compressing (NumPy, LZ4, JPEG) and checksums release the GIL.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.ring import RingFrame
from codec.depth import DepthCodec, get_codec
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
    """What the encoder needs to know of a stream."""

    pixel_format: str
    width: int
    height: int


def _codec(name: str) -> DepthCodec:
    """This thread's instance: codecs keep buffers and are not shared."""
    codecs: dict[str, DepthCodec] = _local.__dict__.setdefault("codecs", {})
    if name not in codecs:
        codecs[name] = get_codec(name)
    return codecs[name]


def encode(frame: RingFrame, stream: StreamFormat, *, depth_codec: str, jpeg_quality: int) -> Packed:
    """The frame as a record. Raises CodecError, and nothing else, for a frame that cannot be stored."""
    _refuse_misfit(frame.data, stream.pixel_format)
    payload, codec_id = _payload(frame.data, stream.pixel_format, depth_codec, jpeg_quality)
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
    data: npt.NDArray[np.generic], pixel_format: str, depth_codec: str, jpeg_quality: int
) -> tuple[bytes, int]:
    if pixel_format == "z16":
        codec = _codec(depth_codec)
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
