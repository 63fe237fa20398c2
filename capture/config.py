"""A rig as data: TOML -> frozen, checked models -> the plain specs that child processes take.

Finds and reads rig files; the models are in _rig and _rig_cameras, what is told of a wrong file in
_rig_faults. Only the command line and the supervisor import these (pydantic is not for children). Unknown
keys are errors that name the nearest right one; units stand in the names.
"""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from capture._rig import AUTO, ESTIMATOR_QUEUE_MB, LEAST_QUEUE_MB, Estimator, Record, Rig
from capture._rig_cameras import (
    Camera,
    OpenCVCamera,
    PlaybackCamera,
    RealSenseCamera,
    SimulatedCamera,
    Stream,
)
from capture._rig_faults import explain
from capture.given_files import SETTINGS_BYTES_MAX, exists
from capture.specs import ESTIMATOR_FILES
from codec.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "AUTO",
    "ESTIMATOR_QUEUE_MB",
    "LEAST_QUEUE_MB",
    "SHIPPED",
    "Camera",
    "Estimator",
    "LoadedRig",
    "OpenCVCamera",
    "PlaybackCamera",
    "RealSenseCamera",
    "Record",
    "Rig",
    "SimulatedCamera",
    "Stream",
    "find_rig",
    "load_rig",
]

_HERE = Path(__file__).resolve().parent
SHIPPED = (_HERE / "configs", _HERE.parent / "configs")  # installed, and in a checkout


@dataclass(frozen=True, slots=True)
class LoadedRig:
    """A checked rig and where it came from."""

    rig: Rig
    path: Path


def load_rig(config: str) -> LoadedRig:
    """Read a rig by path or by the name of a shipped one. Raises ConfigError."""
    path = find_rig(config)
    try:
        with path.open("rb") as file:
            content = file.read(SETTINGS_BYTES_MAX + 1)
        if len(content) > SETTINGS_BYTES_MAX:
            raise ConfigError(f"{path} is larger than {SETTINGS_BYTES_MAX >> 20} MB: it is no rig file")
        data = tomllib.loads(content.decode("utf-8-sig"))  # some editors put a mark in front
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file (byte {error.start} is not UTF-8)") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    _anchor_paths(data, path.parent)
    return LoadedRig(_check(data, path), path)


def _anchor_paths(data: dict[str, Any], folder: Path) -> None:
    """Files named in a rig are looked for beside the rig file first, then where the program was started."""
    tables = [(table, key) for table in _tables(data, "cameras") for key in ("path", "device")]
    for estimator in _tables(data, "estimators"):
        options = estimator.get("options")
        if isinstance(options, dict):
            tables += [(options, key) for key in ESTIMATOR_FILES]
    for table, key in tables:
        value = table.get(key)
        if isinstance(value, str) and value and exists(folder / value):
            table[key] = str(folder / value)


def _tables(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = data.get(name)
    return [table for table in value if isinstance(table, dict)] if isinstance(value, list) else []


def find_rig(config: str) -> Path:
    """The file a CONFIG argument means."""
    path = Path(config)
    if exists(path) and not path.is_dir():
        return path
    shipped = {p.stem: p for folder in SHIPPED for p in sorted(folder.glob("*.toml"))}
    if config in shipped:
        return shipped[config]
    near = difflib.get_close_matches(config, shipped, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"no rig file {config}: {hint}shipped rigs are {', '.join(shipped)}")


def _check(data: dict[str, Any], path: Path) -> Rig:
    try:
        rig = Rig.model_validate(data)
    except pydantic.ValidationError as error:
        # A mistyped key often makes the right one missing as well: the typing error is the one to name.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        raise ConfigError(f"{path}: {explain(faults, data)}") from error
    _check_names(rig, path)
    return rig


def _check_names(rig: Rig, path: Path) -> None:
    names = [c.name for c in rig.cameras]
    outputs = names + [e.name or e.kind for e in rig.estimators]
    for name in outputs:
        if outputs.count(name) > 1:
            raise ConfigError(
                f"{path}: two cameras or estimators are called {name!r}; names are folder names"
            )
    for estimator in rig.estimators:
        for camera in estimator.cameras:
            if camera not in names:
                near = difflib.get_close_matches(camera, names, n=1) or names
                raise ConfigError(
                    f"{path}: estimator {estimator.kind!r} looks at camera {camera!r}, which does not exist;"
                    f" did you mean {near[0]!r}?"
                )
