"""A small ext4 disk of a campaign's own, mounted: a loop device on the file that _fuse_disk serves.

Everything is mounted in a mount namespace of the campaign's process (private_mounts), and the disk ends
with its standard input, so that nothing stays mounted and no loop device taken, even after a kill -9.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from scripts.campaigns._campaign import CannotRunError

_CLONE_NEWNS = 0x20000
_PROGRAMS = ("mkfs.ext4", "mount", "umount")
_END_S = 10.0


@functools.cache
def private_mounts() -> None:
    """From here on this process and its children have their mounts to themselves. Raises CannotRunError
    where disks cannot be mounted here."""
    if os.geteuid() != 0:
        raise CannotRunError("it mounts disks of its own, for which it must be root")
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            raise CannotRunError(f"there is no {program}; install e2fsprogs and util-linux")
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not Path(device).exists():
            raise CannotRunError(f"there is no {device}; load its kernel module (modprobe fuse loop)")
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise CannotRunError(f"a mount namespace is refused: {os.strerror(ctypes.get_errno())}")
    _run("mount", "--make-rprivate", "/")


def make_image(path: Path, size_bytes: int) -> None:
    """A sparse file with an empty ext4 in it, everything written that is otherwise written later."""
    with path.open("xb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", str(path))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise CannotRunError(f"`{' '.join(command)}` ends with {done.returncode}: {done.stderr.strip()}")


class MountError(Exception):
    """The file system on a disk could not be mounted."""


class MountedDisk:
    """The disk of an image file, mounted below `place`; `with` unmounts it whatever happens.

    What is written goes to `log`, never to the image; `patch` is a log that is applied first.
    folder: where its files are.
    """

    def __init__(
        self, image: Path, place: Path, *, log: Path | None = None, patch: Path | None = None
    ) -> None:
        """Raises MountError, and CannotRunError where the disk itself cannot be made."""
        place.mkdir(exist_ok=True)
        self._disk, self.folder = place / "disk.img", place / "mounted"
        self._disk.touch()
        self.folder.mkdir(exist_ok=True)
        command = [
            sys.executable,
            str(Path(__file__).with_name("_fuse_disk.py")),
            str(image),
            str(self._disk),
        ]
        for option, path in (("--log", log), ("--patch", patch)):
            command += [option, str(path)] if path else []
        self._server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us: the disk is needed until it is unmounted
        )
        assert self._server.stdout is not None
        if self._server.stdout.readline() != b"ready\n":
            self._end_server()
            raise CannotRunError("the FUSE disk did not start (see above)")
        command = ["mount", "-t", "ext4", "-o", "loop", str(self._disk), str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self._end_server()
            raise MountError(done.stderr.strip())

    def _end_server(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        try:
            self._server.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server.stdout.close()

    def close(self) -> None:
        """Unmount; what is still open there goes on in vain."""
        try:
            if subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode != 0:
                subprocess.run(["umount", "-l", str(self.folder)], check=False)
        finally:
            self._end_server()

    def __enter__(self) -> MountedDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
