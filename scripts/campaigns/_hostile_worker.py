"""Asks hostile inputs in a process of its own, whose death the campaign survives.

    python -m scripts.campaigns._hostile_worker SEED FIRST COUNT FOLDER [--trace]

Says one JSON line for each input that it begins ({"begin": number}), one for each promise that is broken
({"number", "kind", "ask", "what"}), and a last one that sums up. Every Nth input (--command-line-every) goes
through the command line as well, as a process of its own. Memory is limited by the kernel; an input that
takes too long is left by force, and one that hangs in foreign code ends with the process: the campaign ends
it.
"""

from __future__ import annotations

import argparse
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
_SAID_BYTES_MAX = 1 << 20


class TooSlow(BaseException):
    """Not an Exception, so that nothing takes it for one of the input's."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "first", "count"):
        parser.add_argument(name, type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--command-line-every", type=int, default=0)
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args(arguments)
    # Before anything is loaded that starts threads or fills memory.
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from capture.sources import _cv_quiet  # noqa: F401 - as every process that plays pictures does, first
    from scripts.campaigns._hostile_files import HostileFiles

    out = os.fdopen(os.dup(1), "w", buffering=1)
    worker = _Worker(HostileFiles(args.seed), args.seed, args.folder, out, trace=args.trace)
    signal.signal(signal.SIGPROF, _too_slow)
    try:
        worker.warm_up()
        for number in range(args.first, args.first + args.count):
            worker.ask(number)
            if args.command_line_every and number % args.command_line_every == 0:
                worker.ask_command_line(number)
    finally:
        worker.close()
    print(json.dumps(worker.summary()), file=out)
    return 0


def _too_slow(*_: object) -> None:
    raise TooSlow


class _Worker:
    def __init__(self, files: Any, seed: int, folder: Path, out: Any, *, trace: bool) -> None:
        from scripts.campaigns._hostile_asks import Tools
        from scripts.campaigns._hostile_bag import BagPlayer

        self._files, self._seed, self._folder, self._out, self._trace = files, seed, folder, out, trace
        self._asked: Counter[str] = Counter()
        self._came: Counter[str] = Counter()
        self._slowest_s = self._most_mb = 0.0
        self._quiet = False
        self._tools = Tools(BagPlayer(), files.good_record)

    def close(self) -> None:
        self._tools.bags.close()

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
        hostile, given, out = self._made(number)
        for ask in asks_for(hostile, out, random.Random(f"{self._seed} {number} asks"), self._tools):
            for what in self._broken(hostile, ask):
                self._tell(number, hostile.kind, ask.name, what)
        strange = sorted(path.name for path in self._folder.iterdir() if path.name not in ("in", "out"))
        if strange or (given / "ESCAPED").exists() or Path("/tmp/escaped").exists():
            self._tell(number, hostile.kind, "", f"left things outside: {strange}")

    def ask_command_line(self, number: int) -> None:
        """The same input anew, as a process."""
        from scripts.campaigns._hostile_commands import command_for, troubles_of

        hostile, given, out = self._made(number)
        words = command_for(hostile, out, random.Random(f"{self._seed} {number} command"))
        way, troubles = troubles_of(words)
        self._asked["nightrig"] += 1
        self._came[way] += 1
        for what in troubles:
            self._tell(number, hostile.kind, f"nightrig {words[0]}", what)
        if (given / "ESCAPED").exists():
            self._tell(number, hostile.kind, f"nightrig {words[0]}", "left things outside")

    def _made(self, number: int) -> tuple[Any, Path, Path]:
        shutil.rmtree(self._folder, ignore_errors=True)
        given, out = self._folder / "in", self._folder / "out"
        given.mkdir(parents=True)
        out.mkdir()
        return self._files.make(number, given), given, out

    def _tell(self, number: int, kind: str, ask: str, what: str) -> None:
        if not self._quiet:
            print(json.dumps({"number": number, "kind": kind, "ask": ask, "what": what}), file=self._out)

    def _broken(self, hostile: Any, ask: Any) -> Iterator[str]:
        from codec.errors import NightrigError
        from scripts.campaigns._hostile_asks import clocked
        from scripts.campaigns._hostile_words import wrong_lines

        self._asked[ask.name.split()[0]] += 1
        _forget_peak()
        before_mb = _status_mb("VmRSS")
        with self._told() as told:
            given: int | str | None = None
            cpu_s, way = 0.0, ""
            signal.setitimer(signal.ITIMER_PROF, _LEFT_AFTER_S)
            try:
                given, cpu_s = clocked(ask.run)
                way = given if isinstance(given, str) else "done" if given is None else f"exit code {given}"
            except NightrigError as error:
                way = type(error).__name__
                if len(str(error).splitlines()) != 1:
                    yield f"an error of {len(str(error).splitlines())} lines: {str(error)[:200]!r}"
            except SystemExit as error:
                given = error.code if isinstance(error.code, int) else -1
                way = f"exit code {given}"
            except TooSlow:
                cpu_s, way = _LEFT_AFTER_S, "left"
            except BaseException as error:
                way = "foreign"
                place = traceback.extract_tb(error.__traceback__)[-1]
                at = f"{Path(place.filename).name}:{place.lineno}"
                yield f"{type(error).__name__} at {at}: {str(error)[:160]}"
                if self._trace and not self._quiet:
                    traceback.print_exc()
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        self._came[way] += 1
        grown_mb = _status_mb("VmHWM") - before_mb
        self._slowest_s, self._most_mb = max(self._slowest_s, cpu_s), max(self._most_mb, grown_mb)
        code = given if isinstance(given, int) else None
        if code is not None and code not in _CODES:
            yield f"exit code {code}"
        if cpu_s > CPU_S_MAX:
            yield f"slow: {cpu_s:.1f} s of CPU"
        if grown_mb > MEMORY_MB_MAX:
            yield f"memory: {grown_mb:.0f} MB"
        yield from wrong_lines(told[0], code)
        yield from (f"on stdout: {line[:160]!r}" for line in told[1].splitlines() if not line.isprintable())

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
        """What is written meanwhile, by whatever library: to stderr, then to stdout."""
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        said = os.memfd_create("stderr"), os.memfd_create("stdout")
        os.dup2(said[0], 2)
        os.dup2(said[1], 1)
        told = ["", ""]
        try:
            yield told
        finally:
            with contextlib.suppress(UnicodeError):
                sys.stdout.flush()
            sys.stderr.flush()
            for fd, to in zip(kept, (1, 2), strict=True):
                os.dup2(fd, to)
            told[:] = (os.pread(fd, _SAID_BYTES_MAX, 0).decode(errors="replace") for fd in said)
            for fd in (*kept, *said):
                os.close(fd)
            if self._trace and not self._quiet:
                print(*told, sep="\n", file=sys.stderr)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
