"""Where frames come from: one file per back end, all behind `Source`.

A source is made and used inside one camera process; it knows its device and plain frames, never
rings, files or the service. Back ends are imported only when asked for, so that a webcam rig never
loads librealsense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from capture.frames import CameraInfo, Frame
from capture.specs import (
    CameraSpec,
    OpenCVSpec,
    PlaybackSpec,
    RealSenseSpec,
    SimulatedSpec,
)


class Source(Protocol):
    """A camera, or something that behaves like one.

    Every method is called from one thread. Errors are of the CameraError family.
    """

    def open(self) -> CameraInfo:
        """Start streaming. Raises CameraNotFoundError, CameraBusyError or CameraProfileError."""

    def read(self, timeout_s: float) -> list[Frame]:
        """Frames that have arrived, oldest first; waits up to `timeout_s` for the first of them.

        An empty list is a time-out, not an error. `Frame.data` is valid until the next call. Raises
        CameraLostError when the device is gone and SourceEndedError at the end of a file.
        """

    def close(self) -> None:
        """Stop and release the device. Safe to call twice, and after a failed open()."""


@runtime_checkable
class SlowToOpen(Protocol):
    """A source whose open() may take long for a good reason, and that says so while it goes on: without a
    sign of life it would be taken for hanging."""

    progress: Callable[[int, int], None] | None
    """Called with what is done and of how much."""


def make_source(camera: CameraSpec) -> Source:
    """The source of a camera, not yet opened; imports its back end."""
    spec = camera.source
    if isinstance(spec, RealSenseSpec):
        from capture.sources.realsense import RealSenseSource

        return RealSenseSource(camera.name, spec)
    if isinstance(spec, OpenCVSpec):
        from capture.sources.opencv import OpenCVSource

        return OpenCVSource(camera.name, spec)
    if isinstance(spec, PlaybackSpec):
        from capture.sources.playback import open_playback

        return open_playback(camera.name, spec)
    if isinstance(spec, SimulatedSpec):
        from capture.sources.simulated import make_simulated

        return make_simulated(camera.name, spec)
    raise TypeError(f"unknown source {type(spec).__name__} for camera {camera.name}")
