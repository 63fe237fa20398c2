"""What a frame of a mesh file holds, whoever wrote it. Knows no files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_mesh(frame: dict[str, Any]) -> bool:
    """Whether a frame of a mesh file holds vertices, of any number of people or of one without an axis of
    people; other programs write frames of joints alone, and next to damage one may hold anything."""
    vertices = frame.get("vertices")
    return isinstance(vertices, np.ndarray) and vertices.ndim >= 2 and vertices.shape[-1] == 3


def people_in(frame: dict[str, Any]) -> int:
    """How many people a frame of a mesh file holds: by its vertices, or by its joints where it has none."""
    array = frame.get("vertices", frame.get("joints"))
    return math.prod(array.shape[:-2]) if isinstance(array, np.ndarray) and array.ndim >= 2 else 0


def whole_number(value: object) -> int | None:
    """An integer out of a mesh file, or None."""
    return int(value) if isinstance(value, int | np.integer) else None
