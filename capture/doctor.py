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

from capture import codec_choice, demand, trials
from capture.codec_choice import CPU_SHARE, DISK_SHARE, Choice, Machine, Reckoning
from capture.codec_trial import existing_folder
from capture.config import Rig
from capture.demand import Costs, StreamDemand
from capture.kernels import how_to_get_kernels
from capture.mesh_demand import FEW, MeshReckoning, makes_meshes, reckon_meshes
from capture.reserve import reserve_bytes
from capture.usb import Controller, controllers, is_pi_4
from codec.depth import DEFAULT_CODEC, has_kernels

_MB = 1e6
_GB = 1e9

_MEMORY_PER_CAMERA = 100 * _MB
_MEMORY_BASE = 200 * _MB


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
    disk_reserve_gb: float = 0.0
    disk_write_mb_s: float = 0.0
    cpu_cores: float = 0.0
    cpu_available: int = 1
    depth_ns_per_pixel: float = 0.0
    depth_ratio: float = 0.0
    depth_codec: str = DEFAULT_CODEC
    depth_codec_reason: str = ""
    codecs: list[Reckoning] = field(default_factory=list)
    mesh_codec: str = ""
    meshes: list[MeshReckoning] = field(default_factory=list)
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
    """Reckon and measure. Takes about five seconds, seven with meshes.

    Raises StorageError where `root` cannot be written.
    """
    folder, kernels = existing_folder(root), has_kernels()
    disk_write_mb_s = trials.disk_write(folder)
    tried = trials.depth_codecs(codec_choice.candidates(rig.record.codec, kernels=kernels))
    jpeg_ns = trials.jpeg_encode(rig.record.jpeg_quality)
    free = shutil.disk_usage(folder).free
    machine = Machine(
        cores=len(os.sched_getaffinity(0)),
        disk_mb_s=disk_write_mb_s,
        usable_bytes=max(0.0, free - reserve_bytes(rig.record.reserve_mb)),
    )
    reckonings = codec_choice.reckon(rig, tried, machine, jpeg_ns=jpeg_ns)
    choice = codec_choice.choose(
        rig.record.codec, reckonings, machine, kernels=kernels, duration_s=rig.duration_s
    )
    depth = tried[choice.codec]
    report = Report(
        streams=demand.stream_demands(rig, Costs(depth, tried[DEFAULT_CODEC].ns_per_pixel, jpeg_ns)),
        disk_folder=str(folder),
        disk_free_gb=free / _GB,
        disk_write_mb_s=disk_write_mb_s,
        depth_ns_per_pixel=depth.ns_per_pixel,
        depth_ratio=depth.ratio,
        depth_codec=choice.codec,
        depth_codec_reason=choice.reason,
        codecs=list(reckonings) if demand.has_depth(rig) else [],
        mesh_codec=rig.record.mesh_codec,
        meshes=reckon_meshes(rig, trials.mesh_codecs()) if makes_meshes(rig) else [],
    )
    _judge_codec(report, choice)
    _reckon_disk(report, rig, root)
    _reckon_cpu(report, rig)
    _reckon_meshes(report)
    _reckon_memory(report, rig)
    _reckon_usb(report, rig)
    return report


def _judge_codec(report: Report, choice: Choice) -> None:
    if choice.gives_way:
        what = f"record.codec = {choice.asked!r} gives way to {choice.codec}: {choice.reason}"
        report.findings.append(Finding(False, what, "set record.codec to 'auto' or to what keeps pace"))
    way = how_to_get_kernels()
    if way and report.codecs:
        what = "the native depth kernels are not built: depth takes twice the disk it could"
        report.findings.append(Finding(False, what, way))


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
    reserve_gb = reserve_bytes(rig.record.reserve_mb, needed * _MB) / _GB
    usable_gb = max(0.0, report.disk_free_gb - reserve_gb)
    report.disk_reserve_gb = reserve_gb
    report.hours_left = usable_gb / report.gb_per_hour if report.gb_per_hour else None
    if needed > DISK_SHARE * report.disk_write_mb_s:
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
        what = f"the disk is full after {60 * report.hours_left:.0f} minutes{asked}"
        if rig.record.when_full == "delete-oldest":
            what += ": from then on the oldest recordings below record.root are deleted"
            change = "make room, choose another record.root, or leave it as record.when_full has it"
            report.findings.append(Finding(False, what, change))
        else:
            what += f": from then on {reserve_gb:.1f} GB stay free, and recording waits"
            change = "make room, choose another record.root, or set record.when_full = 'delete-oldest'"
            report.findings.append(Finding(True, what, change))


def _reckon_cpu(report: Report, rig: Rig) -> None:
    report.cpu_available = len(os.sched_getaffinity(0))
    report.cpu_cores = demand.cores(rig, report.streams)
    if report.cpu_cores > CPU_SHARE * report.cpu_available:
        cheaper = (
            "" if report.depth_codec in (DEFAULT_CODEC, "raw") else f", record.codec = {DEFAULT_CODEC!r}"
        )
        report.findings.append(
            Finding(
                True,
                f"compressing takes {report.cpu_cores:.1f} cores of {report.cpu_available}",
                f"lower size or fps, cameras that deliver MJPG{cheaper}",
            )
        )


def _reckon_meshes(report: Report) -> None:
    """What is left of the processor beside the cameras against what mesh files take of it."""
    by_codec = {each.codec: each for each in report.meshes}
    chosen, native = by_codec.get(report.mesh_codec), by_codec.get("native")
    if chosen is None or native is None:
        return
    left = max(0.0, CPU_SHARE * report.cpu_available - report.cpu_cores)
    short = [people for people, cores in zip((1, FEW), chosen.cores, strict=True) if cores > left]
    if not short:
        return
    cores = chosen.cores[0 if short[0] == 1 else 1]
    crowd = "one person" if short[0] == 1 else f"{short[0]} people"
    what = f"meshes of {crowd} in {chosen.codec} files take {cores:.2f} cores, {left:.2f} are left"
    if chosen.codec != "native":
        change = f"set record.mesh_codec = 'native': {native.cores[0 if short[0] == 1 else 1]:.2f} cores"
    else:
        change = "fewer or smaller streams, or estimate afterwards: meshes that do not keep pace are left out"
    report.findings.append(Finding(False, what, change))


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
        needed = sum(s.usb_mb_s for s in report.streams if s.name.startswith(f"{camera.name}/"))
        if needed:
            serial = getattr(camera, "serial", "")
            where = next((c.name for c in found if serial and serial in c.serials), "one controller")
            per_bus[where] = per_bus.get(where, 0.0) + needed
    for name, needed in per_bus.items():
        controller = next((c for c in found if c.name == name), _usual_controller(found))
        report.usb.append({"controller": name, "needed_mb_s": needed, "usable_mb_s": controller.usable_mb_s})
        if needed > controller.usable_mb_s:
            others = (
                "its ports share one bus: lower size or fps, or use a Pi 5"
                if is_pi_4()
                else ("spread the cameras over several controllers (a PCIe USB card), or lower size or fps")
            )
            report.findings.append(
                Finding(
                    bool(found) or is_pi_4(),
                    f"USB {name}: {needed:.0f} MB/s needed, about {controller.usable_mb_s:.0f} MB/s usable",
                    others,
                )
            )


def _usual_controller(found: list[Controller]) -> Controller:
    """Where it is not known which port a camera will use: the fastest there is."""
    return max(found, key=lambda c: c.usable_mb_s, default=Controller("one controller", 5000.0, ()))
