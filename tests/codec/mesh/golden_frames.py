"""What the stored files in golden/ hold, by formula: scripts/make_mesh_goldens writes it, tests expect it.

Values are steps of half a millimetre or lie between them, and differ from point to point, so that a wrong
vertex order or a wrong rounding shows. Needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Frame = dict[str, Any]


@dataclass(frozen=True)
class CameraValues:
    """A camera that the script gives to the stock library as an object of its own kind."""

    rotvec: tuple[float, float, float] = (0.3, -0.2, 1.1)
    centre: tuple[float, float, float] = (100.0, -250.0, 1500.0)
    intrinsics: tuple[tuple[float, ...], ...] = ((610.0, 0.5, 320.0), (0.0, 605.0, 240.0), (0.0, 0.0, 1.0))
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    distortion: tuple[float, ...] | None = None
    image_shape: tuple[int, int] = (480, 640)


@dataclass(frozen=True)
class Golden:
    """One file: which library wrote it, how, and what."""

    library: str
    frames: list[Frame]
    settings: dict[str, Any] = field(default_factory=dict)
    metadata: Any = None
    killed: bool = False

    @property
    def step_mm(self) -> float:
        return float(self.settings.get("quantization_mm", 0.5))


def points_mm(frame: int, points: int, *leading: int, coarse: int = 1) -> Array:
    """(*leading, points, 3): told apart by every axis; `coarse` points in a row may be equal."""
    place = (np.arange(points) // coarse * coarse).astype(np.float64)
    one = np.stack([place * 0.5, 1000.0 - place // 32 * 1.25, 250.0 + place // 1024 * 3.1], axis=1)
    who = np.arange(int(np.prod(leading))).reshape(*leading, 1, 1)
    return (one + 0.3 + 7.0 * frame + 100.5 * who).astype(np.float32)


def uncertainties_m(frame: int, points: int, *leading: int) -> Array:
    """(*leading, points)"""
    who = np.arange(int(np.prod(leading))).reshape(*leading, 1)
    return (0.01 + np.arange(points) % 50 * 0.0013 + 0.002 * frame + 0.1 * who).astype(np.float32)


def on_grid(values: Array, factor: float, library: str = "0.3") -> Array:
    """As the file gives them back, in the precision of the stock reader; `factor`: steps a unit."""
    # Until 0.3, products were rounded to the type of the values first.
    wide = np.float64 if library == "0.3" else values.dtype
    steps = np.rint(np.multiply(values, factor, dtype=wide)).astype(np.float64)
    exact = steps / factor
    return exact.astype(np.float32) if np.abs(steps).max(initial=0) <= 2**24 else exact


def order_of(points: int) -> Array:
    """A permutation."""
    return np.random.default_rng(points).permutation(points)


def _frames(count: int, make: Callable[[int], Frame]) -> list[Frame]:
    return [make(number) for number in range(count)]


def _crowd(frame: int, *, points: int = 30) -> Frame:
    people = (1, 0, 3, 2)[frame % 4]
    return {
        "vertices": points_mm(frame, points, people),
        "joints": points_mm(frame, 5, people) - 3,
        "vertex_uncertainties": uncertainties_m(frame, points, people),
        "joint_uncertainties": uncertainties_m(frame, 5, people),
        "number": frame,
    }


def _body(points: int, *, coarse: int = 1) -> list[Frame]:
    return _frames(2, lambda n: {"vertices": points_mm(n, points, 2 - n, coarse=coarse), "number": n})


def _long(frame: int) -> Frame:
    """Large and nearly empty, so that a compressor gives something out before it is asked to."""
    return {"vertices": points_mm(frame, 6890, 1, coarse=512), "number": frame}


def _old(frame: int) -> Frame:
    """0.1 and 0.2 always want vertices and joints."""
    return _crowd(frame) | {"box": np.arange(4.0) * frame, "nested": {"a": [1, "two", None], "b": True}}


_NESTED = {
    "fps": 30,
    "clips": [{"name": "walk", "range": [0, 90]}, None],
    "faces": np.arange(6).reshape(2, 3),
}
_DISTORTED = CameraValues(distortion=(0.1, -0.2, 0.001, 0.002, 0.05))
_FISHEYE = CameraValues(distortion=(0.1, 0.02, 0.003, 0.004))
_NEARLY_TURNED_ROUND = CameraValues(rotvec=(3.1415, 0.001, -0.002))
_CAMERA_MAP = {
    "rotvec_w2c": np.array([0.1, 0.2, 0.3], np.float32),
    "loc": np.array([1.0, 2.0, 3.0], np.float32),
    "intr": np.array([[500.0, 0, 320], [0, 500, 240]], np.float32),
}

GOLDENS: dict[str, Golden] = {
    "010-plain.xz": Golden("0.1", _frames(6, _old), metadata={"who": "first"}),
    "010-length.xz": Golden("0.1", _frames(3, _old), metadata={"num_frames": 3, "n": [1, {"a": 2}]}),
    "010-nothing-said.xz": Golden("0.1", _frames(3, _old)),
    "020-plain.xz": Golden("0.2", _frames(6, _old), metadata=_NESTED),
    "020-camera.xz": Golden("0.2", _frames(2, lambda n: _old(n) | {"camera": CameraValues()})),
    "020-step5.xz": Golden("0.2", _frames(2, _old), {"quantization_mm": 5.0}),
    "022-metadata-start.xz": Golden("0.2", _frames(4, _old), metadata=_NESTED),
    "030-none.xz": Golden("0.3", _frames(8, _crowd), {"vertex_order": None}, _NESTED),
    "030-auto-other.xz": Golden("0.3", _frames(8, _crowd), {}, "a text"),
    "030-auto.xz": Golden("0.3", _body(6890)),
    "030-smpl.xz": Golden("0.3", _body(6890, coarse=512), {"vertex_order": "smpl", "n_threads": 2}),
    "030-smplx.xz": Golden("0.3", _body(10475), {"vertex_order": "smplx", "compression_level": 9}),
    "030-array.xz": Golden("0.3", _frames(8, _crowd), {"vertex_order": order_of(30)}),
    "030-none.zst": Golden("0.3", _frames(8, _crowd), {"vertex_order": None, "compression": "zstd"}, _NESTED),
    "030-auto.zst": Golden(
        "0.3", _body(10475, coarse=512), {"compression": "zstd", "compression_level": 19, "n_threads": 1}
    ),
    "030-array.zst": Golden(
        "0.3", _frames(8, _crowd), {"vertex_order": order_of(30), "compression": "zstd"}, {"a": 1}
    ),
    "030-unsure-array.xz": Golden(
        "0.3",
        _frames(2, lambda n: {"vertex_uncertainties": uncertainties_m(n, 30, 2)}),
        {"vertex_order": order_of(30)},
    ),
    "030-unsure-auto.xz": Golden(
        "0.3", _frames(2, lambda n: {"vertex_uncertainties": uncertainties_m(n, 6890, 1)})
    ),
    "030-cameras.xz": Golden(
        "0.3",
        [
            {"camera": camera, "joints": points_mm(0, 4, 1)}
            for camera in (CameraValues(), _DISTORTED, _FISHEYE, _NEARLY_TURNED_ROUND, _CAMERA_MAP)
        ],
    ),
    "030-leading.xz": Golden(
        "0.3",
        [
            {"vertices": points_mm(0, 40), "vertex_uncertainties": uncertainties_m(0, 40)},
            {"vertices": points_mm(1, 40, 2, 3), "joint_uncertainties": uncertainties_m(1, 4, 2, 3)},
            {"joints": points_mm(2, 4, 2, 1, 2)},
            {"only": {"other": [np.float32(1.5), np.arange(3, dtype=np.uint8)]}},
        ],
    ),
    "030-large.xz": Golden(
        "0.3",
        [{"vertices": points_mm(0, 20, 1).astype(np.float64) + 1e8}],
        {"quantization_mm": 0.25, "compression_level": 0},
    ),
    "030-killed.xz": Golden(
        "0.3", _frames(40, _long), {"vertex_order": None, "n_threads": 1}, {"kept": True}, killed=True
    ),
    "030-killed.zst": Golden(
        "0.3",
        _frames(150, _long),
        {"vertex_order": None, "n_threads": 1, "compression": "zstd"},
        {"kept": True},
        killed=True,
    ),
}
