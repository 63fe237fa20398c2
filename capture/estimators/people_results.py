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

from capture.body.kinematics import PARAMETER_COUNT, split_parameters
from capture.body.model import BodyModel
from capture.frames import Frame, StreamInfo

Float64 = npt.NDArray[np.float64]

_MM_PER_M: Final = 1000.0


class PeopleResults:
    """Makes the result frames of people posed by `model`; without `meshes` only their parameters."""

    def __init__(self, model: BodyModel, fps: float, *, meshes: bool = True) -> None:
        self._model, self._meshes = model, meshes
        self._vertices, self._joints = len(model.template_vertices), len(model.joints)
        points = self._vertices + self._joints
        parameters = StreamInfo("parameters", "f32", PARAMETER_COUNT, 1, fps)
        self.streams = (StreamInfo("mesh", "mesh", points, 1, fps), parameters) if meshes else (parameters,)

    def frames(
        self, source: Frame, people: Sequence[Float64], meta: Mapping[str, Any] | None = None
    ) -> list[Frame]:
        """The results of one moment; `people` are (85,) each, [] for nobody. They carry number and times of
        `source`, the frame they were made of."""
        if not people:
            return []
        told = {
            "people": len(people),
            "vertices": self._vertices,
            "joints": self._joints,
            "model": self._model.name,
            **(meta or {}),
        }
        packed = json.dumps(told).encode()
        rows = np.stack(people).astype(np.float32)
        results = [result_of(source, "parameters", rows, packed)]
        if self._meshes:
            points = np.stack([self._points(person) for person in people])
            results.insert(0, result_of(source, "mesh", points, packed))
        return results

    def _points(self, person: Float64) -> npt.NDArray[np.float32]:
        points = np.empty((self._vertices + self._joints, 3), np.float32)
        points[: self._vertices] = self._model.skin(*split_parameters(person))
        points[self._vertices :] = self._model.pose(person)
        points *= _MM_PER_M
        return points


def result_of(source: Frame, stream: str, data: npt.NDArray[Any], meta: bytes = b"") -> Frame:
    """A result that carries number and times of the frame it was made of."""
    return replace(source, stream=stream, data=data, meta=meta)
