"""What turns frames into bodies and depth maps: one file per estimator, all behind `Estimator`.

An estimator knows frames and arrays, never rings, the service, or the files that its results go to. It may
read what its options name: models, calibrations, and for `replay` a recording, by way of
capture/recorded_people.py. Built-in kinds are those of BUILT_IN; others join through the entry point group
`nightrig.estimators`, whose entries are callables that take an EstimatorSpec and return an Estimator.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

InputKey = tuple[str, str]
"""(camera name, stream name)"""

_CLASSES = {
    "body": "BodyEstimator",
    "nlf": "NlfEstimator",
    "replay": "ReplayEstimator",
    "stereo": "StereoEstimator",
    "truth": "TruthEstimator",
}
BUILT_IN = tuple(_CLASSES)
"""Kinds that come with us, each in the module of its name."""


class FailedFrame(NamedTuple):
    """In place of late results: those for the frame that was taken then could not be made."""

    monotonic_ns: int
    error: Exception


class Estimator(Protocol):
    """Turns the newest frames of some streams into results, one set of frames at a time.

    A set has a frame of each input, taken at nearly the same moment. An estimator whose attribute
    `by_camera` is true gets the frames of one camera at a time instead, whenever that camera has new ones, in
    the order in which they were taken: cameras need not be in step then. Its results are those for the first
    input's frames. Where it has a method `summary() -> str`, the sentence that gives is told at the end.

    One that can use what comes later has `estimate_recorded(frames)`, which is called in place of estimate()
    over a recording: results may come up to `hindsight_s` of the recording after their frames, in order, with
    a FailedFrame for those that failed meanwhile, and `finish()` gives what is left at the end. A method
    `optional_inputs() -> tuple[InputKey, ...]` names those that sets out of a recording may lack; the first
    one of a camera never.
    """

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Get ready for these cameras and say which streams come out.

        Raises EstimatorError (what is missing, and what to change in the rig file).
        """

    def inputs(self) -> tuple[InputKey, ...]:
        """The streams it needs for one estimate; the first one sets the pace. Valid after open()."""

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """Results for one set of frames taken at (nearly) the same moment, or [] for nobody in view.

        Results carry the number and times of the first input's frame. The arrays in `frames` are
        the estimator's to keep.
        """

    def close(self) -> None:
        """Release what open() took. Safe to call twice."""


def make_estimator(spec: EstimatorSpec) -> Estimator:
    """The estimator of that kind, not yet opened; imports only what it needs."""
    if spec.kind in _CLASSES:
        module = import_module(f"capture.estimators.{spec.kind}")
        return cast("Estimator", getattr(module, _CLASSES[spec.kind])(spec))
    from importlib.metadata import entry_points  # slow to import, and needed for foreign kinds only

    for entry in entry_points(group="nightrig.estimators"):
        if entry.name == spec.kind:
            return cast("Estimator", entry.load()(spec))
    raise EstimatorError(f"estimator {spec.name}: no kind {spec.kind!r}; built in are {', '.join(BUILT_IN)}")
