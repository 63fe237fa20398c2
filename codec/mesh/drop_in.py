"""`BodyCompressor` and `BodyDecompressor` as bodycompress 0.3 has them, upon our writer and reader.


    from codec.mesh import BodyCompressor, BodyDecompressor     # instead of: from bodycompress import ...

The same arguments, the same files. Where they differ, a recording is the safer for it:

- An exception inside `with` keeps what was appended; bodycompress deletes the file. forceful_close() is
  asked for by name and deletes it here as well.
- An existing file is never overwritten: StorageError.
- Frames are on the disk a second after they were appended, and a killed program leaves a file that both
  libraries open.
- A person with NaN or infinite coordinates is left out of the frame, with a warning and the place in the
  frame's `rejected_people`, and the others are kept; bodycompress raises and the frame is gone. A frame
  without an axis of people, where there are no others, is refused here as well.
- Errors are of codec.errors; those for arguments are ValueError and TypeError too.
- A file whose writer was killed is read as far as it goes, with a warning; bodycompress refuses it. Arrays of
  Python objects, which bodycompress unpickles, are refused.
"""

from __future__ import annotations

import atexit
import os
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codec.durable import make_directory, remove_file
from codec.errors import CodecError, MeshValueError, StorageError
from codec.mesh.bodycompress_frames import Frame
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.bodycompress_writer import THREADS_MAX, BodycompressWriter

_DEFAULT_LEVELS = {"xz": 5, "zstd": 3}
# Values that span fewer steps than this are probably metres.
_STEPS_FEW = 100


class BodyCompressor:
    """Writes a mesh file; see the module for what differs from bodycompress.

    `n_threads`: 0 for one a core, at most eight. `compression_level`: of xz 0 to 9, 5 where none is
    given; of zstd 1 to 22, 3 where none is given. `queue_size` is taken and has no effect: what waits
    to be compressed is bounded in bytes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        metadata: object = None,
        quantization_mm: float = 0.5,
        n_threads: int = 0,
        compression_level: int | None = None,
        compression: str = "xz",
        vertex_order: object = "auto",
        queue_size: int = 8,
    ) -> None:
        """Create the file, and its folder. Raises StorageError or MeshValueError."""
        if compression_level is None:
            compression_level = _DEFAULT_LEVELS.get(compression, 0)
        threads = n_threads if n_threads > 0 else len(os.sched_getaffinity(0))
        self.quantization_mm = quantization_mm
        self.n_threads = n_threads
        self.compression_level = compression_level
        self._rejected_told = False
        make_directory(Path(path).parent)
        try:
            self._writer = BodycompressWriter(
                path,
                metadata=metadata,
                quantization_mm=quantization_mm,
                preset=compression_level,
                compression=compression,
                vertex_order=vertex_order,
                threads=min(threads, THREADS_MAX),
            )
        except CodecError as error:
            raise MeshValueError(str(error)) from error
        _unclosed.add(self._writer)

    @property
    def length(self) -> int:
        """Frames appended so far."""
        return self._writer.frames_total

    def append(self, **kwargs: object) -> None:
        """Add one frame; see BodycompressWriter.append for what it may hold.

        Raises MeshValueError for a frame that cannot be stored (the file stays good), and what the disk
        refused since the last call.
        """
        for name in ("vertices", "joints"):
            if name in kwargs and kwargs[name] is None:
                raise MeshValueError(f"{self._writer.path}: frame {self.length}: {name} is None")
        self._warn_of_metres(kwargs)
        before = self._writer.rejected_people
        try:
            self._writer.append(**kwargs)  # type: ignore[arg-type]
        except CodecError as error:
            raise MeshValueError(str(error)) from error
        rejected = self._writer.rejected_people - before
        if rejected and not self._rejected_told:
            self._rejected_told = True
            warnings.warn(
                f"{self._writer.path}: frame {self.length - 1}: {rejected} people have values that are not "
                "finite or too large; they are left out and listed in rejected_people (told once)",
                stacklevel=2,
            )

    def close(self) -> None:
        """Write what is left and close the file. Safe to call twice. Raises what the disk refused."""
        _unclosed.discard(self._writer)
        self._writer.close()

    def forceful_close(self) -> None:
        """Throw the file away. Does nothing after close()."""
        if self._writer in _unclosed:
            _unclosed.discard(self._writer)
            try:
                self._writer.close()
            finally:
                remove_file(self._writer.path)

    def __enter__(self) -> BodyCompressor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _warn_of_metres(self, frame: dict[str, object]) -> None:
        for name in ("vertices", "joints"):
            value = frame.get(name)
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or not value.size:
                continue
            span = float(value.max()) - float(value.min())
            if 0.0 < span < _STEPS_FEW * self.quantization_mm:
                warnings.warn(
                    f"{name} spans {span:g}, of which steps of {self.quantization_mm:g} keep nearly nothing: "
                    "coordinates are millimetres; multiply metres by 1000",
                    stacklevel=3,
                )


class BodyDecompressor:
    """Reads a mesh file; see the module for what differs from bodycompress.

    Iterate over it as often as wanted: a dict for every frame. `n_threads` is taken and has no effect:
    decompression is many times faster than real time. With `decode_camera` a frame's `camera` is a
    codec.mesh.Camera, which has the attributes of deltacamera's that describe it.

    `metadata`, `version` (a tuple) and `length` say what the file does; the file is held open until
    close(), the end of a `with` block, or until nobody uses the object any more.
    """

    def __init__(self, path: str | os.PathLike[str], n_threads: int = 1, decode_camera: bool = False) -> None:
        """Open the file. Raises NotOurFileError, DamagedError, FormatError or StorageError."""
        self.path = path
        self.n_threads = n_threads
        self.decode_camera = decode_camera
        self._reader = BodycompressReader(path, decode_cameras=decode_camera)
        self._told = ""
        weakref.finalize(self, self._reader.close)
        self.metadata = self._reader.metadata
        self.version = self._reader.version
        self._tell_damage()

    @property
    def length(self) -> int:
        """How many frames there are; counted where the file does not say it."""
        return len(self)

    def __iter__(self) -> Iterator[Frame]:
        yield from self._reader
        self._tell_damage()

    def __len__(self) -> int:
        count = len(self._reader)
        self._tell_damage()
        return count

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._reader.close()

    def __enter__(self) -> BodyDecompressor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell_damage(self) -> None:
        note = self._reader.note
        if note and note != self._told:
            self._told = note
            warnings.warn(f"{self._reader.path}: {note}; every whole frame is read", stacklevel=3)


_unclosed: set[BodycompressWriter] = set()


@atexit.register
def _close_all() -> None:
    """As bodycompress does: a program that forgot close() still has all its frames."""
    for writer in list(_unclosed):
        warnings.warn(
            f"the BodyCompressor of {writer.path} was never closed; closing it", ResourceWarning, stacklevel=1
        )
        try:
            writer.close()
        except StorageError as error:  # the other files want closing too
            warnings.warn(f"{writer.path}: {error}", ResourceWarning, stacklevel=1)
