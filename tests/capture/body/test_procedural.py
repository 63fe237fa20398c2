"""The body that ships with us: counts, a closed surface, and skinning that follows the joints."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from capture.body.anatomy import JOINT_NAMES
from capture.body.kinematics import rotations_of
from capture.body.model import BodyModel
from capture.body.procedural import SHAPE_NAMES, procedural_body


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return procedural_body()


def _random_pose(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.4, (24, 3))


def test_counts_and_types_are_those_of_smpl(body: BodyModel) -> None:
    assert body.template_vertices.shape == (6890, 3)
    assert body.template_vertices.dtype == np.float32
    assert body.faces.shape == (13776, 3)
    assert body.faces.dtype == np.int32
    assert body.joints.shape == (24, 3)
    assert body.weights.shape == (6890, 24)
    assert body.shape_directions.shape == (6890, 3, 10)
    assert len(SHAPE_NAMES) == 10
    assert len(JOINT_NAMES) == len(set(JOINT_NAMES)) == 24
    # fmt: off
    assert body.parents == (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    # fmt: on


def test_faces_never_change_as_recorded_meshes_rely_on_them(body: BodyModel) -> None:
    assert zlib.crc32(body.faces.astype("<i4").tobytes()) == 0x4D3BC5A3


def test_surface_is_closed_in_one_piece_and_without_holes(body: BodyModel) -> None:
    edges = np.concatenate([body.faces[:, [0, 1]], body.faces[:, [1, 2]], body.faces[:, [2, 0]]])
    codes = edges[:, 0].astype(np.int64) * 6890 + edges[:, 1]
    assert len(np.unique(codes)) == len(codes), "an edge is walked twice in one direction"
    backwards = edges[:, 1].astype(np.int64) * 6890 + edges[:, 0]
    assert np.array_equal(np.sort(codes), np.sort(backwards)), "an edge borders only one triangle"
    assert 6890 - len(codes) // 2 + 13776 == 2  # Euler: a sphere
    reached = np.zeros(6890, bool)
    reached[0] = True
    while not reached.all():
        grown = reached.copy()
        grown[edges[reached[edges[:, 0]], 1]] = True
        assert grown.sum() > reached.sum(), "the surface is in several pieces"
        reached = grown


def test_triangles_face_outward_and_none_is_degenerate(body: BodyModel) -> None:
    corners = body.template_vertices[body.faces].astype(np.float64)
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume_m3 = np.einsum("ni,ni->", corners[:, 0], crossed) / 6
    assert 0.05 < volume_m3 < 0.09  # a person of 50 to 90 kg
    assert np.linalg.norm(crossed, axis=1).min() / 2 > 1e-6


def test_it_has_the_proportions_of_a_person(body: BodyModel) -> None:
    low, high = body.template_vertices.min(axis=0), body.template_vertices.max(axis=0)
    height, span, depth = high[1] - low[1], high[0] - low[0], high[2] - low[2]
    assert 1.65 < height < 1.85
    assert 0.95 < span / height < 1.06
    assert 0.2 < depth < 0.4
    mirrored = body.template_vertices[::50] * np.float32([-1, 1, 1])
    gaps = [np.linalg.norm(body.template_vertices - point, axis=1).min() for point in mirrored]
    assert max(gaps) < 1e-5


def test_the_head_top_is_the_highest_point_and_follows_the_head(body: BodyModel) -> None:
    top = body.head_top_vertex
    assert body.template_vertices[top, 1] == body.template_vertices[:, 1].max()
    assert abs(body.template_vertices[top, 0]) < 0.001
    assert body.weights[top, JOINT_NAMES.index("head")] > 0.95


def test_each_vertex_follows_at_most_four_joints_and_each_joint_moves_something(body: BodyModel) -> None:
    assert (body.weights >= 0).all()
    assert np.allclose(body.weights.sum(axis=1), 1.0, atol=1e-5)
    assert (body.weights > 0).sum(axis=1).max() <= 4
    assert ((body.weights > 0.5).sum(axis=0) >= 20).all()


def test_a_limb_does_not_pull_at_the_other_side(body: BodyModel) -> None:
    left = [i for i, name in enumerate(JOINT_NAMES) if name.startswith("left_")]
    far_right = body.template_vertices[:, 0] < -0.1
    assert body.weights[np.ix_(far_right, left)].max() < 0.02


def test_rest_pose_is_the_template_moved_by_the_translation(body: BodyModel) -> None:
    vertices = body.skin(np.zeros((24, 3)), np.zeros(10), [1.0, -2.0, 3.0])
    assert vertices.shape == (6890, 3)
    assert vertices.dtype == np.float32
    assert vertices.flags.c_contiguous
    assert np.allclose(vertices, body.template_vertices + np.array([1.0, -2.0, 3.0]), atol=1e-6)


def test_skinning_agrees_with_the_definition_vertex_by_vertex(body: BodyModel) -> None:
    pose, betas, translation = _random_pose(1), np.linspace(-1, 1, 10), np.array([0.3, 0.2, 2.0])
    vertices = body.skin(pose, betas, translation)
    rest = body.template_vertices + body.shape_directions @ betas
    rest_joints = body.joints + body.joint_shape_directions @ betas
    chain = []
    for joint, (rotation, parent) in enumerate(zip(rotations_of(pose), body.parents, strict=True)):
        local = np.eye(4)
        local[:3, :3] = rotation
        local[:3, 3] = rest_joints[joint] - (rest_joints[parent] if joint else 0)
        chain.append(local if joint == 0 else chain[parent] @ local)
    for vertex in range(0, 6890, 137):
        expected = translation.copy()
        for joint in np.flatnonzero(body.weights[vertex]):
            from_joint = np.append(rest[vertex] - rest_joints[joint], 1.0)
            expected += body.weights[vertex, joint] * (chain[joint] @ from_joint)[:3]
        assert np.allclose(vertices[vertex], expected, atol=2e-6)
    parameters = np.concatenate([pose.ravel(), betas, translation])
    expected_joints = np.array([matrix[:3, 3] for matrix in chain]) + translation
    assert np.allclose(body.pose(parameters), expected_joints, atol=1e-12)


def test_posed_skin_stays_around_its_joints(body: BodyModel) -> None:
    parameters = np.concatenate([_random_pose(2).ravel(), np.zeros(13)])
    joints = body.pose(parameters)
    vertices = body.skin(parameters[:72].reshape(24, 3), parameters[72:82], parameters[82:])
    for joint in range(24):
        own = vertices[body.weights[:, joint] > 0.5]
        assert np.linalg.norm(own - joints[joint], axis=1).min() < 0.15


def test_shape_numbers_move_joints_and_skin_together(body: BodyModel) -> None:
    def height(betas: np.ndarray) -> float:
        vertices = body.skin(np.zeros((24, 3)), betas, np.zeros(3))
        return float(np.ptp(vertices[:, 1]))

    unit = np.eye(10)
    size, legs, head = (SHAPE_NAMES.index(name) for name in ("size", "leg length", "head size"))
    assert height(2 * unit[size]) > height(np.zeros(10)) * 1.05
    assert height(2 * unit[legs]) > height(np.zeros(10)) + 0.03
    left_knee = JOINT_NAMES.index("left_knee")
    assert body.rest_joints(2 * unit[legs])[left_knee, 1] < body.joints[left_knee, 1] - 0.01
    for direction in range(10):
        moved = np.linalg.norm(body.shape_directions[:, :, direction], axis=1)
        assert 0.003 < moved.max() < 0.08, SHAPE_NAMES[direction]
    # Only the head: the feet stay where they are.
    feet = body.template_vertices[:, 1] < -0.8
    assert np.abs(body.shape_directions[feet, :, head]).max() == 0.0


def test_the_body_is_made_once_and_cannot_be_changed_by_accident(body: BodyModel) -> None:
    assert procedural_body() is body
    with pytest.raises(ValueError, match="read-only"):
        body.template_vertices[0] = 0


@pytest.mark.parametrize("count", [0, 84, 86])
def test_wrong_number_of_parameters_is_refused(body: BodyModel, count: int) -> None:
    with pytest.raises(ValueError, match="85 body parameters"):
        body.pose(np.zeros(count))
