"""People as bodies: key points of all cameras, and depth where there is some, into meshes and parameters.

Every camera is taken when its picture comes (`by_camera`): each picture's key points are one step of the
tracking of the people they belong to. Results are made for the pictures of the first camera: everybody who
is known then, in world coordinates (with one camera of unknown place: in its own). Live, it takes a few
pictures until somebody is known; over a recording they are in those, too (`_hindsight`). See `people_results`
for what comes out; the meta of each result has who is who ("ids").

Options: keypoints (a kind of `capture.keypoints`), keypoint_options (its own), model (a SMPL file or folder;
else our own body), gender, prior (a pose prior's file), meshes (true), depth (true: that of the cameras is
used), people (the most there can be, 4), depth_maps (false; true: a depth map and a mask of the people for
each camera, see `_people_maps`). Sources that need to be told where people are look around the last meshes,
and for others beside them (`_where_to_look`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body.model import BodyModel
from capture.body.people import People, Person
from capture.body.prior import PosePrior, default_prior
from capture.body.procedural import procedural_body
from capture.body.tracker import Track, Tracker
from capture.estimators import FailedFrame, InputKey
from capture.estimators._body_camera import BodyCamera
from capture.estimators._cameras import camera_named
from capture.estimators._hindsight import HINDSIGHT_S, Hindsight, Moment
from capture.estimators._options import checked_options
from capture.estimators._people_maps import PeopleMaps
from capture.estimators._where_to_look import Gaze
from capture.estimators.people_results import MOST_PEOPLE, PeopleResults
from capture.estimators.truth import true_parameters
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.keypoints import KeypointSource, PersonKeypoints, open_source
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

Float64 = npt.NDArray[np.float64]

_FORGOTTEN_S: Final = 0.5
"""A person who was not seen for so long is in no result, though still remembered."""
_WANT_BOXES: Final = ("rtmpose", "movenet")
_DEFAULTS: Final[dict[str, object]] = {
    "keypoints": "",
    "keypoint_options": {},
    "model": "",
    "gender": "neutral",
    "prior": "",
    "meshes": True,
    "depth": True,
    "people": 4,
    "depth_maps": False,
}


class BodyEstimator:
    """See the module; `capture.estimators.Estimator` for the methods."""

    by_camera = True
    hindsight_s = HINDSIGHT_S

    def __init__(self, spec: EstimatorSpec) -> None:
        """Raises EstimatorError for options it does not have."""
        self._name, self._wanted = spec.name, spec.cameras
        self._options = _checked(spec.name, spec.options)
        self._cameras: dict[str, BodyCamera] = {}
        self._sources: dict[str, KeypointSource] = {}
        self._gazes: dict[str, Gaze] = {}
        self._seen: dict[int, Person[Track]] = {}
        self._skins: dict[int, tuple[Track, Float64]] = {}
        self._errors_mm: list[float] = []
        self._first = ""
        self._newest_s = -math.inf

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Raises EstimatorError where a camera lacks what it takes, ConfigError and MissingExtraError for the
        key point source."""
        if not self._wanted:
            raise EstimatorError(f"estimator {self._name}: it looks at no camera; name one")
        for name in self._wanted:
            info = camera_named(self._name, cameras, name)
            self._cameras[name] = BodyCamera.of(self._name, info, use_depth=self._options["depth"])
        self._refuse_unknown_places()
        self._first = self._wanted[0]
        self._model = self._load_model()
        prior = self._load_prior()
        for name in self._wanted:
            self._sources[name] = self._open_source(cameras[name])
            if self._options["keypoints"] in _WANT_BOXES:
                self._gazes[name] = Gaze(self._sources[name])

        def new_tracker() -> Tracker:
            return Tracker(self._model, prior=prior)

        self._people: People[Track] = People(self._model, new_tracker, most_people=self._options["people"])
        self._hindsight = Hindsight(new_tracker)
        fps = self._cameras[self._first].picture.fps
        self._results = PeopleResults(self._model, fps, meshes=self._options["meshes"])
        mapped = list(self._cameras.values()) if self._options["depth_maps"] else []
        self._maps = PeopleMaps(mapped, self._model, fps)
        return self._results.streams + self._maps.streams

    def _refuse_unknown_places(self) -> None:
        """Several cameras see the same people only where it is known how they stand to each other."""
        if len(self._cameras) < 2:
            return
        for camera in self._cameras.values():
            lacking = [
                word
                for word, known in (("lens", camera.knows_lens), ("place", camera.knows_place))
                if not known
            ]
            if lacking:
                raise EstimatorError(
                    f"estimator {self._name}: the {' and the '.join(lacking)} of camera {camera.name} is not"
                    " known; run `nightrig calibrate`, or give this estimator one camera"
                )

    def _open_source(self, info: CameraInfo) -> KeypointSource:
        kind, options = self._options["keypoints"], self._options["keypoint_options"]
        if kind == "truth":  # which reads the camera's frames, not its pictures
            options = {**options, "camera": info, "stream": self._cameras[info.name].picture.name}
        return open_source(kind, options)

    def _load_model(self) -> BodyModel:
        path = self._options["model"]
        return procedural_body() if not path else BodyModel.load(path, gender=self._options["gender"])

    def _load_prior(self) -> PosePrior:
        path = self._options["prior"]
        return default_prior() if not path else PosePrior.load(path)

    def inputs(self) -> tuple[InputKey, ...]:
        """Of each camera its picture, and its depth where it has some."""
        return tuple(key for camera in self._cameras.values() for key in camera.inputs)

    def optional_inputs(self) -> tuple[InputKey, ...]:
        """Depth: a camera's first pictures may come before its first depth, and have people in them, too."""
        return tuple(key for camera in self._cameras.values() for key in camera.inputs[1:])

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """Follow the people in one camera's picture; results for those of the first camera."""
        moment = self._look(frames)
        return [] if moment is None else self._tell(moment)

    def estimate_recorded(self, frames: Mapping[InputKey, Frame]) -> list[Frame | FailedFrame]:
        """The same where results may come a second late: they have people from their first picture on."""
        moment = self._look(frames)
        if moment is not None:
            self._hindsight.add(moment)
        return self._tell_late(self._hindsight.due(self._newest_s))

    def finish(self) -> list[Frame | FailedFrame]:
        """What estimate_recorded() still held."""
        return self._tell_late(self._hindsight.rest())

    def _look(self, frames: Mapping[InputKey, Frame]) -> Moment | None:
        """Follow the people in a picture; who is there, where it is one of the first camera."""
        camera = self._cameras[next(iter(frames))[0]]
        picture = frames[camera.name, camera.picture.name]
        time_s = self._newest_s = picture.monotonic_ns / 1e9
        found = self._found(camera, picture, time_s)
        depth = camera.depth_in(frames)
        people = self._people.update(time_s, {camera.name: camera.observations(found, depth)})
        for person in people:
            self._seen[person.identity] = person
            self._hindsight.look_back(person, time_s)
            self._hindsight.tell(person, time_s)
        known = set(self._people.identities)
        self._seen = {who: person for who, person in self._seen.items() if who in known}
        self._skins = {who: skin for who, skin in self._skins.items() if who in known}
        if camera.name != self._first:
            return None
        shown = [person for person in self._seen.values() if _is_fresh(person, time_s)]
        parameters = {person.identity: person.track.parameters() for person in shown}
        return Moment(picture, time_s, parameters, true_parameters(self._name, self._first, picture))

    def _found(self, camera: BodyCamera, frame: Frame, time_s: float) -> list[PersonKeypoints]:
        picture = camera.decoded(frame)
        gaze = self._gazes.get(camera.name)
        if gaze is None:
            source = self._sources[camera.name]
            return source.detect(picture, time_s=time_s, number=frame.number, meta=frame.meta)
        followed = [person for person in self._seen.values() if _is_fresh(person, time_s)]
        pixels = [camera.pixels_of(self._skin_of(person)) for person in followed]
        is_full = len(followed) >= self._options["people"]
        return gaze.detect(
            picture, pixels, time_s=time_s, is_full=is_full, number=frame.number, meta=frame.meta
        )

    def _skin_of(self, person: Person[Track]) -> Float64:
        """The vertices (V, 3) of somebody as they were seen last, made once for all cameras."""
        held = self._skins.get(person.identity)
        if held is None or held[0] is not person.track:
            track = person.track
            skin = self._model.skin(track.pose, track.betas, track.translation).astype(np.float64)
            held = self._skins[person.identity] = (track, skin)
        return held[1]

    def _tell(self, moment: Moment) -> list[Frame]:
        picture, identities = moment.source, sorted(moment.people)
        people = [moment.people[identity] for identity in identities]
        meta: dict[str, Any] = {"ids": identities}
        if moment.truth is not None and people:
            error_mm = self._error_mm(people, moment.truth)
            self._errors_mm.append(error_mm)
            meta["truth_error_mm"] = round(error_mm, 1)
        return self._results.frames(picture, people, meta) + self._maps.frames(picture, people)

    def _tell_late(self, moments: Iterable[Moment]) -> list[Frame | FailedFrame]:
        told: list[Frame | FailedFrame] = []
        for moment in moments:
            try:
                told += self._tell(moment)
            except Exception as error:  # it costs the results of its own moment, whichever is looked at now
                told.append(FailedFrame(moment.source.monotonic_ns, error))
        return told

    def _error_mm(self, people: list[Float64], truth: Float64) -> float:
        """Mean distance of the joints of the nearest person from the true ones."""
        true_joints = procedural_body().pose(truth)
        errors = [
            float(np.linalg.norm(self._model.pose(person) - true_joints, axis=1).mean()) for person in people
        ]
        return 1000.0 * min(errors)

    def summary(self) -> str:
        """How far the joints were from a simulated camera's truth; "" where there was none."""
        if not self._errors_mm:
            return ""
        errors = np.array(self._errors_mm)
        return (
            f"bodies: joints were {errors.mean():.0f} mm from the truth on average in {len(errors)} frames"
            f" (half of them within {np.median(errors):.0f} mm)"
        )

    def close(self) -> None:
        """Release the key point sources. Safe to call twice."""
        while self._sources:
            self._sources.popitem()[1].close()


def _is_fresh(person: Person[Track], time_s: float) -> bool:
    return time_s - person.seen_s < _FORGOTTEN_S


def _checked(name: str, options: Mapping[str, object]) -> dict[str, Any]:
    """All options, with defaults. Raises EstimatorError for what is none."""
    found = checked_options(name, options, _DEFAULTS)
    if "keypoints" not in options:
        raise EstimatorError(
            f'estimator {name}: which key points? options = {{ keypoints = "mediapipe", ... }}; docs/RIG.md'
        )
    if not 1 <= found["people"] <= MOST_PEOPLE:
        raise EstimatorError(f"estimator {name}: people = {found['people']}: from 1 to {MOST_PEOPLE}")
    return found
