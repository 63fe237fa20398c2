"""`frames`: one file per depth frame, as proposed in issue 8117 of librealsense.

    Camera_01/camera.json                     which camera, size, depth scale, intrinsics
    Camera_01/Capture_001/Frame_0001.depth    u32 length | LZ4 frame of `length` bytes
    Camera_01/Capture_001/times.csv           number and times of each file

Little-endian. The LZ4 frame (the standard format, any LZ4 library opens it) holds height x width uint16 in
row order, in units of the depth scale, 0 = no measurement. `cat Frame_*.depth` is the proposal's single
file. Cameras are numbered in the order of their names; each time a camera was opened begins a capture;
frames count from 1.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import lz4.frame
import numpy as np

from capture.decoding import decode
from capture.export._job import ExportJob, Workers, make_folder, read_records
from capture.recording import RecordedStream
from codec.errors import CodecError
from codec.records import Record

_LENGTH = struct.Struct("<I")
_DIGITS = 4
_TIMES = ("file", "number", "epoch", "device_time_s", "monotonic_ns", "utc")


def run(job: ExportJob) -> None:
    """Write every selected depth stream. Raises ConfigError or StorageError."""
    streams = [stream for own in job.streams(("z16",)).values() for stream in own]
    plan = [(stream, job.chosen(stream.monotonic_ns()).tolist()) for stream in streams]
    frames = sum(len(indices) for _, indices in plan)
    done = job.start(frames, selected=frames)
    for camera, (stream, indices) in enumerate(plan, start=1):
        _Camera(job, stream, make_folder(job.out / f"Camera_{camera:02d}"), len(indices)).write(indices, done)


class _Camera:
    """One depth stream, a folder per capture."""

    def __init__(self, job: ExportJob, stream: RecordedStream, folder: Path, frames: int) -> None:
        self._job, self._stream, self._folder = job, stream, folder
        self._digits = max(_DIGITS, len(str(frames)))
        self._epochs: dict[int, int] = {}  # epoch -> number of the capture
        self._rows: dict[Path, dict[int, tuple[object, ...]]] = {}
        self._unreadable: list[tuple[Path, int, int, str]] = []

    def write(self, indices: list[int], done: Callable[[int], None]) -> None:
        with Workers() as workers:
            for _, index, record in read_records((self._stream, index) for index in indices):
                if record is not None:
                    capture, place = self._place(record)
                    workers.submit(partial(self._write_frame, capture, place, index, record))
                done(1)
        for capture, place, index, what in self._unreadable:
            self._stream.note_damage(index, what)
            del self._rows[capture][place]
        for capture, rows in self._rows.items():
            self._job.files += len(rows)
            self._job.write_table(capture / "times.csv", _TIMES, rows.values())
        self._describe()

    def _place(self, record: Record) -> tuple[Path, int]:
        """The folder of the frame's capture, and its number in it."""
        header = record.header
        number = self._epochs.setdefault(header.epoch, len(self._epochs) + 1)
        capture = self._folder / f"Capture_{number:03d}"
        rows = self._rows.get(capture)
        if rows is None:
            rows = self._rows[make_folder(capture)] = {}
        place = len(rows) + 1
        device = "" if math.isnan(header.device_time_s) else header.device_time_s
        moment = self._job.moment(header.monotonic_ns)
        name = self._name(place)
        rows[place] = (name, header.number, header.epoch, device, header.monotonic_ns, moment)
        return capture, place

    def _name(self, place: int) -> str:
        return f"Frame_{place:0{self._digits}d}.depth"

    def _write_frame(self, capture: Path, place: int, index: int, record: Record) -> None:
        try:
            data = decode(record.header, record.payload, "z16")
        except CodecError as error:
            self._unreadable.append((capture, place, index, str(error)))
            return
        packed: bytes = lz4.frame.compress(np.ascontiguousarray(data, "<u2").data)
        self._job.write(capture / self._name(place), _LENGTH.pack(len(packed)) + packed)

    def _describe(self) -> None:
        info, camera = asdict(self._stream.info), asdict(self._stream.camera)
        camera.pop("streams")
        facts = {"camera": camera, "stream": info}
        self._job.write(self._folder / "camera.json", json.dumps(facts, indent=1).encode())
        self._job.files += 1
