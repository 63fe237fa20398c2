"""The queue between processes: what was published arrives whole and in order, whoever is killed."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import random
import select
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from capture import _ring_layout
from capture import ring as ring_module
from capture.ring import END, FRAME, GAP, INFO, FrameRing, RingFrame, RingSpec, drain_event
from capture.spawn import Child
from tests.capture.ring_processes import Job, frame_of, is_intact, push_next

PAGE = 4096


def attach(ring: FrameRing) -> FrameRing:
    """Another end of the same ring with descriptors of its own, as another process has it."""
    spec = ring.spec
    observers = tuple(os.dup(fd) for fd in spec.observer_fds)
    memory_fd, data_fd, space_fd = (os.dup(fd) for fd in (spec.memory_fd, spec.data_fd, spec.space_fd))
    fds = {"memory_fd": memory_fd, "data_fd": data_fd, "space_fd": space_fd, "observer_fds": observers}
    return FrameRing(replace(spec, **fds))  # type: ignore[arg-type]


def words(ring: FrameRing) -> list[int]:
    return list(ring._words[:5])


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def small() -> Any:
    """A ring of four pages with eight entries and one observer."""
    ring = FrameRing.create(4 * PAGE, entry_count=8, observers=1)
    yield ring
    ring.close()


def take_all(ring: FrameRing) -> list[RingFrame]:
    return list(iter(ring.take, None))


# ---- one frame ----


@pytest.mark.parametrize(
    "data",
    [
        np.arange(24, dtype=np.uint16).reshape(4, 6),
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        np.arange(24, dtype=np.uint8).reshape(4, 6),
        np.arange(24, dtype=np.uint8),
        np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 12),
        np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 4, 3),
        np.arange(48, dtype=np.uint16).reshape(4, 12)[::2, ::3],
        np.zeros((0, 5, 3), np.float32),
        np.zeros((0, 0), np.uint16),
        np.array(7, np.uint8),
        np.zeros((1, 1000, 1), np.uint8),
    ],
    ids=lambda data: f"{data.dtype}{data.shape}",
)
def test_every_pixel_format_comes_out_as_it_went_in(small: FrameRing, data: npt.NDArray[Any]) -> None:
    assert small.push(data, stream=2, meta=b'{"pose":1}')
    copied = small.newest(2)
    taken = small.take()
    for frame in (copied, taken):
        assert frame is not None
        assert frame.data.dtype == data.dtype
        assert frame.data.shape == data.shape
        assert np.array_equal(frame.data, data)
        assert frame.meta == b'{"pose":1}'
    assert small.take() is None


@pytest.mark.parametrize("kind", [INFO, GAP, END])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"reason":"ended"}'])
def test_words_of_the_producer_travel_in_order_with_the_frames(
    small: FrameRing, kind: int, body: bytes
) -> None:
    small.push(np.ones((2, 2), np.uint8))
    small.push(body, kind=kind, stream=1, epoch=5)
    small.push(np.ones((2, 2), np.uint8))
    frames = take_all(small)
    assert [frame.kind for frame in frames] == [FRAME, kind, FRAME]
    assert bytes(frames[1].data) == body
    assert (frames[1].stream, frames[1].epoch) == (1, 5)


def test_extremes_of_every_number_come_out_as_they_went_in(small: FrameRing) -> None:
    extremes = {
        "kind": 255,
        "stream": 255,
        "clock": 255,
        "epoch": 2**32 - 1,
        "number": 2**64 - 1,
        "device_time_s": -math.inf,
        "monotonic_ns": -(2**63),
    }
    small.push(np.ones(3, np.uint8), **extremes)  # type: ignore[arg-type]
    frame = small.take()
    assert frame is not None
    assert {name: getattr(frame, name) for name in extremes} == extremes
    small.push(np.ones(3, np.uint8))
    frame = small.take()
    assert frame is not None
    assert math.isnan(frame.device_time_s)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (np.zeros(2, np.uint8), {"number": -1}),
        (np.zeros(2, np.uint8), {"number": 2**64}),
        (np.zeros(2, np.uint8), {"epoch": -1}),
        (np.zeros(2, np.uint8), {"epoch": 2**32}),
        (np.zeros(2, np.uint8), {"stream": 256}),
        (np.zeros(2, np.uint8), {"clock": -1}),
        (np.zeros(2, np.uint8), {"monotonic_ns": 2**63}),
        (np.zeros((1, 1, 1, 1), np.uint8), {}),
        (np.zeros((0, 1, 70_000), np.uint8), {}),
        (np.zeros(2, np.int64), {}),
        (np.zeros(2, np.float64), {}),
        (np.zeros(2, ">u2"), {}),
        (np.zeros(2, bool), {}),
        (np.zeros(2 * PAGE + 1, np.uint8), {}),
        (np.zeros(2 * PAGE, np.uint8), {"meta": b"1"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else f"{value.dtype}{value.shape}",
)
def test_what_no_entry_can_hold_is_a_value_error_and_changes_nothing(
    small: FrameRing, data: npt.NDArray[Any], fields: dict[str, Any]
) -> None:
    small.push(np.ones((3, 4), np.uint16), number=1)
    before = words(small), bytes(small._map)
    for _ in range(20):
        with pytest.raises(ValueError):
            small.push(data, **fields)
    assert (words(small), bytes(small._map)) == before
    assert small.push(np.zeros(2 * PAGE, np.uint8))


def test_frame_of_just_half_the_arena_always_fits_an_empty_ring(small: FrameRing) -> None:
    for step in range(0, 2 * PAGE, 192):  # from every place in the arena
        for size in (max(1, step), 2 * PAGE):
            assert small.push(np.full(size, step % 256, np.uint8))
            frame = small.take()
            assert frame is not None
            assert np.array_equal(frame.data, np.full(size, step % 256, np.uint8))
            small.release(frame)


# ---- full and empty ----


def test_full_ring_refuses_and_nothing_changes(small: FrameRing) -> None:
    count = 0
    while small.push(np.full(PAGE, count, np.uint8), number=count):
        count += 1
    assert count == 4
    before = words(small), bytes(small._map)
    assert not small.push(np.full(PAGE, 99, np.uint8), number=99)
    assert not small.push(b"x", kind=END)
    assert (words(small), bytes(small._map)) == before
    assert small.fill == 1.0
    frames = take_all(small)
    assert [int(frame.data[0]) for frame in frames] == [0, 1, 2, 3]
    assert not small.push(b"x", kind=END)  # taken is not released
    small.release(frames[0])
    assert small.push(np.full(PAGE, 4, np.uint8), number=4)
    assert [frame.number for frame in take_all(small)] == [4]


def test_ring_without_free_entries_refuses_even_what_has_no_bytes(small: FrameRing) -> None:
    for _ in range(8):
        assert small.push(b"", kind=GAP)
    assert not small.push(b"", kind=GAP)
    assert small.fill == 1.0
    frame = small.take()
    assert frame is not None
    small.release(frame)
    assert small.push(b"", kind=GAP)


def test_one_release_gives_back_everything_before_it(small: FrameRing) -> None:
    for number in range(4):
        small.push(np.full(PAGE, number, np.uint8), number=number)
    frames = take_all(small)
    small.release(frames[2])
    assert small.queued == 1
    small.release(frames[3])
    assert (small.queued, small.fill) == (0, 0.0)


def test_frames_that_are_held_stay_as_they_are_whatever_is_pushed(small: FrameRing) -> None:
    small.push(np.full(3000, 1, np.uint8))
    small.push(np.full(3000, 2, np.uint8))
    first = small.take()
    second = small.take()
    assert first is not None
    assert second is not None
    small.release(first)
    for number in range(50):
        small.push(np.full(3000, 3 + number, np.uint8))
    assert np.all(second.data == 2)


def test_counts_say_how_full_it_is() -> None:
    ring = FrameRing.create(100 * PAGE, entry_count=1000)
    assert (ring.fill, ring.queued, ring.published) == (0.0, 0, 0)
    for _ in range(10):
        ring.push(np.zeros(PAGE, np.uint8))
    assert (ring.queued, ring.published) == (10, 10)
    assert ring.fill == pytest.approx(0.1)
    for frame in take_all(ring):
        ring.release(frame)
    assert (ring.fill, ring.queued, ring.published) == (0.0, 0, 10)
    ring.close()


def test_arena_is_rounded_up_to_whole_pages() -> None:
    ring = FrameRing.create(PAGE + 1)
    assert ring.spec.arena_bytes == 2 * PAGE
    ring.close()


# ---- being woken ----


def _is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_a_push_wakes_the_consumer_and_every_observer_and_a_release_the_producer() -> None:
    ring = FrameRing.create(4 * PAGE, observers=2)
    spec = ring.spec
    assert not any(map(_is_readable, (spec.data_fd, spec.space_fd, *spec.observer_fds)))
    ring.push(b"x")
    assert all(map(_is_readable, (spec.data_fd, *spec.observer_fds)))
    assert not _is_readable(spec.space_fd)
    for fd in (spec.data_fd, *spec.observer_fds):
        drain_event(fd)
        drain_event(fd)
        assert not _is_readable(fd)
    frame = ring.take()
    assert frame is not None
    ring.release(frame)
    assert _is_readable(spec.space_fd)
    ring.close()


def test_event_counter_at_its_limit_is_no_error(small: FrameRing) -> None:
    for fd in (small.spec.data_fd, small.spec.space_fd):
        os.eventfd_write(fd, 2**64 - 2)
    small.push(b"x")
    frame = small.take()
    assert frame is not None
    small.release(frame)


# ---- observers ----


def test_observer_sees_the_newest_of_its_stream_and_kind_once(small: FrameRing) -> None:
    assert small.newest(0) is None
    for number in range(4):
        small.push(np.full(5, number, np.uint8), stream=number % 2, number=number)
    small.push(b"{}", kind=INFO, stream=0)
    newest = small.newest(0)
    assert newest is not None
    assert newest.number == 2
    assert small.newest(0, after=newest.sequence) is None
    assert small.newest(7) is None
    info = small.newest(0, kind=INFO)
    assert info is not None
    assert bytes(info.data) == b"{}"


def test_observer_may_look_at_what_was_released_until_it_is_overwritten(small: FrameRing) -> None:
    small.push(np.full(2 * PAGE, 1, np.uint8), stream=1, number=1)
    frame = small.take()
    assert frame is not None
    small.release(frame)
    newest = small.newest(1)
    assert newest is not None
    for _ in range(2):
        small.push(np.full(PAGE, 2, np.uint8), stream=2)
    assert small.newest(1) is not None  # four pages: not yet
    small.push(b"one more", stream=2)
    assert small.newest(1) is None
    assert np.all(newest.data == 1)  # a copy


def test_observer_never_trusts_an_entry_that_may_be_half_written(small: FrameRing) -> None:
    """The entry of the frame being pushed takes the place of the oldest one in the table."""
    small.push(b"old", stream=1)
    for _ in range(7):
        small.push(b"new", stream=2)
    for frame in take_all(small):
        small.release(frame)
    assert small.published == small.spec.entry_count
    assert small.newest(1) is None


# ---- the arithmetic, against a simple model ----


class RingModel(RuleBasedStateMachine):
    """Everything one producer, one consumer and an observer can do, restarts and kills included."""

    ENTRIES = 6
    ARENA = 2 * PAGE

    def __init__(self) -> None:
        super().__init__()
        self.ends = [FrameRing.create(self.ARENA, entry_count=self.ENTRIES)]
        self.producer = self.consumer = self.ends[0]
        self.observer = self._attached()
        self.queued: list[tuple[int, bytes, bytes]] = []  # (number, data, meta), oldest first
        self.taken: list[RingFrame] = []
        self.pushed: list[tuple[int, bytes]] = []

    def _attached(self) -> FrameRing:
        self.ends.append(attach(self.ends[0]))
        return self.ends[-1]

    @initialize(lap_bytes=st.sampled_from([ring_module._LAP_BYTES, PAGE, 640, 1]))
    def begins_again_after(self, lap_bytes: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ring_module, "_LAP_BYTES", lap_bytes)

    def teardown(self) -> None:
        self.patch.undo()
        for ring in self.ends:
            ring.close()

    @rule(size=st.integers(0, PAGE - 64), meta=st.binary(max_size=64), seed=st.integers(0, 255))
    def push(self, size: int, meta: bytes, seed: int) -> None:
        data = np.full(size, seed, np.uint8)
        number = len(self.pushed)
        before = words(self.producer)
        need = -(-(size + len(meta)) // 64) * 64
        if self.producer.push(data, number=number, stream=1, meta=meta):
            self.queued.append((number, data.tobytes(), meta))
            self.pushed.append((number, data.tobytes()))
        else:
            assert words(self.producer) == before
            assert self.queued, "an empty ring takes every frame"
            occupied = before[1] - max(before[3:])
            assert len(self.queued) == self.ENTRIES or occupied + 2 * need > self.ARENA

    @rule()
    def take(self) -> None:
        frame = self.consumer.take()
        if len(self.taken) == len(self.queued):
            assert frame is None
            return
        assert frame is not None
        number, data, meta = self.queued[len(self.taken)]
        assert (frame.number, frame.data.tobytes(), frame.meta) == (number, data, meta)
        self.taken.append(frame)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.taken)))
        self.consumer.release(self.taken[count - 1])
        del self.taken[:count], self.queued[:count]

    @rule()
    def producer_is_replaced(self) -> None:
        self.producer = self._attached()

    @rule(size=st.integers(1, PAGE - 64))
    def producer_is_killed_while_it_copies(self, size: int) -> None:
        def killed(*_: object) -> None:
            raise InterruptedError

        self.producer._copy_in = killed  # type: ignore[method-assign]
        with contextlib.suppress(InterruptedError):
            self.producer.push(np.zeros(size, np.uint8))
        self.producer = self._attached()

    @rule()
    def consumer_is_replaced(self) -> None:
        self.consumer = self._attached()
        self.taken.clear()

    @precondition(lambda self: self.taken)
    @rule()
    def consumer_is_killed_while_it_releases(self) -> None:
        self.consumer._words[2] = self.taken[0].sequence
        del self.queued[0]
        self.consumer_is_replaced()

    @invariant()
    def what_is_held_has_not_changed(self) -> None:
        for frame, (_, data, _) in zip(self.taken, self.queued, strict=False):
            assert frame.data.tobytes() == data

    @invariant()
    def counts_are_right(self) -> None:
        assert self.producer.queued == len(self.queued)
        assert self.producer.published == len(self.pushed)
        assert 0.0 <= self.producer.fill <= 1.0

    @invariant()
    def observer_sees_the_newest_or_nothing(self) -> None:
        frame = self.observer.newest(1)
        if frame is not None:
            assert (frame.number, frame.data.tobytes()) == self.pushed[-1]
        elif self.queued:
            raise AssertionError("the newest frame is still queued and cannot have been overwritten")


RingModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRingAgainstModel = RingModel.TestCase


def test_producers_killed_again_and_again_leave_a_ring_that_takes_frames(
    monkeypatch: pytest.MonkeyPatch, small: FrameRing
) -> None:
    def killed(*_: object) -> None:
        raise InterruptedError

    for attempt in range(10):
        with monkeypatch.context() as patch:
            patch.setattr(FrameRing, "_copy_in", killed)
            with pytest.raises(InterruptedError):
                small.push(np.zeros(2 * PAGE, np.uint8))
        assert small.queued == 0
        assert small.fill == 0.0
        assert small.push(np.full(2 * PAGE, attempt, np.uint8), number=attempt)
        frame = small.take()
        assert frame is not None
        assert np.all(frame.data == attempt)
        small.release(frame)


# ---- bounds ----


def test_memory_stays_what_it_was_made_for(small: FrameRing) -> None:
    for number in range(2000):
        small.push(np.zeros(1 + number % 5000, np.uint8), meta=b"x" * (number % 100))
        frame = small.take()
        assert frame is not None
        small.release(frame)
    held = os.fstat(small.spec.memory_fd).st_blocks * 512
    assert held <= small._size + PAGE
    assert words(small)[1] > 100 * small.spec.arena_bytes


def test_memory_that_is_never_needed_is_never_taken() -> None:
    """A queue may be large for the sake of a slow disk; as long as that keeps up, it costs little."""
    ring = FrameRing.create(64 << 20)
    frame_bytes = 1 << 20
    for number in range(200):
        assert ring.push(np.full(frame_bytes, number % 251, np.uint8), number=number)
        frame = ring.take()
        assert frame is not None
        assert np.all(frame.data == number % 251)
        newest = ring.newest(0)
        assert newest is not None
        assert newest.number == number
        ring.release(frame)
    assert os.fstat(ring.spec.memory_fd).st_blocks * 512 < 20 << 20
    while ring.push(np.zeros(frame_bytes, np.uint8)):  # and when it does not, all of it is there
        assert ring.queued <= 64
    assert ring.queued == 64
    ring.close()


def test_no_descriptor_is_left_open() -> None:
    before = _open_descriptors()
    for _ in range(30):
        ring = FrameRing.create(PAGE, observers=3)
        other = attach(ring)
        ring.push(b"x")
        other.take()
        other.close()
        ring.close()
        del ring, other
    assert _open_descriptors() == before


def test_descriptors_are_not_inherited_by_accident() -> None:
    ring = FrameRing.create(PAGE, observers=1)
    assert not any(os.get_inheritable(fd) for fd in (*ring.spec.fds, ring._fence_fd))
    ring.close()


def test_positions_beyond_32_bits_are_no_special_case() -> None:
    ring = FrameRing.create(4 * PAGE, entry_count=8)
    lap = 4 * PAGE * 1_000_003
    ring._words[1] = ring._words[3] = lap + 3 * PAGE  # as after 16 GB
    for number in range(20):
        assert ring.push(np.full(PAGE + 64, number, np.uint8), number=number)
        frame = ring.take()
        assert frame is not None
        assert np.all(frame.data == number)
        ring.release(frame)
    ring.close()


# ---- real processes ----


def _start(entry: str, ring: FrameRing, count: int, log_fd: int = -1) -> Child:
    fds = ring.spec.fds if log_fd < 0 else (*ring.spec.fds, log_fd)
    child = Child(entry, f"tests.capture.ring_processes:{entry}", Job(ring.spec, count, log_fd), fds)
    while not child.events():
        assert child.exit_code() is None
        select.select([child.event_fd], [], [], 10.0)
    return child


def _end(child: Child) -> None:
    if child.exit_code() is None:
        child.kill()
    child.close()


def _take_in_order(ring: FrameRing, first: int, last: int, deadline_s: float = 30.0) -> None:
    """Take, check and release frames first to last - 1."""
    until_s = time.monotonic() + deadline_s
    number = first
    while number < last:
        frame = ring.take()
        if frame is None:
            assert time.monotonic() < until_s, f"frame {number} never came"
            select.select([ring.spec.data_fd], [], [], 0.1)
            drain_event(ring.spec.data_fd)
            continue
        assert frame.number == number
        assert frame.epoch == number // 1000
        assert is_intact(frame)
        ring.release(frame)
        number += 1


def test_two_processes_hand_over_2000_frames_of_every_size_whole_and_in_order() -> None:
    ring = FrameRing.create(64 * PAGE, entry_count=64)
    child = _start("produce", ring, 2000)
    try:
        _take_in_order(ring, 0, 2000)
        assert child.wait(10)
        assert child.exit_code() == 0
        assert ring.take() is None
    finally:
        _end(child)
        ring.close()


def test_producer_killed_at_any_moment_and_replaced_loses_and_tears_nothing() -> None:
    ring = FrameRing.create(32 * PAGE, entry_count=16)
    chosen = random.Random(3)
    taken = 0
    try:
        for _ in range(8):
            child = _start("produce", ring, 1_000_000)
            until_s = time.monotonic() + chosen.uniform(0.0, 0.04)
            while time.monotonic() < until_s:
                target = ring.published
                _take_in_order(ring, taken, target)
                taken = target
            child.kill()
            child.close()
            _take_in_order(ring, taken, ring.published)
            taken = ring.published
            assert ring.queued == 0
            assert ring.fill == 0.0
        assert taken > 100
    finally:
        ring.close()


def test_consumer_killed_and_replaced_gets_again_only_what_it_had_not_released() -> None:
    ring = FrameRing.create(32 * PAGE, entry_count=16)
    log_read, log_write = os.pipe()
    os.set_blocking(log_read, False)
    chosen = random.Random(4)
    lines: list[tuple[str, int]] = []
    try:
        for _ in range(6):
            child = _start("consume", ring, 1_000_000, log_write)
            until_s = time.monotonic() + chosen.uniform(0.0, 0.04)
            while time.monotonic() < until_s:
                push_next(ring)
                lines += _lines(log_read)
            child.kill()
            child.close()
            lines += _lines(log_read)
        while not ring.queued:
            push_next(ring)
        child = _start("consume", ring, ring.published, log_write)
        while not child.wait(0.01):
            lines += _lines(log_read)
        child.close()
        lines += _lines(log_read)
    finally:
        ring.close()
        os.close(log_read)
        os.close(log_write)
    _check_log(lines, ring.published)


def _lines(fd: int) -> list[tuple[str, int]]:
    found = b""
    while True:
        try:
            found += os.read(fd, 1 << 16)
        except BlockingIOError:
            words_of = [line.split() for line in found.decode().splitlines()]
            return [(word, int(number)) for word, number in words_of]


def _check_log(lines: list[tuple[str, int]], count: int) -> None:
    assert "torn" not in {word for word, _ in lines}
    released: set[int] = set()
    taken = [number for word, number in lines if word == "taken"]
    for word, number in lines:
        if word == "released":
            released.add(number)
        else:
            assert number not in released, "given back and taken again"
    assert sorted(set(taken)) == list(range(count))
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(taken))
    assert len(taken) <= count + 7  # each of the killed had one frame in hand


@pytest.mark.parametrize("entry_count", [3, 64])
def test_observer_never_sees_a_torn_frame_while_the_producer_laps_it(entry_count: int) -> None:
    ring = FrameRing.create(32 * PAGE, entry_count=entry_count)
    child = _start("lap", ring, 0)
    seen = after = 0
    try:
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s or not seen:
            frame = ring.newest(seen % 3, after=after)
            if frame is not None:
                assert is_intact(frame), f"frame {frame.number} is torn"
                assert frame.stream == frame.number % 3
                seen += 1
                after = frame.sequence
        child.send("stop")
        assert child.wait(10)
        assert child.exit_code() == 0
    finally:
        _end(child)
        ring.close()
    assert ring.published > seen > 0


def test_group_that_is_killed_leaves_no_memory_behind() -> None:
    ring = FrameRing.create(32 * PAGE)
    child = _start("produce", ring, 1_000_000)
    inode = os.fstat(ring.spec.memory_fd).st_ino
    maps = Path(f"/proc/{child.pid}/maps").read_text()
    assert "memfd:nightrig-ring (deleted)" in maps
    child.kill()
    child.close()
    ring.close()
    assert str(inode) not in {p.name for p in Path("/dev/shm").iterdir()}


def test_spec_survives_the_way_to_a_child() -> None:
    spec = RingSpec(3, 4, 5, (6, 7), PAGE, 8)
    assert spec.fds == (3, 4, 5, 6, 7)
    assert _ring_layout.ENTRY.size == _ring_layout.ENTRY_BYTES
    assert frame_of(7)[0].shape[0] == 1


def test_an_empty_ring_begins_again_after_a_lap_so_that_memory_never_needed_is_never_taken() -> None:
    ring = FrameRing.create(64 << 20)
    frame = np.zeros(1 << 20, np.uint8)
    starts = set()
    for number in range(100):
        frame[:] = number
        assert ring.push(frame, number=number)
        taken = ring.take()
        assert taken is not None
        assert taken.number == number
        assert (taken.data == number).all()
        starts.add(int(taken.data.__array_interface__["data"][0]))
        newest = ring.newest(0)
        assert newest is not None
        assert (newest.data == number).all()
        ring.release(taken)
        assert ring.fill == 0.0
    assert max(starts) - min(starts) <= 17 << 20
    ring.close()


def test_a_ring_that_began_again_still_holds_all_it_promises() -> None:
    ring = FrameRing.create(64 << 20)
    frame = np.zeros(1 << 20, np.uint8)
    for number in range(17):  # past the lap, with nothing queued
        assert ring.push(frame, number=number)
        taken = ring.take()
        assert taken is not None
        ring.release(taken)
    pushed = 0
    while ring.push(frame, number=100 + pushed):
        pushed += 1
    assert pushed == 64
    assert ring.fill == 1.0
    for number in range(pushed):
        taken = ring.take()
        assert taken is not None
        assert taken.number == 100 + number
        ring.release(taken)
    assert ring.take() is None
    ring.close()


def test_what_a_full_ring_refused_can_still_be_seen_and_is_never_taken() -> None:
    ring = FrameRing.create(1 << 16, observers=1)
    picture = np.arange(3000, dtype=np.uint16).reshape(30, 100)
    while ring.push(picture, monotonic_ns=1):
        pass
    queued = ring.queued
    assert ring.glimpse(0, after_ns=0) is None
    ring.show(picture + 1, stream=0, number=7, epoch=2, monotonic_ns=50, meta=b"here")
    seen = FrameRing(ring.spec).glimpse(0, after_ns=49)
    assert seen is not None
    assert (seen.number, seen.epoch, seen.monotonic_ns, seen.meta) == (7, 2, 50, b"here")
    np.testing.assert_array_equal(seen.data, picture + 1)
    assert ring.glimpse(0, after_ns=50) is None
    assert ring.glimpse(1, after_ns=0) is None
    assert ring.queued == queued
    for _ in range(queued):
        frame = ring.take()
        assert frame is not None
        np.testing.assert_array_equal(frame.data, picture)
    assert ring.take() is None


def test_streams_are_shown_beside_each_other_and_what_is_too_large_is_not() -> None:
    ring = FrameRing.create(1 << 16)
    ring.show(np.full(4000, 1, np.uint8), stream=0, number=1, monotonic_ns=1)
    ring.show(np.full(5000, 2, np.uint8), stream=3, number=2, monotonic_ns=2)
    ring.show(np.full(9000, 3, np.uint8), stream=0, number=3, monotonic_ns=3)  # beyond what the first had
    ring.show(np.full(30000, 4, np.uint8), stream=1, number=4, monotonic_ns=4)
    first, other = ring.glimpse(0, after_ns=0), ring.glimpse(3, after_ns=0)
    assert first is not None
    assert other is not None
    assert (first.number, first.data.sum(), other.number, other.data.sum()) == (1, 4000, 2, 10000)
    assert ring.glimpse(1, after_ns=0) is None


def test_a_picture_that_is_being_shown_is_not_seen_and_a_killed_camera_hides_none_for_ever() -> None:
    ring = FrameRing.create(1 << 16)
    ring.show(np.ones(100, np.uint8), stream=0, number=1, monotonic_ns=1)
    ring._words[16] |= 1  # as if killed within show()
    assert ring.glimpse(0, after_ns=0) is None
    ring.show(np.ones(100, np.uint8), stream=0, number=2, monotonic_ns=2)
    seen = ring.glimpse(0, after_ns=0)
    assert seen is not None
    assert seen.number == 2
