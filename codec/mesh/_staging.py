"""Where a new file is made until it is whole: a folder with a dot beside it, held while somebody works there.

    with staged(Path("mesh.nrm")) as temporary:         # .mesh.nrm.part/mesh.nrm
        ...                                             # write it, sync it, read it back
        durable.publish_file(temporary, Path("mesh.nrm"))

A folder, and always the same one, because that can be held from before the first byte until the file has its
name: what a killed program left there is told apart from what a living one is busy with, and the next one to
make the same file clears it away. Where a file system has no locks, two that make one file at a time disturb
each other, and one of them says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from codec import durable
from codec.errors import ConfigError, FileBusyError


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Where `out` is to be written; nothing is left there afterwards, whatever happens in the block.

    Raises ConfigError where the folder of `out` is none, FileBusyError where another program is at work on
    the same file, StorageError.
    """
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent} is no folder: make it first, or name another place than {out}")
    folder = durable.make_directory(out.with_name(f".{out.name}.part"))
    temporary = folder / out.name
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(durable.hold(folder))
        except FileBusyError:
            raise FileBusyError(
                f"another program is making {out} right now: wait for its end, or name another file"
            ) from None
        try:
            durable.remove_file(temporary)  # of one that was killed
            yield temporary
        finally:
            durable.remove_file(temporary)
            with contextlib.suppress(OSError):  # somebody else's files in it are not ours to remove
                folder.rmdir()
