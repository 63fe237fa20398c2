"""Turns a frame record of a file back into the array that was recorded: the way back of `encoding`.

Knows pixel formats and codecs, not files. Any thread may call it; decompressing releases the GIL.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.picture_headers import jpeg_size, jpeg_trouble
from codec.depth import DepthCodec, codec_by_id, declared_shape
from codec.errors import CodecError, NotOurFileError
from codec.records.layout import CODEC_F32, CODEC_JPEG, Header

Array = npt.NDArray[np.generic]

_local = threading.local()


def decode(header: Header, payload: bytes, pixel_format: str = "") -> Array:
    """The array of a frame; a JPEG as BGR. With `pixel_format` it must be of that format's type, too.

    Raises CodecError where it is not what the header declares, NotOurFileError for a codec of a newer
    version: nothing is wrong with such a frame, but this program cannot read it.
    """
    if header.codec == CODEC_JPEG:
        data = _picture(payload, header)
    elif header.codec == CODEC_F32:
        data = _numbers(payload, header)
    else:
        codec = thread_codec(header.codec)
        _refuse_misfit(declared_shape(payload), header)  # before it takes memory and time
        data = codec.decode(payload)
    _refuse_misfit(data.shape[:2], header)
    wanted = {"z16": np.uint16, "y8": np.uint8, "f32": np.float32}.get(pixel_format)
    if wanted is not None and data.dtype != wanted:
        raise CodecError(f"decodes to {data.dtype}, a {pixel_format} stream has {np.dtype(wanted)}")
    return data


def _refuse_misfit(shape: tuple[int, ...], header: Header) -> None:
    if shape != (header.height, header.width):
        raise CodecError(f"decodes to {shape}, its header says {(header.height, header.width)}")


def thread_codec(codec_id: int) -> DepthCodec:
    """This thread's instance: codecs keep buffers and are not shared. Raises NotOurFileError."""
    codecs: dict[int, DepthCodec] = _local.__dict__.setdefault("codecs", {})
    if codec_id not in codecs:
        try:
            codecs[codec_id] = codec_by_id(codec_id)
        except CodecError as error:
            raise NotOurFileError(str(error)) from error
    return codecs[codec_id]


def _picture(payload: bytes, header: Header) -> npt.NDArray[Any]:
    import cv2  # only recordings with colour pay for it

    data = np.frombuffer(payload, np.uint8)
    size = jpeg_size(data)
    if size is None:
        raise CodecError("the JPEG does not decode")
    _refuse_misfit(size[::-1], header)  # before it takes memory and time
    if trouble := jpeg_trouble(data):
        raise CodecError(f"the JPEG does not decode: {trouble}")
    # As the sensor saw it: a camera that writes an orientation into its JPEGs must not swap their sides.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise CodecError(f"the JPEG does not decode ({error.err})") from error
    if picture is None:
        raise CodecError("the JPEG does not decode")
    return np.asarray(picture)


def _numbers(payload: bytes, header: Header) -> npt.NDArray[np.float32]:
    wanted = header.height * header.width * 4
    if len(payload) != wanted:
        raise CodecError(f"has {len(payload)} bytes of numbers, its header asks for {wanted}")
    return np.frombuffer(payload, "<f4").astype(np.float32).reshape(header.height, header.width)
