"""Every exception nightrig raises on purpose.

    NightrigError
    ├── ConfigError             a rig file or an argument is wrong (exit 2)
    ├── MissingExtraError       an optional package is not installed; names the extra
    ├── FormatError             bytes on disk are not what they should be
    │   ├── NotOurFileError     the file is something else, or a newer version
    │   ├── DamagedError        one of our files, but broken at a named offset
    │   └── CodecError          a payload cannot be encoded or decoded
    │       └── MeshValueError  the same, and a ValueError and TypeError as bodycompress raises them
    ├── StorageError            the disk refused a write, a sync or a rename
    │   ├── DiskFullError       there is no room left
    │   └── FileBusyError       another program is writing it
    ├── CameraError             a camera cannot be used
    │   ├── CameraNotFoundError absent: wrong serial, path or address, or unplugged
    │   ├── CameraBusyError     another program has it
    │   ├── CameraProfileError  it has no such size, rate or format
    │   ├── CameraLostError     it was there and stopped delivering
    │   └── SourceEndedError    a file has been played to its end: the normal end, not a loss
    ├── EstimatorError          an estimator cannot start or failed on a frame
    ├── CalibrationError        pictures or files that do not say where cameras stand or what their lenses do
    └── TrialError              this machine could not be measured

A message says what is wrong, where (file, offset, record, key) and what to do about it, in one line,
whatever names it quotes: the command line prints it as it stands.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from codec.one_line import one_line

_ROOT = Path(__file__).resolve().parent.parent


class NightrigError(Exception):
    """Root of the tree; `except NightrigError` catches everything the command line explains."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(NightrigError):
    """A rig file or an argument is wrong; names the key and, where there is one, the nearest right one."""


class MissingExtraError(NightrigError):
    """An optional package is not installed."""

    def __init__(self, *, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: {how_to_install_extra(extra)}")
        self.package = package
        self.extra = extra


def how_to_install_extra(extra: str) -> str:
    """For the interpreter that runs us; from the checkout where we are one, which no registry knows."""
    is_checkout = (_ROOT / "pyproject.toml").is_file()
    what = f"-e {shlex.quote(f'{_ROOT}[{extra}]')}" if is_checkout else f"'nightrig[{extra}]'"
    return f"{shlex.quote(sys.executable)} -m pip install {what}"


class FormatError(NightrigError):
    """Bytes on disk are not what they should be."""


class NotOurFileError(FormatError):
    """The file is not in our format, or in a version this program does not know."""


class DamagedError(FormatError):
    """One of our files is broken at a known place."""


class CodecError(FormatError):
    """A payload cannot be encoded or decoded."""


class MeshValueError(CodecError, ValueError, TypeError):
    """A frame or setting that codec.mesh.BodyCompressor refuses; programs for bodycompress catch it too."""


class StorageError(NightrigError):
    """The disk refused a write, a sync or a rename."""


class DiskFullError(StorageError):
    """There is no room left on the disk, or less than the reserve."""


class FileBusyError(StorageError):
    """Another program is writing the file or the recording."""


class CameraError(NightrigError):
    """A camera cannot be used."""


class CameraNotFoundError(CameraError):
    """No such camera: wrong serial, path or address, or it is unplugged."""


class CameraBusyError(CameraError):
    """Another program has the camera open."""


class CameraProfileError(CameraError):
    """The camera has no such size, rate or format."""


class CameraLostError(CameraError):
    """The camera was there and has stopped delivering."""


class SourceEndedError(CameraError):
    """A file has been played to its end."""


class EstimatorError(NightrigError):
    """An estimator cannot start, or failed on a frame."""


class CalibrationError(NightrigError):
    """Where cameras stand, or what their lenses do, cannot be told from what was given."""


class TrialError(NightrigError):
    """A measurement of this machine could not be made; whoever wanted it can go on without."""
