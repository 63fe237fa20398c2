"""The cameras that an estimator was given."""

from __future__ import annotations

from collections.abc import Mapping

from capture.frames import CameraInfo
from codec.errors import EstimatorError


def camera_named(estimator: str, cameras: Mapping[str, CameraInfo], name: str) -> CameraInfo:
    """The camera of that name. Raises EstimatorError, which says which cameras there are."""
    info = cameras.get(name)
    if info is None:
        known = ", ".join(sorted(cameras)) or "none"
        raise EstimatorError(f"estimator {estimator}: there is no camera {name}; there are {known}")
    return info
