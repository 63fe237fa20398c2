"""Keeps a recording for one program while its files are replaced, whichever files these are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from capture import session
from codec import durable


def hold_recording(path: Path, files: Iterable[Path], held: contextlib.ExitStack) -> Path | None:
    """Hold the session (or the folder) that `path` names or lies in, until `held` is closed.

    Returns the session's folder, None outside of one. Raises FileBusyError where another program holds it or
    writes one of `files`: a writer may outlive its service, to bring home what is queued.
    """
    enclosing = session.enclosing_session(path)
    folder = enclosing or (path if path.is_dir() else None)
    if folder is not None:
        held.enter_context(durable.hold(folder))
    for file in files:
        if not session.broken_link(file):
            with durable.hold(file):
                pass
    return enclosing
