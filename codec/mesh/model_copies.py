"""The models of a native mesh file, each of them twice in it, far from each other.

Any copy of a model serves all of a file, so that damage in one place costs the segments there and no others.
The second copy comes once `COPY_AFTER_BYTES` lie behind the first, more than what a card erases at a time,
and at the latest when the file is closed: a file whose writer was killed may lack that of its last model.
"""

from __future__ import annotations

import time
from collections import Counter

from codec.mesh._affine_model import PointOrder
from codec.records.layout import MESH_MODEL, pack_record
from codec.records.writer import RecordWriter

COPY_AFTER_BYTES = 4 << 20


class ModelCopies:
    """Writes the models of one file. What it raises is DiskFullError or StorageError."""

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer
        self._once: dict[int, tuple[PointOrder, int]] = {}  # those that stand in it once, and where they end
        self._written: Counter[int] = Counter()

    def add(self, model: PointOrder) -> None:
        """Put a model into the file, unless it is there already."""
        if model.name not in self._written:
            self.repeat(model)

    def repeat(self, model: PointOrder) -> None:
        """Put a model into the file, whether or not it is there already."""
        copies = self._written[model.name]
        self._writer.append(
            pack_record(
                MESH_MODEL,
                model.content,
                number=model.name,
                epoch=copies,  # so that no copy is taken for another
                monotonic_ns=time.monotonic_ns(),
                raw_length=len(model.content),
            )
        )
        self._written[model.name] += 1
        if copies == 0:
            self._once[model.name] = model, self._writer.size
        else:
            self._once.pop(model.name, None)

    def write_due(self) -> None:
        """Write again what stands in the file once, and far enough back."""
        self._write_again(before=self._writer.size - COPY_AFTER_BYTES)

    def finish(self) -> None:
        """The file is about to be closed: write again whatever stands in it but once."""
        self._write_again(before=self._writer.size)

    def _write_again(self, *, before: int) -> None:
        for model, end in tuple(self._once.values()):
            if end <= before:
                self.repeat(model)
