"""Entries of child processes at the ends of a ring, and frames whose every byte follows from their number."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.ring import FrameRing, RingFrame, RingSpec, drain_event
from capture.spawn import Link

MOST_PIXELS = 20_000
_BASE = np.arange(MOST_PIXELS, dtype=np.uint16)


@dataclass(frozen=True)
class Job:
    """`count` frames in all, over every process that ever had this end; `log_fd` -1 where none is kept."""

    ring: RingSpec
    count: int
    log_fd: int = -1


def frame_of(number: int) -> tuple[npt.NDArray[np.uint16], bytes]:
    """Pixels (their number varies, too) and meta of frame `number`."""
    width = 1 + number * 7919 % MOST_PIXELS
    pixels = _BASE[:width] * np.uint16((2 * number + 1) % 65536) + np.uint16(number % 65536)
    meta = b"%d" % number * (number % 5)
    return pixels.reshape(1, width), meta


def is_intact(frame: RingFrame) -> bool:
    """Whether every byte of a frame is that of its number."""
    pixels, meta = frame_of(frame.number)
    return np.array_equal(frame.data, pixels) and frame.meta == meta


def push_next(ring: FrameRing) -> bool:
    """Push the frame that is due; who pushed those before it does not matter."""
    number = ring.published
    pixels, meta = frame_of(number)
    return ring.push(pixels, stream=number % 3, epoch=number // 1000, number=number, meta=meta)


def produce(job: Job, link: Link) -> int:
    """Push until `count` frames have been pushed, waiting wherever the ring is full."""
    ring = FrameRing(job.ring)
    link.event("ready")
    while ring.published < job.count:
        if not push_next(ring):
            select.select([job.ring.space_fd], [], [], 1.0)
            drain_event(job.ring.space_fd)
    return 0


def consume(job: Job, link: Link) -> int:
    """Take, check and release until frame `count` - 1; a line in the log for each step."""
    ring = FrameRing(job.ring)
    link.event("ready")
    while True:
        frame = ring.take()
        if frame is None:
            select.select([job.ring.data_fd], [], [], 1.0)
            drain_event(job.ring.data_fd)
            continue
        word = b"taken" if is_intact(frame) else b"torn"
        os.write(job.log_fd, b"%s %d\n" % (word, frame.number))
        ring.release(frame)
        os.write(job.log_fd, b"released %d\n" % frame.number)
        if frame.number == job.count - 1:
            return 0


def lap(job: Job, link: Link) -> int:
    """Both ends in one: run round the ring as fast as it goes, until told to stop."""
    ring = FrameRing(job.ring)
    link.event("ready")
    while not link.commands():
        for _ in range(50):
            push_next(ring)
            frame = ring.take()
            assert frame is not None
            ring.release(frame)
    return 0
