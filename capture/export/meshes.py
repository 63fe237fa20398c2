"""`obj` and `ply`: a file per mesh frame and person, in metres.

mesh_000000.obj is the first person of the first frame, mesh_000000_person1.obj the next one; the numbers
count the exported frames, and times.csv says which they were. Meshes with the vertices of the procedural
body get its faces; others become clouds of points.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.body.procedural import procedural_body
from capture.export._job import ExportJob, Workers
from capture.mesh_frames import is_mesh, whole_number
from codec.errors import ConfigError
from codec.mesh import write_obj, write_ply

_WRITERS = {"obj": write_obj, "ply": write_ply}
_NO_FACES = np.zeros((0, 3), np.int32)


def run(job: ExportJob) -> None:
    """Write every selected mesh. Raises ConfigError or StorageError."""
    job.check_cameras()
    count = job.recording.mesh_count()
    if not count and job.recording.damage:
        raise ConfigError(f"no mesh can be read: {job.recording.damage[0].what}")
    if not count:
        raise ConfigError(f"{job.recording.path} has no meshes; record with an estimator that makes them")
    frames = (found for found in wanted_meshes(job) if is_mesh(found[2]))
    first = list(islice(frames, 1))  # read before anything is created: there may be none
    done = job.start(count, selected=len(first))
    write = _WRITERS[job.format_name]
    rows: list[tuple[object, ...]] = []
    passed = 0
    with Workers() as workers:
        for exported, (place, at_ns, frame) in enumerate(chain(first, frames)):
            done(place + 1 - passed)
            passed = place + 1
            people = frame["vertices"].reshape(-1, *frame["vertices"].shape[-2:])
            for person, vertices_mm in enumerate(people):
                suffix = f"_person{person}" if person else ""
                path = job.out / f"mesh_{exported:06d}{suffix}.{job.format_name}"
                workers.submit(partial(write, path, vertices_mm / np.float32(1000), _faces(vertices_mm)))
                job.files += 1
            moment = job.moment(at_ns) if at_ns is not None else ""
            rows.append((exported, whole_number(frame.get("frame_number")), at_ns, moment, len(people)))
    job.write_table(job.out / "times.csv", ("file", "number", "monotonic_ns", "utc", "people"), rows)


def wanted_meshes(job: ExportJob) -> Iterator[tuple[int, int | None, dict[str, Any]]]:
    """(place in the recording, time, frame) of every Nth mesh frame between --from and --to."""
    inside = 0
    is_timeless = False
    for place, frame in enumerate(job.recording.meshes()):
        at_ns = whole_number(frame.get("monotonic_ns"))
        if at_ns is None and not is_timeless and (job.selection.from_s, job.selection.to_s) != (None, None):
            is_timeless = True  # a mesh file of another program
            job.notes.append("meshes without times are all exported: --from and --to cannot tell them apart")
        if at_ns is None or len(job.inside(np.array([at_ns], np.int64))):
            if inside % job.selection.every == 0:
                yield place, at_ns, frame
            inside += 1


def _faces(vertices: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    body = procedural_body()
    return body.faces if len(vertices) == len(body.template_vertices) else _NO_FACES
