"""What fits: does this rig fit this machine, this disk, these USB ports? Measured where it can be.

Reckons from the rig file and from short trials (capture.trials); opens no camera. Ends in findings: what
does not fit, and what to change.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from capture import trials
from capture.config import (
    OpenCVCamera,
    PlaybackCamera,
    RealSenseCamera,
    Rig,
    Stream,
)
from capture.sources._cv_address import parse_address
from capture.usb import Controller, controllers, is_pi_4

_MB = 1e6
_GB = 1e9

# Where a rig leaves size or rate to the camera.
_ASSUMED = {"depth": (848, 480, 30.0), "color": (640, 480, 30.0), "infrared": (848, 480, 30.0)}
_RAW_BYTES = {"depth": 2.0, "color": 2.0, "infrared": 1.0}  # on the wire: z16, yuyv, y8
_JPEG_BYTES_PER_PIXEL = 0.25  # quality 90, indoor scenes
_INFRARED_RATIO = 1.3

# How much of what was measured may be planned with.
_CPU_SHARE = 0.75
_DISK_SHARE = 0.7
_MEMORY_PER_CAMERA = 100 * _MB
_MEMORY_BASE = 200 * _MB


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


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit (or should be known), and the way out."""

    fatal: bool
    what: str
    change: str


@dataclass(slots=True)
class Report:
    """All that doctor found."""

    streams: list[StreamDemand] = field(default_factory=list)
    disk_folder: str = ""
    gb_per_hour: float = 0.0
    hours_left: float | None = None
    disk_free_gb: float = 0.0
    disk_write_mb_s: float = 0.0
    cpu_cores: float = 0.0
    cpu_available: int = 1
    depth_ns_per_pixel: float = 0.0
    depth_ratio: float = 0.0
    memory_mb: float = 0.0
    memory_available_mb: float = 0.0
    usb: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        return not any(finding.fatal for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {**asdict(self), "fits": self.fits}


def examine(rig: Rig, root: Path) -> Report:
    """Reckon and measure. Takes about five seconds. Raises StorageError where `root` cannot be written."""
    folder = _existing(root)
    disk_write_mb_s = trials.disk_write(folder)
    depth = trials.depth_codec(rig.record.codec)
    jpeg_ns = trials.jpeg_encode(rig.record.jpeg_quality)
    report = Report(
        disk_folder=str(folder),
        disk_write_mb_s=disk_write_mb_s,
        depth_ns_per_pixel=depth.ns_per_pixel,
        depth_ratio=depth.ratio,
    )
    for camera in rig.cameras:
        for kind, stream in _streams(camera):
            report.streams.append(_demand(camera, kind, stream, depth, jpeg_ns))
    _reckon_disk(report, rig, root)
    _reckon_cpu(report, rig)
    _reckon_memory(report, rig)
    _reckon_usb(report, rig)
    return report


def _streams(camera: Any) -> list[tuple[str, Stream]]:
    if isinstance(camera, OpenCVCamera):
        return [("color", camera.color)]
    if isinstance(camera, PlaybackCamera):
        return [("depth", Stream(fps=camera.fps)), ("color", Stream(fps=camera.fps))]
    found = [("depth", camera.depth), ("color", camera.color)]
    if isinstance(camera, RealSenseCamera):
        found += [(f"infrared{n}", camera.infrared) for n in camera.infrared_sensors]
    wanted = [(kind, stream) for kind, stream in found if stream is not None]
    return wanted or [("depth", Stream())]


def _demand(camera: Any, name: str, stream: Stream, depth: trials.CodecTrial, jpeg_ns: float) -> StreamDemand:
    kind = name.rstrip("12")
    usual = _ASSUMED[kind]
    width, height, fps = stream.width or usual[0], stream.height or usual[1], stream.fps or usual[2]
    pixels_s = width * height * fps
    raw = pixels_s * _RAW_BYTES[kind]
    passthrough = isinstance(camera, OpenCVCamera) and camera.passthrough
    if kind == "depth":
        disk, cpu = raw / depth.ratio, pixels_s * depth.ns_per_pixel / 1e9
    elif kind == "color":
        disk = pixels_s * _JPEG_BYTES_PER_PIXEL
        cpu = 0.0 if passthrough else pixels_s * jpeg_ns / 1e9
    else:
        disk, cpu = raw / _INFRARED_RATIO, pixels_s * depth.ns_per_pixel / 1e9
    webcam = isinstance(camera, OpenCVCamera) and parse_address(str(camera.device)).kind == "webcam"
    over_usb = isinstance(camera, RealSenseCamera) or webcam
    usb = (disk if passthrough else raw) if over_usb else 0.0
    return StreamDemand(
        name=f"{camera.name}/{name}",
        size=f"{width}x{height}",
        fps=fps,
        raw_mb_s=raw / _MB,
        disk_mb_s=disk / _MB,
        usb_mb_s=usb / _MB,
        cpu_cores=cpu,
        assumed=not (stream.width and stream.height and stream.fps),
    )


def _existing(root: Path) -> Path:
    """`root`, or the nearest folder above it that is there."""
    folder = root.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _reckon_disk(report: Report, rig: Rig, root: Path) -> None:
    """Against the rig's own duration; without one, an hour is the least that makes sense."""
    existing = Path(report.disk_folder)
    if existing not in (root.absolute(), root.absolute().parent):
        report.findings.append(
            Finding(
                False,
                f"{root.absolute().parent} does not exist; {existing} was measured: recording goes there",
                "mount the disk first, or choose another record.root",
            )
        )
    needed = sum(stream.disk_mb_s for stream in report.streams)
    report.gb_per_hour = needed * 3600 * _MB / _GB
    report.disk_free_gb = shutil.disk_usage(existing).free / _GB
    usable_gb = max(0.0, report.disk_free_gb - rig.record.reserve_mb * (1 << 20) / _GB)
    report.hours_left = usable_gb / report.gb_per_hour if report.gb_per_hour else None
    if needed > _DISK_SHARE * report.disk_write_mb_s:
        report.findings.append(
            Finding(
                True,
                f"the disk writes {report.disk_write_mb_s:.0f} MB/s and the rig makes {needed:.0f} MB/s",
                "put record.root on a USB 3 SSD or NVMe, or lower size or fps",
            )
        )
    wanted_h = 1.0 if rig.duration_s is None else rig.duration_s / 3600
    if report.hours_left is not None and report.hours_left < wanted_h:
        asked = "" if rig.duration_s is None else f" and the rig records for {60 * wanted_h:.0f}"
        report.findings.append(
            Finding(
                True,
                f"the disk is full after {60 * report.hours_left:.0f} minutes{asked}",
                "make room or choose another record.root",
            )
        )


def _reckon_cpu(report: Report, rig: Rig) -> None:
    report.cpu_available = len(os.sched_getaffinity(0))
    report.cpu_cores = sum(stream.cpu_cores for stream in report.streams)
    report.cpu_cores += 0.03 * len(rig.cameras)  # reading and copying, measured
    if report.cpu_cores > _CPU_SHARE * report.cpu_available:
        cheaper = "" if rig.record.codec == "raw" else ", record.codec = 'lz4' or 'raw'"
        report.findings.append(
            Finding(
                True,
                f"compressing takes {report.cpu_cores:.1f} cores of {report.cpu_available}",
                f"lower size or fps, cameras that deliver MJPG{cheaper}",
            )
        )


def _reckon_memory(report: Report, rig: Rig) -> None:
    needed = rig.queue_mb * (1 << 20) + _MEMORY_PER_CAMERA * len(rig.cameras) + _MEMORY_BASE
    report.memory_mb = needed / _MB
    report.memory_available_mb = trials.available_memory() / _MB
    if report.memory_mb > report.memory_available_mb:
        report.findings.append(
            Finding(
                True,
                f"the rig may use {report.memory_mb:.0f} MB and {report.memory_available_mb:.0f} MB are free",
                "lower queue_mb",
            )
        )
    rate = sum(stream.raw_mb_s for stream in report.streams)
    if rate and rig.queue_mb / rate < 0.5:
        report.findings.append(
            Finding(
                False,
                f"the queue holds only {rig.queue_mb / rate:.1f} s of frames",
                "raise queue_mb: a disk may pause for a second or more",
            )
        )


def _reckon_usb(report: Report, rig: Rig) -> None:
    """Each RealSense at the controller it hangs on; those that are not plugged in, all on one."""
    found = controllers()
    per_bus: dict[str, float] = {}
    for camera in rig.cameras:
        demand = sum(s.usb_mb_s for s in report.streams if s.name.startswith(f"{camera.name}/"))
        if demand:
            serial = getattr(camera, "serial", "")
            where = next((c.name for c in found if serial and serial in c.serials), "one controller")
            per_bus[where] = per_bus.get(where, 0.0) + demand
    for name, demand in per_bus.items():
        controller = next((c for c in found if c.name == name), _usual_controller(found))
        report.usb.append({"controller": name, "needed_mb_s": demand, "usable_mb_s": controller.usable_mb_s})
        if demand > controller.usable_mb_s:
            others = (
                "its ports share one bus: lower size or fps, or use a Pi 5"
                if is_pi_4()
                else ("spread the cameras over several controllers (a PCIe USB card), or lower size or fps")
            )
            report.findings.append(
                Finding(
                    bool(found) or is_pi_4(),
                    f"USB {name}: {demand:.0f} MB/s needed, about {controller.usable_mb_s:.0f} MB/s usable",
                    others,
                )
            )


def _usual_controller(found: list[Controller]) -> Controller:
    """Where it is not known which port a camera will use: the fastest there is."""
    return max(found, key=lambda c: c.usable_mb_s, default=Controller("one controller", 5000.0, ()))
