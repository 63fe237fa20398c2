"""Hostile inputs, each made from its number: a file or a folder, and what it is meant to be.

Half of what is wrong is damage; the other half stands behind checksums that are right. Mesh files come from
the mutators of scripts/fuzz/mesh_reader, record files from _hostile_records, what can be played from
_hostile_pictures; here are rigs, calibrations and whole sessions.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.config import SHIPPED
from scripts.campaigns._hostile_pictures import HostilePictures, make_huge
from scripts.campaigns._hostile_records import HostileRecords
from scripts.campaigns._hostile_values import damaged, odd, odd_json, odd_text
from scripts.campaigns._ledger import ROOT
from scripts.campaigns._samples import Sample, mesh_samples

sys.path.append(str(ROOT / "tests" / "codec" / "mesh"))  # where the mutators of mesh files are
from mutations import Mutator
from native_mutations import NativeMutator

RECORD, MESH, SESSION, RIG, CALIBRATION = "record", "mesh", "session", "rig", "calibration"
PICTURES, VIDEO, BAG, WHOLE_BAG = "pictures", "video", "bag", "whole_bag"
_WEIGHTS = {RECORD: 32, MESH: 16, SESSION: 20, RIG: 10, CALIBRATION: 7, PICTURES: 8, VIDEO: 3, BAG: 3.5}
_WEIGHTS |= {WHOLE_BAG: 0.5}
_ZEROS = 12 << 20
"""Numbers: 96 MB of them take a hundred kilobytes on the disk."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One input: its kind and where it lies."""

    kind: str
    path: Path


class HostileFiles:
    """Makes inputs; the same (seed, number) makes the same one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self._records = HostileRecords(folder / "records")
            self._playable = HostilePictures(folder / "playable")
            self._meshes = mesh_samples(folder / "meshes", frames=6)
            self._bodies = next(each.content for each in self._meshes if each.path.suffix == ".xz")
        self.good_record = self._records.samples["camera"].content
        """A record file without anything wrong in it."""
        self._rigs = [path.read_text() for folder in SHIPPED for path in sorted(folder.glob("*.toml"))]
        self._bomb = _calibration({**_GOOD_CALIBRATION, "R": np.zeros(_ZEROS)}, np.savez_compressed)

    def make(self, number: int, folder: Path) -> Hostile:
        """Put input `number` into an empty folder."""
        chance = random.Random(f"{self._seed} {number}")
        kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        makers: dict[str, Callable[[random.Random, Path], Path]] = {
            RECORD: self._record,
            MESH: self._mesh,
            SESSION: self._session,
            RIG: self._rig,
            CALIBRATION: self._calibration,
            PICTURES: self._playable.pictures,
            VIDEO: self._playable.video,
            BAG: self._playable.bag,
            WHOLE_BAG: self._playable.whole_bag,
        }
        return Hostile(kind, makers[kind](chance, folder))

    # ---- files -------------------------------------------------------------------------------------

    def _record(self, chance: random.Random, folder: Path) -> Path:
        path = folder / "night.nrig"
        path.write_bytes(self._records.content(chance))
        return path

    def _mesh(self, chance: random.Random, folder: Path) -> Path:
        if chance.random() < 0.05:
            path = folder / f"bodies{chance.choice(('.xz', '.zst', '.nrm'))}"
            path.write_bytes(chance.randbytes(chance.choice((0, 1, 100, 5000))))
            return path
        seed = chance.randrange(1 << 40)
        if chance.random() < 0.5:
            content, suffix = _native(seed), ".nrm"
        else:
            content = _compatible(seed, self._meshes)
            suffix = ".zst" if content.startswith(b"\x28\xb5") else ".xz"
        if chance.random() < 0.05:
            suffix = chance.choice((".xz", ".zst", ".nrm", ".zstd"))
        path = folder / f"bodies{suffix}"
        path.write_bytes(content)
        return path

    def _rig(self, chance: random.Random, folder: Path) -> Path:
        path = folder / "rig.toml"
        lines = chance.choice(self._rigs).encode().split(b"\n")
        for _ in range(chance.choice((1, 1, 2, 4))):
            place = chance.randrange(len(lines))
            key, equals, _ = lines[place].partition(b"=")
            if equals and chance.random() < 0.7:
                value = _toml(odd(chance))
                lines[place] = key + b"= " + value
            elif chance.random() < 0.5:
                lines.insert(chance.randrange(len(lines)), lines[place])
            else:
                lines[place] = damaged(chance, lines[place] or b"a")
        whole = b"\n".join(lines)
        path.write_bytes(damaged(chance, whole) if chance.random() < 0.1 else whole)
        if chance.random() < 0.02:
            make_huge(path)
        return path

    def _calibration(self, chance: random.Random, folder: Path) -> Path:
        how = chance.random()
        path = folder / ("calibration.json" if how < 0.4 else "calibration.npz")
        if how < 0.4:
            path.write_bytes(odd_text(chance, _GOOD_CALIBRATION))
        elif how < 0.85:
            changed = {k: odd(chance) if chance.random() < 0.1 else v for k, v in _GOOD_CALIBRATION.items()}
            content = _calibration(changed, np.savez)
            path.write_bytes(damaged(chance, content) if chance.random() < 0.7 else content)
        elif how < 0.9:
            path.write_bytes(self._bomb)
        else:
            path.write_bytes(pickle.dumps(_Trap(folder / "ESCAPED")))
        if chance.random() < 0.02:
            make_huge(path)
        return path

    # ---- folders -----------------------------------------------------------------------------------

    def _session(self, chance: random.Random, folder: Path) -> Path:
        path = folder / "20250101T220000Z-night"
        (path / "front").mkdir(parents=True)
        (path / "people").mkdir()
        camera, estimates = self._records.samples["camera"], self._records.samples["estimates"]
        for number in range(2):
            good = chance.random() < 0.6
            content = camera.content if good else self._records.resealed(chance, "camera")
            (path / "front" / f"{number:03d}.nrig").write_bytes(content)
        (path / "people" / "parameters-000.nrig").write_bytes(estimates.content)
        bodies = self._bodies if chance.random() < 0.6 else damaged(chance, self._bodies)
        (path / "people" / "mesh-000.xz").write_bytes(bodies)
        told = {"written": 8, "dropped": 0, "lost_at_camera": 0, "raw_bytes": 4480, "file_bytes": 9000}
        info: dict[str, Any] = {"format": "nightrig-session", "version": 1, "rig": "night"}
        info |= {"started": {"wall_ns": 1_700_000_000_000_000_000, "monotonic_ns": 1_000_000_000_000}}
        info |= {"config": {"name": "night"}, "versions": {"nightrig": "0.1.0"}, "cameras": {"front": {}}}
        info |= {"totals": {"streams": {"front/depth": told, "front/color": dict(told)}, "meshes": 6}}
        content = odd_text(chance, info) if chance.random() < 0.7 else json.dumps(info).encode()
        (path / "session.json").write_bytes(content)
        (path / "events.jsonl").write_bytes(_events(chance))
        if chance.random() < 0.03:
            make_huge(path / chance.choice(("session.json", "events.jsonl")))
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            self._put_something_wrong(chance, path)
        return path

    def _put_something_wrong(self, chance: random.Random, session: Path) -> None:
        place = chance.choice((session, session / "front", session / "people"))
        name = chance.choice(_WRONG_NAMES)
        target = place / os.fsdecode(name)
        if target.is_dir() and not target.is_symlink():
            return
        target.unlink(missing_ok=True)
        how = chance.randrange(9)
        if how == 0:
            os.mkfifo(target)
        elif how == 1:
            target.mkdir()
        elif how == 2:
            target.symlink_to(target.name)  # to itself
        elif how == 3:
            target.symlink_to("nowhere")
        elif how == 4:
            target.symlink_to(session)
        elif how == 5:
            target.symlink_to("/dev/zero")
        elif how == 6:
            target.write_bytes(b"")
        elif how == 7:
            target.write_bytes(chance.randbytes(200))
        else:
            target.write_bytes(self._records.content(chance))


_WRONG_NAMES = (
    b"session.json",
    b"events.jsonl",
    b"000.nrig",
    b"001.nrig",
    b"003.nrig",
    b"999999999.nrig",
    b"99999999999999999999.nrig",
    b"parameters-000.nrig",
    b"parameters-001.nrig",
    b"mesh-000.xz",
    b"mesh-000.nrm",
    b"mesh-001.xz",
    b"mesh-2000000.xz",
    b".000.nrig.max.0123abcd.recompress",
    b"\xff\xfe",
    b"two\nlines",
    b"people",
    b"front",
    b"000.nrig.tmp",
)


_GOOD_CALIBRATION: dict[str, Any] = {
    "image_size": [20, 14],
    "R": np.eye(3).tolist(),
    "T": [0.05, 0.0, 0.0],
    **{f"K{eye}": [[20.0, 0, 10], [0, 20.0, 7], [0, 0, 1]] for eye in (1, 2)},
    **{f"D{eye}": [0.0] * 5 for eye in (1, 2)},
}


def _events(chance: random.Random) -> bytes:
    """Of a session from which something was deleted; broken now and then."""
    begun: dict[str, Any] = {"event": "started", "wall_ns": 5}
    gone: dict[str, Any] = {"event": "deleted", "path": "front/009.nrig", "bytes": 9000, "wall_ns": 6}
    gone |= {"frames": 4, "streams": {"0": {"name": "depth", "frames": 4, "gaps": {"camera": 2}}}}
    told = [begun, odd_json(chance, gone) if chance.random() < 0.5 else gone, odd_json(chance, begun)]
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in told)
    return lines if chance.random() < 0.7 else damaged(chance, lines * 3)


class _Trap:
    """Unpickled, it leaves a file: whoever opens that pickle is found out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._path),)


def _calibration(values: dict[str, Any], save: Callable[..., None]) -> bytes:
    packed = io.BytesIO()
    save(packed, **{key: _array(value) for key, value in values.items()})
    return packed.getvalue()


def _array(value: Any) -> Any:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):
        return np.asarray(value, dtype=object)


def _toml(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bool):
        return str(value).lower().encode()
    if isinstance(value, float):
        return repr(value).encode()
    return json.dumps(value).encode() if not isinstance(value, dict) else b"{ a = 1 }"


def _native(seed: int) -> bytes:
    return NativeMutator(seed).next().content


def _compatible(seed: int, samples: list[Sample]) -> bytes:
    mutator = Mutator(seed, with_zstd=True)
    for sample in samples:
        if sample.path.suffix != ".nrm":
            mutator.add(sample.content)
    return mutator.next()
