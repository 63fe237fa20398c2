"""Marks that say of a file that it is ours: a line of text where no reader looks.

A file without one belongs to somebody else, and whoever writes files with marks never replaces it.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from codec.durable import write_atomically
from codec.errors import StorageError

_LOOK_BYTES: Final = 512
_PNG_HEAD_BYTES: Final = 33  # signature and the header chunk, after which a text chunk may stand


def where_marks_stand(path: Path) -> bytes | None:
    """The beginning and the end of a file; nothing of what is no file, None where nothing is there.

    Raises StorageError where a file is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(_LOOK_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOK_BYTES))
            return begin + b"\0" + file.read()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return b""
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def write_marked_picture(path: Path, picture_bgr: npt.NDArray[np.uint8], mark: str) -> None:
    """A PNG file with the mark as its text chunk "Software". Raises StorageError."""
    data = cv2.imencode(".png", picture_bgr)[1].tobytes()
    body = b"tEXtSoftware\0" + mark.encode("latin1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    write_atomically(path, data[:_PNG_HEAD_BYTES] + chunk + data[_PNG_HEAD_BYTES:])
