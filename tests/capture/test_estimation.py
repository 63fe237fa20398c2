"""The estimator process: newest frames of one moment in, results out, the skipped and the failed counted."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from capture.counters import CounterPage
from capture.estimation import COUNTERS, EstimationJob
from capture.frames import CameraInfo, StreamInfo
from capture.ring import END, FRAME, INFO, FrameRing, RingFrame
from capture.spawn import Child
from capture.specs import EstimatorSpec
from codec.records.layout import CLOCKS

FPS = 20.0
PERIOD_NS = 50_000_000
WORLD = ((1.0, 0.0, 0.0, 3.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


class Bench:
    """Two cameras with two streams each, whose frames we push, and an estimator process that sees them."""

    def __init__(self) -> None:
        self.rings = {
            name: FrameRing.create(1 << 20, entry_count=64, observers=2) for name in ("left", "right")
        }
        self.results = FrameRing.create(1 << 16, entry_count=64, observers=1)
        self.counters = CounterPage(COUNTERS)
        self.children: list[Child] = []
        self.told: list[dict[str, Any]] = []
        self.base_ns = time.monotonic_ns()

    def start(self, *inputs: tuple[str, str], fps: float = FPS, **options: Any) -> Child:
        """An estimator process that is ready."""
        streams = tuple(StreamInfo(name, "y8", 50, 2, fps) for name in ("infrared1", "infrared2"))
        cameras = {
            name: CameraInfo(name, "x", "y", streams, world_from_camera=WORLD if name == "left" else None)
            for name in self.rings
        }
        options = {"inputs": inputs or (("left", "infrared1"),), **options}
        job = EstimationJob(
            spec=EstimatorSpec("numbers", "scripted", ("left", "right"), options),
            cameras=cameras,
            rings={name: ring.spec for name, ring in self.rings.items()},
            observer=1,
            results=self.results.spec,
            counters_fd=self.counters.fd,
        )
        fds = [
            self.counters.fd,
            *self.results.spec.fds,
            *(fd for ring in self.rings.values() for fd in ring.spec.fds),
        ]
        self.children.append(Child("numbers", "tests.capture.scripted_estimator:run", job, fds))
        self.until(lambda: bool(self.listen()) or self.children[-1].exit_code() is not None)
        return self.children[-1]

    def push(
        self, number: int, camera: str = "left", stream: int = 0, *, late_ns: int = 0, epoch: int = 1
    ) -> None:
        """Frame `number`, taken when its turn is (and a little late)."""
        ring = self.rings[camera]
        pushed = ring.push(
            np.full((2, 50), number % 251, np.uint8),
            stream=stream,
            epoch=epoch,
            number=number,
            clock=CLOCKS.index("hardware"),
            device_time_s=number / FPS,
            monotonic_ns=self.base_ns + number * PERIOD_NS + late_ns,
        )
        assert pushed
        frame = ring.take()
        assert frame is not None
        ring.release(frame)  # as the writer does at once

    def listen(self) -> list[dict[str, Any]]:
        self.told += self.children[-1].events()
        return self.told

    def until(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, (
                f"waited too long; {self.counters.as_dict()}; told: {self.told}"
            )
            time.sleep(0.002)

    def until_counted(self, **counts: int) -> None:
        self.until(lambda: all(self.counters[name] == count for name, count in counts.items()))

    def result(self, timeout_s: float = 15.0) -> RingFrame:
        """The next entry of the results' ring; released by the next call of take()."""
        until_s = time.monotonic() + timeout_s
        while (frame := self.results.take()) is None:
            assert time.monotonic() < until_s, f"no result; {self.counters.as_dict()}; told: {self.listen()}"
            select.select([self.results.spec.data_fd], [], [], 0.005)
        return frame

    def numbers(self) -> list[float]:
        """The next result, checked and released."""
        frame = self.result()
        assert frame.kind == FRAME
        assert frame.meta == b'{"intact":1}'
        values: list[float] = frame.data[0].tolist()
        self.results.release(frame)
        return values

    def stop(self) -> None:
        self.children[-1].send("stop")
        assert self.children[-1].wait(10)
        assert self.children[-1].exit_code() == 0

    def close(self) -> None:
        for child in self.children:
            if child.exit_code() is None:
                child.kill()
            child.close()
        for ring in (*self.rings.values(), self.results):
            ring.close()
        self.counters.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def skip_info(bench: Bench) -> None:
    frame = bench.result()
    assert frame.kind == INFO
    bench.results.release(frame)


# ---- one camera ----


def test_first_of_all_it_says_what_comes_out(bench: Bench) -> None:
    bench.start(mesh=True)
    frame = bench.result()
    assert frame.kind == INFO
    info = json.loads(bytes(frame.data))
    assert (info["name"], info["backend"], info["model"]) == ("numbers", "estimator", "scripted")
    assert [stream["name"] for stream in info["streams"]] == ["numbers", "mesh"]
    assert info["world_from_camera"] == [list(row) for row in WORLD]
    assert bench.counters["mesh_stream"] == 2
    assert bench.told == [{"event": "ready"}]


def test_result_carries_number_times_and_epoch_of_its_frame(bench: Bench) -> None:
    bench.start()
    skip_info(bench)
    bench.push(7, epoch=3)
    frame = bench.result()
    assert (frame.kind, frame.stream, frame.epoch, frame.number) == (FRAME, 0, 3, 7)
    assert frame.device_time_s == 7 / FPS
    assert frame.clock == CLOCKS.index("hardware")
    assert frame.monotonic_ns == bench.base_ns + 7 * PERIOD_NS
    bench.until_counted(seen=1, estimated=1, skipped=0, failed=0)


def test_every_frame_there_is_time_for_gets_a_result_once(bench: Bench) -> None:
    bench.start()
    skip_info(bench)
    for number in range(20):
        bench.push(number)
        assert bench.numbers()[0] == number
    bench.until_counted(seen=20, estimated=20, skipped=0)
    time.sleep(0.05)
    assert bench.results.queued == 0


def test_an_estimator_that_takes_the_place_of_a_killed_one_gives_no_result_twice(bench: Bench) -> None:
    bench.start()
    skip_info(bench)
    bench.push(1)
    assert bench.numbers()[0] == 1
    bench.children[-1].kill()
    bench.told.clear()
    bench.start()
    skip_info(bench)
    bench.push(2)
    assert bench.numbers()[0] == 2
    bench.until_counted(seen=2, estimated=2)


def test_frames_there_was_no_time_for_are_skipped_and_counted(bench: Bench) -> None:
    bench.start(slow_on=(1,), seconds=0.3)
    skip_info(bench)
    bench.push(1)
    bench.until_counted(seen=1)
    for number in range(2, 7):
        bench.push(number)
    assert bench.numbers()[0] == 1
    assert bench.numbers()[0] == 6
    bench.until_counted(seen=2, estimated=2, skipped=4)


def test_only_the_stream_that_was_asked_for_is_looked_at(bench: Bench) -> None:
    bench.start(("left", "infrared2"))
    skip_info(bench)
    bench.push(1)
    bench.push(2, "right", 1)
    bench.push(3, stream=1)
    assert bench.numbers()[0] == 3
    assert bench.counters["seen"] == 1


def test_nobody_in_view_is_an_estimate_without_a_result(bench: Bench) -> None:
    bench.start(nobody_on=(1, 2))
    skip_info(bench)
    for number in (1, 2):
        bench.push(number)
        bench.until_counted(estimated=number)
    bench.push(3)
    assert bench.numbers()[0] == 3
    bench.until_counted(seen=3, estimated=3, skipped=0)


def test_two_results_of_one_frame_count_as_one_estimate(bench: Bench) -> None:
    bench.start(mesh=True)
    skip_info(bench)
    bench.push(1)
    first, second = bench.result(), bench.result()
    assert [(first.stream, first.number), (second.stream, second.number)] == [(0, 1), (1, 1)]
    assert second.data.shape == (1, 4, 3)
    bench.until_counted(estimated=1)


# ---- several inputs ----


def test_frames_of_one_moment_belong_together(bench: Bench) -> None:
    bench.start(("left", "infrared1"), ("left", "infrared2"), ("right", "infrared1"))
    skip_info(bench)
    for number in range(5):
        late_ns = (number - 2) * 5_000_000
        bench.push(number, "right", 0, late_ns=late_ns)
        bench.push(number, "left", 1)
        bench.push(number, "left", 0)
        values = bench.numbers()
        assert values[:3] == [number] * 3
        assert values[-1] == abs(late_ns)
    bench.until_counted(seen=5, estimated=5, skipped=0)


def test_frames_of_different_moments_are_never_mixed(bench: Bench) -> None:
    bench.start(("left", "infrared1"), ("right", "infrared1"))
    skip_info(bench)
    bench.push(1, "right")
    bench.push(2, "left")
    bench.push(4, "left")
    bench.push(3, "right", late_ns=PERIOD_NS // 2 - 1)  # more than half a period before frame 4
    bench.push(5, "left")
    time.sleep(0.3)
    assert bench.counters["seen"] == 0
    bench.push(6, "right", late_ns=-PERIOD_NS // 4)
    bench.push(6, "left")
    assert bench.numbers()[:2] == [6, 6]
    assert bench.results.queued == 0


def test_camera_that_is_always_a_little_later_than_the_first_completes_the_sets(bench: Bench) -> None:
    """Two cameras that nobody synchronises: it is the later one whose frame makes a set whole."""
    bench.start(("left", "infrared1"), ("right", "infrared1"))
    for number in range(12):
        bench.push(number, "left")
        time.sleep(0.01)
        bench.push(number, "right", late_ns=10_000_000)
        time.sleep(0.04)
    assert bench.counters["seen"] >= 4  # all twelve where the machine has nothing else to do


def test_numbers_that_begin_elsewhere_in_a_new_epoch_are_not_skipped_frames(bench: Bench) -> None:
    bench.start()
    skip_info(bench)
    for number, epoch in ((5, 1), (1000, 2), (1003, 2), (7, 3)):
        bench.push(number, epoch=epoch)
        assert bench.numbers()[0] == number
    bench.until_counted(seen=4, estimated=4, skipped=2)


def test_camera_without_a_rate_is_matched_within_fifty_milliseconds(bench: Bench) -> None:
    bench.start(("left", "infrared1"), ("right", "infrared1"), fps=0.0)
    skip_info(bench)
    bench.push(1, "right", late_ns=51_000_000)
    bench.push(1, "left")
    time.sleep(0.25)
    assert bench.counters["seen"] == 0
    bench.push(2, "right", late_ns=49_000_000)
    bench.push(2, "left")
    assert bench.numbers()[:2] == [2, 2]


# ---- what goes wrong ----


@pytest.mark.parametrize("failure", ["estimator", "value", "arithmetic", "its own"])
def test_frame_that_the_estimator_cannot_take_is_counted_and_the_next_one_is_taken(
    bench: Bench, failure: str
) -> None:
    bench.start(fail_on=(2, 3, 4, 5, 6), failure=failure)
    skip_info(bench)
    for number in range(1, 8):
        bench.push(number)
        bench.until_counted(seen=number)
    assert [bench.numbers()[0] for _ in range(2)] == [1, 7]
    bench.until_counted(seen=7, estimated=2, failed=5, skipped=5)
    errors = [event["message"] for event in bench.listen() if event["event"] == "error"]
    assert [error.replace("'", "") for error in errors] == [
        f"estimator failed on frame {n} of left: cannot take frame {n}" for n in (2, 3, 4)
    ]


def test_results_that_find_no_room_are_counted_as_skipped_and_nobody_waits(bench: Bench) -> None:
    bench.start(size=2000)  # seven of them fill the ring
    skip_info(bench)
    for number in range(1, 21):
        bench.push(number)
        bench.until_counted(seen=number)
    bench.until(lambda: bench.counters["estimated"] + bench.counters["skipped"] == 20)
    estimated = bench.counters["estimated"]
    assert 5 <= estimated <= 8
    assert [bench.numbers()[0] for _ in range(estimated)] == list(range(1, estimated + 1))
    bench.push(21)
    assert bench.numbers()[0] == 21


def test_result_that_is_too_large_for_any_ring_is_counted_and_the_next_one_is_taken(bench: Bench) -> None:
    bench.start(huge_on=(1,))
    skip_info(bench)
    bench.push(1)
    bench.until_counted(failed=1, skipped=1)
    bench.push(2)
    assert bench.numbers()[0] == 2
    assert any("raise queue_mb" in str(event.get("message")) for event in bench.listen())


def test_estimator_that_cannot_start_says_why_and_ends(bench: Bench) -> None:
    child = bench.start(refuse="there is no calibration: give options.calibration")
    assert child.wait(10)
    assert child.exit_code() == 1
    (event,) = bench.listen()
    assert event["event"] == "error"
    assert event["message"] == "there is no calibration: give options.calibration"
    assert event["type"] == "EstimatorError"


# ---- ending ----


def test_stop_ends_the_process_and_is_the_last_word_in_the_ring(bench: Bench) -> None:
    bench.start()
    skip_info(bench)
    bench.push(1)
    assert bench.numbers()[0] == 1
    bench.stop()
    frame = bench.result()
    assert frame.kind == END
    assert json.loads(bytes(frame.data)) == {"reason": "stopped"}
    assert [event["event"] for event in bench.listen()] == ["ready", "done"]


def test_killed_supervisor_ends_the_estimator(bench: Bench) -> None:
    child = bench.start()
    bench.children.clear()
    child.close()
    assert child.wait(10)
    assert child.exit_code() == 0


def test_killed_estimator_is_replaced_and_nothing_of_it_is_lost_or_twice(bench: Bench) -> None:
    bench.start()
    skip_info(bench)
    bench.push(1)
    bench.until_counted(estimated=1)
    bench.children[-1].kill()
    bench.told.clear()
    bench.push(2)
    bench.start()
    assert bench.numbers()[0] == 1
    skip_info(bench)
    assert bench.numbers()[0] == 2
    bench.push(3)
    assert bench.numbers()[0] == 3
    assert bench.counters["estimated"] == 3


def test_heart_beats_while_nothing_comes(bench: Bench) -> None:
    bench.start()
    first_ns = bench.counters["heartbeat_ns"]
    bench.until(lambda: bench.counters["heartbeat_ns"] > first_ns > 0)


def test_cameras_that_are_taken_one_by_one_need_not_be_in_step(bench: Bench) -> None:
    bench.start(("left", "infrared1"), ("right", "infrared1"), by_camera=True)
    skip_info(bench)
    late_ns = PERIOD_NS * 3 // 4
    for number in range(1, 4):
        bench.push(number)
        assert bench.numbers()[0] == number
        bench.push(100 + number, "right", late_ns=late_ns)
        assert bench.numbers()[0] == 100 + number
    bench.until_counted(seen=3, estimated=3)  # only those of the camera that sets the pace are counted
    bench.stop()


def test_of_cameras_taken_one_by_one_one_may_be_away(bench: Bench) -> None:
    bench.start(("left", "infrared1"), ("right", "infrared1"), by_camera=True)
    skip_info(bench)
    for number in range(1, 4):
        bench.push(number, "right")
        assert bench.numbers()[0] == number
    assert bench.counters["seen"] == 0
    bench.stop()
