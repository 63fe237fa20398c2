"""What this system lacks for nightrig, and the one line that gets it.

Owns two tables: the shared libraries that the wheels of OpenCV and librealsense expect from the system,
with the Debian packages that hold them, and the Pythons for which librealsense publishes a wheel. It
looks and advises; it never installs, asks, prints (but for `plan`) or imports a third-party package, so
that scripts/nightrig can use it before anything is installed: `python3 capture/_system.py plan`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_APT_LISTS = Path("/var/lib/apt/lists")

Version = tuple[int, int]
"""(major, minor) of a Python or of glibc"""

SUPPORTED_PYTHONS: tuple[Version, ...] = ((3, 10), (3, 11), (3, 12), (3, 13))

REALSENSE_PURPOSE = "RealSense cameras"
"""the `purpose` of the libraries that only pyrealsense2 needs"""


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library that a wheel leaves to the system, and the Debian package that holds it."""

    soname: str
    package: str
    purpose: str


# Debian 13 and Ubuntu 24.04 call libglib2.0-0 libglib2.0-0t64; apt-get follows the old name there.
# What a package below pulls in anyway is listed as well: another system may lack just that one.
LIBRARIES = (
    Library("libGL.so.1", "libgl1", "OpenCV"),
    Library("libxcb.so.1", "libxcb1", "OpenCV"),
    Library("libglib-2.0.so.0", "libglib2.0-0", "OpenCV"),
    Library("libgthread-2.0.so.0", "libglib2.0-0", "OpenCV"),
    Library("libX11.so.6", "libx11-6", "preview windows"),
    Library("libXext.so.6", "libxext6", "preview windows"),
    Library("libX11-xcb.so.1", "libx11-xcb1", "preview windows"),
    Library("libSM.so.6", "libsm6", "preview windows"),
    Library("libICE.so.6", "libice6", "preview windows"),
    Library("libusb-1.0.so.0", "libusb-1.0-0", REALSENSE_PURPOSE),
)

# Packages that bring others of the table along, so that the line we print stays short.
_BRINGS = {"libgl1": ("libxcb1", "libx11-6", "libxext6", "libx11-xcb1"), "libsm6": ("libice6",)}

# machine -> Python -> oldest glibc with which that wheel of pyrealsense2 2.57 to 2.59 really loads. The
# wheels are tagged manylinux2014 throughout: pip installs the aarch64 one for 3.12 on Debian 12, too,
# and only the import fails.
REALSENSE_WHEELS: dict[str, dict[Version, Version]] = {
    "x86_64": {(3, 10): (2, 29), (3, 11): (2, 29), (3, 12): (2, 29), (3, 13): (2, 29)},
    "aarch64": {(3, 10): (2, 34), (3, 12): (2, 38)},
}


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether pyrealsense2 can be installed here (`wheel`), why, and else what to do.

    `python` is the Python to take instead, or None where no Python would help."""

    wheel: bool
    python: Version | None
    reason: str
    way_out: str


def realsense_advice(*, python: Version, machine: str, glibc: Version | None) -> Advice:
    """What to do about pyrealsense2 with that Python. `glibc` is None where the C library is another."""
    needs = REALSENSE_WHEELS.get(machine, {}) if glibc is not None else {}
    here = f"Python {_dotted(python)} on {machine}"
    if glibc is not None and python in needs and glibc >= needs[python]:
        return Advice(True, None, f"pyrealsense2 has a wheel for {here}", "")
    if glibc is not None and python in needs:
        reason = (
            f"the wheel of pyrealsense2 for {here} needs glibc {_dotted(needs[python])},"
            f" and this is {_dotted(glibc)}"
        )
    else:
        reason = f"pyrealsense2 has no wheel for {here}" + (" without glibc" if glibc is None else "")
    fitting = [other for other, oldest in needs.items() if glibc is not None and glibc >= oldest]
    if not fitting:
        return Advice(False, None, reason, "build librealsense with its Python bindings from source")
    best = max(fitting)
    way_out = f"Python {_dotted(best)} has one: NIGHTRIG_PYTHON={_dotted(best)} scripts/nightrig doctor"
    return Advice(False, best, reason, way_out)


def realsense_advice_here(python: Version | None = None) -> Advice:
    """`realsense_advice` for this machine; for the running Python where no other is named."""
    return realsense_advice(python=python or sys.version_info[:2], machine=machine_here(), glibc=glibc_here())


def machine_here() -> str:
    """The architecture wheels must match: a 32-bit Python on a 64-bit kernel is a 32-bit machine."""
    machine = platform.machine()
    if sys.maxsize > 2**32:
        return machine
    return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)


def glibc_here() -> Version | None:
    """The version of glibc, or None where the C library is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, OSError, ValueError):
        return None
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if name == "glibc" and match else None


def missing_libraries(can_load: Callable[[str], bool] | None = None) -> tuple[Library, ...]:
    """The libraries of the table that the dynamic loader does not find. Empty outside Linux, where the
    wheels bring their own. `can_load` replaces the loader."""
    if not sys.platform.startswith("linux"):
        return ()
    can_load = can_load or _loads
    return tuple(library for library in LIBRARIES if not can_load(library.soname))


def packages_of(libraries: Iterable[Library]) -> tuple[str, ...]:
    """The fewest Debian packages that bring these libraries, in the order of the table."""
    packages = list(dict.fromkeys(library.package for library in libraries))
    brought = {name for package in packages for name in _BRINGS.get(package, ())}
    return tuple(package for package in packages if package not in brought)


def has_apt() -> bool:
    return shutil.which("apt-get") is not None


def apt_line(packages: Iterable[str], *, root: bool | None = None) -> str:
    """The command that installs these packages, to be shown to a person; `root` None looks who we are."""
    if root is None:
        root = os.geteuid() == 0
    apt = ("" if root else "sudo ") + "apt-get"
    update = "" if _has_package_lists() else f"{apt} update && "
    return f"{update}{apt} install -y --no-install-recommends {' '.join(packages)}"


def _has_package_lists() -> bool:
    """Whether apt knows of any package it could install: images of containers are made without the lists."""
    try:
        return any("_Packages" in path.name for path in _APT_LISTS.iterdir())
    except OSError:
        return False


def install_hint(libraries: Iterable[Library]) -> str:
    """How a person gets these libraries: an apt line, or their names where there is no apt."""
    libraries = tuple(libraries)
    if has_apt():
        return apt_line(packages_of(libraries))
    return f"install {', '.join(library.soname for library in libraries)} with the system's package manager"


def explain_import_error(error: ImportError) -> str | None:
    """One line for an import of OpenCV or librealsense that failed for want of something in the system,
    with the way out; None where the reason is another."""
    text = str(error)
    if match := re.match(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file", text):
        soname = match[1]
        missing = missing_libraries()
        if soname in {library.soname for library in missing}:
            return f"{soname} is missing on this system: {install_hint(missing)}"
        return f"{soname} is missing on this system: install the package that holds it"
    if match := re.search(r"version `(GLIBC(?:XX)?_[\d.]+)' not found", text):
        advice = realsense_advice_here()
        return f"{match[1]} is newer than this system's" + (f"; {advice.way_out}" if advice.way_out else "")
    return None


def plan() -> list[str]:
    """What an installation would find here, a line each."""
    python: Version = sys.version_info[:2]
    glibc = glibc_here()
    advice = realsense_advice_here()
    missing = missing_libraries()
    return [
        f"Python {_dotted(python)} on {machine_here()}, "
        + (f"glibc {_dotted(glibc)}" if glibc else "no glibc")
        + ("" if python in SUPPORTED_PYTHONS else ": nightrig needs Python 3.10 to 3.13"),
        advice.reason + (f"; {advice.way_out}" if advice.way_out else ""),
        *(f"{library.soname} is missing ({library.purpose})" for library in missing),
        install_hint(missing) if missing else "no system library is missing",
    ]


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


if __name__ == "__main__":
    if sys.argv[1:] != ["plan"]:
        sys.exit("usage: python3 capture/_system.py plan")
    print("\n".join(plan()))
