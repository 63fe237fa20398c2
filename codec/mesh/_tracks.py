"""Who is who from one frame to the next: the meshes that a mesh is predicted from.

People may come, go and change places in the array. Knows centres, not shapes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_NEAR_MM = 400.0
"""Further than this nobody moves from one frame to the next; a mesh that is further away is somebody else."""
_REMEMBERED_FRAMES = 30
_MAX_PAIRS = 1 << 18
"""More pairs than of five hundred people are no people: matching them would take gigabytes and minutes."""


class Tracks:
    """The people of a segment, frame by frame."""

    def __init__(self, steps_per_mm: float) -> None:
        self._near = _NEAR_MM * steps_per_mm
        self._frame = 0
        # Each track: centre, newest mesh, the one before it, frame it was seen in.
        self._centres = np.zeros((0, 3))
        self._meshes = np.zeros((0, 2), np.int64)
        self._seen = np.zeros(0, np.int64)

    def take(self, first: int, centres: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """The refs of the meshes `first`, `first + 1`, ... of the next frame, whose centres these are."""
        self._frame += 1
        count = len(centres)
        refs = np.full((count, 2), -1, np.int32)
        newest = self._seen == self._frame - 1
        if count == np.count_nonzero(newest) == len(newest) and self._all_near(centres):
            tracks = np.arange(count)
        else:
            tracks = self._match(centres)
        known = tracks >= 0
        refs[known] = self._meshes[tracks[known]]
        meshes = np.arange(first, first + count)
        before = np.where(known, refs[:, 0], meshes)
        self._forget(tracks[known])
        self._centres = np.concatenate([centres, self._centres])
        self._meshes = np.concatenate([np.stack([meshes, before], axis=1), self._meshes])
        self._seen = np.concatenate([np.full(count, self._frame), self._seen])
        return refs

    def _all_near(self, centres: npt.NDArray[np.float64]) -> bool:
        return bool((np.linalg.norm(centres - self._centres, axis=1) < self._near).all())

    def _match(self, centres: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """For each mesh its track, or -1; the nearest pairs first."""
        tracks = np.full(len(centres), -1)
        if not len(self._centres) or not len(centres):
            return tracks
        if len(self._centres) * len(centres) > _MAX_PAIRS:
            return self._by_place(centres)
        distances = np.linalg.norm(centres[:, None] - self._centres[None], axis=2)
        distances[:, self._frame - self._seen > _REMEMBERED_FRAMES] = np.inf
        for _ in range(min(distances.shape)):
            mesh, track = np.unravel_index(int(distances.argmin()), distances.shape)
            if not distances[mesh, track] < self._near * (self._frame - self._seen[track]):
                break
            tracks[mesh] = track
            distances[mesh], distances[:, track] = np.inf, np.inf
        return tracks

    def _by_place(self, centres: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Who stands at the same place of the array, where that one is near."""
        count = min(len(centres), len(self._centres))
        near = np.linalg.norm(centres[:count] - self._centres[:count], axis=1) < self._near
        tracks = np.full(len(centres), -1)
        tracks[:count] = np.where(near, np.arange(count), -1)
        return tracks

    def _forget(self, tracks: npt.NDArray[np.int64]) -> None:
        kept = self._frame - self._seen <= _REMEMBERED_FRAMES
        kept[tracks] = False
        kept[_MAX_PAIRS:] = False
        self._centres, self._meshes, self._seen = self._centres[kept], self._meshes[kept], self._seen[kept]
