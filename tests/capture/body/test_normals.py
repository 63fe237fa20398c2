"""Vertex normals against their definition."""

from __future__ import annotations

import numpy as np

from capture.body.normals import vertex_normals
from capture.body.procedural import procedural_body


def test_they_are_the_area_weighted_means_of_the_triangles_around() -> None:
    body = procedural_body()
    vertices = body.skin(np.random.default_rng(0).normal(0, 0.3, 72), np.zeros(10), [0, 0, 3])
    corners = vertices[body.faces].astype(np.float64)
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    expected = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(expected, body.faces[:, corner], crossed)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    normals = vertex_normals(vertices, body.faces)
    assert normals.dtype == np.float32
    assert np.abs(normals - expected).max() < 1e-3
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_where_there_is_no_surface_there_is_no_direction() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], np.float32)
    normals = vertex_normals(vertices, np.array([[0, 1, 2]], np.int32))
    assert np.array_equal(normals, [[0, 0, 1]] * 3 + [[0, 0, 0]])
    assert not vertex_normals(vertices, np.array([[0, 1, 1]], np.int32)).any()
