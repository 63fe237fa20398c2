"""Why the native kernels are missing, the one command that brings them, and what it costs to be without."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from capture import _system
from codec.depth import has_kernels
from codec.mesh.cost import has_kernels as has_mesh_kernels

_ROOT = Path(__file__).resolve().parent.parent

# Seconds for a frame of 848x480 without the kernels, written and read, on one core of an AMD EPYC. Another
# core makes them no shorter: the twins hold the interpreter's lock.
_TWIN_FRAME_S = {"lattice-rans": (0.09, 0.55), "near": (0.12, 0.55), "max": (10.5, 12.0)}
_TWIN_FRAME_PIXELS = 848 * 480

DEPTH_WITHOUT_KERNELS = "depth takes twice the disk it could"
MESHES_WITHOUT_KERNELS = (
    "native meshes stay `fast`: about 10 times smaller than float32, not 17 to 30; those that are not take"
    " about 15 times as long to read"
)
"""What it costs to be without; affine and small files of another machine are read by the NumPy twin."""


def costs_without_kernels(*, depth: bool, native_meshes: bool) -> list[str]:
    """What of it befalls whoever records depth, or native mesh files, here."""
    costs = []
    if depth and not has_kernels():
        costs.append(DEPTH_WITHOUT_KERNELS)
    if native_meshes and not has_mesh_kernels():
        costs.append(MESHES_WITHOUT_KERNELS)
    return costs


def how_to_get_kernels() -> str:
    """The way to the kernels of depth and meshes here; "" where both are there."""
    if has_kernels() and has_mesh_kernels():
        return ""
    if os.environ.get("NIGHTRIG_NO_KERNELS", "") not in ("", "0"):
        return "unset NIGHTRIG_NO_KERNELS"
    return _compiler_line() + _install_line()


def _compiler_line() -> str:
    if _has_compiler() and _has_headers():
        return ""
    if _system.has_apt():
        return _system.apt_line(("gcc", "libc6-dev", "python3-dev")) + " && "
    return "install a C compiler and the headers of Python, then "


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def _has_headers() -> bool:
    """Debian has them in a package of their own; without them a compiler alone builds nothing."""
    return Path(sysconfig.get_path("include"), "Python.h").is_file()


def _install_line() -> str:
    """From the checkout we run from; else from wherever it was installed."""
    pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps "
    is_checkout = (_ROOT / "pyproject.toml").is_file()
    return pip + (f"-e {shlex.quote(str(_ROOT))}" if is_checkout else "nightrig")


def twin_write_s(codec: str, pixels: int) -> float:
    """About how long a codec takes to write so many pixels without its kernel; 0 where it has none."""
    return _TWIN_FRAME_S.get(codec, (0.0, 0.0))[0] * pixels / _TWIN_FRAME_PIXELS


def twin_read_s(codec: str, pixels: int) -> float:
    """The same for reading."""
    return _TWIN_FRAME_S.get(codec, (0.0, 0.0))[1] * pixels / _TWIN_FRAME_PIXELS
