"""The tables of joints, and their way to the fourteen points of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from capture.keypoints.joint_sets import (
    JOINT_SETS,
    LSP14_NAMES,
    JointSet,
    joint_set,
    joint_set_of_count,
    to_lsp14,
)
from codec.errors import ConfigError

COUNTS = {"mediapipe33": 33, "coco17": 17, "halpe26": 26, "body25": 25, "lsp14": 14, "cpm14": 14}
# The numbers as the detectors' own documentation and SMPLify's files have them, LSP 0 to 11.
LIMBS = {
    "mediapipe33": [28, 26, 24, 23, 25, 27, 16, 14, 12, 11, 13, 15],
    "coco17": [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9],
    "halpe26": [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9],
    "body25": [11, 10, 9, 12, 13, 14, 4, 3, 2, 5, 6, 7],
    "lsp14": list(range(12)),
    "cpm14": [13, 12, 11, 8, 9, 10, 7, 6, 5, 2, 3, 4],
}
every_set = pytest.mark.parametrize("known", JOINT_SETS.values(), ids=lambda known: known.name)


def _numbered(known: JointSet) -> np.ndarray:
    """Points that tell their joint: (i, 1000 + i)."""
    at = np.arange(len(known.joints), dtype=float)
    return np.stack([at, 1000 + at], axis=1)


@every_set
def test_every_set_has_its_joints_once_and_bones_between_them(known: JointSet) -> None:
    assert len(known.joints) == COUNTS[known.name]
    assert len(set(known.joints)) == len(known.joints)
    assert len(set(known.bones)) == len(known.bones)
    assert all(0 <= a < len(known.joints) > b >= 0 and a != b for a, b in known.bones)
    limbs = {known.index(name) for name in LSP14_NAMES[:12]}
    assert limbs <= {end for bone in known.bones for end in bone}
    for a, b in known.bones:  # no bone goes from one side's limb to the other's but in the trunk and face
        names = known.joints[a], known.joints[b]
        if names[0].startswith("left") and names[1].startswith("right"):
            assert names in {("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")}


@every_set
def test_limbs_are_taken_from_the_documented_places(known: JointSet) -> None:
    confidences = np.linspace(0.1, 0.9, len(known.joints))
    points, trust = to_lsp14(known.name, _numbered(known), confidences)
    assert points.shape == (14, 2)
    assert points[:12, 0].tolist() == LIMBS[known.name]
    assert np.array_equal(trust[:12], confidences[LIMBS[known.name]])


@pytest.mark.parametrize(
    ("name", "neck", "head"), [("halpe26", 18, 17), ("lsp14", 12, 13), ("cpm14", 1, 0), ("body25", 1, None)]
)
def test_necks_and_heads_that_are_there_are_taken_as_they_are(name: str, neck: int, head: int | None) -> None:
    known = joint_set(name)
    points, trust = to_lsp14(name, _numbered(known), np.linspace(0.1, 0.9, len(known.joints)))
    assert points[12, 0] == neck
    assert trust[12] == pytest.approx(0.1 + 0.8 * neck / (len(known.joints) - 1))
    if head is not None:
        assert points[13, 0] == head


def test_cpm_becomes_lsp_as_the_article_has_it() -> None:
    order = [13, 12, 11, 8, 9, 10, 7, 6, 5, 2, 3, 4, 1, 0]
    points, _ = to_lsp14("cpm14", _numbered(joint_set("cpm14")), np.ones(14))
    assert points[:, 0].tolist() == order


def _upright(name: str, **joints: tuple[tuple[float, float], float]) -> tuple[np.ndarray, np.ndarray]:
    """A head over shoulders at (-20, 0) and (20, 0); other joints as told, the rest unknown."""
    known = joint_set(name)
    points, trust = np.zeros((len(known.joints), 2)), np.zeros(len(known.joints))
    placed = {"left_shoulder": ((20.0, 0.0), 0.9), "right_shoulder": ((-20.0, 0.0), 0.8), **joints}
    if "neck" in known.joints:
        placed.setdefault("neck", ((0.0, 0.0), 0.8))
    for joint, (at, confidence) in placed.items():
        points[known.index(joint)], trust[known.index(joint)] = at, confidence
    return points, trust


@pytest.mark.parametrize("name", ["mediapipe33", "coco17", "body25"])
def test_the_head_top_is_beyond_the_ears_and_trusted_half_as_much(name: str) -> None:
    points, trust = to_lsp14(
        name, *_upright(name, left_ear=((8, -30), 0.6), right_ear=((-8, -30), 0.7), nose=((0, -25), 0.9))
    )
    assert np.allclose(points[12], (0, 0))
    assert trust[12] == pytest.approx(0.8)
    assert np.allclose(points[13], (0, -48))
    assert trust[13] == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["mediapipe33", "coco17", "body25"])
def test_in_a_side_view_the_one_ear_that_is_seen_leads_to_the_head(name: str) -> None:
    """Not the middle between it and a guess, nor the nose, which is far in front of the head's top."""
    points, trust = to_lsp14(
        name, *_upright(name, left_ear=((2, -30), 0.9), right_ear=((500, 500), 0.0), nose=((15, -28), 0.9))
    )
    assert np.allclose(points[13], (3.2, -48))
    assert 0 < trust[13] < 0.3


def test_without_ears_the_nose_serves_and_without_a_neck_nothing_does() -> None:
    points, trust = to_lsp14("coco17", *_upright("coco17", nose=((0, -20), 1.0)))
    assert np.allclose(points[13], (0, -32))
    assert 0 < trust[13] <= 0.1
    lost = _upright("coco17", nose=((0, -20), 1.0), left_shoulder=((0, 0), 0.0))
    assert to_lsp14("coco17", *lost)[1][12:].tolist() == [0.0, 0.0]


def test_points_in_space_are_taken_alike() -> None:
    flat, trust = _upright("mediapipe33", left_ear=((8, -30), 0.6), right_ear=((-8, -30), 0.7))
    space = np.concatenate([flat, np.full((33, 1), 2.5)], axis=1)
    assert to_lsp14("mediapipe33", space, trust)[0].shape == (14, 3)
    assert to_lsp14("mediapipe33", space, trust)[0][13, 2] == pytest.approx(2.5)
    assert np.allclose(
        to_lsp14("mediapipe33", space, trust)[0][:, :2], to_lsp14("mediapipe33", flat, trust)[0]
    )


def test_a_wrong_name_and_a_wrong_size_are_told() -> None:
    with pytest.raises(ConfigError, match="no joint set 'coco18'; there are mediapipe33, coco17"):
        to_lsp14("coco18", np.zeros((18, 2)), np.zeros(18))
    for points, confidences in ((np.zeros((16, 2)), np.zeros(17)), (np.zeros((17, 2)), np.zeros(16))):
        with pytest.raises(ValueError, match="coco17 has 17 joints"):
            to_lsp14("coco17", points, confidences)


def test_a_set_is_known_by_its_number_of_joints() -> None:
    assert [getattr(joint_set_of_count(n), "name", None) for n in (33, 17, 26, 25, 14, 18)] == [
        *("mediapipe33", "coco17", "halpe26", "body25", "lsp14", None)
    ]
