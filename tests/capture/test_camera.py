"""The camera process: what it makes of a camera that loses, repeats, restarts, vanishes, and comes back."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from capture.camera import AWAY, COUNTERS, DONE, READY, RUNNING, CameraJob
from capture.counters import CounterPage
from capture.ring import END, FRAME, GAP, INFO, FrameRing, drain_event
from capture.spawn import Child
from codec.records.layout import CLOCKS
from tests.capture.scripted_source import ScriptedJob, Step, pixels_of, spec

Entry = tuple[Any, ...]
"""("info", epoch), ("frame", stream, epoch, number), ("gap", stream, epoch, reason, first, last)
or ("end", why)."""


class Bench:
    """A ring, a counter page, and camera processes on them."""

    def __init__(self, ring_bytes: int = 1 << 20) -> None:
        self.ring = FrameRing.create(ring_bytes, entry_count=512, observers=1)
        self.counters = CounterPage(COUNTERS)
        self.children: list[Child] = []
        self.told: list[dict[str, Any]] = []
        self.infos: list[dict[str, Any]] = []

    def start(self, *lives: tuple[Step, ...], go: bool = True, camera: Any = None, **script: Any) -> Child:
        """A camera process; `lives` as in scripted_source."""
        job = CameraJob(camera or spec(), self.ring.spec, self.counters.fd, go)
        child = Child(
            "front",
            "tests.capture.scripted_source:run",
            ScriptedJob(job, lives, **script),
            (self.counters.fd, *self.ring.spec.fds),
        )
        self.children.append(child)
        return child

    def listen(self) -> list[dict[str, Any]]:
        """Everything the newest process has told so far."""
        self.told += self.children[-1].events()
        return self.told

    def until(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, f"waited too long; told: {self.listen()}"
            select.select([self.children[-1].event_fd], [], [], 0.005)

    def until_told(self, kind: str, times: int = 1) -> None:
        self.until(lambda: [event["event"] for event in self.listen()].count(kind) >= times)

    def take(self) -> Iterator[Entry]:
        """What is in the ring now; released."""
        while (frame := self.ring.take()) is not None:
            entry = self._entry(frame)
            self.ring.release(frame)
            yield entry

    def _entry(self, frame: Any) -> Entry:
        if frame.kind == FRAME:
            assert np.array_equal(frame.data, pixels_of(frame.number, frame.data.size))
            return ("frame", frame.stream, frame.epoch, frame.number)
        body = json.loads(bytes(frame.data))
        if frame.kind == INFO:
            self.infos.append(body)
            return ("info", frame.epoch)
        if frame.kind == GAP:
            return ("gap", frame.stream, frame.epoch, body["reason"], body["first"], body["last"])
        assert frame.kind == END
        return ("end", body["reason"])

    def take_until(self, last: Callable[[Entry], bool], timeout_s: float = 15.0) -> list[Entry]:
        """Take and release until that entry has come."""
        found: list[Entry] = []
        until_s = time.monotonic() + timeout_s
        while not (found and last(found[-1])):
            assert time.monotonic() < until_s, f"only {found} came; told: {self.listen()}"
            entry = next(self.take(), None)
            if entry is not None:
                found.append(entry)
            else:
                select.select([self.ring.spec.data_fd], [], [], 0.05)
                drain_event(self.ring.spec.data_fd)
        return found

    def take_to_the_end(self) -> list[Entry]:
        found = self.take_until(lambda entry: entry[0] == "end")
        child = self.children[-1]
        assert child.wait(10)
        assert child.exit_code() == 0
        assert self.counters["state"] == DONE
        assert self.listen()[-1]["event"] == "done"
        return found

    def close(self) -> None:
        for child in self.children:
            if child.exit_code() is None:
                child.kill()
            child.close()
        self.ring.close()
        self.counters.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def small_bench() -> Iterator[Bench]:
    """A ring in which about a dozen frames of 4,000 bytes find room."""
    bench = Bench(48 << 10)
    yield bench
    bench.close()


def frames(numbers: Any, epoch: int = 1, stream: int = 0) -> list[Entry]:
    return [("frame", stream, epoch, number) for number in numbers]


# ---- what a camera delivers ----


def test_every_new_frame_reaches_the_ring_in_order_with_all_that_is_known_of_it(bench: Bench) -> None:
    bench.start((("frames", [("depth", 7), ("color", 3)]), ("frames", [("depth", 8)]), ("end", "over")))
    bench.until_told("done")
    assert bench.ring.take().kind == INFO  # type: ignore[union-attr]
    frame = bench.ring.take()
    assert frame is not None
    assert (frame.stream, frame.epoch, frame.number, frame.clock) == (0, 1, 7, CLOCKS.index("hardware"))
    assert frame.device_time_s == 7 / 30
    assert 0 < frame.monotonic_ns <= time.monotonic_ns()
    assert frame.meta == b'{"n":7}'
    assert list(bench.take()) == [("frame", 1, 1, 3), ("frame", 0, 1, 8), ("end", "ended")]
    assert (bench.counters["captured0"], bench.counters["captured1"]) == (2, 1)


def test_first_of_all_the_camera_says_what_it_is(bench: Bench) -> None:
    matrix = ((1.0, 0.0, 0.0, 2.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    bench.start((("end", "over"),), camera=spec(world_from_camera=matrix))
    assert bench.take_to_the_end() == [("info", 1), ("end", "ended")]
    assert [stream["name"] for stream in bench.infos[0]["streams"]] == ["depth", "color"]
    assert bench.infos[0]["world_from_camera"] == [list(row) for row in matrix]
    (opened,) = [event for event in bench.told if event["event"] == "opened"]
    assert opened["camera"] == bench.infos[0]


def test_hole_in_the_numbers_becomes_a_gap_before_the_next_frame_of_that_stream(bench: Bench) -> None:
    numbers = [("depth", 1), ("color", 1), ("depth", 5), ("color", 2), ("depth", 6), ("color", 9)]
    bench.start((("frames", numbers), ("end", "over")))
    assert bench.take_to_the_end() == [
        ("info", 1),
        ("frame", 0, 1, 1),
        ("frame", 1, 1, 1),
        ("gap", 0, 1, "camera", 2, 4),
        ("frame", 0, 1, 5),
        ("frame", 1, 1, 2),
        ("frame", 0, 1, 6),
        ("gap", 1, 1, "camera", 3, 8),
        ("frame", 1, 1, 9),
        ("end", "ended"),
    ]
    assert (bench.counters["lost0"], bench.counters["lost1"]) == (3, 6)
    assert (bench.counters["captured0"], bench.counters["dropped0"]) == (3, 0)


def test_repeated_frames_are_counted_and_not_pushed(bench: Bench) -> None:
    bench.start((("frames", [10, 10, 11, 9, 11]), ("frames", [11, 12]), ("end", "over")))
    assert bench.take_to_the_end() == [("info", 1), *frames([10, 11, 12]), ("end", "ended")]
    assert bench.counters["repeated0"] == 4
    assert bench.counters["captured0"] == 3


def test_counter_that_begins_anew_is_a_new_epoch_and_no_gap(bench: Bench) -> None:
    bench.start((("frames", [1000, 1001, 3, 4]), ("end", "over")))
    assert bench.take_to_the_end() == [
        ("info", 1),
        *frames([1000, 1001]),
        ("info", 2),
        *frames([3, 4], epoch=2),
        ("end", "ended"),
    ]
    assert bench.counters["lost0"] == 0


# ---- a camera that goes and comes ----


def test_lost_camera_is_opened_again_and_its_numbers_begin_anew(bench: Bench) -> None:
    lives = (
        (("frames", [5, 6]), ("lost", "front: unplugged")),
        (("absent", "front: not there"),),
        (("absent", "front: not there"),),
        (("busy", "front: busy"),),
        (("frames", [500]), ("lost", "front: unplugged")),
        (("frames", [2]), ("end", "over")),
    )
    bench.start(*lives)
    assert bench.take_to_the_end() == [
        ("info", 1),
        *frames([5, 6]),
        ("info", 2),
        *frames([500], epoch=2),
        ("info", 3),
        *frames([2], epoch=3),
        ("end", "ended"),
    ]
    assert bench.counters["lost0"] == 0
    told = [(event["event"], event.get("message")) for event in bench.told]
    assert told == [
        ("opened", None),
        ("away", "front: unplugged"),
        ("away", "front: not there"),  # once, however often it is tried
        ("away", "front: busy"),
        ("opened", None),
        ("away", "front: unplugged"),
        ("opened", None),
        ("done", None),
    ]


def test_silent_camera_is_opened_again(bench: Bench) -> None:
    bench.start((("frames", [5]),), (("frames", [6]), ("end", "over")), camera=spec(stall_s=0.25))
    assert bench.take_to_the_end() == [
        ("info", 1),
        *frames([5]),
        ("info", 2),
        *frames([6], epoch=2),
        ("end", "ended"),
    ]
    assert any("no frame for 0 s; opening it again" in str(event.get("message")) for event in bench.told)


def test_camera_that_only_repeats_itself_counts_as_silent(bench: Bench) -> None:
    stuck = tuple(("frames", [5]) if i % 2 else ("pause", 0.05) for i in range(40))
    bench.start(stuck, (("end", "over"),), camera=spec(stall_s=0.25))
    assert bench.take_to_the_end() == [("info", 1), *frames([5]), ("info", 2), ("end", "ended")]


def test_silent_file_is_only_slow(bench: Bench) -> None:
    life: tuple[Step, ...] = (("frames", [5]), ("pause", 0.4), ("frames", [6]), ("end", "over"))
    bench.start(life, can_wait=True, camera=spec(stall_s=0.1))
    assert bench.take_to_the_end() == [("info", 1), *frames([5, 6]), ("end", "ended")]


def test_file_that_breaks_in_the_middle_ends_with_what_came_before(bench: Bench) -> None:
    bench.start((("frames", [5]), ("lost", "broken from here on")), (("frames", [6]),), can_wait=True)
    assert bench.take_to_the_end() == [("info", 1), *frames([5]), ("end", "failed")]


def test_killed_process_is_replaced_on_the_same_ring_and_what_it_pushed_is_still_there(bench: Bench) -> None:
    bench.start((("frames", [1, 2, 5]),))
    bench.until(lambda: bench.ring.published == 5)
    bench.children[-1].kill()
    bench.start((("frames", [1, 2]), ("end", "over")))
    assert bench.take_to_the_end() == [
        ("info", 1),
        *frames([1, 2]),
        ("gap", 0, 1, "camera", 3, 4),
        *frames([5]),
        ("info", 2),
        *frames([1, 2], epoch=2),
        ("end", "ended"),
    ]
    assert bench.counters["captured0"] == 5
    assert bench.counters["epoch"] == 2


# ---- beginning ----


def test_camera_waits_for_go_and_what_it_delivers_before_is_not_recorded(bench: Bench) -> None:
    child = bench.start((("rate", (1000, 0.002)),), go=False)
    bench.until_told("opened")
    bench.until(lambda: bench.counters["state"] == READY)
    time.sleep(0.05)
    assert bench.ring.published == 0
    child.send("go")
    found = bench.take_until(lambda entry: entry[0] == "frame")
    assert found[0] == ("info", 1)
    assert found[1][3] > 5
    assert bench.counters["state"] == RUNNING
    child.send("stop")
    assert bench.take_to_the_end()[-1] == ("end", "stopped")
    assert bench.counters["lost0"] == 0


def test_file_is_not_touched_before_go(bench: Bench) -> None:
    child = bench.start((("frames", [0, 1, 2]), ("end", "over")), go=False, can_wait=True)
    bench.until_told("opened")
    time.sleep(0.05)
    child.send("go")
    assert bench.take_to_the_end() == [("info", 1), *frames([0, 1, 2]), ("end", "ended")]


@pytest.mark.parametrize("go", [True, False])
def test_wrong_profile_at_the_start_is_told_at_once_and_ends_the_process(bench: Bench, go: bool) -> None:
    child = bench.start((("profile", "front has no 1000x1000: it has 848x480"),), go=go)
    assert child.wait(10)
    assert child.exit_code() == 1
    message = "front has no 1000x1000: it has 848x480"
    assert bench.listen() == [{"event": "error", "message": message, "type": "CameraProfileError"}]
    assert bench.ring.published == 0


def test_wrong_profile_of_a_camera_that_comes_back_is_tried_again(bench: Bench) -> None:
    """On a slow port it may have no such profile; plugged in right it has."""
    lives = ((("frames", [1]), ("lost", "gone")), (("profile", "front has no 848x480"),), (("end", "over"),))
    bench.start(*lives)
    assert bench.take_to_the_end() == [("info", 1), *frames([1]), ("info", 2), ("end", "ended")]


def test_more_streams_than_there_are_counters_is_a_clear_refusal(bench: Bench) -> None:
    child = bench.start((), streams=tuple("abcdefghi"))
    assert child.wait(10)
    assert child.exit_code() == 1
    (event,) = bench.listen()
    assert event["message"] == "camera front has 9 streams; 8 is the limit"


# ---- a full ring ----


def test_file_waits_for_the_writer_and_loses_nothing(small_bench: Bench) -> None:
    small_bench.start((("frames", list(range(300))), ("end", "over")), can_wait=True, frame_bytes=4000)
    small_bench.until(lambda: small_bench.ring.fill > 0.9)
    time.sleep(0.3)
    assert small_bench.counters["captured0"] < 20
    assert small_bench.take_to_the_end() == [("info", 1), *frames(range(300)), ("end", "ended")]
    assert small_bench.counters["captured0"] == 300
    assert small_bench.counters["dropped0"] == 0


def accounted(entries: list[Entry], first: int = 1) -> int:
    """Checks that frames and gaps (for a full ring) give every number once and in order; the last of them."""
    following = first
    for entry in entries:
        if entry[0] == "frame":
            assert entry[3] == following
            following += 1
        elif entry[0] == "gap":
            assert entry[3:5] == ("ring-full", following)
            following = entry[5] + 1
    return following - 1


def test_camera_does_not_wait_and_every_frame_it_drops_stands_in_one_gap_before_the_next(
    small_bench: Bench,
) -> None:
    bench = small_bench
    child = bench.start((("rate", (200, 0.001)),), frame_bytes=4000)
    bench.until(lambda: bench.counters["captured0"] >= 60)
    assert bench.counters["dropped0"] > 40
    found = bench.take_until(lambda entry: entry[0] == "frame" and entry[3] == 200)
    assert accounted(found) == 200
    assert bench.counters["captured0"] == 200
    assert bench.counters["dropped0"] == 200 - sum(entry[0] == "frame" for entry in found)
    child.send("stop")
    assert bench.take_to_the_end() == [("end", "stopped")]


def test_gap_that_found_no_room_is_still_told_at_the_end(small_bench: Bench) -> None:
    bench = small_bench
    child = bench.start((("rate", (60, 0.001)),), frame_bytes=4000)
    bench.until(lambda: bench.counters["captured0"] == 60)
    assert bench.counters["dropped0"] > 40
    child.send("stop")
    found = bench.take_to_the_end()
    assert accounted(found) == 60
    assert found[-1] == ("end", "stopped")


def test_gap_of_an_earlier_epoch_keeps_its_epoch(small_bench: Bench) -> None:
    bench = small_bench
    lives = ((("rate", (40, 0.001)), ("lost", "gone")), (("frames", [7]), ("end", "over")))
    bench.start(*lives, frame_bytes=4000)
    bench.until(lambda: bench.counters["state"] == AWAY or bench.counters["epoch"] == 2)
    found = bench.take_to_the_end()
    assert accounted([entry for entry in found if entry[2:3] == (1,)]) == 40
    assert accounted([entry for entry in found if entry[2:3] == (2,)], first=7) == 7


def test_stuck_writer_does_not_keep_the_process_from_ending(small_bench: Bench) -> None:
    bench = small_bench
    child = bench.start((("rate", (60, 0.001)),), frame_bytes=4000)
    bench.until(lambda: bench.counters["captured0"] == 60)
    child.send("stop")
    assert child.wait(5)
    assert child.exit_code() == 0
    assert bench.counters["captured0"] == bench.counters["dropped0"] + sum(
        e[0] == "frame" for e in bench.take()
    )


# ---- ending ----


def test_stop_ends_a_running_camera_and_what_was_pushed_stays(bench: Bench) -> None:
    child = bench.start((("frames", [1, 2, 3]),))
    bench.until(lambda: bench.ring.published == 4)
    child.send("stop")
    assert bench.take_to_the_end() == [("info", 1), *frames([1, 2, 3]), ("end", "stopped")]
    assert bench.told[-1] == {"event": "done", "reason": "stopped"}


def test_stop_while_a_camera_is_being_opened_ends_it_as_soon_as_that_returns(bench: Bench) -> None:
    child = bench.start((("slow open", 0.3), ("frames", [1])), go=False)
    child.send("stop")
    assert bench.take_to_the_end() == [("end", "stopped")]
    assert bench.counters["captured0"] == 0


def test_stop_between_two_attempts_is_not_waited_out(bench: Bench) -> None:
    child = bench.start(first_retry_s=60.0)
    bench.until_told("away")
    child.send("stop")
    assert bench.take_to_the_end() == [("end", "stopped")]


def test_stop_before_go_records_nothing(bench: Bench) -> None:
    child = bench.start((("rate", (1000, 0.002)),), go=False)
    bench.until_told("opened")
    child.send("stop")
    assert bench.take_to_the_end() == [("end", "stopped")]


def test_killed_supervisor_ends_the_camera(bench: Bench) -> None:
    child = bench.start((("frames", [1]),))
    bench.until(lambda: bench.counters["captured0"] == 1)
    bench.children.clear()
    child.close()
    assert child.wait(10)
    assert child.exit_code() == 0
    assert list(bench.take()) == [("info", 1), *frames([1]), ("end", "stopped")]


def test_heart_beats_while_there_is_no_camera_at_all(bench: Bench) -> None:
    bench.start(first_retry_s=60.0)
    bench.until_told("away")
    first_ns = bench.counters["heartbeat_ns"]
    bench.until(lambda: bench.counters["heartbeat_ns"] > first_ns)
    assert bench.counters["state"] == AWAY
