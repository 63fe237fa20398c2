"""Where everything lies in a ring's shared memory: control words, the table of entries, what an entry says.

Plain layout; who may write what, and when, is capture.ring's.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Control words (u64) at the head of the mapping: these two and FLOOR are the producer's, the others the
# consumer's. Nothing before FLOOR is in use: there the producer found the ring empty.
PUBLISHED, HEAD, RELEASED, TAIL, FLOOR = range(5)
# What is shown beside the arena: for each stream three words (version, odd while it is being written; place;
# room) and memory for one entry with its frame, given to streams in the order in which they come to need it.
SHOWN_AT, SHOWN_WORDS, SHOWN_STREAMS = 16, 3, 16
SHOWN_SHARE = 4
CONTROL_BYTES = mmap.PAGESIZE
ENTRY = struct.Struct("<QQIIBBBBIIHBxQdq")
ENTRY_BYTES = 64
KIND_AT, STREAM_AT = 24, 25  # of what ENTRY describes: see entry_bytes
ALIGN = 64

# What an entry is.
FRAME, INFO, GAP, END = 1, 2, 3, 4

DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype("<u2"), 3: np.dtype("<f4")}
DTYPE_CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class RingSpec:
    """What a child needs to attach: descriptors it inherited (-1: none), and the sizes."""

    memory_fd: int
    data_fd: int
    space_fd: int
    observer_fds: tuple[int, ...]
    arena_bytes: int
    entry_count: int

    @property
    def fds(self) -> tuple[int, ...]:
        """All descriptors a child must inherit."""
        return (self.memory_fd, self.data_fd, self.space_fd, *self.observer_fds)


@dataclass(frozen=True, slots=True)
class RingFrame:
    """One entry of the ring. `data` and `meta` are views into it (consumer) or copies (observer).

    kind FRAME: data has the frame's shape and dtype. INFO, GAP and END: data is UTF-8 JSON.
    """

    sequence: int
    kind: int
    stream: int
    clock: int
    epoch: int
    number: int
    device_time_s: float
    monotonic_ns: int
    data: npt.NDArray[np.generic]
    meta: bytes
    end_position: int


def mapping_bytes(arena_bytes: int, entry_count: int) -> int:
    return CONTROL_BYTES + entry_count * ENTRY_BYTES + arena_bytes + arena_bytes // SHOWN_SHARE


def entry_bytes(
    place: tuple[int, int, int, int, int, int, int],
    array: npt.NDArray[np.generic],
    stamp: tuple[int, float, int],
) -> bytes:
    """An entry of the table. `place`: sequence, start, epoch, bytes of meta, kind, stream, clock."""
    height, width, channels = (*array.shape, 1, 1, 1)[:3]
    dtype_code = DTYPE_CODES.get(array.dtype)
    if dtype_code is None or array.ndim > 3:
        raise ValueError(f"no ring carries {array.dtype} of shape {array.shape}: see PIXEL_FORMATS")
    try:
        return ENTRY.pack(*place, dtype_code, height, width, channels, array.ndim, *stamp)
    except struct.error as error:
        raise ValueError(f"frame {stamp[0]} of stream {place[5]} does not fit an entry: {error}") from error
