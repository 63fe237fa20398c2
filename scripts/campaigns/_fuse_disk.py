#!/usr/bin/env python3
"""A disk that remembers every write: one file, served through /dev/fuse, for a loop device to lie on.

    _fuse_disk.py IMAGE PLACE [--log LOG] [--patch LOG]

PLACE (an existing empty file) becomes a file with the content of IMAGE. What is written to it stays in
this process: IMAGE is never changed. With --log each write and each flush is appended to LOG (see
_disk_log) before it is answered, so that the disk can be made again as it was at any moment; with --patch
the writes in that file are applied first. Speaks the kernel's protocol itself (linux/fuse.h), of which one
file without a folder needs eleven messages; root is needed to mount. Says "ready" when it is mounted, and
unmounts and ends when its standard input does: whoever started it can be killed without leaving it behind.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from scripts.campaigns._disk_log import FLUSH, WRITE, DiskLog, apply, entry_head

GETATTR, SETATTR, OPEN, READ, WRITE_AT, STATFS, RELEASE, FSYNC, FLUSH_FILE = 3, 4, 14, 15, 16, 17, 18, 20, 25
INIT, FORGET, INTERRUPT, DESTROY, BATCH_FORGET = 26, 2, 36, 38, 42
_IN = struct.Struct("<IIQQIIIHH")  # length, operation, ticket, node, uid, gid, pid, ...
_OUT = struct.Struct("<IiQ")  # length, -errno, ticket
_READ_OR_WRITE = struct.Struct("<QQIIQII")  # handle, offset, size, ...
_INIT_IN = struct.Struct("<IIII")  # major, minor, read ahead, flags
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ATTR = struct.Struct("<QII6Q10I")
_MAX_WRITE = 1 << 20
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 22
_DIRECT_IO = 1
_FILE_MODE = 0o100600
_REMEMBERED_S = 3600


class FuseDisk:
    """The file's content, and the connection to the kernel."""

    def __init__(self, image: Path, log_fd: int) -> None:
        with image.open("rb") as file:
            self.content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._log_fd = log_fd
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._request = bytearray(_MAX_WRITE + mmap.PAGESIZE)

    def mount(self, place: Path) -> None:
        """Raises CalledProcessError."""
        options = f"fd={self.fd},rootmode={_FILE_MODE:o},user_id=0,group_id=0"
        command = ["mount", "-i", "-t", "fuse", "-o", options, "nightrig-disk", str(place)]
        subprocess.run(command, pass_fds=[self.fd], check=True, stdin=subprocess.DEVNULL)

    def answer(self) -> bool:
        """Take the next request; False when it was unmounted."""
        try:
            length = os.readv(self.fd, [self._request])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            if error.errno in (errno.EINTR, errno.ENOENT):  # the request was taken back
                return True
            raise
        _, operation, ticket, *_ = _IN.unpack_from(self._request)
        body = memoryview(self._request)[_IN.size : length]
        if operation in (FORGET, BATCH_FORGET, INTERRUPT):
            return True
        answer = self._handle(operation, body)
        if isinstance(answer, int):
            os.write(self.fd, _OUT.pack(_OUT.size, -answer, ticket))
        else:
            os.writev(self.fd, [_OUT.pack(_OUT.size + len(answer), 0, ticket), answer])
        return operation != DESTROY

    def _handle(self, operation: int, body: memoryview) -> int | bytes | memoryview:
        """What to send back; a number is an errno."""
        if operation == READ:
            _, offset, size, *_ = _READ_OR_WRITE.unpack_from(body)
            return memoryview(self.content)[offset : offset + size]
        if operation == WRITE_AT:
            _, offset, size, *_ = _READ_OR_WRITE.unpack_from(body)
            return self._write(offset, body[_READ_OR_WRITE.size : _READ_OR_WRITE.size + size])
        if operation == FSYNC:
            self._note(FLUSH, 0, b"")
            return b""
        if operation == INIT:
            _, minor, read_ahead, flags = _INIT_IN.unpack_from(body)
            taken = flags & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
            pages = _MAX_WRITE // mmap.PAGESIZE
            return _INIT_OUT.pack(7, min(31, minor), read_ahead, taken, 16, 12, _MAX_WRITE, 1, pages, 0, 0)
        if operation in (GETATTR, SETATTR):
            return self._attributes()
        if operation == OPEN:
            return struct.pack("<QII", 0, _DIRECT_IO, 0)
        if operation == STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 512, 255, 512, 0)
        return b"" if operation in (FLUSH_FILE, RELEASE, DESTROY) else errno.ENOSYS

    def _write(self, offset: int, data: memoryview) -> int | bytes:
        if offset + len(data) > len(self.content):
            return errno.ENOSPC
        self._note(WRITE, offset, data)
        self.content[offset : offset + len(data)] = data
        return struct.pack("<II", len(data), 0)

    def _note(self, kind: int, offset: int, data: memoryview | bytes) -> None:
        if self._log_fd >= 0:
            os.writev(self._log_fd, [entry_head(kind, time.monotonic_ns(), offset, len(data)), data])

    def _attributes(self) -> bytes:
        size = len(self.content)
        return _ATTR.pack(
            _REMEMBERED_S, 0, 0, 1, size, size // 512, 0, 0, 0, 0, 0, 0, _FILE_MODE, 1, 0, 0, 0, 4096, 0
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("image", type=Path)
    parser.add_argument("place", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--patch", type=Path)
    args = parser.parse_args()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    disk = FuseDisk(args.image, os.open(args.log, flags) if args.log else -1)
    if args.patch:
        patch = DiskLog(args.patch)
        for index in range(len(patch)):
            apply(patch[index], disk.content)
    disk.mount(args.place)
    print("ready", flush=True)
    while True:
        ready = select.select([disk.fd, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            subprocess.run(["umount", "-l", str(args.place)], check=False)
            return 0
        if not disk.answer():
            return 0


if __name__ == "__main__":
    sys.exit(main())
