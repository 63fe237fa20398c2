"""An estimator that keeps its own account: each result is logged (_sent) before it is handed on.

For every depth frame of its first camera it reads the frame's name off the picture and makes of it eight
numbers and a mesh, so that all it gives is known beforehand. The rig names an estimator of kind "test";
_recorder puts this in the place of the estimator process.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from capture import estimation
from capture.estimation import EstimationJob
from capture.estimators import InputKey
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.spawn import Link
from capture.specs import EstimatorSpec
from scripts.campaigns._numbered_mesh import JOINTS, MESH_STREAM, VERTICES, numbered_mesh
from scripts.campaigns._sent import DELIVERED, SentLog
from scripts.campaigns._session import FOLDER_VARIABLE
from scripts.campaigns._test_camera import depth_name

_META = json.dumps({"people": 1, "vertices": VERTICES, "joints": JOINTS}).encode()


def run(job: EstimationJob, link: Link) -> int:
    """Entry of the process."""
    estimation.make_estimator = LoggingEstimator
    return estimation.run(job, link)


class LoggingEstimator:
    """Numbers and a mesh for each frame."""

    def __init__(self, spec: EstimatorSpec) -> None:
        self._input = spec.cameras[0], "depth"
        self._sent = SentLog(Path(os.environ[FOLDER_VARIABLE]) / f"{spec.name}.sent")

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        return StreamInfo("numbers", "f32", 8, 1, 0.0), StreamInfo("mesh", "mesh", VERTICES + JOINTS, 1, 0.0)

    def inputs(self) -> tuple[InputKey, ...]:
        return (self._input,)

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        frame = frames[self._input]
        epoch, number = depth_name(frame.data)
        numbers = np.array([[epoch, number, *range(6)]], np.float32)
        results = [self._result(frame, "numbers", numbers, b"")]
        results.append(self._result(frame, "mesh", numbered_mesh(epoch, number), _META))
        for stream, result in ((0, results[0]), (MESH_STREAM, results[1])):
            self._sent.note(
                DELIVERED,
                stream=stream,
                epoch=epoch,
                number=number,
                monotonic_ns=frame.monotonic_ns,
                crc=zlib.crc32(result.data.tobytes()),
            )
        return results

    def _result(self, frame: Frame, stream: str, data: np.ndarray, meta: bytes) -> Frame:  # type: ignore[type-arg]
        return Frame(stream, frame.number, data, frame.device_time_s, frame.clock, frame.monotonic_ns, meta)

    def close(self) -> None:
        self._sent.close()
