"""The short form of `night`, and how it judges growth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scripts.campaigns import night
from scripts.campaigns._slope import fit


def test_a_short_night_is_verified_accounted_for_and_drawn(tmp_path: Path) -> None:
    arguments = ["--minutes", "0.1", "--every", "0.5", "--segment", "0.5", "--no-slope"]
    size = ["--width", "160", "--height", "120", "--out", str(tmp_path)]
    night.main([*arguments, *size])
    folder = tmp_path / "night"
    (line,) = [line for line in (folder / "ledger.jsonl").read_text().splitlines() if "case" in line]
    (piece,) = json.loads(line)["result"]["pieces"]
    assert piece["trouble"] == []
    assert piece["verify"] == piece["wrong"] == piece["unaccounted"] == 0
    assert piece["written"] > 100
    assert piece["segments"] > 10
    samples = [json.loads(line) for line in (folder / "piece-1.jsonl").read_text().splitlines()]
    assert {"supervisor", "writer", "cam0", "cam3", "estimator bodies"} <= samples[-1]["processes"].keys()
    assert (folder / "night.png").read_bytes().startswith(b"\x89PNG")


def test_growth_is_held_broken_or_not_decided() -> None:
    rng = np.random.default_rng(1)
    hours = np.linspace(0, 1, 360)

    def verdict(growth: float, noise: float) -> bool | None:
        line = fit(list(hours), list(100 + growth * hours + rng.normal(0, noise, len(hours))))
        return night.slope_promise(line).held

    assert verdict(0.2, 0.1) is True
    assert verdict(3.0, 0.1) is False
    assert verdict(0.2, 20.0) is None
    assert night.slope_promise(None).held is None


def test_what_is_not_decided_says_how_long_it_must_run() -> None:
    rng = np.random.default_rng(2)
    hours = np.linspace(0, 0.2, 100)
    line = fit(list(hours), list(rng.normal(100, 1, len(hours))))
    assert line is not None
    promise = night.slope_promise(line)
    assert promise.held is None
    assert "minutes decide" in promise.measured
    assert line.span_needed(1.0) > line.span


def test_noise_that_hangs_together_makes_the_slope_less_sure() -> None:
    rng = np.random.default_rng(3)
    alone = rng.normal(0, 1, 500)
    together = np.convolve(rng.normal(0, 1, 509), np.ones(10) / np.sqrt(10), "valid")
    times = list(np.linspace(0, 1, 500))
    first, second = fit(times, list(alone)), fit(times, list(together))
    assert first is not None
    assert second is not None
    assert second.error > 2 * first.error
    assert first.per_unit == pytest.approx(0, abs=4 * first.error)
