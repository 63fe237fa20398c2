"""The effort ladder: cheaper when the processor is short, denser when the disk is, and no to and fro."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.effort import EffortLadder, Load, ladder_for
from codec.depth import CODEC_NAMES

EASY = Load(fill=0.0, encode_busy=0.2, disk_busy=0.1, disk_rate=400e6, raw_rate=50e6, free_bytes=10**12)
CPU_SHORT = replace(EASY, fill=0.5, encode_busy=1.0)
REFUSED = replace(EASY, fill=0.5, encode_busy=0.3, disk_busy=0.0, refused=True)
NATIVE = ("lattice-rans", "lattice-lz4", "raw")
DISK_SHORT = replace(EASY, fill=0.5, disk_busy=1.0, disk_rate=20e6)


def run(ladder: EffortLadder, load: Load, seconds: int) -> list[str]:
    """The reasons for the changes within so many seconds of the same load."""
    return [reason for reason in (ladder.step(load) for _ in range(seconds)) if reason is not None]


def ladder_of(wanted: str, *, at: str = "", kernels: bool = True) -> EffortLadder:
    ladder = EffortLadder(wanted, kernels=kernels)
    ladder.codec = at or wanted
    return ladder


def test_every_step_is_a_codec_there_is() -> None:
    assert set(ladder_for("raw", kernels=True)) <= set(CODEC_NAMES)


@pytest.mark.parametrize(
    ("wanted", "kernels", "ladder"),
    [
        ("lattice-lz4", True, NATIVE),
        ("lattice-rans", True, NATIVE),
        ("raw", True, NATIVE),
        ("lattice-lz4", False, ("lattice-lz4", "raw")),
        ("raw", False, ("lattice-lz4", "raw")),
        ("lattice-rans", False, ("lattice-rans", "lattice-lz4", "raw")),  # asked for: begun with
        ("lz4", True, ("lattice-rans", "lattice-lz4", "lz4", "raw")),
        ("lz4", False, ("lattice-lz4", "lz4", "raw")),
        ("near", True, ("near", *NATIVE)),
        ("max", False, ("max", "lattice-lz4", "raw")),
    ],
)
def test_what_loses_something_or_is_too_slow_is_a_step_only_where_it_was_asked_for(
    wanted: str, kernels: bool, ladder: tuple[str, ...]
) -> None:
    assert ladder_for(wanted, kernels=kernels) == ladder


@pytest.mark.parametrize("wanted", [*NATIVE, "lz4", "near", "max"])
def test_nothing_changes_while_it_is_easy(wanted: str) -> None:
    ladder = ladder_of(wanted)
    assert run(ladder, EASY, 100) == []
    assert ladder.codec == wanted


@pytest.mark.parametrize(
    ("codec", "load", "reason", "then"),
    [
        ("lattice-rans", CPU_SHORT, "cpu", "lattice-lz4"),
        ("lattice-lz4", CPU_SHORT, "cpu", "raw"),
        ("lz4", CPU_SHORT, "cpu", "raw"),
        ("raw", CPU_SHORT, None, "raw"),
        ("lattice-rans", DISK_SHORT, None, "lattice-rans"),
        ("lattice-lz4", DISK_SHORT, "disk", "lattice-rans"),
        ("lz4", DISK_SHORT, "disk", "lattice-lz4"),
        ("raw", DISK_SHORT, "disk", "lattice-lz4"),
        ("lattice-lz4", replace(CPU_SHORT, disk_rate=74e6), None, "lattice-lz4"),  # raw is 50 MB/s: too near
        ("lattice-lz4", replace(CPU_SHORT, free_bytes=50_000_000 * 3600), None, "lattice-lz4"),  # an hour
        ("lattice-lz4", replace(CPU_SHORT, free_bytes=0), None, "lattice-lz4"),
        ("lattice-rans", replace(CPU_SHORT, free_bytes=0, disk_rate=0.0), "cpu", "lattice-lz4"),
        ("lattice-lz4", replace(CPU_SHORT, fill=0.25), None, "lattice-lz4"),
        ("lattice-lz4", replace(EASY, encode_busy=1.0), None, "lattice-lz4"),  # busy, but in time
        ("raw", replace(EASY, free_bytes=1000), "room", "lattice-lz4"),
        ("raw", replace(EASY, free_bytes=50_000_000 * 601), None, "raw"),  # ten minutes do for who asks
        ("raw", replace(EASY, free_bytes=50_000_000 * 600), "room", "lattice-lz4"),
        ("raw", replace(EASY, disk_rate=60e6), "disk", "lattice-lz4"),
        ("raw", replace(EASY, disk_rate=0.0, raw_rate=0.0), None, "raw"),  # nothing was written yet
        ("raw", replace(EASY, disk_rate=0.0, free_bytes=1000), "room", "lattice-lz4"),
        ("lattice-lz4", replace(CPU_SHORT, disk_rate=0.0), None, "lattice-lz4"),
        ("lattice-lz4", REFUSED, "disk", "lattice-rans"),
        ("lattice-rans", REFUSED, None, "lattice-rans"),
        ("raw", replace(REFUSED, fill=0.0), "disk", "lattice-lz4"),
        ("near", CPU_SHORT, "cpu", "lattice-rans"),
        ("near", DISK_SHORT, None, "near"),
        ("max", CPU_SHORT, "cpu", "lattice-rans"),
    ],
)
def test_what_is_short_says_which_way_to_go(codec: str, load: Load, reason: str | None, then: str) -> None:
    ladder = ladder_of(codec)
    assert ladder.step(load) == reason
    assert ladder.codec == then


@pytest.mark.parametrize("load", [CPU_SHORT, DISK_SHORT, REFUSED])
def test_no_step_is_taken_by_a_rig_without_depth(load: Load) -> None:
    ladder = ladder_of("lattice-lz4")
    assert run(ladder, replace(load, raw_rate=0.0), 60) == []
    assert ladder.step(load) is not None  # a depth camera has come


def test_without_kernels_a_disk_that_is_short_gets_nothing_denser() -> None:
    ladder = ladder_of("lattice-lz4", kernels=False)
    assert run(ladder, DISK_SHORT, 60) == []
    assert ladder.codec == "lattice-lz4"


@pytest.mark.parametrize("wanted", ["near", "max"])
def test_what_is_no_step_of_its_own_is_returned_to_when_it_is_easy_and_never_for_want_of_disk(
    wanted: str,
) -> None:
    ladder = ladder_of(wanted, at="lattice-lz4")
    assert run(ladder, DISK_SHORT, 60) == ["disk"]
    assert ladder.codec == "lattice-rans"
    assert run(ladder, EASY, 10) == ["easy"]
    assert ladder.codec == wanted


def test_a_disk_that_refuses_for_a_while_is_not_given_larger_frames() -> None:
    """While nothing is written the disk looks idle, and the queue fills all the same."""
    ladder = ladder_of("lattice-lz4", kernels=False)
    for second in range(20):
        assert ladder.step(replace(REFUSED, fill=min(1.0, second / 10), encode_busy=1.0)) is None


def test_a_queue_that_shrinks_after_a_pause_of_the_disk_is_short_of_nothing() -> None:
    ladder = ladder_of("lattice-lz4")
    for tenths in range(9, 0, -1):
        assert ladder.step(replace(CPU_SHORT, fill=tenths / 10)) is None or tenths == 9
    assert ladder.step(replace(CPU_SHORT, fill=0.2)) is None


def test_a_step_is_given_time_to_show_its_effect() -> None:
    ladder = ladder_of("lattice-rans")
    assert [ladder.step(CPU_SHORT) for _ in range(4)] == ["cpu", None, "cpu", None]
    assert ladder.codec == "raw"


def test_it_returns_step_by_step_when_it_has_been_easy_for_a_while() -> None:
    ladder = ladder_of("lattice-rans")
    run(ladder, CPU_SHORT, 4)
    assert ladder.codec == "raw"
    steps = [ladder.step(EASY) for _ in range(12)]
    assert steps == [None] * 4 + ["easy"] + [None] * 4 + ["easy"] + [None] * 2
    assert ladder.codec == "lattice-rans"


def test_one_moment_that_is_not_easy_begins_the_wait_anew() -> None:
    ladder = ladder_of("lattice-rans")
    run(ladder, CPU_SHORT, 1)
    for _ in range(20):
        assert run(ladder, EASY, 4) == []
        assert run(ladder, replace(EASY, fill=0.1), 1) == []
    assert ladder.codec == "lattice-lz4"


def test_it_returns_from_the_denser_side_as_well() -> None:
    ladder = ladder_of("lattice-lz4")
    run(ladder, DISK_SHORT, 1)
    assert ladder.codec == "lattice-rans"
    assert run(ladder, EASY, 10) == ["easy"]
    assert ladder.codec == "lattice-lz4"


def test_uncompressed_that_was_asked_for_but_has_no_room_is_not_tried_again_and_again() -> None:
    ladder = ladder_of("raw")
    no_room = replace(EASY, free_bytes=1000)
    assert run(ladder, no_room, 600) == ["room"]
    assert ladder.codec == "lattice-lz4"
    assert run(ladder, EASY, 600) == ["easy"]
    assert ladder.codec == "raw"


@dataclass
class Machine:
    """A queue, compressing threads and a disk: what each codec costs, and how the queue fills."""

    cpu: dict[str, float]  # share of all threads that a codec would need to keep up
    disk: dict[str, float]  # share of the disk's rate
    queue_s: float = 4.0  # seconds of frames that the queue holds
    fill: float = 0.0

    def second(self, ladder: EffortLadder, demand: float = 1.0) -> str | None:
        """One second of recording with that many times the usual frames."""
        cpu, disk = self.cpu[ladder.codec] * demand, self.disk[ladder.codec] * demand
        surplus = max(cpu, disk) - 1.0
        self.fill = min(1.0, max(0.0, self.fill + surplus / max(cpu, disk) / self.queue_s))
        return ladder.step(
            Load(
                fill=self.fill,
                encode_busy=1.0 if cpu >= disk and self.fill else min(1.0, cpu),
                disk_busy=1.0 if disk > cpu and self.fill else min(1.0, disk),
                disk_rate=100e6,
                raw_rate=100e6 * self.disk["raw"],
                free_bytes=10**13,
            )
        )


TEN_MINUTES = 600


def test_processor_that_is_always_short_is_not_tried_again_every_few_seconds() -> None:
    machine = Machine(
        {"lattice-rans": 1.3, "lattice-lz4": 0.5, "raw": 0.1},
        {"lattice-rans": 0.1, "lattice-lz4": 0.3, "raw": 0.6},
    )
    ladder = ladder_of("lattice-rans")
    changes = [machine.second(ladder) for _ in range(TEN_MINUTES)]
    assert 1 <= len([c for c in changes if c]) <= 16
    assert ladder.codec in ("lattice-rans", "lattice-lz4")


def test_lack_of_both_does_not_go_to_and_fro() -> None:
    """Dense is too dear, cheap is too large: frames are lost either way, but not in constant change."""
    machine = Machine(
        {"lattice-rans": 2.0, "lattice-lz4": 0.5, "raw": 0.1},
        {"lattice-rans": 0.5, "lattice-lz4": 2.0, "raw": 4.0},
    )
    ladder = ladder_of("lattice-rans")
    changes = [machine.second(ladder) for _ in range(TEN_MINUTES)]
    assert 2 <= len([c for c in changes if c]) <= 20


@pytest.mark.parametrize("half_s", [1, 3, 7, 10, 20, 30, 60, 150])
def test_alternating_load_is_followed_without_a_change_every_few_seconds(half_s: int) -> None:
    machine = Machine(
        {"lattice-rans": 0.8, "lattice-lz4": 0.3, "raw": 0.1},
        {"lattice-rans": 0.1, "lattice-lz4": 0.2, "raw": 0.5},
    )
    ladder = ladder_of("lattice-rans")
    changes = 0
    for second in range(TEN_MINUTES):
        demand = 2.0 if second // half_s % 2 else 0.5
        changes += machine.second(ladder, demand) is not None
    assert changes <= 25


def test_load_that_has_gone_for_good_is_followed_by_a_return_for_good() -> None:
    machine = Machine(
        {"lattice-rans": 1.2, "lattice-lz4": 0.5, "raw": 0.1},
        {"lattice-rans": 0.1, "lattice-lz4": 0.3, "raw": 0.6},
    )
    ladder = ladder_of("lattice-rans")
    for _ in range(TEN_MINUTES):
        machine.second(ladder)
    changes = [machine.second(ladder, 0.5) for _ in range(TEN_MINUTES)]
    assert len([c for c in changes if c]) <= 2
    assert ladder.codec == "lattice-rans"


_LOADS = st.builds(
    Load,
    fill=st.floats(0, 1),
    encode_busy=st.floats(0, 1.5),
    disk_busy=st.floats(0, 1.5),
    disk_rate=st.floats(0, 1e10),
    raw_rate=st.floats(0, 1e10),
    free_bytes=st.integers(0, 10**15),
    refused=st.booleans(),
)


@given(
    wanted=st.sampled_from([*NATIVE, "lz4", "near", "max"]),
    kernels=st.booleans(),
    loads=st.lists(_LOADS, max_size=200),
)
def test_whatever_the_load_it_goes_one_step_at_a_time_and_says_why(
    wanted: str, kernels: bool, loads: list[Load]
) -> None:
    ladder, steps = ladder_of(wanted, kernels=kernels), ladder_for(wanted, kernels=kernels)
    for load in loads:
        before = steps.index(ladder.codec)
        reason = ladder.step(load)
        moved = steps.index(ladder.codec) - before
        if reason is None:
            assert moved == 0
        else:
            assert abs(moved) == 1
            assert (reason, moved) in {("cpu", 1), ("disk", -1), ("room", -1), ("easy", 1), ("easy", -1)}
        if ladder.codec == "raw" and moved:
            assert load.disk_rate > load.raw_rate
            assert load.free_bytes > (600 if wanted == "raw" else 3600) * load.raw_rate
            assert not load.refused
