"""Moving bodies small enough for a test: smooth tubes of points that swing and walk, in millimetres."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def moving_bodies(
    frames: int, *, people: int = 1, points: int = 300, seed: int = 0
) -> npt.NDArray[np.float32]:
    """(frames, people, points, 3), with half a millimetre of noise so that it does not compress too well."""
    random = np.random.default_rng(seed)
    height = np.linspace(0.0, 1700.0, points)
    angle = np.arange(points) * 0.5
    tube = np.stack([120 * np.cos(angle), height, 120 * np.sin(angle)], axis=1)
    time = np.arange(frames)[:, None, None] / 30.0
    person = np.arange(people)[None, :, None]
    vertices = np.empty((frames, people, points, 3))
    vertices[...] = tube
    vertices[..., 0] += 200 * np.sin(4 * time + height / 400 + person) + 900 * person
    vertices[..., 2] += 3000 + 800 * time
    vertices += random.normal(0.0, 0.5, vertices.shape)
    return vertices.astype(np.float32)


def worst_error_mm(frames: list[dict[str, object]], vertices: npt.NDArray[np.float32]) -> float:
    """The largest coordinate error of decoded frames; they must be as many."""
    assert len(frames) == len(vertices)
    pairs = zip(frames, vertices, strict=True)
    return max(float(np.abs(np.asarray(frame["vertices"], float) - v).max()) for frame, v in pairs)
