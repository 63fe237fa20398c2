#!/usr/bin/env python3
"""A disk as slow as one likes, while it is in use: _fuse_disk with a token bucket, a loop device, ext4.

    _slow_disk.py IMAGE PLACE

What the block I/O controller of cgroup v1 does not do, slow down buffered writes, this does for whatever the
kernel writes: each write to the disk waits until the bytes before it are paid for. A number on standard
input is the new rate in bytes a second, 0 no limit; its end unmounts.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from scripts.campaigns._campaign import CannotRunError
from scripts.campaigns._fuse_disk import FuseDisk
from scripts.campaigns._mounted_disk import make_image, private_mounts

_IMAGE_BYTES = 3 << 30
_END_S = 30.0


class ThrottledDisk(FuseDisk):
    """The server's side. rate: bytes a second, 0 for no limit."""

    def __init__(self, image: Path) -> None:
        super().__init__(image, -1)
        self.rate = 0.0
        self._paid_until_s = 0.0

    def _write(self, offset: int, data: memoryview) -> int | bytes:
        now_s = time.monotonic()
        if self.rate:
            self._paid_until_s = max(self._paid_until_s, now_s) + len(data) / self.rate
            time.sleep(max(0.0, self._paid_until_s - now_s))
        return super()._write(offset, data)


class SlowDisk:
    """The campaign's side: mounted at `folder`, at full speed at first; `with` unmounts it."""

    def __init__(self, place: Path) -> None:
        """Raises CannotRunError."""
        private_mounts()
        image, disk, self.folder = place / "image", place / "disk", place / "mounted"
        make_image(image, _IMAGE_BYTES)
        disk.touch()
        self.folder.mkdir()
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(image), str(disk)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for us: the disk is needed until it is unmounted
        )
        assert self._server.stdout is not None
        if self._server.stdout.readline() != "ready\n":
            raise CannotRunError("the FUSE disk did not start (see above)")
        command = ["mount", "-t", "ext4", "-o", "loop", str(disk), str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self._end_server()
            raise CannotRunError(f"the slow disk cannot be mounted: {done.stderr.strip()}")

    def limit(self, bytes_per_s: float) -> None:
        """From now on; 0: no limit."""
        assert self._server.stdin is not None
        self._server.stdin.write(f"{bytes_per_s}\n")
        self._server.stdin.flush()

    def _end_server(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        try:
            self._server.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def __enter__(self) -> SlowDisk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.limit(0)
        if subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode != 0:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)
        self._end_server()


def main() -> int:
    disk = ThrottledDisk(Path(sys.argv[1]))
    place = Path(sys.argv[2])
    disk.mount(place)
    print("ready", flush=True)
    while True:
        ready = select.select([disk.fd, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                subprocess.run(["umount", "-l", str(place)], check=False)
                return 0
            disk.rate = float(line)
        elif not disk.answer():
            return 0


if __name__ == "__main__":
    sys.exit(main())
