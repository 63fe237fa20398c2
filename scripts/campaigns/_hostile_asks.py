"""What hostile inputs are asked: every verb that reads files, and every reader behind them, down to the
estimators that get what is in them.

A verb runs as the command line runs it, in this process. A reader may raise our errors and nothing else.
"""

from __future__ import annotations

import contextlib
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from capture.cli import main
from capture.config import load_rig
from capture.estimators.stereo import StereoEstimator
from capture.estimators.truth import TruthEstimator
from capture.frames import CameraInfo, Frame, Intrinsics, StreamInfo
from capture.player import Player
from capture.preview import tiles
from capture.recording import Recording
from capture.sources.opencv import OpenCVSource
from capture.sources.playback import open_playback
from capture.specs import EstimatorSpec, OpenCVSpec, PlaybackSpec
from codec import DepthReader
from codec.errors import ConfigError, NightrigError
from codec.mesh import BodyDecompressor, MeshReader
from scripts.campaigns._hostile_bag import LOST, RECORDED, ApartError, BagPlayer
from scripts.campaigns._hostile_commands import recorded_anyway
from scripts.campaigns._hostile_files import (
    BAG,
    CALIBRATION,
    MESH,
    PICTURES,
    RECORD,
    RIG,
    VIDEO,
    WHOLE_BAG,
    Hostile,
)
from scripts.campaigns._hostile_values import odd_jpeg, odd_text

_READS_MAX = 50
_READ_S = 0.02
_RECORDED_SHARE = 0.1
"""Of the recordings of librealsense that hang: each takes a minute."""
_POSE_NUMBERS = 85
_EYES = ("left", "right")
_WIDTH, _HEIGHT = 20, 14
_EXPORTS = ("png", "npz", "mp4", "frames", "obj", "ply")


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to do. `run` gives an exit code, None where there is none (a reader), or how it went."""

    name: str
    run: Callable[[], int | str | None]


@dataclass(frozen=True, slots=True)
class Tools:
    """What asking takes that outlives an input: where bags are played, and a good record file."""

    bags: BagPlayer
    good_record: bytes


def asks_for(hostile: Hostile, out: Path, chance: random.Random, tools: Tools) -> list[Ask]:
    """Two or three things to ask of an input; results may go below `out`, nowhere else."""
    path = hostile.path
    if hostile.kind == RIG:
        return [Ask("load_rig", lambda: _rig(path)), Ask("record", lambda: _refused_rig(path, out))]
    if hostile.kind == CALIBRATION:
        return [Ask("calibration", lambda: _calibration(path))]
    if hostile.kind == WHOLE_BAG:
        recorded = chance.random() < _RECORDED_SHARE
        return [Ask("bag", lambda: _bag(path, out, tools, recorded=recorded))]
    if hostile.kind == VIDEO:
        return [Ask("video", lambda: _video(path)), Ask("estimators", lambda: _estimators(chance))]
    if hostile.kind in (PICTURES, BAG):
        return [Ask("playback", lambda: _playback(path)), _verb(chance.choice(("info", "verify")), path)]
    asks = [
        _verb("info", path, *chance.choice(((), ("--json",)))),
        _verb("verify", path, *chance.choice(((), ("--json",)))),
        _verb("recover", path, "--out", out / "recovered"),
        _verb("export", path, "--format", chance.choice(_EXPORTS), "--out", out / "exported"),
        _verb("recompress", path, "--codec", chance.choice(("max", "lattice-rans", "raw", "lz4"))),
        _verb("recompress", path, "--meshes", chance.choice(("small", "native", "bodycompress:1"))),
    ]
    if hostile.kind == MESH:
        suffix = chance.choice((".nrm", ".xz", ".zst"))
        asks += [_verb("convert", path, out / f"converted{suffix}")] * 2
        asks += [Ask("MeshReader", lambda: _meshes(path)), Ask("BodyDecompressor", lambda: _drop_in(path))]
        del asks[4]
    else:
        camera = path if hostile.kind == RECORD else path / chance.choice(("front", "people", "."))
        asks += [Ask("playback", lambda: _playback(camera)), Ask("Player", lambda: _player(path))]
        if hostile.kind == RECORD:
            asks.append(Ask("DepthReader", lambda: _depth(path)))
    return chance.sample(asks, 2)


def _verb(*words: object) -> Ask:
    arguments = [str(word) for word in words]
    told = [word for word in arguments[1:] if word.startswith("--") or "/" not in word]
    return Ask(" ".join([arguments[0], *told]), lambda: main(arguments))


def _rig(path: Path) -> None:
    rig = load_rig(str(path)).rig
    rig.camera_specs()
    rig.estimator_specs()


def _refused_rig(path: Path, out: Path) -> int | None:
    """One that is right would record."""
    try:
        load_rig(str(path))
    except ConfigError:
        return main(["record", str(path), "--root", str(out)])
    return None


def _calibration(path: Path) -> None:
    spec = EstimatorSpec("maps", "stereo", _EYES, {"calibration": str(path), "min_depth_m": 1.0})
    estimator = StereoEstimator(spec)
    estimator.open({eye: CameraInfo(eye, "test", "", (_color(),)) for eye in _EYES})


def _color() -> StreamInfo:
    lens = Intrinsics(_WIDTH, _HEIGHT, 20.0, 20.0, 10.0, 7.0, "brown_conrady", (0.0,) * 5)
    return StreamInfo("color", "jpeg", _WIDTH, _HEIGHT, 30.0, lens)


def _estimators(chance: random.Random) -> None:
    """What cameras may send them: poses that are none, pictures that are none."""
    depth = StreamInfo("depth", "z16", _WIDTH, _HEIGHT, 30.0)
    truth = TruthEstimator(EstimatorSpec("body", "truth", ("left",)))
    truth.open({"left": CameraInfo("left", "simulated", "", (depth,))})
    meta = odd_text(chance, {"pose": [0.1] * _POSE_NUMBERS})
    frame = Frame("depth", 1, np.zeros((_HEIGHT, _WIDTH), np.uint16), 0.0, "hardware", 0, meta)
    _allowed(lambda: truth.estimate({("left", "depth"): frame}))
    stereo = StereoEstimator(EstimatorSpec("maps", "stereo", _EYES, {"min_depth_m": 1.0}))
    stereo.open({eye: _standing(eye, 0.1 * place) for place, eye in enumerate(_EYES)})
    whole = cv2.imencode(".jpg", np.zeros((_HEIGHT, _WIDTH, 3), np.uint8))[1].tobytes()
    pictures = {}
    for eye in _EYES:
        picture = np.frombuffer(odd_jpeg(chance, whole)[0] if chance.random() < 0.7 else whole, np.uint8)
        pictures[eye, "color"] = Frame("color", 1, picture, 0.0, "hardware", 0)
    _allowed(lambda: stereo.estimate(pictures))


def _standing(eye: str, x_m: float) -> CameraInfo:
    pose = ((1.0, 0.0, 0.0, x_m), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    return CameraInfo(eye, "test", "", (_color(),), world_from_camera=pose)


def _bag(path: Path, out: Path, tools: Tools, *, recorded: bool) -> str:
    """Played; where its process hangs or dies, and that is wanted, recorded as well."""
    way = tools.bags.play(path)
    if way not in LOST or not recorded:
        return way
    if troubles := recorded_anyway(path, tools.good_record, out):
        raise ApartError("; ".join(troubles))
    return way + RECORDED


def _video(path: Path) -> None:
    source = OpenCVSource("front", OpenCVSpec(str(path), pace="fast"))
    try:
        source.open()
        for _ in range(_READS_MAX):
            source.read(_READ_S)
    finally:
        source.close()


def _playback(path: Path) -> None:
    source = open_playback("front", PlaybackSpec(str(path), pace="fast"))
    try:
        source.open()
        for _ in range(_READS_MAX):
            source.read(_READ_S)
    finally:
        source.close()


def _player(path: Path) -> None:
    with Recording(path) as recording:
        player = Player(recording)
        for step in (lambda: player.advance(0.1), lambda: player.step(1), lambda: player.step(-1)):
            step()
            tiles.compose(player.tiles(), player.fields(), size=(320, 240), span=player.span)


def _depth(path: Path) -> None:
    with DepthReader(path) as reader:
        for _ in reader:
            pass
        _ = reader.gaps, reader.damage, len(reader)


def _meshes(path: Path) -> None:
    with MeshReader(path) as reader:
        for _ in reader:
            pass
        for ask in (lambda: reader[0], lambda: reader[-1], lambda: reader.at(0.1), lambda: len(reader)):
            _allowed(ask)
        _ = reader.note, reader.fps, reader.metadata, reader.complete


def _drop_in(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its way of telling of damage
        with BodyDecompressor(path) as reader:
            for _ in reader:
                pass


def _allowed(ask: Callable[[], Any]) -> None:
    with contextlib.suppress(NightrigError, IndexError):
        ask()


def clocked(run: Callable[[], int | str | None]) -> tuple[int | str | None, float]:
    """What it gave, and the CPU seconds that it took, of all threads."""
    begun_s = time.process_time()
    code = run()
    return code, time.process_time() - begun_s
