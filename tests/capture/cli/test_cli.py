"""The command line itself: wrong arguments are one line that names the way out, with exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from capture.cli import main
from capture.config import load_rig

_ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("arguments", "word", "help_of"),
    [
        ([], "VERB", "nightrig"),
        (["recrod"], "recrod", "nightrig"),
        (["record"], "CONFIG", "nightrig record"),
        (["record", "demo", "--duration", "x"], "--duration", "nightrig record"),
        (["export", "x", "--out", "y", "--format", "bmp"], "'png'", "nightrig export"),
        (["verify", "x", "--bogus"], "--bogus", "nightrig verify"),
        (["verify", "x", "y"], "arguments: y", "nightrig verify"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_2(
    arguments: list[str], word: str, help_of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, err = capsys.readouterr()
    assert (stopped.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("nightrig: ")
    assert word in err
    assert err.endswith(f"see `{help_of} --help`\n")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_a_duration_that_is_none_is_a_usage_error(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "demo", f"--duration={seconds}"]) == 2
    assert capsys.readouterr().err == f"nightrig: --duration {seconds}: must be above 0 seconds\n"


def test_the_rig_on_the_page_about_rig_files_is_one(tmp_path: Path) -> None:
    page = (_ROOT / "docs" / "RIG.md").read_text(encoding="utf-8")
    block = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "rig.toml").write_text(block[1], encoding="utf-8")
    rig = load_rig(str(tmp_path / "rig.toml")).rig
    assert {camera.source for camera in rig.cameras} == {"realsense", "opencv", "playback", "simulated"}


@pytest.mark.parametrize(
    "words",
    [
        ["info", "{}"],
        ["convert", "{}", "out.nrm"],
        ["convert", "in.xz", "{}.nrm"],
        ["recompress", "{}", "--codec", "max"],
        ["export", "in.nrig", "--format", "png", "--out", "{}"],
        ["recover", "in.nrig", "--out", "{}"],
    ],
)
def test_a_name_that_no_file_can_have_is_an_error_of_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format("x" * 5000) for word in words]) == 1
    assert re.fullmatch(r"nightrig: cannot look at x+(\.nrm)?: File name too long\n", capsys.readouterr().err)
