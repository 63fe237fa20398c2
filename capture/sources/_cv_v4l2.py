"""Linux video devices asked directly: which there are, what they can do, and whether one may be opened.

OpenCV answers "not opened" to everything; the kernel says why. Each question opens the node for a moment,
never starts a stream, and closes it again. Structures and codes are those of linux/videodev2.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codec.errors import CameraBusyError, CameraError, CameraNotFoundError, CameraProfileError

DEV_FOLDER = Path("/dev")
SYS_FOLDER = Path("/sys/class/video4linux")

_CAP_VIDEO_CAPTURE = 0x00000001
_CAP_DEVICE_CAPS = 0x80000000
_BUF_TYPE_VIDEO_CAPTURE = 1
_FRAME_SIZE_DISCRETE = 1
_MOST_ENTRIES = 64  # of a driver's lists; a broken driver could go on for ever

# driver, card, bus_info, version, capabilities, device_caps, reserved
_CAPABILITY = struct.Struct("16s32s32sIII12x")
# index, type, flags, description, pixelformat, mbus_code, reserved
_FORMAT_ENTRY = struct.Struct("III32s4sI12x")
# index, pixel_format, type, width, height (of a discrete size), the rest of the union, reserved
_SIZE_ENTRY = struct.Struct("I4sIII24x")
# v4l2_format: its union holds pointers, so its size follows theirs
_FORMAT_BYTES = 208 if struct.calcsize("P") == 8 else 204


def _request(direction: int, number: int, size: int) -> int:
    """_IOR (2) or _IOWR (3) of the 'V' family."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


_QUERYCAP = _request(2, 0, _CAPABILITY.size)
_ENUM_FMT = _request(3, 2, _FORMAT_ENTRY.size)
_G_FMT = _request(3, 4, _FORMAT_BYTES)
_S_FMT = _request(3, 5, _FORMAT_BYTES)
_ENUM_FRAMESIZES = _request(3, 74, _SIZE_ENTRY.size)


@dataclass(frozen=True, slots=True)
class Webcam:
    """A node that delivers pictures."""

    path: str
    name: str
    bus: str
    formats: tuple[str, ...]


def list_webcams(
    *, dev_folder: Path = DEV_FOLDER, sys_folder: Path = SYS_FOLDER
) -> list[dict[str, str | list[str]]]:
    """Every capture node, by number: device, name, bus, formats (FOURCC), and note (why it cannot be used).

    Nodes that deliver no pictures (the metadata nodes of USB cameras, codecs) are left out.
    """
    cameras: list[dict[str, str | list[str]]] = []
    for path in _nodes(dev_folder):
        name = _sysfs_name(path, sys_folder)
        try:
            webcam = describe(path)
        except OSError as error:
            note = _PERMISSION_HINT if error.errno == errno.EACCES else os.strerror(error.errno or 0)
            cameras.append({"device": path, "name": name, "bus": "", "formats": [], "note": note})
            continue
        if webcam is not None:
            entry: dict[str, str | list[str]] = {"device": path, "name": name or webcam.name}
            entry |= {"bus": webcam.bus, "formats": list(webcam.formats), "note": ""}
            cameras.append(entry)
    return cameras


def describe(path: str) -> Webcam | None:
    """What the node says of itself; None if it delivers no pictures. Raises OSError."""
    with _opened(path) as node:
        return _describe(node, path)


def check_usable(camera: str, path: str) -> Webcam:
    """Make sure the device is there, delivers pictures, and nobody else streams from it."""
    try:
        with _opened(path) as node:
            webcam = _describe(node, path)
            if webcam is None:
                raise CameraProfileError(f"{camera}: {path} delivers no pictures; {_others(path)}")
            # Only the holder of the stream may set a format: the driver says EBUSY to anyone else.
            current = bytearray(_FORMAT_BYTES)
            struct.pack_into("I", current, 0, _BUF_TYPE_VIDEO_CAPTURE)
            fcntl.ioctl(node, _G_FMT, current)
            fcntl.ioctl(node, _S_FMT, current)
            return webcam
    except OSError as error:
        raise _explain(camera, path, error) from None


def is_there(path: str) -> bool:
    """Whether the device still answers: false as soon as it has been unplugged."""
    try:
        return describe(path) is not None
    except OSError as error:
        return error.errno == errno.EBUSY


def frame_sizes(path: str, fourcc: str) -> list[tuple[int, int]]:
    """The picture sizes the device offers in that format; [] where it does not list them."""
    sizes = []
    try:
        with _opened(path) as node:
            for index in range(_MOST_ENTRIES):
                entry = bytearray(_SIZE_ENTRY.pack(index, fourcc.encode("latin-1"), 0, 0, 0))
                fcntl.ioctl(node, _ENUM_FRAMESIZES, entry)
                _, _, kind, width, height = _SIZE_ENTRY.unpack(entry)
                if kind != _FRAME_SIZE_DISCRETE:
                    return []
                sizes.append((width, height))
    except OSError:
        return sizes  # the list's normal end is EINVAL
    return sizes


_PERMISSION_HINT = "no permission: add this user to the group video and log in again"


def _explain(camera: str, path: str, error: OSError) -> CameraError:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return CameraNotFoundError(f"{camera}: {path} is not there; {_others(path)}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return CameraNotFoundError(f"{camera}: {path}: {_PERMISSION_HINT} (sudo usermod -aG video $USER)")
    if error.errno == errno.EBUSY:
        return CameraBusyError(f"{camera}: another program is using {path}; close it and try again")
    if error.errno in (errno.ENOTTY, errno.EINVAL):
        return CameraProfileError(f"{camera}: {path} is not a video device; {_others(path)}")
    return CameraNotFoundError(f"{camera}: {path} cannot be opened: {os.strerror(error.errno or 0)}")


def _others(path: str) -> str:
    listed = [
        f"{entry['device']} ({entry['name']})" if entry["name"] else str(entry["device"])
        for entry in list_webcams()
        if entry["device"] != path
    ]
    return f"there is {', '.join(listed)}" if listed else "no webcam is connected"


def _nodes(dev_folder: Path) -> list[str]:
    numbered = [
        (int(digits), str(path))
        for path in dev_folder.glob("video*")
        if (digits := path.name.removeprefix("video")).isdecimal()
    ]
    return [path for _, path in sorted(numbered)]


def _sysfs_name(path: str, sys_folder: Path) -> str:
    try:
        return (sys_folder / Path(path).name / "name").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


@contextmanager
def _opened(path: str) -> Iterator[int]:
    node = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield node
    finally:
        os.close(node)


def _describe(node: int, path: str) -> Webcam | None:
    answer = bytearray(_CAPABILITY.size)
    fcntl.ioctl(node, _QUERYCAP, answer)
    _, card, bus, _, capabilities, device_caps = _CAPABILITY.unpack(answer)
    # `capabilities` are those of all the nodes of a device, `device_caps` those of this one.
    of_this_node = device_caps if capabilities & _CAP_DEVICE_CAPS else capabilities
    if not of_this_node & _CAP_VIDEO_CAPTURE:
        return None
    return Webcam(path=path, name=_text(card), bus=_text(bus), formats=tuple(_formats(node)))


def _formats(node: int) -> list[str]:
    formats: list[str] = []
    for index in range(_MOST_ENTRIES):
        entry = bytearray(_FORMAT_ENTRY.pack(index, _BUF_TYPE_VIDEO_CAPTURE, 0, b"", b"", 0))
        try:
            fcntl.ioctl(node, _ENUM_FMT, entry)
        except OSError:
            break  # the list's normal end is EINVAL
        formats.append(_text(_FORMAT_ENTRY.unpack(entry)[4]))
    return formats


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()
