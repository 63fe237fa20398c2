"""In place of RTMPose: finds one person in each box, or in the whole picture the largest, of people it knows.

Only those are found who are on the picture that it is given: blackened ones are not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from capture.keypoints import PersonKeypoints

MARGIN = 1.25
Points = npt.NDArray[np.float64]


class OnePersonNetwork:
    """`people` says where everybody is at a time: (14, 2) pixels each. `runs` counts pictures looked at."""

    def __init__(self, people: Callable[[float], list[Points]]) -> None:
        self._people = people
        self.runs: list[str] = []
        self.boxes: list[tuple[float, ...]] = []
        self.noise_px = 1.0
        self._random = np.random.default_rng(1)

    def detect(
        self,
        image_bgr: npt.NDArray[np.uint8],
        *,
        time_s: float,
        boxes_px: npt.ArrayLike | None = None,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        there = [points for points in self._people(time_s) if _visible_share(image_bgr, points) > 0.6]
        if boxes_px is None:
            self.runs.append("whole")
            largest = max(there, key=lambda points: float(np.ptp(points[:, 1])), default=None)
            return [] if largest is None else [self._found(largest, None)]
        found = []
        for index, box in enumerate(np.reshape(boxes_px, (-1, 4))):
            self.runs.append("box")
            self.boxes.append(tuple(box))
            middle, half = (box[:2] + box[2:]) / 2, MARGIN * (box[2:] - box[:2]) / 2
            inside = [
                points for points in there if (np.abs(points - middle) <= half).all(axis=1).mean() > 0.6
            ]
            inside.sort(key=lambda points: float(np.linalg.norm(points.mean(axis=0) - middle)))
            found += [self._found(points, index) for points in inside[:1]]
        return found

    def _found(self, points: Points, index: int | None) -> PersonKeypoints:
        noisy = points + self.noise_px * self._random.normal(size=points.shape)
        return PersonKeypoints("lsp14", noisy, np.full(len(points), 0.9), box_index=index)

    def close(self) -> None:
        """Nothing was taken."""


def _visible_share(picture: npt.NDArray[np.uint8], points: Points) -> float:
    height, width = picture.shape[:2]
    column, row = np.rint(points).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = picture[row[inside], column[inside]].reshape(int(inside.sum()), -1).any(axis=1)
    return float(seen.sum()) / len(points)
