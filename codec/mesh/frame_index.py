"""Which frame of a mesh file lies where: for files of ours, whose .xz streams stand each for itself.

Owns an index in memory that grows with use. Where the streams begin is read from their footers, back to
front, without decompressing any; how many frames precede a stream is known from the header for a few, and
learned for the others as they are decompressed on the way to a frame.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence

from codec.mesh.bodycompress_format import SeekPoint
from codec.mesh.frame_cursor import StreamDamagedError, time_ns
from codec.mesh.xz_streams import FOOTER_BYTES, HEADER_BYTES, xz_footer

# A second of frames each, as Python objects.
_STREAMS_KEPT = 2
# An index of one block takes 8 to 24 bytes; a file may have others, but none of ours does.
_INDEX_BYTES_MAX = 64


class FrameIndex:
    """Finds frames by number or time. `read_stream` gives all objects of the stream that begins there."""

    def __init__(
        self,
        starts: Sequence[int],
        *,
        length: int,
        seek: Sequence[SeekPoint],
        read_stream: Callable[[int], list[object]],
    ) -> None:
        self._starts = starts
        self._read_stream = read_stream
        self._kept: OrderedDict[int, list[object]] = OrderedDict()
        # Streams whose first frame's number is known, in order, and these numbers.
        self._known, self._firsts = [0], [0]
        places = {start: place for place, start in enumerate(starts)}
        for point in seek:
            place = places.get(point.offset)
            if place is not None and place > self._known[-1] and self._firsts[-1] <= point.frame <= length:
                self._known.append(place)
                self._firsts.append(point.frame)
        self._known.append(len(starts))
        self._firsts.append(length)

    def object_at(self, frame: int) -> object:
        """The object of that frame. Raises StreamDamagedError."""
        while True:
            at = bisect_right(self._firsts, frame) - 1
            place, first = self._known[at], self._firsts[at]
            following = self._known[at + 1]
            if following == place + 1:
                objects = self._objects(place)
                if len(objects) != self._firsts[at + 1] - first:
                    raise StreamDamagedError
                return objects[frame - first]
            # From the nearer side, one stream further.
            if frame - first <= self._firsts[at + 1] - frame:
                self._learn(at, place + 1, first + len(self._objects(place)))
            else:
                count = len(self._objects(following - 1))
                self._learn(at, following - 1, self._firsts[at + 1] - count)

    def nearest(self, ns: int) -> object:
        """The object of the frame nearest to a time; times do not go back. Raises StreamDamagedError."""
        low, high = 0, len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            first = next((at for at in map(time_ns, self._objects(middle)) if at is not None), None)
            if first is None:
                raise StreamDamagedError
            low, high = (middle, high) if first <= ns else (low, middle)
        near = [*self._objects(low), *(self._objects(low + 1)[:1] if low + 1 < len(self._starts) else [])]
        timed = [(abs(at - ns), n) for n, at in enumerate(map(time_ns, near)) if at is not None]
        if not timed:
            raise StreamDamagedError
        return near[min(timed)[1]]

    def _learn(self, at: int, place: int, first: int) -> None:
        if not self._firsts[at] <= first <= self._firsts[at + 1]:
            raise StreamDamagedError
        self._known.insert(at + 1, place)
        self._firsts.insert(at + 1, first)

    def _objects(self, place: int) -> list[object]:
        objects = self._kept.get(place)
        if objects is None:
            objects = self._read_stream(self._starts[place])
            self._kept[place] = objects
            while len(self._kept) > _STREAMS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return objects


def stream_starts(fd: int, data_start: int, data_end: int) -> list[int] | None:
    """Where each .xz stream between these places begins, or None where they do not fill it whole.

    Streams without content are left out.
    """
    starts = []
    end = data_end
    while end > data_start:
        tail_start = max(data_start, end - FOOTER_BYTES - _INDEX_BYTES_MAX)
        tail = os.pread(fd, end - tail_start, tail_start)
        index_bytes = xz_footer(tail[-FOOTER_BYTES:])
        if index_bytes is None or index_bytes > len(tail) - FOOTER_BYTES:
            return None
        index = tail[-FOOTER_BYTES - index_bytes : -FOOTER_BYTES]
        blocks_bytes = _blocks_bytes(index)
        if blocks_bytes is None:
            return None
        end -= FOOTER_BYTES + index_bytes + blocks_bytes + HEADER_BYTES
        if blocks_bytes:
            starts.append(end)
    if end != data_start:
        return None
    starts.reverse()
    return starts


def _blocks_bytes(index: bytes) -> int | None:
    """How many bytes the blocks take that an .xz index lists."""
    count, place = _number_at(index, 1)
    total = 0
    for _ in range(count):
        unpadded, place = _number_at(index, place)
        _, place = _number_at(index, place)
        if place > len(index):
            return None
        total += (unpadded + 3) // 4 * 4
    return total


def _number_at(data: bytes, place: int) -> tuple[int, int]:
    """A variable-length number and the place behind it, which lies beyond `data` where that is too short."""
    number = shift = 0
    while place < len(data) and shift < 63:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, place
    return 0, len(data) + 1
