"""People as the frames that estimators give: meshes and 85 parameters, in world coordinates.

Two streams:
    mesh        float32 (people, vertices + 24, 3) millimetres: the vertices of a person, then the joints
    parameters  float32 (people, 85): 72 axis-angle numbers, 10 betas, 3 metres of translation
The meta of both is a JSON object; "vertices" says how many of the points are vertices, "model" what made
them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import JOINT_COUNT, PARAMETER_COUNT, split_parameters
from capture.body.model import BodyModel
from capture.frames import Frame, StreamInfo
from capture.mesh_faces import Int32, pack_faces

Float64 = npt.NDArray[np.float64]

MOST_PEOPLE: Final = 16
"""No rig may ask for more in one picture."""
_MM_PER_M: Final = 1000.0


def people_streams(
    points: int, fps: float, width: int = PARAMETER_COUNT, *, faces: Int32 | None = None
) -> tuple[StreamInfo, ...]:
    """What estimators of people announce: meshes of so many points (vertices and joints) and parameters, or
    parameters alone where `points` is 0. `width`: how many parameters a person has. `faces`: the triangles
    (F, 3) of the meshes, None where nobody knows them."""
    parameters = StreamInfo("parameters", "f32", width, 1, fps)
    if not points:
        return (parameters,)
    packed = "" if faces is None else pack_faces(faces)
    return (StreamInfo("mesh", "mesh", points, 1, fps, faces=packed), parameters)


def people_frames(
    source: Frame,
    rows: npt.NDArray[np.float32],
    meshes_mm: npt.NDArray[np.float32] | None,
    *,
    vertices: int,
    model: str,
    meta: Mapping[str, Any] | None = None,
) -> list[Frame]:
    """Results for one moment: (people, 85) parameters, and (people, points, 3) where there are meshes, of
    whose points the first `vertices` are vertices. They carry number and times of `source`, the frame they
    were made of."""
    told = {"people": len(rows), "vertices": vertices, "joints": JOINT_COUNT, "model": model, **(meta or {})}
    packed = json.dumps(told).encode()
    results = [result_of(source, "parameters", rows, packed)]
    if meshes_mm is not None:
        results.insert(0, result_of(source, "mesh", meshes_mm, packed))
    return results


class PeopleResults:
    """Makes the result frames of people posed by `model`; without `meshes` only their parameters."""

    def __init__(self, model: BodyModel, fps: float, *, meshes: bool = True) -> None:
        self._model, self._meshes = model, meshes
        self.model = model.name
        self._vertices = len(model.template_vertices)
        points = self._vertices + JOINT_COUNT if meshes else 0
        self.streams = people_streams(points, fps, faces=model.faces)

    def frames(
        self, source: Frame, people: Sequence[Float64], meta: Mapping[str, Any] | None = None
    ) -> list[Frame]:
        """The results of one moment; `people` are (85,) each, [] for nobody. They carry number and times of
        `source`, the frame they were made of."""
        if not people:
            return []
        rows = np.stack(people).astype(np.float32)
        points = np.stack([self.mesh_mm(person) for person in people]) if self._meshes else None
        return people_frames(source, rows, points, vertices=self._vertices, model=self._model.name, meta=meta)

    def mesh_mm(self, person: Float64) -> npt.NDArray[np.float32]:
        """(vertices + 24, 3) of a person's (85,) parameters."""
        points = np.empty((self._vertices + JOINT_COUNT, 3), np.float32)
        points[: self._vertices] = self._model.skin(*split_parameters(person))
        points[self._vertices :] = self._model.pose(person)
        points *= _MM_PER_M
        return points


def result_of(source: Frame, stream: str, data: npt.NDArray[Any], meta: bytes = b"") -> Frame:
    """A result that carries number and times of the frame it was made of."""
    return replace(source, stream=stream, data=data, meta=meta)
