"""Writes mesh files that stock bodycompress 0.3 opens, while they grow and after a crash.

What it promises: the file is valid from its first byte; what has been appended for `segment_s` is
compressed, written as one whole and synced, so a killed process loses at most that plus what its threads
had in hand; an exception, in the `with` block or on the disk, never takes back what is written; an
existing file is never touched.

What it does not: hold several files, or go on after the disk has refused (open another file then).
Compression runs in threads of its own (liblzma releases the GIL); append() waits only when they are as many
segments behind as there are threads, and one more.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from codec.durable import AppendFile
from codec.errors import CodecError, FormatError
from codec.mesh.bodycompress_format import (
    SECTOR_BYTES,
    SEEK_ENTRIES,
    Header,
    SeekPoint,
    header_slot,
    usable_fps,
)
from codec.mesh.bodycompress_frames import encode_frame
from codec.mesh.header_copies import pack_copy
from codec.mesh.live_preset import LADDER, LivePreset
from codec.mesh.msgpack_arrays import pack
from codec.mesh.segment_compression import DEFAULT_LEVELS, segment_compression, wants_narrow
from codec.mesh.segment_pool import Segment, SegmentPool
from codec.mesh.segment_writer import SegmentWriter
from codec.mesh.vertex_order import vertex_order as parse_vertex_order

# A segment is closed early at this size, which bounds memory where frames come faster than real time.
# Beyond it, more to look back on saves next to nothing.
_SEGMENT_BYTES = 16 << 20
# Of the first segment, for the first guess at what a preset costs.
_SAMPLE_BYTES = 256 << 10
THREADS_MAX = 8


class BodycompressWriter(SegmentWriter):
    """One mesh file being written.

    `quantization_mm`: coordinates come back within half of it. `compression`: "xz", or "zstd" (with the
    extra of that name): cheaper, larger, and one damaged byte costs all that follows it.
    `preset`: of xz 0 to 9, 1 where none is given, 5 is what bodycompress has by default (ten times the
    CPU); of zstd 1 to 22, 3 where none is given. "auto" (xz only) is for live use: it begins with what
    a short measurement of the first segment allows and keeps compression within `cpu_budget`, a share
    of one core, by going down when it costs more or falls behind and up when there is room.
    `segment_s`: the most that a crash may cost, by the clock; `by_frame_time`: by the frames' `monotonic_ns`
    as well. `threads`: the most that compress at a time (zstd: one).
    `vertex_order`: None, "auto", "smpl", "smplx" or a permutation; None is what bodycompress 0.2 reads
    too, and "auto" makes files of SMPL and SMPL-X meshes a fifth smaller.
    `fps`: stands in the header, for readers that ask for a frame by time.

    A person with a coordinate that is not finite is left out of the frame, so that the others are kept:
    `rejected_people` counts them, and the frame lists their places under the same name.

    Appended by one thread. A frame counts as written once it and the header are synced.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        metadata: object = None,
        quantization_mm: float = 0.5,
        preset: int | Literal["auto"] | None = None,
        segment_s: float = 1.0,
        by_frame_time: bool = False,
        compression: str = "xz",
        vertex_order: object = None,
        threads: int = 2,
        cpu_budget: float = 0.5,
        fps: float | None = None,
    ) -> None:
        """Create the file. Raises StorageError where it exists, CodecError for metadata or settings."""
        if not 0.0 < quantization_mm < math.inf:
            raise CodecError(f"quantization_mm must be a positive number, got {quantization_mm}")
        if not 0.0 < segment_s < math.inf:
            raise CodecError(f"segment_s must be a positive number, got {segment_s}")
        if not 1 <= threads <= THREADS_MAX:
            raise CodecError(f"threads must be 1 to {THREADS_MAX}, got {threads}")
        if fps is not None and usable_fps(fps) is None:
            raise CodecError(f"fps must be a positive number, got {fps}")
        self._auto = _live_preset(preset, compression, cpu_budget)
        if preset is None:
            preset = DEFAULT_LEVELS.get(compression, 0)
        self._preset: int = LADDER[0] if preset == "auto" else preset
        self._compression = segment_compression(compression, self._preset)
        self._compression_name = compression
        try:
            self._order = parse_vertex_order(vertex_order)
        except FormatError as error:
            raise CodecError(str(error)) from error
        super().__init__(Path(path), segment_s=segment_s, by_frame_time=by_frame_time)
        self.rejected_people = 0
        self._quantization_mm = float(quantization_mm)
        self._fps = usable_fps(fps)
        self._seek: list[SeekPoint] = []
        self._seek_stride = 1
        self._segments_written = 0
        self._create(metadata)
        self._pool = SegmentPool(
            threads=1 if self._compression.in_order else threads,
            name=f"mesh {self.path.name}",
            compress=self._compress,
            write=self._write,
            due_s=self._due_in_s,
            tick=self._seal,
        )

    def _create(self, metadata: object) -> None:
        self._metadata = pack(metadata, what="the metadata")
        packed = self._compression.whole(self._metadata, self._preset_now)
        # Without frames it is a stream that says so, or the stock reader would not open it.
        beginning = self._compression.segment(b"", self._preset_now)
        self._slot_bytes = len(header_slot(self._header(0, data_start=0, data_end=0)))
        self._data_start = self._slot_bytes + len(packed) + self._slot_bytes
        size = self._data_start + len(beginning)
        slot = header_slot(self._header(0, self._data_start, data_end=size))
        self._file = AppendFile(self.path)
        try:
            self._file.append(slot, packed, slot, beginning)
            self._file.sync()
        except BaseException:
            self._file.discard()
            raise

    @property
    def size_bytes(self) -> int:
        """The size of the file so far."""
        return self._file.size

    @property
    def preset(self) -> int:
        """What the next segment is compressed with; it changes with "auto" alone."""
        return self._preset_now

    def append(
        self,
        vertices: npt.NDArray[np.number] | None = None,
        joints: npt.NDArray[np.number] | None = None,
        **entries: object,
    ) -> None:
        """Add one frame: vertices (people, points, 3) and joints (people, joints, 3) in millimetres.

        Whole numbers will do, and any other leading axes, as long as all arrays have the same: one
        person (points, 3), several moments (times, people, points, 3). `entries` are stored with it:
        numbers, text, arrays, and lists and dicts of them; `vertex_uncertainties` and
        `joint_uncertainties` (people, points), in metres, are quantised; `camera` is a dict as
        bodycompress has it, a codec.mesh.Camera or one of deltacamera's. The arrays are free again when
        this returns. Raises CodecError for a frame that cannot be stored (the file stays good), and what
        the disk refused since the last call.
        """
        frame = dict(entries)
        if joints is not None:
            frame = {"joints": joints, **frame}
        if vertices is not None:
            frame = {"vertices": vertices, **frame}
        narrow = wants_narrow(self._compression_name, self._preset_now)
        try:
            packed, rejected = encode_frame(
                frame, quantization_mm=self._quantization_mm, order=self._order, narrow=narrow
            )
        except CodecError as error:
            raise CodecError(f"{self.path}: frame {self.frames_total}: {error}") from error
        with self._pool.changed:
            self._refuse_if_ended()
            taken_ns = entries.get("monotonic_ns")
            if self._is_of_next(taken_ns):
                self._make_room()
            if not self._open.frames:
                self._open.opened_s = time.monotonic()
                self._open.time_ns = taken_ns if isinstance(taken_ns, int) else 0
            self._open.frames.append(packed)
            self._open.count += 1
            self._open.size += len(packed)
            self._open.numbers += len(packed) // (2 if narrow else 4)
            self.frames_total += 1
            self.rejected_people += rejected
            due_in_s = self._due_in_s()
            if self._open.size >= _SEGMENT_BYTES or (due_in_s is not None and due_in_s <= 0.0):
                self._make_room()
            # Wakes a thread, which closes the segment when its time has come and no frame follows.
            self._pool.changed.notify_all()

    def close(self) -> None:
        """Write what is left and close the file. Safe to call twice.

        Raises what the disk refused, unless append() or flush() has told it already.
        """
        if not self._end():
            return
        try:
            if self._pool.failure is None:
                self._file.append(self._compression.end())
                self._write_end()
        finally:
            self._file.close()
        self._tell_failure_once()

    def __enter__(self) -> BodycompressWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- in the threads of the pool ----------------------------------------------------------------

    @property
    def _preset_now(self) -> int:
        return self._preset if self._auto is None else self._auto.preset

    def _compress(self, segment: Segment) -> bytes:
        data = b"".join(segment.frames)
        if self._auto is None:
            return self._compression.segment(data, self._preset)
        if not self._segments_written:
            sample = data[:_SAMPLE_BYTES]
            begun_s = time.thread_time()
            self._compression.segment(sample, LADDER[0])
            cpu_s = (time.thread_time() - begun_s) * len(data) / len(sample)
            with self._pool.changed:
                self._auto.measure_first(numbers=segment.numbers, cpu_s=cpu_s, lasted_s=segment.lasted_s)
        preset = self._auto.preset
        begun_s = time.thread_time()
        packed = self._compression.segment(data, preset)
        cpu_s = time.thread_time() - begun_s
        with self._pool.changed:
            self._auto.measure(
                preset,
                numbers=segment.numbers,
                cpu_s=cpu_s,
                lasted_s=segment.lasted_s,
                behind=self._pool.waiting > 0,
            )
        return packed

    def _write(self, segment: Segment) -> None:
        assert segment.packed is not None
        offset = self._file.append(segment.packed)
        self._note_place(SeekPoint(self.frames_written, offset))
        self.frames_stored = written = self.frames_written + segment.count
        # After the data, so that a crash in between leaves a header that promises too little.
        self._write_header(written)
        self.frames_written = written

    def _note_place(self, point: SeekPoint) -> None:
        """Every n-th segment, with n doubled whenever the header has no more room."""
        if self._segments_written % self._seek_stride == 0:
            if len(self._seek) == SEEK_ENTRIES:
                self._seek = self._seek[::2]
                self._seek_stride *= 2
            if self._segments_written % self._seek_stride == 0:
                self._seek.append(point)
        self._segments_written += 1

    def _write_header(self, length: int) -> None:
        self._rewrite(self._header(length, self._data_start, data_end=self._file.size))

    def _write_end(self) -> None:
        header = self._header(self.frames_written, self._data_start, data_end=self._file.size, closed=True)
        copy = self._compression.whole(pack_copy(header, self._metadata), self._preset_now)
        try:
            self._file.append(copy)
        finally:
            self._rewrite(header)  # where there is no room for the copy it is a file without one

    def _rewrite(self, header: Header) -> None:
        slot = header_slot(header)
        start = len(slot) - SECTOR_BYTES
        self._file.write_at(start, slot[start:])
        self._file.sync()

    def _header(self, length: int, data_start: int, *, data_end: int, closed: bool = False) -> Header:
        return Header(
            length=length,
            metadata_start=self._slot_bytes if data_start else 0,
            data_start=data_start,
            data_end=data_end,
            closed=closed,
            compression=self._compression_name,
            order=self._order,
            fps=self._fps,
            seek=tuple(self._seek),
        )


def _live_preset(preset: object, compression: str, cpu_budget: float) -> LivePreset | None:
    if preset != "auto":
        return None
    if compression != "xz":
        raise CodecError('preset="auto" is for xz; zstd has presets 1 to 22')
    if not 0.0 < cpu_budget < math.inf:
        raise CodecError(f"cpu_budget must be a positive share of a core, got {cpu_budget}")
    return LivePreset(cpu_budget)
