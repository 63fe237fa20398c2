"""What a run that was killed or interrupted has written of a segment's new file, for the next to go on with.

Owns the choice between several and the rule of which of their records may be taken over. Nothing is trusted:
a record is taken where its checksums hold and all of it but the payload is the old one's, and the pictures
are compared before the new file replaces anything, as if they had been compressed anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from capture import session
from codec import durable
from codec.depth import DepthCodec
from codec.errors import DamagedError, FormatError, StorageError
from codec.records.layout import differs_in_payload_only, unpack_header
from codec.records.reader import RecordFile


def keep_best_leftovers(segments: Iterable[Path], codec: DepthCodec) -> dict[Path, Path]:
    """The longest attempt at each segment with that codec; all others are removed. Raises StorageError."""
    best: dict[Path, session.TemporarySegment] = {}
    for left in session.list_temporary_segments(segments):
        rival = best.get(left.segment)
        if left.codec != codec.name or left.size <= (rival.size if rival else 0):
            durable.remove_file(left.path)
            continue
        if rival is not None:
            durable.remove_file(rival.path)
        best[left.segment] = left
    return {segment: left.path for segment, left in best.items()}


def leftover_bytes(segments: Iterable[Path]) -> int:
    """What they all take on the disk. Raises StorageError."""
    return sum(left.size for left in session.list_temporary_segments(segments))


class Leftover:
    """The records of an earlier attempt by their place in the file. Without one there are none."""

    def __init__(self, path: Path | None, codec: DepthCodec) -> None:
        self.path = path
        self._codec_id = codec.id
        self._file: RecordFile | None = None
        if path is not None:
            with contextlib.suppress(FormatError, StorageError):  # not even a first record reached the disk
                self._file = RecordFile(path)

    def record(self, index: int, old: bytes) -> bytes | None:
        """What became of the record `index` of the old file, whose bytes are `old`; None where that is to
        be done anew. It is `old` itself where the new payload would have been larger."""
        if self._file is None or index >= len(self._file):
            return None
        try:
            data = self._file.read_bytes(index)
        except (DamagedError, StorageError):
            return None
        if data == old:
            return data
        header = unpack_header(data)
        is_done = header is not None and header.codec == self._codec_id and differs_in_payload_only(old, data)
        return data if is_done else None

    def close(self) -> None:
        """Close the file; it stays where it is. Safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Close the file and take it away."""
        self.close()
        if self.path is not None:
            durable.remove_file(self.path)
