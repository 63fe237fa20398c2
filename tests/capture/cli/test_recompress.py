"""`nightrig recompress` as people run it: told in words and JSON, and killed at any moment without loss."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from capture import session
from capture.cli import main
from capture.cli.recompress import _Pace
from capture.recompression import Step
from capture.recording import Recording
from capture.verification import verify
from codec.depth import get_codec
from codec.records import RecordFile
from tests.capture.make_session import SessionMaker, flip_payload
from tests.capture.rigs import REPOSITORY, small_rig, start_recording

LATTICE = get_codec("lattice-lz4").id


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "session")


def arguments(path: Path, *more: str) -> list[str]:
    return ["recompress", str(path), "--codec", "lattice-lz4", *more]


def depth_codecs(path: Path) -> set[int]:
    with RecordFile(path) as file:
        return set(file.entries["codec"][file.frames(0)].tolist())


# ---- what is told ----


def test_table_tells_bytes_frames_and_ratio_of_each_camera(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=9, per_segment=4, depth_codec="raw")
    maker.camera("side", frames=5, depth_codec="raw")
    maker.estimator()
    maker.finish()
    assert main(arguments(maker.folder)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    header = ["camera", "segments", "frames", "kept", "before", "after", "file ratio"]
    assert re.split(r"  +", lines[0]) == header
    rows = {line.split()[0]: line.split() for line in lines[1:4]}
    assert rows.keys() == {"front", "side", "all"}
    assert rows["front"][1:6] == ["3", "of", "3", "9", "0"]
    assert rows["all"][1:5] == ["4", "of", "4", "14"]  # the estimator has no depth
    assert float(rows["all"][-1]) > 1.1
    assert lines[-1].startswith("done: ")
    assert lines[-1].endswith(str(maker.folder))
    assert main(arguments(maker.folder)) == 0
    assert capsys.readouterr().out.startswith("nothing to do")


def test_json_is_one_object_with_the_same_facts(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=9, per_segment=4, depth_codec="raw")
    maker.camera("side", frames=5)
    maker.finish()
    before = sum(path.stat().st_size for path in folder.iterdir())
    assert main(arguments(maker.folder, "--json", "--jobs", "1")) == 0
    facts = json.loads(capsys.readouterr().out)
    after = sum(path.stat().st_size for path in folder.iterdir())
    expected = {"segments": 3, "rewritten": 3, "frames": 9, "kept": 0}
    expected |= {"before_bytes": before, "after_bytes": after, "ratio": round(before / after, 3)}
    assert facts["cameras"]["front"] == expected
    assert facts["cameras"]["side"] == {
        "segments": 1,
        "rewritten": 0,
        "frames": 0,
        "kept": 0,
        "before_bytes": 0,
        "after_bytes": 0,
        "ratio": None,
    }
    assert facts["total"] == {**expected, "segments": 4}
    assert (facts["codec"], facts["exit_code"], facts["left_alone"]) == ("lattice-lz4", 0, [])


def test_frames_that_stay_are_told(maker: SessionMaker, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=5)
    assert main(["recompress", str(maker.finish()), "--codec", "raw"]) == 0
    assert "5 frames would have become larger and stay as they were" in capsys.readouterr().out


def test_damage_is_exit_3_and_names_the_file_and_the_way_out(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=9, per_segment=4, depth_codec="raw")
    maker.finish()
    flip_payload(folder / "001.nrig", 5)
    assert main(arguments(maker.folder)) == 3
    out = capsys.readouterr().out
    assert f"left alone: {folder / '001.nrig'}: the record at byte" in out
    assert "`nightrig recover` makes a clean copy" in out
    assert "done, but for what was left alone" in out
    assert main(arguments(maker.folder, "--json")) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["exit_code"] == 3
    assert [left["file"] for left in facts["left_alone"]] == [str(folder / "001.nrig")]
    assert main(arguments(maker.folder)) == 3
    assert "nothing else to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--codec", "latice-lz4"], 2, "did you mean 'lattice-lz4'"),
        (["--codec", "lz4", "--jobs", "0"], 2, "--jobs 0: must be 1 or more"),
    ],
)
def test_wrong_arguments_are_exit_2_and_one_line(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str
) -> None:
    maker.camera("front", frames=2)
    assert main(["recompress", str(maker.folder), *more]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("nightrig: ")
    assert words in err


def test_what_is_not_there_is_exit_2_and_what_is_no_recording_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "missing")) == 2
    assert main(arguments(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["90", "80"])
def test_bar_shows_frames_rate_share_and_ratio_and_wipes_itself(
    maker: SessionMaker, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("capture.cli._progress._EVERY_S", 0.0)
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    maker.camera("front", frames=30, per_segment=20, depth_codec="raw")
    assert main(arguments(maker.folder)) == 0
    drawn = [line.rstrip() for line in terminal.getvalue().split("\r") if line.strip()]
    assert all(len(line) < int(columns) for line in drawn)
    middle = next(line for line in drawn if "15 of 30 frames, " in line)
    bar = r" \[#+\.+\]" if columns == "90" else ""
    numbers = r" +50 %  15 of 30 frames, [0-9.]+/s  0:00:0[0-9] left  depth ratio [0-9]\.[0-9]+$"
    assert re.search(f"^recompress{bar}{numbers}", middle)
    assert re.search(r" 100 %  30 of 30 frames, ", drawn[-1])
    assert terminal.getvalue().endswith(" \r")


# ---- a recording that still runs ----


def test_running_recording_is_refused_and_recompressed_once_it_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = small_rig(tmp_path, cameras=1, head='[record]\nreserve_mb = 1\ncodec = "lz4"')
    root = tmp_path / "out"
    with start_recording(rig, root) as recording:
        recording.wait_until_started()
        folder = recording.session
        while not session.list_segments(folder / "cam0"):
            time.sleep(0.05)
        for path in (folder, folder / "cam0", folder / "cam0" / "000.nrig"):
            assert main(arguments(path)) == 1
            assert "is in use" in capsys.readouterr().err
        recording.interrupt()
        code, _, err = recording.finish()
        assert code == 0, err
    assert depth_codecs(folder / "cam0" / "000.nrig") == {get_codec("lz4").id}
    assert main(arguments(folder)) == 0
    assert depth_codecs(folder / "cam0" / "000.nrig") == {LATTICE}
    assert main(["verify", str(folder)]) == 0


# ---- kill -9 ----


def launched(path: Path, *, dying: str = "") -> subprocess.Popen[str]:
    """A real `nightrig recompress`. `dying` is Python that runs first, in the same process."""
    program = f"import sys\n{dying}\nfrom capture.cli import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments(path, "--jobs", "2")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def frames_of(folder: Path) -> dict[str, list[tuple[int, int, bytes]]]:
    """Every frame of a session: epoch, number and pixels."""
    found = {}
    with Recording(folder) as recording:
        for name, stream in recording.streams.items():
            found[name] = [(f.epoch, f.number, np.ascontiguousarray(f.data).tobytes()) for f in stream]
        assert recording.damage == []
    return found


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith(".recompress")]


def done_segments(folder: Path) -> int:
    return sum(depth_codecs(path) == {LATTICE} for path in sorted((folder / "front").glob("*.nrig")))


_SLOW = """
import time
from codec.depth.lattice_lz4 import LatticeLz4Codec
encode = LatticeLz4Codec.encode
def slow(self, array):
    time.sleep({seconds})
    return encode(self, array)
LatticeLz4Codec.encode = slow
"""


def test_kill_at_random_moments_loses_nothing_and_the_next_run_goes_on(maker: SessionMaker) -> None:
    maker.camera("front", frames=240, per_segment=10, lost=[7], color=False, depth_codec="raw")
    maker.estimator()
    maker.finish()
    frames, verdict = frames_of(maker.folder), verify(maker.folder).verdict
    moments, done, killed_at_work = random.Random(20), 0, 0
    for _ in range(8):
        left_behind = temporaries(maker.folder)
        with launched(maker.folder, dying=_SLOW.format(seconds=0.005)) as process:
            while process.poll() is None and temporaries(maker.folder) in ([], left_behind):
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.12))
            process.kill()
            process.wait()
        killed_at_work += process.returncode == -signal.SIGKILL
        assert frames_of(maker.folder) == frames
        report = verify(maker.folder)
        assert (report.verdict, report.problems, report.notes) == (verdict, [], [])
        assert len(temporaries(maker.folder)) <= 2  # the best of the runs before, and this one's
        done, before = done_segments(maker.folder), done
        assert done >= before
    assert killed_at_work > 0
    assert done > 0
    assert main(arguments(maker.folder)) == 0
    assert done_segments(maker.folder) == 24
    assert temporaries(maker.folder) == []
    assert frames_of(maker.folder) == frames
    assert verify(maker.folder).verdict == verdict
    told = session.load_session(maker.folder)["totals"]["streams"]["front/depth"]["file_bytes"]
    with Recording(maker.folder) as recording:
        assert told == recording.streams["front/depth"].file_bytes


_DYING = """
import os, signal
from {module} import {name} as real
import {module} as module
calls = 0
def dying(*args, **kwargs):
    global calls
    calls += 1
    if calls == {at} and {early}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if calls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
module.{name} = dying
"""


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("function", "at", "done"),
    [
        ("capture.session:save_session", 1, (0, 0)),
        ("codec.durable.append:sync_directory", 1, (0, 0)),  # the new file has its name
        ("codec.durable:drop_from_memory", 1, (0, 0)),
        ("codec.durable:replace_file", 1, (0, 1)),
        ("codec.durable:replace_file", 3, (2, 3)),
        ("capture.session:save_session", 2, (3, 3)),
        ("capture.session:append_event", 1, (3, 3)),
    ],
)
def test_kill_between_any_two_steps_leaves_a_whole_recording(
    maker: SessionMaker, function: str, at: int, done: tuple[int, int], early: bool
) -> None:
    maker.camera("front", frames=9, per_segment=3, depth_codec="raw")
    maker.finish()
    frames = frames_of(maker.folder)
    module, _, name = function.partition(":")
    with launched(maker.folder, dying=_DYING.format(module=module, name=name, at=at, early=early)) as process:
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert done_segments(maker.folder) == done[not early]
    assert frames_of(maker.folder) == frames
    report = verify(maker.folder)
    assert (report.verdict, report.notes) == ("clean", [])
    assert main(arguments(maker.folder)) == 0
    assert done_segments(maker.folder) == 3
    assert temporaries(maker.folder) == []
    assert frames_of(maker.folder) == frames
    assert verify(maker.folder).verdict == "clean"
    assert None not in [s["file_bytes"] for s in _stream_totals(maker.folder)]


def _stream_totals(folder: Path) -> list[dict[str, int]]:
    return list(session.load_session(folder)["totals"]["streams"].values())


def test_ctrl_c_ends_quickly_in_one_line_that_says_how_to_go_on(maker: SessionMaker) -> None:
    maker.camera("front", frames=400, per_segment=4, color=False, depth_codec="raw")
    maker.finish()
    with launched(maker.folder, dying=_SLOW.format(seconds=0.05)) as process:
        while process.poll() is None and done_segments(maker.folder) == 0:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert err == "nightrig: interrupted; nothing is lost, the same command goes on where it was\n"
    assert len(temporaries(maker.folder)) <= 1
    assert 0 < done_segments(maker.folder) < 100
    assert verify(maker.folder).verdict == "clean"
    assert None not in [s["file_bytes"] for s in _stream_totals(maker.folder)]
    lines = (maker.folder / session.EVENTS_FILE).read_text().splitlines()
    assert json.loads(lines[-1])["segments"] == done_segments(maker.folder)


def test_second_ctrl_c_ends_it_at_once_and_the_first_says_so(maker: SessionMaker) -> None:
    maker.camera("front", frames=40, per_segment=20, color=False, depth_codec="raw")
    maker.finish()
    frames = frames_of(maker.folder)
    with launched(maker.folder, dying=_SLOW.format(seconds=30)) as process:
        assert process.stderr is not None
        while process.poll() is None and not temporaries(maker.folder):
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        first = process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert first == "stopping after the frames in hand; Ctrl-C again stops at once\n"
    assert (process.returncode, out) == (130, "")
    assert err == "nightrig: stopped at once; nothing is lost, the same command goes on where it was\n"
    assert frames_of(maker.folder) == frames
    assert verify(maker.folder).verdict == "clean"
    assert main(arguments(maker.folder)) == 0
    assert verify(maker.folder).verdict == "clean"
    assert temporaries(maker.folder) == []
    assert None not in [s["file_bytes"] for s in _stream_totals(maker.folder)]


def test_segment_that_is_a_link_to_nowhere_is_left_alone_and_named(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = maker.camera("front", frames=9, per_segment=3, depth_codec="raw")
    maker.finish()
    (tmp_path / "elsewhere").mkdir()
    (folder / "001.nrig").rename(tmp_path / "001.nrig")
    (folder / "001.nrig").symlink_to(tmp_path / "elsewhere" / "001.nrig")
    assert main(arguments(maker.folder)) == 3
    out = capsys.readouterr().out
    where = f"it is a link to {tmp_path / 'elsewhere' / '001.nrig'}, which is not there"
    assert f"left alone: {folder / '001.nrig'}: {where}" in out
    assert "2 of 3" in out
    assert depth_codecs(folder / "000.nrig") == depth_codecs(folder / "002.nrig") == {LATTICE}
    (tmp_path / "001.nrig").rename(tmp_path / "elsewhere" / "001.nrig")  # its disk is mounted again
    assert verify(maker.folder).verdict == "clean"
    assert main(arguments(maker.folder)) == 0
    assert verify(maker.folder).verdict == "clean"
    assert None not in [s["file_bytes"] for s in _stream_totals(maker.folder)]


def test_segments_without_depth_are_not_counted(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=6, per_segment=3, depth_codec="raw", second_epoch=3, lost=[])
    maker.estimator()
    assert main(arguments(maker.finish(), "--json")) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["total"]["segments"], facts["cameras"]["people"]["segments"]) == (3, 0)


def test_what_another_codec_had_done_is_said_to_be_given_up(
    maker: SessionMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.camera("front", frames=6, per_segment=3, depth_codec="raw")
    maker.finish()
    for name, count in (("000.nrig", 12_000), ("001.nrig", 300)):
        session.temporary_segment(folder / name, "max").write_bytes(b"x" * count)
    session.temporary_segment(folder / "001.nrig", "lattice-lz4").write_bytes(b"ours")
    assert main(arguments(maker.folder, "--json")) == 0
    out, err = capsys.readouterr()
    assert err == "what an interrupted run to max had done (12.3 kB) is given up\n"
    assert json.loads(out)["given_up"] == {"max": 12_300}
    assert temporaries(maker.folder) == []
    assert main(arguments(maker.folder)) == 0
    assert capsys.readouterr().err == ""


def test_time_left_is_that_of_two_phases_each_at_its_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("capture.cli.recompress.time.monotonic", lambda: now_s)
    pace = _Pace(10)
    for _ in range(5):
        now_s += 1
        pace.note(Step(written=1))
    assert pace.left_s() is None  # nothing has been compared
    for _ in range(5):
        now_s += 6
        pace.note(Step(compared=1))
    assert pace.left_s() == pytest.approx(5 * 1 + 5 * 6)
    now_s += 2
    assert pace.left_s() == pytest.approx(33)
    pace.note(Step(written=2, is_work=False))  # an earlier run had done them
    assert pace.left_s() == pytest.approx(3 * 1 + 5 * 6)
    pace.note(Step(written=3, compared=5, is_work=False))
    assert pace.left_s() == 0
