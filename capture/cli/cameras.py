"""`nightrig cameras`: what is plugged in."""

from __future__ import annotations

import argparse
import json
from typing import Any

from codec.errors import CameraError, MissingExtraError

HELP = "list the cameras of this machine"
EPILOG = """examples:
  nightrig cameras
  nightrig cameras --json

Prints RealSense cameras by serial and webcams by device, as a rig file names them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    realsense, note = _realsense()
    webcams = _webcams()
    if args.json:
        print(json.dumps({"realsense": realsense, "webcams": webcams, "note": note}))
        return 0
    for camera in realsense:
        usb = str(camera["usb_type"])
        slow = "  (USB 2: few sizes and rates; use a USB 3 port and cable)" if usb.startswith("2") else ""
        firmware = f"firmware {camera['firmware']}"
        print(f"realsense  serial {camera['serial']:<14} {camera['name']}  {firmware}  USB {usb}{slow}")
    for webcam in webcams:
        remark = f"  ({webcam['note']})" if webcam.get("note") else ""
        formats = " ".join(webcam.get("formats", []))
        print(f"webcam     device {webcam['device']:<14} {webcam['name']}  {formats}{remark}")
    if not realsense and not webcams:
        print("no camera found; `nightrig record demo` runs without one")
    if note:
        print(note)
    return 0


def _realsense() -> tuple[list[dict[str, Any]], str]:
    """The RealSense cameras, and why they could not be listed."""
    try:
        from capture.sources.realsense import list_realsense

        return list_realsense(), ""
    except (MissingExtraError, CameraError) as error:
        return [], str(error)


def _webcams() -> list[dict[str, Any]]:
    from capture.sources._cv_v4l2 import list_webcams

    return [dict(webcam) for webcam in list_webcams()]
