"""The codecs of recorded streams: how many frames each one wrote, and what a lossy one says of its loss.

Told by indexes and one payload. `info` and `verify` say the same of the same recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from capture.recording import RecordedStream
from codec.depth import StatedLoss, codec_name, stated_loss
from codec.depth.near import NearCodec
from codec.errors import CodecError, DamagedError

_IMAGES = ("z16", "y8")
_DISTANCES_M = (1, 4)  # at which the error of a lossy stream is told


def codec_counts(stream: RecordedStream) -> dict[str, int]:
    """How many frames each image codec wrote; {} for a stream of something else."""
    if stream.info.pixel_format not in _IMAGES:
        return {}
    counts = Counter[int]()
    for entries in stream.entries():
        counts.update(dict(enumerate(np.bincount(entries["codec"]).tolist())))
    return {codec_name(codec): count for codec, count in sorted(counts.items()) if count}


def codec_words(counts: Mapping[str, int]) -> str:
    """ "lattice-rans", or "lattice-lz4 280, raw 20" where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


@dataclass(frozen=True, slots=True)
class Lossy:
    """A stream whose depth is not what was measured, bit for bit: `count` of its `frames`."""

    name: str
    loss: StatedLoss
    count: int
    frames: int
    unit_m: float | None

    def line(self) -> str:
        """For people."""
        return (
            f"LOSSY by choice: {self.name} keeps disparity to within {bound_words(self.loss.bound_subpixels)}"
            f"{self._at_distances()} of what was measured ({self.count} of {self.frames} frames)"
        )

    def _at_distances(self) -> str:
        """What the bound means there, where the depth unit is known."""
        bound, constant = self.loss
        if not self.unit_m:
            return ""
        errors = []
        for distance_m in _DISTANCES_M:
            depth = distance_m / self.unit_m
            if bound * depth < constant:  # beyond this the camera measures nothing
                error_m = bound * depth**2 / (constant - bound * depth) * self.unit_m
                errors.append(f"{error_m * 1000:.1f} mm at {distance_m} m")
        return f" ({', '.join(errors)})" if errors else ""


def bound_words(bound_subpixels: float) -> str:
    """How far a disparity may be off."""
    return f"{bound_subpixels:g}/32 pixel"


def lossy_streams(streams: Iterable[RecordedStream]) -> list[Lossy]:
    """Those with frames of the lossy codec, by what the first of these says of its loss."""
    found = []
    for stream in streams:
        loss = _loss(stream)
        if loss is not None:
            count = codec_counts(stream).get(NearCodec.name, 0)
            found.append(Lossy(stream.name, loss, count, len(stream), stream.info.depth_scale_m))
    return found


def _loss(stream: RecordedStream) -> StatedLoss | None:
    before = 0
    for entries in stream.entries():
        found = np.flatnonzero(entries["codec"] == NearCodec.id)
        if found.size:
            try:
                return stated_loss(stream.record(before + int(found[0])).payload)
            except (CodecError, DamagedError):  # `verify` finds it and says where
                return None
        before += entries.size
    return None
