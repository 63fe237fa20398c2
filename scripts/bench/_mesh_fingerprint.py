#!/usr/bin/env python3
"""Do made people compress as real ones do? `python -m scripts.bench._mesh_fingerprint`.

bodycompress's own page tells how its files of a real video shrink with the preset of xz, the step of
quantisation and the order of vertices. Made people should answer alike, whatever the absolute sizes. Prints
the published row, a row for each level of noise, and the entropy of the differences that codecs are built on.
Takes some minutes.
"""

from __future__ import annotations

import argparse
import lzma
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.procedural import procedural_body
from codec.mesh.bodycompress_frames import encode_frame
from scripts.bench._mesh_people import Clip, people

Float32 = npt.NDArray[np.float32]
Order = npt.NDArray[np.intp]

# As three people of the calibration moved: they climb, walk on uneven ground, and fight.
_CLIPS: Final = ("cmu/01_06", "cmu/03_04", "cmu/02_05")
_PRESETS: Final = (0, 3, 4, 9)
_STEPS_MM: Final = (0.2, 1.0, 2.0, 5.0)
_STEP_MM: Final = 0.5
_PUBLISHED: Final = (1.79, 1.73, 1.19, 0.965, 0.74, 1.20, 1.37, 1.66)
"""Sizes at the presets relative to preset 5, then ratios at the steps relative to the ratio at 0.5 mm."""
_PUBLISHED_RATIOS: Final = {"own": 6.93, "walk": 8.40}
"""At preset 5 and 0.5 mm: the estimator's own order of vertices, and one of short steps, which is the default
there and the one that `_PUBLISHED` is taken in."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--levels", type=float, nargs="+", default=[3.0, 5.0, 8.0], help="noise, in millimetres"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of three people (default: %(default)s)")
    args = parser.parse_args(arguments)
    walk = short_walk(procedural_body().template_vertices)
    orders = {"own": np.arange(len(walk)), "walk": walk}
    titles = [f"xz{preset}" for preset in _PRESETS] + [f"q{step:g}" for step in _STEPS_MM]
    print(_row("noise and order", [*titles, "ratio"]))
    print(_row("real, walk", [f"{figure:.2f}" for figure in (*_PUBLISHED, _PUBLISHED_RATIOS["walk"])]))
    print(_row("real, own", ["-"] * len(_PUBLISHED) + [f"{_PUBLISHED_RATIOS['own']:.2f}"]))
    for level in args.levels:
        clip = people(_CLIPS, noise_mm=level, seconds=args.seconds, seed=1)
        for name, order in orders.items():
            figures = fingerprint(clip, order)
            print(_row(f"{level:g} mm, {name}", [f"{figure:.2f}" for figure in figures]))
            bits = "  ".join(f"{way} {figure:.2f}" for way, figure in entropies(clip, order).items())
            print(f"    bits per coordinate: {bits}", flush=True)
    return 0


def _row(title: str, cells: Sequence[str]) -> str:
    return f"{title:16}" + "".join(f"{cell:>7}" for cell in cells)


def fingerprint(clip: Clip, order: Order) -> list[float]:
    """The figures of `_PUBLISHED` for a clip with its vertices in `order`, and the ratio itself."""
    raw = sum(array.nbytes for t in range(len(clip.vertices)) for array in clip.frame(t).values())
    usual = _size(clip, order)
    presets = [_size(clip, order, preset=preset) / usual for preset in _PRESETS]
    steps = [usual / _size(clip, order, step_mm=step) for step in _STEPS_MM]
    return [*presets, *steps, raw / usual]


def _size(clip: Clip, order: Order, *, preset: int = 5, step_mm: float = _STEP_MM) -> int:
    """Bytes of the clip's frames as bodycompress stores them, the vertices in `order`."""
    compressor = lzma.LZMACompressor(preset=preset)
    total = 0
    for t in range(len(clip.vertices)):
        frame = clip.frame(t)
        frame["vertices"] = frame["vertices"][:, order]
        frame["vertex_uncertainties"] = frame["vertex_uncertainties"][:, order]
        total += len(compressor.compress(encode_frame(frame, quantization_mm=step_mm)[0]))
    return total + len(compressor.flush())


def entropies(clip: Clip, order: Order) -> dict[str, float]:
    """Bits per vertex coordinate of differences on the 0.5 mm grid: order-0 entropy over the whole clip."""
    steps = np.rint(clip.vertices[:, :, order] / np.float32(_STEP_MM)).astype(np.int32)
    spatial = np.diff(steps, axis=2)
    temporal = np.diff(steps, axis=0)
    return {
        "along the order": _bits(spatial),
        "in time": _bits(temporal),
        "both": _bits(np.diff(spatial, axis=0)),
    }


def _bits(values: npt.NDArray[np.int32]) -> float:
    counts = np.bincount(values.ravel() - int(values.min()))
    share = counts[counts > 0] / values.size
    return float(-(share * np.log2(share)).sum())


def short_walk(points: Float32) -> Order:
    """(n,) an order of points (n, 3) with short steps: on to the nearest point not yet visited.

    Where the walk has closed itself in, it jumps; a travelling salesman's would be a tenth shorter or so.
    """
    left = np.arange(len(points))
    walk = [int(points[:, 1].argmax())]
    left = np.delete(left, walk[0])
    while len(left):
        offsets = points[left] - points[walk[-1]]
        nearest = int(np.einsum("ni,ni->n", offsets, offsets).argmin())
        walk.append(int(left[nearest]))
        left[nearest] = left[-1]
        left = left[:-1]
    return np.array(walk, dtype=np.intp)


if __name__ == "__main__":
    sys.exit(main())
