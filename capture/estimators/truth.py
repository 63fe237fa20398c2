"""The estimator that knows: it reads the simulated camera's true pose and makes its mesh.

It gives the rest of the service real meshes to carry, write and show without a body model to fit. Each
frame of a simulated camera carries the pose in its `meta`; a frame without one gives no result.

What comes out is in world coordinates (z up, the floor at z = 0), see `people_results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capture.body.procedural import procedural_body
from capture.estimators import InputKey
from capture.estimators._cameras import camera_named
from capture.estimators.people_results import Float64, PeopleResults
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.specs import EstimatorSpec
from capture.true_pose import true_pose
from codec.errors import EstimatorError

_PREFERRED_STREAMS: Final = ("depth", "color")


class TruthEstimator:
    """Skins the true pose that a simulated camera tells beside its frames."""

    def __init__(self, spec: EstimatorSpec) -> None:
        self._name = spec.name
        self._cameras = spec.cameras
        self._input: InputKey | None = None
        self._results = PeopleResults(procedural_body(), 0.0)

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Raises EstimatorError unless the first camera is a simulated one."""
        if not self._cameras:
            raise EstimatorError(f"estimator {self._name}: it looks at no camera; name a simulated one")
        camera = self._cameras[0]
        info = camera_named(self._name, cameras, camera)
        # Through librealsense the back end is "realsense", and the model is what gives it away.
        if info.backend != "simulated" and not info.model.startswith("Simulated"):
            raise EstimatorError(
                f"estimator {self._name}: camera {camera} is a {info.model or info.backend}; only simulated"
                " cameras know the true pose, so give it one of those or choose another kind"
            )
        streams = {stream.name: stream for stream in info.streams}
        name = next((name for name in _PREFERRED_STREAMS if name in streams), None)
        if name is None:
            raise EstimatorError(
                f"estimator {self._name}: camera {camera} has neither depth nor color; switch one on"
            )
        self._results = PeopleResults(procedural_body(), streams[name].fps)
        self._input = (camera, name)
        return self._results.streams

    def inputs(self) -> tuple[InputKey, ...]:
        """The one stream whose truth it reads."""
        return () if self._input is None else (self._input,)

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """Mesh and parameters of the person in the frame; [] where the frame does not tell."""
        if self._input is None:
            raise EstimatorError(f"estimator {self._name} is not open; call open() first")
        frame = frames[self._input]
        parameters = true_parameters(self._name, self._cameras[0], frame)
        return [] if parameters is None else self._results.frames(frame, [parameters])

    def close(self) -> None:
        """Nothing is held; it can be opened again."""
        self._input = None


def true_parameters(estimator: str, camera: str, frame: Frame) -> Float64 | None:
    """The 85 parameters that a simulated camera tells in the frame's meta, or None if it has none.

    Raises EstimatorError where they are something else.
    """
    told = f"{frame.stream} frame {frame.number} of camera {camera}"
    return true_pose(frame.meta, owner=f"estimator {estimator}", frame=told)
