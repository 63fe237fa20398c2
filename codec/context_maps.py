"""Context maps inside record files: what lattice-rans and near need to be read stands beside the frames.

A version that has never heard of a map finds it in the file that was written with it. Where this version has
one of the same number, its own is used: a map never changes.
"""

from __future__ import annotations

import time

from codec.depth import has_map, learn_map, newest_map
from codec.errors import CodecError, DamagedError
from codec.records.layout import MAP, pack_record
from codec.records.reader import RecordFile
from codec.records.writer import RecordWriter


def write_map(writer: RecordWriter) -> None:
    """Append the map that frames are encoded with. Raises DiskFullError or StorageError."""
    number, content = newest_map()
    writer.append(
        pack_record(MAP, content, number=number, monotonic_ns=time.monotonic_ns(), raw_length=len(content))
    )


def learn_maps(file: RecordFile) -> None:
    """Let the codecs of this process know the maps in the file that they do not have.

    One that is damaged is passed over: frames that need it then say that it is missing.
    """
    for index in file.of_kind(MAP):
        if not has_map(int(file.entries["number"][index])):
            try:
                learn_map(file.read(int(index)).payload)
            except (CodecError, DamagedError):
                continue
