"""`obj` and `ply`: a file per mesh frame and person, in metres.

mesh_000000.obj is the first person of the first frame, mesh_000000_person1.obj the next one; the numbers
count the exported frames, and times.csv says which they were. Triangles are those that the mesh file names,
else those that the user gives; meshes of which nobody knows them become clouds of points, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.export._job import ExportJob, Workers
from capture.mesh_faces import NO_FACES, Int32, faces_of
from capture.mesh_frames import is_mesh, whole_number
from codec.errors import ConfigError
from codec.mesh import write_obj, write_ply

_WRITERS = {"obj": write_obj, "ply": write_ply}


def run(job: ExportJob) -> None:
    """Write every selected mesh. Raises ConfigError or StorageError."""
    job.check_cameras()
    count = job.recording.mesh_count()
    if not count and job.recording.damage:
        raise ConfigError(f"no mesh can be read: {job.recording.damage[0].what}")
    if not count:
        raise ConfigError(f"{job.recording.path} has no meshes; record with an estimator that makes them")
    frames = (found for found in wanted_meshes(job) if is_mesh(found.frame))
    first = list(islice(frames, 1))  # read before anything is created: there may be none
    _check_given(job, first)
    done = job.start(count, selected=len(first))
    write = _WRITERS[job.format_name]
    rows: list[tuple[object, ...]] = []
    passed = clouds = 0
    with Workers() as workers:
        for exported, (place, at_ns, frame, metadata) in enumerate(chain(first, frames)):
            done(place + 1 - passed)
            passed = place + 1
            people = frame["vertices"].reshape(-1, *frame["vertices"].shape[-2:])
            for person, vertices_mm in enumerate(people):
                suffix = f"_person{person}" if person else ""
                path = job.out / f"mesh_{exported:06d}{suffix}.{job.format_name}"
                faces = _faces(job, metadata, vertices_mm)
                clouds += not len(faces)
                workers.submit(partial(write, path, vertices_mm / np.float32(1000), faces))
                job.files += 1
            moment = job.moment(at_ns) if at_ns is not None else ""
            rows.append((exported, whole_number(frame.get("frame_number")), at_ns, moment, len(people)))
    job.write_table(job.out / "times.csv", ("file", "number", "monotonic_ns", "utc", "people"), rows)
    if clouds:
        job.notes.append(
            f"{clouds} of the meshes are points without triangles: nothing recorded which there are;"
            " --faces FILE, the body model they were made with, gives them"
        )


class WantedMesh(NamedTuple):
    """A mesh frame: its place in the recording, its time, and the metadata of its file."""

    place: int
    at_ns: int | None
    frame: dict[str, Any]
    metadata: object


def wanted_meshes(job: ExportJob) -> Iterator[WantedMesh]:
    """Every Nth mesh frame between --from and --to."""
    inside = 0
    is_timeless = False
    for place, (metadata, frame) in enumerate(job.recording.meshes_and_metadata()):
        at_ns = whole_number(frame.get("monotonic_ns"))
        if at_ns is None and not is_timeless and (job.selection.from_s, job.selection.to_s) != (None, None):
            is_timeless = True  # a mesh file of another program
            job.notes.append("meshes without times are all exported: --from and --to cannot tell them apart")
        if at_ns is None or len(job.inside(np.array([at_ns], np.int64))):
            if inside % job.selection.every == 0:
                yield WantedMesh(place, at_ns, frame, metadata)
            inside += 1


def _faces(job: ExportJob, metadata: object, vertices: npt.NDArray[Any]) -> Int32:
    """Those of one mesh, none where nobody knows them."""
    faces = faces_of(metadata, vertices)
    if faces is None and job.faces is not None and job.faces.max() < len(vertices):
        faces = job.faces
    return NO_FACES if faces is None else faces


def _check_given(job: ExportJob, first: list[WantedMesh]) -> None:
    """Raises ConfigError where the user's triangles cannot be those of the meshes."""
    if job.faces is None or not first:
        return
    points = first[0].frame["vertices"].shape[-2]
    if job.faces.max() >= points:
        raise ConfigError(
            f"--faces: its triangles name vertex {job.faces.max()}, and the meshes of {job.recording.path}"
            f" have {points} vertices"
        )
