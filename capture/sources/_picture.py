"""One sensor's view of the room with the person in it, and the colour picture made of that.

Owns projection into a sensor, shading, the person's shadow on the floor, and the camera's own touch: a lens
that is not quite sharp, grain that is new in every picture, and JPEG.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.normals import vertex_normals
from capture.body.procedural import procedural_body
from capture.body.raster import Fragments, project, rasterise
from capture.frames import StreamInfo
from capture.sources._actor import Moment, wardrobe
from capture.sources._room import MAIN_LAMP, lit, view_room

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

_JPEG_QUALITY: Final = 90
_GRAIN_SD: Final = 3.0  # of 255
_LENS_BLUR_SIGMA_PX: Final = 0.6
_SHADOW_BLUR_SIGMA_PX: Final = 3.0
_SHADOW_DEPTH: Final = 0.45  # how much of the floor's light a shadow takes
_ON_THE_FLOOR_1_M: Final = 0.01  # 1/z of a shadow and of the floor under it differ by less


class Sight:
    """A sensor's place, lens, and view of the empty room."""

    def __init__(self, stream: StreamInfo, world_from_sensor: Float64, camera_count: int) -> None:
        if stream.intrinsics is None:
            raise ValueError(f"stream {stream.name} has no intrinsics to render with")
        self.lens = stream.intrinsics
        self.room = view_room(self.lens, world_from_sensor, camera_count)
        self._origin = world_from_sensor[:3, 3]
        self._rotation = world_from_sensor[:3, :3]
        self._faces = procedural_body().faces

    def to_sensor(self, world_points: Float64) -> Float64:
        """World points (n, 3) in this sensor's axes."""
        return np.asarray((world_points - self._origin) @ self._rotation)

    def look(self, moment: Moment) -> Fragments:
        """Where the body shows, furniture in front of it not taken into account."""
        return self._rasterise(moment.vertices)

    def shadow(self, moment: Moment) -> Fragments:
        """The body's shadow under the main lamp, flat on the floor."""
        lamp = MAIN_LAMP.astype(np.float32)
        vertices = moment.vertices
        stretch = lamp[2] / (lamp[2] - vertices[:, 2:])
        return self._rasterise(lamp + (vertices - lamp) * stretch)

    def inverse_z_at(self, seen: Fragments, pixel: npt.NDArray[np.int64]) -> Float32:
        """1/z of whatever is nearest at these flat pixel indices, body or room."""
        nearest = self.room.inverse_z.ravel()[pixel]
        if len(seen.pixel):
            # Fragments stand in the order of their pixels.
            place = np.minimum(np.searchsorted(seen.pixel, pixel), len(seen.pixel) - 1)
            body = np.where(seen.pixel[place] == pixel, seen.inverse_z[place], 0.0)
            nearest = np.maximum(nearest, body)
        return np.asarray(nearest, dtype=np.float32)

    def _rasterise(self, world_points: Float32) -> Fragments:
        # In float32, this product is too small for the linear algebra library to wake its threads.
        points = (world_points - self._origin.astype(np.float32)) @ self._rotation.astype(np.float32)
        return rasterise(project(points, self.lens), self._faces, self.lens.width, self.lens.height)


class ColorImager:
    """The colour camera: pictures of the room with the person in it, as JPEG files or as BGR."""

    def __init__(self, sight: Sight, seed: int, *, jpeg: bool) -> None:
        import cv2

        self._sight = sight
        self._jpeg = jpeg
        self._rest_points = procedural_body().template_vertices
        self._faces = procedural_body().faces
        self._room = cv2.GaussianBlur(sight.room.color, (0, 0), _LENS_BLUR_SIGMA_PX)
        self._room_inverse_z = sight.room.inverse_z.ravel()
        self._rng = np.random.default_rng([seed, 1])
        height, width = sight.room.inverse_z.shape
        grain = self._rng.standard_normal((height + height // 4, width + width // 4, 3), np.float32)
        self._grain = np.rint(grain * np.float32(_GRAIN_SD)).astype(np.int16)

    def picture(self, moment: Moment, seen: Fragments) -> Picture:
        """A new picture of this moment; `seen` is what `Sight.look` said."""
        import cv2

        image = self._room.copy()
        self._cast_shadow(image, self._sight.shadow(moment))
        self._paint_body(image, moment, seen)
        height, width = image.shape[:2]
        top = int(self._rng.integers(self._grain.shape[0] - height + 1))
        left = int(self._rng.integers(self._grain.shape[1] - width + 1))
        grain = self._grain[top : top + height, left : left + width]
        noisy: Picture = cv2.add(image, grain, dtype=cv2.CV_8U)
        if not self._jpeg:
            return noisy
        done, file = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not done:
            raise ValueError(f"OpenCV could not encode a {width}x{height} picture as JPEG")
        return np.asarray(file, dtype=np.uint8).ravel()

    def _cast_shadow(self, image: Picture, shadow: Fragments) -> None:
        import cv2

        # Where the room is as far away as the shadow, the floor shows; elsewhere furniture stands on it.
        on_floor = np.abs(self._room_inverse_z[shadow.pixel] - shadow.inverse_z) < _ON_THE_FLOOR_1_M
        pixel = shadow.pixel[on_floor]
        if not len(pixel):
            return
        window = _window(pixel, image.shape[1], image.shape[0], margin=9)
        mask = np.zeros(image.shape[:2], np.float32)
        mask.ravel()[pixel] = _SHADOW_DEPTH
        light = 1.0 - cv2.GaussianBlur(mask[window], (0, 0), _SHADOW_BLUR_SIGMA_PX)
        image[window] = (image[window] * light[:, :, None]).astype(np.uint8)

    def _paint_body(self, image: Picture, moment: Moment, seen: Fragments) -> None:
        import cv2

        in_front = seen.inverse_z > self._room_inverse_z[seen.pixel]
        pixel, corners, shares = seen.pixel[in_front], seen.corners[in_front], seen.shares[in_front]
        if not len(pixel):
            return
        normals = _blend(vertex_normals(moment.vertices, self._faces), corners, shares)
        normals /= np.sqrt(np.einsum("ni,ni->n", normals, normals))[:, None] + np.float32(1e-6)
        points = _blend(moment.vertices, corners, shares)
        color = lit(wardrobe(_blend(self._rest_points, corners, shares)), points, normals)
        image.reshape(-1, 3)[pixel] = np.clip(color * 255.0, 0, 255).astype(np.uint8)
        # The room went through the lens once and for all; what the body covers goes through it now.
        window = _window(pixel, image.shape[1], image.shape[0], margin=2)
        image[window] = cv2.GaussianBlur(image[window], (0, 0), _LENS_BLUR_SIGMA_PX)


def _blend(values: Float32, corners: npt.NDArray[np.int32], shares: Float32) -> Float32:
    """Values at the vertices, (n, 3), carried over to fragments."""
    blended = values[corners[:, 0]] * shares[:, :1]
    blended += values[corners[:, 1]] * shares[:, 1:2]
    blended += values[corners[:, 2]] * shares[:, 2:]
    return blended


def _window(pixel: npt.NDArray[np.intp], width: int, height: int, *, margin: int) -> tuple[slice, slice]:
    """The rectangle around some flat pixel indices, with a margin, inside the image."""
    row, column = np.divmod(pixel, width)
    return (
        slice(max(0, int(row.min()) - margin), min(height, int(row.max()) + margin + 1)),
        slice(max(0, int(column.min()) - margin), min(width, int(column.max()) + margin + 1)),
    )
