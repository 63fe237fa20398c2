"""People by NLF (Neural Localizer Fields): a user's TorchScript file finds and poses everybody in a picture.

It looks at the pictures of one camera, which is all that NLF does; several cameras get an estimator each.
Results are in world coordinates where it is known how the camera stands, else in the camera's own. See
`people_results` for what comes out; the meta of each result has who is who ("ids", by where people were in
the picture before) and how sure the file is of them ("scores").

The 85 parameters are the file's, moved into the world. Meshes are the file's own vertices, or, with
`body_model` (a SMPL file of the user's), that model posed by the parameters. Where the camera stands is not
told to the file but applied afterwards: that works with every file, and NLF would take the matrix in
millimetres and its world's y for down.

Options: model (the TorchScript file), device ("cuda", "cpu"; "" is a GPU where there is one),
detector_threshold (0: the file's own), people (the most there can be, 4), model_name ("smpl"), fov_degrees
(across the longer side, for a camera whose lens nobody knows, 55), body_model, gender, meshes (true).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from capture.body.kinematics import (
    JOINT_COUNT,
    SHAPE_COUNT,
    axis_angle_of,
    join_parameters,
    rotations_of,
)
from capture.body.model import BodyModel
from capture.estimators import InputKey
from capture.estimators._body_camera import BodyCamera
from capture.estimators._cameras import camera_named
from capture.estimators._identities import Identities
from capture.estimators._nlf_file import Detections, NlfFile
from capture.estimators._options import checked_options
from capture.estimators.people_results import (
    MOST_PEOPLE,
    Float64,
    PeopleResults,
    people_frames,
    people_streams,
)
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.given_files import given_path
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError

_OWN_DISTORTION: Final = 5
"""So many numbers of a lens NLF knows; pictures of one with more are straightened before."""
_USUAL_PX: Final = (480, 640)
_MM_PER_M: Final = 1000.0
_DEFAULTS: Final[dict[str, object]] = {
    "model": "",
    "device": "",
    "detector_threshold": 0.0,
    "people": 4,
    "model_name": "smpl",
    "fov_degrees": 55.0,
    "body_model": "",
    "gender": "neutral",
    "meshes": True,
}


class _Found(NamedTuple):
    """Somebody: which one of the file's answer, (85,) parameters and (24, 3) joints in the world."""

    place: int
    parameters: Float64
    joints_m: Float64


class NlfEstimator:
    """See the module; `capture.estimators.Estimator` for the methods."""

    def __init__(self, spec: EstimatorSpec) -> None:
        """Raises EstimatorError for options it does not have."""
        self._name, self._wanted = spec.name, spec.cameras
        self._options = _checked(spec)
        self._camera: BodyCamera | None = None
        self._file: NlfFile | None = None
        self._body: BodyModel | None = None
        self._posed: PeopleResults | None = None
        self._identities = Identities()
        self._matrix = np.eye(3)
        self._straightens = False
        self._map: npt.NDArray[np.float32] | None = None

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        """Load the file and try it on a black picture. Raises EstimatorError where it cannot be used here,
        MissingExtraError without torch, and what BodyModel.load raises for `body_model`."""
        camera = self._only_camera(cameras)
        if self._options["body_model"]:
            self._body = BodyModel.load(given_path(self._options["body_model"]), self._options["gender"])
        file = NlfFile(f"estimator {self._name}", given_path(self._options["model"]), self._options["device"])
        self._refuse_name(file)
        self._matrix = self._matrix_of(camera)
        own = camera.lens.opencv_coefficients
        self._straightens = not camera.lens.is_straight and (
            own is None or len(own) > _OWN_DISTORTION or "distortion_coeffs" not in file.keywords
        )
        file.give(self._keywords(camera))
        size = camera.picture.height, camera.picture.width
        # The first pictures take the longest; and a file that fails here does so before the night begins.
        trial = file.detect(np.zeros((*(size if min(size) > 0 else _USUAL_PX), 3), np.uint8))
        self._camera, self._file = camera, file
        return self._streams(camera, trial)

    def _only_camera(self, cameras: Mapping[str, CameraInfo]) -> BodyCamera:
        if len(self._wanted) != 1:
            named = ", ".join(self._wanted) or "none"
            raise EstimatorError(
                f"estimator {self._name}: it looks at one camera, and was given {named}; name one, and"
                " have an estimator for each where several are wanted"
            )
        info = camera_named(self._name, cameras, self._wanted[0])
        return BodyCamera.of(self._name, info, use_depth=False)

    def _refuse_name(self, file: NlfFile) -> None:
        name = self._options["model_name"]
        if name != _DEFAULTS["model_name"] and "model_name" not in file.keywords:
            raise EstimatorError(
                f'estimator {self._name}: model_name = "{name}", but {self._options["model"]} has no choice'
                " of models"
            )

    def _matrix_of(self, camera: BodyCamera) -> Float64:
        """(3, 3) of the camera's lens, of one with the field of view of the options where nobody knows it."""
        focal, centre = camera.view.focal_px, camera.view.centre_px
        if not camera.knows_lens:
            tangent = math.tan(math.radians(self._options["fov_degrees"]) / 2)
            focal = np.full(2, _longer_px(camera) / 2 / tangent)
        return np.array([[focal[0], 0.0, centre[0]], [0.0, focal[1], centre[1]], [0.0, 0.0, 1.0]])

    def _keywords(self, camera: BodyCamera) -> dict[str, object]:
        """What the file may be told of the camera, and what the user wants."""
        distortion = camera.lens.opencv_coefficients
        focal_px = float(max(self._matrix[0, 0], self._matrix[1, 1]))
        keywords: dict[str, object] = {
            "intrinsic_matrix": self._matrix[np.newaxis],
            # For files that do not take the matrix.
            "default_fov_degrees": math.degrees(2 * math.atan(_longer_px(camera) / 2 / focal_px)),
            "model_name": self._options["model_name"],
        }
        if not camera.lens.is_straight and not self._straightens and distortion is not None:
            five = np.zeros((1, _OWN_DISTORTION))
            five[0, : len(distortion)] = distortion
            keywords["distortion_coeffs"] = five
        if self._options["detector_threshold"]:
            keywords["detector_threshold"] = self._options["detector_threshold"]
        return keywords

    def _streams(self, camera: BodyCamera, trial: Detections) -> tuple[StreamInfo, ...]:
        fps, meshes = camera.picture.fps, self._options["meshes"]
        path = self._options["model"]
        if self._body is not None:
            self._posed = PeopleResults(self._body, fps, meshes=meshes)
            return self._posed.streams
        if trial.joints_mm is None:
            raise EstimatorError(
                f"estimator {self._name}: {path} gives no joints3d, without which people have no place;"
                " name a body_model (a SMPL file of yours)"
            )
        if meshes and trial.vertices_mm is None:
            raise EstimatorError(
                f"estimator {self._name}: {path} gives no vertices3d; name a body_model (a SMPL file of"
                " yours) to make meshes with, or say meshes = false"
            )
        points = 0 if trial.vertices_mm is None or not meshes else trial.vertices_mm.shape[1] + JOINT_COUNT
        return people_streams(points, fps)

    def inputs(self) -> tuple[InputKey, ...]:
        """The pictures of its camera."""
        return () if self._camera is None else self._camera.inputs

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        """Everybody whom the file finds, the surest first taken where there are too many."""
        camera, file = self._camera, self._file
        if camera is None or file is None:
            raise EstimatorError(f"estimator {self._name} is not open; call open() first")
        frame = frames[camera.inputs[0]]
        picture = camera.decoded(frame)
        if self._straightens:
            picture = self._straightened(camera, picture)
        found = file.detect(picture)
        bodies = [self._body_of(camera, found, place) for place in np.argsort(-found.scores, kind="stable")]
        people = [body for body in bodies if body is not None][: self._options["people"]]
        if not people:
            return []
        ids = self._identities.of([person.joints_m for person in people], frame.monotonic_ns / 1e9)
        people = [person for _, person in sorted(zip(ids, people, strict=True), key=lambda pair: pair[0])]
        scores = [round(float(found.scores[person.place]), 3) for person in people]
        meta = {"ids": sorted(ids), "scores": scores}
        if self._posed is not None:
            return self._posed.frames(frame, [person.parameters for person in people], meta)
        return self._own_results(frame, people, meta, found)

    def _straightened(self, camera: BodyCamera, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The picture as a straight lens would have taken it; black where this one saw nothing."""
        height, width = picture.shape[:2]
        if self._map is None or self._map.shape[:2] != (height, width):
            column, row = np.meshgrid(np.arange(width), np.arange(height))
            pixels = np.column_stack([column.ravel(), row.ravel()])
            rays = (pixels - self._matrix[:2, 2]) / self._matrix.diagonal()[:2]
            sources = np.nan_to_num(camera.lens.pixels(rays), nan=-10.0)
            self._map = sources.reshape(height, width, 2).astype(np.float32)
        return np.asarray(cv2.remap(picture, self._map, None, cv2.INTER_LINEAR), np.uint8)

    def _body_of(self, camera: BodyCamera, found: Detections, place: int) -> _Found | None:
        """Somebody in the world; None for what cannot be a person."""
        pose, translation = found.poses[place].copy(), found.translations_m[place]
        betas = np.zeros(SHAPE_COUNT)
        given = found.betas[place][:SHAPE_COUNT]
        betas[: len(given)] = given
        numbers = [pose, betas, translation]
        if self._body is None:
            if found.joints_mm is None:
                raise EstimatorError(
                    f"estimator {self._name}: {self._options['model']} gives no joints3d now"
                )
            joints = found.joints_mm[place] / _MM_PER_M
            numbers += [joints] if found.vertices_mm is None else [joints, found.vertices_mm[place]]
        if not all(np.isfinite(array).all() for array in numbers):
            return None
        if self._body is not None:
            joints = self._body.pose(join_parameters(pose, betas, translation))
        if joints[0, 2] <= 0.0:
            return None  # behind the camera is nobody
        world_from_camera = camera.view.camera_from_world[:3, :3].T
        pose[:3] = axis_angle_of(world_from_camera @ rotations_of(pose[np.newaxis, :3])[0])
        world = camera.view.to_world(joints)
        # A body turns about its pelvis, which lies beside the origin of its model by as much as before.
        moved = translation + world[0] - joints[0]
        return _Found(place, join_parameters(pose, betas, moved), world)

    def _own_results(
        self, frame: Frame, people: Sequence[_Found], meta: dict[str, Any], found: Detections
    ) -> list[Frame]:
        """With the vertices that the file itself gives."""
        places = [person.place for person in people]
        rows = np.stack([person.parameters for person in people]).astype(np.float32)
        count, meshes = 0, None
        if self._options["meshes"] and found.vertices_mm is not None and found.joints_mm is not None:
            count = found.vertices_mm.shape[1]
            meshes = self._in_world_mm(
                np.concatenate([found.vertices_mm[places], found.joints_mm[places]], axis=1)
            )
        model = f"nlf {self._options['model_name']}"
        return people_frames(frame, rows, meshes, vertices=count, model=model, meta=meta)

    def _in_world_mm(self, points_mm: Float64) -> npt.NDArray[np.float32]:
        assert self._camera is not None
        world_m = self._camera.view.to_world(points_mm.reshape(-1, 3) / _MM_PER_M)
        return (world_m * _MM_PER_M).reshape(points_mm.shape).astype(np.float32)

    def close(self) -> None:
        """Let go of the file and its memory. Safe to call twice."""
        self._file = self._camera = self._body = self._posed = self._map = None


def _longer_px(camera: BodyCamera) -> int:
    return max(camera.picture.width, camera.picture.height, 1)


def _checked(spec: EstimatorSpec) -> dict[str, Any]:
    name = spec.name
    found = checked_options(name, spec.options, _DEFAULTS)
    if not found["model"]:
        raise EstimatorError(
            f'estimator {name}: which file? options = {{ model = "nlf_l_multi.torchscript" }}; docs/RIG.md'
        )
    for key, least, most in (
        ("people", 1, MOST_PEOPLE),
        ("detector_threshold", 0.0, 1.0),
        ("fov_degrees", 5.0, 170.0),
    ):
        if not least <= found[key] <= most:
            raise EstimatorError(f"estimator {name}: {key} = {found[key]}: from {least:g} to {most:g}")
    return found
