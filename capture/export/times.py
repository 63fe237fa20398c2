"""`csv`: when each frame came, a table per stream; and what is missing.

<camera>/<stream>.csv   index, number, epoch, device_time_s, clock, monotonic_ns, utc, bytes in the file
gaps.csv                stream, reason, first, last, count, from and to
meshes.csv              number and time of each mesh, where there are any
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from capture.export._job import ExportJob, camera_of
from capture.frames import PIXEL_FORMATS
from capture.mesh_frames import people_in, whole_number
from capture.recording import RecordedStream
from codec.records.layout import CLOCKS

_FRAME = ("index", "number", "epoch", "device_time_s", "clock", "monotonic_ns", "utc", "bytes")
_GAP = ("stream", "epoch", "reason", "first", "last", "count", "start_ns", "end_ns", "start_utc", "end_utc")
_MESH = ("index", "number", "monotonic_ns", "utc", "people")


def run(job: ExportJob) -> None:
    """Write every selected stream's table. Raises ConfigError or StorageError."""
    cameras = job.streams(PIXEL_FORMATS)
    streams = [stream for own in cameras.values() for stream in own]
    selected = sum(len(job.inside(stream.monotonic_ns())) for stream in streams)
    done = job.start(sum(len(stream) for stream in streams), selected=selected)
    for stream in streams:
        folder = job.folder(camera_of(stream), cameras)
        job.write_table(folder / f"{stream.info.name}.csv", _FRAME, _rows(job, stream, done))
    job.write_table(job.out / "gaps.csv", _GAP, _gaps(job))
    if job.recording.mesh_paths:
        job.write_table(job.out / "meshes.csv", _MESH, _meshes(job))


def _rows(
    job: ExportJob, stream: RecordedStream, done: Callable[[int], None]
) -> Iterator[tuple[object, ...]]:
    chosen = iter(job.chosen(stream.monotonic_ns()).tolist())
    following, index = next(chosen, -1), 0
    for entries in stream.entries():
        while 0 <= following < index + len(entries):
            entry = entries[following - index]
            device_s, at_ns = float(entry["device_time_s"]), int(entry["monotonic_ns"])
            clock = int(entry["clock"])
            yield (
                following,
                int(entry["number"]),
                int(entry["epoch"]),
                "" if math.isnan(device_s) else device_s,
                CLOCKS[clock] if clock < len(CLOCKS) else "",
                at_ns,
                job.moment(at_ns),
                int(entry["length"]),
            )
            following = next(chosen, -1)
        index += len(entries)
        done(len(entries))


def _gaps(job: ExportJob) -> Iterator[tuple[object, ...]]:
    for gap in job.recording.gaps:
        first, last = ("", "") if gap.first is None else (gap.first, gap.last)
        times = gap.start_ns, gap.end_ns, job.moment(gap.start_ns), job.moment(gap.end_ns)
        yield gap.stream, gap.epoch, gap.reason, first, last, gap.count, *times


def _meshes(job: ExportJob) -> Iterator[tuple[object, ...]]:
    for index, frame in enumerate(job.recording.meshes()):
        at_ns = whole_number(frame.get("monotonic_ns"))
        moment = job.moment(at_ns) if at_ns is not None else ""
        yield index, whole_number(frame.get("frame_number")), at_ns, moment, people_in(frame)
