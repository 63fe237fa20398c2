"""Small file systems of their own to be filled, broken and measured: mounted for a while. Root is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.campaigns._campaign import CannotRunError

_SECTOR_BYTES = 512
_WRITTEN_SECTORS = 6  # of /sys/block/<device>/stat


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted one. device: of a loop-mounted image, like /dev/loop3; "" for what lies in memory."""

    path: Path
    device: str

    def free_bytes(self) -> int:
        """What may still be written."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def fill(self, leaving_bytes: int) -> Path:
        """Take all room but this, with a file: remove it to give the room back."""
        ballast = self.path / "ballast"
        taken = self.free_bytes() - leaving_bytes
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, taken))
        return ballast

    def written_bytes(self) -> int:
        """What the device was given to write so far, once everything has gone there."""
        os.sync()
        words = Path(f"/sys/block/{Path(self.device).name}/stat").read_text().split()
        return int(words[_WRITTEN_SECTORS]) * _SECTOR_BYTES


@contextmanager
def small_disk(kind: str, size_mb: int, folder: Path) -> Iterator[SmallDisk]:
    """A "tmpfs" or an "ext4" (an image in `folder`, loop-mounted). Raises CannotRunError."""
    if os.geteuid() != 0:
        raise CannotRunError("mounting a small file system needs root")
    path = folder / "disk"
    path.mkdir()
    device = ""
    try:
        if kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(path))
        else:
            image = folder / "disk.img"
            with image.open("wb") as file:
                file.truncate(size_mb << 20)
            _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
            device = _run("losetup", "--find", "--show", str(image)).strip()
            _run("mount", device, str(path))
        try:
            yield SmallDisk(path, device)
        finally:
            _run("umount", "--lazy", str(path))
    finally:
        if device:
            _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise CannotRunError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise CannotRunError(f"{' '.join(command)}: {error.stderr.strip()}") from None
