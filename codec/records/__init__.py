"""The record file (`.nrig`): framing, checks, gaps, index, recovery. docs/FORMAT.md is its specification.

`layout` packs and unpacks single records, `writer` and `reader` own a file each, `recovery` makes a
clean file from a damaged one.
"""

from __future__ import annotations

from codec.records.layout import CODEC_F32, CODEC_JPEG, ENTRY, Header, Record
from codec.records.reader import Damage, RecordFile
from codec.records.writer import RecordWriter

__all__ = ["CODEC_F32", "CODEC_JPEG", "ENTRY", "Damage", "Header", "Record", "RecordFile", "RecordWriter"]
