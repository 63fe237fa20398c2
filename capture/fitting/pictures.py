"""Pictures from files, and how long the lens was that took them, as far as the file tells."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from capture.keypoints import Picture
from codec.errors import ConfigError, FormatError, StorageError

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_FILM_DIAGONAL_MM: Final = 43.2666  # of 36 mm x 24 mm, for which focal lengths are told
_FOCAL_ON_FILM: Final = 0xA405
_DETAILS: Final = 0x8769
_SHORT, _LONG = 3, 4
_MOST_ENTRIES: Final = 512


def read_picture(path: Path) -> tuple[Picture, float | None]:
    """(height, width, 3) BGR, turned as the file says, and the focal length in pixels where it tells.

    Raises StorageError where it cannot be read and FormatError for something that is no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise FormatError(f"{path} is no picture that can be read")
    on_film_mm = focal_on_film_mm(data)
    diagonal_px = float(np.hypot(*picture.shape[:2]))
    return picture, on_film_mm * diagonal_px / _FILM_DIAGONAL_MM if on_film_mm else None


def focal_on_film_mm(data: bytes) -> float | None:
    """FocalLengthIn35mmFilm of a JPEG file's EXIF data; None where there is none, or it makes no sense."""
    try:
        exif = next(_exif_segments(data), b"")
        order = {b"II": "<", b"MM": ">"}.get(exif[:2])
        if order is None:
            return None
        details = _entry(exif, order, struct.unpack_from(order + "I", exif, 4)[0], _DETAILS)
        focal = _entry(exif, order, details, _FOCAL_ON_FILM) if details else None
    except struct.error:  # it ends before it should
        return None
    return float(focal) if focal and 1 <= focal <= 5000 else None


def _exif_segments(data: bytes) -> Iterator[bytes]:
    at = 2
    if data[:2] != b"\xff\xd8":
        return
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b""):
        length = struct.unpack_from(">H", data, at + 2)[0]
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            yield data[at + 10 : at + 2 + length]
        at += 2 + length


def _entry(exif: bytes, order: str, at: int, wanted: int) -> int | None:
    """A whole number from the directory at this place."""
    count = min(struct.unpack_from(order + "H", exif, at)[0], _MOST_ENTRIES)
    for k in range(count):
        tag, kind, _ = struct.unpack_from(order + "HHI", exif, at + 2 + 12 * k)
        if tag == wanted and kind in (_SHORT, _LONG):
            form = order + ("H" if kind == _SHORT else "I")
            return int(struct.unpack_from(form, exif, at + 10 + 12 * k)[0])
    return None


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name, 2 before 10. Raises ConfigError where there are none."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error
    if not found:
        raise ConfigError(f"{folder} holds no pictures ({', '.join(SUFFIXES)})")
    return sorted(found, key=_natural)


def pictures_of_rows(pictures: Sequence[Path], rows: int) -> list[Path | None]:
    """For each row of key points its picture; None where it is missing.

    As many pictures as rows are taken in their order. Otherwise the numbers at the ends of their names
    decide: im0001.jpg is the first row unless there is a number 0. Raises ConfigError where neither can be.
    """
    if len(pictures) == rows:
        return list(pictures)
    numbers = [_number(path) for path in pictures]
    known = {number: path for number, path in zip(numbers, pictures, strict=True) if number is not None}
    if len(known) < len(pictures):
        raise ConfigError(
            f"{len(pictures)} pictures for {rows} rows of key points, and not every name ends in a number of"
            " its own: which picture belongs to which row?"
        )
    first = 0 if 0 in known else 1
    out = [known.get(first + row) for row in range(rows)]
    if strange := [path for number, path in known.items() if not first <= number < first + rows]:
        raise ConfigError(
            f"{strange[0]}: there is no row of key points for it; {rows} rows begin at number {first}"
        )
    return out


def _number(path: Path) -> int | None:
    found = re.search(r"(\d{1,9})$", path.stem)
    return int(found[1]) if found else None


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d{1,18})", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]
