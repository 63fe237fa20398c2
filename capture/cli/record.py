"""`nightrig record`: arguments in, a recording out, its account printed."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from capture.cli._kernels import warn_of_recording_meshes
from capture.cli._waiting import EndingSignals, Waiting
from capture.config import Rig, load_rig
from capture.schedule import Hours, parse_time
from capture.sd_notify import Notifier
from capture.service import Outcome, Service, Status
from capture.session import load_session
from capture.vigil import Vigil
from codec.depth import get_codec
from codec.errors import ConfigError

HELP = "record a rig until Ctrl-C, for a time or between two hours"
EPILOG = """examples:
  nightrig record demo --duration 10
  nightrig record my-rig.toml --root /mnt/ssd --no-preview
  nightrig record my-rig.toml --from 22:00 --until 07:00

--from waits for the next such time of day; with --until, recording begins at once where it is already
between the two. The earliest of --until and --duration ends it. Hours are local; how long it is until the
end is reckoned when recording begins, so that setting the clock meanwhile ends nothing. Ctrl-C ends the
waiting at once, with exit code 0. scripts/nightrig.service records like this every night: docs/PI.md.

Ctrl-C once ends the recording: what is queued is written and the files are finished. A second Ctrl-C
ends it at once: the files stay valid, what was still queued is counted as dropped. A closed terminal
ends nothing: the recording goes on until it is sent SIGINT or SIGTERM.

exit codes: 0 everything captured was written and nothing was lost before us; 3 recorded with loss
(dropped, lost at the camera, or an outage); 1 failed; 2 usage."""

_PLAIN_STATUS_S = 10.0
_SERVICE_STATUS_S = 600.0  # systemd has the line at every moment; its log need not have all of them
_SYNC_LIMIT_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a rig file, or the name of a shipped rig (demo)")
    parser.add_argument("--root", metavar="DIR", help="where sessions go (default: the rig's, recordings/)")
    parser.add_argument("--duration", metavar="SECONDS", type=float, help="stop by itself after this time")
    parser.add_argument("--from", metavar="TIME", help="begin at this time of day, as 22:00", dest="begin")
    parser.add_argument("--until", metavar="TIME", help="end at this time of day, as 07:00")
    parser.add_argument(
        "--wait-for-time-sync",
        metavar="SECONDS",
        nargs="?",
        type=_sync_limit_s,
        const=_SYNC_LIMIT_S,
        help="begin only when the clock is synchronised, or after this time"
        f" ({_SYNC_LIMIT_S:.0f}): for machines without a clock of their own",
    )
    parser.add_argument(
        "--preview",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show a window (default: the rig's)",
    )
    parser.add_argument("--json", action="store_true", help="the account as one JSON object, last on stdout")


def _sync_limit_s(text: str) -> float:
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = 0.0
    if not limit_s > 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0; the rig file stands before --wait-for-time-sync"
        )
    return limit_s


def run(args: argparse.Namespace) -> int:
    if args.duration is not None and not args.duration > 0:
        raise ConfigError(f"--duration {args.duration:g}: must be above 0 seconds")
    hours = _hours(args)
    rig = load_rig(args.config).rig
    warn_of_recording_meshes(rig)
    notifier = Notifier.from_environment()
    teller = _Teller(notifier)
    with EndingSignals() as signals:
        waiting = Waiting(notifier, teller.say, teller.show, signals.wait)
        if args.wait_for_time_sync is not None:
            waiting.for_the_clock(args.wait_for_time_sync)
        waiting.for_the_hour(hours)
    teller.end()
    if waiting.told:
        teller.say("ended before the recording began")
        return 0
    outcome = Service(
        rig,
        root=Path(args.root or rig.record.root),
        duration_s=args.duration,
        preview=args.preview,
        say=teller.say,
        on_status=teller.status,
        vigil=Vigil(notifier, hours),
    ).run()
    teller.end()
    if args.json:
        print(json.dumps(_account(outcome)))
    else:
        _print_account(outcome, rig)
    return outcome.exit_code


def _hours(args: argparse.Namespace) -> Hours:
    times = {}
    for option, text in (("--from", args.begin), ("--until", args.until)):
        try:
            times[option] = None if text is None else parse_time(text)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from error
    return Hours(times["--from"], times["--until"])


class _Teller:
    """Lines on stderr, and a status line that overwrites itself on a terminal; elsewhere it is told now and
    then. A service manager always has the newest."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._live = sys.stderr.isatty()
        self._plain_every_s = _SERVICE_STATUS_S if notifier.listens else _PLAIN_STATUS_S
        self._width = 0
        self._next_plain_s = 0.0

    def say(self, line: str) -> None:
        self._wipe()
        self._print(f"{time.strftime('%H:%M:%S')} {line}\n")

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed; the recording goes on
            print(text, end="", file=sys.stderr, flush=True)

    def status(self, status: Status) -> None:
        line = _status_line(status)
        self._notifier.status(line)
        if self._live:
            self.show(line)
        elif status.elapsed_s >= self._next_plain_s:
            self._next_plain_s = status.elapsed_s + self._plain_every_s
            self._print(line + "\n")

    def show(self, line: str) -> None:
        """In the place of the line before, on a terminal."""
        if self._live:
            self._print("\r" + line.ljust(self._width))
            self._width = len(line)

    def _wipe(self) -> None:
        if self._live and self._width:
            self._print("\r" + " " * self._width + "\r")

    def end(self) -> None:
        self._wipe()


def _status_line(status: Status) -> str:
    streams = status.totals.streams.values()
    captured = sum(s.captured for s in streams)
    dropped = sum(s.dropped for s in streams)
    lost = sum(s.lost_at_camera for s in streams)
    rate = status.disk_rate
    hours = f"{status.free_bytes / rate / 3600:.0f} h" if rate else "-"
    return (
        f"{_clock(status.elapsed_s)}  {captured} frames  {rate / 1e6:.1f} MB/s  "
        f"queue {100 * status.fill:.0f} %  dropped {dropped}  lost at camera {lost}  "
        f"disk left {hours}  {status.depth_codec}"
    )


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _account(outcome: Outcome) -> dict[str, object]:
    return {
        "session": str(outcome.session),
        "streams": {name: asdict(stream) for name, stream in outcome.totals.streams.items()},
        "meshes": outcome.totals.meshes,
        "meshes_skipped": outcome.totals.meshes_skipped,
    }


def _print_account(outcome: Outcome, rig: Rig) -> None:
    print(
        f"{'stream':<24}{'captured':>10}{'written':>10}{'dropped':>9}{'lost':>7}"
        f"{'raw MB':>10}{'MB':>9}{'ratio':>7}"
    )
    for name, s in outcome.totals.streams.items():
        ratio = f"{s.raw_bytes / s.file_bytes:.1f}" if s.file_bytes else "-"
        print(
            f"{name:<24}{s.captured:>10}{s.written:>10}{s.dropped:>9}{s.lost_at_camera:>7}"
            f"{s.raw_bytes / 1e6:>10.1f}{s.file_bytes / 1e6:>9.1f}{ratio:>7}"
        )
    if outcome.totals.meshes or outcome.totals.meshes_skipped:
        lost = f", lost {outcome.totals.meshes_lost}" if outcome.totals.meshes_lost else ""
        print(f"meshes {outcome.totals.meshes}, skipped {outcome.totals.meshes_skipped}{lost}")
    if outcome.totals.outages:
        print(f"outages {outcome.totals.outages}")
    verdict = {0: "complete: every frame captured is on disk", 3: "recorded WITH LOSS (see above)"}
    print(f"{verdict.get(outcome.exit_code, 'FAILED')}{_lossy(outcome, rig)}\n{outcome.session}")


def _lossy(outcome: Outcome, rig: Rig) -> str:
    """What "on disk" means where depth was stored lossy."""
    chosen = load_session(outcome.session).get("depth_codec")
    codec = chosen.get("codec") if isinstance(chosen, dict) else None
    if codec is None or get_codec(codec).lossless:
        return ""
    bound = rig.record.near_bound_subpixels
    return f"; depth is LOSSY by choice: {codec} keeps disparity to within {bound:g}/32 pixel"
