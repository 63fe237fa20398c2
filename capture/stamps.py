"""What tells a file from another one that takes its name later.

Results that were made with a file are not those of its successor. Knows no results.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from codec.errors import StorageError

_LARGEST_READ_BYTES: Final = 64 << 20


def stamp_of(path: Path | None) -> str:
    """What tells a file from another one that takes its name later; of a folder, what tells its files.

    The contents up to 64 MB, beyond which size and time of change have to do. Raises StorageError.
    """
    if path is None:
        return ""
    try:
        if path.is_dir():
            return " ".join(
                f"{each.name} {stamp_of(each)}" for each in sorted(path.iterdir()) if each.is_file()
            )
        status = path.stat()
        if status.st_size > _LARGEST_READ_BYTES:
            return f"{status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
