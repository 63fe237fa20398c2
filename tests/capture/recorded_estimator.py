"""An estimator for recordings in tests: a number and a mesh of a triangle for each frame it is paced by."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from capture.estimators import FailedFrame, InputKey
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

seen: list[tuple[tuple[str, int], ...]] = []
"""What every set of frames was, since the test cleared it: (camera, number) of each frame."""


class RecordedEstimator:
    """Options: `inputs`, `by_camera`, `optional`, `fail_on` and `nobody_on` (numbers), `slow_s` (what a frame
    takes), `late` (results come so many frames after what they are for), `bad_on` (its mesh is none),
    `fail_late_on` (numbers: only when their results are due), `fail_at_end`, `fail_beside` (on sets without
    the first input)."""

    def __init__(self, spec: EstimatorSpec) -> None:
        self._options = dict(spec.options)
        self.by_camera = bool(self._options.get("by_camera", False))
        self.cameras: dict[str, CameraInfo] = {}
        self._held: list[list[Frame | FailedFrame]] = []
        if "late" in self._options:
            self.estimate_recorded, self.hindsight_s = self._late, 1.0

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        if "refuse" in self._options:
            raise EstimatorError(str(self._options["refuse"]))
        self.cameras = dict(cameras)
        return StreamInfo("mesh", "mesh", 4, 1, 30.0), StreamInfo("parameters", "f32", 2, 1, 30.0)

    def inputs(self) -> tuple[InputKey, ...]:
        given = self._options.get("inputs", [["front", "depth"]])
        return tuple((str(camera), str(stream)) for camera, stream in given)  # type: ignore[attr-defined]

    def optional_inputs(self) -> tuple[InputKey, ...]:
        given = self._options.get("optional", [])
        return tuple((str(camera), str(stream)) for camera, stream in given)  # type: ignore[attr-defined]

    def _late(self, frames: Mapping[InputKey, Frame]) -> list[Frame | FailedFrame]:
        results: list[Frame | FailedFrame] = [*self.estimate(frames)]
        if results and results[0].number in self._options.get("fail_late_on", []):  # type: ignore[operator, union-attr]
            results = [FailedFrame(results[0].monotonic_ns, ValueError(f"cannot tell {results[0].number}"))]  # type: ignore[union-attr]
        self._held.append(results)
        return self._held.pop(0) if len(self._held) > int(self._options["late"]) else []  # type: ignore[call-overload]

    def finish(self) -> list[Frame | FailedFrame]:
        held, self._held = self._held, []
        if "fail_at_end" in self._options:
            raise ValueError("cannot end")
        return [result for results in held for result in results]

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        seen.append(tuple((camera, frame.number) for (camera, _), frame in frames.items()))
        time.sleep(float(self._options.get("slow_s", 0.0)))  # type: ignore[arg-type]
        pace = frames.get(self.inputs()[0])
        if pace is None and "fail_beside" in self._options:
            raise ValueError("cannot take this camera")
        if pace is None or pace.number in self._options.get("nobody_on", []):  # type: ignore[operator]
            return []
        if pace.number in self._options.get("fail_on", []):  # type: ignore[operator]
            raise ValueError(f"cannot take {pace.number}")
        points = np.full((1, 4, 3), pace.number, np.float32)
        numbers = np.float32([[pace.number, float(pace.data.mean())]])
        results = []
        told = b"{}" if pace.number in self._options.get("bad_on", []) else b'{"vertices":3}'  # type: ignore[operator]
        for stream, data, meta in (("mesh", points, told), ("parameters", numbers, b"")):
            results.append(
                Frame(stream, pace.number, data, pace.device_time_s, pace.clock, pace.monotonic_ns, meta)
            )
        return results

    def close(self) -> None:
        """Nothing was taken."""
