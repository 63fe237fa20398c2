"""One line instead of a traceback where a script was started by a Python that lacks what it imports.

    with needed_modules():
        import numpy as np

The scripts begin with `#!/usr/bin/env python3`, so the Python that happens to come first runs them: on a bare
Debian it has no NumPy. A module of our own that is missing is no such case and stays a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LACKS_SOMETHING = 3
"""The exit code where a script could not do its work for want of a tool or a package."""

ROOT = Path(__file__).resolve().parent.parent
_OURS = ("capture", "codec", "scripts")
_MAKERS = {".venv": "scripts/nightrig", ".venv-test": "scripts/test"}


@contextmanager
def needed_modules(*, venv: str = ".venv-test") -> Iterator[None]:
    """Imports that only an environment of ours is sure to have; without them the script ends."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", *_OURS):
            raise
        script = _from_root(Path(sys.argv[0]).resolve())
        print(
            f"{script}: needs {missing}: run it as {venv}/bin/python {script}; "
            f"{_MAKERS[venv]} makes that environment",
            file=sys.stderr,
        )
        sys.exit(LACKS_SOMETHING)


def _from_root(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
