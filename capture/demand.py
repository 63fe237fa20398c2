"""What a rig asks of a machine: bytes and CPU of every stream, from the rig file and measured costs.

Opens no camera and measures nothing. Where a rig leaves size or rate to the camera, usual ones stand in.
"""

from __future__ import annotations

from dataclasses import dataclass

from capture.config import Camera, OpenCVCamera, PlaybackCamera, RealSenseCamera, Rig, Stream
from capture.sources._cv_address import parse_address
from capture.trials import CodecTrial

_MB = 1e6

# Where a rig leaves size or rate to the camera.
_ASSUMED = {"depth": (848, 480, 30.0), "color": (640, 480, 30.0), "infrared": (848, 480, 30.0)}
_RAW_BYTES = {"depth": 2.0, "color": 2.0, "infrared": 1.0}  # on the wire: z16, yuyv, y8
_JPEG_BYTES_PER_PIXEL = 0.25  # quality 90, indoor scenes
_INFRARED_RATIO = 1.3
_READING_CORES = 0.03  # a camera process that reads and copies, measured


@dataclass(frozen=True, slots=True)
class Costs:
    """What compressing costs here: the depth codec's trial, and CPU nanoseconds per pixel of the rest."""

    depth: CodecTrial
    infrared_ns: float
    jpeg_ns: float


@dataclass(frozen=True, slots=True)
class StreamDemand:
    """What one stream asks for. `usb_mb_s` is 0 for what comes over no USB; `assumed`: the rig does not
    say size or rate, so usual ones were taken."""

    name: str
    size: str
    fps: float
    raw_mb_s: float
    disk_mb_s: float
    usb_mb_s: float
    cpu_cores: float
    assumed: bool


def has_depth(rig: Rig) -> bool:
    """Whether any camera (may) deliver depth: without it no depth codec matters."""
    return any(kind == "depth" for camera in rig.cameras for kind, _ in _streams(camera))


def makes_jpeg(rig: Rig) -> bool:
    """Whether any camera may deliver bare colour, which we compress."""
    return any(
        kind == "color" and not _passes_jpeg(camera) for camera in rig.cameras for kind, _ in _streams(camera)
    )


def stream_demands(rig: Rig, costs: Costs) -> list[StreamDemand]:
    """Every stream of the rig, in its order."""
    return [
        _demand(camera, kind, stream, costs) for camera in rig.cameras for kind, stream in _streams(camera)
    ]


def cores(rig: Rig, streams: list[StreamDemand]) -> float:
    """CPU cores of the whole rig: its streams, and reading its cameras."""
    return sum(stream.cpu_cores for stream in streams) + _READING_CORES * len(rig.cameras)


def _streams(camera: Camera) -> list[tuple[str, Stream]]:
    if isinstance(camera, OpenCVCamera):
        return [("color", camera.color)]
    if isinstance(camera, PlaybackCamera):
        return [("depth", Stream(fps=camera.fps)), ("color", Stream(fps=camera.fps))]
    found = [("depth", camera.depth), ("color", camera.color)]
    if isinstance(camera, RealSenseCamera):
        found += [(f"infrared{n}", camera.infrared) for n in camera.infrared_sensors]
    wanted = [(kind, stream) for kind, stream in found if stream is not None]
    return wanted or [("depth", Stream())]


def stream_rates(camera: Camera) -> list[float]:
    """Frames per second of each of a camera's streams."""
    return [stream.fps or _ASSUMED[kind.rstrip("12")][2] for kind, stream in _streams(camera)]


def _passes_jpeg(camera: Camera) -> bool:
    return isinstance(camera, OpenCVCamera) and camera.passthrough


def _demand(camera: Camera, name: str, stream: Stream, costs: Costs) -> StreamDemand:
    kind = name.rstrip("12")
    usual = _ASSUMED[kind]
    width, height, fps = stream.width or usual[0], stream.height or usual[1], stream.fps or usual[2]
    pixels_s = width * height * fps
    raw = pixels_s * _RAW_BYTES[kind]
    if kind == "depth":
        disk, ns = raw / costs.depth.ratio, costs.depth.ns_per_pixel
    elif kind == "color":
        disk, ns = pixels_s * _JPEG_BYTES_PER_PIXEL, 0.0 if _passes_jpeg(camera) else costs.jpeg_ns
    else:
        disk, ns = raw / _INFRARED_RATIO, costs.infrared_ns
    webcam = isinstance(camera, OpenCVCamera) and parse_address(str(camera.device)).kind == "webcam"
    over_usb = isinstance(camera, RealSenseCamera) or webcam
    usb = (disk if _passes_jpeg(camera) else raw) if over_usb else 0.0
    return StreamDemand(
        name=f"{camera.name}/{name}",
        size=f"{width}x{height}",
        fps=fps,
        raw_mb_s=raw / _MB,
        disk_mb_s=disk / _MB,
        usb_mb_s=usb / _MB,
        cpu_cores=pixels_s * ns / 1e9,
        assumed=not (stream.width and stream.height and stream.fps),
    )
