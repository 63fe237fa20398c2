"""What travels between cameras, rings, estimators and files: plain data, no behaviour.

Arrays are NumPy; times are seconds as float64 on the device's clock and nanoseconds as int on
CLOCK_MONOTONIC; lengths are metres unless a name says otherwise; camera axes are OpenCV's
(x right, y down, z forward); a matrix `a_from_b` maps b's coordinates to a's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Matrix4 = tuple[tuple[float, float, float, float], ...]

# What the pixels (or numbers) of a stream are.
#   z16   uint16 (height, width)      depth in units of depth_scale_m, 0 = no measurement
#   bgr8  uint8  (height, width, 3)   colour
#   y8    uint8  (height, width)      infrared or grey
#   jpeg  uint8  (n,)                 one JPEG file, as the camera delivered it
#   f32   float32 (height, width)     numbers: height rows of width values (body parameters)
#   mesh  float32 (height, width, 3)  height people of width points each, millimetres
PIXEL_FORMATS = ("z16", "bgr8", "y8", "jpeg", "f32", "mesh")


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole camera with OpenCV distortion, in pixels.

    `model` is "none", "brown_conrady" (OpenCV order k1 k2 p1 p2 k3),
    "inverse_brown_conrady" or another name the device gives.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "none"
    coefficients: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a camera.

    `name` is unique within its camera: "depth", "color", "infrared1", "infrared2", or what an
    estimator calls its output. `camera_from_stream` places this sensor in the camera's frame (that
    of its depth stream, or of its only stream). `fps` is the nominal rate, 0 where nobody knows it.
    `focal_baseline_px_m` is of stereo depth: focal length of the imagers in pixels times their distance in
    metres, so that disparity in pixels = focal_baseline_px_m / depth in metres. The pixels are those that
    were matched, also where the image was shrunk afterwards; None where it is no stereo or nobody knows.
    `intrinsics_from_rig`: the rig file says the intrinsics, and may be wrong; else the camera itself does.
    `faces` are the triangles of a mesh stream, as `mesh_faces.pack_faces` writes them; "" where nobody knows.
    """

    name: str
    pixel_format: str
    width: int
    height: int
    fps: float
    intrinsics: Intrinsics | None = None
    depth_scale_m: float | None = None
    camera_from_stream: Matrix4 | None = None
    focal_baseline_px_m: float | None = None
    intrinsics_from_rig: bool = False
    faces: str = ""


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """What an opened camera says of itself.

    `can_wait` is true for sources that can be slowed down (files): with a full ring they wait
    instead of dropping.
    """

    name: str
    backend: str
    model: str
    streams: tuple[StreamInfo, ...]
    serial: str = ""
    firmware: str = ""
    usb_type: str = ""
    can_wait: bool = False
    world_from_camera: Matrix4 | None = None
    options: dict[str, float | int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture (or depth map, or set of numbers) at one moment.

    stream:         name of the stream in its CameraInfo
    number:         the device's own frame number, counted on across its wraps; two frames of a stream
                    with the same number are the same frame, a step above 1 is a loss at the camera
    data:           see PIXEL_FORMATS; valid only until the source's next read() or close()
    device_time_s:  the device's clock, unwrapped, in seconds; None where there is none
    clock:          domain of device_time_s: "hardware", "system", "global", "monotonic", "media", ""
    monotonic_ns:   CLOCK_MONOTONIC of this host when the frame reached us (or was taken, where the
                    driver knows that on the same clock)
    meta:           UTF-8 JSON object of further facts (exposure, true pose), or b""
    """

    stream: str
    number: int
    data: npt.NDArray[np.generic]
    device_time_s: float | None
    clock: str
    monotonic_ns: int
    meta: bytes = b""
