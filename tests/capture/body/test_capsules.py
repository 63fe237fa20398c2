"""Capsules lie in the flesh of their parts, follow the shape, and take a user's sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.body.capsules import CAPSULE_COUNT, PARTS, capsules_of, read_capsule_sizes
from capture.body.procedural import procedural_body
from capture.body.spheres import spheres_of
from codec.errors import FormatError, StorageError

BODY = procedural_body()


def test_each_capsule_lies_in_the_flesh_of_its_part() -> None:
    capsules = capsules_of(BODY)
    carrier = BODY.weights.argmax(axis=1)
    for number, part in enumerate(PARTS):
        flesh = BODY.template_vertices[np.isin(carrier, part)] - BODY.joints[part[0]]
        start, end = capsules.starts[number, :, 0], capsules.ends[number, :, 0]
        way = end - start
        share = np.clip((flesh - start) @ way / (way @ way), 0.0, 1.0)
        away = np.linalg.norm(flesh - start - share[:, None] * way, axis=1)
        radius = capsules.radii[number, 0]
        assert 0.02 < radius < 0.15
        assert np.median(np.abs(away - radius)) < 0.4 * radius


def test_left_and_right_are_alike() -> None:
    capsules = capsules_of(BODY)
    for left, right in ((1, 2), (4, 5), (7, 8), (11, 12), (14, 15), (16, 17), (18, 19)):
        assert capsules.radii[left, 0] == pytest.approx(capsules.radii[right, 0], rel=0.03)
        mirrored = capsules.starts[left, :, 0] * [-1, 1, 1]
        assert np.allclose(mirrored, capsules.starts[right, :, 0], atol=0.01)


def test_who_is_thicker_has_thicker_capsules() -> None:
    girth = capsules_of(BODY).radii[:, 2]
    assert (girth[[0, 1, 2, 3, 6, 9]] > 0.004).all()


def _regressors(path: Path, **changes: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    lengths, radii = rng.normal(0, 0.01, (11, 20)), rng.normal(0, 0.002, (11, 20))
    lengths[-1], radii[-1] = np.linspace(0.1, 0.4, 20), np.linspace(0.04, 0.1, 20)
    np.savez(path, **{"betas2lens": lengths, "betas2rads": radii, "other": np.zeros(3), **changes})
    return path


def test_sizes_of_a_users_regressors(tmp_path: Path) -> None:
    sizes = read_capsule_sizes(_regressors(tmp_path / "regressors.npz"))
    capsules = capsules_of(BODY, sizes)
    assert np.allclose(capsules.radii[:, 0], np.linspace(0.04, 0.1, 20))
    lengths = np.linalg.norm(capsules.ends[:, :, 0] - capsules.starts[:, :, 0], axis=1)
    assert np.allclose(lengths, np.linspace(0.1, 0.4, 20))
    assert np.allclose(capsules.radii[:, 3], sizes.radii[:, 3])
    assert spheres_of(BODY, sizes).count != spheres_of(BODY).count
    assert spheres_of(BODY, sizes) is spheres_of(BODY, sizes)


def test_a_folder_holds_one_for_each_gender(tmp_path: Path) -> None:
    _regressors(tmp_path / "regressors_locked_normalized_hybrid.npz")
    radii = np.full((11, 20), 0.05)
    _regressors(tmp_path / "regressors_locked_normalized_male.npz", betas2rads=radii)
    assert read_capsule_sizes(tmp_path).radii[3, 0] != 0.05
    assert (read_capsule_sizes(tmp_path, "male").radii == 0.05).all()
    with pytest.raises(StorageError, match="regressors_locked_normalized_female"):
        read_capsule_sizes(tmp_path, "female")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"betas2rads": np.zeros((11, 19))}, "betas2rads.*20"),
        ({"betas2rads": np.full((11, 20), np.nan)}, "betas2rads.*not finite"),
        ({"betas2lens": -np.ones((11, 20))}, "betas2lens.*not positive"),
        ({"betas2lens": np.ones((6, 20))}, "differ"),
        ({"betas2lens": np.ones((11, 20), dtype=int)}, "not numbers"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], told: str) -> None:
    path = _regressors(tmp_path / "wrong.npz", **changes)
    with pytest.raises(FormatError, match=told) as caught:
        read_capsule_sizes(path)
    assert "wrong.npz" in str(caught.value)


def test_a_file_without_the_keys_and_no_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.zeros(3))
    with pytest.raises(FormatError, match="lacks the key 'betas2lens'"):
        read_capsule_sizes(tmp_path / "a.npz")
    with pytest.raises(StorageError, match=r"b\.npz"):
        read_capsule_sizes(tmp_path / "b.npz")


def test_a_model_without_some_parts_has_grains_there() -> None:
    class Torso:
        """A model all of whose vertices hang on one joint."""

        template_vertices = BODY.template_vertices
        shape_directions = BODY.shape_directions
        shape_count = BODY.shape_count
        joints = BODY.joints
        rest_joints = staticmethod(BODY.rest_joints)
        weights = np.eye(24)[np.zeros(len(BODY.template_vertices), dtype=int)]

    capsules = capsules_of(Torso())  # type: ignore[arg-type]
    assert len(capsules.radii) == CAPSULE_COUNT
    assert capsules.radii[0, 0] > 0.1
    assert (capsules.radii[1:, 0] < 0.01).all()
