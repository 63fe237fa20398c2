"""The simulated room: where its cameras stand and what they see of it when nobody is there.

World axes: z up, the floor at z = 0, the origin in the middle of the floor, metres. The cameras stand on a
ring around the middle and look inward; beside each (up to eight of them) stands a low cabinet, so that a
depth image holds near things as well as far ones. Everything is a plane or a box: distances are exact,
found by intersecting one ray per pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.frames import Intrinsics, Matrix4

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Color = tuple[float, float, float]
"""Blue, green, red: the share of the light that comes back."""

HALF_SIZE_M: Final = 3.4
HEIGHT_M: Final = 2.7
RING_RADIUS_M: Final = 2.8
CAMERA_HEIGHT_M: Final = 1.45
LOOK_AT_HEIGHT_M: Final = 0.92
_FIRST_CAMERA_ANGLE: Final = math.radians(-62.0)
_MOST_CABINETS: Final = 8

MAIN_LAMP: Final = np.array([0.9, -0.7, 2.55])
_LIGHTS: Final = ((MAIN_LAMP, 0.74), (np.array([-1.6, 1.5, 2.5]), 0.42))
_AMBIENT: Final = 0.4


@dataclass(frozen=True, slots=True)
class Block:
    """A box standing at `centre` (x, y) from `bottom_m` up, turned by `yaw` radians about the vertical."""

    centre: tuple[float, float]
    size: tuple[float, float, float]
    bottom_m: float
    color: Color
    yaw: float = 0.0
    books: bool = False


_WOOD: Final = (0.22, 0.42, 0.62)
_FURNITURE: Final = (
    Block((-1.95, 2.25), (1.5, 0.8, 0.04), 0.71, _WOOD, 0.12),
    *(
        Block(
            (-1.95 + dx - 0.12 * dy, 2.25 + dy + 0.12 * dx), (0.06, 0.06, 0.71), 0.0, (0.16, 0.3, 0.45), 0.12
        )
        for dx in (-0.68, 0.68)
        for dy in (-0.33, 0.33)
    ),
    Block((-2.1, 2.4), (0.56, 0.07, 0.36), 0.82, (0.1, 0.1, 0.11), 0.3),
    Block((-2.1, 2.4), (0.2, 0.18, 0.07), 0.75, (0.15, 0.15, 0.16), 0.3),
    Block((-1.5, 2.2), (0.22, 0.3, 0.05), 0.75, (0.25, 0.2, 0.7), 0.7),
    Block((2.75, -0.3), (0.9, 1.9, 0.42), 0.0, (0.45, 0.3, 0.24), 0.0),
    Block((3.1, -0.3), (0.25, 1.9, 0.42), 0.42, (0.43, 0.28, 0.22), 0.0),
    Block((-2.95, -2.25), (0.6, 1.2, 2.0), 0.0, (0.5, 0.55, 0.58), 0.0),
    Block((2.2, 2.5), (0.55, 0.5, 0.45), 0.0, (0.35, 0.52, 0.7), 0.5),
    Block((2.25, 2.52), (0.36, 0.34, 0.3), 0.45, (0.32, 0.5, 0.68), -0.25),
    Block((0.3, -3.22), (1.7, 0.3, 1.75), 0.0, _WOOD, 0.0, books=True),
    Block((-3.1, 0.8), (0.4, 0.4, 0.75), 0.0, (0.3, 0.45, 0.3), 0.78),
)


def ring_pose(index: int, count: int) -> Matrix4:
    """`world_from_camera` of camera `index` of `count`: OpenCV axes, on the ring, looking inward."""
    angle = _FIRST_CAMERA_ANGLE + 2.0 * math.pi * index / count
    place = np.array([RING_RADIUS_M * math.cos(angle), RING_RADIUS_M * math.sin(angle), CAMERA_HEIGHT_M])
    forward = np.array([0.0, 0.0, LOOK_AT_HEIGHT_M]) - place
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = place
    return as_matrix4(matrix)


def as_matrix4(matrix: Float64) -> Matrix4:
    """A 4 x 4 array as plain tuples."""
    a, b, c, d = ((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in matrix)
    return (a, b, c, d)


def blocks(count: int) -> list[Block]:
    """All the furniture of a room with `count` cameras."""
    cabinets = []
    every = -(-count // _MOST_CABINETS)
    for index in range(0, count, every):
        angle = _FIRST_CAMERA_ANGLE + 2.0 * math.pi * index / count
        # Seen from the camera: 0.66 m to the right of the line to the middle, 0.75 m ahead.
        inward, aside = RING_RADIUS_M - 0.75, 0.66
        x = inward * math.cos(angle) - aside * math.sin(angle)
        y = inward * math.sin(angle) + aside * math.cos(angle)
        cabinets.append(Block((x, y), (0.95, 0.42, 1.04), 0.0, (0.42, 0.6, 0.74), angle))
    return [*_FURNITURE, *cabinets]


@dataclass(frozen=True, slots=True)
class RoomView:
    """The empty room through one sensor: 1/z in 1/m (height, width), and BGR (height, width, 3)."""

    inverse_z: Float32
    color: npt.NDArray[np.uint8]


def view_room(intrinsics: Intrinsics, world_from_sensor: Float64, camera_count: int) -> RoomView:
    """Look at the empty room."""
    origin = world_from_sensor[:3, 3]
    u = (np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx
    v = (np.arange(intrinsics.height) - intrinsics.cy) / intrinsics.fy
    camera_rays = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))], axis=-1).astype(np.float32)
    # One unit along a ray is one metre of depth, as the third camera coordinate of each ray is one.
    rays = camera_rays @ world_from_sensor[:3, :3].T.astype(np.float32)
    depth, color = _view_shell(origin, rays)
    for block in blocks(camera_count):
        _view_block(block, origin, rays, world_from_sensor, intrinsics, depth, color)
    return RoomView(1.0 / depth, (color * 255.0).clip(0, 255).astype(np.uint8))


def lit(albedo: Float32, points: Float32, normals: Float32) -> Float32:
    """Lambert's law under the room's lamps; `normals` have length one."""
    light = np.full(len(points), _AMBIENT, np.float32)
    for place, strength in _LIGHTS:
        towards = place.astype(np.float32) - points
        distance = np.sqrt(np.einsum("ni,ni->n", towards, towards)) + 1e-6
        cosine = np.einsum("ni,ni->n", towards, normals) / distance
        light += strength * np.maximum(cosine, 0.0) * np.minimum(1.6, 4.0 / (1.0 + distance * distance))
    shaded: Float32 = albedo * light[:, None]
    return shaded


def _view_shell(origin: Float64, rays: Float32) -> tuple[Float32, Float32]:
    """Floor, ceiling and walls from inside."""
    low = np.array([-HALF_SIZE_M, -HALF_SIZE_M, 0.0])
    high = np.array([HALF_SIZE_M, HALF_SIZE_M, HEIGHT_M])
    to_low, to_high = (low - origin).astype(np.float32), (high - origin).astype(np.float32)
    with np.errstate(divide="ignore"):
        leaves = np.where(rays > 0, to_high, to_low) / rays
    depth = leaves.min(axis=-1)
    points = origin.astype(np.float32) + rays * depth[..., None]
    color = np.empty_like(rays)
    for axis in range(3):
        # Where two planes are equally far, in a corner, the later axis paints over the earlier one.
        mask = leaves[..., axis] == depth
        here = points[mask]
        normals = np.zeros_like(here)
        normals[:, axis] = -np.sign(here[:, axis] - (low + high)[axis] / 2)
        albedo = _wall_color(here, axis) if axis < 2 else _floor_and_ceiling_color(here)
        color[mask] = lit(albedo, here, normals)
    return depth, color


def _floor_and_ceiling_color(points: Float32) -> Float32:
    """White above; below, checkered tiles with dark joints and a round rug in the middle."""
    x, y = points[:, 0] / 0.45, points[:, 1] / 0.45
    dark = (np.floor(x) + np.floor(y)) % 2 == 1
    color = np.where(dark[:, None], (0.36, 0.45, 0.52), (0.58, 0.66, 0.71)).astype(np.float32)
    joint = np.minimum(np.abs(x - np.rint(x)), np.abs(y - np.rint(y))) < 0.012
    color[joint] = (0.28, 0.32, 0.35)
    radius = np.hypot(points[:, 0], points[:, 1])
    rings = np.floor(radius / 0.16) % 2 == 0
    rug = radius < 1.28
    color[rug] = np.where(rings[rug, None], (0.42, 0.26, 0.22), (0.52, 0.38, 0.3))
    color[points[:, 2] > HEIGHT_M / 2] = (0.86, 0.87, 0.88)
    return color


def _wall_color(points: Float32, axis: int) -> Float32:
    """Plaster with a skirting board, a door in one wall, pictures on the others."""
    along = points[:, 1 - axis]
    height = points[:, 2]
    wall = axis * 2 + (points[:, axis] > 0)
    tones = np.array(
        [[0.80, 0.84, 0.86], [0.86, 0.85, 0.80], [0.78, 0.82, 0.86], [0.84, 0.86, 0.82]], np.float32
    )
    color: Float32 = tones[wall]
    color *= (1.0 + 0.012 * np.sin(along * 34.0))[:, None].astype(np.float32)
    color[height < 0.09] = (0.86, 0.88, 0.89)

    def paint(where: int, left: float, right: float, bottom: float, top: float, tone: Color) -> None:
        inside = (wall == where) & (along > left) & (along < right) & (height > bottom) & (height < top)
        color[inside] = tone

    paint(0, 1.3, 2.3, 0.0, 2.08, (0.3, 0.36, 0.4))
    paint(0, 1.36, 2.24, 0.0, 2.02, (0.34, 0.5, 0.62))
    paint(0, 2.12, 2.18, 0.98, 1.04, (0.2, 0.2, 0.2))
    for where, left, tone in (
        (1, -1.6, (0.55, 0.32, 0.2)),
        (2, -2.2, (0.3, 0.55, 0.75)),
        (3, 0.2, (0.4, 0.6, 0.35)),
    ):
        paint(where, left, left + 1.1, 1.2, 1.95, (0.12, 0.12, 0.12))
        paint(where, left + 0.05, left + 1.05, 1.25, 1.9, (0.85, 0.86, 0.86))
        paint(where, left + 0.15, left + 0.95, 1.35, 1.8, tone)
        paint(where, left + 0.3, left + 0.6, 1.45, 1.7, (0.3, 0.75, 0.85))
    return color


def _view_block(
    block: Block,
    origin: Float64,
    rays: Float32,
    world_from_sensor: Float64,
    intrinsics: Intrinsics,
    depth: Float32,
    color: Float32,
) -> None:
    """Draw one box into `depth` and `color` where it is nearer than what is there."""
    half = np.array(block.size) / 2
    middle = np.array([*block.centre, block.bottom_m + half[2]])
    c, s = math.cos(block.yaw), math.sin(block.yaw)
    world_from_block = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    window = _window(middle, half, world_from_block, world_from_sensor, intrinsics)
    if window is None:
        return
    seen = rays[window]
    local_rays = seen @ world_from_block.astype(np.float32)
    local_origin = (origin - middle) @ world_from_block
    with np.errstate(divide="ignore"):
        first = (-half - local_origin) / local_rays
        second = (half - local_origin) / local_rays
    enters = np.minimum(first, second)
    entry = enters.max(axis=-1)
    hit = (entry < np.maximum(first, second).min(axis=-1)) & (entry > 0.02) & (entry < depth[window])
    axis = enters[hit].argmax(axis=-1)
    local = local_origin + local_rays[hit] * entry[hit][:, None]
    local_normals = np.zeros_like(local)
    rows = np.arange(len(local))
    local_normals[rows, axis] = np.sign(local[rows, axis])
    albedo = _block_color(block, local, axis)
    points = (local @ world_from_block.T + middle).astype(np.float32)
    depth[window][hit] = entry[hit]
    color[window][hit] = lit(albedo, points, (local_normals @ world_from_block.T).astype(np.float32))


def _window(
    middle: Float64,
    half: Float64,
    world_from_block: Float64,
    world_from_sensor: Float64,
    intrinsics: Intrinsics,
) -> tuple[slice, slice] | None:
    """The part of the image a box can touch; everything when some of it is beside or behind the camera."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = (signs * half) @ world_from_block.T + middle
    x, y, z = ((corners - world_from_sensor[:3, 3]) @ world_from_sensor[:3, :3]).T
    if (z < 0.05).all():
        return None
    if (z < 0.05).any():
        return slice(0, intrinsics.height), slice(0, intrinsics.width)
    u = intrinsics.fx * x / z + intrinsics.cx
    v = intrinsics.fy * y / z + intrinsics.cy
    left, right = max(0, math.floor(u.min())), min(intrinsics.width, math.ceil(u.max()) + 1)
    top, bottom = max(0, math.floor(v.min())), min(intrinsics.height, math.ceil(v.max()) + 1)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _block_color(block: Block, local: Float64, axis: npt.NDArray[np.intp]) -> Float32:
    """The block's own colour, a little darker towards its edges; or the backs of books on shelves."""
    albedo = np.tile(np.array(block.color, np.float32), (len(local), 1))
    edge = (np.abs(local) > np.array(block.size) / 2 - 0.012).sum(axis=1) >= 2
    albedo[edge] *= 0.7
    if block.books:
        front = axis == 1
        column = np.floor(local[:, 0] / 0.043)
        shelf = np.floor(local[:, 2] / 0.34)
        tone = np.sin(
            np.stack([column * 12.9 + shelf * 7.1, column * 4.1 + shelf, column * 7.7 - shelf], axis=1)
        )
        books = (0.4 + 0.16 * tone).astype(np.float32)
        on_board = (local[:, 2] / 0.34 - shelf) < 0.08
        albedo[front & ~on_board] = books[front & ~on_board]
    return albedo
