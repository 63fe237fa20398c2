"""What several cameras saw of a board: found in folders of pictures, or in a recording.

From a recording, pictures taken at the same moment belong together; from folders, those of the same name,
where whoever took them says so. Searching a picture takes tens of milliseconds: a recording is looked at a
few times a second, and of what is found a few dozen sightings that differ are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.calibration.boards import Board, Picture, Sighting
from capture.frames import Intrinsics, StreamInfo
from capture.recording import RecordedStream, Recording
from codec.errors import CalibrationError, ConfigError

Float64 = npt.NDArray[np.float64]
Tell = Callable[[int], None]
"""Called with how many pictures more were looked at."""

MOST_VIEWS: Final = 40
_SAME_MOMENT_S: Final = 0.02
_STILL_PX: Final = 3.0
_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_PREFERRED: Final = ("color", "infrared1", "infrared2")


@dataclass(slots=True, eq=False)
class CameraViews:
    """What one camera saw: `sightings` by moment, in pictures of `size` (width, height).

    factory_lens: what the camera itself knows; rig_lens: what a rig file says, which may be wrong.
    """

    name: str
    size: tuple[int, int]
    sightings: dict[str, Sighting] = field(default_factory=dict)
    factory_lens: Intrinsics | None = None
    rig_lens: Intrinsics | None = None
    looked_at: int = 0
    example: Picture | None = None

    def spread(self, most: int = MOST_VIEWS) -> list[str]:
        """Up to `most` moments at which the board had moved, and whose sightings differ from each other as
        much as can be."""
        names = list(self.sightings)
        names = [names[i] for i in _moved([{self.name: seen} for seen in self.sightings.values()])]
        if len(names) <= most:
            return names
        features = np.array([_features(self.sightings[name], self.size) for name in names])
        chosen = [0]
        distance = np.linalg.norm(features - features[0], axis=1)
        while len(chosen) < most:
            chosen.append(int(np.argmax(distance)))
            distance = np.minimum(distance, np.linalg.norm(features - features[chosen[-1]], axis=1))
        return [names[i] for i in sorted(chosen)]


def _features(seen: Sighting, size: tuple[int, int]) -> Float64:
    """Where in the picture, how large and how tilted, each about 0 to 1."""
    span = seen.pixels.max(0) - seen.pixels.min(0)
    centre = seen.pixels.mean(0) / np.array(size)
    covariance = np.cov((seen.pixels / max(size)).T)
    return np.array([*centre, *(span / np.array(size)), *(4.0 * covariance.ravel()[[0, 1, 3]])])


def views_in_folder(name: str, folder: Path, board: Board, tell: Tell) -> CameraViews:
    """The board in every picture of a folder. Raises ConfigError and CalibrationError."""
    pictures = list_pictures(folder)
    views: CameraViews | None = None
    for path in pictures:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        tell(1)
        if picture is None:
            raise CalibrationError(f"{path} is no picture that OpenCV reads; take it out of the folder")
        size = (picture.shape[1], picture.shape[0])
        if views is None:
            views = CameraViews(name, size)
        elif size != views.size:
            raise CalibrationError(
                f"{path} has {size[0]}x{size[1]} pixels, those before it {views.size[0]}x{views.size[1]};"
                " a lens is calibrated at one size"
            )
        _look(views, path.stem, np.asarray(picture, np.uint8), board)
    assert views is not None  # list_pictures does not return an empty list
    return views


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in order of their names. Raises ConfigError where there are none."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror}") from error
    if not found:
        raise ConfigError(f"{folder} has no pictures ({', '.join(_SUFFIXES)})")
    return found


class RecordingViews:
    """The board in a recording, looked at every `every_s` seconds."""

    def __init__(self, recording: Recording, board: Board, *, every_s: float = 0.5) -> None:
        """Raises ConfigError where no camera has colour or infrared pictures."""
        self._board = board
        self._streams = _one_stream_a_camera(recording)
        if not self._streams:
            raise ConfigError(f"{recording.path} has no colour or infrared pictures to look for a board in")
        self._step_ns = round(every_s * 1e9)
        self._begin_ns = min(stream.first_ns for stream in self._streams.values())
        self._end_ns = max(stream.last_ns for stream in self._streams.values())

    def __len__(self) -> int:
        """How many pictures will be looked at, at most."""
        return len(self._streams) * (1 + (self._end_ns - self._begin_ns) // self._step_ns)

    def find(self, tell: Tell) -> list[CameraViews]:
        """Look at all of them."""
        views = {name: _views_of(name, stream.info) for name, stream in self._streams.items()}
        for at_ns in range(self._begin_ns, self._end_ns + 1, self._step_ns):
            for name, picture in self._at(at_ns):
                tell(1)
                if picture is not None:
                    _look(views[name], str(at_ns), picture, self._board)
        return list(views.values())

    def _at(self, at_ns: int) -> Iterator[tuple[str, Picture | None]]:
        for name, stream in self._streams.items():
            index = stream.index_at(at_ns + round(_SAME_MOMENT_S * 1e9))
            if index < 0 or abs(stream.time_ns(index) - at_ns) > round(2 * _SAME_MOMENT_S * 1e9):
                yield name, None
                continue
            frame = next((frame for _, frame in stream.frames([index])), None)
            yield name, None if frame is None else np.asarray(frame.data, np.uint8)


def _one_stream_a_camera(recording: Recording) -> dict[str, RecordedStream]:
    chosen: dict[str, RecordedStream] = {}
    for wanted in _PREFERRED:
        for stream in recording.streams.values():
            camera, _, name = stream.name.rpartition("/")
            if name == wanted and camera not in chosen and len(stream) and not stream.is_estimate:
                chosen[camera] = stream
    return chosen


def _views_of(name: str, stream: StreamInfo) -> CameraViews:
    views = CameraViews(name, (stream.width, stream.height))
    if stream.intrinsics_from_rig:
        views.rig_lens = stream.intrinsics
    else:
        views.factory_lens = stream.intrinsics
    return views


def _look(views: CameraViews, moment: str, picture: Picture, board: Board) -> None:
    views.looked_at += 1
    seen = board.find(picture)
    if seen is not None:
        views.sightings[moment] = seen
        if views.example is None:
            views.example = picture


def moments_together(views: Sequence[CameraViews]) -> list[dict[str, Sighting]]:
    """What the cameras saw at each moment at which two or more saw the board."""
    names = sorted({moment for camera in views for moment in camera.sightings})
    together = (
        {camera.name: camera.sightings[name] for camera in views if name in camera.sightings}
        for name in names
    )
    return [moment for moment in together if len(moment) >= 2]


def without_repeats(moments: Sequence[Mapping[str, Sighting]]) -> list[Mapping[str, Sighting]]:
    """Those at which the board had moved since the one before: a board that lies still says nothing new."""
    return [moments[i] for i in _moved(moments)]


def _moved(moments: Sequence[Mapping[str, Sighting]]) -> list[int]:
    """Of each time that the board lay still, the moment at which most corners were seen."""
    kept: list[int] = []
    for i, moment in enumerate(moments):
        if not kept or _shift_px(moments[kept[-1]], moment) > _STILL_PX:
            kept.append(i)
        elif _corners(moment) > _corners(moments[kept[-1]]):
            kept[-1] = i
    return kept


def _corners(moment: Mapping[str, Sighting]) -> int:
    return sum(map(len, moment.values()))


def _shift_px(before: Mapping[str, Sighting], now: Mapping[str, Sighting]) -> float:
    """How far the corners that were seen both times moved, in the camera in which it is most."""
    shifts = [0.0]
    for name, seen in now.items():
        old = before.get(name)
        both, old_at, at = np.intersect1d([] if old is None else old.ids, seen.ids, return_indices=True)
        if old is None or not len(both):
            return np.inf
        shifts.append(float(np.linalg.norm(old.pixels[old_at] - seen.pixels[at], axis=1).mean()))
    return max(shifts)
