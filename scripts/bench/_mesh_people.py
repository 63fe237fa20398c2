#!/usr/bin/env python3
"""People as an estimator would deliver them: what the benchmark of mesh codecs is measured on.

    python -m scripts.bench._mesh_people --preview out/people.png [CLIP ...]

The procedural body follows mocap clips three to five metres in front of a camera; every person has
proportions and soft tissue of their own, and an estimator's noise of a chosen level on top. The same names,
numbers and seed make the same people, on one machine to the last bit.

`TUNING_CLIPS` and `HELD_OUT_CLIPS` have no person in common. What codecs learn, choose or are tuned with
comes from the first; figures worth telling come from the second.

Levels above zero want scipy the first time (extra `bench`); see `_mesh_modes`.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import SHAPE_COUNT
from capture.body.model import BodyModel
from capture.body.procedural import procedural_body
from capture.body.skinning import blend_skin, skinning_transforms
from scripts.bench import _mesh_modes
from scripts.bench._mesh_clips import FPS, HELD_OUT_CLIPS, MOTIONS, TUNING_CLIPS, motion
from scripts.bench._mesh_noise import joint_regressor, surface_noise, vertex_uncertainties
from scripts.bench._mesh_pose import joint_positions, joint_rotations

__all__ = ["FPS", "HELD_OUT_CLIPS", "TUNING_CLIPS", "Clip", "people"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_CAMERA_FROM_HALL: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_EYE_LEVEL_M: Final = 1.2
_DISTANCES_M: Final = (4.0, 4.15, 3.85)  # of neighbours; people go 0.8 m about
_SPACING_M: Final = 1.2

_SHAPE_SPREAD: Final = 0.8
_TISSUE_PATTERNS: Final = 40
_TISSUE_RMS_M: Final = 0.008  # of all patterns at full strength together
_TISSUE_LENGTHS_M: Final = (0.06, 0.3)
_UNSURE_PATTERNS: Final = 24
_UNSURE_LENGTHS_M: Final = (0.2, 0.6)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """T frames of P people, 30 a second, float32, axes of the camera: x right, y down, z forward.

    vertices              (T, P, 6890, 3) mm        joints              (T, P, 24, 3) mm
    vertex_uncertainties  (T, P, 6890) m            joint_uncertainties (T, P, 24) m
    """

    names: tuple[str, ...]
    noise_mm: float
    vertices: Float32
    joints: Float32
    vertex_uncertainties: Float32
    joint_uncertainties: Float32

    def frame(self, number: int) -> dict[str, Float32]:
        """The arrays of one frame, as a mesh writer takes them."""
        return {
            "vertices": self.vertices[number],
            "joints": self.joints[number],
            "vertex_uncertainties": self.vertex_uncertainties[number],
            "joint_uncertainties": self.joint_uncertainties[number],
        }


def people(
    names: Sequence[str],
    *,
    noise_mm: float,
    seconds: float,
    seed: int,
    motions: Path = MOTIONS,
    cache: Path = _mesh_modes.CACHE,
) -> Clip:
    """One person for each name of a clip, side by side, for `seconds`.

    Raises UnusableClipError, and NoScipyError if there is to be noise and its modes cannot be had.
    """
    body = procedural_body()
    regressor = joint_regressor(body.template_vertices, body.joints)
    parts = []
    for place, name in enumerate(names):
        points = motion(name, seconds=seconds, motions=motions)
        # Each in a stream of chance of its own: a person looks the same at every length and level of noise.
        person, wrists, estimator = (
            np.random.default_rng([seed, place, zlib.crc32(name.encode()), what]) for what in range(3)
        )
        vertices, joints = _body_in_motion(body, points, person, wrists)
        stand = np.array([(place - (len(names) - 1) / 2) * _SPACING_M, _EYE_LEVEL_M, 0.0])
        stand[2] = _DISTANCES_M[place % len(_DISTANCES_M)]
        vertices, joints = (_seen(array, stand) for array in (vertices, joints))
        if noise_mm > 0:
            modes = _mesh_modes.modes_of(body.template_vertices, body.faces, cache=cache)
            noise = surface_noise(estimator, modes, len(vertices), noise_mm)
            vertices += noise
            joints += regressor @ noise
        fields = smooth_patterns(person, body.template_vertices, _UNSURE_PATTERNS, _UNSURE_LENGTHS_M)
        unsure = vertex_uncertainties(estimator, fields, body.template_vertices, vertices)
        parts.append((vertices, joints, unsure, unsure @ regressor.T))
    arrays = (np.stack(column, axis=1) for column in zip(*parts, strict=True))
    return Clip(tuple(names), noise_mm, *arrays)


def _body_in_motion(
    body: BodyModel, points: Float64, person: np.random.Generator, wrists: np.random.Generator
) -> tuple[Float32, Float32]:
    """Vertices (T, 6890, 3) and joints (T, 24, 3) in metres: a person of chance follows the key points."""
    betas = _SHAPE_SPREAD * person.standard_normal(SHAPE_COUNT)
    rest_joints = body.rest_joints(betas)
    rotations = joint_rotations(points, rest_joints, wrists)
    positions = joint_positions(points, rotations, rest_joints)
    rest = body.template_vertices + body.shape_directions @ betas.astype(np.float32)
    tissue = _soft_tissue(body, rotations, person)
    weight_rows = np.ascontiguousarray(body.weights.T)
    vertices = np.empty((len(points), len(rest), 3), np.float32)
    for t in range(len(points)):
        rest_rows = np.ascontiguousarray((rest + tissue(t)).T)
        transforms = skinning_transforms(rotations[t], positions[t], rest_joints)
        vertices[t] = blend_skin(rest_rows, weight_rows, transforms)
    return vertices, positions.astype(np.float32)


class _Tissue:
    """Flesh that gives way as joints bend: a few smooth patterns, each as strong as some angles say."""

    def __init__(self, patterns: Float32, strengths: Float32) -> None:
        self._patterns = patterns  # (6890 * 3, k) metres
        self._strengths = strengths  # (T, k), -1 to 1

    def __call__(self, t: int) -> Float32:
        return np.asarray((self._patterns @ self._strengths[t]).reshape(-1, 3), np.float32)


def _soft_tissue(body: BodyModel, rotations: Float64, rng: np.random.Generator) -> _Tissue:
    parents = np.array(body.parents[1:])
    bent = rotations[:, parents].swapaxes(-1, -2) @ rotations[:, 1:]
    skew = (bent - bent.swapaxes(-1, -2)) / 2
    # The sine of each joint's angle along its axis: 69 numbers without jumps.
    features = np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1).reshape(len(bent), -1)
    mixing = 0.6 * rng.standard_normal((features.shape[1], _TISSUE_PATTERNS))
    strengths = np.tanh(features @ mixing).astype(np.float32)
    fields = [
        smooth_patterns(rng, body.template_vertices, _TISSUE_PATTERNS, _TISSUE_LENGTHS_M) for _ in range(3)
    ]
    patterns = np.stack(fields, axis=1) * np.float32(_TISSUE_RMS_M / np.sqrt(_TISSUE_PATTERNS))
    return _Tissue(patterns.reshape(-1, _TISSUE_PATTERNS), strengths)


def smooth_patterns(
    rng: np.random.Generator, points: Float32, count: int, lengths_m: tuple[float, float]
) -> Float32:
    """(n, count) patterns of unit rms over points (n, 3), varying on lengths between the two, in metres."""
    waves = 16  # enough that no single one shows
    low, high = lengths_m
    length = low * (high / low) ** rng.random((waves, count))
    direction = rng.standard_normal((3, waves, count))
    direction /= np.linalg.norm(direction, axis=0)
    phase = 2 * np.pi * rng.random((waves, count))
    # Long waves are the stronger ones, as on any soft thing.
    strength = length / np.sqrt((length**2).sum(axis=0)) * np.sqrt(2)
    turns, starts, strengths = (part.astype(np.float32) for part in (direction / length, phase, strength))
    out = np.zeros((len(points), count), np.float32)
    for wave in range(waves):
        out += strengths[wave] * np.cos(points @ turns[:, wave] + starts[wave])
    return np.asarray(out / np.sqrt((out**2).mean(axis=0)))


def _seen(points: Float32, stand_m: Float64) -> Float32:
    """(T, n, 3) points in the hall, metres -> millimetres in camera axes, with its origin at `stand_m`."""
    in_camera = points @ _CAMERA_FROM_HALL.T.astype(np.float32) + stand_m.astype(np.float32)
    return np.asarray(in_camera * np.float32(1000))


if __name__ == "__main__":
    from scripts.bench._mesh_preview import main

    sys.exit(main())
