"""Renders what a simulated camera sees of the walking person: a loop of frames with the truth beside them.

Owns the layout of a simulated camera (sizes, rates, lenses, where it stands) and the pictures; knows no
clock. See `capture.sources.simulated` for the meaning of `meta`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.body.raster import Fragments
from capture.frames import CameraInfo, Intrinsics, Matrix4, StreamInfo
from capture.sources._actor import Actor, Moment
from capture.sources._d435_noise import BASELINE_MM, StereoNoise
from capture.sources._picture import ColorImager, Sight
from capture.sources._room import as_matrix4, ring_pose
from capture.specs import SimulatedSpec, StreamSpec
from codec.errors import CameraNotFoundError, CameraProfileError

Float64 = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with (moments rendered, moments in all)."""

COLOR_FORMATS: Final = ("jpeg", "bgr8")
COLOR_OFFSET_M: Final = 0.015
DEPTH_SCALE_M: Final = 0.001
_HIDDEN_BEHIND_M: Final = 0.18  # deeper inside the body than this lies no joint

_DEFAULT_SIZES: Final = {"depth": (848, 480), "color": (640, 480)}
_DEFAULT_FPS: Final = 30.0
_SMALLEST_SIDE, _LARGEST_SIDE = 32, 4096
_LARGEST_FPS: Final = 300.0
_LARGEST_LOOP_BYTES: Final = 2 << 30
# Focal lengths of D4xx depth at the sizes that were measured; elsewhere it is half the width.
_DEPTH_FOCAL_PX: Final = {(640, 480): 379.0, (1280, 720): 641.0}
_COLOR_FOCAL_PER_HEIGHT: Final = 1.28


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A rendered loop. All arrays are read-only.

    depth        z16 arrays; empty if the camera has no depth stream
    color        JPEG files or BGR arrays; empty if the camera has no colour stream
    meta         the truth beside each depth frame (each colour frame where there is no depth)
    color_meta   the truth beside each colour frame; the same tuple as `meta` where the rates agree
    info         what the camera says of itself

    Entry i of n shows the walk at phase i / n, in both streams.
    """

    depth: tuple[npt.NDArray[np.uint16], ...]
    color: tuple[npt.NDArray[np.uint8], ...]
    meta: tuple[bytes, ...]
    color_meta: tuple[bytes, ...]
    info: CameraInfo


def camera_info(name: str, spec: SimulatedSpec, color_format: str = "jpeg") -> CameraInfo:
    """What the camera of this spec says of itself. Raises CameraNotFoundError and CameraProfileError."""
    if color_format not in COLOR_FORMATS:
        raise ValueError(f"color_format is {color_format!r}; it can be {' or '.join(COLOR_FORMATS)}")
    if not 0 <= spec.index < spec.count:
        raise CameraNotFoundError(
            f"camera {name}: there is no simulated camera with index {spec.index} among {spec.count};"
            f" set index to 0 .. {max(0, spec.count - 1)}, or count higher"
        )
    streams = []
    if spec.depth is not None:
        width, height, fps = _size_and_rate(name, "depth", spec.depth)
        focal = _DEPTH_FOCAL_PX.get((width, height), width / 2)
        lens = _lens(width, height, focal, "brown_conrady")
        focal_baseline_px_m = focal * BASELINE_MM / 1000
        streams.append(
            StreamInfo(
                "depth",
                "z16",
                width,
                height,
                fps,
                lens,
                DEPTH_SCALE_M,
                focal_baseline_px_m=focal_baseline_px_m,
            )
        )
    if spec.color is not None:
        width, height, fps = _size_and_rate(name, "color", spec.color)
        lens = _lens(width, height, height * _COLOR_FOCAL_PER_HEIGHT, "inverse_brown_conrady")
        place = _camera_from_color() if streams else None
        streams.append(StreamInfo("color", color_format, width, height, fps, lens, None, place))
    if not streams:
        raise CameraProfileError(
            f"camera {name}: neither depth nor color is switched on; add a depth or a color table to it"
        )
    return CameraInfo(
        name=name,
        backend="simulated",
        model="Simulated D435",
        streams=tuple(streams),
        serial=f"SIM{spec.index + 1:06d}",
        firmware="simulated",
        usb_type="3.2",
        world_from_camera=ring_pose(spec.index, spec.count),
        options={"seed": spec.seed, "loop_s": spec.loop_s},
    )


def render_loop(
    spec: SimulatedSpec,
    *,
    name: str = "simulated",
    color_format: str = "jpeg",
    progress: Progress | None = None,
) -> Loop:
    """Render the whole loop of a camera; takes seconds. Raises as `camera_info` does."""
    info = camera_info(name, spec, color_format)
    counts = _entry_counts(info, spec.loop_s)
    actor = Actor(spec.loop_s)
    sights = {stream.name: Sight(stream, _world_from(info, stream), spec.count) for stream in info.streams}
    measure = picture = None
    if "depth" in sights:
        imager = StereoNoise(sights["depth"].room.inverse_z, sights["depth"].lens.fx, _noise_seed(spec))
        measure = imager.measure
    if "color" in sights:
        picture = ColorImager(sights["color"], _noise_seed(spec), jpeg=color_format == "jpeg").picture
    phases = {stream: [Fraction(i, count) for i in range(count)] for stream, count in counts.items()}
    wanted = {stream: set(some) for stream, some in phases.items()}
    moments = sorted(set().union(*wanted.values()))
    main = info.streams[0].name
    depth, color = _Roll(counts.get("depth", 0)), _Roll(counts.get("color", 0))
    truth: dict[Fraction, bytes] = {}
    for done, phase in enumerate(moments, start=1):
        moment = actor.at(float(phase))
        seen = sights[main].look(moment)
        truth[phase] = _truth(moment, sights[main], seen)
        if measure is not None and phase in wanted["depth"]:
            depth.add(measure(seen.pixel, seen.inverse_z))
        if picture is not None and phase in wanted["color"]:
            color.add(picture(moment, seen if main == "color" else sights["color"].look(moment)))
        if progress is not None:
            progress(done, len(moments))
    meta = tuple(truth[phase] for phase in phases[main])
    color_meta = tuple(truth[phase] for phase in phases.get("color", ()))
    return Loop(
        tuple(depth.frames), tuple(color.frames), meta, meta if color_meta == meta else color_meta, info
    )


class _Roll:
    """The frames of one stream. Those of equal size share one block of memory: between them the renderer's
    own arrays come and go, and many small blocks would keep what it leaves behind from being given back."""

    def __init__(self, count: int) -> None:
        self.frames: list[npt.NDArray[Any]] = []
        self._count = count
        self._block: npt.NDArray[Any] | None = None

    def add(self, frame: npt.NDArray[Any]) -> None:
        """Keep a copy of this frame, read-only."""
        if frame.ndim == 1:
            kept = frame.copy()
        else:
            if self._block is None:
                self._block = np.empty((self._count, *frame.shape), frame.dtype)
            kept = self._block[len(self.frames)]
            kept[...] = frame
        kept.flags.writeable = False
        self.frames.append(kept)


def _size_and_rate(camera: str, stream: str, spec: StreamSpec) -> tuple[int, int, float]:
    """The stream's width, height and rate, with the defaults for what is left open."""
    width, height = spec.width, spec.height
    if width == 0 and height == 0:
        width, height = _DEFAULT_SIZES[stream]
    fps = spec.fps or _DEFAULT_FPS
    if not (_SMALLEST_SIDE <= width <= _LARGEST_SIDE and _SMALLEST_SIDE <= height <= _LARGEST_SIDE):
        raise CameraProfileError(
            f"camera {camera}: {stream} of {width}x{height} cannot be simulated; width and height go from"
            f" {_SMALLEST_SIDE} to {_LARGEST_SIDE}, or leave both out for"
            f" {_DEFAULT_SIZES[stream][0]}x{_DEFAULT_SIZES[stream][1]}"
        )
    if not 0.1 <= fps <= _LARGEST_FPS:
        raise CameraProfileError(
            f"camera {camera}: {stream} at {fps:g} fps cannot be simulated; choose 0.1 to {_LARGEST_FPS:g}"
        )
    return width, height, fps


def _lens(width: int, height: int, focal_px: float, model: str) -> Intrinsics:
    centre = (width - 1) / 2, (height - 1) / 2
    return Intrinsics(width, height, focal_px, focal_px, *centre, model, (0.0,) * 5)


def _camera_from_color() -> Matrix4:
    """The colour sensor sits to the right of the left depth imager, looking the same way."""
    matrix = np.eye(4)
    matrix[0, 3] = COLOR_OFFSET_M
    return as_matrix4(matrix)


def _entry_counts(info: CameraInfo, loop_s: float) -> dict[str, int]:
    """How many frames of each stream a loop holds, so that all streams' loops last equally long."""
    rates = {stream.name: exact_rate(stream.fps) for stream in info.streams}
    slowest = min(rates.values())
    step = max((rate / slowest).denominator for rate in rates.values())
    if 0 < loop_s < 3600 and step <= 100:
        frames = max(1, round(Fraction(loop_s) * slowest / step)) * step
        counts = {name: int(frames * rate / slowest) for name, rate in rates.items()}
        if sum(counts[s.name] * s.width * s.height * 2 for s in info.streams) <= _LARGEST_LOOP_BYTES:
            return counts
    each = " and ".join(f"{stream.name} at {stream.fps:g} fps" for stream in info.streams)
    raise CameraProfileError(
        f"camera {info.name}: a loop of {loop_s:g} s with {each} does not fit in memory; choose a loop_s of a"
        " few seconds, smaller pictures, and rates that are simple multiples of each other"
    )


def exact_rate(fps: float) -> Fraction:
    """A rate as the simple fraction it stands for."""
    return Fraction(fps).limit_denominator(1001)


def _noise_seed(spec: SimulatedSpec) -> int:
    """Another noise for every camera of a rig, the same in every run."""
    return (spec.seed * 1009 + spec.index) % (1 << 32)


def _world_from(info: CameraInfo, stream: StreamInfo) -> Float64:
    camera_from_stream = (
        np.eye(4) if stream.camera_from_stream is None else np.array(stream.camera_from_stream)
    )
    world_from_stream: Float64 = np.array(info.world_from_camera) @ camera_from_stream
    return world_from_stream


def _truth(moment: Moment, sight: Sight, seen: Fragments) -> bytes:
    """The `meta` of a frame; figures are rounded to what matters (1e-6 rad and m, 0.01 px, 0.1 mm)."""
    x, y, z = sight.to_sensor(moment.joints).T
    lens = sight.lens
    # Before the lens only: a point behind the camera has no place in the picture.
    in_front = z > 0.05
    depth = np.where(in_front, z, 1.0)
    u = np.where(in_front, lens.fx * x / depth + lens.cx, -1.0)
    v = np.where(in_front, lens.fy * y / depth + lens.cy, -1.0)
    column, row = np.rint(u).astype(np.int64), np.rint(v).astype(np.int64)
    inside = in_front & (column >= 0) & (column < lens.width) & (row >= 0) & (row < lens.height)
    pixel = np.where(inside, row * lens.width + column, 0)
    surface_z = 1.0 / sight.inverse_z_at(seen, pixel)
    visible = inside & (surface_z > z - _HIDDEN_BEHIND_M)
    keypoints = [
        [round(float(a), 2), round(float(b), 2), int(c)] for a, b, c in zip(u, v, visible, strict=True)
    ]
    facts = {
        "pose": moment.parameters.tolist(),
        "keypoints_px": keypoints,
        "keypoints_m": np.round(moment.joints, 4).tolist(),
    }
    return json.dumps(facts, separators=(",", ":")).encode()
