"""Arrays out of a .npz archive that somebody else made: numbers only, sizes known before memory is taken.

NumPy's own reader takes the memory that an array's header claims before it looks at what is there, and
unpacks whatever a few kilobytes of compressed zeros stand for.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from capture.body._files import MAX_FILE_BYTES, opened
from codec.errors import FormatError

_MAGIC: Final = b"\x93NUMPY"
# NumPy parses the header as Python; plain arrays need no more than this of it.
_HEADER: Final = re.compile(
    r"\{ *'descr': *'([^']*)', *'fortran_order': *(False|True), *'shape': *\(([0-9L, ]*)\),? *\} *\n?"
)
_TYPE: Final = re.compile(r"[<>|=][biufSU]\d{1,9}")
_MAX_HEADER_BYTES: Final = 4096
_MAX_DIRECTORY_BYTES: Final = 1 << 18  # room for thousands of arrays
_UNREADABLE: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, TypeError, LookupError, OverflowError, MemoryError, SyntaxError),
)

Array = npt.NDArray[Any]


def read_arrays(path: str | os.PathLike[str], names: Collection[str]) -> dict[str, Array]:
    """Those of the arrays `names` that the archive holds; the others are not looked at.

    Raises FormatError for a file that is damaged, no .npz, or holds something other than numbers and text
    under one of the names, and StorageError where it cannot be read.
    """
    path = Path(path)
    with opened(path) as (file, _):
        try:
            guarded = _Guarded(file)
            with zipfile.ZipFile(cast(BinaryIO, guarded)) as archive:
                guarded.most_bytes = MAX_FILE_BYTES
                wanted = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                arrays, left_bytes = {}, MAX_FILE_BYTES
                for name in wanted.keys() & set(names):
                    left_bytes -= wanted[name].file_size
                    if left_bytes < 0:
                        raise FormatError(
                            f"{path} unpacks to more than {MAX_FILE_BYTES >> 20} MB, which no model does"
                        )
                    arrays[name] = _member(archive, wanted[name], f"{path}: {name}")
                return arrays
        except _UNREADABLE as error:
            why = " ".join(str(error).split())[:200]
            raise FormatError(f"{path} is no .npz archive that can be read: {why}") from error


class _Guarded:
    """A file of which at most `most_bytes` are read at once: an archive says itself how large its directory
    is, and each of its entries becomes an object of many times its size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.most_bytes = _MAX_DIRECTORY_BYTES
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if count > self.most_bytes:
            raise zipfile.BadZipFile(f"its directory takes {count} bytes")
        return self._file.read(count)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> Array:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"{what} is compressed in a way that is not opened; use numpy.savez_compressed")
    with archive.open(member) as file:
        dtype, shape, by_columns = _header(file, what)
        size_bytes = math.prod(shape) * dtype.itemsize
        if size_bytes > member.file_size:
            raise FormatError(f"{what} claims {size_bytes} bytes where {member.file_size} are")
        data: bytes = file.read(size_bytes)
        file.read(1)  # at the end of its file an archive's checksum is compared
    if len(data) != size_bytes:
        raise FormatError(f"{what} has {len(data)} bytes where {size_bytes} are due")
    return np.ndarray(shape, dtype, buffer=data, order="F" if by_columns else "C")


def _header(file: IO[bytes], what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type, shape and whether columns come first, as the file of one array says at its start."""
    start = file.read(8)
    if start[:6] != _MAGIC or start[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise FormatError(f"{what} is no array in a version of the .npy format that is opened")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    if length > _MAX_HEADER_BYTES:
        raise FormatError(f"{what} has a header of {length} bytes, which no array of numbers has")
    header = file.read(length).decode("latin1")
    if "'|O'" in header:
        raise FormatError(
            f"{what} is an array of Python objects (a pickle, which could run any code) and is not opened; "
            "save it as numbers"
        )
    match = _HEADER.fullmatch(header)
    if match is None or not _TYPE.fullmatch(match[1]) or not np.dtype(match[1]).itemsize:
        raise FormatError(f"{what} is not an array of numbers or text: {header.strip()[:100]!r}")
    sizes = (size.strip().removesuffix("L") for size in match[3].split(","))
    return np.dtype(match[1]), tuple(int(size) for size in sizes if size), match[2] == "True"
