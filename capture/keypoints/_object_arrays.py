"""Detections that lie in arrays of Python objects, as plain arrays: Detectron's and VideoPose3D's files.

Such arrays are pickles, and read as data (`capture.body.unpickling`): nothing of them is ever run.

    keypoints       a list of pictures, each [nothing, (people, 4, joints)], as Detectron's inference has them
    positions_2d    {video: {action: [(pictures, joints, 2)]}}, as VideoPose3D prepares them
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from capture.body.unpickling import load_objects
from codec.errors import FormatError, NotOurFileError

Array = npt.NDArray[Any]

_MOST_NUMBERS: Final = 1 << 27


def detections_in(path: Path, key: str, file: BinaryIO, size_bytes: int) -> Array | None:
    """(pictures, people, 4, joints) or (pictures, joints, 2) of the .npy file that begins here; NaN: nobody.

    None where it holds no Python objects. Raises NotOurFileError, naming file and key, and ValueError where
    it is no .npy file.
    """
    if not _header(file).hasobject:
        return None
    try:
        value = load_objects(file, size_bytes, f"{path}: {key}")
    except FormatError as error:
        raise NotOurFileError(str(error)) from None
    return _of_video(path, key, value) if isinstance(value, dict) else _of_pictures(path, key, value)


def _header(file: BinaryIO) -> np.dtype[Any]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)[2]
    return np.lib.format.read_array_header_2_0(file)[2]


def _of_pictures(path: Path, key: str, value: object) -> Array:
    expected = "a list of pictures, each [nothing, (people, 4, joints)]"
    if not isinstance(value, list) or not value:
        raise NotOurFileError(f"{path}: {key} holds a {type(value).__name__}, not {expected}")
    found: list[Array | None] = []
    for number, picture in enumerate(value):
        is_pair = isinstance(picture, list | tuple) and len(picture) == 2
        of_people = picture[1] if is_pair else picture
        if isinstance(of_people, list | np.ndarray) and len(of_people) == 0:
            found.append(None)
        elif isinstance(of_people, np.ndarray) and of_people.ndim == 3 and of_people.dtype.kind in "fiu":
            found.append(of_people)
        else:
            what = getattr(of_people, "shape", type(of_people).__name__)
            raise NotOurFileError(f"{path}: picture {number} of {key} is {what}; expected {expected}")
    shapes = {each.shape[1:] for each in found if each is not None}
    if len(shapes) != 1:
        told = " and ".join(sorted(map(str, shapes))) or "nobody at all"
        raise NotOurFileError(f"{path}: the people of {key} are {told}; expected {expected}")
    most = max(len(each) for each in found if each is not None)
    shape = (len(found), most, *shapes.pop())
    if np.prod(shape, dtype=np.float64) > _MOST_NUMBERS:
        raise NotOurFileError(f"{path}: {key} would take {shape} numbers, which no detections do")
    out = np.full(shape, np.nan)
    for number, each in enumerate(found):
        if each is not None:
            out[number, : len(each)] = each
    return out


def _of_video(path: Path, key: str, value: dict[Any, Any]) -> Array:
    videos: list[tuple[str, Array]] = []
    for video, actions in value.items():
        for action, cameras in actions.items() if isinstance(actions, dict) else ():
            for camera, points in enumerate(cameras if isinstance(cameras, list | tuple) else ()):
                if isinstance(points, np.ndarray) and points.ndim == 3 and points.dtype.kind in "fiu":
                    videos.append((f"{video}/{action}/{camera}", points))
    if not videos:
        raise NotOurFileError(f"{path}: {key} holds no {{video: {{action: [(pictures, joints, 2)]}}}}")
    if len(videos) > 1:
        names = ", ".join(name for name, _ in videos[:5])
        raise NotOurFileError(
            f"{path}: {key} holds {len(videos)} videos ({names} ...); a file of one is read"
        )
    return videos[0][1]
