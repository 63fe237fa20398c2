"""The made people of the mesh benchmark: they follow their clip, never jump, and are the same every time."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from capture.body.anatomy import JOINT_NAMES
from capture.body.procedural import procedural_body
from scripts.bench import _mesh_preview
from scripts.bench._mesh_clips import (
    FPS,
    HELD_OUT_CLIPS,
    POINT_COUNT,
    REACH_M,
    TUNING_CLIPS,
    Key,
    UnusableClipError,
    around_one_spot,
    continued,
    filled,
    load,
    middle,
    resampled,
    smooth_in_time,
)
from scripts.bench._mesh_fingerprint import fingerprint, short_walk
from scripts.bench._mesh_modes import Modes, NoScipyError, modes_of
from scripts.bench._mesh_noise import fading, joint_regressor, surface_noise
from scripts.bench._mesh_people import people, smooth_patterns
from scripts.bench._mesh_pose import joint_positions, joint_rotations
from tests.walking_points import CLIP_NAME, stored, walker

Float64 = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("motions") / "motions.npz", walker()[0])


def degrees_a_frame(rotations: Float64) -> Float64:
    """(T - 1, 24) how far each joint turns from one frame to the next."""
    cosine = (np.einsum("tjab,tjab->tj", rotations[1:], rotations[:-1]) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


# ---- clips -------------------------------------------------------------------------------------------------


def test_nobody_is_both_in_the_tuning_and_in_the_held_out_clips() -> None:
    persons = [{name.rsplit("_", 1)[0] for name in names} for names in (TUNING_CLIPS, HELD_OUT_CLIPS)]
    assert not persons[0] & persons[1]
    assert {"runningpose/Tindra1", "opensim/hamner_run"} <= set(HELD_OUT_CLIPS)


def test_a_stored_clip_comes_back_as_points_in_the_hall(tmp_path: Path) -> None:
    points, _ = walker()
    loaded = load(CLIP_NAME, stored(tmp_path / "motions.npz", points))
    np.testing.assert_allclose(loaded[:, list(Key)], points[:, list(Key)], atol=1e-4)


def test_resampling_keeps_straight_motion_exact_at_any_rate() -> None:
    times = np.arange(86) / 85.0
    points = np.broadcast_to(times[:, None, None], (86, POINT_COUNT, 3))
    np.testing.assert_allclose(resampled(points, 85.0)[:, 0, 0], np.arange(31) / 30, atol=1e-12)
    np.testing.assert_array_equal(resampled(points, 60.0), points[::2])


def test_gaps_are_closed_and_a_spine_never_seen_follows_the_torso() -> None:
    points, _ = walker()
    whole = points.copy()
    points[20:23, Key.LEFT_KNEE] = np.nan
    points[:, [Key.LOW_SPINE, Key.HIGH_SPINE]] = np.nan
    closed = filled(points, CLIP_NAME)
    assert np.linalg.norm(closed[20:23, Key.LEFT_KNEE] - whole[20:23, Key.LEFT_KNEE], axis=1).max() < 0.03
    up = closed[:, Key.HIGH_SPINE] - closed[:, Key.LOW_SPINE]
    assert (up[:, 2] / np.linalg.norm(up, axis=1)).min() > 0.95


def test_a_clip_without_a_limb_is_refused_by_name() -> None:
    points, _ = walker()
    points[:, Key.LEFT_KNEE] = np.nan
    with pytest.raises(UnusableClipError, match=r"'walk/1' never shows LEFT_KNEE"):
        filled(points, CLIP_NAME)


def test_missing_files_and_clips_are_named(tmp_path: Path, motions: Path) -> None:
    with pytest.raises(UnusableClipError, match=r"nowhere.npz is not there"):
        load(CLIP_NAME, tmp_path / "nowhere.npz")
    with pytest.raises(UnusableClipError, match="no clip 'walk/9'"):
        load("walk/9", motions)


def test_a_short_clip_goes_on_without_a_jump() -> None:
    points = walker()[0][:, list(Key)]
    full = np.zeros((len(points), POINT_COUNT, 3))
    full[:, list(Key)] = points
    longer = continued(full, 200)
    assert longer.shape == (200, POINT_COUNT, 3)
    speed = np.linalg.norm(np.diff(longer, axis=0), axis=2)
    assert speed.max() < 1.25 * np.linalg.norm(np.diff(full, axis=0), axis=2).max()


def test_a_clip_of_a_few_frames_cannot_go_on() -> None:
    with pytest.raises(UnusableClipError, match="7 frames"):
        continued(np.zeros((7, POINT_COUNT, 3)), 60)


@pytest.mark.parametrize("speed_m_s", [0.0, 1.4, 5.0])
def test_whoever_crosses_the_hall_stays_around_one_spot(speed_m_s: float) -> None:
    still = walker(0.05)[0][:1]
    there = np.arange(300) / FPS * speed_m_s
    points = still + there[:, None, None] * np.array([0.6, 0.8, 0.0])
    held = around_one_spot(points)
    hips = middle(held, "HIP")
    assert np.linalg.norm(hips[:, :2], axis=1).max() <= REACH_M + 0.01
    # Everybody is only turned and shifted, as a whole.
    lengths = [np.linalg.norm(p[:, Key.NOSE] - p[:, Key.LEFT_ANKLE], axis=1) for p in (points, held)]
    np.testing.assert_allclose(*lengths, atol=1e-9)


def test_smoothing_leaves_straight_lines_alone_up_to_their_ends() -> None:
    line = np.linspace(3.0, -1.0, 40)[:, None] * np.ones(2)
    np.testing.assert_allclose(smooth_in_time(line, 4.0), line, atol=1e-12)
    np.testing.assert_array_equal(smooth_in_time(line[:1], 4.0), line[:1])


# ---- poses -------------------------------------------------------------------------------------------------


def test_the_body_stands_where_its_key_points_are() -> None:
    points, truth = walker()
    rest = procedural_body().joints
    rotations = joint_rotations(points, rest, np.random.default_rng(0))
    positions = joint_positions(points, rotations, rest)
    distance = np.linalg.norm(positions - truth, axis=2)
    hands = [JOINT_NAMES.index(f"{side}_hand") for side in ("left", "right")]
    assert np.delete(distance, hands, axis=1).max() < 0.05
    assert distance.max() < 0.08
    assert degrees_a_frame(rotations).max() < 25


def test_rotations_are_rotations() -> None:
    rotations = joint_rotations(walker()[0], procedural_body().joints, np.random.default_rng(0))
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(-1, -2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-9)


def test_a_straight_arm_that_trembles_does_not_flip() -> None:
    still = np.repeat(walker(0.05)[0][:1], 90, axis=0)
    for side in ("LEFT", "RIGHT"):
        shoulder, elbow = still[:, Key[f"{side}_SHOULDER"]], still[:, Key[f"{side}_ELBOW"]]
        still[:, Key[f"{side}_WRIST"]] = elbow + 0.9 * (elbow - shoulder)
    points = still + np.random.default_rng(1).normal(0, 0.002, still.shape)
    rotations = joint_rotations(points, procedural_body().joints, np.random.default_rng(0))
    arms = [
        JOINT_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in ("shoulder", "elbow")
    ]
    assert degrees_a_frame(rotations)[:, arms].max() < 6


# ---- people ------------------------------------------------------------------------------------------------


def test_people_are_float32_in_front_of_the_camera_and_upright(motions: Path) -> None:
    clip = people([CLIP_NAME, CLIP_NAME], noise_mm=0, seconds=1.0, seed=3, motions=motions)
    assert clip.vertices.shape == (30, 2, 6890, 3)
    assert clip.joints.shape == (30, 2, 24, 3)
    assert clip.vertex_uncertainties.shape == (30, 2, 6890)
    assert clip.joint_uncertainties.shape == (30, 2, 24)
    assert {array.dtype for array in clip.frame(0).values()} == {np.dtype(np.float32)}
    assert 2500 < clip.vertices[..., 2].min() < clip.vertices[..., 2].max() < 5500
    up = (
        clip.joints[:, :, JOINT_NAMES.index("head"), 1]
        - clip.joints[:, :, JOINT_NAMES.index("left_ankle"), 1]
    )
    assert up.max() < -1000
    assert 0.005 < clip.vertex_uncertainties.min() < clip.vertex_uncertainties.max() < 0.15
    # Joints lie inside of the skin they move.
    nearest = np.linalg.norm(clip.vertices[7, 0][:, None] - clip.joints[7, 0], axis=2).min(axis=0)
    assert nearest.max() < 150


def test_vertices_move_as_steadily_as_the_walker(motions: Path) -> None:
    clip = people([CLIP_NAME], noise_mm=0, seconds=3.0, seed=3, motions=motions)
    speed = np.linalg.norm(np.diff(clip.vertices, axis=0), axis=-1)
    assert 5 < speed.mean() < 60
    assert speed.max() < 250


def test_the_same_seed_makes_the_same_people_and_another_one_others(motions: Path) -> None:
    first, again, other = (
        people([CLIP_NAME], noise_mm=0, seconds=0.1, seed=seed, motions=motions) for seed in (3, 3, 4)
    )
    for name, array in first.frame(2).items():
        np.testing.assert_array_equal(array, again.frame(2)[name])
        assert not np.array_equal(array, other.frame(2)[name])


def test_two_people_of_one_clip_differ(motions: Path) -> None:
    clip = people([CLIP_NAME, CLIP_NAME], noise_mm=0, seconds=0.2, seed=3, motions=motions)
    heights = np.ptp(clip.vertices[0, :, :, 1], axis=1)
    assert abs(heights[0] - heights[1]) > 5


def test_the_preview_writes_a_sheet_and_tells_the_speed(
    motions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "new" / "people.png"
    asked = [
        "--preview",
        str(sheet),
        "--seconds",
        "0.3",
        "--moments",
        "2",
        "--motions",
        str(motions),
        CLIP_NAME,
    ]
    assert _mesh_preview.main(asked) == 0
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape == (330, 520, 3)
    assert (picture < 200).any()
    assert "mm/frame" in capsys.readouterr().out
    assert _mesh_preview.main([*asked[:-1], "walk/9"]) == 1


def test_smooth_patterns_are_smooth_and_of_unit_strength() -> None:
    vertices = procedural_body().template_vertices
    patterns = smooth_patterns(np.random.default_rng(0), vertices, 5, (0.2, 0.6))
    np.testing.assert_allclose((patterns**2).mean(axis=0), 1.0, rtol=1e-4)
    a, b = procedural_body().faces[:, 0], procedural_body().faces[:, 1]
    assert np.abs(patterns[a] - patterns[b]).mean() < 0.2


# ---- noise -------------------------------------------------------------------------------------------------


def some_modes(count: int = 40) -> Modes:
    """As if of a mesh of 500 vertices: orthogonal, of unit rms, from one metre down to three centimetres."""
    rng = np.random.default_rng(5)
    vectors = np.linalg.qr(rng.standard_normal((500, count)))[0] * np.sqrt(500)
    return Modes(np.geomspace(1.0, 1100.0, count), vectors.astype(np.float32))


@pytest.mark.parametrize("level_mm", [3.0, 8.0])
def test_noise_is_as_strong_as_its_level_and_stronger_in_depth(level_mm: float) -> None:
    noise = surface_noise(np.random.default_rng(0), some_modes(), 2000, level_mm)
    rms = np.sqrt((noise**2).mean(axis=(0, 1)))
    across, depth = np.hypot(1, 0.5) * level_mm, np.hypot(1, 1.5) * level_mm
    np.testing.assert_allclose(rms, [across, across, depth], rtol=0.1)


def test_half_of_the_noise_is_new_in_every_frame() -> None:
    noise = surface_noise(np.random.default_rng(0), some_modes(), 4000, 5.0)
    field = noise - noise.mean(axis=1, keepdims=True)
    kept = (field[1:] * field[:-1]).mean() / (field**2).mean()
    assert kept == pytest.approx(0.95 / 2, abs=0.05)


def test_fading_noise_has_unit_variance_throughout() -> None:
    values = fading(np.random.default_rng(0), (50, 20_000), 0.95)
    np.testing.assert_allclose(values.std(axis=1), 1.0, atol=0.03)
    assert (values[1:] * values[:-1]).mean() == pytest.approx(0.95, abs=0.02)


def test_joints_share_the_noise_of_the_skin_around_them() -> None:
    body = procedural_body()
    regressor = joint_regressor(body.template_vertices, body.joints)
    np.testing.assert_allclose(regressor.sum(axis=1), 1.0, rtol=1e-5)
    around = regressor @ body.template_vertices
    assert np.linalg.norm(around - body.joints, axis=1).max() < 0.08


def sphere(halvings: int = 4) -> tuple[Float64, npt.NDArray[np.int32]]:
    """An octahedron cut finer and finer, on the unit sphere."""
    points = np.concatenate([np.eye(3), -np.eye(3)])
    faces = np.array([(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)])
    for _ in range(halvings):
        corners = points[faces]
        cut = corners + np.roll(corners, -1, axis=1)
        cut /= np.linalg.norm(cut, axis=2, keepdims=True)
        (a, b, c), (ab, bc, ca) = corners.transpose(1, 0, 2), cut.transpose(1, 0, 2)
        quarters = np.stack([(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]).transpose(0, 2, 1, 3)
        points, where = np.unique(quarters.reshape(-1, 3).round(12), axis=0, return_inverse=True)
        faces = where.reshape(-1, 3)
    return points, faces.astype(np.int32)


def test_the_modes_of_a_sphere_are_the_spherical_harmonics(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    points, faces = sphere()
    modes = modes_of(points, faces, count=9, cache=tmp_path)
    np.testing.assert_allclose(modes.eigenvalues, [0, 2, 2, 2, 6, 6, 6, 6, 6], atol=0.1)
    np.testing.assert_allclose((modes.vectors**2).mean(axis=0), 1.0, rtol=1e-4)
    again = modes_of(points, faces, count=9, cache=tmp_path)
    np.testing.assert_array_equal(again.vectors, modes.vectors)


def test_without_scipy_noise_says_what_to_install(
    motions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(NoScipyError, match="pip install scipy"):
        people([CLIP_NAME], noise_mm=5, seconds=0.2, seed=3, motions=motions, cache=tmp_path)


# ---- the fingerprint ---------------------------------------------------------------------------------------


def test_the_walk_visits_every_vertex_once_with_short_steps() -> None:
    vertices = procedural_body().template_vertices
    walk = short_walk(vertices)
    np.testing.assert_array_equal(np.sort(walk), np.arange(len(vertices)))
    assert np.linalg.norm(np.diff(vertices[walk], axis=0), axis=1).mean() < 0.03


def test_coarser_steps_make_a_smaller_file(motions: Path) -> None:
    clip = people([CLIP_NAME], noise_mm=0, seconds=0.1, seed=3, motions=motions)
    figures = fingerprint(clip, np.arange(6890))
    assert figures[4] < 1 < figures[5] < figures[6] < figures[7]
