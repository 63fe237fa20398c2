"""Lenses: where points are seen through them, and back, held against projections written down elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from capture.frames import Intrinsics
from capture.lenses import Lens, lens_of

FOCAL, CENTRE = (400.0, 405.0), (322.0, 238.0)
RAYS = np.random.default_rng(0).uniform((-0.75, -0.55), (0.75, 0.55), (60, 2))
Coefficients = tuple[float, ...]

LENSES: list[tuple[str, Coefficients]] = [
    ("brown_conrady", (0.11, -0.2, 0.003, -0.002)),
    ("brown_conrady", (-0.25, 0.06, 0.001, -0.002, -0.004)),
    ("brown_conrady", (0.4, -0.1, 0.001, 0.002, 0.01, 0.5, -0.05, 0.02)),
    ("brown_conrady", (0.1, -0.1, 0.001, 0.002, 0.01, 0.1, -0.05, 0.02, 0.001, 0.002, -0.001, 0.001)),
    ("inverse_brown_conrady", (-0.055, 0.065, 0.0005, -0.0003, -0.021)),
    ("modified_brown_conrady", (0.11, -0.2, 0.003, -0.002, 0.05)),
    ("kannala_brandt4", (0.02, -0.01, 0.003, -0.001)),
    ("kannala_brandt4", (0.0, 0.0, 0.0, 0.0, 0.0)),
]


def intrinsics(model: str, coefficients: Coefficients) -> Intrinsics:
    return Intrinsics(640, 480, *FOCAL, *CENTRE, model, coefficients)


def _by_hand(model: str, c: Coefficients, ray: np.ndarray) -> tuple[float, float]:
    """One point after the other, as the models are written down."""
    x, y = ray
    if model == "kannala_brandt4":
        r = float(np.hypot(x, y))
        angle = np.arctan(r)
        bent = angle + c[0] * angle**3 + c[1] * angle**5 + c[2] * angle**7 + c[3] * angle**9
        return (x * bent / r, y * bent / r) if r else (x, y)
    if model == "brown_conrady":
        matrix = np.eye(3)
        point = np.array([[x, y, 1.0]])
        return tuple(cv2.projectPoints(point, np.zeros(3), np.zeros(3), matrix, np.array(c))[0].ravel())
    k1, k2, p1, p2, k3 = c
    square = x**2 + y**2
    f = 1 + k1 * square + k2 * square**2 + k3 * square**3
    x, y = x * f, y * f
    return (
        x + 2 * p1 * x * y + p2 * (square + 2 * x**2),
        y + 2 * p2 * x * y + p1 * (square + 2 * y**2),
    )


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_points_are_seen_where_the_model_says_and_come_back(model: str, coefficients: Coefficients) -> None:
    lens = Lens(intrinsics(model, coefficients))
    expected = np.array([_by_hand(model, coefficients, ray) for ray in RAYS]) * FOCAL + CENTRE
    straight = RAYS * FOCAL + CENTRE
    assert np.abs(expected - straight).max() > 3
    np.testing.assert_allclose(lens.pixels(RAYS), expected, atol=1e-6)
    np.testing.assert_allclose(lens.straightened(expected), straight, atol=1e-3)
    aside = np.array([0.3, -0.2])
    moved = lens.pixels(RAYS + aside / FOCAL) - expected
    np.testing.assert_allclose(lens.bending(straight) @ aside, moved, atol=2e-3)


@pytest.mark.parametrize(
    ("model", "coefficients"), [each for each in LENSES if len(each[1]) in (4, 5) and "none" not in each]
)
def test_points_are_seen_where_librealsense_sees_them(model: str, coefficients: Coefficients) -> None:
    rs = pytest.importorskip("pyrealsense2", reason="librealsense is not installed")
    own = rs.intrinsics()
    own.width, own.height, own.fx, own.fy, own.ppx, own.ppy = 640, 480, *FOCAL, *CENTRE
    own.model, own.coeffs = getattr(rs.distortion, model), [*coefficients, 0.0][:5]
    lens = Lens(intrinsics(model, coefficients))
    pixels = np.array([rs.rs2_project_point_to_pixel(own, [*ray, 1.0]) for ray in RAYS])
    np.testing.assert_allclose(lens.pixels(RAYS), pixels, atol=1e-3)
    if model == "modified_brown_conrady":  # there is no way back in it
        return
    points = np.array([rs.rs2_deproject_pixel_to_point(own, list(pixel), 1.0) for pixel in pixels])
    np.testing.assert_allclose(lens.straightened(pixels), points[:, :2] * FOCAL + CENTRE, atol=0.1)


@pytest.mark.parametrize(("model", "coefficients"), [("none", ()), ("brown_conrady", (0.0,) * 6), ("x", ())])
def test_a_lens_without_coefficients_is_straight(model: str, coefficients: Coefficients) -> None:
    lens = lens_of(intrinsics(model, coefficients))
    assert lens.is_straight
    np.testing.assert_array_equal(lens.pixels(RAYS), RAYS * FOCAL + CENTRE)
    points = np.array([[1e5, -3.0]])
    np.testing.assert_array_equal(lens.straightened(points), points)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("brown_conrady", (0.1, 0.0, 0.0, 0.0, 0.0, 0.1)),
        ("inverse_brown_conrady", (0.1,) * 8),
        ("kannala_brandt4", (0.1, 0.1)),
        ("kannala_brandt4", (0.1,) * 5),
        ("ftheta", (0.9, 0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_what_is_not_known_is_told_with_its_name(model: str, coefficients: Coefficients) -> None:
    with pytest.raises(ValueError, match=f"'{model}' with {len(coefficients)} coefficients is not known"):
        Lens(intrinsics(model, coefficients))


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_what_is_far_beside_the_picture_is_not_in_it(model: str, coefficients: Coefficients) -> None:
    lens = Lens(intrinsics(model, coefficients))
    rays = np.array([[30.0, 0.0], [-4.0, 3.0], [0.0, -200.0], [np.nan, 0.0]])
    with np.errstate(all="raise", under="ignore"):
        seen = lens.pixels(rays)
    inside = ((seen > -60) & (seen < (700, 540))).all(axis=1)
    assert not inside.any()
    back = lens.straightened(np.array([[1e5, 2e5], [np.nan, 3.0], [-9e5, 2.0]]))
    assert np.isnan(back[0]).all() or np.linalg.norm(back[0] - CENTRE) > 1e3
    assert np.isnan(back[1]).all()
