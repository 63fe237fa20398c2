"""The mesh benchmark: its arithmetic, what it refuses, and that no figure is taken on trust."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scripts.bench import _mesh_peers, _mesh_timing, _mesh_ways
from scripts.bench._mesh_live import Live, measure_live, memory_a_person_mb
from scripts.bench._mesh_peers import missing_peers, open_peer, peer_names
from scripts.bench._mesh_plan import missing_ways, usual_ways, way_names
from scripts.bench._mesh_report import LevelFigures, Run, WholeFile, as_json, as_text
from scripts.bench._mesh_targets import LEFT_OUT, compatible_name, judge, stock_name
from scripts.bench._mesh_timing import Figures, NotInPlaceError, measure
from scripts.bench._mesh_ways import AFFINE, FAST, Way, compatible, fitted, native, native_file, order_model
from scripts.bench._verdicts import Verdict

ROOT = Path(__file__).resolve().parent.parent
Float32 = npt.NDArray[np.float32]
SIDE = 15


def sheets(frames: int = 60, people: int = 2) -> Float32:
    """(frames, people, 225, 3) mm: waving square sheets, with a little noise."""
    rng = np.random.default_rng(1)
    u, v = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    flat = np.stack([60 * u, 60 * v, 0 * u], axis=-1).reshape(-1, 3).astype(np.float64)
    clip = np.empty((frames, people, SIDE * SIDE, 3))
    for t in range(frames):
        for person in range(people):
            bend = 80 * np.sin(t / 9 + person + flat[:, 0] / 200)
            clip[t, person] = flat + (1200 * person, 3 * t, 4000) + bend[:, None] * (0, 0.2, 1)
    return (clip + rng.normal(0, 0.5, clip.shape)).astype(np.float32)


def faces() -> npt.NDArray[np.int32]:
    corners = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    a, b, c, d = corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).reshape(-1, 3).astype(np.int32)


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (sys.executable, ROOT / "scripts" / "bench" / "mesh.py", *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


# ---- the program -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "native afine"], "did you mean 'native affine'?"),
        (["--rounds", "0"], "--rounds, --people and --seconds must be at least 1"),
    ],
)
def test_wrong_argument_is_one_clear_line_and_exit_2(arguments: list[str], said: str) -> None:
    answer = bench(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(answer.stderr.splitlines()) == 1
    assert said in answer.stderr


def test_without_the_clips_it_says_so_and_stops(tmp_path: Path) -> None:
    answer = bench("--quick", "--motions", tmp_path / "motions.npz")
    assert (answer.returncode, answer.stdout) == (3, "")
    assert answer.stderr.splitlines()[-1].endswith("is not there: the mesh benchmark wants its mocap clips")


def test_the_slow_ways_are_measured_at_the_level_of_the_targets_alone() -> None:
    assert usual_ways(5.0) == way_names()
    others = usual_ways(3.0)
    assert set(others) < set(way_names())
    assert {FAST, AFFINE, stock_name("xz", 5, "walk")} <= set(others)
    assert compatible_name("xz", 5, 1.0, "own") not in others


# ---- ways --------------------------------------------------------------------------------------------------


def checked(way: Way, clip: Float32) -> Figures:
    (figures,) = measure(clip, [way], rounds=1)
    return figures


def test_native_ways_give_every_mesh_back(tmp_path: Path) -> None:
    clip = sheets(180)
    order = _mesh_ways.walk_of(clip[0, 0])
    assert sorted(order.tolist()) == list(range(SIDE * SIDE))
    fast = checked(native(FAST, order_model(order)), clip[120:])
    affine = checked(native(AFFINE, fitted(clip[:120]), fit_cpu_s=1.0), clip[120:])
    assert affine.ratio > fast.ratio > 3
    assert affine.ratio_with_models < affine.ratio
    assert checked(native_file("whole", tmp_path, "fast"), clip[:60]).ratio > 3


@pytest.mark.parametrize("order", ["walk", "own"])
def test_compatible_files_give_every_mesh_back(tmp_path: Path, order: str) -> None:
    clip = sheets()
    walk = _mesh_ways.walk_of(clip[0, 0]) if order == "walk" else None
    figures = checked(compatible("ours", tmp_path, preset=0, block_s=1.0, order=walk), clip)
    assert figures.max_error_mm <= 0.2501


@pytest.mark.parametrize("name", peer_names())
def test_every_peer_gives_the_meshes_back(name: str) -> None:
    if name in missing_peers():
        pytest.skip(f"{missing_peers()[name]} is not installed: docs/MESH.md says how")
    clip = sheets()
    assert checked(open_peer(name, _mesh_ways.walk_of(clip[0, 0]), faces()), clip).ratio > 1


def test_stock_bodycompress_gives_the_meshes_back(tmp_path: Path) -> None:
    if _mesh_peers.BODYCOMPRESS in missing_peers():
        pytest.skip("bodycompress is not installed")
    # In a process of its own, for it puts stand-ins for packages that other tests look for.
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "from scripts.bench._mesh_peers import stock\n"
        "from test_bench_mesh import checked, sheets\n"
        f"way = stock('stock', Path({str(tmp_path)!r}), preset=0, order=None)\n"
        "assert checked(way, sheets()).max_error_mm <= 0.2501\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_peers_that_are_not_installed_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mesh_peers, "find_spec", lambda module: None)
    found = missing_ways(way_names())
    assert found["draco 12 bit"] == "DracoPy"
    assert found[stock_name("xz", 5, "walk")] == "bodycompress"
    assert found[compatible_name("zstd", 3, 1.0, "own")] == "zstandard"
    assert FAST not in found
    assert "npz" not in found
    text = as_text(Run([], [], [], [], {"draco 12 bit": "DracoPy"}, 0.0))
    assert "Left out: draco 12 bit; not installed: DracoPy" in text


# ---- timing ------------------------------------------------------------------------------------------------


def copying(name: str = "copy", *, off_by: float = 0.0, lost: int = 0, model_bytes: int = 0) -> Way:
    def decode(parts: list[bytes]) -> Iterator[Float32]:
        clip = np.frombuffer(parts[0], np.float32).reshape(-1, 2, SIDE * SIDE, 3)
        yield from clip[: len(clip) - lost] + np.float32(off_by)

    return Way(name, False, lambda clip: [clip.tobytes()], decode, 1.0 if model_bytes else 0.0, model_bytes)


def test_way_that_moves_a_point_by_more_than_half_a_step_ends_the_run() -> None:
    assert checked(copying(off_by=0.25), sheets()).max_error_mm == pytest.approx(0.25, abs=0.001)
    with pytest.raises(NotInPlaceError, match=r"copy moves a point of frame 0 by 0\.260 mm"):
        checked(copying(off_by=0.26), sheets())


def test_way_that_loses_a_frame_ends_the_run() -> None:
    with pytest.raises(NotInPlaceError, match="gives 59 of 60 frames back"):
        checked(copying(lost=1), sheets())


def test_models_count_by_one_every_five_minutes() -> None:
    clip = sheets(90)  # three seconds: a hundredth of five minutes
    figures = checked(copying(model_bytes=100 * clip.nbytes), clip)
    assert figures.ratio == 1.0
    assert figures.ratio_with_models == pytest.approx(0.5)


def test_quick_way_has_a_figure_for_every_round_and_a_slow_one_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for figures in measure(sheets(), [copying("one"), copying("two")], rounds=3):
        assert len(figures.encode_rounds) == len(figures.decode_rounds) == 3
    monkeypatch.setattr(_mesh_timing, "_TOO_SLOW", 0.0)
    (figures,) = measure(sheets(), [copying()], rounds=3)
    assert len(figures.encode_rounds) == 1


# ---- live --------------------------------------------------------------------------------------------------


def test_live_writer_tells_what_it_took(tmp_path: Path) -> None:
    clip = sheets(20)
    live = measure_live(clip, clip[:, :, :6], codec="native", seconds=1.0, folder=tmp_path)
    assert (live.people, live.codec, live.fits) == (2, "native", 0)
    assert live.raw_bytes == 30 * 2 * (SIDE * SIDE + 6) * 12
    assert 0 < live.file_bytes < live.raw_bytes
    assert 0 < live.cores < 1
    assert live.peak_mb >= live.start_mb > 0


LIVES = [
    Live("native", 1, 20.0, 2.0, 1, 1.5, 35.0, 100.0, 0, 1, 10),
    Live("native", 4, 60.0, 7.5, 1, 1.5, 35.0, 175.0, 2, 1, 10),
]


def test_live_figures_with_and_without_the_fit_and_by_person() -> None:
    assert LIVES[1].cores == pytest.approx(0.125)
    assert LIVES[1].cores_without_fits == pytest.approx(0.1)
    assert memory_a_person_mb(*LIVES) == pytest.approx(25.0)


# ---- targets -----------------------------------------------------------------------------------------------


def figures_of(way: str, ratio: float, encode: float = 1.0, decode: float = 0.02) -> Figures:
    return Figures(way, True, ratio, ratio, 0.25, [encode] * 3, [decode] * 3, 0, 0.0)


GOOD = [
    figures_of(FAST, 11.0, 0.01),
    figures_of(AFFINE, 24.0, 0.02),
    figures_of(stock_name("xz", 5, "walk"), 8.0, 1.2),
    figures_of(stock_name("xz", 5, "own"), 6.5, 1.1),
    figures_of(compatible_name("xz", 5, 1.0, "walk"), 7.6),
    figures_of(compatible_name("xz", 5, 1.0, "own"), 6.5),
    figures_of(compatible_name("xz", 5, 5.0, "walk"), 8.0),
]


def judged(
    figures: list[Figures] = GOOD, lives: list[Live] = LIVES, others: float = 0.0
) -> dict[str, Verdict]:
    return {each.what: each for each in judge(figures, lives, others_cores=others)}


def test_good_figures_meet_everything_that_must_be_reached() -> None:
    verdicts = judged()
    assert all(each.must_met for each in verdicts.values())
    smaller = verdicts["native affine: smaller than bodycompress xz 5"]
    assert (smaller.figure, smaller.aim_met) == (3.0, True)
    assert smaller.note == "24 x against 8 x (bodycompress xz 5, walk)"
    assert verdicts["native affine: cheaper to write than it"].figure == pytest.approx(60.0)
    assert verdicts["compatible, blocks of 1 s: size against bodycompress"].figure == pytest.approx(8 / 7.6)
    assert verdicts["native affine: faster to read than real time"].figure == pytest.approx(50.0)
    assert verdicts["live, 4 people at 30 fps, from the start for 60 s"].aim_met is False


def test_the_better_order_of_bodycompress_is_the_one_to_beat() -> None:
    swapped = [replace(f, ratio=6.0) if f.way == stock_name("xz", 5, "walk") else f for f in GOOD]
    verdict = judged(swapped)["native affine: smaller than bodycompress xz 5"]
    assert verdict.figure == pytest.approx(24 / 6.5)


def test_figure_beyond_its_limit_is_missed() -> None:
    worse = [replace(f, ratio=7.8) if f.way == compatible_name("xz", 5, 5.0, "walk") else f for f in GOOD]
    verdict = judged(worse)["compatible, blocks of 5 s: size against bodycompress"]
    assert verdict.must_met is False
    assert verdict.note == "the worst of 1: xz 5, walk"


def test_figure_that_was_not_measured_counts_as_missed() -> None:
    for verdict in judged([], []).values():
        assert verdict.figure is None
        assert verdict.must_met is False
        assert verdict.note == "" or verdict.note.startswith(LEFT_OUT)


def test_times_are_provisional_and_sizes_are_not_where_others_were_busy() -> None:
    verdicts = judged(others=1.2)
    assert verdicts["native fast: cheaper to write than it"].doubt == "others used 1.2 cores meanwhile"
    assert verdicts["native fast: smaller than bodycompress xz 5"].doubt == ""


# ---- report ------------------------------------------------------------------------------------------------


def run() -> Run:
    level = LevelFigures(5.0, "walks", 3, 10.0, [replace(GOOD[1], model_bytes=1234, fit_cpu_s=1.5), GOOD[2]])
    verdicts = judge(GOOD, LIVES, others_cores=0.0)
    return Run([level], [WholeFile("1 x 10 s", 11.0)], LIVES, verdicts, {}, 0.0, has_kernels=False)


def test_text_has_the_levels_the_files_the_writers_and_the_targets() -> None:
    text = as_text(run())
    assert "**5 mm of noise**: 3 people, 10 s each, walks" in text
    assert "model: 1.5 s of CPU once, 1,234 bytes" in text
    assert "| native, 4 x 30 fps, 60 s " in text
    assert "| 1 x 10 s " in text
    assert "The native kernels are not built here" in text.splitlines()[-1]


def test_json_has_the_same_without_rounding() -> None:
    document: dict[str, Any] = json.loads(as_json(run()))
    (level,) = document["levels"]
    assert [way["encode_s"] for way in level["ways"]] == [0.02, 1.2]
    assert document["live"][1]["cores"] == pytest.approx(0.125)
    assert document["all_must_met"] is True
    assert document["has_kernels"] is False
    assert {"cpu", "cores", "python", "versions"} <= set(document["machine"])
