"""The [[cameras]] of a rig file: what each kind of source may be told, and the specs made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from capture.frames import Intrinsics
from capture.session import RESERVED_NAMES, is_name
from capture.specs import (
    CameraSpec,
    OpenCVSpec,
    PlaybackSpec,
    RealSenseSpec,
    SimulatedSpec,
    SourceSpec,
    StreamSpec,
)


class Table(BaseModel):
    """A table of a rig file: no key that is not in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Stream(Table):
    """Size and rate of one stream; 0 leaves the choice to the camera."""

    width: Annotated[int, Field(ge=0, le=16384)] = 0
    height: Annotated[int, Field(ge=0, le=16384)] = 0
    fps: Annotated[float, Field(ge=0, le=1000)] = 0.0

    def spec(self) -> StreamSpec:
        return StreamSpec(self.width, self.height, self.fps)


def folder_name(name: str) -> str:
    """The name of a camera, an estimator or a rig, which becomes that of a folder. Raises ValueError."""
    if not is_name(name) or name in RESERVED_NAMES:
        raise ValueError(
            f"a folder cannot be called {name!r} here: take up to 63 letters, digits, '-', '_' and '.',"
            f" a letter or digit first, and none of {', '.join(RESERVED_NAMES)}"
        )
    return name


def _spec(stream: Stream | None) -> StreamSpec | None:
    return None if stream is None else stream.spec()


class Lens(Table):
    """intrinsics = { ... }: of a camera's colour pictures, in pixels of pictures of width x height;
    `distortion` as OpenCV orders it, k1 k2 p1 p2 k3 ..."""

    width: Annotated[int, Field(ge=1, le=65536)]
    height: Annotated[int, Field(ge=1, le=65536)]
    fx: Annotated[float, Field(gt=0)]
    fy: Annotated[float, Field(gt=0)]
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    @pydantic.field_validator("distortion")
    @classmethod
    def _is_opencv(cls, distortion: tuple[float, ...]) -> tuple[float, ...]:
        if len(distortion) not in (0, 4, 5, 8, 12, 14):
            raise ValueError("OpenCV takes 4, 5, 8, 12 or 14 distortion coefficients, or none")
        return distortion

    def intrinsics(self) -> Intrinsics:
        model = "brown_conrady" if self.distortion else "none"
        return Intrinsics(self.width, self.height, self.fx, self.fy, self.cx, self.cy, model, self.distortion)


class _Camera(Table):
    name: str
    world_from_camera: tuple[tuple[float, float, float, float], ...] | None = None
    intrinsics: Lens | None = None
    restart_max_s: Annotated[float, Field(gt=0)] = 60.0
    stall_s: Annotated[float, Field(gt=0)] = 3.0
    recover_command: tuple[str, ...] | None = None
    recover_after: Annotated[int, Field(ge=1)] = 5

    @pydantic.field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        return folder_name(name)

    @pydantic.field_validator("world_from_camera")
    @classmethod
    def _is_4x4(cls, matrix: Any) -> Any:
        if matrix is not None and len(matrix) != 4:
            raise ValueError("must be a 4x4 matrix, four rows of four numbers")
        return matrix

    def camera_spec(self, source: SourceSpec) -> CameraSpec:
        return CameraSpec(
            self.name,
            source,
            self.world_from_camera,
            self.restart_max_s,
            self.stall_s,
            self.recover_command or (),
            self.recover_after,
            None if self.intrinsics is None else self.intrinsics.intrinsics(),
        )


class RealSenseCamera(_Camera):
    """source = "realsense"."""

    source: Literal["realsense"]
    serial: str = ""
    depth: Stream | None = None
    color: Stream | None = None
    infrared: Stream | None = None
    infrared_sensors: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (1,)
    visual_preset: str = ""
    options: dict[str, float] = Field(default_factory=dict)
    color_options: dict[str, float] = Field(default_factory=dict)
    decimation: Annotated[int, Field(ge=1, le=8)] = 1

    def spec(self) -> CameraSpec:
        depth = Stream() if (self.depth, self.color, self.infrared) == (None, None, None) else self.depth
        source = RealSenseSpec(
            serial=self.serial,
            depth=_spec(depth),
            color=_spec(self.color),
            infrared=_spec(self.infrared),
            infrared_sensors=self.infrared_sensors,
            visual_preset=self.visual_preset,
            options=dict(self.options),
            color_options=dict(self.color_options),
            decimation=self.decimation,
        )
        return self.camera_spec(source)


class OpenCVCamera(_Camera):
    """source = "opencv"."""

    source: Literal["opencv"]
    device: str | int = "0"
    color: Stream = Stream()
    pace: Literal["realtime", "fast"] = "realtime"
    loop: bool = False
    passthrough: bool = True
    open_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    read_timeout_s: Annotated[float, Field(gt=0)] = 5.0

    def spec(self) -> CameraSpec:
        source = OpenCVSpec(
            device=str(self.device),
            color=self.color.spec(),
            pace=self.pace,
            loop=self.loop,
            passthrough=self.passthrough,
            open_timeout_s=self.open_timeout_s,
            read_timeout_s=self.read_timeout_s,
        )
        return self.camera_spec(source)


class PlaybackCamera(_Camera):
    """source = "playback"."""

    source: Literal["playback"]
    path: str
    pace: Literal["realtime", "fast"] = "realtime"
    loop: bool = False
    fps: Annotated[float, Field(ge=0.001, le=1000)] = 30.0
    depth_scale_m: Annotated[float, Field(gt=0)] = 0.001

    def spec(self) -> CameraSpec:
        return self.camera_spec(PlaybackSpec(self.path, self.pace, self.loop, self.fps, self.depth_scale_m))


class SimulatedCamera(_Camera):
    """source = "simulated"."""

    source: Literal["simulated"]
    index: Annotated[int, Field(ge=0)] | None = None
    depth: Stream | None = None
    color: Stream | None = None
    through_realsense: bool | None = None
    loop_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    seed: int = 0

    def spec(self, index: int, count: int) -> CameraSpec:
        source = SimulatedSpec(
            index=index if self.index is None else self.index,
            count=count,
            depth=_spec(self.depth),
            color=_spec(self.color),
            through_realsense=self.through_realsense,
            loop_s=self.loop_s,
            seed=self.seed,
        )
        return self.camera_spec(source)


Camera = Annotated[
    RealSenseCamera | OpenCVCamera | PlaybackCamera | SimulatedCamera, Field(discriminator="source")
]
SOURCES: dict[str, type[BaseModel]] = {
    "realsense": RealSenseCamera,
    "opencv": OpenCVCamera,
    "playback": PlaybackCamera,
    "simulated": SimulatedCamera,
}
"""By the `source` of their tables."""
