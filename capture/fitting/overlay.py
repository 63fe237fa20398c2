"""Bodies drawn over the picture they were fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.normals import vertex_normals
from capture.body.raster import Float32, Int32, project, rasterise
from capture.frames import Intrinsics
from capture.keypoints import Picture

_LONGEST_SIDE_PX: Final = 1920
_COLORS_BGR: Final = np.array(
    [(230, 190, 150), (150, 190, 240), (170, 225, 160), (220, 160, 215), (150, 220, 230)], np.float32
)
_TO_LIGHT: Final = np.array([-0.35, -0.55, -0.75], np.float32) / np.float32(0.995)
_AMBIENT: Final = np.float32(0.35)
_OPACITY: Final = np.float32(0.85)


def draw_bodies(
    picture_bgr: Picture,
    people: Sequence[Float32],
    faces: Int32,
    focal_px: Sequence[float] | npt.NDArray[np.float64],
    *,
    longest_side_px: int = _LONGEST_SIDE_PX,
) -> Picture:
    """Each person's vertices (V, 3) in the camera's axes, in metres, over a copy of the picture; nearer
    people hide others. Pictures with longer sides are made smaller. `focal_px` is (2,), of the given picture.
    """
    height, width = picture_bgr.shape[:2]
    scale = min(1.0, longest_side_px / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(picture_bgr, small, interpolation=cv2.INTER_AREA) if scale < 1 else picture_bgr.copy()
    if not people:
        return shown
    # Both sides are rounded: each has a scale of its own.
    across, down = small[0] / width, small[1] / height
    camera = Intrinsics(*small, focal_px[0] * across, focal_px[1] * down, small[0] / 2, small[1] / 2)
    vertices = np.concatenate(people).astype(np.float32)
    counts = [len(each) for each in people]
    starts = np.cumsum([0, *counts[:-1]])
    triangles = np.concatenate([faces + start for start in starts]).astype(np.int32)
    seen = rasterise(project(vertices, camera), triangles, *small)
    normals = np.einsum("nc,nci->ni", seen.shares, vertex_normals(vertices, triangles)[seen.corners])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + np.float32(1e-9)
    light = _AMBIENT + (1 - _AMBIENT) * np.clip(normals @ _TO_LIGHT, 0, 1)
    person = np.searchsorted(starts, seen.corners[:, 0], side="right") - 1
    colors = _COLORS_BGR[person % len(_COLORS_BGR)] * light[:, None]
    flat = shown.reshape(-1, 3)
    mixed = flat[seen.pixel] * (1 - _OPACITY) + colors * _OPACITY
    flat[seen.pixel] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return shown
