"""Any body of SMPL's tree: shape numbers of every count, pose directions, and the mesh it remembers."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest

from capture.body.kinematics import rotations_of
from capture.body.model import BodyModel
from capture.body.procedural import procedural_body

VERTICES = 6890


def made_up_body(shape_count: int, *, seed: int = 7) -> BodyModel:
    """The procedural body with shape and pose directions of chance, as strong as SMPL's."""
    rng = np.random.default_rng(seed)
    body = procedural_body()
    return dataclasses.replace(
        body,
        name="made up",
        shape_directions=rng.normal(0, 0.02 / (1 + shape_count) ** 0.5, (VERTICES, 3, shape_count)).astype(
            np.float32
        ),
        joint_shape_directions=rng.normal(0, 0.005, (24, 3, shape_count)),
        pose_directions=rng.normal(0, 0.001, (207, 3 * VERTICES)).astype(np.float32),
    )


def by_the_book(
    body: BodyModel, pose: npt.ArrayLike, betas: npt.ArrayLike, translation: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Linear blend skinning in float64 as the SMPL paper writes it, with 4 x 4 matrices."""
    rotations = rotations_of(np.reshape(pose, (24, 3)))
    betas = np.asarray(betas, float)
    rest = body.template_vertices + body.shape_directions[:, :, : len(betas)].astype(float) @ betas
    joints = body.joints + body.joint_shape_directions[:, :, : len(betas)] @ betas
    if body.pose_directions is not None:
        bent = (rotations[1:] - np.eye(3)).ravel()
        rest = rest + (bent @ body.pose_directions.astype(float)).reshape(3, -1).T
    chain = []
    for joint, parent in enumerate(body.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if joint else 0)
        chain.append(local if joint == 0 else chain[parent] @ local)
    from_rest = np.stack(chain)
    from_rest[:, :3, 3] -= np.einsum("jab,jb->ja", from_rest[:, :3, :3], joints)
    blended = np.einsum("vj,jab->vab", body.weights.astype(float), from_rest)
    return np.einsum("vab,vb->va", blended[:, :3, :3], rest) + blended[:, :3, 3] + np.asarray(translation)


def test_every_vertex_is_right_to_a_hundredth_of_a_millimetre() -> None:
    rng = np.random.default_rng(1)
    for count in (10, 0, 1, 300):
        body = made_up_body(count)
        betas = rng.normal(0, 1, count)
        pose, translation = rng.normal(0, 0.4, (24, 3)), np.array([0.5, -0.3, 3.0])
        vertices = body.skin(pose, betas, translation)
        assert vertices.shape == (VERTICES, 3)
        assert vertices.dtype == np.float32
        assert np.abs(vertices - by_the_book(body, pose, betas, translation)).max() < 1e-5


def test_fewer_shape_numbers_than_directions_leave_the_rest_at_zero() -> None:
    body = made_up_body(16)
    betas = np.linspace(-1, 1, 10)
    parameters = np.concatenate([np.zeros(72), betas, np.zeros(3)])
    padded = np.append(betas, np.zeros(6))
    assert np.array_equal(body.rest_joints(betas), body.rest_joints(padded))
    assert np.allclose(body.pose(parameters), body.rest_joints(padded), atol=1e-12)
    assert np.array_equal(
        body.skin(np.zeros(72), betas, np.zeros(3)), body.skin(np.zeros(72), padded, np.zeros(3))
    )


def test_shape_numbers_without_a_direction_are_refused_unless_zero() -> None:
    body = made_up_body(4)
    assert body.rest_joints(np.zeros(10)).shape == (24, 3)
    beyond = np.zeros(10)
    beyond[4] = 0.1
    with pytest.raises(ValueError, match="'made up', which has 4 directions"):
        body.rest_joints(beyond)
    with pytest.raises(ValueError, match="10 shape numbers"):
        body.skin(np.zeros(72), beyond, np.zeros(3))


def test_the_mesh_of_one_shape_is_never_shown_for_another() -> None:
    body = made_up_body(10)
    shapes = [np.full(10, value) for value in (0.0, 0.5, -1.0)]
    pose = np.random.default_rng(2).normal(0, 0.3, 72)
    expected = [by_the_book(body, pose, betas, np.zeros(3)) for betas in shapes]

    def is_right(turn: int) -> bool:
        index = (turn // 2) % 3  # each shape twice in a row, so that the kept mesh is used as well
        return np.abs(body.skin(pose, shapes[index], np.zeros(3)) - expected[index]).max() < 1e-6

    assert all(is_right(turn) for turn in range(9))
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(is_right, range(60)))


def test_changing_what_came_out_or_went_in_changes_no_later_mesh() -> None:
    body = made_up_body(10)
    betas = np.full(10, 0.5)
    first = body.skin(np.zeros(72), betas, np.zeros(3))
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(body.skin(np.zeros(72), betas, np.zeros(3)), kept)
    betas[0] = 2.0
    assert not np.array_equal(body.skin(np.zeros(72), betas, np.zeros(3)), kept)
    for name in ("template_vertices", "faces", "joints", "weights", "pose_directions"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(body, name)[0] = 0


def test_it_names_itself_in_a_line() -> None:
    assert repr(made_up_body(3)) == "<BodyModel 'made up': 6890 vertices, 3 shape directions>"
    assert "\n" not in repr(procedural_body())
