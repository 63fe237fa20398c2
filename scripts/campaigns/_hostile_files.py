"""Hostile inputs, each made from its number: a file or a folder, and what it is meant to be.

Half of what is wrong is damage; the other half stands behind checksums that are right, for a checksum tells
of accidents, not of intent. Mesh files come from the mutators of scripts/fuzz/mesh_reader.
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

import cv2
import numpy as np

from capture.config import SHIPPED
from codec.context_maps import newest_map
from codec.records import RecordFile
from codec.records.layout import (
    END,
    END_PAYLOAD,
    MAP,
    MAX_RECORD_BYTES,
    pack_index,
    pack_record,
)
from scripts.campaigns._damage import random_damage
from scripts.campaigns._hostile_values import damaged, odd, odd_png, odd_text
from scripts.campaigns._ledger import ROOT
from scripts.campaigns._samples import Sample, mesh_samples, record_samples

sys.path.append(str(ROOT / "tests" / "codec" / "mesh"))  # where the mutators of mesh files are
from mutations import Mutator
from native_mutations import NativeMutator

RECORD, MESH, SESSION, RIG, CALIBRATION, PICTURES, BAG = (
    "record",
    "mesh",
    "session",
    "rig",
    "calibration",
    "pictures",
    "bag",
)
_WEIGHTS = {RECORD: 34, MESH: 16, SESSION: 20, RIG: 10, CALIBRATION: 7, PICTURES: 8, BAG: 5}
_NUMBERS = (0, 1, 2, 3, 16, 17, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_LONG_NUMBERS = (*_NUMBERS, 2**53, 2**63 - 1, 2**63, 2**64 - 1)


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
            self._records = record_samples(folder / "records", frames=4)
            self._meshes = mesh_samples(folder / "meshes", frames=6)
            self._pieces = {sample.name: _pieces(sample) for sample in self._records}
            self._bodies = next(each.content for each in self._meshes if each.path.suffix == ".xz")
        self._rigs = [path.read_text() for folder in SHIPPED for path in sorted(folder.glob("*.toml"))]
        picture = (np.arange(20 * 14, dtype=np.uint16).reshape(14, 20) * 7) % 4000
        self._depth_png = cv2.imencode(".png", picture)[1].tobytes()
        colours = np.dstack([picture % 256] * 3).astype(np.uint8)
        self._color_jpg = cv2.imencode(".jpg", colours)[1].tobytes()
        self._color_png = cv2.imencode(".png", colours)[1].tobytes()

    def make(self, number: int, folder: Path) -> Hostile:
        """Put input `number` into an empty folder."""
        chance = random.Random(f"{self._seed} {number}")
        kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        return Hostile(kind, getattr(self, f"_{kind}")(chance, folder))

    # ---- files -------------------------------------------------------------------------------------

    def _record(self, chance: random.Random, folder: Path) -> Path:
        path = folder / "night.nrig"
        path.write_bytes(self._record_bytes(chance))
        return path

    def _record_bytes(self, chance: random.Random) -> bytes:
        if chance.random() < 0.03:
            return chance.randbytes(chance.choice((0, 1, 63, 64, 65, 5000)))
        sample = chance.choice(self._records)
        if chance.random() < 0.3:
            return random_damage(chance, sample).applied(sample.content)
        return self._resealed(chance, sample)

    def _resealed(self, chance: random.Random, sample: Sample) -> bytes:
        """Whole records with wrong things in them."""
        pieces = [dict(piece) for piece in self._pieces[sample.name]]
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(pieces))
            how = chance.random()
            if how < 0.45:
                pieces[place] = _spoilt(chance, pieces[place])
            elif how < 0.6:
                _change_number(chance, pieces[place])
            elif how < 0.7:
                pieces.insert(chance.randrange(len(pieces)), dict(pieces[place]))
            elif how < 0.8 and len(pieces) > 1:
                del pieces[place]
            elif how < 0.9:
                other = chance.randrange(len(pieces))
                pieces[place], pieces[other] = pieces[other], pieces[place]
            else:
                pieces.insert(place, self._odd_map(chance))
        whole = b"".join(b"".join(pack_record(**piece)) for piece in pieces)
        if chance.random() < 0.2:
            entries = damaged(chance, bytes(48 * len(pieces)))
            index = b"".join(pack_index(entries, recompressed_to=None))
            end = END_PAYLOAD.pack(len(whole), len(entries) // 48, 4)
            whole += index + b"".join(pack_record(END, end))
        return whole

    def _odd_map(self, chance: random.Random) -> dict[str, Any]:
        content = damaged(chance, newest_map()[1])
        number = chance.choice((0, 1, 2, 77, int.from_bytes(content[:2].ljust(2), "little")))
        return {"kind": MAP, "payload": content, "number": number, "raw_length": len(content)}

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
        return path

    def _calibration(self, chance: random.Random, folder: Path) -> Path:
        values: dict[str, Any] = {"image_size": [20, 14], "R": np.eye(3).tolist(), "T": [0.05, 0.0, 0.0]}
        for eye in (1, 2):
            values |= {f"K{eye}": [[20.0, 0, 10], [0, 20.0, 7], [0, 0, 1]], f"D{eye}": [0.0] * 5}
        how = chance.random()
        path = folder / ("calibration.json" if how < 0.4 else "calibration.npz")
        if how < 0.4:
            path.write_bytes(odd_text(chance, values))
        elif how < 0.9:
            changed = {k: odd(chance) if chance.random() < 0.1 else v for k, v in values.items()}
            packed = io.BytesIO()
            np.savez(packed, **{key: _array(value) for key, value in changed.items()})
            content = packed.getvalue()
            path.write_bytes(damaged(chance, content) if chance.random() < 0.7 else content)
        else:
            path.write_bytes(pickle.dumps(_Trap(folder / "ESCAPED")))
        return path

    # ---- folders -----------------------------------------------------------------------------------

    def _session(self, chance: random.Random, folder: Path) -> Path:
        path = folder / "20250101T220000Z-night"
        (path / "front").mkdir(parents=True)
        (path / "people").mkdir()
        by_name = {sample.name: sample for sample in self._records}
        camera, estimates = by_name["camera"], by_name["estimates"]
        for number in range(2):
            good = chance.random() < 0.6
            content = camera.content if good else self._resealed(chance, camera)
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
        event = json.dumps({"event": "started", "wall_ns": 5}).encode() + b"\n"
        events = event * 3 if chance.random() < 0.7 else damaged(chance, event * 20)
        (path / "events.jsonl").write_bytes(events)
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
            target.write_bytes(self._record_bytes(chance))

    def _pictures(self, chance: random.Random, folder: Path) -> Path:
        path = folder / "pictures"
        path.mkdir()
        layout = chance.choice(("Open3D", "TUM", "plain"))
        depth = path / "depth" if layout != "plain" else path
        color = path / ("rgb" if layout == "TUM" else "color")
        for each in {depth, color} if layout != "plain" else {depth}:
            each.mkdir(exist_ok=True)
        for number in range(3):
            (depth / f"{number:06d}.png").write_bytes(self._maybe_odd_png(chance, self._depth_png))
            if layout != "plain":
                jpg = self._color_jpg if chance.random() < 0.7 else damaged(chance, self._color_jpg)
                png = self._maybe_odd_png(chance, self._color_png)
                content = (
                    (color / f"{number:06d}.jpg", jpg) if number % 2 else (color / f"{number:06d}.png", png)
                )
                content[0].write_bytes(content[1])
        matrix = [20.0, 0, 0, 0, 20.0, 0, 10.0, 7.0, 1.0]
        intrinsics = {"width": 20, "height": 14, "intrinsic_matrix": matrix, "depth_scale": 1000}
        if layout == "Open3D":
            (path / "camera_intrinsic.json").write_bytes(odd_text(chance, intrinsics))
            scale = {"streams": {"depth": {"depth_scale_m": 0.001, "name": "depth"}}, "paired_by": "hardware"}
            (path / "streams.json").write_bytes(odd_text(chance, scale))
            rows = "file,depth_device_time_s,depth_monotonic_ns\n" + "".join(
                f"{n},{n / 30},{n}\n" for n in range(3)
            )
            (path / "times.csv").write_bytes(damaged(chance, rows.encode()))
        elif layout == "TUM":
            for name, where in (("depth", depth), ("rgb", color)):
                lines = [
                    f"{n / 30} {where.name}/{n:06d}.png" for n in range(3) if n % 2 == 0 or name == "depth"
                ]
                text = "\n".join(["# time file", *lines, ""]).encode()
                (path / f"{name}.txt").write_bytes(damaged(chance, text) if chance.random() < 0.5 else text)
        if chance.random() < 0.1:
            os.mkfifo(depth / "000009.png")
        return path

    def _maybe_odd_png(self, chance: random.Random, whole: bytes) -> bytes:
        return odd_png(chance, whole) if chance.random() < 0.4 else whole

    def _bag(self, chance: random.Random, folder: Path) -> Path:
        """Files by name alone, and beginnings of true ones: damage to whole recordings is librealsense's to
        bear, in the camera's own process."""
        suffix = chance.choice((".bag", ".db3", ".mp4", ".png", ""))
        path = folder / f"night{suffix}"
        starts = (b"", b"#ROSBAG V2.0\n", b"SQLite format 3\0", b"#ROSBAG V1.2\n", b"SQLite format 3")
        how = chance.randrange(6)
        if how == 0:
            os.mkfifo(path)
        elif how == 1:
            path.mkdir()
        elif how == 2:
            path.symlink_to(path.name)
        else:
            path.write_bytes(chance.choice(starts) + chance.randbytes(chance.choice((0, 1, 100, 5000))))
        return path


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


class _Trap:
    """Unpickled, it leaves a file: whoever opens that pickle is found out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._path),)


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


def _pieces(sample: Sample) -> list[dict[str, Any]]:
    """The records of a sample as pack_record takes them."""
    pieces = []
    with RecordFile(sample.path) as file:
        for index in range(len(file)):
            record = file.read(index)
            header = record.header
            names = ("kind", "stream", "codec", "clock", "width", "height", "epoch", "number")
            names += ("device_time_s", "monotonic_ns", "raw_length")
            fields = {name: getattr(header, name) for name in names}
            pieces.append({**fields, "payload": record.payload, "meta": record.meta})
    return pieces


def _spoilt(chance: random.Random, piece: dict[str, Any]) -> dict[str, Any]:
    """A record with another payload or meta."""
    name = "meta" if piece.get("meta") and chance.random() < 0.3 else "payload"
    content = piece[name]
    try:
        changed = odd_text(chance, json.loads(content))
    except (ValueError, RecursionError):
        changed = damaged(chance, content)
    return {**piece, name: changed[: MAX_RECORD_BYTES // 2]}


def _change_number(chance: random.Random, piece: dict[str, Any]) -> None:
    name = chance.choice(("kind", "stream", "codec", "clock", "width", "height", "epoch", "number", "time"))
    if name == "time":
        piece["monotonic_ns"] = chance.choice((0, -1, -(2**63), 2**63 - 1, 2**62))
        piece["device_time_s"] = chance.choice((0.0, float("nan"), float("inf"), -1e308, 1e-320))
        return
    limit = {"number": 64, "width": 32, "height": 32, "epoch": 32}.get(name, 8)
    piece[name] = chance.choice(_LONG_NUMBERS) % (1 << limit)
    if name == "width":
        piece["raw_length"] = chance.choice(_NUMBERS)


def _native(seed: int) -> bytes:
    return NativeMutator(seed).next().content


def _compatible(seed: int, samples: list[Sample]) -> bytes:
    mutator = Mutator(seed, with_zstd=True)
    for sample in samples:
        if sample.path.suffix != ".nrm":
            mutator.add(sample.content)
    return mutator.next()
