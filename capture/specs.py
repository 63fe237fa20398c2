"""What a child process is told: plain frozen dataclasses made from a checked rig file.

`capture.config` fills them in; sources, camera, writer, estimators and preview take them. They are
picklable, know no pydantic, and carry units in their names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from capture.frames import Intrinsics, Matrix4

ESTIMATOR_FILES: Final = ("calibration", "model", "body_model", "prior", "session")
"""Options of estimators that name a file or a folder."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A wish for one stream: size in pixels and rate; 0 leaves the choice to the camera."""

    width: int = 0
    height: int = 0
    fps: float = 0.0


@dataclass(frozen=True, slots=True)
class RealSenseSpec:
    """A RealSense camera. `serial` "" takes the first free one. `options` are librealsense option
    names (exposure, laser_power, inter_cam_sync_mode, global_time_enabled, ...) with their values,
    on the depth sensor; `color_options` the same on the colour sensor. `visual_preset` is a name such
    as "High Accuracy". `decimation` 2 to 8 shrinks depth by that factor, 1 leaves it alone."""

    serial: str = ""
    depth: StreamSpec | None = None
    color: StreamSpec | None = None
    infrared: StreamSpec | None = None
    infrared_sensors: tuple[int, ...] = (1,)
    visual_preset: str = ""
    options: dict[str, float] = field(default_factory=dict)
    color_options: dict[str, float] = field(default_factory=dict)
    decimation: int = 1


@dataclass(frozen=True, slots=True)
class OpenCVSpec:
    """A webcam by index or path, a URL (http MJPEG, rtsp, udp) or a video file.

    Files: `pace` "realtime" plays at the file's rate (or at `color.fps` where that is set), "fast" as
    fast as it can be written; `loop` starts again at the end. `passthrough` keeps the camera's own
    JPEG where the driver delivers MJPG."""

    device: str = "0"
    color: StreamSpec = field(default_factory=StreamSpec)
    pace: str = "realtime"
    loop: bool = False
    passthrough: bool = True
    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class PlaybackSpec:
    """A recording as a camera: .bag/.db3 (through librealsense), one of our own camera folders or
    .nrig files, or a folder of 16-bit PNG depth with colour beside it (Open3D, TUM).

    `pace` "realtime" keeps the recorded intervals, "fast" waits only for the writer.
    `depth_scale_m` is for PNG folders that do not say it themselves."""

    path: str
    pace: str = "realtime"
    loop: bool = False
    fps: float = 30.0
    depth_scale_m: float = 0.001


@dataclass(frozen=True, slots=True)
class SimulatedSpec:
    """A simulated D435 in a room with a walking body.

    `index` of `count` places the camera on a ring around the room, looking inward. `through_realsense`
    feeds the frames into the real librealsense: None does so where it is installed. `loop_s` is how
    much is rendered beforehand and repeated."""

    index: int = 0
    count: int = 1
    depth: StreamSpec | None = None
    color: StreamSpec | None = None
    through_realsense: bool | None = None
    loop_s: float = 2.0
    seed: int = 0


SourceSpec = RealSenseSpec | OpenCVSpec | PlaybackSpec | SimulatedSpec


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera of the rig: its name (a folder name), where its frames come from, and where it stands.

    `intrinsics` are of its colour pictures, for cameras that do not know their lens themselves.
    `recover_command` is run when opening it has failed `recover_after` times in a row."""

    name: str
    source: SourceSpec
    world_from_camera: Matrix4 | None = None
    restart_max_s: float = 60.0
    stall_s: float = 3.0
    recover_command: tuple[str, ...] = ()
    recover_after: int = 5
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True, slots=True)
class EstimatorSpec:
    """An estimator of the rig: `kind` picks it (a built-in one, or an installed entry point),
    `cameras` are the cameras it looks at, `options` are its own settings."""

    name: str
    kind: str
    cameras: tuple[str, ...]
    options: dict[str, object] = field(default_factory=dict)
