"""Detections of OpenPose: a folder with one `NAME_000000000012_keypoints.json` per picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from capture.keypoints import PersonKeypoints, seen_person
from capture.keypoints.joint_sets import joint_set
from codec.errors import NotOurFileError, StorageError

_NAME: Final = re.compile(r"(\d+)_keypoints\.json$")
_JOINT_SET: Final = "body25"
_LARGEST_BYTES: Final = 16 << 20


class OpenPoseFolder:
    """The files of a folder by the numbers of their pictures; each is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises StorageError, and NotOurFileError where there is no such file in it."""
        try:
            names = [(path, _NAME.search(path.name)) for path in folder.iterdir()]
        except OSError as error:
            raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error
        self._files = {int(match[1]): path for path, match in names if match}
        if not self._files:
            raise NotOurFileError(f"{folder} has no file NAME_NUMBER_keypoints.json, as OpenPose writes them")

    def __len__(self) -> int:
        """One more than the last picture's number."""
        return max(self._files) + 1

    def people(self, number: int) -> list[PersonKeypoints]:
        """Who is in a picture; [] for one without a file. Raises StorageError and NotOurFileError."""
        path = self._files.get(number)
        if path is None:
            return []
        try:
            if path.stat().st_size > _LARGEST_BYTES:
                raise NotOurFileError(f"{path} is larger than 16 MiB, which no file of key points is")
            told = json.loads(path.read_bytes())
            rows = [_rows(person["pose_keypoints_2d"]) for person in told["people"]]
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NotOurFileError(f"{path} is no key point file of OpenPose's BODY_25: {error}") from error
        people = [seen_person(_JOINT_SET, each[:, :2], each[:, 2]) for each in rows if each.size]
        return [person for person in people if person is not None]


def _rows(numbers: Any) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(25, 3) of x, y, confidence; (0, 3) where somebody has no joints. Raises ValueError."""
    values = np.asarray(numbers, dtype=np.float64)
    count = len(joint_set(_JOINT_SET).joints)
    if values.shape not in ((0,), (3 * count,)):
        raise ValueError(f"somebody has {values.size} numbers, not {3 * count}")
    return values.reshape(-1, 3)
