"""What hostile inputs are asked: every verb that reads files, and every reader behind them.

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

from capture.cli import main
from capture.config import load_rig
from capture.estimators.stereo_calibration import CalibrationError, pair_from_file
from capture.frames import StreamInfo
from capture.player import Player
from capture.preview import tiles
from capture.recording import Recording
from capture.sources.playback import open_playback
from capture.specs import PlaybackSpec
from codec import DepthReader
from codec.errors import ConfigError, NightrigError
from codec.mesh import BodyDecompressor, MeshReader
from scripts.campaigns._hostile_files import BAG, CALIBRATION, MESH, PICTURES, RECORD, RIG, Hostile

_READS_MAX = 50
_READ_S = 0.02
_EXPORTS = ("png", "npz", "mp4", "frames", "obj", "ply")


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to do. `run` gives an exit code, or None where there is none (a reader)."""

    name: str
    run: Callable[[], int | None]


def asks_for(hostile: Hostile, out: Path, chance: random.Random) -> list[Ask]:
    """Two or three things to ask of an input; results may go below `out`, nowhere else."""
    path = hostile.path
    if hostile.kind == RIG:
        return [Ask("load_rig", lambda: _rig(path)), Ask("record", lambda: _refused_rig(path, out))]
    if hostile.kind == CALIBRATION:
        return [Ask("calibration", lambda: _calibration(path))]
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
    stream = StreamInfo("color", "bgr8", 20, 14, 30.0)
    try:
        pair_from_file(path, (("left", "color"), ("right", "color")), (stream, stream))
    except CalibrationError as error:
        raise ConfigError(str(error)) from error


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


def clocked(run: Callable[[], int | None]) -> tuple[int | None, float]:
    """What it gave, and the CPU seconds that it took, of all threads."""
    begun_s = time.process_time()
    code = run()
    return code, time.process_time() - begun_s
