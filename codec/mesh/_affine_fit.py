"""Fits an affine model to meshes that were seen: no template, no faces, nothing but the points themselves.

Points are ordered farthest first, so that every prefix covers the body evenly, and divided into levels that
double. A point is predicted from its nearest points in earlier levels and, of the two meshes before, from
itself and the same neighbours. Weights of one mesh sum up to 1 and those of a mesh before it to 0: moving or
turning the body changes nothing. They are found by ridge regression for each point, and rounded: only whole
numbers are written, so that it does not matter whose floating point found them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from codec.mesh._affine_model import INTER, INTRA, WEIGHT_BITS, AffineModel, pack_model, taps
from codec.mesh._affine_tables import Counts, class_of, expected_frequencies
from codec.mesh._affine_twin import Segment
from codec.mesh._mesh_native import affine, aligned_points

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

_ONE = 1 << WEIGHT_BITS
_RIDGE = 0.02
_LARGEST_WEIGHT = 7.9
_SHAPE_MESHES = 10
_CHUNK_POINTS = 64
_HELD_OUT_EVERY = 5
_BLAS_SAMPLES = 96
"""At a time: with more, the linear algebra library wakes threads that cost more than they do."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How many neighbours: of the same mesh without and with meshes before it, and of either of those."""

    now: tuple[int, int] = (10, 16)
    before: tuple[int, int] = (16, 8)


LIVE = FitSettings()
SMALL = FitSettings(now=(16, 32), before=(32, 16))

Run = npt.NDArray[np.int16]
"""Consecutive meshes of one person: (meshes, points, 4), vertices then joints, in steps from some place; the
fourth number is the uncertainty."""


def fit_model(
    runs: Sequence[Run], *, joints: int, uncertainties: bool, settings: FitSettings = LIVE
) -> AffineModel:
    """A model for meshes like those. runs: at least two, of three meshes or more."""
    points = runs[0].shape[1]
    stride = max(1, len(runs) // _SHAPE_MESHES)
    shape = np.concatenate([_centred(run[0]) for run in runs[::stride][:_SHAPE_MESHES]], axis=1)
    order = farthest_first(shape[: points - joints])
    order = np.concatenate([order, np.arange(points - joints, points)])
    level_ends = _levels(points - joints, joints)
    neighbours = _nearest_earlier(shape[order], level_ends, max(*settings.now, *settings.before))
    held_out = list(runs[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]) or list(runs[-1:])
    fitted = [run for i, run in enumerate(runs) if i % _HELD_OUT_EVERY != _HELD_OUT_EVERY - 1] or list(runs)
    weights = _fit_weights(fitted, order, level_ends, neighbours, settings)
    classes = (np.zeros((points, 2), np.uint8), np.zeros((points, 2), np.uint8))
    frequencies = expected_frequencies()
    # Packed twice: what is left of the predictions says into which classes the points fall.
    for learn in (False, True):
        model = pack_model(
            order=order.astype(np.uint16),
            joints=joints,
            level_ends=level_ends.astype(np.uint32),
            neighbours=neighbours.astype(np.uint16),
            now=settings.now,
            before=settings.before,
            weights=weights,
            classes=classes,
            frequencies=frequencies,
            draft=not learn,
        )
        if not learn:
            classes, frequencies = _learn(model, held_out, uncertainties)
    return model


# ---- the hierarchy ----


def _centred(mesh: npt.NDArray[np.int16]) -> F32:
    positions = mesh[:, :3].astype(np.float32)
    centred: F32 = positions - positions.mean(axis=0)
    return centred


def farthest_first(shape: F32) -> I64:
    """Each next point is the one farthest from all before it. shape: (points, coordinates)."""
    squares: F32 = (shape**2).sum(axis=1)
    distances: F32 = np.full(len(shape), np.inf, np.float32)
    point = int(squares.argmax())
    order = [point]
    for _ in range(len(shape) - 1):
        np.minimum(
            distances, squares - 2 * np.einsum("ij,j->i", shape, shape[point]) + squares[point], out=distances
        )
        distances[point] = -np.inf
        distances[order[-1]] = -np.inf
        point = int(distances.argmax())
        order.append(point)
    return np.array(order)


def _levels(vertices: int, joints: int) -> I64:
    ends = [vertices]
    while ends[-1] > 1:
        ends.append(ends[-1] // 2)
    return np.array([*reversed(ends), *([vertices + joints] if joints else [])])


def _nearest_earlier(shape: F32, level_ends: I64, width: int) -> I64:
    """(points, width) nearest points of earlier levels; the nearest again where there are not so many."""
    squares = (shape**2).sum(axis=1)
    neighbours = np.zeros((len(shape), width), np.int64)
    for start, end in pairwise(level_ends.tolist()):
        count = min(width, int(start))
        for at in range(start, end, _CHUNK_POINTS):
            chunk = slice(at, min(at + _CHUNK_POINTS, end))
            distances = squares[:start] - 2 * (shape[chunk] @ shape[:start].T)
            nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
            by_distance = np.argsort(np.take_along_axis(distances, nearest, 1), axis=1, kind="stable")
            nearest = np.take_along_axis(nearest, by_distance, 1)
            neighbours[chunk] = nearest[:, :1]
            neighbours[chunk, :count] = nearest
    return neighbours


# ---- weights ----


def _fit_weights(
    runs: Sequence[Run], order: I64, level_ends: I64, neighbours: I64, settings: FitSettings
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    positions = np.stack(
        [run[:, order, :3].transpose(1, 0, 2) for run in runs], axis=1
    )  # points, runs, meshes, 3
    now, ago1, ago2 = positions[:, :, 2:], positions[:, :, 1:-1], positions[:, :, :-2]
    samples = now[0].size
    points = len(order)
    weights = [
        np.zeros((points, taps(settings.now, settings.before, kind)), np.int16) for kind in (INTRA, INTER)
    ]
    for start, end in pairwise(level_ends.tolist()):
        own = [min(count, int(start)) for count in settings.now]
        past = [min(count, int(start)) for count in settings.before]
        for at in range(start, end, _CHUNK_POINTS):
            chunk = np.arange(at, min(at + _CHUNK_POINTS, end))
            near = neighbours[chunk]
            target = _from_base(now, chunk[:, None], near)[:, 0]
            intra = _from_base(now, near[:, 1 : max(own)], near)
            inter = [
                part
                for source, count in ((ago1, past[0]), (ago2, past[1]))
                for part in (
                    _from_base(source, chunk[:, None], near),
                    _from_base(source, near[:, 1:count], near),
                )
            ]
            everything = np.concatenate([intra[:, : own[1] - 1], *inter], axis=1)
            solved = _solve(intra[:, : own[0] - 1], target, samples)
            weights[INTRA][chunk] = _rounded([solved], [own[0]], [settings.now[0]])
            solved = _solve(everything, target, samples)
            split = np.cumsum([own[1] - 1, past[0]])
            parts = np.split(solved, split, axis=1)
            weights[INTER][chunk] = _rounded(parts, [own[1], *past], [settings.now[1], *settings.before])
    return weights[INTRA], weights[INTER]


def _from_base(source: npt.NDArray[np.int16], wanted: I64, near: I64) -> F32:
    """Points of a mesh as seen from the nearest neighbour: (chunk, wanted, samples)."""
    seen = source[wanted].astype(np.float32) - source[near[:, :1]].astype(np.float32)
    return seen.reshape(*wanted.shape, int(np.prod(source.shape[1:])))


def _solve(regressors: F32, target: F32, samples: int) -> npt.NDArray[np.float64]:
    count = regressors.shape[1]
    if not count:
        return np.zeros((len(target), 0))
    gram = np.zeros((len(target), count, count))
    right = np.zeros((len(target), count, 1))
    for first in range(0, samples, _BLAS_SAMPLES):
        part = regressors[:, :, first : first + _BLAS_SAMPLES]
        gram += part @ part.transpose(0, 2, 1)
        right += part @ target[:, first : first + _BLAS_SAMPLES, None]
    ridge = np.eye(count) * (_RIDGE * samples / 3 + 1e-3)
    return np.asarray(np.linalg.solve(gram + ridge, right)[..., 0], np.float64)


def _rounded(
    parts: Sequence[npt.NDArray[np.float64]], counts: Sequence[int], widths: Sequence[int]
) -> npt.NDArray[np.int16]:
    """Whole weights in the kernels' order, the first of each mesh such that its sum is 1, or 0.

    parts: of this mesh (without its first neighbour), then of each before it: itself, then its neighbours but
    the first. counts: neighbours in use; widths: neighbours there is room for.
    """
    whole = [
        np.rint(np.clip(part, -_LARGEST_WEIGHT, _LARGEST_WEIGHT) * _ONE).astype(np.int64) for part in parts
    ]
    rows = len(whole[0])
    result = np.zeros((rows, widths[0] + sum(1 + width for width in widths[1:])), np.int64)
    result[:, 0] = _ONE - whole[0].sum(axis=1)
    result[:, 1 : counts[0]] = whole[0]
    at = widths[0]
    for part, count, width in zip(whole[1:], counts[1:], widths[1:], strict=True):
        result[:, at] = part[:, 0]
        result[:, at + 1] = -part.sum(axis=1)
        result[:, at + 2 : at + 1 + count] = part[:, 1:]
        at += 1 + width
    wild = (np.abs(result) > 32767).any(axis=1)
    result[wild] = 0
    result[wild, 0] = _ONE
    return result.astype(np.int16)


# ---- classes ----


def _learn(
    model: AffineModel, runs: Sequence[Run], uncertainties: bool
) -> tuple[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], npt.NDArray[np.uint16]]:
    """Classes of the points, and how often each symbol comes in them."""
    points = aligned_points(sum(map(len, runs)), model.points)
    first = 0
    for run in runs:
        points[first : first + len(run)] = run[:, model.order].astype(np.int32).view(np.uint32)
        first += len(run)
    known = np.full(points.shape[:2], 3 if uncertainties else 1, np.uint8)
    classes = []
    counts = Counts(channels=4 if uncertainties else 3)
    for kind in (INTRA, INTER):
        segment = Segment(_refs(runs, kind), np.zeros((len(points), 2), np.int8), 4)
        coded = affine().predict(model, segment, points.copy(), known)
        used = (
            np.flatnonzero(segment.refs[:, 0] != segment.refs[:, 1]) if kind == INTER else range(len(points))
        )
        # Mesh by mesh: all of them in 64 bits would be the most that a writer ever holds.
        squares = np.zeros((model.points, 2))
        for mesh in used:
            codes = coded.codes[mesh].astype(np.int64)
            sizes = ((codes + 1) // 2).astype(np.float64) ** 2
            squares += np.stack([sizes[:, :3].sum(axis=1), sizes[:, 3]], axis=1)
        own = class_of(np.sqrt(squares / (len(used) * np.array([3, 1]))))
        for mesh in used:
            counts.add(own, coded.codes[mesh], coded.contexts[mesh])
        classes.append(own)
    return (classes[0], classes[1]), counts.frequencies()


def _refs(runs: Sequence[Run], kind: int) -> npt.NDArray[np.int32]:
    refs, first = [], 0
    for run in runs:
        for i in range(len(run)):
            refs.append((first + i - 1, first + max(i - 2, 0)) if kind == INTER and i else (-1, -1))
        first += len(run)
    return np.array(refs, np.int32)
