"""Reads native mesh files (.nrm), whole, torn or damaged.

Promises: every segment that is whole on disk, and of whose model one copy is, comes back; `complete` and
`note` say what is missing or damaged, `lossless` whether anything is missing; nothing in a file can run code;
memory stays within a few segments; every error is one of codec.errors.
"""

from __future__ import annotations

import math
import operator
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np

from codec.errors import DamagedError, FormatError, NotOurFileError
from codec.mesh._affine_model import KIND_AFFINE, PointOrder, read_model
from codec.mesh._segment import MAX_FRAMES, Frame
from codec.mesh._segment_reader import SegmentFrames, read_head, read_segment
from codec.mesh.frame_cursor import TIME_KEY, time_ns
from codec.mesh.msgpack_arrays import MAX_OBJECT_BYTES, ObjectStream
from codec.records.layout import FILE, MESH_HEAD, MESH_MODEL, MESHES
from codec.records.reader import RecordFile

NOT_CLOSED = "the writer stopped before it could close the file"
"""The note of a file in which nothing else is wrong."""

_HELD_SEGMENTS = 2
_HELD_MODELS = 2
_TOLD = 3
_REST = {FILE: "the file record", MESH_HEAD: "the metadata", MESH_MODEL: "a mesh model"}


class NativeMeshReader:
    """The frames of a native mesh file, as often as wanted; any of them by number or by time.

    A frame is a dict as it was appended: `vertices` and `joints` in millimetres, uncertainties in metres,
    every other entry; points that were not known are NaN. `metadata` stands at the head of the file;
    `closed` is false for a file whose writer was killed, or is still writing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file. Raises NotOurFileError, FormatError or StorageError."""
        self.path = os.fspath(path)
        self._file = RecordFile(path)
        try:
            where = self._file.of_kind(MESHES)
            if self._file.info.get("content", "meshes") != "meshes":
                raise NotOurFileError(f"{self.path} is a recording of cameras, not of meshes")
            self._head = self._read_head()
        except BaseException:
            self._file.close()
            raise
        self.closed = self._file.sealed
        self._where = where
        counts = self._file.entries["raw_length"][where].astype(np.int64)
        self._counts = np.where(counts <= MAX_FRAMES, counts, 0)  # else it is none that could be read
        self._ends = np.cumsum(self._counts)
        self._held: OrderedDict[int, SegmentFrames] = OrderedDict()
        self._models: OrderedDict[int, PointOrder] = OrderedDict()
        self._broken: dict[int, str] = {}
        self._lost_records: dict[int, str] = {}
        self._spared: dict[int, str] = {}
        if not self._head:
            self._lost_records[-1] = "the metadata cannot be read"

    def _read_head(self) -> dict[str, Any]:
        for index in self._file.of_kind(MESH_HEAD):
            try:
                packed = self._file.read(int(index)).payload
                data = zlib.decompressobj().decompress(packed, MAX_OBJECT_BYTES)
                head = next(iter(ObjectStream().feed(data)), None)
            except (DamagedError, zlib.error):
                continue
            except FormatError as error:
                raise FormatError(f"{self.path}: its metadata: {error}") from error
            if isinstance(head, dict):
                return head
        if not self._file.of_kind(MESHES).size:
            raise NotOurFileError(f"{self.path} holds no meshes")
        return {}  # the frames are worth having without it

    @property
    def metadata(self) -> object:
        """What the writer was given."""
        return self._head.get("metadata")

    @property
    def quantization_mm(self) -> float | None:
        """The step of the grid."""
        value = self._head.get("quantization_mm")
        return float(value) if isinstance(value, int | float) else None

    @property
    def way(self) -> str:
        """ "small" for a file that was packed for keeping; "" for any other."""
        return str(self._head.get("way", ""))

    @property
    def has_models(self) -> bool:
        """Whether there is a model in it: its segments, or those from some time on, are affine ones."""
        entries = self._file.entries
        models = entries["kind"] == MESH_MODEL
        for name in np.unique(entries["number"][models]):
            index = int(np.flatnonzero(models & (entries["number"] == name))[0])
            try:
                if self._file.read(index).payload[:1] == bytes([KIND_AFFINE]):
                    return True
            except DamagedError:  # told by whoever reads its meshes
                continue
        return False

    @property
    def fps(self) -> float | None:
        """Frames per second, where the writer said it."""
        value = self._head.get("fps")
        return float(value) if isinstance(value, int | float) and 0.0 < value < math.inf else None

    def __len__(self) -> int:
        """How many frames there are as the segments' headers have it. Those of a segment that turns out to be
        damaged keep their numbers, and raise FormatError."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __iter__(self) -> Iterator[Frame]:
        """Every frame, oldest first; segments that are damaged are stepped over, and `note` tells it."""
        for segment in range(len(self._where)):
            try:
                frames = self._frames_of(segment)
            except FormatError:
                continue
            yield from frames
        self._check_rest()

    def __getitem__(self, number: SupportsIndex) -> Frame:
        """The frame of that number; negative ones from the end. Raises IndexError, or FormatError where its
        segment is damaged."""
        wanted = operator.index(number)
        place = wanted + len(self) if wanted < 0 else wanted
        if not 0 <= place < len(self):
            raise IndexError(f"{self.path} has {len(self)} frames, and no frame {wanted}")
        segment = int(np.searchsorted(self._ends, place, side="right"))
        return self._frames_of(segment)[place - int(self._ends[segment] - self._counts[segment])]

    def at(self, seconds: float) -> Frame:
        """The frame nearest to that many seconds after the first, by `monotonic_ns` in the frames, or else by
        `fps`. Raises FormatError where neither says it, IndexError where there are no frames."""
        if math.isnan(seconds):
            raise ValueError("at() needs a number of seconds, not NaN")
        if not len(self):
            raise IndexError(f"{self.path} has no frames")
        starts = self._file.entries["monotonic_ns"][self._where]
        # The header says when a segment begins, so that damage to the first one costs no other; 0 is none.
        first_ns = int(starts[0]) or self._first_time()
        if first_ns is None:
            if self.fps is None:
                raise FormatError(f"{self.path}: its frames have no {TIME_KEY}, and nothing says their rate")
            return self[round(min(max(seconds * self.fps, 0.0), len(self) - 1.0))]
        wanted_ns = first_ns + int(min(max(seconds * 1e9, -(2.0**61)), 2.0**61))
        wanted_ns = min(max(wanted_ns, -(2**63)), 2**63 - 1)
        segment = max(int(np.searchsorted(starts, wanted_ns, side="right")) - 1, 0)
        near, trouble = [], None
        for each in range(segment, min(segment + 2, len(starts))):
            try:
                frames = self._frames_of(each)
            except FormatError as error:
                trouble = error
                continue
            times = [time_ns(entries) for entries in frames.entries]
            near += [(abs(at_ns - wanted_ns), each, i) for i, at_ns in enumerate(times) if at_ns is not None]
        if not near:
            raise trouble or FormatError(f"{self.path}: its frames around {seconds} s have no {TIME_KEY}")
        _, place, number = min(near)
        return self._frames_of(place)[number]

    def _first_time(self) -> int | None:
        try:
            return time_ns(self._frames_of(int(np.flatnonzero(self._counts)[0])).entries[0])
        except FormatError:
            return None

    def _frames_of(self, segment: int) -> SegmentFrames:
        if segment in self._held:
            self._held.move_to_end(segment)
            return self._held[segment]
        try:
            record = self._file.read(int(self._where[segment]))
            head = read_head(record.payload)
            if head.frames != self._counts[segment]:
                raise FormatError("it does not hold the frames that the index says: damaged")
            frames = read_segment(record.payload, self._model(head.model) if head.model else None)
        except FormatError as error:
            # Numbered as this reader does, which a lost segment before it may have moved.
            last = int(self._ends[segment]) - 1
            told = f"frames {last + 1 - int(self._counts[segment])} to {last}: {self._here(error)}"
            self._broken[segment] = told
            raise type(error)(f"{self.path}: {told}") from error
        self._held[segment] = frames
        while len(self._held) > _HELD_SEGMENTS:
            self._held.popitem(last=False)
        return frames

    def _here(self, error: FormatError) -> str:
        """Without the name of this file, which whoever tells it says once."""
        return str(error).removeprefix(f"{self.path}: ")

    def _check_rest(self) -> None:
        """Records that nothing had to be read from: the file's own, and what another copy was read of."""
        for kind, name in _REST.items():
            for index in map(int, self._file.of_kind(kind)):
                try:
                    self._file.read(index)
                except DamagedError as error:
                    told = f"{name}: {self._here(error)}"
                    if self._has_other_copy(kind, index):
                        self._spared[index] = f"{told}; a copy of it was read"
                    else:
                        self._lost_records[index] = told

    def _has_other_copy(self, kind: int, index: int) -> bool:
        if kind != MESH_MODEL:
            return kind == MESH_HEAD and bool(self._head)
        try:
            self._model(int(self._file.entries["number"][index]))
        except FormatError:
            return False
        return True

    def _model(self, name: int) -> PointOrder:
        """A model by its name, from any of its copies. Raises FormatError."""
        if name in self._models:
            self._models.move_to_end(name)
            return self._models[name]
        trouble = "is not in the file"
        entries = self._file.entries
        for index in np.flatnonzero((entries["kind"] == MESH_MODEL) & (entries["number"] == name)):
            try:
                model = read_model(self._file.read(int(index)).payload)
            except FormatError as error:
                trouble = f"is damaged ({error})"
                continue
            if model.name == name:
                self._models[name] = model
                while len(self._models) > _HELD_MODELS:
                    self._models.popitem(last=False)
                return model
        raise FormatError(f"the model they were written with {trouble}")

    @property
    def complete(self) -> bool:
        """Whether everything that had been written is here, as far as has been looked.

        Opening looks at where records begin and end, a full iteration at every byte.
        """
        return not self.note

    @property
    def lossless(self) -> bool:
        """Whether all that had been written is here, although a copy of something may be damaged."""
        return not (self._file.damage or self._lost_records or self._broken)

    @property
    def note(self) -> str:
        """What is missing or damaged, and where; empty for a complete file."""
        told = [f"at byte {each.offset}: {each.length} bytes, {each.kind}" for each in self._file.damage]
        told += [self._lost_records[index] for index in sorted(self._lost_records)]
        told += [self._broken[segment] for segment in sorted(self._broken)]
        told += [self._spared[index] for index in sorted(self._spared)]
        if not self.closed and not told:
            told = [NOT_CLOSED]
        more = len(told) - _TOLD
        return "; ".join(told[:_TOLD]) + (f"; and {more} more" if more > 0 else "")

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()

    def __enter__(self) -> NativeMeshReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
