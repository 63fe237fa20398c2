"""An estimator that does what its options say, in an estimator process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from capture import estimation
from capture.estimation import EstimationJob
from capture.estimators import InputKey
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.spawn import Link
from codec.errors import EstimatorError

_FAILURES: dict[str, Any] = {
    "estimator": EstimatorError,
    "value": ValueError,
    "arithmetic": ZeroDivisionError,
    "its own": KeyError,
}


def run(job: EstimationJob, link: Link) -> int:
    """Entry: an estimator process whose estimator is ours."""
    estimation.make_estimator = ScriptedEstimator  # type: ignore[assignment]
    return estimation.run(job, link)


class ScriptedEstimator:
    """One row of numbers for each set of frames: their numbers, and how far apart they were taken.

    Options: `inputs` (pairs of camera and stream), `by_camera` (see Estimator), `slow_on` and `seconds`
    (numbers it takes long for), `fail_on` and `failure`, `nobody_on` (numbers without a result), `huge_on`
    (numbers with a result that is too large for any ring), `size` (numbers in a result), `mesh` (whether its
    second stream is one), `refuse` (the message of a failing open).
    """

    def __init__(self, spec: Any) -> None:
        self._options = spec.options
        self.by_camera = bool(spec.options.get("by_camera"))

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        if "refuse" in self._options:
            raise EstimatorError(self._options["refuse"])
        size = self._options.get("size", 8)
        outputs = [StreamInfo("numbers", "f32", size, 1, 0.0)]
        if self._options.get("mesh"):
            outputs.append(StreamInfo("mesh", "mesh", 4, 1, 0.0))
        return tuple(outputs)

    def inputs(self) -> tuple[InputKey, ...]:
        return tuple(tuple(key) for key in self._options["inputs"])

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        keys = tuple(frames)
        pace = frames[keys[0]]
        if pace.number in self._options.get("slow_on", ()):
            time.sleep(self._options["seconds"])
        if pace.number in self._options.get("fail_on", ()):
            raise _FAILURES[self._options["failure"]](f"cannot take frame {pace.number}")
        if pace.number in self._options.get("nobody_on", ()):
            return []
        times = [frames[key].monotonic_ns for key in keys]
        size = 100_000 if pace.number in self._options.get("huge_on", ()) else self._options.get("size", 8)
        data = np.zeros((1, size), np.float32)
        data[0, : len(keys)] = [frames[key].number for key in keys]
        data[0, -1] = max(times) - min(times)
        checked = all(np.all(frames[key].data == frames[key].number % 251) for key in keys)
        results = [self._result("numbers", data, pace, b'{"intact":%d}' % checked)]
        if self._options.get("mesh"):
            results.append(self._result("mesh", np.zeros((1, 4, 3), np.float32), pace, b""))
        return results

    def _result(self, stream: str, data: Any, pace: Frame, meta: bytes) -> Frame:
        return Frame(stream, pace.number, data, pace.device_time_s, pace.clock, pace.monotonic_ns, meta)

    def close(self) -> None:
        """Nothing was taken."""
