"""Pictures that claim to be what they cannot be are refused by their headers, before any memory is taken."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from capture.picture_headers import PIXELS_MAX, jpeg_size, jpeg_trouble, png_header, png_trouble

Bytes = npt.NDArray[np.uint8]


def jpeg(width: int = 20, height: int = 14, *, before: bytes = b"") -> Bytes:
    """A true one of 20x14 that claims a size, with something in front of the claim."""
    whole = cv2.imencode(".jpg", np.zeros((14, 20, 3), np.uint8))[1].tobytes()
    at = whole.index(b"\xff\xc0")
    claim = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return np.frombuffer(whole[:at] + before + whole[at : at + 5] + claim + whole[at + 9 :], np.uint8)


def png(width: int = 20, height: int = 14, *, data_length: int | None = None) -> Bytes:
    whole = bytearray(cv2.imencode(".png", np.ones((14, 20), np.uint16))[1].tobytes())
    whole[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    if data_length is not None:
        at = whole.index(b"IDAT")
        whole[at - 4 : at] = data_length.to_bytes(4, "big")
    return np.frombuffer(bytes(whole), np.uint8)


@pytest.mark.parametrize(
    "before", [b"", b"\xff\xff", b"\0\1\2", b"\xff\x01", b"\xff\xd0", b"\0" * 9000, b"\xff\0"]
)
def test_jpeg_size_is_found_behind_whatever_decoders_step_over(before: bytes) -> None:
    assert jpeg_size(jpeg(300, 200, before=before)) == (300, 200)


def test_true_pictures_have_no_trouble() -> None:
    assert (jpeg_trouble(jpeg()), png_trouble(png())) == ("", "")
    header = png_header(png())
    assert header is not None
    assert (header.width, header.height, header.bits, header.channels) == (20, 14, 16, 1)
    black = np.zeros((3000, 4000, 3), np.uint8)  # as small as pictures of that size become
    assert jpeg_trouble(cv2.imencode(".jpg", black)[1]) == ""
    assert png_trouble(cv2.imencode(".png", black)[1]) == ""


@pytest.mark.parametrize("size", [(30_000, 30_000), (65_535, 1_000), (4_096, 4_096)])
def test_few_bytes_that_claim_many_pixels_are_refused(size: tuple[int, int]) -> None:
    for trouble in (jpeg_trouble(jpeg(*size)), png_trouble(png(*size))):
        assert "bytes cannot hold" in trouble
        assert f"{size[0]}x{size[1]}" in trouble


def test_pictures_beyond_the_largest_are_refused_even_where_they_are_whole() -> None:
    side = int(PIXELS_MAX**0.5)
    picture = np.zeros((side + 16, side), np.uint8)
    assert "up to 16 megapixels" in png_trouble(cv2.imencode(".png", picture)[1])
    assert "up to 16 megapixels" in jpeg_trouble(cv2.imencode(".jpg", picture)[1])


def test_png_chunk_that_claims_to_be_longer_than_the_file_is_refused() -> None:
    assert "does not decode" in png_trouble(png(data_length=0x7F00_00A5))


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"x" * 100])
def test_what_has_no_header_has_no_size(content: bytes) -> None:
    data = np.frombuffer(content, np.uint8)
    assert jpeg_size(data) is None
    assert "header is broken" in jpeg_trouble(data)
    assert png_header(data) is None
    assert png_trouble(data)
