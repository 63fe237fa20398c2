"""`png`: pictures in folders, laid out as Open3D's RealSense recorder does.

    depth/000000.png          16 bit, in units of depth_scale_m (streams.json), 0 = no measurement
    color/000000.jpg          the JPEG as it was recorded
    infrared1/000000.png      8 bit
    camera_intrinsic.json     of the depth stream, or of the colour where there is no depth
    streams.json              everything known of the streams: intrinsics, placement, scale
    times.csv                 number and times of each picture

Pictures of the same number belong together. Depth is written as it was recorded, not resampled into the
colour camera.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from capture.decoding import decode
from capture.export._job import ExportJob, Workers, make_folder, read_records
from capture.export._pairing import Table, common_clock, pair, times_of
from capture.frames import Intrinsics
from capture.recording import RecordedStream
from codec.errors import CodecError
from codec.records import CODEC_JPEG, Record

_FORMATS = ("z16", "jpeg", "bgr8", "y8")


def run(job: ExportJob) -> None:
    """Write every selected camera. Raises ConfigError or StorageError."""
    cameras = {name: _Camera(job, name, streams) for name, streams in job.streams(_FORMATS).items()}
    pictures = sum(camera.pictures for camera in cameras.values())
    done = job.start(pictures, selected=pictures)
    for name, camera in cameras.items():
        camera.write(job.folder(name, cameras), done)


class _Camera:
    """One camera's streams, depth first, paired by time."""

    def __init__(self, job: ExportJob, name: str, streams: Sequence[RecordedStream]) -> None:
        self._job, self._name = job, name
        self._streams = sorted(streams, key=lambda stream: _FORMATS.index(stream.info.pixel_format))
        self._clock = common_clock(self._streams)
        times = times_of(self._streams, device_clock=bool(self._clock))
        moments, table = pair(times)
        self._table: Table = table[job.chosen(moments)]

    @property
    def pictures(self) -> int:
        return int((self._table >= 0).sum())

    def write(self, folder: Path, done: Callable[[int], None]) -> None:
        for stream in self._streams:
            make_folder(folder / stream.info.name)
        places = np.argwhere(self._table >= 0).tolist()
        wanted = ((self._streams[column], int(self._table[row, column])) for row, column in places)
        unreadable: list[tuple[int, int, str]] = []
        with Workers() as workers:
            for (row, column), (stream, _, record) in zip(places, read_records(wanted), strict=True):
                if record is not None:
                    path = folder / stream.info.name / f"{row:06d}"
                    workers.submit(partial(self._write_picture, path, record, row, column, unreadable))
                else:
                    self._table[row, column] = -1
                done(1)
        for row, column, what in unreadable:
            self._streams[column].note_damage(int(self._table[row, column]), what)
            self._table[row, column] = -1
        self._job.files += self.pictures
        self._describe(folder)
        self._write_times(folder)
        if len(self._streams) > 1:
            clock = f"device time ({self._clock})" if self._clock else "the time of arrival"
            self._job.notes.append(f"{self._name}: pictures paired by {clock}")

    def _write_picture(
        self, path: Path, record: Record, row: int, column: int, unreadable: list[tuple[int, int, str]]
    ) -> None:
        try:
            suffix, data = _encoded(record, self._streams[column].info.pixel_format)
        except CodecError as error:
            unreadable.append((row, column, str(error)))
        else:
            self._job.write(path.with_suffix(suffix), data)

    def _describe(self, folder: Path) -> None:
        intrinsics = next((s.info.intrinsics for s in self._streams if s.info.intrinsics is not None), None)
        if intrinsics is not None:
            text = json.dumps(open3d_intrinsics(intrinsics), indent=4)
            self._job.write(folder / "camera_intrinsic.json", text.encode())
            self._job.files += 1
        camera = asdict(self._streams[0].camera)
        camera.pop("streams")
        facts = {
            "camera": camera,
            "paired_by": self._clock or "monotonic",
            "streams": {stream.info.name: asdict(stream.info) for stream in self._streams},
        }
        self._job.write(folder / "streams.json", json.dumps(facts, indent=1).encode())
        self._job.files += 1

    def _write_times(self, folder: Path) -> None:
        header = ["file"]
        for stream in self._streams:
            what = ("number", "epoch", "device_time_s", "monotonic_ns", "utc")
            header += [f"{stream.info.name}_{column}" for column in what]
        columns = [_Times(stream, self._job) for stream in self._streams]
        rows = (
            [row, *(cell for column, index in enumerate(indices) for cell in columns[column].cells(index))]
            for row, indices in enumerate(self._table.tolist())
        )
        self._job.write_table(folder / "times.csv", header, rows)


class _Times:
    """What the index says of a stream's frames, for the table."""

    def __init__(self, stream: RecordedStream, job: ExportJob) -> None:
        self._job = job
        parts = list(stream.entries())
        self._columns: list[npt.NDArray[Any]] = [
            np.concatenate([part[name] for part in parts])
            for name in ("number", "epoch", "device_time_s", "monotonic_ns")
        ]

    def cells(self, index: int) -> tuple[object, ...]:
        if index < 0:
            return ("",) * 5
        number, epoch, device_s, monotonic_ns = (column[index].item() for column in self._columns)
        device = "" if math.isnan(device_s) else device_s
        return number, epoch, device, monotonic_ns, self._job.moment(monotonic_ns)


def _encoded(record: Record, pixel_format: str) -> tuple[str, bytes]:
    """The suffix and the content of the picture's file. Raises CodecError."""
    if record.header.codec == CODEC_JPEG:
        return ".jpg", record.payload
    data = decode(record.header, record.payload, pixel_format)
    return ".png", cv2.imencode(".png", data)[1].tobytes()


def open3d_intrinsics(intrinsics: Intrinsics) -> dict[str, object]:
    """As Open3D writes and reads it: the matrix column by column."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return {
        "width": intrinsics.width,
        "height": intrinsics.height,
        "intrinsic_matrix": [fx, 0, 0, 0, fy, 0, cx, cy, 1],
    }
