"""Which tiles there are and what is on them: frames of the sampler, made ready for `tiles.compose`.

Owns the newest copy of every frame that is shown, and what the user chose to see. Frozen, it keeps those
copies and asks for no others. Knows no window.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np

from capture.frames import StreamInfo
from capture.mesh_faces import Int32, unpack_faces
from capture.preview import depth_colors
from capture.preview.overlay import TINTS, Body, project
from capture.preview.sampler import Channel, Sampler
from capture.preview.status import Field
from capture.preview.tiles import Tile
from capture.ring import RingFrame

View = Literal["both", "depth", "colour"]
VIEWS: Final[tuple[View, ...]] = ("both", "depth", "colour")

_SILENT_S: Final = 2.0
_SILENT_FRAMES: Final = 5
_MESH_AGE_NS: Final = 500_000_000  # an older body is no longer where the picture shows the person
_COLOR: Final = ("bgr8", "jpeg")

Key = tuple[str, int]


@dataclass(slots=True)
class Scene:
    """Call `refresh` for new frames and `tiles` for what to draw."""

    sampler: Sampler
    view: View = "both"
    meshes: bool = True
    span: depth_colors.DepthRange = depth_colors.DEFAULT_RANGE
    _frames: dict[Key, RingFrame] = field(default_factory=dict)

    def refresh(self) -> None:
        """Copy what is newer than what is held, of the streams that are shown."""
        wanted = self._shown()
        if self.meshes:
            wanted = [*wanted, *self._mesh_channels()]
        keys = {_key(channel) for channel in wanted}
        self._frames = {key: frame for key, frame in self._frames.items() if key in keys}
        for channel in wanted:
            frame = self.sampler.newest(channel)
            if frame is not None:
                self._frames[_key(channel)] = frame

    def follow_depth(self) -> None:
        """Let the colour map follow what the depth tiles show; one range for all, so that colours compare."""
        self.span = depth_colors.follow(
            self.span,
            [
                (frame.data.view(np.uint16), channel.stream.depth_scale_m or 0.001)
                for channel in self._shown()
                if channel.stream.pixel_format == "z16" and (frame := self._frames.get(_key(channel)))
            ],
        )

    def tiles(self) -> list[Tile]:
        """All tiles, in the rig's order; a camera that never opened has one, too."""
        shown = self._shown()
        tiles = []
        for name in self.sampler.camera_names:
            own = [channel for channel in shown if channel.owner == name]
            tiles += [self._tile(channel, first=channel is own[0]) for channel in own]
            if not own:
                tiles.append(Tile(name, "", 640, 480, "", note="waiting for the camera"))
        return tiles + [self._tile(channel, first=False) for channel in shown if channel.is_result]

    # ---- what is shown ----

    def _shown(self) -> list[Channel]:
        channels = self.sampler.channels()
        owners = dict.fromkeys(channel.owner for channel in channels)
        return [
            channel
            for owner in owners
            for channel in _chosen([c for c in channels if c.owner == owner], self.view)
        ]

    def _mesh_channels(self) -> list[Channel]:
        return [
            channel
            for channel in self.sampler.channels()
            if channel.is_result and channel.stream.pixel_format == "mesh"
        ]

    # ---- one tile ----

    def _tile(self, channel: Channel, *, first: bool) -> Tile:
        stream = channel.stream
        frame = self._frames.get(_key(channel))
        rate = self.sampler.rate(channel)
        note = self._note(channel)
        bodies: tuple[Body, ...] = ()
        if first and self.meshes and frame is not None and not note:
            bodies = self._bodies(channel, frame)
        return Tile(
            group=channel.owner,
            name=f"{stream.name} {stream.width}x{stream.height}",
            width=stream.width,
            height=stream.height,
            pixel_format=stream.pixel_format,
            data=None if frame is None else frame.data,
            depth_scale_m=stream.depth_scale_m or 0.001,
            rate=Field("", f"{rate.fps:.1f} fps", rate.level),
            note=note,
            bodies=bodies,
            focal_px=_focal_px(stream),
        )

    def _note(self, channel: Channel) -> str:
        if not channel.is_result and self.sampler.ended(channel.owner):
            return "the camera has ended"
        silent_s = self.sampler.silent_s(channel)
        fps = channel.stream.fps
        patience_s = max(_SILENT_S, _SILENT_FRAMES / fps if fps > 0 else 0.0)
        if silent_s <= patience_s:
            return ""
        what = "result" if channel.is_result else "signal"
        return f"no {what} since {silent_s:.0f} s"

    def _bodies(self, channel: Channel, frame: RingFrame) -> tuple[Body, ...]:
        """All people in front of this camera, in pixels of this stream; each keeps their colour."""
        found: list[Body] = []
        for place, mesh in enumerate(self._mesh_channels()):
            held = self._frames.get(_key(mesh))
            if held is None or abs(frame.monotonic_ns - held.monotonic_ns) > _MESH_AGE_NS:
                continue
            vertices, identities = _told(held)
            skins = held.data[:, :vertices].astype(np.float32)
            seen = project(skins / np.float32(1000), channel.camera, channel.stream)
            if seen is not None:
                faces = _faces(mesh.stream.faces, vertices)
                tints = [TINTS[(place + identity - 1) % len(TINTS)] for identity in identities]
                found += [Body(pixels, tint, faces) for pixels, tint in zip(seen, tints, strict=True)]
        return tuple(found)


def _chosen(channels: Sequence[Channel], view: View) -> list[Channel]:
    """The streams of one owner that this view shows: a camera without the wanted kind shows what it has."""
    color = [c for c in channels if c.stream.pixel_format in _COLOR][:1]
    if not color:  # infrared stands in for colour
        color = [c for c in channels if c.stream.pixel_format == "y8"][:1]
    depth = [c for c in channels if c.stream.pixel_format == "z16"]
    if view == "colour":
        return color or depth
    if view == "depth":
        return depth or color
    return color + depth


def _told(mesh: RingFrame) -> tuple[int, list[int]]:
    """How many points lie on the skin (the joints behind them lie within), and who is who: by their place
    where nothing says it."""
    people, points = mesh.data.shape[:2]
    meta: dict[str, Any] = json.loads(mesh.meta) if mesh.meta else {}
    ids = meta.get("ids")
    if not (isinstance(ids, list) and len(ids) == people and all(type(each) is int for each in ids)):
        ids = list(range(1, people + 1))
    vertices = meta.get("vertices")
    return vertices if type(vertices) is int and 0 <= vertices <= points else points, ids


@lru_cache(maxsize=8)
def _faces(packed: str, vertices: int) -> Int32 | None:
    """The triangles of a stream's meshes; None where they are not known, or those of other meshes."""
    try:
        faces = unpack_faces(packed)
    except ValueError:
        return None
    return faces if faces is not None and faces.max() < vertices else None


def _focal_px(stream: StreamInfo) -> float:
    if stream.intrinsics is None or math.isnan(stream.intrinsics.fx):
        return 600.0
    return stream.intrinsics.fx


def _key(channel: Channel) -> Key:
    return channel.owner, channel.index
