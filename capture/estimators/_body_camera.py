"""One camera of a body estimator: its streams, its lens, and how what a key point source says of its pictures
becomes observations of people, with depth where the camera has it.

Key points are found in the picture as it is; points of an observation are those of a lens without distortion.
Depth is looked up in the depth camera's own picture, along the line of sight of each key point, so that depth
need not be aligned to colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.depth_targets import targets_from_depth
from capture.body.views import Observation, View
from capture.estimators import InputKey
from capture.frames import CameraInfo, Frame, Intrinsics, StreamInfo
from capture.keypoints import PersonKeypoints
from capture.keypoints.joint_sets import to_lsp14
from capture.lenses import Lens, lens_of
from codec.errors import EstimatorError

Float64 = npt.NDArray[np.float64]

_PICTURES: Final = ("color", "infrared1", "infrared2")
_SIGHT_TURNS: Final = 3
_TYPICAL_M: Final = 2.5
_FARTHEST_PX: Final = 1e6
_GUESS_FOCAL: Final = 1.0
"""Of the longer side: a webcam of unknown lens, with a view of 53 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class DepthEye:
    """The depth stream beside a picture; the "world" of its view is the frame of the picture's camera."""

    stream: str
    scale_m: float
    view: View
    lens: Lens


@dataclass(frozen=True, slots=True, eq=False)
class BodyCamera:
    """`picture` is the stream that key points are found in; `depth_eye` the depth beside it, or None.

    `view` is that of a camera which is this one but for what `lens` bends.
    """

    name: str
    picture: StreamInfo
    view: View
    depth_eye: DepthEye | None
    knows_lens: bool
    knows_place: bool
    lens: Lens

    @classmethod
    def of(cls, estimator: str, info: CameraInfo, *, use_depth: bool) -> BodyCamera:
        """Raises EstimatorError for a camera without pictures, or whose calibration is none or of a kind that
        is not known."""
        streams = {stream.name: stream for stream in info.streams}
        name = next((name for name in _PICTURES if name in streams), None)
        if name is None:
            raise EstimatorError(
                f"estimator {estimator}: camera {info.name} has no pictures to find people in; switch its"
                " color on"
            )
        picture = streams[name]
        depth = streams.get("depth") if use_depth else None
        known = picture.intrinsics or _guessed_lens(picture)
        lens = _lens(estimator, info.name, picture.name, known)
        try:
            world_from_picture = _pose(info.world_from_camera) @ _pose(picture.camera_from_stream)
            view = View(
                np.array([known.fx, known.fy]),
                np.array([known.cx, known.cy]),
                np.asarray(np.linalg.inv(world_from_picture), np.float64),
            )
            eye = None if depth is None else _depth_eye(estimator, info.name, depth, picture)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise EstimatorError(
                f"estimator {estimator}: the calibration of camera {info.name} is none: {error}"
            ) from error
        knows_place = info.world_from_camera is not None
        return cls(info.name, picture, view, eye, picture.intrinsics is not None, knows_place, lens)

    @property
    def inputs(self) -> tuple[InputKey, ...]:
        """The picture first: it sets the pace."""
        own = [self.picture.name] if self.depth_eye is None else [self.picture.name, self.depth_eye.stream]
        return tuple((self.name, stream) for stream in own)

    def depth_in(self, frames: Mapping[InputKey, Frame]) -> npt.NDArray[np.generic] | None:
        """The depth picture among these frames of the camera; None where there is none of this moment."""
        frame = None if self.depth_eye is None else frames.get((self.name, self.depth_eye.stream))
        return None if frame is None else frame.data

    def decoded(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """The picture in a frame of its: (height, width, 3) BGR, or (height, width) where it is grey.

        Raises EstimatorError for a JPEG that is none.
        """
        data = np.asarray(frame.data, np.uint8)
        if self.picture.pixel_format != "jpeg" or data.ndim != 1:
            return data
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise EstimatorError(f"the JPEG of {frame.stream} frame {frame.number} does not decode")
        return np.asarray(picture, np.uint8)

    def observations(
        self, people: Sequence[PersonKeypoints], depth: npt.NDArray[np.generic] | None
    ) -> list[Observation]:
        """What was seen of each, of whom enough was. depth: (height, width) uint16 of the depth stream."""
        return [self._observation(person, depth) for person in people]

    def _observation(self, person: PersonKeypoints, depth: npt.NDArray[np.generic] | None) -> Observation:
        points, confidences = to_lsp14(person.joint_set, person.points_px, person.confidences)
        known = np.asarray((np.abs(points) < _FARTHEST_PX).all(axis=1), np.bool_)  # which NaN is not
        points, confidences = np.where(known[:, None], points, 0.0), np.where(known, confidences, 0.0)
        straight = self.lens.straightened(points)
        known &= np.isfinite(straight).all(axis=1)  # what is far outside of a bent picture is nowhere
        straight, confidences = np.where(known[:, None], straight, 0.0), np.where(known, confidences, 0.0)
        targets = weights = None
        if depth is not None and self.depth_eye is not None:
            targets, weights = self._targets(straight, confidences, np.asarray(depth, np.uint16))
        world = None
        if person.world_m is not None:
            world, _ = to_lsp14(person.joint_set, person.world_m, person.confidences)
        return Observation(self.view, straight, confidences, targets, weights, world)

    def _targets(
        self, points: Float64, confidences: Float64, depth: npt.NDArray[np.uint16]
    ) -> tuple[Float64, Float64]:
        """Where the joints are by the depth picture, in the frame of the picture's camera."""
        eye = self.depth_eye
        assert eye is not None
        rays = np.column_stack([(points - self.view.centre_px) / self.view.focal_px, np.ones(len(points))])
        distance_m = np.full(len(points), _TYPICAL_M)
        targets, weights = np.zeros((len(points), 3)), np.zeros(len(points))
        # Where a line of sight meets the depth picture depends on how far it goes: a few turns settle it.
        for _ in range(_SIGHT_TURNS):
            sights = (eye.view.project(rays * distance_m[:, None]) - eye.view.centre_px) / eye.view.focal_px
            pixels = eye.lens.pixels(sights)
            seen = np.asarray(np.isfinite(pixels).all(axis=1), np.bool_)
            targets, weights = targets_from_depth(
                depth,
                eye.view,
                np.where(seen[:, None], pixels, -1.0),
                np.where(seen, confidences, 0.0),
                depth_scale_m=eye.scale_m,
            )
            if not eye.lens.is_straight:  # the depth is that of the pixel, the direction that of the sight
                targets[:, :2] = np.where(seen[:, None], sights, 0.0) * targets[:, 2:]
            targets = eye.view.to_world(targets)  # its "world" is the picture's camera
            found = weights > 0
            if not found.any():
                break
            distance_m = np.where(found, targets[:, 2], np.median(targets[found, 2]))
        return np.where(weights[:, np.newaxis] > 0, targets, 0.0), weights

    def pixels_of(self, world_m: Float64) -> Float64:
        """Where points of the world (n, 3) are in the picture: (n, 2), NaN for those behind the camera or far
        beside its picture."""
        view = self.view
        return self.lens.pixels((view.project(world_m) - view.centre_px) / view.focal_px)


def _lens(estimator: str, camera: str, stream: str, known: Intrinsics) -> Lens:
    try:
        return lens_of(known)
    except ValueError as error:
        raise EstimatorError(f"estimator {estimator}: camera {camera}, {stream}: {error}") from error


def _depth_eye(estimator: str, camera: str, depth: StreamInfo, picture: StreamInfo) -> DepthEye | None:
    lens = depth.intrinsics
    if lens is None or not depth.depth_scale_m:
        return None
    depth_from_picture = np.linalg.inv(_pose(depth.camera_from_stream)) @ _pose(picture.camera_from_stream)
    view = View(np.array([lens.fx, lens.fy]), np.array([lens.cx, lens.cy]), depth_from_picture)
    return DepthEye(depth.name, depth.depth_scale_m, view, _lens(estimator, camera, depth.name, lens))


def _guessed_lens(picture: StreamInfo) -> Intrinsics:
    focal = _GUESS_FOCAL * max(picture.width, picture.height, 1)
    return Intrinsics(
        picture.width, picture.height, focal, focal, (picture.width - 1) / 2, (picture.height - 1) / 2
    )


def _pose(pose: object) -> Float64:
    return np.eye(4) if pose is None else np.array(pose, np.float64)
