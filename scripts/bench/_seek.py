"""Part 3: a record file of an hour of depth: opening it, and going to any frame of it.

The payloads are real ones, compressed beforehand and appended again and again, each with its own number and
times: what is measured is the file, not the codec. "Cold" means that the kernel was told to forget the
file's pages before; whether it does is its own affair.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from codec import DepthReader
from codec.depth import get_codec
from codec.records.layout import FRAME, pack_record
from codec.records.reader import RecordFile
from codec.records.writer import RecordWriter
from scripts.bench._frames import Depth, FrameSet
from scripts.bench._report import Row, Section, at_most, doubted
from scripts.bench._usage import OthersLoad

HOUR_FRAMES = 108_000
_ROOM_BYTES = 60 << 30
_SMALL_PAYLOAD_BYTES = 20_000
_FORGET_EVERY = 4096  # frames: nobody's file cache should be pushed out by ours
_SEEKS = 400
_OPENINGS = 5
_SEEK_LIMIT_MS, _OPEN_LIMIT_MS = 5.0, 100.0
_FPS = 30


def measure(frames_path: Path, work: Path, *, count: int = HOUR_FRAMES) -> Section:
    """Write the file, measure, delete it."""
    others = OthersLoad()
    images = FrameSet.load(frames_path).depth
    room = shutil.disk_usage(work).free > _ROOM_BYTES
    codec = get_codec("lattice-lz4")
    if not room:
        images = [_strip(image, codec.encode) for image in images]
    payloads = [codec.encode(image) for image in images]
    path = work / "hour.nrig"
    try:
        written_s = _write(path, payloads, images, count)
        size_gb = path.stat().st_size / 1e9
        opened = [_open_rows(path, count), _scan_rows(path, count), _seek_rows(path, images, count)]
    finally:
        path.unlink(missing_ok=True)
    rows = doubted([row for part in opened for row in part], others.cores)
    kind = "" if room else ", small payloads: less than 60 GB free"
    title = f"3. A file of {count:,} frames ({count / _FPS / 60:.0f} min), {size_gb:.1f} GB{kind}"
    return Section(title, [Row("writing it", size_gb * 1e3 / written_s, "MB/s"), *rows])


def _strip(image: Depth, encode: Callable[[Depth], bytes]) -> Depth:
    """The first rows of an image, as many as give a small payload."""
    rows = max(8, image.shape[0] * _SMALL_PAYLOAD_BYTES // len(encode(image)))
    return np.ascontiguousarray(image[:rows])


def _write(path: Path, payloads: list[bytes], images: list[Depth], count: int) -> float:
    """Seconds it took. Pages are written back and forgotten on the way."""
    started_s = time.monotonic()
    height, width = images[0].shape
    writer = RecordWriter(path)
    codec = get_codec("lattice-lz4")
    stream = {"name": "depth", "pixel_format": "z16", "width": width, "height": height, "fps": float(_FPS)}
    writer.stream(0, {**stream, "depth_scale_m": 0.001})
    for number in range(count):
        which = number % len(payloads)
        record = pack_record(
            FRAME,
            payloads[which],
            codec=codec.id,
            width=width,
            height=images[which].shape[0],
            number=number,
            device_time_s=number / _FPS,
            monotonic_ns=number * 1_000_000_000 // _FPS,
            raw_length=images[which].nbytes,
        )
        writer.append(record)
        if number % _FORGET_EVERY == 0:
            writer.file.sync()
            _forget(path)
    writer.seal()
    _forget(path)
    return time.monotonic() - started_s


def _forget(path: Path) -> None:
    """Ask the kernel to drop the file's pages from its cache."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _milliseconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return (time.perf_counter() - started_s) * 1e3


def _open_rows(path: Path, count: int) -> list[Row]:
    def open_it() -> None:
        with DepthReader(path) as reader:
            assert len(reader) == count

    cold, warm = [], []
    for _ in range(_OPENINGS):
        _forget(path)
        cold.append(_milliseconds(open_it))
        warm.append(_milliseconds(open_it))
    return [
        at_most("opening with index, cold", float(np.median(cold)), "ms", _OPEN_LIMIT_MS, note=_range(cold)),
        at_most("opening with index, warm", float(np.median(warm)), "ms", _OPEN_LIMIT_MS, note=_range(warm)),
    ]


def _scan_rows(path: Path, count: int) -> list[Row]:
    def scan() -> None:
        with RecordFile(path, use_index=False) as file:
            assert len(file.of_kind(FRAME)) == count

    _forget(path)
    cold, warm = _milliseconds(scan), _milliseconds(scan)
    return [
        Row("opening without index (one scan), cold", cold / 1e3, "s"),
        Row("opening without index (one scan), warm", warm / 1e3, "s"),
    ]


def _seek_rows(path: Path, images: list[Depth], count: int) -> list[Row]:
    where = random.Random(1).sample(range(count), min(_SEEKS, count))
    _forget(path)
    with DepthReader(path) as reader:

        def go_to(number: int) -> float:
            started_s = time.perf_counter()
            frame = reader[number]
            taken_ms = (time.perf_counter() - started_s) * 1e3
            assert frame.number == number
            assert np.array_equal(frame.data, images[number % len(images)])
            return taken_ms

        go_to(where[0])  # the decoder's tables and buffers are made once
        cold = [go_to(number) for number in where[1:]]
        warm = [go_to(number) for number in where[1:]]
    rows = []
    for name, times in (("cold", cold), ("warm", warm)):
        note = f"median {np.median(times):.2f}, max {max(times):.2f}; decoding included"
        what = f"seek to a random frame, {name}, p99"
        rows.append(at_most(what, float(np.percentile(times, 99)), "ms", _SEEK_LIMIT_MS, note=note))
    return rows


def _range(times: list[float]) -> str:
    return f"{min(times):.1f} to {max(times):.1f}"
