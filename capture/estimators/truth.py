"""The estimator that knows: it reads the simulated camera's true pose and makes its mesh.

It gives the rest of the service real meshes to carry, write and show without a body model to fit. Each
frame of a simulated camera carries the pose in its `meta`; a frame without one gives no result.

Two streams come out, in world coordinates (z up, the floor at z = 0):
    mesh        float32 (1, 6914, 3) millimetres: 6890 vertices, then 24 joints
    parameters  float32 (1, 85): 72 axis-angle numbers, 10 betas, 3 metres of translation
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import numpy as np

from capture.body.kinematics import PARAMETER_COUNT, split_parameters
from capture.body.procedural import procedural_body
from capture.estimators import InputKey
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

_MM_PER_M: Final = 1000.0
_LARGEST: Final = 1e6  # radians, or metres
_PREFERRED_STREAMS: Final = ("depth", "color")


class TruthEstimator:
    """Skins the true pose that a simulated camera tells beside its frames."""

    def __init__(self, spec: EstimatorSpec) -> None:
        self._name = spec.name
        self._cameras = spec.cameras
        self._input: InputKey | None = None
        self._mesh_meta = b""

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Raises EstimatorError unless the first camera is a simulated one."""
        if not self._cameras:
            raise EstimatorError(f"estimator {self._name}: it looks at no camera; name a simulated one")
        camera = self._cameras[0]
        info = cameras.get(camera)
        if info is None:
            known = ", ".join(sorted(cameras)) or "none"
            raise EstimatorError(f"estimator {self._name}: there is no camera {camera}; there are {known}")
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
        body = procedural_body()
        vertices, joints = len(body.template_vertices), len(body.joints)
        self._input = (camera, name)
        self._mesh_meta = json.dumps(
            {"people": 1, "vertices": vertices, "joints": joints, "model": "procedural"}
        ).encode()
        fps = streams[name].fps
        return (
            StreamInfo("mesh", "mesh", vertices + joints, 1, fps),
            StreamInfo("parameters", "f32", PARAMETER_COUNT, 1, fps),
        )

    def inputs(self) -> tuple[InputKey, ...]:
        """The one stream whose truth it reads."""
        return () if self._input is None else (self._input,)

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """Mesh and parameters of the person in the frame; [] where the frame does not tell."""
        if self._input is None:
            raise EstimatorError(f"estimator {self._name} is not open; call open() first")
        frame = frames[self._input]
        parameters = self._pose_in(frame)
        if parameters is None:
            return []
        body = procedural_body()
        points = np.concatenate([body.skin(*split_parameters(parameters)), body.pose(parameters)])
        mesh = (points * _MM_PER_M).astype(np.float32)[np.newaxis]
        return [
            self._result(frame, "mesh", mesh, self._mesh_meta),
            self._result(frame, "parameters", parameters.astype(np.float32)[np.newaxis], b""),
        ]

    def close(self) -> None:
        """Nothing is held; it can be opened again."""
        self._input = None

    def _pose_in(self, frame: Frame) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
        """The 85 parameters of the frame's meta, or None if it has none."""
        if not frame.meta:
            return None
        try:
            pose = json.loads(frame.meta).get("pose")
            if pose is None:
                return None
            parameters = np.array(pose, dtype=np.float64)
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise EstimatorError(
                f"estimator {self._name}: the meta of {frame.stream} frame {frame.number} of camera"
                f" {self._cameras[0]} cannot be read: {error}"
            ) from error
        if parameters.shape != (PARAMETER_COUNT,) or not (np.abs(parameters) <= _LARGEST).all():  # nor NaN
            raise EstimatorError(
                f"estimator {self._name}: the pose of {frame.stream} frame {frame.number} of camera"
                f" {self._cameras[0]} is not {PARAMETER_COUNT} numbers"
            )
        return parameters

    @staticmethod
    def _result(
        source: Frame, stream: str, data: np.ndarray[tuple[int, ...], np.dtype[np.float32]], meta: bytes
    ) -> Frame:
        return Frame(
            stream=stream,
            number=source.number,
            data=data,
            device_time_s=source.device_time_s,
            clock=source.clock,
            monotonic_ns=source.monotonic_ns,
            meta=meta,
        )
