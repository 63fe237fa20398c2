"""Recompresses the depth frames of a recording in place: the same pictures in fewer bytes.

    with Recompression(session_folder, codec="max") as work:
        report = work.run()

Owns the recording while it is open: one that is being recorded, or recompressed by somebody else, is
refused. Segments are replaced one after the other, each in one step and only when every frame in it has
been compared (see _recompress_segment), so that a kill at any moment loses nothing: what was done stays
done, and the next run goes on behind it, within a segment too. Damaged segments are left alone and named.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from capture import session
from capture._ordered_pool import OrderedPool
from capture._recompress_hold import hold_recording
from capture._recompress_leftovers import keep_best_leftovers, leftover_bytes
from capture._recompress_plan import RECOVER, SegmentPlan, lossless_codec, plan_segment
from capture._recompress_segment import Progress, Rewritten, Step, rewrite_segment
from capture._recompress_totals import renew_totals, withdraw_totals
from codec import durable
from codec.depth import DepthCodec
from codec.errors import (
    ConfigError,
    DamagedError,
    DiskFullError,
    FileBusyError,
    FormatError,
    NightrigError,
)

__all__ = ["CameraReport", "Progress", "Recompression", "RecompressionReport", "Step"]

RESERVE_BYTES = 64 << 20
"""What stays free on the disk beside the one new segment."""

_RECENT_S = 120.0


@dataclass(slots=True)
class CameraReport:
    """One camera (or estimator). Of its `segments` with depth (or too damaged to tell) so many were
    `rewritten`; in these `frames` depth frames have a new payload and `kept` were smaller as they were.
    Bytes are those of the rewritten files."""

    name: str
    segments: int = 0
    rewritten: int = 0
    frames: int = 0
    kept: int = 0
    before_bytes: int = 0
    after_bytes: int = 0

    def add(self, done: Rewritten) -> None:
        """Take a segment in."""
        self.rewritten += 1
        self.frames += done.frames
        self.kept += done.kept
        self.before_bytes += done.before_bytes
        self.after_bytes += done.after_bytes


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A segment that was not recompressed; `why` names it and says what to do."""

    path: Path
    why: str


@dataclass(slots=True)
class RecompressionReport:
    """What was done."""

    path: Path
    codec: str
    cameras: list[CameraReport] = field(default_factory=list)
    left_alone: list[LeftAlone] = field(default_factory=list)

    def total(self) -> CameraReport:
        """All cameras as one."""
        everything = CameraReport("all")
        for camera in self.cameras:
            everything.segments += camera.segments
            everything.rewritten += camera.rewritten
            everything.frames += camera.frames
            everything.kept += camera.kept
            everything.before_bytes += camera.before_bytes
            everything.after_bytes += camera.after_bytes
        return everything


class Recompression:
    """A recording on its way to another codec. Opening it changes nothing; run() does the work."""

    def __init__(self, path: Path, *, codec: str, jobs: int | None = None) -> None:
        """Look at a session, a camera's folder or a .nrig file. `jobs` threads compress (None: one a core).

        Raises ConfigError for a path, a codec or a number that does not go, FileBusyError for a recording
        in use, DiskFullError where there is no room for the largest segment twice, NotOurFileError,
        StorageError.
        """
        if jobs is not None and jobs < 1:
            raise ConfigError(f"--jobs {jobs}: must be 1 or more")
        self._codec: DepthCodec = lossless_codec(codec)
        self._jobs = jobs or os.cpu_count() or 1
        self._path = path
        self._held = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            self._held.close()
            raise

    def _open(self) -> None:
        found = session.open_session(self._path)
        self._series = {series.name: series.segments for series in found.series}
        self._session = hold_recording(self._path, self._segments(), self._held)
        alone = self._path.is_file()
        self._leftovers: dict[Path, Path] = {}
        self._plans: dict[str, list[SegmentPlan]] = {}
        for name, segments in self._series.items():
            plans = [plan_segment(segment, self._codec, alone=alone) for segment in segments]
            self._plans[(alone and plans[0].camera) or name] = plans
        self._refuse_fresh()
        freed_bytes = leftover_bytes(self._targets())
        for plan in sorted(self._pending(), key=lambda plan: plan.size, reverse=True):
            _require_room(plan, freed_bytes=freed_bytes)

    def _segments(self) -> Iterator[Path]:
        return chain.from_iterable(self._series.values())

    def _targets(self) -> Iterator[Path]:
        """Where the files really lie that are replaced."""
        return (path.resolve() for path in self._segments() if not session.broken_link(path))

    def _pending(self) -> list[SegmentPlan]:
        return [plan for plan in chain.from_iterable(self._plans.values()) if plan.frames]

    def _refuse_fresh(self) -> None:
        """A recording over the network holds no lock here; that it goes on shows by its last segment."""
        if self._session is not None and session.load_session(self._session).get("totals") is not None:
            return
        for last in (plans[-1] for plans in self._plans.values()):
            if not last.sealed and abs(time.time() - last.modified_s) < _RECENT_S:
                raise FileBusyError(
                    f"{last.path} was never finished and was written to a moment ago: it may still grow;"
                    f" try again in {_RECENT_S / 60:.0f} minutes"
                )

    @property
    def frames(self) -> int:
        """Depth frames that are to be recompressed."""
        return sum(plan.frames for plan in self._pending())

    @property
    def pixels(self) -> Counter[str]:
        """How many pixels these have, by the codec they have now."""
        found = Counter[str]()
        for plan in self._pending():
            found.update(plan.pixels)
        return found

    @property
    def given_up(self) -> Counter[str]:
        """What interrupted runs to other codecs have left, in bytes by codec: run() takes it away."""
        found = Counter[str]()
        for left in session.list_temporary_segments(self._targets()):
            if left.codec != self._codec.name:
                found[left.codec] += left.size
        return found

    def run(self, progress: Progress = lambda _: None) -> RecompressionReport:
        """Do it. Raises DiskFullError or StorageError; what was done until then stays done."""
        report = RecompressionReport(self._path, self._codec.name)
        self._leftovers = keep_best_leftovers(self._targets(), self._codec)
        for target in self._leftovers.keys() - {plan.path.resolve() for plan in self._pending()}:
            durable.remove_file(self._leftovers.pop(target))  # killed between the new file and its tidying up
        try:
            if self._session is not None and self._pending():
                withdraw_totals(self._session)
            with OrderedPool(self._jobs) as pool:
                for name, plans in self._plans.items():
                    segments = sum(plan.has_depth or bool(plan.trouble) for plan in plans)
                    report.cameras.append(CameraReport(name, segments))
                    for plan in plans:
                        self._recompress(plan, report, pool, progress)
        except BaseException:
            with contextlib.suppress(NightrigError):  # what has stopped us is the thing to be told
                self._settle(report)
            raise
        self._settle(report)
        return report

    def _recompress(
        self, plan: SegmentPlan, report: RecompressionReport, pool: OrderedPool, progress: Progress
    ) -> None:
        if plan.trouble:
            report.left_alone.append(LeftAlone(plan.path, plan.trouble))
        if not plan.frames:
            return
        written = compared = 0

        def counted(step: Step) -> None:
            nonlocal written, compared
            written, compared = written + step.written, compared + step.compared
            progress(step)

        leftover = self._leftovers.pop(plan.path.resolve(), None)
        if leftover is not None and not _has_room(plan):  # to go on from it takes both at once
            durable.remove_file(leftover)
            leftover = None
        _require_room(plan)
        try:
            done = rewrite_segment(plan.path, self._codec, pool, counted, leftover=leftover)
        except FormatError as error:
            advice = f"; {RECOVER}" if isinstance(error, DamagedError) else ""
            report.left_alone.append(LeftAlone(plan.path, f"{error}{advice}"))
            progress(Step(plan.frames - written, plan.frames - compared, is_work=False))
        else:
            report.cameras[-1].add(done)

    def _settle(self, report: RecompressionReport) -> None:
        """Write down in the session what was done."""
        if self._session is None:
            return
        renew_totals(self._session)
        done = report.total()
        if not done.rewritten:
            return
        event = {"event": "recompressed", "codec": report.codec, "segments": done.rewritten}
        event |= {"frames": done.frames, "kept": done.kept}
        event |= {"before_bytes": done.before_bytes, "after_bytes": done.after_bytes}
        session.append_event(self._session, event)

    def close(self) -> None:
        """Let go of the recording. Safe to call twice."""
        self._held.close()

    def __enter__(self) -> Recompression:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _require_room(plan: SegmentPlan, *, freed_bytes: int = 0) -> None:
    durable.require_room(plan.path.resolve().parent, plan.size + RESERVE_BYTES - freed_bytes)


def _has_room(plan: SegmentPlan) -> bool:
    try:
        _require_room(plan)
    except DiskFullError:
        return False
    return True
