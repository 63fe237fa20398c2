"""The codec of a recording that is about to begin: measured in a child, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture import codec_decision, codec_trial
from capture.codec_decision import decide_codec
from capture.codec_trial import TrialJob, existing_folder, measure_apart
from capture.config import Rig
from codec.depth import has_kernels
from codec.errors import TrialError
from tests.capture.rigs import children_of

DEPTH = {"name": "a", "source": "simulated", "depth": {"width": 848, "height": 480, "fps": 30}}
WEBCAM = {"name": "a", "source": "opencv"}


def rig(codec: str, camera: dict[str, object] = DEPTH, **changes: object) -> Rig:
    return Rig.model_validate({"record": {"codec": codec, "reserve_mb": 0}, "cameras": [camera], **changes})


def no_trial(*_: object) -> None:
    raise AssertionError("there is nothing to measure")


def test_auto_measures_codecs_and_disk_and_leaves_nothing_behind(tmp_path: Path) -> None:
    choice = decide_codec(rig("auto"), tmp_path / "not" / "yet", duration_s=None)
    assert choice.codec == ("lattice-rans" if has_kernels() else "lattice-lz4")
    assert {each.codec for each in choice.trials} >= {"lattice-lz4"}
    assert all(each.ns_per_pixel > 0 and each.ratio > 4 for each in choice.trials)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["lattice-lz4", "lz4", "raw"])
def test_a_codec_that_keeps_pace_costs_no_trial(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_decision, "measure_apart", no_trial)
    assert decide_codec(rig(codec), tmp_path, duration_s=None).codec == codec


def test_without_depth_there_is_nothing_to_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_decision, "measure_apart", no_trial)
    choice = decide_codec(rig("auto", WEBCAM), tmp_path, duration_s=None)
    assert (choice.codec, choice.reason) == ("lattice-lz4", "the rig has no depth to compress")


@pytest.mark.parametrize(("codec", "gives_way"), [("auto", False), ("lattice-rans", True)])
def test_a_trial_that_fails_is_no_reason_not_to_record(
    codec: str, gives_way: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: TrialJob) -> None:
        raise TrialError("the codec trial failed: no room")

    monkeypatch.setattr(codec_decision, "measure_apart", fail)
    monkeypatch.setattr(codec_decision, "has_kernels", lambda: False)
    choice = decide_codec(rig(codec), tmp_path, duration_s=None)
    assert (choice.codec, choice.gives_way) == ("lattice-lz4", gives_way)
    assert choice.reason == "the default, since the codec trial failed: no room"


def test_without_kernels_a_rig_that_asks_for_lattice_rans_gives_way_to_what_keeps_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTRIG_NO_KERNELS", "1")  # for the child
    monkeypatch.setattr(codec_decision, "has_kernels", lambda: False)
    monkeypatch.setattr(codec_decision.os, "sched_getaffinity", lambda _: {0, 1})  # more might keep pace
    cameras = [{**DEPTH, "name": f"c{i}"} for i in range(12)]
    choice = decide_codec(rig("lattice-rans", cameras=cameras), tmp_path, duration_s=None)
    assert (choice.codec, choice.gives_way) == ("lattice-lz4", True)
    assert "lattice-rans is not native here and would take" in choice.reason


def test_a_folder_that_cannot_be_written_is_said_by_the_trial(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="the codec trial failed: cannot write in"):
        measure_apart(TrialJob((), tmp_path / "missing", 0))


def test_a_trial_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="did not come to an end in 0 s"):
        measure_apart(TrialJob(("lattice-lz4",), tmp_path, 0), patience_s=0.01)
    assert not any("codec trial" in command for command in children_of(codec_trial.os.getpid()).values())
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_folder_that_is_there_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert existing_folder(tmp_path / "a" / "b") == tmp_path
    assert existing_folder(tmp_path / "file" / "b") == tmp_path
    assert existing_folder(tmp_path) == tmp_path


def test_a_trial_is_announced_and_nothing_else_is(tmp_path: Path) -> None:
    told: list[str] = []
    decide_codec(rig("lattice-lz4"), tmp_path, duration_s=None, say=told.append)
    decide_codec(rig("auto", WEBCAM), tmp_path, duration_s=None, say=told.append)
    assert told == []
    decide_codec(rig("auto"), tmp_path, duration_s=None, say=told.append)
    assert told == ["trying the depth codecs ..."]


def test_max_without_its_kernel_gives_way_without_being_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_decision, "has_kernels", lambda: False)
    choice = decide_codec(rig("max"), tmp_path, duration_s=None)
    assert (choice.asked, choice.codec, choice.gives_way) == ("max", "lattice-lz4", True)
    assert [each.codec for each in choice.trials] == ["lattice-lz4"]
    assert choice.reason.startswith("max is made for recompressing afterwards, and not native here; ")
