"""Pictures whose key points somebody has found before: SMPLify's files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from capture.fitting.jobs import Job
from capture.fitting.pictures import pictures_in, pictures_of_rows
from capture.keypoints import PersonKeypoints, Picture
from capture.keypoints.detection_files import Detections, read_detections
from codec.errors import ConfigError, StorageError

_LARGEST_BYTES = 1 << 24
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


def jobs_of(
    pictures: Sequence[Path], joints: Path, *, joint_set: str | None, genders: Path | None, gender: str
) -> list[Job]:
    """A job for each row of a file of key points, named by the row's number from 0: 0000, 0001 ...

    `pictures` are the pictures in the order of the rows, or one folder of them. Raises ConfigError where
    files do not fit together, and as `read_detections`.
    """
    found = read_detections(joints, joint_set=joint_set)
    if len(found) == 0:
        raise ConfigError(f"{joints} holds no pictures' key points")
    if len(pictures) == 1 and pictures[0].is_dir():
        paths = pictures_of_rows(pictures_in(pictures[0]), len(found))
    elif len(pictures) == len(found):
        paths = list(pictures)
    else:
        raise ConfigError(
            f"{joints} has key points of {len(found)} pictures, and {len(pictures)} are named:"
            " name their folder, or one for each row"
        )
    of_rows = [gender] * len(found) if genders is None else read_genders(genders, len(found))
    return [Job(f"{row:04d}", path, of_rows[row], _knows(found, row)) for row, path in enumerate(paths)]


def read_genders(path: Path, rows: int) -> list[str]:
    """lsp_gender.csv: a whole number a line, 0 a man's, others a woman's. Raises ConfigError or
    StorageError."""
    try:
        with path.open("rb") as file:
            lines = file.read(_LARGEST_BYTES).decode("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    told = [(number, line.strip().rstrip(",")) for number, line in enumerate(lines, start=1) if line.strip()]
    for number, line in told:
        if not _WHOLE_NUMBER.fullmatch(line):
            raise ConfigError(f"{path}, line {number}: {line[:40]!r} is no whole number (0 man, 1 woman)")
    if len(told) < rows:
        raise ConfigError(f"{path} has {len(told)} lines, and there are {rows} rows of key points")
    return ["male" if int(line) == 0 else "female" for _, line in told[:rows]]


def _knows(found: Detections, row: int) -> Callable[[Picture], list[PersonKeypoints]]:
    def people(_: Picture) -> list[PersonKeypoints]:
        persons = []
        for points, trust in zip(found.points_px[row], found.confidences[row], strict=True):
            # LSP's own files mark joints that are not there by NaN or numbers below zero.
            seen = np.isfinite(points).all(axis=1) & np.isfinite(trust) & (trust > 0)
            if seen.any():
                points, trust = np.where(seen[:, None], points, 0.0), np.where(seen, trust, 0.0)
                persons.append(PersonKeypoints(found.joint_set, points, np.minimum(trust, 1.0)))
        return persons

    return people
