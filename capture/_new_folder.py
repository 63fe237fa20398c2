"""Where results go: a folder that is new or empty, and never inside what they are made from."""

from __future__ import annotations

import os
from pathlib import Path

from codec import durable
from codec.errors import ConfigError


def check_new_folder(out: Path, *, source: Path) -> None:
    """Raise ConfigError where results cannot go into `out`. Creates nothing."""
    # Unlike Path.resolve(), which raises where links lead to themselves.
    target, origin = (Path(os.path.realpath(path)) for path in (out, source))
    if target == origin or origin in target.parents:
        raise ConfigError(f"--out {out} lies inside {source}: name a folder elsewhere")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file: name a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"--out {out} is not empty: name a new folder")


def make_new_folder(out: Path, *, source: Path) -> None:
    """Create `out`, or take it as it is where it is empty. Raises ConfigError or StorageError."""
    check_new_folder(out, source=source)
    durable.make_directory(out)
