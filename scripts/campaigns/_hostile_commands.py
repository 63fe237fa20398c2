"""Hostile inputs through the real command line: `nightrig VERB FILE` as a process, as somebody runs it.

`troubles_of` says what a verb should not have done: another exit code than it knows, a traceback, another
number of our lines than one on stderr, lines on stdout that are none, or running for too long.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from capture.config import load_rig
from codec.errors import ConfigError
from scripts.campaigns._hostile_files import BAG, CALIBRATION, MESH, PICTURES, RIG, VIDEO, WHOLE_BAG, Hostile
from scripts.campaigns._hostile_words import wrong_lines
from scripts.campaigns._ledger import ROOT

_LONGEST_S = 60.0
_RECORDING_S = 180.0
CODES = (0, 1, 2, 3)


def command_for(hostile: Hostile, out: Path, chance: random.Random) -> list[str]:
    """One verb with that input."""
    path = str(hostile.path)
    if hostile.kind != RIG and chance.random() < 0.1:
        path += chance.choice(("x" * 5000, "\n\udcff\x1b", "/" * 9 + "x"))
    if hostile.kind == RIG:
        return ["record", path, "--root", str(out)] if _is_refused(path) else ["info", path]
    if hostile.kind in (CALIBRATION, PICTURES, VIDEO, BAG, WHOLE_BAG):
        return [chance.choice(("info", "verify")), path]
    verbs = [
        ["info", path],
        ["info", path, "--json"],
        ["verify", path],
        ["verify", path, "--json"],
        ["recover", path, "--out", str(out / "recovered")],
        ["export", path, "--format", chance.choice(("png", "npz", "frames", "obj")), "--out", str(out / "e")],
        ["recompress", path, "--codec", "max"],
        ["recompress", path, "--meshes", "native"],
        ["play", path],
    ]
    if hostile.kind == MESH:
        verbs.append(["convert", path, str(out / "converted.nrm")])
    return chance.choice(verbs)


def _is_refused(rig: str) -> bool:
    """One that is right would record."""
    try:
        load_rig(rig)
    except ConfigError:
        return True
    return False


def troubles_of(words: Sequence[str], timeout_s: float = _LONGEST_S) -> tuple[str, list[str]]:
    """The way it went, and what is wrong with that."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    environment.pop("DISPLAY", None)  # `play` is to say that there is none
    environment.pop("WAYLAND_DISPLAY", None)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "capture", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "left", [f"hang: it ran for more than {timeout_s:.0f} s"]
    troubles = [] if done.returncode in CODES else [f"exit code {done.returncode}"]
    troubles += wrong_lines(done.stderr.decode(errors="replace"), done.returncode)
    try:
        strange = [line for line in done.stdout.decode().splitlines() if not line.isprintable()]
    except UnicodeDecodeError as error:
        strange = [str(error)]
    troubles += [f"on stdout: {line[:160]!r}" for line in strange[:1]]
    return f"exit code {done.returncode}", troubles


def recorded_anyway(bag: Path, good: bytes, out: Path) -> list[str]:
    """What is wrong with a recording of that bag beside a camera that is good: it has to end by itself, and
    to hold what the good one sent."""
    (out / "good.nrig").write_bytes(good)
    rig = out / "rig.toml"
    cameras = f'[[cameras]]\nname = "good"\nsource = "playback"\nloop = true\npath = "{out / "good.nrig"}"\n'
    cameras += f'[[cameras]]\nname = "bad"\nsource = "playback"\npath = "{bag}"\n'
    rig.write_text(f'name = "hostile"\npreview = false\nqueue_mb = 32\n[record]\nreserve_mb = 1\n{cameras}')
    root = out / "recorded"
    words = ["record", str(rig), "--root", str(root), "--duration", "2"]
    way, troubles = troubles_of(words, _RECORDING_S)
    troubles = [trouble for trouble in troubles if not trouble.startswith("on stderr")]  # its own account
    files = [path for path in root.glob("*/good/*.nrig") if path.stat().st_size > len(good) // 2]
    if not troubles and not files:
        troubles.append(f"{way}, and nothing of the good camera is there")
    return [f"recorded with a good camera: {trouble}" for trouble in troubles]
