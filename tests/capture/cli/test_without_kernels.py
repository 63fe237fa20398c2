"""Without the native kernels long work says so first on stderr: how long it takes, and the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from capture import kernels
from capture.cli import _kernels, main
from capture.recording import Recording
from codec.depth import has_kernels
from tests.capture.make_session import HEIGHT, WIDTH, SessionMaker

_WARNING = "the native kernels are not built: about "


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if they were not there; what is stored decodes all the same."""
    monkeypatch.setattr(_kernels, "has_kernels", lambda: False)
    monkeypatch.setattr(_kernels, "how_to_get_kernels", lambda: "build them")


def _warned(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert _WARNING not in out
    return [line for line in err.splitlines() if line.startswith(_WARNING)]


@pytest.mark.parametrize("codec", ["lattice-rans", "near"])
def test_verify_says_how_long_it_takes(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], codec: str
) -> None:
    maker.camera("front", frames=5, depth_codec=codec)
    maker.camera("side", frames=5)
    assert main(["verify", str(maker.finish())]) == 0
    (line,) = _warned(capsys)
    each_s = 0.55 * WIDTH * HEIGHT / (848 * 480)
    assert line.startswith(f"{_WARNING}{each_s:.2g} s a frame of {codec}, 1 second for 5 frames")
    assert line.endswith("; build them")


@pytest.mark.skipif(not has_kernels(), reason="the twin of max would take a minute")
def test_several_slow_codecs_are_told_as_one(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=3, depth_codec="max")
    maker.camera("side", frames=5, depth_codec="near")
    assert main(["verify", str(maker.finish())]) == 0
    (line,) = _warned(capsys)
    assert re.search(r"a frame of max, near, [0-9]+ seconds? for 8 frames", line)


@pytest.mark.parametrize(("form", "warns"), [("png", True), ("frames", True), ("csv", False), ("obj", False)])
def test_export_says_so_where_it_decodes_depth(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str, warns: bool
) -> None:
    maker.camera("front", frames=2, depth_codec="lattice-rans")
    maker.camera("side", frames=2)
    maker.estimator(meshes=2)
    where = ["export", str(maker.finish()), "--format", form, "--out"]
    assert main([*where, str(tmp_path / "all")]) == 0
    assert len(_warned(capsys)) == warns
    if form == "png":
        assert main([*where, str(tmp_path / "side"), "--camera", "side"]) == 0
        assert _warned(capsys) == []


def test_play_says_so_once_there_is_a_display(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Window:
        def __init__(self, *_: object) -> None:
            pass

        def show(self) -> None:
            pass

    monkeypatch.setattr("capture.cli.play.open_display", lambda: None)
    monkeypatch.setattr("capture.cli.play._Window", Window)
    maker.camera("front", frames=2, depth_codec="lattice-rans")
    maker.camera("side", frames=2)
    folder = maker.finish()
    assert main(["play", str(folder)]) == 0
    assert len(_warned(capsys)) == 1
    assert main(["play", str(folder), "--camera", "side"]) == 0
    assert _warned(capsys) == []


def test_recompressing_counts_reading_writing_and_comparing(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=5)
    folder = maker.finish()
    assert main(["recompress", str(folder), "--codec", "lattice-rans"]) == 0
    (line,) = _warned(capsys)
    each_s = (0.09 + 0.55) * WIDTH * HEIGHT / (848 * 480)
    assert line.startswith(f"{_WARNING}{each_s:.2g} s a frame of lattice-rans, 1 second for 5 frames")
    assert main(["recompress", str(folder), "--codec", "lattice-rans"]) == 0
    assert _warned(capsys) == []


def test_a_night_to_max_is_told_in_days(capsys: pytest.CaptureFixture[str]) -> None:
    frames = 12_000
    _kernels.warn_of_recompressing(frames, {"lattice-lz4": frames * 848 * 480}, "max")
    (line,) = _warned(capsys)
    assert "about 22 s a frame of max, 3 days for 12000 frames" in line
    _kernels.warn_of_recompressing(frames, {"max": frames * 848 * 480}, "lattice-lz4")
    (line,) = _warned(capsys)
    assert "about 24 s a frame of max, 3 days for 12000 frames" in line
    _kernels.warn_of_recompressing(1, {"raw": 3840 * 2160}, "max")
    (line,) = _warned(capsys)
    assert "about 458 s a frame of max, 8 minutes for 1 frame " in line


def test_fast_codecs_are_nothing_to_speak_of(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    maker.camera("front", frames=3, infrared=True)
    folder = maker.finish()
    assert main(["verify", str(folder)]) == 0
    assert main(["recompress", str(folder), "--codec", "lz4"]) == 0
    assert _warned(capsys) == []


def test_with_the_kernels_nothing_is_said(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kernels, "has_kernels", lambda: True)
    maker.camera("front", frames=2, depth_codec="near")
    assert main(["verify", str(maker.finish())]) == 0
    with Recording(maker.folder) as recording:
        _kernels.warn_of_showing(recording.streams.values())
    _kernels.warn_of_recompressing(5, {"raw": 1000}, "max")
    assert _warned(capsys) == []


def test_times_go_by_the_pixels() -> None:
    assert kernels.twin_read_s("max", 848 * 480) == 2 * kernels.twin_read_s("max", 848 * 240) > 5
    assert kernels.twin_write_s("lattice-lz4", 10**9) == 0
