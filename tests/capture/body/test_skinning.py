"""The mesh by the native kernel and by NumPy, against skinning written out."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from capture.body import _native_skin, skinning
from capture.body.kinematics import forward_kinematics, rotations_of
from capture.body.model import BodyModel
from capture.body.procedural import procedural_body

BODY = procedural_body()
WAYS = [
    "numpy",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            _native_skin.kernels is None, reason="the native kernels are not built here"
        ),
    ),
]


def bending_body(count: int, amplitude_m: float, *, joints_per_vertex: int = 4) -> BodyModel:
    """The first vertices of our own body, with pose directions and other weights."""
    rng = np.random.default_rng(count)
    weights = np.zeros((count, 24), np.float32)
    for row in weights:
        row[rng.choice(24, joints_per_vertex, replace=False)] = rng.dirichlet(np.ones(joints_per_vertex))
    directions = rng.normal(0, amplitude_m, (207, 3, count)).astype(np.float32)
    directions[:20] *= 0.01  # some are small enough for eight bits in every block
    directions[20:60, :, ::2] = 0.0
    return dataclasses.replace(
        BODY,
        template_vertices=BODY.template_vertices[:count],
        shape_directions=BODY.shape_directions[:count],
        faces=np.zeros((0, 3), np.int32),
        weights=weights,
        pose_directions=directions.reshape(207, -1),
        head_top_vertex=0,
    )


def written_out(model: BodyModel, pose: np.ndarray, betas: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The equations of SMPL, vertex by vertex in float64."""
    rest_joints = model.rest_joints(betas)
    rotations = rotations_of(pose)
    world, positions = forward_kinematics(rotations, rest_joints, model.parents, place)
    rest = model.template_vertices + model.shape_directions.astype(float) @ betas
    if model.pose_directions is not None:
        features = (rotations[1:] - np.eye(3)).ravel()
        rest = rest + (features @ model.pose_directions.astype(float)).reshape(3, -1).T
    out = np.zeros_like(rest, dtype=float)
    for k, point in enumerate(rest):
        for joint in np.flatnonzero(model.weights[k]):
            carried = world[joint] @ (point - rest_joints[joint]) + positions[joint]
            out[k] += model.weights[k, joint] * carried
    return out


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(skinning, "can_skin", lambda *_: False)
    return str(request.param)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 250])
@pytest.mark.parametrize(("amplitude_m", "most_mm"), [(0.0, 0.002), (2e-4, 0.04), (2e-3, 0.04), (0.02, 0.04)])
def test_a_bending_mesh_is_that_of_the_equations(
    way: str, count: int, amplitude_m: float, most_mm: float
) -> None:
    rng = np.random.default_rng(1)
    model = bending_body(count, amplitude_m)
    pose, betas, place = rng.normal(0, 0.4, (24, 3)), rng.normal(0, 1, 10), np.array([0.1, 0.2, 3.0])
    found = model.skin(pose, betas, place)
    assert found.dtype == np.float32
    off_mm = 1e3 * np.linalg.norm(found - written_out(model, pose, betas, place), axis=1)
    assert off_mm.max() < (most_mm if way == "native" else 0.005)
    other = model.skin(0.5 * pose, -betas, place)  # another shape does not keep the last one's mesh
    off_mm = 1e3 * np.linalg.norm(other - written_out(model, 0.5 * pose, -betas, place), axis=1)
    assert off_mm.max() < (most_mm if way == "native" else 0.005)


@pytest.mark.parametrize("joints_per_vertex", [1, 7, 24])
def test_any_number_of_joints_carries_a_vertex(way: str, joints_per_vertex: int) -> None:
    model = bending_body(40, 0.0, joints_per_vertex=joints_per_vertex)
    pose = np.random.default_rng(2).normal(0, 0.5, (24, 3))
    expected = written_out(model, pose, np.zeros(10), np.zeros(3))
    assert np.allclose(model.skin(pose, [], [0, 0, 0]), expected, atol=2e-6)


def test_a_body_without_pose_directions(way: str) -> None:
    model = dataclasses.replace(BODY, name="again")
    pose = np.random.default_rng(3).normal(0, 0.3, (24, 3))
    some = np.arange(0, len(model.template_vertices), 101)
    expected = written_out(BODY, pose, np.full(10, 0.5), np.ones(3))[some]
    assert np.allclose(model.skin(pose, np.full(10, 0.5), [1, 1, 1])[some], expected, atol=5e-6)


def test_half_a_turn_of_every_joint_is_within_what_is_counted_in(way: str) -> None:
    """The largest numbers that rotations can differ by from none."""
    model = bending_body(48, 1e-3)
    pose = np.zeros((24, 3))
    pose[:, 0] = np.pi
    off = np.linalg.norm(
        model.skin(pose, [], [0, 0, 0]) - written_out(model, pose, np.zeros(10), np.zeros(3)), axis=1
    )
    assert off.max() < 3e-4


def test_no_numbers_do_not_stop_it(way: str) -> None:
    pose = np.full((24, 3), np.nan)
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(bending_body(20, 1e-3).skin(pose, [], [0, 0, 0])).any()


def test_threads_get_their_own_people(way: str) -> None:
    model = bending_body(200, 1e-3)
    rng = np.random.default_rng(5)
    people = [(rng.normal(0, 0.3, (24, 3)), rng.normal(0, 1, 10)) for _ in range(4)]
    alone = [model.skin(pose, betas, [0, 0, 0]) for pose, betas in people]
    wrong: list[int] = []

    def ask(number: int) -> None:
        pose, betas = people[number]
        for _ in range(50):
            if not np.array_equal(model.skin(pose, betas, [0, 0, 0]), alone[number]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
