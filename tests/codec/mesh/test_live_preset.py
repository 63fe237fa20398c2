from __future__ import annotations

import pytest

from codec.mesh.live_preset import LADDER, LivePreset

# CPU seconds for a second of one person on a machine to compare with.
COSTS = {0: 0.08, 4: 0.4, 5: 1.3}
NUMBERS = 30 * 6890 * 3


def run(
    preset: LivePreset, *, slower: float = 1.0, people: int = 1, seconds: int = 20, behind: bool = False
) -> int:
    """Where it is after that many seconds of recording."""
    for _ in range(seconds):
        now = preset.preset
        cpu_s = COSTS[now] * slower * people
        preset.measure(now, numbers=NUMBERS * people, cpu_s=cpu_s, lasted_s=1.0, behind=behind)
    return preset.preset


@pytest.mark.parametrize(
    ("slower", "people", "budget", "wanted"),
    [
        (0.1, 1, 0.5, 5),
        (0.5, 1, 0.5, 4),
        (1.0, 1, 0.5, 4),
        (4.5, 1, 0.5, 0),
        (4.5, 4, 0.5, 0),
        (4.5, 1, 4.0, 4),
    ],
)
def test_the_first_measurement_picks_the_highest_that_fits(
    slower: float, people: int, budget: float, wanted: int
) -> None:
    preset = LivePreset(budget)
    assert preset.preset == LADDER[0]
    cpu_s = COSTS[0] * slower * people
    preset.measure_first(numbers=NUMBERS * people, cpu_s=cpu_s, lasted_s=1.0)
    assert abs(LADDER.index(preset.preset) - LADDER.index(wanted)) <= 1
    spent = COSTS[run(preset, slower=slower, people=people)] * slower * people
    assert spent <= budget or preset.preset == LADDER[0]


def test_it_goes_down_at_once_and_up_only_after_a_while() -> None:
    preset = LivePreset(0.6)
    preset.measure_first(numbers=NUMBERS, cpu_s=COSTS[0], lasted_s=1.0)
    assert preset.preset == 4
    assert run(preset, slower=10.0, seconds=1) == 0
    assert run(preset, slower=1.0, seconds=2) == 0
    assert run(preset, slower=1.0, seconds=180) == 4
    assert run(preset, slower=0.2, seconds=40) == 5


def test_a_writer_that_falls_behind_goes_down_whatever_it_measured() -> None:
    preset = LivePreset(10.0)
    preset.measure_first(numbers=NUMBERS, cpu_s=COSTS[0], lasted_s=1.0)
    assert preset.preset == 5
    assert run(preset, seconds=1, behind=True) == 4
    assert run(preset, seconds=5, behind=True) == 0


def test_short_and_empty_segments_say_nothing() -> None:
    preset = LivePreset(0.6)
    preset.measure_first(numbers=0, cpu_s=1.0, lasted_s=1.0)
    preset.measure_first(numbers=NUMBERS, cpu_s=COSTS[0], lasted_s=0.001)
    preset.measure(0, numbers=NUMBERS, cpu_s=9.0, lasted_s=0.001, behind=True)
    assert preset.preset == 0
    preset.measure_first(numbers=NUMBERS, cpu_s=COSTS[0], lasted_s=1.0)
    assert preset.preset == 4


def test_it_settles_where_the_load_is_steady() -> None:
    for slower in (0.2, 0.6, 1.0, 1.5, 3.0, 8.0):
        preset = LivePreset(0.5)
        preset.measure_first(numbers=NUMBERS, cpu_s=COSTS[0] * slower, lasted_s=1.0)
        run(preset, slower=slower, seconds=30)
        assert len({run(preset, slower=slower, seconds=1) for _ in range(40)}) == 1
