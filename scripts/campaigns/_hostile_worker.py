"""Asks hostile inputs in a process of its own, whose death the campaign survives.

    python -m scripts.campaigns._hostile_worker SEED FIRST COUNT FOLDER [--trace]

Says one JSON line for each input that it begins ({"begin": number}), one for each promise that is broken
({"number", "kind", "ask", "what"}), and a last one that sums up. Memory is limited by the kernel; an
input that takes too long is left by force, and one that hangs in foreign code ends with the process: the
campaign ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CPU_S_MAX = 1.0
MEMORY_MB_MAX = 64.0
_ADDRESS_SPACE_BYTES = 8 << 30
_LEFT_AFTER_S = 10
_CODES = (0, 1, 2, 3)


class TooSlow(BaseException):
    """Not an Exception, so that nothing takes it for one of the input's."""


def main(arguments: list[str]) -> int:
    seed, first, count = map(int, arguments[:3])
    folder = Path(arguments[3])
    # Before anything is loaded that starts threads or fills memory.
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from capture.sources import _cv_quiet  # noqa: F401 - as every process that plays pictures does, first
    from scripts.campaigns._hostile_files import HostileFiles

    out = os.fdopen(os.dup(1), "w", buffering=1)
    worker = _Worker(HostileFiles(seed), seed, folder, out, trace="--trace" in arguments)
    signal.signal(signal.SIGPROF, _too_slow)
    worker.warm_up()
    for number in range(first, first + count):
        worker.ask(number)
    print(json.dumps(worker.summary()), file=out)
    return 0


def _too_slow(*_: object) -> None:
    raise TooSlow


class _Worker:
    def __init__(self, files: Any, seed: int, folder: Path, out: Any, *, trace: bool) -> None:
        self._files, self._seed, self._folder, self._out, self._trace = files, seed, folder, out, trace
        self._asked: Counter[str] = Counter()
        self._came: Counter[str] = Counter()
        self._slowest_s = self._most_mb = 0.0
        self._quiet = False

    def warm_up(self) -> None:
        """What is loaded and kept once is no input's fault."""
        self._quiet = True
        for number in range(-60, 0):
            self.ask(number)
        self._quiet = False
        self._asked.clear()
        self._came.clear()
        self._slowest_s = self._most_mb = 0.0

    def ask(self, number: int) -> None:
        from scripts.campaigns._hostile_asks import asks_for

        if not self._quiet:
            print(json.dumps({"begin": number}), file=self._out)
        shutil.rmtree(self._folder, ignore_errors=True)
        given, out = self._folder / "in", self._folder / "out"
        given.mkdir(parents=True)
        out.mkdir()
        hostile = self._files.make(number, given)
        for ask in asks_for(hostile, out, random.Random(f"{self._seed} {number} asks")):
            for what in self._broken(hostile, ask):
                if not self._quiet:
                    found = {"number": number, "kind": hostile.kind, "ask": ask.name, "what": what}
                    print(json.dumps(found), file=self._out)
        strange = sorted(path.name for path in self._folder.iterdir() if path.name not in ("in", "out"))
        if strange or (given / "ESCAPED").exists() or Path("/tmp/escaped").exists():
            found = {
                "number": number,
                "kind": hostile.kind,
                "ask": "",
                "what": f"left things outside: {strange}",
            }
            print(json.dumps(found), file=self._out)

    def _broken(self, hostile: Any, ask: Any) -> Iterator[str]:
        from codec.errors import NightrigError
        from scripts.campaigns._hostile_asks import clocked

        self._asked[ask.name.split()[0]] += 1
        _forget_peak()
        before_mb = _status_mb("VmRSS")
        with self._told() as told:
            code: int | None = None
            cpu_s, way = 0.0, ""
            signal.setitimer(signal.ITIMER_PROF, _LEFT_AFTER_S)
            try:
                code, cpu_s = clocked(ask.run)
                way = "done" if code is None else f"exit code {code}"
            except NightrigError as error:
                way = type(error).__name__
                if len(str(error).splitlines()) != 1:
                    yield f"an error of {len(str(error).splitlines())} lines: {str(error)[:200]!r}"
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else -1
                way = f"exit code {code}"
            except TooSlow:
                cpu_s, way = _LEFT_AFTER_S, "left"
            except BaseException as error:
                way = "foreign"
                place = traceback.extract_tb(error.__traceback__)[-1]
                at = f"{Path(place.filename).name}:{place.lineno}"
                yield f"{type(error).__name__} at {at}: {str(error)[:160]}"
                if self._trace:
                    traceback.print_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        self._came[way] += 1
        grown_mb = _status_mb("VmHWM") - before_mb
        self._slowest_s, self._most_mb = max(self._slowest_s, cpu_s), max(self._most_mb, grown_mb)
        if code is not None and code not in _CODES:
            yield f"exit code {code}"
        if cpu_s > CPU_S_MAX:
            yield f"slow: {cpu_s:.1f} s of CPU"
        if grown_mb > MEMORY_MB_MAX:
            yield f"memory: {grown_mb:.0f} MB"
        yield from _what_is_wrong(told[0], code)

    def summary(self) -> dict[str, Any]:
        """Of everything that was asked."""
        return {
            "asked": dict(self._asked),
            "came": dict(self._came),
            "slowest_s": round(self._slowest_s, 3),
            "most_mb": round(self._most_mb, 1),
        }

    @contextlib.contextmanager
    def _told(self) -> Iterator[list[str]]:
        """What is written to stderr meanwhile, by whatever library; stdout goes nowhere, but is encoded."""
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        said = os.memfd_create("said")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if not self._trace:
            os.dup2(said, 2)
        told: list[str] = [""]
        try:
            yield told
        finally:
            with contextlib.suppress(UnicodeError):
                sys.stdout.flush()
            sys.stderr.flush()
            for fd, to in zip(kept, (1, 2), strict=True):
                os.dup2(fd, to)
            told[0] = os.pread(said, 1 << 20, 0).decode(errors="replace")
            for fd in (*kept, said, nowhere):
                os.close(fd)


# What libpng and libjpeg say of a damaged picture comes from C code within OpenCV and cannot be turned off.
_PICTURE_LIBRARIES = (
    "libpng ",
    "Corrupt JPEG data",
    "Premature end of JPEG",
    "Invalid SOS",
    "Unsupported marker",
)
_OURS = (
    "nightrig: ",
    "the native kernels are not built",
    "verify",
    "recover",
    "export",
    "recompress",
    "convert",
    "what an interrupted run",
)


def _what_is_wrong(told: str, code: int | None) -> Iterator[str]:
    lines = [line for line in told.splitlines() if line.strip()]
    if "Traceback" in told:
        yield f"a traceback on stderr: {lines[-1][:160]}"
        return
    errors = [line for line in lines if line.startswith("nightrig: ")]
    if code in (1, 2) and len(errors) != 1:
        yield f"exit code {code} with {len(errors)} error lines"
    foreign = [line for line in lines if not line.startswith((*_OURS, *_PICTURE_LIBRARIES))]
    if foreign:
        yield f"on stderr: {foreign[0][:160]}"


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
