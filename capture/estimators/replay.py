"""People of an earlier recording as the results for the frames at hand, as they were written.

For a recording whose people were estimated elsewhere, `nightrig estimate` matches by frame: each frame gets
the results that it has in the other folder, parameters bit for bit. A recording that is played as a camera is
recognised, too. For live cameras, which show something else, `loop` plays the people by time instead, again
and again from the first frame on.

Options: session (a session, or what `nightrig estimate` wrote), estimator (its name, where there are more),
stream (of the camera; "" is its picture, or for people of kind truth its depth), loop (false), meshes (true),
body_model and gender (a SMPL file of the user's). Meshes are those that were written; where none were, or
with `body_model`, they are made of the parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import JOINT_COUNT, PARAMETER_COUNT
from capture.body.model import BodyModel
from capture.body.procedural import PROCEDURAL_NAME, procedural_body
from capture.estimators import InputKey
from capture.estimators._cameras import camera_named
from capture.estimators._options import checked_options
from capture.estimators.people_results import PeopleResults, people_streams, result_of
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.given_files import given_path
from capture.mesh_faces import Int32
from capture.recorded_people import RecordedPeople
from capture.specs import EstimatorSpec
from codec.errors import ConfigError, EstimatorError, FormatError, StorageError

_STREAMS: Final = ("color", "infrared1", "infrared2", "depth")
_STREAMS_OF_TRUTH: Final = ("depth", "color")
_HELD_STEPS: Final = 1.5
_HELD_NS: Final = 100_000_000
"""A result that is played by time stands for this long at least, then nobody is there."""
_DEFAULTS: Final[dict[str, object]] = {
    "session": "",
    "estimator": "",
    "stream": "",
    "loop": False,
    "meshes": True,
    "body_model": "",
    "gender": "neutral",
}


class ReplayEstimator:
    """See the module; `capture.estimators.Estimator` for the methods."""

    def __init__(self, spec: EstimatorSpec) -> None:
        """Raises EstimatorError for options it does not have."""
        self._name, self._wanted = spec.name, spec.cameras
        self._options = checked_options(spec.name, spec.options, _DEFAULTS)
        if not self._options["session"]:
            raise EstimatorError(
                f'estimator {spec.name}: people of which recording? options = {{ session = "..." }}'
            )
        self._people: RecordedPeople | None = None
        self._input: InputKey | None = None
        self._posed: PeopleResults | None = None
        self._recorded_meshes = False
        self._loop: _Loop | None = None
        self._seen = self._matched = 0

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Raises EstimatorError where there are no people, or none that can be played here."""
        self.close()
        try:
            self._people = people = RecordedPeople(
                given_path(self._options["session"]), self._options["estimator"]
            )
            has_meshes = self._options["meshes"] and people.has_meshes
        except (ConfigError, FormatError, StorageError) as error:
            raise EstimatorError(f"estimator {self._name}: {error}") from error
        self._loop = _Loop(people.times_ns) if self._options["loop"] else None
        self._seen = self._matched = 0
        camera, stream = self._pace(cameras, people)
        points, faces = 0, None
        if self._options["meshes"]:
            points, faces = self._prepare_meshes(people, is_there=has_meshes)
        self._input = (camera, stream.name)
        return people_streams(points, stream.fps, people.width, faces=faces)

    def _pace(self, cameras: Mapping[str, CameraInfo], people: RecordedPeople) -> tuple[str, StreamInfo]:
        """The camera whose frames the people are of, where it is among ours, else the first."""
        if not self._wanted:
            raise EstimatorError(f"estimator {self._name}: it looks at no camera; name one")
        name = people.camera if people.camera in self._wanted else self._wanted[0]
        info = camera_named(self._name, cameras, name)
        streams = {stream.name: stream for stream in info.streams}
        usual = _STREAMS_OF_TRUTH if people.kind == "truth" else _STREAMS
        wanted = [self._options["stream"]] if self._options["stream"] else [*usual, *streams]
        found = next((stream for stream in wanted if stream in streams), None)
        if found is None:
            raise EstimatorError(
                f"estimator {self._name}: camera {name} has no stream {wanted[0]}; it has"
                f" {', '.join(streams)}"
            )
        return name, streams[found]

    def _prepare_meshes(self, people: RecordedPeople, *, is_there: bool) -> tuple[int, Int32 | None]:
        """Decide where meshes come from; how many points are in one, and its triangles where known."""
        path: str = self._options["body_model"]
        self._recorded_meshes, self._posed = is_there and not path, None
        if self._recorded_meshes:
            return int(people.first_mesh().points_mm.shape[1]), people.faces()
        if people.width != PARAMETER_COUNT or not (path or people.model == PROCEDURAL_NAME):
            way_out = "name a body_model, or say " if people.width == PARAMETER_COUNT else "say "
            raise EstimatorError(
                f"estimator {self._name}: {self._options['session']} has no meshes, and its parameters are of"
                f" {people.model or 'an unknown model'}: {way_out}meshes = false"
            )
        body = BodyModel.load(given_path(path), self._options["gender"]) if path else procedural_body()
        self._posed = PeopleResults(body, 0.0)
        return len(body.template_vertices) + JOINT_COUNT, body.faces

    def inputs(self) -> tuple[InputKey, ...]:
        """The stream whose frames the results are for."""
        return () if self._input is None else (self._input,)

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """What was written for this frame, or what was there at this time; [] for nobody."""
        people = self._people
        if people is None or self._input is None:
            raise EstimatorError(f"estimator {self._name} is not open; call open() first")
        frame = frames[self._input]
        self._seen += 1
        index = self._loop.at(frame.monotonic_ns) if self._loop else _written_for(people, frame)
        if index is None:
            return []
        self._matched += 1
        return self._results(people, index, frame)

    def _results(self, people: RecordedPeople, index: int, frame: Frame) -> list[Frame]:
        recorded = people.parameters(index)
        meta: dict[str, Any] = recorded.meta
        results = [result_of(frame, "parameters", recorded.data, _packed(meta))]
        if self._posed is not None:
            bodies = np.asarray(recorded.data, np.float64)
            points = np.stack([self._posed.mesh_mm(each) for each in bodies])
            meta = {**meta, "vertices": points.shape[1] - JOINT_COUNT, "model": self._posed.model}
            results.insert(0, result_of(frame, "mesh", points, _packed(meta)))
        elif self._recorded_meshes and (mesh := people.mesh(index)) is not None:
            meta = {**meta, "vertices": mesh.vertices}
            results.insert(0, result_of(frame, "mesh", mesh.points_mm, _packed(meta)))
        return results

    def summary(self) -> str:
        """Told where nothing of the recording belonged to the frames."""
        if not self._seen or self._matched or self._options["loop"] or self._input is None:
            return ""
        return (
            f"{self._name}: none of {self._seen} frames of {'/'.join(self._input)} has people in"
            f" {self._options['session']}; other frames are another stream's or recording's, and live cameras"
            " want loop = true"
        )

    def close(self) -> None:
        """Close the recording. Safe to call twice."""
        if self._people is not None:
            self._people.close()
        self._people = None


class _Loop:
    """Results played by time, from the first one on, as of the first frame."""

    def __init__(self, times_ns: npt.NDArray[np.int64]) -> None:
        self._times_ns = times_ns
        step_ns = int(np.median(np.diff(times_ns))) if len(times_ns) > 1 else _HELD_NS
        self._length_ns = int(times_ns[-1] - times_ns[0]) + max(step_ns, 1)
        self._held_ns = max(_HELD_STEPS * step_ns, _HELD_NS)
        self._began_ns: int | None = None

    def at(self, now_ns: int) -> int | None:
        """The result that stands at this moment; None where nobody was there."""
        if self._began_ns is None or now_ns < self._began_ns:
            self._began_ns = now_ns
        at_ns = int(self._times_ns[0]) + (now_ns - self._began_ns) % self._length_ns
        index = int(np.searchsorted(self._times_ns, at_ns, side="right")) - 1
        return index if at_ns - int(self._times_ns[index]) <= self._held_ns else None


def _packed(meta: Mapping[str, Any]) -> bytes:
    return json.dumps(meta).encode() if meta else b""


def _written_for(people: RecordedPeople, frame: Frame) -> int | None:
    return people.index_of(
        number=frame.number,
        monotonic_ns=frame.monotonic_ns,
        device_time_s=frame.device_time_s,
        clock=frame.clock,
    )
