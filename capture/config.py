"""A rig as data: TOML -> frozen, checked models -> the plain specs that child processes take.

Only the command line and the supervisor import this (pydantic is not for children). Unknown keys are
errors that name the nearest right one; units stand in the names.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from capture.given_files import SETTINGS_BYTES_MAX, exists
from capture.session import RESERVED_NAMES, is_name
from capture.specs import (
    CameraSpec,
    EstimatorSpec,
    OpenCVSpec,
    PlaybackSpec,
    RealSenseSpec,
    SimulatedSpec,
    SourceSpec,
    StreamSpec,
)
from codec.depth import BELOW_SENSOR_NOISE, CODEC_NAMES, DEFAULT_CODEC
from codec.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

AUTO = "auto"
"""The `record.codec` that leaves the choice to a trial: see capture.codec_choice."""

_SHOWN_CHARACTERS = 60
_HERE = Path(__file__).resolve().parent
SHIPPED = (_HERE / "configs", _HERE.parent / "configs")  # installed, and in a checkout


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Stream(_Model):
    """Size and rate of one stream; 0 leaves the choice to the camera."""

    width: Annotated[int, Field(ge=0, le=16384)] = 0
    height: Annotated[int, Field(ge=0, le=16384)] = 0
    fps: Annotated[float, Field(ge=0, le=1000)] = 0.0

    def spec(self) -> StreamSpec:
        return StreamSpec(self.width, self.height, self.fps)


def _folder_name(name: str) -> str:
    if not is_name(name) or name in RESERVED_NAMES:
        raise ValueError(
            f"a folder cannot be called {name!r} here: take up to 63 letters, digits, '-', '_' and '.',"
            f" a letter or digit first, and none of {', '.join(RESERVED_NAMES)}"
        )
    return name


def _spec(stream: Stream | None) -> StreamSpec | None:
    return None if stream is None else stream.spec()


class _Camera(_Model):
    name: str
    world_from_camera: tuple[tuple[float, float, float, float], ...] | None = None
    restart_max_s: Annotated[float, Field(gt=0)] = 60.0
    stall_s: Annotated[float, Field(gt=0)] = 3.0
    recover_command: tuple[str, ...] | None = None
    recover_after: Annotated[int, Field(ge=1)] = 5

    @pydantic.field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        return _folder_name(name)

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
_SOURCES: dict[str, type[BaseModel]] = {
    "realsense": RealSenseCamera,
    "opencv": OpenCVCamera,
    "playback": PlaybackCamera,
    "simulated": SimulatedCamera,
}


class Estimator(_Model):
    """One [[estimators]] table; `options` go to the estimator as they are."""

    kind: str
    name: str = ""
    cameras: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _is_folder_name(self) -> Estimator:
        _folder_name(self.name or self.kind)
        return self


class Record(_Model):
    """[record]: what is written, and how."""

    root: str = "recordings"
    codec: str = DEFAULT_CODEC
    near_bound_subpixels: Annotated[float, Field(ge=1 / 256, lt=256)] = BELOW_SENSOR_NOISE
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    mesh_codec: Literal["bodycompress", "native"] = "bodycompress"
    mesh_preset: Annotated[int, Field(ge=0, le=9)] | Literal["auto"] = "auto"
    sync_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    sync_mb: Annotated[float, Field(gt=0)] = 8.0
    segment_s: Annotated[float, Field(gt=0)] = 600.0
    segment_mb: Annotated[float, Field(gt=0)] = 2048.0
    reserve_mb: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    when_full: Literal["stop", "delete-oldest"] = "stop"
    threads: Annotated[int, Field(ge=0, le=64)] = 0

    @pydantic.field_validator("codec")
    @classmethod
    def _is_codec(cls, codec: str) -> str:
        names = (AUTO, *CODEC_NAMES)
        if codec not in names:
            near = difflib.get_close_matches(codec, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"no depth codec is called that; {hint}there are {', '.join(names)}")
        return codec


LEAST_QUEUE_MB = 4
"""Of a camera."""
ESTIMATOR_QUEUE_MB = 16


class Rig(_Model):
    """A whole rig file."""

    name: str = "rig"
    queue_mb: Annotated[float, Field(ge=8)] = 256.0
    duration_s: Annotated[float, Field(gt=0)] | None = None
    preview: bool = True
    recover_command: tuple[str, ...] = ()
    record: Record = Record()
    cameras: Annotated[tuple[Camera, ...], Field(min_length=1, max_length=12)]
    estimators: Annotated[tuple[Estimator, ...], Field(max_length=4)] = ()

    @pydantic.field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        return _folder_name(name)

    @pydantic.model_validator(mode="after")
    def _holds_every_queue(self) -> Rig:
        least_mb = LEAST_QUEUE_MB * len(self.cameras) + ESTIMATOR_QUEUE_MB * len(self.estimators)
        if self.queue_mb < least_mb:
            raise ValueError(
                f"queue_mb = {self.queue_mb:g} is too little: this rig needs {least_mb},"
                f" {LEAST_QUEUE_MB} for each camera and {ESTIMATOR_QUEUE_MB} for each estimator"
            )
        return self

    def camera_specs(self) -> tuple[CameraSpec, ...]:
        """The cameras as children take them."""
        simulated = [c for c in self.cameras if isinstance(c, SimulatedCamera)]
        specs = (
            c.spec(simulated.index(c), len(simulated)) if isinstance(c, SimulatedCamera) else c.spec()
            for c in self.cameras
        )
        return tuple(
            spec
            if camera.recover_command is not None
            else replace(spec, recover_command=self.recover_command)
            for spec, camera in zip(specs, self.cameras, strict=True)
        )

    def estimator_specs(self) -> tuple[EstimatorSpec, ...]:
        """The estimators as children take them; without `cameras` they look at all of them."""
        everything = tuple(c.name for c in self.cameras)
        return tuple(
            EstimatorSpec(e.name or e.kind, e.kind, e.cameras or everything, dict(e.options))
            for e in self.estimators
        )


@dataclass(frozen=True, slots=True)
class LoadedRig:
    """A checked rig and where it came from."""

    rig: Rig
    path: Path


def load_rig(config: str) -> LoadedRig:
    """Read a rig by path or by the name of a shipped one. Raises ConfigError."""
    path = find_rig(config)
    try:
        with path.open("rb") as file:
            content = file.read(SETTINGS_BYTES_MAX + 1)
        if len(content) > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {SETTINGS_BYTES_MAX >> 20} MB: it is no rig file")
        data = tomllib.loads(content.decode("utf-8-sig"))  # some editors put a mark in front
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file (byte {error.start} is not UTF-8)") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    _anchor_paths(data, path.parent)
    return LoadedRig(_check(data, path), path)


def _anchor_paths(data: dict[str, Any], folder: Path) -> None:
    """Files named in a rig are looked for beside the rig file first, then where the program was started."""
    tables = [(table, key) for table in _tables(data, "cameras") for key in ("path", "device")]
    for estimator in _tables(data, "estimators"):
        options = estimator.get("options")
        if isinstance(options, dict):
            tables.append((options, "calibration"))
    for table, key in tables:
        value = table.get(key)
        if isinstance(value, str) and value and exists(folder / value):
            table[key] = str(folder / value)


def _tables(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = data.get(name)
    return [table for table in value if isinstance(table, dict)] if isinstance(value, list) else []


def find_rig(config: str) -> Path:
    """The file a CONFIG argument means."""
    path = Path(config)
    if exists(path) and not path.is_dir():
        return path
    shipped = {p.stem: p for folder in SHIPPED for p in sorted(folder.glob("*.toml"))}
    if config in shipped:
        return shipped[config]
    near = difflib.get_close_matches(config, shipped, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"no rig file {config}: {hint}shipped rigs are {', '.join(shipped)}")


def _check(data: dict[str, Any], path: Path) -> Rig:
    try:
        rig = Rig.model_validate(data)
    except pydantic.ValidationError as error:
        # A mistyped key often makes the right one missing as well: the typing error is the one to name.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise ConfigError(f"{path}: {_explain(faults, data)}") from error
    _check_names(rig, path)
    return rig


def _check_names(rig: Rig, path: Path) -> None:
    names = [c.name for c in rig.cameras]
    outputs = names + [e.name or e.kind for e in rig.estimators]
    for name in outputs:
        if outputs.count(name) > 1:
            raise ConfigError(
                f"{path}: two cameras or estimators are called {name!r}; names are folder names"
            )
    for estimator in rig.estimators:
        for camera in estimator.cameras:
            if camera not in names:
                near = difflib.get_close_matches(camera, names, n=1) or names
                raise ConfigError(
                    f"{path}: estimator {estimator.kind!r} looks at camera {camera!r}, which does not exist;"
                    f" did you mean {near[0]!r}?"
                )


def _explain(faults: Sequence[Any], data: dict[str, Any]) -> str:
    """One line for the first thing that is wrong: the key, what is wrong, and the nearest right one."""
    error, location = faults[0], _location(faults[0])
    key = ".".join(str(part) for part in location) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], data)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
        return f"unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"the key {key!r} is missing"
    if error["type"].startswith("union_tag"):
        given = error.get("input") or {}
        tag = given.get("source") if isinstance(given, dict) else None
        near = difflib.get_close_matches(str(tag), _SOURCES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}.source is {tag!r}; {hint}known sources are {', '.join(_SOURCES)}"
    if error["type"] == "tuple_type" and key in ("cameras", "estimators"):
        return f"{key} must be a list of tables: write [[{key}]] above each"
    message = str(error["msg"]).removeprefix("Value error, ")
    # A value that is none of two things: a number, or one of a few words.
    words = [
        f["ctx"]["expected"]
        for f in faults[1:]
        if _location(f) == location and "expected" in f.get("ctx", {})
    ]
    told = " or ".join([message, *words])
    return f"{key} = {_shortened(repr(error['input']))}: {told}" if location else told


def _location(error: Any) -> Sequence[str | int]:
    """Where in the file: without what pydantic calls the members of a union."""
    members = ("constrained-", "literal[")
    parts = [part for part in error["loc"] if part not in _SOURCES]
    return [part for part in parts if not (isinstance(part, str) and part.startswith(members))]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _known_keys(location: Sequence[str | int], data: dict[str, Any]) -> list[str]:
    """The keys that the table at `location` may have."""
    model: type[BaseModel] = Rig
    value: Any = data
    for part in location:
        value = _member(value, part)
        if part == "record":
            model = Record
        elif part == "estimators":
            model = Estimator
        elif part in ("depth", "color", "infrared"):
            model = Stream
        elif isinstance(value, dict) and str(value.get("source")) in _SOURCES:
            model = _SOURCES[str(value["source"])]
    return list(model.model_fields)


def _member(value: Any, part: Any) -> Any:
    return value[part] if isinstance(value, (dict, list)) else {}
