"""The files that a fit leaves, each with a mark in it that says that it is ours and how it was made.

    0000.pkl            SMPLify's: cam_t (3,), f (2,), pose (72,), betas (10,)
    0000.obj            the body's mesh
    0000_overlay.png    all bodies over the picture

Marks (capture/marks.py) are a comment in an OBJ file, a text chunk in a PNG file, bytes behind the end of a
pickle.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.keypoints import Picture
from capture.marks import where_marks_stand, write_marked_picture
from codec.durable import write_atomically
from codec.errors import StorageError
from codec.mesh.export import write_obj

_MARK: Final = "nightrig fit "
_DIGITS: Final = 12


class State(Enum):
    """What lies under a name."""

    MISSING = "missing"
    OURS = "ours"
    OF_OTHER_SETTINGS = "of other settings"
    FOREIGN = "foreign"


def digest_of(settings: Mapping[str, object]) -> str:
    """A short name for settings: results of the same settings have the same."""
    told = repr(sorted((key, str(value)) for key, value in settings.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]


def mark_of(stem: str, digest: str) -> str:
    """The mark of results of a picture whose results begin with `stem`: another picture's are not its own, as
    those of `a_person1.jpg` are not of `a.jpg`."""
    return f"{hashlib.sha256(stem.encode()).hexdigest()[:_DIGITS]} {digest}"


def state_of(path: Path, mark: str) -> State:
    """Raises StorageError where a file is there and cannot be read."""
    looked_at = where_marks_stand(path)
    if looked_at is None:
        return State.MISSING
    if (_MARK + mark).encode() in looked_at:
        return State.OURS
    of_this_picture = (_MARK + mark.split()[0] + " ").encode() in looked_at
    return State.OF_OTHER_SETTINGS if of_this_picture else State.FOREIGN


def write_parameters(path: Path, parameters: Mapping[str, npt.NDArray[np.float64]], mark: str) -> None:
    """A pickle of protocol 2 of plain arrays. Raises StorageError."""
    data = pickle.dumps({key: np.array(value) for key, value in parameters.items()}, protocol=2)
    # NumPy 2 moved its functions; every version finds them in their old place, also for old pickles.
    data = data.replace(b"cnumpy._core.", b"cnumpy.core.")
    write_atomically(path, data + f"\n{_MARK}{mark}\n".encode())


def write_mesh(
    path: Path, vertices_m: npt.NDArray[np.float32], faces: npt.NDArray[np.int32], mark: str
) -> None:
    """An OBJ file. Raises StorageError."""
    write_obj(path, vertices_m, faces, comment=_MARK + mark)


def write_picture(path: Path, picture_bgr: Picture, mark: str) -> None:
    """A PNG file. Raises StorageError."""
    write_marked_picture(path, picture_bgr, _MARK + mark)


def make_folder(path: Path) -> None:
    """Raises StorageError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise StorageError(f"{path} is a file; results go into a folder") from None
    except OSError as error:
        raise StorageError(f"cannot make the folder {path}: {error.strerror or error}") from error
