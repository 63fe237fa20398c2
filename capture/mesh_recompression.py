"""Packs the mesh files of a recording anew, in place: the same numbers in fewer bytes, or in the other kind.

    with MeshRecompression(session_folder, target=Target("native")) as work:
        report = work.run()

Owns the recording while it is open: one that is being recorded, or recompressed by somebody else, is
refused. Each file is written anew beside the old one, synced, read back and held against it frame by frame on
the grid; only then does it take its place. Where the kind changes so does the name: the new file gets its
own, and then the old one is taken away. A kill between the two leaves both, of which readers see one; the
next run compares them once more and takes one away. A file whose writer was killed goes on saying so.
Damaged files are left alone and named.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from capture import session
from capture._recompress_hold import hold_recording
from codec import durable
from codec.errors import FileBusyError, FormatError, NightrigError, StorageError
from codec.mesh import MeshReader
from codec.mesh.conversion import Converted, Target, same_meshes, write_converted

RESERVE_BYTES = 64 << 20
"""What stays free on the disk beside the one new file."""

_RECENT_S = 120.0
_GROWTH = 5  # of native files that become bodycompress ones, at most
_RECOVER = "`nightrig recover` makes a clean copy"

Progress = Callable[[int], None]


@dataclass(slots=True)
class MeshPlan:
    """A mesh file: how many frames are to be packed anew (0: none), or why it is left alone (`trouble`)."""

    path: Path
    size: int = 0
    frames: int = 0
    closed: bool = True
    same_kind: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Repacked:
    """What became of a file. `kept`: it would not have become smaller, and stays as it was."""

    before: Path
    after: Path
    frames: int
    before_bytes: int
    after_bytes: int
    raw_bytes: int
    kept: bool = False


@dataclass(slots=True)
class MeshReport:
    """What was done: `left_alone` says of each file that was not touched why; `tidied` were second copies."""

    path: Path
    files: int = 0
    repacked: list[Repacked] = field(default_factory=list)
    left_alone: list[tuple[Path, str]] = field(default_factory=list)
    tidied: list[Path] = field(default_factory=list)


class MeshRecompression:
    """Mesh files on their way to another kind. Opening it changes nothing; run() does the work."""

    def __init__(self, path: Path, *, target: Target, again: bool = False) -> None:
        """Look at a session, a folder in it or a mesh file. `again`: files of that kind already, too, where
        that makes them smaller.

        Raises ConfigError, FileBusyError for a recording in use, DiskFullError where there is no room for
        the largest new file, NotOurFileError, StorageError.
        """
        self._path, self._target, self._again = path, target, again
        self._stage: Callable[[str], None] = lambda _: None
        self._held = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            self._held.close()
            raise

    def _open(self) -> None:
        found = session.open_session(self._path)
        self._doubles = found.mesh_doubles
        self._session = hold_recording(self._path, (*found.meshes, *self._doubles), self._held)
        self._plans = [self._plan(path) for path in found.meshes]
        for plan in self._pending():
            self._require_room(plan)

    def _plan(self, path: Path) -> MeshPlan:
        plan = MeshPlan(path, session.file_size(path))
        if trouble := session.broken_link(path):
            plan.trouble = f"{path}: {trouble}"
            return plan
        try:
            with MeshReader(path) as reader:
                plan.closed, plan.same_kind = reader.closed, reader.codec == self._target.codec
                self._refuse_fresh(plan)
                if reader.damage:
                    plan.trouble = f"{path}: {reader.damage}; {_RECOVER}"
                elif not self._is_done(reader):
                    plan.frames = len(reader)
                    plan.trouble = self._obstacle(plan)
        except (FormatError, StorageError) as error:
            if isinstance(error, FileBusyError):
                raise
            plan.trouble = f"{error}; {_RECOVER}"
        if plan.trouble:
            plan.frames = 0
        return plan

    def _is_done(self, reader: MeshReader) -> bool:
        if reader.codec != self._target.codec:
            return False
        if self._target.codec == "native":
            return self._target.way != "small" or reader.way == "small"
        return not self._again

    def _obstacle(self, plan: MeshPlan) -> str:
        if not plan.closed and self._target.codec != "native":
            return f"{plan.path} was never closed (its writer was killed), and would be; {_RECOVER}"
        if plan.path.is_symlink() and not plan.same_kind:
            return f"{plan.path} is a link, and its name would change: recompress {plan.path.resolve()}"
        new = session.mesh_path_as(plan.path, self._target.codec)
        is_double = any(double.with_suffix("") == plan.path.with_suffix("") for double in self._doubles)
        if new != plan.path and new.exists() and not is_double:  # beside a file that was named alone
            return f"{plan.path} would become {new}, and there is such a file: move one of the two away"
        return ""

    def _refuse_fresh(self, plan: MeshPlan) -> None:
        """A recording over the network holds no lock here."""
        if self._session is not None and session.load_session(self._session).get("totals") is not None:
            return
        if not plan.closed and abs(time.time() - plan.path.stat().st_mtime) < _RECENT_S:
            raise FileBusyError(
                f"{plan.path} was never finished and was written to a moment ago: it may still grow;"
                f" try again in {_RECENT_S / 60:.0f} minutes"
            )

    def _pending(self) -> Iterator[MeshPlan]:
        return (plan for plan in self._plans if plan.frames)

    def _require_room(self, plan: MeshPlan) -> None:
        growth = 1 if plan.same_kind or self._target.codec == "native" else _GROWTH
        durable.require_room(plan.path.resolve().parent, growth * plan.size + RESERVE_BYTES)

    @property
    def frames(self) -> int:
        """Mesh frames that are to be packed anew."""
        return sum(plan.frames for plan in self._pending())

    @property
    def readings(self) -> int:
        """How often each of these is read on the way: progress is counted in that."""
        return self._target.readings

    def run(
        self, progress: Progress = lambda _: None, stage: Callable[[str], None] = lambda _: None
    ) -> MeshReport:
        """Do it. `stage` is told what takes long and cannot be counted, and "" when that is over.

        Raises DiskFullError or StorageError; what was done until then stays done.
        """
        self._stage = stage
        report = MeshReport(self._path, len(self._plans))
        everything = [plan.path for plan in self._plans] + list(self._doubles)
        for left in session.list_temporary_segments(
            path.resolve() for path in everything if not session.broken_link(path)
        ):
            durable.remove_file(left.path)
        try:
            self._tidy(report, progress)
            for plan in self._plans:
                self._repack(plan, report, progress)
        except BaseException:
            with contextlib.suppress(NightrigError):  # what has stopped us is the thing to be told
                self._settle(report)
            raise
        self._settle(report)
        return report

    def _tidy(self, report: MeshReport, progress: Progress) -> None:
        """Of two files with one number, keep the one of the wanted kind if they are the same."""
        for double in self._doubles:
            plan = next(plan for plan in self._plans if plan.path.with_suffix("") == double.with_suffix(""))
            wanted = plan.path if plan.same_kind else double
            other = double if plan.same_kind else plan.path
            try:
                is_same = not plan.trouble and same_meshes(other, wanted, self._target)
            except (FormatError, StorageError):
                is_same = False
            if not is_same:
                why = f"{other} and {wanted} have one number and are not the same: keep the right one"
                report.left_alone.append((other, why))
                progress(self.readings * plan.frames)
                plan.frames = 0
                plan.trouble = why
                continue
            durable.remove_file(other)
            durable.sync_directory(other.parent)
            report.tidied.append(other)
            plan.path = wanted
            plan.same_kind = True
            with MeshReader(wanted) as reader:
                if self._is_done(reader):
                    progress(self.readings * plan.frames)
                    plan.frames = 0

    def _repack(self, plan: MeshPlan, report: MeshReport, progress: Progress) -> None:
        if plan.trouble:
            if all(path != plan.path for path, _ in report.left_alone):
                report.left_alone.append((plan.path, plan.trouble))
            return
        if not plan.frames:
            return
        told = 0

        def counted(amount: int) -> None:
            nonlocal told
            told += amount
            progress(amount)

        self._require_room(plan)
        old = plan.path.resolve()
        temporary = session.temporary_segment(
            old, self._target.way if self._target.codec == "native" else "xz"
        )
        try:
            with durable.hold(old):
                self._replace(plan, old, temporary, report, counted)
        except FormatError as error:
            report.left_alone.append((plan.path, f"{error}; {_RECOVER}"))
        finally:
            durable.remove_file(temporary)
        progress(self.readings * plan.frames - told)

    def _replace(
        self, plan: MeshPlan, old: Path, temporary: Path, report: MeshReport, progress: Progress
    ) -> None:
        target = replace(self._target, closed=plan.closed, whole=True)
        done = write_converted(old, temporary, target, progress, self._stage)
        if why := _loss(done):
            report.left_alone.append((plan.path, f"{plan.path}: {why}"))
            return
        kept = plan.same_kind and done.after_bytes >= done.before_bytes
        after = session.mesh_path_as(old, self._target.codec)
        if not kept and after == old:
            durable.replace_file(temporary, old)
        elif not kept:
            durable.supersede_file(temporary, after, old)
        report.repacked.append(
            Repacked(
                plan.path,
                session.mesh_path_as(plan.path, self._target.codec),
                done.frames,
                done.before_bytes,
                done.before_bytes if kept else done.after_bytes,
                done.raw_bytes,
                kept,
            )
        )

    def _settle(self, report: MeshReport) -> None:
        """Write down in the session what was done."""
        changed = [each for each in report.repacked if not each.kept]
        if self._session is None or not changed:
            return
        event = {"event": "recompressed", "meshes": self._target.codec, "files": len(changed)}
        event |= {"frames": sum(each.frames for each in changed)}
        event |= {"before_bytes": sum(each.before_bytes for each in changed)}
        event |= {"after_bytes": sum(each.after_bytes for each in changed)}
        session.append_event(self._session, event)

    def close(self) -> None:
        """Let go of the recording. Safe to call twice."""
        self._held.close()

    def __enter__(self) -> MeshRecompression:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _loss(done: Converted) -> str:
    """What the new file would not have; "" for nothing."""
    if done.damage or done.skipped:
        return f"{done.damage or 'frames in it cannot be stored'}; {_RECOVER}"
    if done.left_out or done.cut or done.bare or done.renamed_cameras:
        return "it has people or cameras that bodycompress files have no room for; it stays native"
    return ""
