"""Several cameras from what they saw together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from capture.calibration.boards import Sighting
from capture.calibration.placement import place_cameras
from capture.frames import Intrinsics
from codec.errors import CalibrationError
from tests.capture.calibration.rendered_board import CHECKERBOARD, LENS, poses, seen

Float64 = npt.NDArray[np.float64]


def camera_from_first(turn: tuple[float, float, float], move_m: tuple[float, float, float]) -> Float64:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn))[0]
    pose[:3, 3] = move_m
    return pose


CAMERAS = {
    "first": np.eye(4),
    "side": camera_from_first((0.0, -0.7, 0.05), (0.8, 0.1, 0.3)),
    "far": camera_from_first((0.1, 0.9, 0.0), (-1.0, 0.0, 0.5)),
}


FISHEYE = Intrinsics(
    848, 800, 285.0, 286.0, 424.0, 400.0, "kannala_brandt4", (-0.008, 0.045, -0.042, 0.008, 0.0)
)
BENT = Intrinsics(
    848, 480, 600.0, 600.0, 424.0, 240.0, "inverse_brown_conrady", (0.16, -0.5, -0.001, 0.0004, 0.45)
)


def moments(
    count: int, noise_px: float, pairs: list[tuple[str, str]], lens: Intrinsics = LENS
) -> list[Mapping[str, Sighting]]:
    made = []
    for i, pose in enumerate(poses(count, seed=3, distance_m=1.4)):
        names = pairs[i % len(pairs)]
        made.append(
            {
                name: seen(CHECKERBOARD, CAMERAS[name] @ pose, lens, noise_px=noise_px, seed=10 * i + k)
                for k, name in enumerate(names)
            }
        )
    return made


def test_a_chain_of_pairs_places_all() -> None:
    found = place_cameras(
        dict.fromkeys(CAMERAS, LENS), moments(16, 0.2, [("first", "side"), ("side", "far")])
    )
    assert np.array_equal(found.world_from_camera["first"], np.eye(4))
    for name, true in CAMERAS.items():
        error = found.world_from_camera[name] @ true
        assert np.linalg.norm(error[:3, 3]) < 0.01
        assert np.linalg.norm(cv2.Rodrigues(error[:3, :3])[0]) < 0.008
        assert found.rms_px[name] < 0.4
    assert found.moments == {"first": 8, "side": 16, "far": 8}


@pytest.mark.parametrize("lens", [FISHEYE, BENT], ids=lambda lens: str(lens.model))
def test_cameras_with_lenses_of_other_models_are_placed_as_well(lens: Intrinsics) -> None:
    found = place_cameras(
        dict.fromkeys(CAMERAS, lens), moments(16, 0.1, [("first", "side"), ("side", "far")], lens)
    )
    for name, true in CAMERAS.items():
        error = found.world_from_camera[name] @ true
        assert np.linalg.norm(error[:3, 3]) < 0.015
        assert np.linalg.norm(cv2.Rodrigues(error[:3, :3])[0]) < 0.01
        assert found.rms_px[name] < 0.2


def test_a_lens_of_an_unknown_model_is_refused() -> None:
    unknown = replace(LENS, model="ftheta")
    with pytest.raises(CalibrationError, match="lens model 'ftheta'"):
        place_cameras(dict.fromkeys(("first", "side"), unknown), moments(4, 0.1, [("first", "side")]))


def test_one_wrong_moment_does_not_move_a_camera() -> None:
    wrong = moments(12, 0.1, [("first", "side")])
    wrong[5] = {"first": wrong[5]["first"], "side": wrong[6]["side"]}
    found = place_cameras(dict.fromkeys(("first", "side"), LENS), wrong)
    assert np.linalg.norm((found.world_from_camera["side"] @ CAMERAS["side"])[:3, 3]) < 0.03


def test_what_does_not_hang_together_is_said() -> None:
    with pytest.raises(CalibrationError, match="nothing tells where far stands"):
        place_cameras(dict.fromkeys(CAMERAS, LENS), moments(6, 0.1, [("first", "side")]))
    shuffled = moments(8, 0.1, [("first", "side")])
    late = [{"first": a["first"], "side": b["side"]} for a, b in zip(shuffled, shuffled[::-1], strict=True)]
    with pytest.raises(CalibrationError, match="does not fit together"):
        place_cameras(dict.fromkeys(("first", "side"), LENS), late)
