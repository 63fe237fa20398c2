"""The estimator process: newest frames in, results out, never in anyone's way.

Observes the rings of its cameras, matches frames by time, and pushes what its estimator makes of them
into a ring of its own, from which the writer takes it. What it had no time for is counted as skipped; it
can be filled in later from the recording. Told to stop by "stop" or the end of its control pipe.
"""

from __future__ import annotations

import json
import math
import select
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from capture import ring as kinds
from capture.counters import CounterPage
from capture.estimators import Estimator, InputKey, make_estimator
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.mesh_faces import unpack_faces
from capture.ring import FrameRing, RingFrame, RingSpec, drain_event
from capture.spawn import Link
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError
from codec.records.layout import CLOCKS

COUNTERS = ("heartbeat_ns", "seen", "estimated", "skipped", "failed", "mesh_stream", "taken_sequence")
_TICK_S = 0.2
_DEFAULT_SKEW_S = 0.05
_REPORT_FAILURES = 3


@dataclass(frozen=True, slots=True)
class EstimationJob:
    """What an estimator process is told. `observer` is which of the rings' observers it is."""

    spec: EstimatorSpec
    cameras: dict[str, CameraInfo]
    rings: dict[str, RingSpec]
    observer: int
    results: RingSpec
    counters_fd: int


def run(job: EstimationJob, link: Link) -> int:
    """Entry of the process."""
    estimator = make_estimator(job.spec)
    try:
        outputs = estimator.open(job.cameras)
        _Estimation(job, link, estimator, outputs).run()
        if told := summary_of(estimator):
            link.event("summary", message=told)
    finally:
        estimator.close()
    link.event("done")
    return 0


class _Estimation:
    def __init__(
        self, job: EstimationJob, link: Link, estimator: Estimator, outputs: tuple[StreamInfo, ...]
    ) -> None:
        self._link, self._estimator = link, estimator
        self._counters = CounterPage(COUNTERS, job.counters_fd)
        # What a killed process was at is not begun again: its results may be out, or it may have been the
        # frame that killed it.
        self._inputs = _Inputs(
            job,
            estimator.inputs(),
            by_camera=takes_cameras_one_by_one(estimator),
            after=self._counters["taken_sequence"],
        )
        self._results = FrameRing(job.results)
        self._stream_of = {stream.name: i for i, stream in enumerate(outputs)}
        self._last: tuple[int, int] | None = None
        meshes = [i for i, stream in enumerate(outputs) if stream.pixel_format == "mesh"]
        self._counters["mesh_stream"] = meshes[0] + 1 if meshes else 0
        info = estimator_info(job.spec, outputs, job.cameras, self._inputs.pace)
        self._results.push(
            json.dumps(asdict(info)).encode(), kind=kinds.INFO, monotonic_ns=time.monotonic_ns()
        )

    def run(self) -> None:
        self._link.event("ready")
        while not any(command in ("stop", "orphaned") for command in self._link.commands()):
            self._counters["heartbeat_ns"] = time.monotonic_ns()
            self._inputs.wait(self._link.control_fd)
            for frames in self._inputs.newest():
                self._counters["taken_sequence"] = self._inputs.taken_sequence
                self._estimate(frames)
        self._results.push(b'{"reason":"stopped"}', kind=kinds.END, monotonic_ns=time.monotonic_ns())

    def _estimate(self, frames: dict[InputKey, Frame]) -> None:
        pace = frames.get(self._inputs.pace)
        if pace is not None:
            self._count(pace.number)
        try:
            results = self._estimator.estimate(frames)
            pushed = [self._push(result) for result in results]
        except Exception as error:
            # Estimators are anybody's code: one frame that they cannot take, or a result that is not what
            # they announced, must not end the night's results.
            self._counters.add("failed")
            self._counters.add("skipped")
            if self._counters["failed"] <= _REPORT_FAILURES:
                (camera, _), frame = next(iter(frames.items()))
                where, why = f"frame {frame.number} of {camera}", str(error) or type(error).__name__
                self._link.event("error", message=f"estimator failed on {where}: {why}")
            return
        if pace is not None:
            self._counters.add("estimated" if all(pushed) else "skipped")

    def _count(self, number: int) -> None:
        """Frames that came and went since the last one of the same epoch were skipped."""
        self._counters.add("seen")
        epoch = self._inputs.epoch
        if self._last is not None and self._last[0] == epoch and number > self._last[1] + 1:
            self._counters.add("skipped", number - self._last[1] - 1)
        self._last = epoch, number

    def _push(self, result: Frame) -> bool:
        return self._results.push(
            result.data,
            stream=self._stream_of[result.stream],
            clock=CLOCKS.index(result.clock) if result.clock in CLOCKS else 0,
            epoch=self._inputs.epoch,
            number=result.number,
            device_time_s=result.device_time_s,
            monotonic_ns=result.monotonic_ns,
            meta=result.meta,
        )


class _Inputs:
    """The newest frame of every input stream, matched by time; or those of one camera at a time.

    taken_sequence: that of the newest set's first frame, in its ring.
    """

    def __init__(
        self, job: EstimationJob, keys: tuple[InputKey, ...], *, by_camera: bool, after: int
    ) -> None:
        self.pace = keys[0]
        self.epoch = 0
        self._rings = {name: FrameRing(spec) for name, spec in job.rings.items()}
        cameras = dict.fromkeys(key[0] for key in keys)
        self._fds = [job.rings[camera].observer_fds[job.observer] for camera in cameras]
        self._streams = {key: _stream_index(job.cameras, key) for key in keys}
        groups = (
            [[key for key in keys if key[0] == camera] for camera in cameras] if by_camera else [list(keys)]
        )
        self._groups = [_Group(group, _skew_ns(job, group[0])) for group in groups]
        self._groups[0].taken_sequence = after

    @property
    def taken_sequence(self) -> int:
        return self._groups[0].taken_sequence

    def wait(self, control_fd: int) -> None:
        """Until one of the cameras has pushed something: the last of a set completes it."""
        for fd in select.select([*self._fds, control_fd], [], [], _TICK_S)[0]:
            if fd != control_fd:
                drain_event(fd)

    def newest(self) -> list[dict[InputKey, Frame]]:
        """The new sets, in the order in which they were taken: one frame of each input (of each input of one
        camera), taken at nearly the same moment."""
        complete = [group for group in self._groups if self._look(group)]
        complete.sort(key=lambda group: group.held[group.keys[0]].monotonic_ns)
        sets = []
        for group in complete:
            pace = group.held[group.keys[0]]
            group.taken_sequence = pace.sequence
            if group.keys[0] == self.pace:
                self.epoch = pace.epoch
            sets.append({key: _frame(key, group.held[key]) for key in group.keys})
        return sets

    def _look(self, group: _Group) -> bool:
        """Take the newest frames of the group; True where they make a set that was not there before."""
        for key in group.keys:
            held = group.held.get(key)
            after = held.sequence if held else 0
            fresh = self._rings[key[0]].newest(self._streams[key], after=after)
            if fresh is not None:
                group.held[key] = fresh
        pace = group.held.get(group.keys[0])
        if pace is None or pace.sequence <= group.taken_sequence or len(group.held) < len(group.keys):
            return False
        return all(abs(f.monotonic_ns - pace.monotonic_ns) <= group.skew_ns for f in group.held.values())


@dataclass(slots=True)
class _Group:
    """Inputs that make a set together; the first one sets the pace."""

    keys: list[InputKey]
    skew_ns: int
    held: dict[InputKey, RingFrame] = field(default_factory=dict)
    taken_sequence: int = 0


def _skew_ns(job: EstimationJob, pace: InputKey) -> int:
    fps = job.cameras[pace[0]].streams[_stream_index(job.cameras, pace)].fps
    return round(1e9 * (0.5 / fps if fps > 0 else _DEFAULT_SKEW_S))


def takes_cameras_one_by_one(estimator: Estimator) -> bool:
    """Whether estimate() wants the frames of each camera when they come, see Estimator.by_camera."""
    return bool(getattr(estimator, "by_camera", False))


def optional_inputs(estimator: Estimator) -> tuple[InputKey, ...]:
    """Which of its inputs a set out of a recording may lack, see Estimator.optional_inputs."""
    tell = getattr(estimator, "optional_inputs", None)
    return tuple(tell()) if callable(tell) else ()


def summary_of(estimator: Estimator) -> str:
    """What an estimator has to say at the end, see Estimator.summary; "" for nothing."""
    tell = getattr(estimator, "summary", None)
    return str(tell()) if callable(tell) else ""


def estimator_info(
    spec: EstimatorSpec,
    outputs: tuple[StreamInfo, ...],
    cameras: Mapping[str, CameraInfo],
    pace: InputKey,
) -> CameraInfo:
    """An estimator as the "camera" of its results; they lie in the frame of the camera that sets the pace.

    Raises EstimatorError where it announces triangles that its meshes cannot have.
    """
    for stream in outputs:
        try:
            faces = unpack_faces(stream.faces)
        except ValueError as error:
            raise EstimatorError(f"estimator {spec.name}: stream {stream.name}: {error}") from error
        if faces is not None and faces.max() >= stream.width:
            raise EstimatorError(
                f"estimator {spec.name}: stream {stream.name} has {stream.width} points, and triangles that"
                f" name point {faces.max()}"
            )
    place = cameras[pace[0]].world_from_camera
    return CameraInfo(spec.name, "estimator", spec.kind, outputs, world_from_camera=place)


def _stream_index(cameras: Mapping[str, CameraInfo], key: InputKey) -> int:
    return [stream.name for stream in cameras[key[0]].streams].index(key[1])


def _frame(key: InputKey, entry: RingFrame) -> Frame:
    return Frame(
        stream=key[1],
        number=entry.number,
        data=entry.data,
        device_time_s=None if math.isnan(entry.device_time_s) else entry.device_time_s,
        clock=CLOCKS[entry.clock],
        monotonic_ns=entry.monotonic_ns,
        meta=entry.meta,
    )
