"""Files of every kind with known content, for campaigns that damage them and look at what comes back.

`record_samples` and `mesh_samples` write them into a folder. A sample knows its bytes, where each of its
records (or compressed segments) lies, and what each frame is: `Answer`s, as `_answers` reads them back.
The same settings always give the same frames, in files of the same size.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt

from codec import context_maps
from codec.context_maps import write_map
from codec.depth import CODEC_NAMES, get_codec
from codec.mesh import MeshWriter
from codec.records import RecordFile, RecordWriter
from codec.records import writer as writer_module
from codec.records.layout import CODEC_F32, CODEC_JPEG, END_BYTES, FRAME, pack_record
from scripts.campaigns._answers import Answer, Answers, answer_of, mesh_answers

Depth = npt.NDArray[np.uint16]

RECORDS, MESHES = "records", "meshes"
_FPS = 30.0
_BOOT_ID = "00000000-0000-4000-8000-000000000000"
_STEP_NS = 33_333_333
_START_NS = 1_000_000_000_000
_MAPPED = ("lattice-rans", "near")
_FRAMES_PER_SEGMENT = 3


@dataclass(frozen=True, slots=True)
class Span:
    """A record, or a segment of a mesh file: its bytes, and which of the sample's frames are in it."""

    start: int
    end: int
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A file as it was written. `family` is RECORDS or MESHES; `checked`: every part of it has a checksum.

    answers: its frames in order. spans: what it is made of, in order, from the first byte to the last.
    """

    name: str
    path: Path
    family: str
    content: bytes
    answers: Answers
    spans: tuple[Span, ...]
    checked: bool = True

    def whole_before(self, cut: int) -> int:
        """How many frames lie in spans that end by then."""
        return sum(len(span.frames) for span in self.spans if span.end <= cut)

    def hit(self, start: int, end: int) -> set[int]:
        """Which spans a change of these bytes touches; of no bytes: what it would tear in two."""
        if start == end:
            return {i for i, span in enumerate(self.spans) if span.start < start < span.end}
        return {i for i, span in enumerate(self.spans) if span.start < end and start < span.end}


def depth_picture(number: int, *, width: int, height: int) -> Depth:
    """A slope with noise and holes, another one for every number."""
    random = np.random.default_rng(number)
    slope = np.linspace(600, 3000, width * height).reshape(height, width)
    picture = slope + random.normal(0, 4, (height, width))
    picture[random.random((height, width)) < 0.05] = 0
    return picture.astype(np.uint16)


def record_samples(folder: Path, *, frames: int, width: int = 20, height: int = 14) -> list[Sample]:
    """One file for each depth codec, one that was never closed, one of everything a camera may have in its
    file (JPEG, infrared, gaps, clocks), and one of an estimator's numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [depth_picture(number, width=width, height=height) for number in range(frames)]
    samples = [depth_sample(folder / f"{codec}.nrig", pictures, codec) for codec in CODEC_NAMES]
    samples.append(depth_sample(folder / "killed.nrig", pictures, CODEC_NAMES[2], sealed=False))
    with _still_clocks():
        samples.append(_camera(folder / "camera.nrig", pictures))
        samples.append(_estimates(folder / "estimates.nrig", frames))
    return samples


def depth_sample(path: Path, pictures: list[Depth], codec: str, *, sealed: bool = True) -> Sample:
    """A file of depth alone."""
    height, width = pictures[0].shape
    with _still_clocks():
        writer = RecordWriter(path, info={"camera": "front", "segment": 0})
        writer.stream(0, _stream("depth", "z16", width, height, depth_scale_m=0.001), epoch=1)
        if codec in _MAPPED:
            write_map(writer)
    for number, picture in enumerate(pictures):
        _append_image(writer, codec, picture, number, stream=0)
    return _record_sample(writer, sealed=sealed)


@contextlib.contextmanager
def _still_clocks() -> Iterator[None]:
    """Files come out the same whenever they are written."""
    ticks_ns = itertools.count(_START_NS, 1_000_000)
    clocks = SimpleNamespace(
        monotonic_ns=ticks_ns.__next__, time_ns=lambda: _START_NS * 1_700 + next(ticks_ns)
    )
    with (
        mock.patch.object(writer_module, "time", clocks),
        mock.patch.object(context_maps, "time", clocks),
        mock.patch.object(writer_module, "boot_id", return_value=_BOOT_ID),
    ):
        yield


def _camera(path: Path, pictures: list[Depth]) -> Sample:
    height, width = pictures[0].shape
    writer = RecordWriter(path, info={"camera": "front", "segment": 0})
    writer.stream(0, _stream("depth", "z16", width, height, depth_scale_m=0.001), epoch=1)
    writer.stream(1, _stream("color", "jpeg", width, height), epoch=1)
    writer.stream(2, _stream("infrared1", "y8", width, height), epoch=1)
    writer.clock({"written": [0, 0, 0]})
    for number, picture in enumerate(pictures):
        _append_image(writer, "lattice-lz4", picture, number, stream=0)
        grey = (picture >> 4).astype(np.uint8)
        jpeg = bytes(cv2.imencode(".jpg", grey)[1])
        _append(writer, jpeg, number, stream=1, codec=CODEC_JPEG, shape=picture.shape, raw_length=len(jpeg))
        _append_image(writer, "lz4", grey, number, stream=2)
        if number == 1:
            gap = {"reason": "camera", "first": 90, "last": 91, "count": 2, "estimated": False}
            writer.gap(0, {**gap, "start_ns": 5, "end_ns": 6}, epoch=1)
    writer.clock({"written": [len(pictures)] * 3})
    return _record_sample(writer)


def _estimates(path: Path, frames: int) -> Sample:
    writer = RecordWriter(path, info={"camera": "people", "segment": 0})
    camera = {"name": "people", "backend": "estimator", "model": "truth"}
    writer.stream(0, _stream("parameters", "f32", 9, 2, camera=camera), epoch=1)
    for number in range(frames):
        numbers = (np.arange(18, dtype="<f4") + number / 7).tobytes()
        _append(writer, numbers, number, stream=0, codec=CODEC_F32, shape=(2, 9), raw_length=len(numbers))
    return _record_sample(writer)


def _stream(name: str, pixel_format: str, width: int, height: int, **more: Any) -> dict[str, Any]:
    size = {"width": width, "height": height, "fps": _FPS}
    return {"name": name, "pixel_format": pixel_format, **size, **more}


def _append_image(writer: RecordWriter, codec: str, image: Any, number: int, *, stream: int) -> None:
    coder = get_codec(codec)
    payload = coder.encode(image)
    _append(
        writer, payload, number, stream=stream, codec=coder.id, shape=image.shape, raw_length=image.nbytes
    )


def _append(
    writer: RecordWriter,
    payload: bytes,
    number: int,
    *,
    stream: int,
    codec: int,
    shape: tuple[int, ...],
    raw_length: int,
) -> None:
    writer.append(
        pack_record(
            FRAME,
            payload,
            stream=stream,
            codec=codec,
            clock=1,
            width=shape[1],
            height=shape[0],
            epoch=1,
            number=number,
            device_time_s=number / _FPS,
            monotonic_ns=_START_NS + number * _STEP_NS,
            raw_length=raw_length,
            meta=b'{"exposure":%d}' % number if number % 2 else b"",
        )
    )


def _record_sample(writer: RecordWriter, *, sealed: bool = True) -> Sample:
    if sealed:
        writer.seal()
    writer.close()
    return open_record_sample(writer.file.path)


def open_record_sample(path: Path) -> Sample:
    """A whole record file as a sample."""
    answers: list[Answer] = []
    spans = []
    with RecordFile(path) as file:
        for index, entry in enumerate(file.entries):
            start = int(entry["offset"])
            own: tuple[int, ...] = ()
            if entry["kind"] == FRAME:
                own = (len(answers),)
                answers.append(answer_of(file.read(index)))
            spans.append(Span(start, start + int(entry["length"]), own))
        if file.sealed:
            end = file.size - END_BYTES
            spans += [Span(spans[-1].end, end), Span(end, file.size)]
        assert spans[-1].end == file.size
    return Sample(path.stem, path, RECORDS, path.read_bytes(), tuple(answers), tuple(spans))


def mesh_samples(folder: Path, *, frames: int, points: int = 12) -> list[Sample]:
    """One file of each kind, of people who come and go."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        mesh_sample(folder / "meshes-xz.xz", frames, points, compression="xz"),
        mesh_sample(folder / "meshes-zstd.zst", frames, points, compression="zstd"),
        mesh_sample(folder / "meshes-fast.nrm", frames, points, codec="native", way="fast"),
        mesh_sample(folder / "meshes-affine.nrm", frames, points, codec="native", way="affine"),
    ]


def mesh_sample(path: Path, frames: int, points: int, **settings: Any) -> Sample:
    """A file of a few segments. Where their ends are is known from having waited for each."""
    random = np.random.default_rng(7)
    base = random.normal(0, 300, (2, points, 3))
    ends = [0]
    with (
        _still_clocks(),
        MeshWriter(path, segment_s=3600, fps=_FPS, metadata={"camera": "front"}, **settings) as writer,
    ):
        ends.append(writer.size_bytes)
        for number in range(frames):
            base = base + random.normal(0, 2, base.shape)
            people = 1 + number % 2
            writer.append(base[:people], frame_number=number, monotonic_ns=_START_NS + number * _STEP_NS)
            if number % _FRAMES_PER_SEGMENT == _FRAMES_PER_SEGMENT - 1 or number == frames - 1:
                writer.flush()
                ends.append(writer.size_bytes)
    content = path.read_bytes()
    spans = [Span(0, ends[1])]
    for index, (start, end) in enumerate(pairwise(ends[1:])):
        first = index * _FRAMES_PER_SEGMENT
        spans.append(Span(start, end, tuple(range(first, min(first + _FRAMES_PER_SEGMENT, frames)))))
    if spans[-1].end < len(content):
        spans.append(Span(spans[-1].end, len(content)))
    checked = path.suffix != ".zst"  # one checksum for all of it
    return Sample(path.stem, path, MESHES, content, mesh_answers(path), tuple(spans), checked)
