"""Writes mesh files (.xz) that stock bodycompress 0.3 opens, while they grow and after a crash.

What it promises: the file is valid from its first byte; what has been appended for `segment_s` is
compressed, written as one whole and synced, so a killed process loses at most that plus what its thread
had in hand; an exception, in the `with` block or on the disk, never takes back what is written; an
existing file is never touched.

What it does not: hold several files, or go on after the disk has refused (open another file then).
Compression runs in a thread of its own (liblzma releases the GIL); append() waits only when that is
more than two segments behind.
"""

from __future__ import annotations

import lzma
import math
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from codec.durable import AppendFile
from codec.errors import CodecError, NightrigError
from codec.mesh.bodycompress_format import HEADER_SLOT_BYTES, Header, encode_frame, header_slot
from codec.mesh.msgpack_arrays import pack

# A segment is closed early at this size, which bounds memory where frames come faster than real time.
# Presets 0 and 1 look back no more than 1 MiB, so that this costs no compression.
_SEGMENT_BYTES = 8 << 20
_SEALED_MAX = 2


@dataclass(slots=True)
class _Segment:
    frames: list[bytes] = field(default_factory=list)
    size: int = 0
    opened_s: float = 0.0


class MeshWriter:
    """One mesh file being written.

    `quantization_mm`: coordinates come back within half of it. `preset`: of xz; 1 is for live use, 5 is
    what bodycompress has by default (ten times the CPU). `segment_s`: the most that a crash may cost.

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
        preset: int = 1,
        segment_s: float = 1.0,
    ) -> None:
        """Create the file. Raises StorageError where it exists, CodecError for metadata or settings."""
        if not 0.001 <= quantization_mm <= 1000.0:
            raise CodecError(f"quantization_mm must be from 0.001 to 1000, got {quantization_mm}")
        if not (0 <= preset <= 9 and segment_s > 0.0 and math.isfinite(segment_s)):
            raise CodecError(f"preset must be 0 to 9 and segment_s positive, got {preset} and {segment_s}")
        self.path = Path(path)
        self.frames_total = 0
        self.frames_written = 0
        self.rejected_people = 0
        self._quantization_mm = quantization_mm
        self._preset = preset
        self._segment_s = segment_s
        packed_metadata = lzma.compress(pack(metadata, what="the metadata"), preset=preset)
        self._data_start = HEADER_SLOT_BYTES + len(packed_metadata)
        self._file = AppendFile(self.path)
        try:
            # The empty stream at the end makes a file without frames readable for the stock reader.
            empty = lzma.compress(b"")
            size = self._data_start + len(empty)
            self._file.append(self._header_slot(0, data_end=size), packed_metadata, empty)
            self._file.sync()
        except BaseException:
            self._file.close()
            self.path.unlink(missing_ok=True)
            raise
        self._open = _Segment()
        self._sealed: deque[_Segment] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._failure: NightrigError | None = None
        self._failure_told = False
        self._thread = threading.Thread(target=self._work, name=f"mesh {self.path.name}", daemon=True)
        self._thread.start()

    @property
    def size_bytes(self) -> int:
        """The size of the file so far."""
        return self._file.size

    @property
    def is_behind(self) -> bool:
        """True while append() may have to wait for the compressing thread."""
        return len(self._sealed) >= _SEALED_MAX

    def append(
        self,
        vertices: npt.NDArray[np.floating],
        joints: npt.NDArray[np.floating] | None = None,
        **entries: object,
    ) -> None:
        """Add one frame: vertices (people, points, 3) and joints (people, joints, 3) in millimetres.

        `entries` are stored with it: numbers, text, arrays, and lists and dicts of them;
        `vertex_uncertainties` and `joint_uncertainties` (people, points), in metres, are quantised. The
        arrays are free again when this returns. Raises CodecError for a frame that cannot be stored
        (the file stays good), and what the disk refused since the last call.
        """
        frame: dict[str, object] = {"vertices": vertices, **entries}
        if joints is not None:
            frame["joints"] = joints
        packed, rejected = encode_frame(frame, quantization_mm=self._quantization_mm)
        with self._changed:
            self._refuse_if_ended()
            if not self._open.frames:
                self._open.opened_s = time.monotonic()
            self._open.frames.append(packed)
            self._open.size += len(packed)
            self.frames_total += 1
            self.rejected_people += rejected
            if self._open.size >= _SEGMENT_BYTES or self._due_in_s() <= 0.0:
                self._changed.wait_for(lambda: len(self._sealed) < _SEALED_MAX or self._failure is not None)
                self._tell_failure()
                self._seal()
            # Wakes the thread, which closes the segment when its time has come and no frame follows.
            self._changed.notify_all()

    def flush(self) -> None:
        """Close the open segment and wait until everything appended is on the disk."""
        with self._changed:
            self._refuse_if_ended()
            self._drain()
            self._tell_failure()

    def close(self) -> None:
        """Write what is left and close the file. Safe to call twice.

        Raises what the disk refused, unless append() or flush() has told it already.
        """
        with self._changed:
            if self._closing:
                return
            self._drain()
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        try:
            if self._failure is None:
                slot = self._header_slot(self.frames_written, data_end=self._file.size, closed=True)
                self._file.write_at(0, slot)
                self._file.sync()
        finally:
            self._file.close()
        if not self._failure_told:
            self._tell_failure()

    def __enter__(self) -> MeshWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_if_ended(self) -> None:
        if self._closing:
            raise CodecError(f"{self.path} is closed and takes no more frames")
        self._tell_failure()

    def _tell_failure(self) -> None:
        if self._failure is not None:
            self._failure_told = True
            raise self._failure

    def _due_in_s(self) -> float:
        return self._open.opened_s + self._segment_s - time.monotonic()

    def _seal(self) -> None:
        if self._open.frames:
            self._sealed.append(self._open)
            self._open = _Segment()

    def _drain(self) -> None:
        self._seal()
        self._changed.notify_all()
        self._changed.wait_for(lambda: not self._sealed or self._failure is not None)

    def _work(self) -> None:
        """The thread: writes one sealed segment after the other, until closed or refused by the disk."""
        while (segment := self._next_segment()) is not None:
            failure: NightrigError | None = None
            try:
                self._write(segment)
            except NightrigError as error:
                failure = error
            except Exception as error:
                failure = CodecError(f"cannot compress frames for {self.path}: {error}")
                failure.__cause__ = error
            with self._changed:
                self._sealed.popleft()
                self._failure = failure
                self._changed.notify_all()
            if failure is not None:
                return

    def _next_segment(self) -> _Segment | None:
        with self._changed:
            while not self._sealed:
                if self._closing:
                    return None
                if not self._open.frames:
                    self._changed.wait()
                elif (due_in_s := self._due_in_s()) > 0.0:
                    self._changed.wait(due_in_s)
                else:
                    self._seal()
            return self._sealed[0]

    def _write(self, segment: _Segment) -> None:
        packed = lzma.compress(b"".join(segment.frames), preset=self._preset)
        self._file.append(packed)
        written = self.frames_written + len(segment.frames)
        # After the data, so that a crash in between leaves a header that promises too little.
        self._file.write_at(0, self._header_slot(written, data_end=self._file.size))
        self._file.sync()
        self.frames_written = written

    def _header_slot(self, length: int, *, data_end: int, closed: bool = False) -> bytes:
        return header_slot(
            Header(
                length=length,
                metadata_start=HEADER_SLOT_BYTES,
                data_start=self._data_start,
                data_end=data_end,
                closed=closed,
            )
        )
