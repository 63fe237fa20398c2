"""Says before long work that the native kernels are missing, how long it takes without them, and the way out.

Looks at indexes alone. Says nothing where the kernels are there, or where no frame needs them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from capture.cli._codecs import codec_counts
from capture.cli._progress import duration
from capture.cli._tables import plural
from capture.config import Rig
from capture.kernels import costs_without_kernels, how_to_get_kernels, twin_read_s, twin_write_s
from capture.mesh_demand import makes_meshes
from capture.recording import RecordedStream, Recording
from codec.depth import has_kernels


def warn_of_verifying(path: Path) -> None:
    """Before every frame under a path is decoded once. Raises what opening a recording does."""
    if has_kernels():
        return
    with Recording(path) as recording:
        frames, pixels = _slow(recording.streams.values())
    _tell(frames, sum(twin_read_s(codec, count) for codec, count in pixels.items()), pixels, with_sum=True)


def warn_of_recording_meshes(rig: Rig) -> None:
    """Before native mesh files are recorded. Of depth `doctor` tells; a recording does not choose by it."""
    native = makes_meshes(rig) and rig.record.mesh_codec == "native"
    costs = costs_without_kernels(depth=False, native_meshes=native)
    if costs:
        told = f"the native kernels are not built: {costs[0]}; {how_to_get_kernels()}"
        print(told, file=sys.stderr, flush=True)


def warn_of_showing(streams: Iterable[RecordedStream]) -> None:
    """Before some of the frames of these are decoded."""
    if has_kernels():
        return
    frames, pixels = _slow(streams)
    _tell(frames, sum(twin_read_s(codec, count) for codec, count in pixels.items()), pixels, with_sum=False)


def warn_of_recompressing(frames: int, pixels: Mapping[str, int], codec: str) -> None:
    """Before so many frames, `pixels` of them by the codec they have, are put into `codec`: each is read,
    written, and for the comparison both are read again."""
    if has_kernels():
        return
    seconds = sum(
        2 * twin_read_s(each, count) + twin_write_s(codec, count) + twin_read_s(codec, count)
        for each, count in pixels.items()
    )
    slow = [each for each in (codec, *pixels) if twin_read_s(each, 1)]
    if slow:
        _tell(frames, seconds, slow[:1], with_sum=True)


def _slow(streams: Iterable[RecordedStream]) -> tuple[int, Counter[str]]:
    """How many frames have a codec that is slow here, and how many pixels each codec has of them."""
    frames, pixels = 0, Counter[str]()
    for stream in streams:
        for codec, count in codec_counts(stream).items():
            if twin_read_s(codec, 1):
                frames += count
                pixels[codec] += count * stream.info.width * stream.info.height
    return frames, pixels


def _tell(frames: int, seconds: float, codecs: Iterable[str], *, with_sum: bool) -> None:
    if not frames:
        return
    each_s = seconds / frames
    what = f"about {f'{each_s:.2g}' if each_s < 10 else round(each_s)} s a frame of {', '.join(codecs)}"
    if with_sum:  # the interpreter's lock keeps a second core from helping
        what += f", {duration(seconds)} for {plural(frames, 'frame')} however many cores there are"
    print(f"the native kernels are not built: {what}; {how_to_get_kernels()}", file=sys.stderr, flush=True)
