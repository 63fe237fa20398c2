from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import CodecError, FormatError
from codec.mesh import Camera
from codec.mesh.camera import decode_camera, encode_camera, rotation_matrix, rotation_vector

FIELDS: dict[str, Any] = {
    "rotvec_w2c": np.array([0.1, -0.2, 0.3], np.float32),
    "loc": np.array([1.0, 2.0, 3.0], np.float32),
    "intr": np.array([[500.0, 0.0, 320.0], [0.0, 510.0, 240.0]], np.float32),
    "up": np.array([0.0, -1.0, 0.0], np.float32),
}
angles = st.floats(-3.2, 3.2)


def an_object(**more: Any) -> SimpleNamespace:
    R = rotation_matrix(FIELDS["rotvec_w2c"]).astype(np.float32)
    K = np.vstack([FIELDS["intr"], [0, 0, 1]]).astype(np.float32)
    return SimpleNamespace(R=R, t=FIELDS["loc"], intrinsic_matrix=K, world_up=FIELDS["up"], **more)


def assert_same_camera(fields: dict[str, Any]) -> None:
    for name, value in FIELDS.items():
        np.testing.assert_allclose(fields[name], value, atol=1e-6)
        assert fields[name].dtype == np.float32


def test_any_object_with_the_attributes_of_a_camera_is_one() -> None:
    fields = encode_camera(an_object())
    assert_same_camera(fields)
    assert fields.keys() == FIELDS.keys()
    coefficients = np.array([0.1, 0.2, 0.0, 0.0, 0.3], np.float32)
    fields = encode_camera(an_object(distortion_coeffs=coefficients, image_shape=(480, 640)))
    np.testing.assert_array_equal(fields["distcoef"], coefficients)
    assert fields["image_shape"] == [480, 640]
    assert "distcoef" not in encode_camera(an_object(distortion_coeffs=np.zeros(5)))
    lens = an_object(has_distortion=lambda: True, get_distortion_coeffs=lambda: coefficients)
    np.testing.assert_array_equal(encode_camera(lens)["distcoef"], coefficients)


def test_a_camera_comes_back_and_is_one_itself() -> None:
    camera = decode_camera(encode_camera(an_object(image_shape=(480, 640))))
    assert camera.image_shape == (480, 640)
    assert not camera.has_distortion()
    assert camera.distortion_coeffs is None
    np.testing.assert_array_equal(camera.get_distortion_coeffs(), np.zeros(5))
    np.testing.assert_array_equal(camera.K, an_object().intrinsic_matrix)
    np.testing.assert_allclose(camera.R, an_object().R, atol=1e-6)
    again = decode_camera(encode_camera(camera))
    np.testing.assert_allclose(again.rotvec_w2c, camera.rotvec_w2c, atol=1e-6)
    np.testing.assert_array_equal(again.world_up, camera.up)
    point = np.array([5.0, 6.0, 7.0])
    seen = camera.R @ (point - camera.t)
    np.testing.assert_allclose(np.linalg.norm(seen), np.linalg.norm(point - camera.t), rtol=1e-6)


def test_a_dict_is_stored_as_it_is() -> None:
    given_fields = {"rotvec_w2c": [0, 0, 1], "loc": (1, 2, 3), "intr": FIELDS["intr"], "name": "left"}
    assert encode_camera(given_fields) == given_fields
    camera = decode_camera(given_fields | {"loc": [1, 2, 3]})
    np.testing.assert_array_equal(camera.up, [0, 0, 1])
    np.testing.assert_allclose(camera.R[:2, :2], [[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]], atol=1e-6)


@pytest.mark.parametrize(
    "camera", [None, 5, {"loc": [1, 2, 3]}, SimpleNamespace(R=np.eye(3)), an_object(), Camera]
)
def test_what_is_no_camera_is_refused_by_name(camera: Any) -> None:
    if isinstance(camera, SimpleNamespace) and hasattr(camera, "t"):
        camera.t = np.zeros((2, 3))
    with pytest.raises(CodecError, match="camera"):
        encode_camera(camera)


@pytest.mark.parametrize(
    "change",
    [
        {"loc": None},
        {"loc": [1, 2]},
        {"loc": ["a", "b", "c"]},
        {"loc": [1, [2, 3], 4]},
        {"intr": np.zeros((3, 3))},
        {"rotvec_w2c": np.zeros(3, np.complex64)},
        {"distcoef": np.zeros((2, 2))},
        {"distcoef": np.zeros(1000)},
        {"image_shape": [1]},
        {"image_shape": [0, -1]},
        {"image_shape": "480x640"},
    ],
    ids=str,
)
def test_a_camera_that_makes_no_sense_is_a_format_error(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="camera"):
        decode_camera(FIELDS | change)


def test_a_camera_that_is_incomplete_is_a_format_error() -> None:
    for name in ("rotvec_w2c", "loc", "intr"):
        with pytest.raises(FormatError, match=f"has no {name}"):
            decode_camera({key: value for key, value in FIELDS.items() if key != name})
    with pytest.raises(FormatError, match="not a map"):
        decode_camera([1])


@given(st.tuples(angles, angles, angles))
def test_rotations_survive_both_ways(vector: tuple[float, float, float]) -> None:
    R = rotation_matrix(np.array(vector))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    back = rotation_vector(R)
    assert np.linalg.norm(back) <= np.pi + 1e-9
    np.testing.assert_allclose(rotation_matrix(back), R, atol=1e-7)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-1, 2, 3)])
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-5, 1.0, np.pi - 1e-7, np.pi])
def test_rotations_near_none_and_near_half_a_turn_stay_exact(axis: tuple[int, ...], angle: float) -> None:
    vector = np.array(axis) / np.linalg.norm(axis) * angle
    back = rotation_vector(rotation_matrix(vector))
    np.testing.assert_allclose(rotation_matrix(back), rotation_matrix(vector), atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(back), angle, atol=1e-9)


def test_scipy_agrees_where_it_is_installed() -> None:
    transform = pytest.importorskip("scipy.spatial.transform", reason="SciPy is not installed")
    for vector in np.random.default_rng(1).normal(0, 1.5, (200, 3)):
        R = transform.Rotation.from_rotvec(vector).as_matrix()
        np.testing.assert_allclose(rotation_matrix(vector), R, atol=1e-12)
        np.testing.assert_allclose(
            rotation_vector(R), transform.Rotation.from_matrix(R).as_rotvec(), atol=1e-9
        )
