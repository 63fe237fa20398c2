"""Which RealSense cameras there are, and which one is meant.

Looks devices up by serial in the library's own list. That answers at once, where starting a pipeline for
an absent serial waits 15 s with every Python thread standing still; so no pipeline is ever made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from capture.sources._rs_sdk import info
from codec.errors import CameraNotFoundError

# What can be recorded, of all the formats a camera offers.
RECORDABLE = {"depth": "z16", "color": "bgr8", "infrared": "y8"}


def candidates(rs: Any, context: Any, camera: str, serial: str) -> list[Any]:
    """The device with this serial, or with serial "" all of them, in the order of their serials.

    Raises CameraNotFoundError, which lists the serials present.
    """
    devices = sorted(
        ((found, device) for found, device in _living(rs, context) if found), key=lambda pair: pair[0]
    )
    chosen = [device for found, device in devices if serial in ("", found)]
    if chosen:
        return chosen
    if not devices:
        wanted = f" with serial {serial}" if serial else ""
        raise CameraNotFoundError(
            f"{camera}: no RealSense camera{wanted} is connected; check the cable and `lsusb -d 8086:`"
        )
    raise CameraNotFoundError(
        f"{camera}: no RealSense camera with serial {serial} is connected; present: "
        + ", ".join(found for found, _ in devices)
    )


def describe_all(rs: Any, context: Any) -> list[dict[str, Any]]:
    """A plain dict per connected camera: serial, name, firmware, usb_type, product_line, port, profiles."""
    described = []
    for serial, device in _living(rs, context):
        described.append(
            {
                "serial": serial,
                "name": info(rs, device, "name"),
                "firmware": info(rs, device, "firmware_version"),
                "usb_type": info(rs, device, "usb_type_descriptor"),
                "product_line": info(rs, device, "product_line"),
                "port": info(rs, device, "physical_port"),
                "profiles": _profiles(device),
            }
        )
    return sorted(described, key=lambda camera: str(camera["serial"]))


def _living(rs: Any, context: Any) -> Iterable[tuple[str, Any]]:
    """Every device that answers, with its serial; one that is just leaving is not there."""
    devices = context.query_devices()
    for index in range(len(devices)):
        try:
            device = devices[index]
            serial = info(rs, device, "serial_number")
        except RuntimeError:
            continue
        yield serial, device


def _profiles(device: Any) -> list[dict[str, Any]]:
    found = set()
    for sensor in device.query_sensors():
        for profile in sensor.get_stream_profiles():
            stream = profile.stream_type().name
            if RECORDABLE.get(stream) != profile.format().name:
                continue
            video = profile.as_video_stream_profile()
            name = f"infrared{profile.stream_index() or 1}" if stream == "infrared" else stream
            found.add((name, video.width(), video.height(), video.fps()))
    return [
        {"stream": stream, "width": width, "height": height, "fps": fps}
        for stream, width, height, fps in sorted(found)
    ]
