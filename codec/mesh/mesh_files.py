"""Mesh files of either kind: `MeshWriter` makes what is wanted, `MeshReader` opens what it finds."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError, StorageError
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.bodycompress_writer import BodycompressWriter
from codec.mesh.native_reader import NOT_CLOSED, NativeMeshReader
from codec.mesh.native_writer import NativeMeshWriter
from codec.records.layout import LENGTH_BYTES, MAGIC

Frame = dict[str, Any]

CODECS = ("bodycompress", "native")
NATIVE_SUFFIX = ".nrm"


class MeshWriter:
    """One mesh file being written. Used by one thread.

    codec: "bodycompress", which opens everywhere, or "native", a third of its size at a hundredth of the
    work. quantization_mm: coordinates come back within half of it. metadata: stands at the head of the file.
    fps: for readers that ask for a frame by time. Other `settings` are those of BodycompressWriter
    (`preset`, `compression`, `vertex_order`, ...) or NativeMeshWriter (`way`); `segment_s`, the most that a
    crash may cost, is known to both.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        codec: str = "bodycompress",
        quantization_mm: float = 0.5,
        metadata: object = None,
        fps: float | None = None,
        **settings: Any,
    ) -> None:
        """Create the file. Raises StorageError where it exists, CodecError for metadata or settings."""
        if codec not in CODECS:
            raise CodecError(f"no mesh codec is called {codec!r}, there are {', '.join(CODECS)}")
        common: dict[str, Any] = {"quantization_mm": quantization_mm, "metadata": metadata, "fps": fps}
        self._writer: BodycompressWriter | NativeMeshWriter
        if codec == "native":
            self._writer = NativeMeshWriter(path, **common, **settings)
        else:
            self._writer = BodycompressWriter(path, **common, **settings)
        self.codec = codec

    @classmethod
    def around(cls, writer: BodycompressWriter | NativeMeshWriter) -> MeshWriter:
        """The same for a writer that was made elsewhere."""
        made = cls.__new__(cls)
        made._writer = writer
        made.codec = "native" if isinstance(writer, NativeMeshWriter) else "bodycompress"
        return made

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def size_bytes(self) -> int:
        """The size of the file so far."""
        return self._writer.size_bytes

    @property
    def frames_total(self) -> int:
        """Frames that were appended."""
        return self._writer.frames_total

    @property
    def frames_stored(self) -> int:
        """Frames that stand in the file as a whole; the disk may have refused to say that it has them."""
        return self._writer.frames_stored

    @property
    def frames_written(self) -> int:
        """Frames that are on the disk."""
        return self._writer.frames_written

    @property
    def is_behind(self) -> bool:
        """True while append() may have to wait for compressing threads."""
        return self._writer.is_behind

    @property
    def preset(self) -> int | None:
        """What the next segment is compressed with; None where there are no presets."""
        return self._writer.preset if isinstance(self._writer, BodycompressWriter) else None

    @property
    def rejected_people(self) -> int:
        """People that bodycompress' format has no room for, because a coordinate was not finite."""
        return self._writer.rejected_people if isinstance(self._writer, BodycompressWriter) else 0

    def append(
        self,
        vertices: npt.NDArray[np.number] | None = None,
        joints: npt.NDArray[np.number] | None = None,
        **entries: object,
    ) -> None:
        """Add one frame: vertices (people, points, 3) and joints (people, joints, 3) in millimetres.

        `vertex_uncertainties` and `joint_uncertainties` (people, points), in metres, are quantised too;
        other `entries` are stored as they are. Raises CodecError for a frame that cannot be stored (the
        file stays good), and what the disk refused since the last call.
        """
        self._writer.append(vertices, joints, **entries)

    def flush(self) -> None:
        """Wait until everything appended is on the disk."""
        self._writer.flush()

    def close(self, *, sealed: bool = True) -> None:
        """Write what is left and close the file. Safe to call twice. Raises what the disk refused.

        A native file that is not `sealed` reads as one whose writer was killed.
        """
        if isinstance(self._writer, NativeMeshWriter):
            self._writer.close(sealed=sealed)
        else:
            self._writer.close()

    def __enter__(self) -> MeshWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MeshReader:
    """The frames of a mesh file of any kind: bodycompress 0.1 to 0.3, or native.

    `for frame in reader`, `reader[i]`, `reader.at(seconds)`, `len(reader)`; a frame is a dict with `vertices`
    and `joints` in millimetres and everything else it was given. Other `settings` are those of
    BodycompressReader and go to it alone.
    """

    def __init__(self, path: str | os.PathLike[str], **settings: Any) -> None:
        """Open the file. Raises NotOurFileError, DamagedError, FormatError or StorageError."""
        self._reader: BodycompressReader | NativeMeshReader
        # By its name as well: the damage that an ending has survived may be at its beginning.
        if is_record_file(path) or os.fspath(path).endswith(NATIVE_SUFFIX):
            self._reader = NativeMeshReader(path)
        else:
            self._reader = BodycompressReader(path, **settings)

    @property
    def codec(self) -> str:
        """ "bodycompress" or "native"."""
        return "native" if isinstance(self._reader, NativeMeshReader) else "bodycompress"

    @property
    def path(self) -> str:
        return self._reader.path

    @property
    def metadata(self) -> object:
        """What stands at the head of the file."""
        return self._reader.metadata

    @property
    def fps(self) -> float | None:
        """Frames per second, where the file says it."""
        return self._reader.fps

    @property
    def closed(self) -> bool:
        """False for a file whose writer was killed, or is still writing."""
        return self._reader.closed

    @property
    def version(self) -> tuple[int, ...] | None:
        """Of bodycompress' format; None for native files."""
        return self._reader.version if isinstance(self._reader, BodycompressReader) else None

    @property
    def compression(self) -> str | None:
        """ "xz" or "zstd" of bodycompress' format; None for native files."""
        return self._reader.compression if isinstance(self._reader, BodycompressReader) else None

    @property
    def way(self) -> str:
        """ "small" for a native file that was packed for keeping, "" for any other."""
        return self._reader.way if isinstance(self._reader, NativeMeshReader) else ""

    @property
    def has_models(self) -> bool:
        """Whether meshes of a native file are predicted by models; False where all of it is `fast`."""
        return isinstance(self._reader, NativeMeshReader) and self._reader.has_models

    @property
    def quantizations_mm(self) -> tuple[float, ...]:
        """The steps of the frames read so far: of native files one, which its head says; of bodycompress
        files as many as their frames have, which is none before the first frame with points was read."""
        if isinstance(self._reader, NativeMeshReader):
            step_mm = self._reader.quantization_mm
            return () if step_mm is None else (step_mm,)
        return tuple(map(_inverse, self._reader.steps_per_mm))

    @property
    def complete(self) -> bool:
        """Whether everything that had been written is here, as far as has been looked."""
        return self._reader.complete

    @property
    def lossless(self) -> bool:
        """Whether all that had been written is here, as far as has been looked, although a copy of something
        may be damaged."""
        return self._reader.lossless

    @property
    def damage(self) -> str:
        """As `note`, but empty for a file that is whole up to where its writer was killed."""
        return "" if not self.closed and self.note == NOT_CLOSED else self.note

    @property
    def note(self) -> str:
        """What is missing or damaged, and where; empty for a complete file."""
        return self._reader.note

    def __len__(self) -> int:
        return len(self._reader)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._reader)

    def __getitem__(self, number: SupportsIndex) -> Frame:
        """The frame of that number; negative ones from the end. Raises IndexError and FormatError."""
        return self._reader[number]

    def at(self, seconds: float) -> Frame:
        """The frame nearest to that many seconds after the first one. Raises FormatError where nothing says
        when frames were."""
        return self._reader.at(seconds)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._reader.close()

    def __enter__(self) -> MeshReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _inverse(steps_per_mm: float) -> float:
    """The step with which a writer arrives at exactly so many of them, where there is one."""
    step_mm = 1.0 / steps_per_mm
    near = (step_mm, math.nextafter(step_mm, 0.0), math.nextafter(step_mm, math.inf))
    return next((each for each in near if 1.0 / each == steps_per_mm), step_mm)


def is_record_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like one of our record files. Raises StorageError."""
    try:
        # Not to wait for the other end of a pipe that somebody took for a file.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StorageError(f"cannot read {os.fspath(path)}: it is not a file")
            head = os.read(fd, LENGTH_BYTES + len(MAGIC))
        finally:
            os.close(fd)
    except OSError as error:
        raise StorageError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    return head[LENGTH_BYTES:] == MAGIC
