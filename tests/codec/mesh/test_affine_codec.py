"""The affine codec: kernel and twin are one, every number comes back, and no bytes do harm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from moving_bodies import moving_bodies

from codec.errors import FormatError
from codec.mesh._affine_fit import FitSettings, fit_model
from codec.mesh._affine_model import AffineModel, read_model
from codec.mesh._affine_tables import costs_of
from codec.mesh._affine_twin import Coded, Segment, TwinAffine
from codec.mesh._mesh_native import NativeAffine, aligned_points, kernels

POINTS, JOINTS, MESHES = 150, 6, 9
SETTINGS = FitSettings(now=(5, 7), before=(6, 3))


@lru_cache(maxsize=1)
def small_model() -> AffineModel:
    bodies = np.rint(2 * moving_bodies(96, points=POINTS + JOINTS)[:, 0]).astype(np.int64)
    local = np.zeros((96, POINTS + JOINTS, 4), np.int16)
    local[..., :3] = bodies - bodies[:, :1].mean(axis=1, keepdims=True).astype(np.int64)
    local[..., 3] = 40 + bodies[..., 0] % 7
    return fit_model(np.split(local, 8), joints=JOINTS, uncertainties=True, settings=SETTINGS)


def bodies_on_the_grid(seed: int = 1) -> npt.NDArray[np.uint32]:
    points = aligned_points(MESHES, POINTS + JOINTS)
    steps = np.rint(2 * moving_bodies(MESHES, points=POINTS + JOINTS, seed=seed)[:, 0]).astype(np.int32)
    points[..., :3] = steps.view(np.uint32)
    points[..., 3] = 40 + (steps[..., 1] % 5).astype(np.uint32)
    return np.ascontiguousarray(points[:, small_model().order])


def noise(seed: int) -> npt.NDArray[np.uint32]:
    """Any 32 bits whatever: sums wrap all the time."""
    random = np.random.default_rng(seed)
    return random.integers(0, 2**32, (MESHES, POINTS + JOINTS, 4), np.uint32)


REFS = np.array([[-1, -1], [0, 0], [1, 0], [-1, -1], [2, 1], [3, 3], [5, 3], [4, 0], [7, 7]], np.int32)
PICTURES = {"bodies": bodies_on_the_grid, "noise": noise, "zeros": lambda _: np.zeros_like(noise(0))}


def codecs() -> list[NativeAffine | TwinAffine]:
    return [TwinAffine(), *([NativeAffine(kernels)] if kernels is not None else [])]


def encoded(
    codec: NativeAffine | TwinAffine,
    points: npt.NDArray[np.uint32],
    channels: int,
    known: npt.NDArray[np.uint8],
) -> tuple[Segment, bytes, Coded]:
    model = small_model()
    blank = Segment(REFS, np.zeros((MESHES, 2), np.int8), channels)
    coded = codec.predict(model, blank, points, known)
    shifts = codec.choose_shifts(model, channels, coded, costs_of(model.sums))
    segment = Segment(REFS, shifts, channels)
    return segment, codec.encode(model, segment, coded), coded


@pytest.mark.skipif(kernels is None, reason="the kernels were not built")
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("picture", PICTURES)
def test_kernel_and_twin_give_the_same_bytes_and_numbers(picture: str, channels: int) -> None:
    known = np.random.default_rng(5).integers(0, 4, (MESHES, POINTS + JOINTS)).astype(np.uint8)
    results = []
    for codec in codecs():
        points = PICTURES[picture](3).copy()
        segment, data, coded = encoded(codec, points, channels, known)
        back = codec.decode(small_model(), segment, data)
        results.append((points, segment.shifts, data, coded.codes[..., :channels], back))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(
            np.frombuffer(one, np.uint8) if isinstance(one, bytes) else one,
            np.frombuffer(other, np.uint8) if isinstance(other, bytes) else other,
        )


@pytest.mark.parametrize("codec", codecs(), ids=lambda codec: type(codec).__name__)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("picture", PICTURES)
def test_every_number_comes_back(codec: NativeAffine | TwinAffine, picture: str, channels: int) -> None:
    points = PICTURES[picture](4).copy()
    known = np.full(points.shape[:2], 3, np.uint8)
    segment, data, _ = encoded(codec, points.copy(), channels, known)
    back = codec.decode(small_model(), segment, data)
    np.testing.assert_array_equal(back[..., :channels], points[..., :channels])
    assert not back[..., channels:].any()


def test_bodies_take_a_fraction_of_what_noise_takes() -> None:
    known = np.full((MESHES, POINTS + JOINTS), 3, np.uint8)
    small, large = (
        len(encoded(codecs()[-1], PICTURES[name](1).copy(), 3, known)[1]) for name in ("bodies", "noise")
    )
    assert small < large / 4


@pytest.mark.parametrize("codec", codecs(), ids=lambda codec: type(codec).__name__)
def test_damaged_bytes_are_refused_or_read_within_bounds(codec: NativeAffine | TwinAffine) -> None:
    points = bodies_on_the_grid()
    known = np.full(points.shape[:2], 3, np.uint8)
    segment, data, _ = encoded(codec, points, 4, known)
    random = np.random.default_rng(8)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), random.integers(1, 4)):
            damaged[at] ^= 1 << int(random.integers(8))
        try:
            codec.decode(small_model(), segment, bytes(damaged))
        except FormatError:
            refused += 1
    assert refused >= 58  # the states at the end nearly always tell
    for length in [0, 3, 511, 512, len(data) - 2, len(data) - 1]:
        with pytest.raises(FormatError):
            codec.decode(small_model(), segment, data[:length])
    with pytest.raises(FormatError):
        codec.decode(small_model(), segment, data + b"\0\0")


@pytest.mark.parametrize("refs", [[0, 0], [5, 5], [-1, 0], [0, -1], [-2, -2]])
def test_kernel_is_given_no_meshes_that_come_later(refs: list[int]) -> None:
    if kernels is None:
        pytest.skip("the kernels were not built")
    bad = np.array([refs, [-1, -1]], np.int32)
    segment = Segment(bad, np.zeros((2, 2), np.int8), 3)
    with pytest.raises(FormatError, match="come later"):
        NativeAffine(kernels).decode(small_model(), segment, b"\0" * 1000)


def test_model_is_the_same_behind_a_file() -> None:
    model = small_model()
    again = read_model(model.content)
    assert isinstance(again, AffineModel)
    assert (again.name, again.now, again.before) == (model.name, SETTINGS.now, SETTINGS.before)
    for kind in range(2):
        np.testing.assert_array_equal(again.weights[kind], model.weights[kind])
    inner = model.weights[0][2:].astype(int)
    np.testing.assert_array_equal(inner.sum(axis=1), 4096)  # moving the body changes nothing


def test_damaged_models_are_refused() -> None:
    content = small_model().content
    for length in (0, 15, 16, 40, len(content) - 1):
        with pytest.raises(FormatError):
            read_model(content[:length])
    random = np.random.default_rng(2)
    for _ in range(80):
        damaged = bytearray(content)
        damaged[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        try:
            model = read_model(bytes(damaged))
        except FormatError:
            continue
        assert model.points == POINTS + JOINTS  # a flip that xz does not check: in its padding or header
