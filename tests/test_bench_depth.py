"""The depth benchmark: what its JSON holds, what it refuses, and that no figure is taken on trust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from codec.depth import CODEC_NAMES
from codec.errors import CodecError
from scripts.bench import _depth_timing, _depth_ways
from scripts.bench._depth_nights import nights
from scripts.bench._depth_report import Run, SetFigures, as_text
from scripts.bench._depth_sets import REAL_D400_SET, UnusableDataError, load_set, set_names
from scripts.bench._depth_streams import StreamsLoad, measure_streams
from scripts.bench._depth_targets import LEFT_OUT, NOT_BUILT, judge
from scripts.bench._depth_timing import Figures, NotLosslessError, measure, times_of
from scripts.bench._depth_ways import RANS_UNSEEN, Way, missing_peers, open_way, way_names
from scripts.bench._verdicts import Verdict

ROOT = Path(__file__).resolve().parent.parent
Depth = npt.NDArray[np.uint16]


def lattice_frame(seed: int = 0, height: int = 24, width: int = 40) -> Depth:
    """A noisy slope as a stereo camera sees it, with a hole."""
    rng = np.random.default_rng(seed)
    disparity = 300 + np.arange(width) + 2 * np.arange(height)[:, None] + rng.integers(-1, 2, (height, width))
    frame = np.rint(606_000 / disparity).astype(np.uint16)
    frame[3:7, 5:9] = 0
    return frame


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folders as --depth-data wants them, with one set of three tiny frames."""
    folder = tmp_path / "depth" / REAL_D400_SET
    folder.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / f"{number:04}.png"), lattice_frame(number))
    return tmp_path / "depth"


def bench(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (sys.executable, ROOT / "scripts" / "bench" / "depth.py", *arguments)]
    environment = os.environ | (environment or {})
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment)


# ---- the program -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one short run on two tiny frames says in JSON."""
    folder = tmp_path_factory.mktemp("data") / REAL_D400_SET
    folder.mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), lattice_frame(number))
    asked = ["--only", *CODEC_NAMES, "lz4.frame", "--sets", REAL_D400_SET, "--depth-data", str(folder.parent)]
    answer = bench("--quick", "--rounds", "2", "--seconds", "0", "--json", *asked)
    assert answer.returncode == 1, answer.stderr  # no streams, no JPEG-XL: not everything was measured
    for way in (*CODEC_NAMES, "lz4.frame", RANS_UNSEEN):
        assert f"\n  {way}: there and back in " in answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_json_has_every_codec_of_the_registry_with_its_figures(document: dict[str, Any]) -> None:
    (tiny,) = document["sets"]
    assert (tiny["name"], tiny["frames"], tiny["width"], tiny["height"]) == (REAL_D400_SET, 2, 40, 24)
    assert [codec["way"] for codec in tiny["codecs"]] == [*CODEC_NAMES, "lz4.frame", RANS_UNSEEN]
    for codec in tiny["codecs"]:
        assert codec["frames"] == 2
        assert codec["ratio"] > 0
        assert codec["encode_ns"] > 0
        assert codec["decode_ns"] > 0
        assert codec["lossy"] == (codec["way"] == "near")
        if not codec["lossy"]:
            assert codec["max_error"] == 0


def test_json_has_the_verdicts_the_nights_and_the_machine(document: dict[str, Any]) -> None:
    verdicts = {verdict["what"]: verdict for verdict in document["verdicts"]}
    assert verdicts["lattice-lz4: ratio"]["must"] == ">= 5.20 x"
    ratios = {codec["way"]: codec["ratio"] for codec in document["sets"][0]["codecs"]}
    assert verdicts["lattice-lz4: ratio"]["figure"] == ratios["lattice-lz4"]
    assert verdicts["jpeg-xl-7: encode CPU / lattice-rans"]["must_met"] is False
    assert document["all_must_met"] is False
    night = {night["way"]: night for night in document["nights"]}["raw"]
    assert night["gb_real"] == pytest.approx(848 * 480 * 2 * 30 * 36_000 / 1e9, rel=0.01)
    assert night["gb_simulated"] is None
    assert night["cores_pi4_estimate"] > night["cores_pi5_estimate"] > night["cores_here"]
    assert {"cpu", "cores", "python", "versions"} <= set(document["machine"])
    assert document["others_cores"] >= 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "latice-lz4"], "did you mean 'lattice-lz4'?"),
        (["--sets", "sim-848x481"], "did you mean 'sim-848x480'?"),
        (["--rounds", "0"], "--rounds must be at least 1"),
    ],
)
def test_wrong_argument_is_one_clear_line_and_exit_2(arguments: list[str], said: str) -> None:
    answer = bench(*arguments)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert said in answer.stderr


def test_picture_that_is_no_depth_is_one_clear_line(data: Path) -> None:
    cv2.imwrite(str(data / REAL_D400_SET / "0001.png"), np.zeros((24, 40, 3), np.uint8))
    answer = bench("--sets", REAL_D400_SET, "--only", "raw", "--depth-data", data)
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].endswith("0001.png is no 16-bit grey PNG: take it out of the set")


# ---- frames ------------------------------------------------------------------------------------------------


def test_real_frames_are_spread_over_the_whole_set(data: Path) -> None:
    first, last = load_set(REAL_D400_SET, data, most=2).frames
    np.testing.assert_array_equal(first, lattice_frame(0))
    np.testing.assert_array_equal(last, lattice_frame(2))


def test_pictures_of_two_sizes_are_refused(data: Path) -> None:
    cv2.imwrite(str(data / REAL_D400_SET / "0009.png"), lattice_frame(width=41))
    with pytest.raises(UnusableDataError, match="several sizes"):
        load_set(REAL_D400_SET, data, most=24)


def test_without_recordings_there_are_the_simulated_sets(tmp_path: Path) -> None:
    assert set_names(tmp_path / "nothing") == ["sim-848x480", "sim-1280x720"]


def test_simulated_frames_are_the_same_in_every_run(tmp_path: Path) -> None:
    first, second = (load_set("sim-848x480", tmp_path, most=4).frames for _ in range(2))
    assert len(first) == 4
    assert first[0].shape == (480, 848)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


# ---- ways --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", way_names())
def test_every_way_gives_the_frame_back(name: str) -> None:
    if name in missing_peers([name]):
        pytest.skip(f"{missing_peers([name])[name]} is not installed: pip install -e '.[bench]'")
    frame = lattice_frame()
    way = open_way(name, (24, 40))
    back = way.decode(way.encode(frame))
    assert back.shape == frame.shape
    if not way.lossy:
        np.testing.assert_array_equal(back, frame)


def test_peer_that_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depth_ways, "find_spec", lambda module: None)
    assert missing_peers(["raw", "ffv1", "jpeg-ls"]) == {"ffv1": "av", "jpeg-ls": "imagecodecs"}
    run = Run([], [], judge(None, [], others_cores=0.0), [], missing_peers(["ffv1", "jpeg-ls"]), 0.0)
    assert as_text(run).splitlines()[-1] == (
        "Left out: ffv1, jpeg-ls; not installed: av imagecodecs, see extra `bench`."
    )


def test_what_takes_for_ever_without_kernels_is_left_out_and_named(data: Path) -> None:
    asked = ["--quick", "--rounds", "1", "--seconds", "0.1", "--sets", REAL_D400_SET, "--depth-data", data]
    answer = bench(*asked, environment={"NIGHTRIG_NO_KERNELS": "1"})
    assert answer.returncode == 1, answer.stderr
    assert "| **lattice-rans** " in answer.stdout
    assert "| **max** " not in answer.stdout
    left_out = "Left out: max, streams of lattice-rans; the native kernels are not built here."
    assert answer.stdout.splitlines()[-1] == left_out
    assert "streams with lattice-rans" not in answer.stderr


# ---- timing ------------------------------------------------------------------------------------------------


def way(name: str, *, off_by: int = 0, lossy: bool = False) -> Way:
    """A copy in place of a codec, which gives every pixel back `off_by` too large."""
    return Way(name, False, lossy, lambda frame: frame.tobytes(), lambda payload: restored(payload, off_by))


def restored(payload: bytes, off_by: int) -> Depth:
    return np.frombuffer(payload, np.uint16).reshape(24, 40) + np.uint16(off_by)


def test_way_that_changes_a_pixel_ends_the_run() -> None:
    with pytest.raises(NotLosslessError, match="broken does not give frame 0 back bit for bit"):
        measure([lattice_frame()], [way("broken", off_by=1)], rounds=1)


def test_lossy_way_is_marked_with_its_largest_error() -> None:
    (figures,) = measure([lattice_frame()], [way("near", off_by=3, lossy=True)], rounds=1)
    assert (figures.lossy, figures.max_error) == (True, 3)
    table = as_text(Run([SetFigures("tiny", "real", 1, 40, 24, [figures])], [], [], [], {}, 0.0))
    assert "LOSSY, max error 3 depth units" in table


def test_every_way_has_a_figure_for_every_round() -> None:
    frames = [lattice_frame(seed) for seed in range(3)]
    for figures in measure(frames, [way("one"), way("two")], rounds=5):
        assert figures.frames == 3
        assert figures.ratio == 1.0
        assert len(figures.encode_rounds) == len(figures.decode_rounds) == 5


def test_way_that_takes_for_ever_is_measured_on_one_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depth_timing, "_TOO_SLOW_S", 0.0)
    (figures,) = measure([lattice_frame(0), lattice_frame(1)], [way("slow")], rounds=5)
    assert figures.frames == len(figures.encode_rounds) == 1
    table = as_text(Run([SetFigures("tiny", "real", 2, 40, 24, [figures])], [], [], [], {}, 0.0))
    assert "too slow: 1 frame only, once" in table


def test_ratio_of_two_times_is_the_median_of_the_rounds_own_ratios() -> None:
    assert times_of([2.0, 30.0, 6.0], [1.0, 10.0, 1.0]) == 3.0


# ---- streams -----------------------------------------------------------------------------------------------


def test_streams_encode_every_frame_and_say_what_they_cost() -> None:
    frames = [lattice_frame(seed) for seed in range(3)]
    load = measure_streams("lattice-lz4", frames, streams=3, fps=50.0, seconds=0.2)
    assert (load.codec, load.streams, load.frames) == ("lattice-lz4", 3, 30)
    assert (load.width, load.height) == (40, 24)
    assert load.cores > 0
    assert 0 <= load.late <= load.frames


def test_frame_that_a_stream_cannot_encode_ends_the_run() -> None:
    frames = [lattice_frame(), np.zeros(4, np.uint16)]
    with pytest.raises(CodecError, match="two-dimensional"):
        measure_streams("raw", frames, streams=2, fps=50.0, seconds=0.1)


# ---- targets -----------------------------------------------------------------------------------------------


def figures_of(way: str, *, ratio: float, encode: float, decode: float, ours: bool = False) -> Figures:
    return Figures(way, ours, False, 0, ratio, 24, [encode] * 3, [decode] * 3)


GOOD = [
    figures_of("lattice-lz4", ratio=6.5, encode=3.0, decode=2.0, ours=True),
    figures_of("lattice-rans", ratio=12.5, encode=3.5, decode=9.0, ours=True),
    figures_of(RANS_UNSEEN, ratio=12.5, encode=3.5, decode=9.0, ours=True),
    figures_of("max", ratio=15.0, encode=80.0, decode=90.0, ours=True),
    figures_of("lz4.frame", ratio=2.4, encode=3.4, decode=0.8),
    figures_of("jpeg-xl-7", ratio=12.0, encode=250.0, decode=50.0),
]
LOAD = StreamsLoad("lattice-rans", 8, 848, 480, 30.0, 10.0, 2400, 0.40, 0, 0.0)


def judged(**arguments: Any) -> dict[str, Verdict]:
    verdicts = judge(
        arguments.get("real", GOOD), arguments.get("loads", [LOAD]), others_cores=arguments.get("others", 0.0)
    )
    return {verdict.what: verdict for verdict in verdicts}


def test_good_figures_meet_everything_that_must_be_reached() -> None:
    verdicts = judged()
    assert all(verdict.must_met is not False for verdict in verdicts.values())
    assert Run([], [], list(verdicts.values()), [], {}, 0.0).all_must_met
    assert verdicts["lattice-lz4: ratio"].aim_met is True
    assert verdicts["lattice-rans: ratio, context map trained without this set"].aim_met is False
    assert verdicts["lattice-rans: decode CPU"].must_met is None


def test_figure_beyond_its_limit_is_missed_and_the_run_fails() -> None:
    slow = [each for each in GOOD if not each.way.startswith("lattice-rans")]
    slow.append(figures_of("lattice-rans", ratio=12.5, encode=6.5, decode=20.0, ours=True))
    slow.append(figures_of(RANS_UNSEEN, ratio=12.1, encode=6.5, decode=20.0, ours=True))
    missed = [what for what, verdict in judged(real=slow).items() if verdict.must_met is False]
    assert missed == [
        "lattice-rans: ratio, context map trained without this set",
        "lattice-rans: encode CPU / lz4.frame",
        "lattice-rans: decode CPU / its own encode CPU",
        "jpeg-xl-7: encode CPU / lattice-rans",
    ]


def test_figure_that_was_not_measured_counts_as_missed() -> None:
    verdicts = judged(real=None, loads=[])
    for verdict in verdicts.values():
        assert verdict.figure is None
        assert verdict.must_met in (False, None)
        assert verdict.note.startswith((LEFT_OUT, NOT_BUILT))
    assert verdicts["lattice-lz4: ratio"].note.startswith(LEFT_OUT)


def test_times_are_provisional_and_ratios_are_not_where_others_were_busy() -> None:
    verdicts = judged(others=1.2)
    assert verdicts["lattice-lz4: encode CPU / lz4.frame"].doubt == "others used 1.2 cores meanwhile"
    assert verdicts["lattice-lz4: ratio"].doubt == ""


def test_night_takes_the_dearer_of_the_two_sets() -> None:
    (night,) = nights(
        [figures_of("raw", ratio=1.0, encode=1.0, decode=1.0)],
        [figures_of("raw", ratio=2.0, encode=2.0, decode=1.0)],
    )
    assert night.gb_real == pytest.approx(879.2, abs=0.1)
    assert night.gb_simulated == pytest.approx(439.6, abs=0.1)
    assert night.cores_here == pytest.approx(8 * 848 * 480 * 30 * 2e-9)
