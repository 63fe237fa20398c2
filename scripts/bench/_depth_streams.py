"""Many depth streams at once in one process: the CPU cores they keep busy.

One thread and one codec instance for each stream; each thread sleeps until its next frame is due, at its
camera's own phase, and encodes it. So the figure holds what a loop in one thread does not: waking up, the
interpreter lock, caches shared with seven others. Writes nothing, captures nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from codec.depth import DepthCodec, get_codec
from scripts.bench._depth_ways import Depth
from scripts.bench._frames import Pace
from scripts.bench._usage import OthersLoad

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class StreamsLoad:
    """What `streams` streams of `width` x `height` pixels at `fps` have cost.

    cores: CPU of the process per frame, times frames a second. This is CPU by wall time where all keep
    pace, and still right where they do not. late: frames that were not ready when the next one was due.
    """

    codec: str
    streams: int
    width: int
    height: int
    fps: float
    seconds: float
    frames: int
    cores: float
    late: int
    others_cores: float

    @property
    def punctuality(self) -> str:
        return f"{self.late} of {self.frames} frames late" if self.late else "every frame in time"


def measure_streams(
    codec_name: str, frames: Sequence[Depth], *, streams: int, fps: float, seconds: float
) -> StreamsLoad:
    """Run `streams` threads for `seconds`; each begins at another of the frames (all of one size)."""
    count = max(1, round(seconds * fps))
    codecs = [get_codec(codec_name) for _ in range(streams)]
    for codec in codecs:
        codec.encode(frames[0])  # makes its buffers
    with ThreadPoolExecutor(streams) as pool:
        others, before_s = OthersLoad(), time.process_time()
        runs = [
            # The first interval is for starting the threads.
            pool.submit(
                _run, codec, _turned(frames, number, streams), count, Pace(fps, phase=1 + number / streams)
            )
            for number, codec in enumerate(codecs)
        ]
        late = sum(run.result() for run in runs)
        cpu_s, others_cores = time.process_time() - before_s, others.cores
    height, width = frames[0].shape
    return StreamsLoad(
        codec=codec_name,
        streams=streams,
        width=width,
        height=height,
        fps=fps,
        seconds=seconds,
        frames=count * streams,
        cores=cpu_s / count * fps,
        late=late,
        others_cores=others_cores,
    )


def _turned(frames: Sequence[Depth], number: int, streams: int) -> list[Depth]:
    """The same frames, beginning at another one for each stream."""
    first = number * len(frames) // streams
    return [*frames[first:], *frames[:first]]


def _run(codec: DepthCodec, frames: Sequence[Depth], count: int, pace: Pace) -> int:
    """One stream; how many of its frames were late."""
    late = 0
    for number in range(count):
        wait_ns = pace.due_ns(number) - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / _SECOND_NS)
        codec.encode(frames[number % len(frames)])
        late += time.monotonic_ns() > pace.due_ns(number + 1)
    return late
