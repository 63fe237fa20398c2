"""What the stored native files in golden/ hold, by formula, and how they were written.

    PYTHONPATH=.:tests/codec/mesh .venv-test/bin/python tests/codec/mesh/native_goldens.py FOLDER

writes them anew, which the tests never do: what is stored must be read for ever. Values are whole steps, so
that nothing depends on rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Frame = dict[str, Any]
Array = npt.NDArray[Any]
_STEP_MM = 0.5


@dataclass(frozen=True)
class NativeGolden:
    """One file. settings: of NativeMeshWriter."""

    frames: Callable[[], list[Frame]]
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: Any = None


def body(frame: int, points: int, *leading: int, step_mm: float = _STEP_MM) -> Array:
    """(*leading, points, 3): people who sway and walk, a few of their points with noise; all whole steps."""
    place = np.arange(points, dtype=np.int64)
    who = np.arange(int(np.prod(leading)), dtype=np.int64).reshape(*leading, 1)
    sway = np.abs((7 * frame + place // 3) % 80 - 40)
    noise = ((place * 2654435761 + frame * 40503 + who * 97) // 65536 % 64 - 2).clip(-3, 3) % 3
    x = 900 * who + 2 * sway + 3 * (place % 11)
    y = 15 * place + 1
    z = 4000 + 30 * frame - place % 7 + noise
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1) * step_mm


def unsure(frame: int, points: int, *leading: int) -> Array:
    """(*leading, points) metres: whole steps of half a millimetre."""
    who = np.arange(int(np.prod(leading)), dtype=np.int64).reshape(*leading, 1)
    return (20 + (np.arange(points) + frame // 4) % 9 + who) * (_STEP_MM / 1000)


def _crowd(number: int, *, points: int = 60, joints: int = 5) -> Frame:
    """Two people long enough for a model; then they come and go, change places, are not always seen."""
    people = (2, 3, 1)[number // 13 % 3] if number > 180 else 2
    vertices, joint_places = body(number, points, people), body(number, joints, people) + 10
    if number > 180 and number % 9 == 3:
        vertices, joint_places = vertices[::-1].copy(), joint_places[::-1].copy()
    sure, joints_sure = unsure(number, points, people), unsure(number, joints, people)
    if number > 180 and number % 8 == 7:  # somebody is not there at all
        for array in (vertices, joint_places, sure, joints_sure):
            array[0] = np.nan
    if number > 180 and number % 9 == 4:
        vertices[-1, 10:20, 1] = np.inf
        sure[-1, 3] = np.nan
    return {
        "vertices": vertices,
        "joints": joint_places,
        "vertex_uncertainties": sure,
        "joint_uncertainties": joints_sure,
        "n": number,
        "monotonic_ns": 10**12 + number * 33_333_333,
    }


def _odd() -> list[Frame]:
    """Other leading axes, nobody, one array alone, and entries of every kind."""
    far = body(0, 8, 2)
    far[0, 3] = (2**28, -(2**28), 2**27 + 0.5)
    return [
        {"vertices": body(0, 12)},
        {"vertices": body(1, 12, 2, 3)},
        {"vertices": body(1, 12, 0)},
        {"joints": body(2, 4, 2, 1, 2), "joint_uncertainties": unsure(2, 4, 2, 1, 2)},
        {"vertex_uncertainties": unsure(3, 9, 2)},
        {"vertices": far},
        {
            "box": np.arange(4.0) * 0.5,
            "flags": np.array([True, False]),
            "big": np.arange(3, dtype=">i2"),
            "words": np.array(["left", "right"]),
            "scalar": np.float32(1.5),
            "nested": {"a": [1, "two", None, b"\x00\xff"], "b": {"c": -1, 7: 2**63}},
        },
        {},
    ]


GOLDENS = {
    "native-fast.nrm": NativeGolden(
        lambda: [_crowd(n) for n in range(175, 205)],
        {"way": "fast", "fps": 30.0},
        {"faces": np.arange(6).reshape(2, 3)},
    ),
    "native-affine.nrm": NativeGolden(
        lambda: [_crowd(n) for n in range(222)], {"way": "affine", "fps": 30.0, "segment_s": 6.0}, "crowd"
    ),
    "native-bodies.nrm": NativeGolden(
        lambda: [{"vertices": body(n, 80, 1), "n": n} for n in range(320)],
        {"way": "affine", "fps": 30.0, "segment_s": 10.0},
    ),
    "native-odd.nrm": NativeGolden(_odd, {"way": "fast", "segment_s": 60.0}),
    "native-tenth.nrm": NativeGolden(
        lambda: [{"vertices": body(n, 30, 2, step_mm=0.125)} for n in range(8)],
        {"way": "fast", "fps": 10.0, "quantization_mm": 0.125},
    ),
}


def expected(frame: Frame) -> Frame:
    """As a reader gives it: NaN where a point is not known, float32 where that holds every step."""
    result = {}
    for key, value in frame.items():
        if key in ("vertices", "joints"):
            value = np.where(np.isfinite(value).all(axis=-1, keepdims=True), value, np.nan)
        if key in ("vertices", "joints", "vertex_uncertainties", "joint_uncertainties"):
            large = np.abs(np.nan_to_num(value)).max(initial=0) > 2**24 * _STEP_MM
            value = value.astype(np.float64 if large else np.float32)
        result[key] = value
    return result


def main(folder: Path) -> None:
    from codec.mesh.native_writer import NativeMeshWriter

    for name, golden in GOLDENS.items():
        path = folder / name
        path.unlink(missing_ok=True)
        with NativeMeshWriter(path, metadata=golden.metadata, **golden.settings) as writer:
            for frame in golden.frames():
                writer.append(**frame)
        print(f"{name:<20}{path.stat().st_size:>8} bytes, {writer.way}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
