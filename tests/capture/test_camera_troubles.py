"""The camera process in the long run: cameras that flap, streams that die alone, queues that stay full."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.capture.scripted_source import Step, spec
from tests.capture.test_camera import Bench, accounted, frames


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


def test_camera_that_opens_and_is_lost_at_once_is_tried_more_and_more_seldom(bench: Bench) -> None:
    child = bench.start(*((("lost", "loose cable"),) for _ in range(100_000)), first_retry_s=0.05)
    bench.until_told("opened", times=4)
    began_s = time.monotonic()
    bench.until_told("opened", times=5)
    assert time.monotonic() - began_s > 0.1
    child.send("stop")
    bench.take_to_the_end()
    assert bench.counters["epoch"] < 10


def test_camera_for_which_something_was_done_is_tried_at_once(
    bench: Bench,
) -> None:
    child = bench.start((("busy", "stuck"),), (("frames", [1]), ("end", "over")), first_retry_s=3600.0)
    bench.until_told("away")
    child.send("again")
    assert bench.take_to_the_end() == [("info", 1), *frames([1]), ("end", "ended")]


def test_stream_that_dies_alone_makes_the_camera_be_opened_again(bench: Bench) -> None:
    both = [("depth", 1), ("color", 1)]
    alone = tuple(step for n in range(2, 100) for step in (("frames", [("depth", n)]), ("pause", 0.01)))
    life: tuple[Step, ...] = (("frames", both), *alone)
    bench.start(life, (("frames", both), ("end", "over")), camera=spec(stall_s=0.1))
    found = bench.take_to_the_end()
    assert found[-3:] == [*frames([1], epoch=2), *frames([1], epoch=2, stream=1), ("end", "ended")]
    messages = [str(event.get("message")) for event in bench.told]
    assert any("no color for 0 s while its other streams go on" in message for message in messages)


def test_stream_that_never_comes_does_not_keep_the_others_from_recording(bench: Bench) -> None:
    lives = [tuple(("frames", [n]) if i % 2 else ("pause", 0.01) for i, n in enumerate(range(1000)))] * 50
    child = bench.start(*lives, camera=spec(stall_s=0.03))
    bench.until_told("opened", times=2)
    bench.until(lambda: bench.counters["captured0"] > 60)
    child.send("stop")
    assert bench.counters["epoch"] < 8  # its patience doubles


def test_stopped_file_has_not_captured_what_still_waited_for_room(small_bench: Bench) -> None:
    bench = small_bench
    child = bench.start((("frames", list(range(300))), ("end", "over")), can_wait=True, frame_bytes=4000)
    bench.until(lambda: bench.ring.fill > 0.9)
    time.sleep(0.2)
    child.send("stop")
    assert child.wait(5)
    pushed = sum(entry[0] == "frame" for entry in bench.take())
    assert bench.counters["captured0"] == pushed > 0
    assert bench.counters["dropped0"] == 0


def test_camera_that_comes_back_to_a_full_ring_is_told_of_before_its_next_frame(small_bench: Bench) -> None:
    bench = small_bench
    lives: tuple[tuple[Step, ...], ...] = (
        (("rate", (40, 0.001)), ("lost", "gone")),
        (("rate", (600, 0.002)), ("end", "over")),
    )
    bench.start(*lives, frame_bytes=4000)
    bench.until(lambda: bench.counters["epoch"] == 2 and bench.counters["captured0"] > 60)
    found = bench.take_to_the_end()
    again = found.index(("info", 2))
    assert all(entry[2] == 1 for entry in found[:again] if entry[0] in ("frame", "gap"))
    assert accounted([entry for entry in found if entry[2:3] == (2,)]) == 600
    assert bench.counters["captured0"] - bench.counters["dropped0"] == sum(e[0] == "frame" for e in found)


def test_full_ring_is_not_filled_up_with_gaps_of_a_single_frame(small_bench: Bench) -> None:
    bench = small_bench
    bench.start((("rate", (300, 0.001)), ("end", "over")), frame_bytes=4000)
    bench.until(lambda: bench.counters["captured0"] == 300)
    found = bench.take_to_the_end()
    assert accounted(found) == 300
    assert sum(entry[0] == "gap" for entry in found) <= 2


def test_camera_whose_frames_fit_no_queue_is_refused_with_the_way_out(bench: Bench) -> None:
    child = bench.start((("frames", [1]),), frame_bytes=600_000)
    assert child.wait(10)
    (event,) = bench.listen()
    assert event["event"] == "error"
    assert event["message"].endswith("raise queue_mb")
