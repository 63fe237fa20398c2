"""What a D435 makes of true distances: a disparity lattice, correlated noise, and holes.

A D4xx measures disparity in 1/32 pixel and reports z = round(C / k) millimetres for a whole number k, with
C = fx * baseline * 32: a frame holds about a thousand different values and far away they lie centimetres
apart. The disparity noise (standard deviation 2.6/32 pixel) is smooth across the image and new in every
frame. Holes are where the second imager sees something else (to the left of near things and at the left
border), at sharp edges, and in flickering speckles. The figures are those measured on real D4xx
recordings; the tests hold this model against them.

Knows arrays only: 1/z in, z16 millimetres out.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Depth = npt.NDArray[np.uint16]

BASELINE_MM: Final = 50.0
SUBPIXELS: Final = 32
LARGEST_DISPARITY_PX: Final = 126

_NOISE_SD: Final = 2.6  # 1/32 px
_JITTER_SD: Final = 0.24  # 1/32 px, independent from pixel to pixel
_NOISE_SIGMA_PX: Final = (6.0, 4.5)
_RELIEF_SD: Final = 1.2  # 1/32 px: calibration ripple that stays the same in every frame
_EDGE: Final = 120.0  # Sobel response in 1/32 px above which matching often fails
_LEFT_BAND: Final = 0.045  # of the width
_SPECKLE_SD: Final = 3.3
_EDGE_HOLE_SD: Final = 0.3
_LEFT_HOLE_SD: Final = -2.2


class StereoNoise:
    """One simulated depth imager looking at a fixed background with something moving in front of it."""

    def __init__(self, background_inverse_z: Float32, fx: float, seed: int) -> None:
        import cv2

        height, width = background_inverse_z.shape
        self._rng = np.random.default_rng([seed, width, height])
        c_mm = fx * BASELINE_MM * SUBPIXELS
        # The relief is left out of the moving things; it belongs to the imager's view of the room.
        self._disparity_per_inverse_z = np.float32(c_mm / 1000.0)
        relief = self._field((height, width), (width / 24, height / 24)) * np.float32(_RELIEF_SD)
        self._sharp = background_inverse_z * self._disparity_per_inverse_z + relief
        self._lattice = lattice_table(c_mm)
        # The largest shift of anything, to know how far to the right an occluder can stand.
        self._reach = int(self._sharp.max() / SUBPIXELS) + 2
        self._background = cv2.medianBlur(self._sharp, 5)
        weak = np.clip((self._texture((height, width)) - 0.92) * 6.0, 0.0, 1.0)
        self._speckle_bar = (_SPECKLE_SD - 4.0 * weak).astype(np.float32)
        self._speckle_bar[:, : int(width * _LEFT_BAND)] = _LEFT_HOLE_SD
        self._bar = self._hole_bar(self._background, slice(0, height), slice(0, width))
        pool = (height + height // 2, width + width // 2)
        self._noise_pool = self._make_noise_pool(pool)
        self._speckle_pool = _unit(cv2.boxFilter(self._rng.standard_normal(pool, np.float32), -1, (9, 5)))

    def measure(self, pixel: npt.NDArray[np.intp], inverse_z: Float32) -> Depth:
        """A new frame: the background, and at the flat indices `pixel` something at `inverse_z`."""
        disparity = self._background
        bar = self._bar
        if len(pixel):
            disparity, bar = disparity.copy(), bar.copy()
            self._put_in_front(disparity, bar, pixel, inverse_z)
        noisy = disparity + self._crop(self._noise_pool)
        noisy += self._crop(self._noise_pool)
        # Rounded by adding a half and cutting; anything beyond the table's ends reads 0.
        k = np.clip(noisy + np.float32(0.5), 0.0, len(self._lattice) - 1.0).astype(np.uint16)
        depth: Depth = self._lattice[k]
        depth[self._crop(self._speckle_pool) > bar] = 0
        return depth

    def _put_in_front(
        self, disparity: Float32, bar: Float32, pixel: npt.NDArray[np.intp], inverse_z: Float32
    ) -> None:
        """Redo the matching around what moves, in place."""
        import cv2

        height, width = disparity.shape
        row, column = np.divmod(pixel, width)
        nearest = int(float(inverse_z.max()) * float(self._disparity_per_inverse_z) / SUBPIXELS) + 8
        rows = slice(max(0, int(row.min()) - 4), min(height, int(row.max()) + 5))
        columns = slice(max(0, int(column.min()) - nearest), min(width, int(column.max()) + 8))
        # Shadows inside the window are cast by what stands up to `reach` to the right of it.
        wide = slice(columns.start, min(width, columns.stop + self._reach))
        sharp = self._sharp[rows, wide].copy()
        seen = inverse_z * self._disparity_per_inverse_z
        inside = seen > sharp[row - rows.start, column - wide.start]
        sharp[row[inside] - rows.start, column[inside] - wide.start] = seen[inside]
        matched = cv2.medianBlur(sharp, 5)
        bars = self._hole_bar(matched, rows, wide)
        kept = columns.stop - columns.start
        disparity[rows, columns] = matched[:, :kept]
        bar[rows, columns] = bars[:, :kept]

    def _hole_bar(self, disparity: Float32, rows: slice, columns: slice) -> Float32:
        """Above which value of the flickering field a pixel is a hole; minus infinity: always."""
        import cv2

        slope = np.abs(cv2.Sobel(disparity, cv2.CV_32F, 1, 0, ksize=3))
        slope += np.abs(cv2.Sobel(disparity, cv2.CV_32F, 0, 1, ksize=3))
        bar: Float32 = self._speckle_bar[rows, columns].copy()
        edge = cv2.dilate(slope, np.ones((3, 3), np.uint8)) > _EDGE
        bar[edge] = np.minimum(bar[edge], _EDGE_HOLE_SD)
        # Where the right imager sees each pixel. It is hidden if something further right in our image lies
        # further left in the other one.
        other = np.arange(disparity.shape[1], dtype=np.float32) - disparity / SUBPIXELS
        hidden_by = np.minimum.accumulate(other[:, ::-1], axis=1)[:, ::-1]
        bar[:, :-1][other[:, :-1] > hidden_by[:, 1:] + 0.5] = -np.inf
        return bar

    def _make_noise_pool(self, shape: tuple[int, int]) -> Float32:
        """A field larger than the image. A frame's noise is the sum of two random cuts, so that no frame
        repeats another one and none costs a blur."""
        field = self._field(shape, (_NOISE_SIGMA_PX[0], _NOISE_SIGMA_PX[1])) * np.float32(_NOISE_SD)
        field += self._rng.standard_normal(shape, np.float32) * np.float32(_JITTER_SD)
        return field * np.float32(np.sqrt(0.5))

    def _field(self, shape: tuple[int, int], sigma: tuple[float, float]) -> Float32:
        """A smooth random field with mean 0 and standard deviation 1, made small and enlarged."""
        import cv2

        # The small field's own blur is one pixel and a half: smooth enough to enlarge.
        rows, columns = (int(np.ceil(n * 1.5 / s)) + 8 for n, s in zip(shape, reversed(sigma), strict=True))
        small = cv2.GaussianBlur(self._rng.standard_normal((rows, columns), np.float32), (0, 0), 1.5)
        height, width = shape
        scale = (1.5 / sigma[0], 1.5 / sigma[1])
        warp = np.array([[scale[0], 0.0, 4.0], [0.0, scale[1], 4.0]], np.float32)
        large = cv2.warpAffine(small, warp, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        return _unit(large)

    def _texture(self, shape: tuple[int, int]) -> Float32:
        """How hard each place is to match, 0 to 1, in patches of about 60 pixels."""
        import cv2

        height, width = shape
        patches = self._rng.random((height // 60 + 2, width // 60 + 2), np.float32)
        large: Float32 = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
        return large

    def _crop(self, pool: Float32) -> Float32:
        """A random cut of a pool, as large as the image, in one of four mirrorings; a view."""
        height, width = self._background.shape
        top = int(self._rng.integers(pool.shape[0] - height + 1))
        left = int(self._rng.integers(pool.shape[1] - width + 1))
        flip = int(self._rng.integers(4))
        return pool[top : top + height, left : left + width][:: 1 - 2 * (flip & 1), :: 1 - (flip & 2)]


def lattice_table(c_mm: float) -> Depth:
    """z16 in millimetres for every disparity in 1/32 px; 0 where the camera reports nothing."""
    k = np.arange(LARGEST_DISPARITY_PX * SUBPIXELS + 1, dtype=np.float64)
    k[0] = np.inf
    z = np.rint(c_mm / k)
    z[:4] = 0
    z[-1] = 0
    z[z > 65535] = 0
    return z.astype(np.uint16)


def _unit(field: Float32) -> Float32:
    """Scaled to mean 0 and standard deviation 1."""
    centred = field - field.mean()
    scaled: Float32 = centred / centred.std()
    return scaled
