"""What a simulated camera knows: the true pose beside each frame, seen by the camera, made as bad as wished.

For trials and tests of what fits bodies, whose error can then be told. The same frame gives the same noise
every time, whichever frames came before. A joint is seen where it lies in front of the camera and within its
picture; the body itself hides none.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.kinematics import Float64, split_parameters
from capture.body.procedural import procedural_body
from capture.frames import CameraInfo, StreamInfo
from capture.keypoints import PersonKeypoints, Picture, seen_person
from capture.lenses import lens_of
from capture.true_pose import true_pose
from codec.errors import ConfigError

_PURPOSE: Final = 'key point source "truth"'
JOINT_SET: Final = "lsp14"
# SMPL's joints in LSP's order; the head's top is a point of the skin.
_SMPL_JOINTS: Final = [8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, 12]
_NEAREST_M: Final = 0.05
_MICROSECONDS: Final = 1e6


class TruthSource:
    """The person in the pictures of `camera`'s stream. `noise_px` is the standard deviation of each joint's
    column and row, `dropout` the share of joints that are not seen."""

    def __init__(
        self,
        *,
        camera: CameraInfo,
        stream: str = "color",
        noise_px: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        known = {each.name: each for each in camera.streams}
        if stream not in known:
            has = ", ".join(known) or "none"
            raise ConfigError(f"{_PURPOSE}: camera {camera.name} has no stream {stream}; it has {has}")
        if known[stream].intrinsics is None:
            raise ConfigError(f"{_PURPOSE}: the lens of {stream} of camera {camera.name} is not known")
        try:
            self._lens = lens_of(known[stream].intrinsics)
        except ValueError as error:
            raise ConfigError(f"{_PURPOSE}: camera {camera.name}, {stream}: {error}") from error
        if not (math.isfinite(noise_px) and noise_px >= 0):
            raise ConfigError(f"{_PURPOSE}: noise_px = {noise_px} is not 0 or more")
        if not 0 <= dropout <= 1:
            raise ConfigError(f"{_PURPOSE}: dropout = {dropout} is not within 0 and 1")
        if seed < 0:
            raise ConfigError(f"{_PURPOSE}: seed = {seed} is not 0 or more")
        self._camera, self._stream = camera.name, known[stream]
        self._stream_from_world = _stream_from_world(camera, known[stream])
        self._noise_px, self._dropout, self._seed = noise_px, dropout, seed

    def detect(
        self,
        image_bgr: Picture,
        *,
        time_s: float,
        boxes_px: npt.ArrayLike | None = None,
        number: int | None = None,
        meta: bytes = b"",
    ) -> list[PersonKeypoints]:
        """See KeypointSource; the picture is not looked at. [] for a frame whose `meta` tells no pose. Raises
        EstimatorError for a `meta` that cannot be read."""
        parameters = true_pose(meta, owner=_PURPOSE, frame=f"frame {number} of camera {self._camera}")
        if parameters is None:
            return []
        points, seen = self._seen(_lsp_points(parameters))
        moment = (
            number if number is not None else round(time_s * _MICROSECONDS) if math.isfinite(time_s) else 0
        )
        rng = np.random.default_rng((self._seed, abs(moment)))
        points += rng.normal(0.0, 1.0, points.shape) * self._noise_px
        seen &= rng.random(len(points)) >= self._dropout
        person = seen_person(JOINT_SET, points, seen.astype(np.float64))
        return [] if person is None else [person]

    def close(self) -> None:
        """Nothing is held."""

    def _seen(self, points_m: Float64) -> tuple[Float64, npt.NDArray[np.bool_]]:
        """World points -> pixels, and which of them the camera sees."""
        lens = self._stream.intrinsics
        assert lens is not None  # refused in __init__
        turned = points_m @ self._stream_from_world[:3, :3].T + self._stream_from_world[:3, 3]
        ahead = turned[:, 2] > _NEAREST_M
        safe = np.where(ahead[:, None], turned, (0.0, 0.0, 1.0))
        pixels = self._lens.pixels(safe[:, :2] / safe[:, 2:])
        inside = ((pixels >= -0.5) & (pixels < np.array([lens.width, lens.height]) - 0.5)).all(axis=1)
        return pixels, ahead & inside


def _lsp_points(parameters: Float64) -> Float64:
    """(14, 3) world metres of the body that simulated cameras film."""
    body = procedural_body()
    top = int(np.argmax(body.template_vertices[:, 1]))
    vertices = body.skin(*split_parameters(parameters))
    return np.concatenate([body.pose(parameters)[_SMPL_JOINTS], vertices[top : top + 1].astype(np.float64)])


def _stream_from_world(camera: CameraInfo, stream: StreamInfo) -> Float64:
    world_from_stream = np.eye(4)
    for matrix in (camera.world_from_camera, stream.camera_from_stream):
        if matrix is not None:
            world_from_stream = world_from_stream @ np.array(matrix, dtype=np.float64)
    return np.asarray(np.linalg.inv(world_from_stream), dtype=np.float64)
