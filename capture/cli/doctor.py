"""`nightrig doctor`: prints what capture.doctor found, and what the machine has and lacks."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from capture._system import install_hint, missing_libraries, realsense_advice_here
from capture.codec_choice import candidates
from capture.config import AUTO, load_rig
from capture.doctor import Report, examine
from capture.kernels import costs_without_kernels, how_to_get_kernels
from capture.mesh_demand import FEW
from capture.versions import versions

HELP = "say whether a rig fits this machine, its disk and its USB ports"
EPILOG = """examples:
  nightrig doctor                 versions, libraries, display
  nightrig doctor my-rig.toml     the same, and what the rig needs: ends in "fits" or what to change

exit codes: 0 fits; 1 something does not fit; 2 usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help="a rig file, or the name of a shipped rig"
    )
    parser.add_argument("--root", metavar="DIR", help="where sessions would go (default: the rig's)")
    parser.add_argument("--json", action="store_true", help="the findings as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    machine = _machine()
    report = None
    if args.config:
        rig = load_rig(args.config).rig
        print("measuring codec, disk and memory for about five seconds ...", file=sys.stderr)
        report = examine(rig, Path(args.root or rig.record.root))
    if args.json:
        print(json.dumps({**machine, "rig": report.as_dict() if report else None}))
    else:
        _print_machine(machine)
        if report:  # among whose findings the kernels are
            _print_report(report)
        elif machine["kernels"]:
            costs = "; ".join(costs_without_kernels(depth=True, native_meshes=True))
            print(f"{'kernels':<16}not built: {costs}; {machine['kernels']}")
    return 0 if report is None or report.fits else 1


def _machine() -> dict[str, Any]:
    found = versions()
    missing = missing_libraries()
    advice = "" if "pyrealsense2" in found else realsense_advice_here().way_out
    return {
        "versions": found,
        "missing_libraries": [library.soname for library in missing],
        "install": install_hint(missing) if missing else "",
        "realsense": advice,
        "display": _display(),
        "kernels": how_to_get_kernels(),
    }


def _display() -> str:
    from capture.preview.display import NoDisplayError, open_display

    try:
        open_display()
    except NoDisplayError as error:
        return f"none, the preview will be off ({error})"
    return "ok"


def _print_machine(machine: dict[str, Any]) -> None:
    for name, version in machine["versions"].items():
        print(f"{name:<16}{version}")
    print(f"{'display':<16}{machine['display']}")
    if machine["realsense"]:
        print(f"{'realsense':<16}not installed: {machine['realsense']}")
    if machine["install"]:
        print(f"{'missing':<16}{', '.join(machine['missing_libraries'])}: {machine['install']}")


def _print_codecs(report: Report) -> None:
    """The whole rig with each codec that was tried."""
    print(f"\n{'depth codec':<16}{'ns/px':>8}{'smaller':>9}{'cores':>8}{'MB/s':>8}{'hours':>8}   (simulated)")
    for tried in report.codecs:
        hours = "-" if tried.hours is None else f"{tried.hours:.1f}"
        mark = "   <- recorded with" if tried.codec == report.depth_codec else ""
        print(
            f"{tried.codec:<16}{tried.ns_per_pixel:>8.1f}{tried.ratio:>8.1f}x{tried.cores:>8.2f}"
            f"{tried.disk_mb_s:>8.1f}{hours:>8}{mark}"
        )
    for codec in candidates(AUTO, kernels=True):
        if codec not in {tried.codec for tried in report.codecs}:
            print(f"{codec:<16}not native here")
    print(f"{report.depth_codec}: {report.depth_codec_reason}\n")


def _print_meshes(report: Report) -> None:
    """The rig's meshes in either kind of file, for people whose number nobody knows."""
    few = f"{FEW} people"
    head = f"{'mesh codec':<16}{'ms/mesh':>8}{'cores':>9}{few:>10}{'MB/s':>8}{few:>10}"
    print(f"{head}   (one person of 6890 points)")
    for each in report.meshes:
        mark = "   <- recorded with" if each.codec == report.mesh_codec else ""
        print(
            f"{each.codec:<16}{each.ms_per_mesh:>8.2f}{each.cores[0]:>9.2f}{each.cores[1]:>10.2f}"
            f"{each.disk_mb_s[0]:>8.2f}{each.disk_mb_s[1]:>10.2f}{mark}"
        )
    print("these cores come on top of what follows, and so does estimating them\n")


def _print_report(report: Report) -> None:
    print(
        f"\n{'stream':<24}{'size':>10}{'fps':>6}{'raw MB/s':>10}{'disk MB/s':>11}{'USB MB/s':>10}{'cores':>7}"
    )
    for s in report.streams:
        mark = " (assumed)" if s.assumed else ""
        print(
            f"{s.name:<24}{s.size:>10}{s.fps:>6.0f}{s.raw_mb_s:>10.1f}{s.disk_mb_s:>11.1f}"
            f"{s.usb_mb_s:>10.1f}{s.cpu_cores:>7.2f}{mark}"
        )
    hours = "" if report.hours_left is None else f", full after {report.hours_left:.1f} h"
    meshes = ""
    if report.meshes:
        meshes = f" ({report.mesh_gb_per_hour:.2f} of it meshes of one person, as much for each other)"
    print(
        f"\ndisk    {report.gb_per_hour:.1f} GB/h{meshes}; {report.disk_free_gb:.0f} GB free, of which"
        f" {report.disk_reserve_gb:.1f} stay free{hours};"
        f" {report.disk_folder} takes {report.disk_write_mb_s:.0f} MB/s synced"
    )
    if report.codecs:
        _print_codecs(report)
    if report.meshes:
        print("" if report.codecs else "\n", end="")
        _print_meshes(report)
    print(
        f"cpu     {report.cpu_cores:.2f} of {report.cpu_available} cores; depth codec"
        f" {report.depth_ns_per_pixel:.1f} ns a pixel, {report.depth_ratio:.1f} times smaller"
        " (simulated depth)"
    )
    print(f"memory  {report.memory_mb:.0f} MB of {report.memory_available_mb:.0f} MB available")
    for usb in report.usb:
        print(f"usb     {usb['controller']}: {usb['needed_mb_s']:.0f} of about {usb['usable_mb_s']:.0f} MB/s")
    for finding in report.findings:
        print(f"{'DOES NOT FIT' if finding.fatal else 'note'}: {finding.what}; {finding.change}")
    print("fits" if report.fits else "does not fit: see above")
