"""A whole rig file as data: its cameras, its estimators, and what is written how."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from capture._rig_cameras import Camera, SimulatedCamera, Table, folder_name
from capture.specs import CameraSpec, EstimatorSpec
from codec.depth import BELOW_SENSOR_NOISE, CODEC_NAMES, DEFAULT_CODEC

AUTO = "auto"
"""The `record.codec` that leaves the choice to a trial: see capture.codec_choice."""


class Estimator(Table):
    """One [[estimators]] table; `options` go to the estimator as they are."""

    kind: str
    name: str = ""
    cameras: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _is_folder_name(self) -> Estimator:
        folder_name(self.name or self.kind)
        return self


class Record(Table):
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


class Rig(Table):
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
        return folder_name(name)

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
