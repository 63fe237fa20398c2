"""The people of a recording as an estimator wrote them: parameters bit for bit, and their meshes.

    with RecordedPeople("recordings/20250101T220000Z-demo-body") as people:
        index = people.index_of(number=17, monotonic_ns=..., device_time_s=..., clock="hardware")
        people.parameters(index).data, people.mesh(index)

Opens a session, or the SESSION-<estimator> that `nightrig estimate` wrote; never writes. Times of all results
are kept in memory (some fifty bytes each), everything else stays in the files.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.mesh_faces import Int32, faces_of
from capture.mesh_frames import is_mesh, whole_number
from capture.recording import RecordedFrame, RecordedStream, Recording
from codec.errors import ConfigError
from codec.mesh import MeshReader
from codec.records.layout import CLOCKS

_PARAMETERS: Final = "parameters"


@dataclass(frozen=True, slots=True, eq=False)
class RecordedMesh:
    """One result: (people, points, 3) float32 millimetres, of whose points the first are vertices."""

    points_mm: npt.NDArray[np.float32]
    vertices: int


class RecordedPeople:
    """The results of one estimator, in the order of time.

    estimator, kind    its name and kind        camera   whose frames they are of; "" where nobody says
    model              of the bodies, or ""     width    how many parameters a person has
    times_ns           (n,) when the frames of the results were taken, on the recording's clock
    """

    def __init__(self, path: str | Path, estimator: str = "") -> None:
        """`estimator` is its name, where the recording has several.

        Raises ConfigError where there are no people or it is not clear whose, NotOurFileError or
        StorageError.
        """
        self._recording = Recording(path)
        try:
            self._stream, self._folder, self.estimator = self._chosen(estimator)
            first = next(iter(self._stream), None)
            if first is None:
                raise ConfigError(f"{path}: nothing of {self._stream.name} can be read")
            self.model, self.width = str(first.meta.get("model", "")), int(first.data.shape[-1])
            self.kind = self._stream.camera.model
            self.camera = _pace_camera(self._recording.info, self.estimator)
            entries = np.concatenate(list(self._stream.entries()))
            order = np.argsort(entries["monotonic_ns"], kind="stable")
            self._places = order
            self.times_ns: npt.NDArray[np.int64] = entries["monotonic_ns"][order].astype(np.int64)
            self._numbers = entries["number"][order].astype(np.int64)
            self._clocks = entries["clock"][order]
            self._device_s = entries["device_time_s"][order]
            self._by_device = np.argsort(self._device_s, kind="stable")
            self._device_s = self._device_s[self._by_device]
        except BaseException:
            self.close()
            raise

    def _chosen(self, wanted: str) -> tuple[RecordedStream, Path, str]:
        """The stream of parameters, the folder it lies in and the estimator's name."""
        path, found = self._recording.path, {}
        for stream in self._recording.streams.values():
            if not (stream.is_estimate and stream.info.pixel_format == "f32" and len(stream)):
                continue
            series, _, name = stream.name.rpartition("/")
            own = [
                s for s in self._recording.segments if series in (s.path.parent.name, s.info.get("camera"))
            ]
            if name == _PARAMETERS and own:
                estimator = str(own[0].info.get("camera") or series)
                found[estimator] = (stream, own[0].path.parent, estimator)
        known = ", ".join(found)
        if not found:
            raise ConfigError(f"{path} has no people: no estimator has written parameters of bodies there")
        if wanted and wanted not in found:
            raise ConfigError(f"{path} has no people of an estimator {wanted}; there are those of {known}")
        if not wanted and len(found) > 1:
            raise ConfigError(f"{path} has people of several estimators: name one of {known}")
        return found[wanted or known]

    def __len__(self) -> int:
        return len(self.times_ns)

    @cached_property
    def _meshes(self) -> list[_MeshFile]:
        paths = [mesh for mesh in self._recording.mesh_paths if mesh.parent == self._folder]
        return [found for path in paths if (found := _MeshFile.opened(path)) is not None]

    @property
    def has_meshes(self) -> bool:
        """Whether meshes were written beside the parameters. Raises FormatError or StorageError."""
        return bool(self._meshes)

    def index_of(
        self, *, number: int, monotonic_ns: int, device_time_s: float | None, clock: str
    ) -> int | None:
        """The result for a frame; None where it has none.

        It is the frame if number and time of arrival are the same, or number and time by the device: that is
        how a recording is recognised that is played, or whose films are taken by their own times.
        """
        for index in range(*_equal(self.times_ns, monotonic_ns)):
            if self._numbers[index] == number:
                return index
        if device_time_s is None or clock not in CLOCKS:
            return None
        for index in self._by_device[slice(*_equal(self._device_s, device_time_s))].tolist():
            if self._numbers[index] == number and self._clocks[index] == CLOCKS.index(clock):
                return int(index)
        return None

    def parameters(self, index: int) -> RecordedFrame:
        """(people, 85) float32 and the meta of result `index`. Raises DamagedError or StorageError."""
        return self._stream.frame(int(self._places[index]))

    def mesh(self, index: int) -> RecordedMesh | None:
        """The mesh of result `index`; None where none was written. Raises FormatError or StorageError."""
        key = int(self.times_ns[index]), int(self._numbers[index])
        for file in self._meshes:
            found = file.find(*key) if file.first_ns <= key[0] <= file.last_ns else None
            if found is not None:
                return _mesh_of(found)
        return None

    def first_mesh(self) -> RecordedMesh:
        """Of the first mesh file: how many points there are in one. Raises FormatError or StorageError."""
        return _mesh_of(self._meshes[0].reader[0])

    def faces(self) -> Int32 | None:
        """The triangles (F, 3) of the meshes, None where nobody knows them. Raises as first_mesh()."""
        mesh = self.first_mesh()
        points = mesh.points_mm[:, : mesh.vertices]
        return faces_of(self._meshes[0].reader.metadata, points[0]) if len(points) else None

    def close(self) -> None:
        """Safe to call twice."""
        for file in self.__dict__.get("_meshes", ()):  # where they were opened
            file.reader.close()
        self._recording.close()

    def __enter__(self) -> RecordedPeople:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _MeshFile:
    """Finds a mesh by its time; that of a moment later than the last one in a few steps."""

    reader: MeshReader
    first_ns: int
    last_ns: int
    _last: int = -1

    @classmethod
    def opened(cls, path: Path) -> _MeshFile | None:
        """None where no mesh in it says when it was, or none is there."""
        reader = MeshReader(path)
        times = [_time_ns(reader[i]) for i in (0, -1)] if len(reader) and is_mesh(reader[0]) else [None, None]
        if times[0] is None or times[1] is None:
            reader.close()
            return None
        return cls(reader, times[0], times[1])

    def find(self, at_ns: int, number: int) -> dict[str, Any] | None:
        """The frame of that time and number, or None."""
        for place in range(self._first_from(at_ns), len(self.reader)):
            frame = self.reader[place]
            if _time_ns(frame) != at_ns:
                break
            if whole_number(frame.get("frame_number")) in (number, None):
                self._last = place
                return frame
        return None

    def _first_from(self, at_ns: int) -> int:
        """The first frame that was not taken before that time."""
        low, high = 0, len(self.reader)
        if self._last >= 0 and self._time(self._last) >= at_ns:
            high = self._last
        else:
            low = self._last + 1
            step = 1
            while low + step < high and self._time(low + step - 1) < at_ns:
                low, step = low + step, 2 * step
            high = min(low + step, high)
        return bisect_left(range(len(self.reader)), at_ns, low, high, key=self._time)

    def _time(self, place: int) -> int:
        return _time_ns(self.reader[place]) or 0


def _time_ns(frame: Mapping[str, Any]) -> int | None:
    return whole_number(frame.get("monotonic_ns"))


def _mesh_of(frame: Mapping[str, Any]) -> RecordedMesh:
    """Vertices and, where there are some, joints behind them; one person may have no axis of people."""
    vertices = np.asarray(frame["vertices"], np.float32)
    vertices = vertices.reshape(-1, *vertices.shape[-2:])
    joints = np.asarray(frame.get("joints", np.empty((len(vertices), 0, 3))), np.float32)
    joints = joints.reshape(len(vertices), -1, 3)
    return RecordedMesh(np.concatenate([vertices, joints], axis=1), vertices.shape[1])


def _equal(values: npt.NDArray[Any], wanted: float) -> tuple[int, int]:
    """Where that value begins and ends among sorted ones."""
    return int(np.searchsorted(values, wanted, "left")), int(np.searchsorted(values, wanted, "right"))


def _pace_camera(info: Mapping[str, Any], estimator: str) -> str:
    """Whose frames an estimator made results of, as session.json tells; "" where it does not."""
    estimate, config = info.get("estimate"), info.get("config")
    told = [estimate.get("estimator")] if isinstance(estimate, dict) else []
    everything: list[object] = []
    if isinstance(config, dict):
        estimators, cameras = config.get("estimators"), config.get("cameras")
        told += estimators if isinstance(estimators, list) else []
        everything = [each.get("name") for each in cameras or () if isinstance(each, dict)]
    for each in told:
        if isinstance(each, dict) and estimator in (each.get("name"), each.get("kind")):
            own = each.get("cameras")
            first = next(iter([*own, *everything] if isinstance(own, list) else everything), "")
            return first if isinstance(first, str) else ""
    return ""
