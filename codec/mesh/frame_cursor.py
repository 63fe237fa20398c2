"""Any frame of a mesh file that can only be read from front to back; and when frames were.

The interface is that of codec.mesh.frame_index.FrameIndex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from codec.errors import NightrigError

TIME_KEY = "monotonic_ns"


class StreamDamagedError(Exception):
    """The file does not hold what it says; for the reader to find another way."""


def time_ns(stored: object) -> int | None:
    """When a frame was, by CLOCK_MONOTONIC, or None where it does not say."""
    at_ns = stored.get(TIME_KEY) if isinstance(stored, dict) else None
    if not isinstance(at_ns, int | np.integer) or isinstance(at_ns, bool) or abs(int(at_ns)) >= 2**62:
        return None
    return int(at_ns)


class FrameCursor:
    """Goes on from the frame it gave last, and begins again for an earlier one.

    `objects` begins to read the frames anew. Times are read once and kept: 16 bytes a frame.
    """

    def __init__(self, objects: Callable[[], Iterator[object]]) -> None:
        self._restart = objects
        self._rest = objects()
        self._number = -1
        self._object: object = None
        self._times: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def object_at(self, number: int) -> object:
        """The object of that frame. Raises StreamDamagedError where the file ends before it."""
        if number < self._number:
            self._rewind()
        try:
            while self._number < number:
                self._object = next(self._rest)
                self._number += 1
        except StopIteration:
            self._rewind()
            raise StreamDamagedError from None
        except NightrigError:
            self._rewind()
            raise
        return self._object

    def nearest(self, ns: int) -> object:
        """The object of the frame nearest to a time. Raises StreamDamagedError where none has a time."""
        if self._times is None:
            found = [(at, n) for n, at in enumerate(map(time_ns, self._restart())) if at is not None]
            table = np.array(found, np.int64).reshape(-1, 2)
            self._times = table[:, 0], table[:, 1]
        times, numbers = self._times
        if not len(times):
            raise StreamDamagedError
        return self.object_at(int(numbers[int(np.abs(times - ns).argmin())]))

    def _rewind(self) -> None:
        self._rest = self._restart()
        self._number, self._object = -1, None
