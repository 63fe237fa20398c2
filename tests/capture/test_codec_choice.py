"""`codec = "auto"`: the smallest that keeps pace, never a lossy one, always with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture import codec_decision
from capture.codec_choice import Choice, Machine, candidates, choose, needs_trial, reckon
from capture.codec_decision import decide_codec
from capture.codec_trial import Measured
from capture.config import Rig, load_rig
from capture.trials import CodecTrial
from codec.depth import has_kernels
from codec.errors import ConfigError, TrialError

TRIALS = {
    "lattice-rans": CodecTrial(3.0, 15.0),
    "lattice-lz4": CodecTrial(2.2, 6.7),
    "max": CodecTrial(110.0, 17.0),
    "near": CodecTrial(3.5, 30.0),
}
PLENTY = Machine(cores=4, disk_mb_s=300.0, usable_bytes=1e12)


def rig(tmp_path: Path, *, codec: str = "auto", cameras: int = 4) -> Rig:
    text = f'[record]\ncodec = "{codec}"\n'
    for index in range(cameras):
        text += f'[[cameras]]\nname = "c{index}"\nsource = "simulated"\n'
        text += "depth = { width = 848, height = 480, fps = 30 }\n"
    path = tmp_path / "rig.toml"
    path.write_text(text)
    return load_rig(str(path)).rig


def chosen(
    tmp_path: Path, codec: str = "auto", *, kernels: bool = True, machine: Machine = PLENTY, cameras: int = 4
) -> Choice:
    names = candidates(codec, kernels=kernels)
    reckonings = reckon(
        rig(tmp_path, codec=codec, cameras=cameras), {n: TRIALS[n] for n in names}, machine, jpeg_ns=3.0
    )
    return choose(codec, reckonings, machine, kernels=kernels, duration_s=36_000.0)


def test_auto_takes_the_densest_where_its_kernel_is_built(tmp_path: Path) -> None:
    choice = chosen(tmp_path)
    assert (choice.asked, choice.codec, choice.gives_way) == ("auto", "lattice-rans", False)
    assert "15.0 times smaller" in choice.reason
    assert {trial.codec for trial in choice.trials} == {"lattice-rans", "lattice-lz4"}


def test_auto_takes_what_numpy_does_where_there_is_no_kernel(tmp_path: Path) -> None:
    assert chosen(tmp_path, kernels=False).codec == "lattice-lz4"


def test_auto_takes_a_cheaper_one_where_the_processor_is_short_and_says_so(tmp_path: Path) -> None:
    slow = Machine(cores=1, disk_mb_s=300.0, usable_bytes=1e12)
    choice = chosen(tmp_path, machine=slow, cameras=12)
    assert choice.codec == "lattice-lz4"
    assert "where lattice-rans would take 0.80 of 1 cores" in choice.reason


def test_a_disk_that_fills_before_morning_is_named(tmp_path: Path) -> None:
    small = Machine(cores=4, disk_mb_s=300.0, usable_bytes=10e9)
    assert "even so the disk is full after" in chosen(tmp_path, machine=small).reason


@pytest.mark.parametrize("codec", ["lattice-lz4", "near"])
def test_a_codec_that_keeps_pace_is_taken_by_name(tmp_path: Path, codec: str) -> None:
    choice = chosen(tmp_path, codec)
    assert (choice.codec, choice.gives_way) == (codec, False)


def test_max_gives_way_where_the_processor_cannot_do_it(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "max")
    assert (choice.asked, choice.codec, choice.gives_way) == ("max", "lattice-rans", True)
    assert "made for recompressing afterwards" in choice.reason


def test_a_name_that_keeps_pace_costs_no_trial() -> None:
    assert not needs_trial("lattice-lz4", kernels=False)
    assert not needs_trial("lattice-rans", kernels=True)
    assert needs_trial("lattice-rans", kernels=False)
    assert needs_trial("auto", kernels=True)
    assert needs_trial("max", kernels=True)


def test_unknown_codec_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"record\.codec.*did you mean 'lattice-rans'"):
        rig(tmp_path, codec="latice-rans")


def test_a_real_trial_decides(tmp_path: Path) -> None:
    choice = decide_codec(rig(tmp_path, cameras=1), tmp_path, duration_s=1.0)
    assert choice.codec == ("lattice-rans" if has_kernels() else "lattice-lz4")
    assert all(trial.ns_per_pixel > 0 for trial in choice.trials)
    assert list(tmp_path.glob(".nightrig-trial*")) == []


def test_a_trial_that_fails_leaves_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Measured:
        raise TrialError("the codec trial failed: no reason")

    monkeypatch.setattr(codec_decision, "measure_apart", fail)
    choice = decide_codec(rig(tmp_path), tmp_path, duration_s=None)
    assert choice.codec == "lattice-lz4"
    assert "the codec trial failed" in choice.reason
