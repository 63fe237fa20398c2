"""Looks at the made people: a contact sheet, and how fast their vertices move."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.procedural import procedural_body
from scripts.bench._mesh_clips import HELD_OUT_CLIPS, MOTIONS, TUNING_CLIPS, UnusableClipError
from scripts.bench._mesh_modes import NoScipyError
from scripts.bench._mesh_people import Clip, people

Float32 = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

_TILE: Final = (260, 330)  # width, height
_FOCAL: Final = 520.0  # pixels: two metres and a half fill a tile at four metres
_LIGHT: Final = np.array([-0.4, -0.6, -0.7])


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the sheet, prints the speeds. 0: done; 1: something that it needs is missing."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench._mesh_people", description=__doc__)
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="names of clips (default: all)")
    parser.add_argument("--preview", type=Path, required=True, metavar="PNG", help="where the sheet goes")
    parser.add_argument("--noise-mm", type=float, default=0.0, help="the level (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each clip (default: %(default)s)")
    parser.add_argument("--moments", type=int, default=8, help="tiles in a row (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--motions", type=Path, default=MOTIONS, help="the file with the clips\n(%(default)s)"
    )
    args = parser.parse_args(arguments)
    rows = []
    for name in args.clips or (*TUNING_CLIPS, *HELD_OUT_CLIPS):
        began = time.process_time()
        try:
            clip = people(
                [name], noise_mm=args.noise_mm, seconds=args.seconds, seed=args.seed, motions=args.motions
            )
        except (UnusableClipError, NoScipyError) as error:
            print(f"_mesh_people: {error}")
            return 1
        print(f"{speeds(clip)}  {time.process_time() - began:.1f} s of CPU", flush=True)
        moments = np.linspace(0, len(clip.vertices) - 1, args.moments).round().astype(int)
        row = np.concatenate([draw(clip.vertices[t, 0]) for t in moments], axis=1)
        rows.append(
            cv2.putText(row, name, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        )
    args.preview.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.preview), np.concatenate(rows))
    return 0


def speeds(clip: Clip) -> str:
    """A line on how fast vertices move, and how abruptly joints change their speed, seen from the pelvis."""
    means, tops, most = [], [], 0.0
    for before, after in zip(clip.vertices[:-1], clip.vertices[1:], strict=True):
        step = np.linalg.norm(after - before, axis=-1)
        means.append(step.mean())
        tops.append(np.percentile(step, 99))
        most = max(most, float(step.max()))
    within = clip.joints - clip.joints[:, :, :1]
    jerk = np.linalg.norm(np.diff(within, n=2, axis=0), axis=-1)
    return (
        f"{' '.join(clip.names):22} speed mean {np.mean(means):5.1f}  p99 {np.mean(tops):6.1f}"
        f"  most {most:6.1f} mm/frame; joints' change of speed, most {jerk.max():6.1f}"
    )


def draw(vertices_mm: Float32) -> Picture:
    """(330, 260, 3) one person (6890, 3) as a camera a little higher than the hips sees them, shaded."""
    faces = procedural_body().faces
    width, height = _TILE
    centre = vertices_mm.mean(axis=0)
    # Who climbs is followed; otherwise the tile stands still, so that crouching shows.
    middle = np.array([centre[0], min(300.0, float(centre[1]) + 250.0), 0.0])
    at = vertices_mm - middle
    pixels = at[:, :2] / at[:, 2:] * _FOCAL + (width / 2, height / 2)
    corners = at[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    facing = (normals * corners[:, 0]).sum(axis=1) < 0
    light = np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0.0, 1.0)
    picture = np.full((height, width, 3), 235, np.uint8)
    # Far ones first: the near ones cover them.
    order = np.argsort(-corners[:, :, 2].mean(axis=1))
    for face in order[facing[order]]:
        shade = 50 + 170 * light[face]
        points = np.rint(pixels[faces[face]] * 16).astype(np.int32)
        cv2.fillConvexPoly(picture, points, (shade * 0.8, shade * 0.9, shade), cv2.LINE_AA, 4)
    return picture
