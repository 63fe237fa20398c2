"""Runs an estimator over a recording, frame by frame, into a session of its own.

    with Recording(path) as recording, RecordedEstimation(recording, spec, out) as work:
        outcome = work.run(tell)

The recording is read only. What is interrupted goes on where it was: a second before the last results, so
that an estimator that follows people has them again. A frame it cannot take costs its own results only. One
that can use what comes later (`Estimator.estimate_recorded`) gives results late; files are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from capture import session
from capture._late_answers import Answer, LateAnswers
from capture.calibration import CameraCalibration
from capture.estimation import estimator_info, optional_inputs, summary_of, takes_cameras_one_by_one
from capture.estimators import make_estimator
from capture.given_files import exists
from capture.recorded_sets import FrameSet, FrameSets, recorded_cameras
from capture.recording import Recording
from capture.result_files import ResultFiles
from capture.specs import ESTIMATOR_FILES, EstimatorSpec
from capture.stamps import stamp_of
from capture.versions import versions
from codec import durable
from codec.errors import ConfigError, StorageError

_WARM_UP_NS: Final = 1_000_000_000
_CHECKPOINT_S: Final = 10.0
_REPORT_FAILURES: Final = 3

Tell = Callable[[int], None]
"""Called with how many sets of frames more are done."""
Say = Callable[[str], None]
"""Called with a sentence on what went wrong with a frame."""


@dataclass(slots=True)
class EstimationOutcome:
    """What became of the sets of frames. seen = estimated + empty (nobody in view) + failed.

    untaken: those of other cameras than the first one that it failed on; their results lack what these saw.
    """

    seen: int = 0
    estimated: int = 0
    empty: int = 0
    failed: int = 0
    damaged: int = 0
    untaken: int = 0
    seconds: float = 0.0
    meshes: int = 0
    summary: str = ""


class RecordedEstimation:
    """One estimator over one recording. `total` sets of frames, of which `done` are on disk already."""

    def __init__(
        self,
        recording: Recording,
        spec: EstimatorSpec,
        out: Path,
        *,
        calibration: Mapping[str, CameraCalibration] | None = None,
        depth_codec: str,
        mesh_codec: str = "bodycompress",
        mesh_preset: int | Literal["auto"] = "auto",
    ) -> None:
        """Open the estimator, make `out` or go on with it.

        Raises ConfigError (`out` is something else, which is told first), EstimatorError (it cannot be run
        over this) and StorageError.
        """
        self._recording, self._spec, self._out = recording, spec, out
        origin = recorded_from(recording.path, spec, calibration)
        earlier = _earlier(out, origin)
        self._at_ns = self._failures = 0
        self._held = contextlib.ExitStack()
        self._estimator = make_estimator(spec)
        try:
            cameras = recorded_cameras(recording, calibration)
            outputs = self._estimator.open(cameras)
            keys = self._estimator.inputs()
            self._sets = FrameSets(
                recording,
                keys,
                by_camera=takes_cameras_one_by_one(self._estimator),
                optional=optional_inputs(self._estimator),
            )
            self._asked = LateAnswers(self._estimator)
            self._session = self._begin(origin) if earlier is None else earlier
            self._held.enter_context(durable.hold(out))
            self._files = ResultFiles(
                out,
                estimator_info(spec, outputs, cameras, keys[0]),
                depth_codec=depth_codec,
                mesh_codec=mesh_codec,
                mesh_preset=mesh_preset,
                clock_pair=self._clock_pair,
            )
        except BaseException:
            self.close()
            raise
        done_ns = self._session["estimate"].get("done_ns")
        self._done_ns = max(self._files.last_ns, done_ns if type(done_ns) is int else -1)
        self.total = len(self._sets)
        self.done = self._sets.first_after(self._done_ns)

    def _begin(self, origin: dict[str, Any]) -> dict[str, Any]:
        """Make `out` and its session.json."""
        started = self._recording.info.get("started")
        made = {
            "format": "nightrig-session",
            "version": 1,
            "rig": self._recording.info.get("rig", ""),
            "started": started if isinstance(started, dict) else None,
            "config": {},
            "versions": versions(),
            "cameras": {},
            "totals": None,
            "estimate": {**origin, "done_ns": -1},
        }
        durable.make_directory(self._out)
        session.save_session(self._out, made)
        return made

    def _clock_pair(self) -> tuple[int, int]:
        wall_ns = self._recording.wall_ns(self._at_ns)
        return self._at_ns, self._at_ns if wall_ns is None else wall_ns

    def run(self, tell: Tell, say: Say) -> EstimationOutcome:
        """Do what is left. Raises StorageError; what is on disk then stays, and the same call goes on."""
        outcome = EstimationOutcome()
        began_s = checked_s = time.monotonic()
        waiting_ns = self._done_ns
        is_done = self.done == self.total
        first = self.total if is_done else self._sets.first_after(self._done_ns - _WARM_UP_NS)
        for index, found in enumerate(self._sets.frames_from(first), first):
            is_warm_up = index < self.done
            if isinstance(found, str):
                outcome.damaged += not is_warm_up
                say(found)
            else:
                self._estimate(found, outcome, say, is_warm_up=is_warm_up)
            if not is_warm_up:
                tell(1)
            if time.monotonic() - checked_s > _CHECKPOINT_S:
                # What was made ten seconds ago is on the disk by now, meshes of open segments included.
                self._note(waiting_ns)
                checked_s, waiting_ns = time.monotonic(), self._at_ns - self._asked.late_ns
        self._write_rest(outcome, say)
        outcome.empty = outcome.seen - outcome.estimated - outcome.failed
        self._files.close()
        outcome.seconds = time.monotonic() - began_s
        outcome.summary = summary_of(self._estimator)
        self._finish(outcome)
        return outcome

    def _estimate(self, found: FrameSet, outcome: EstimationOutcome, say: Say, *, is_warm_up: bool) -> None:
        self._at_ns = found.at_ns
        counts = found.is_pace and not is_warm_up
        outcome.seen += counts
        try:
            answers = self._asked.to(found)
        except StorageError:
            raise
        except Exception as error:  # an estimator is anybody's code: one frame must not end a night's work
            outcome.failed += counts
            outcome.untaken += not (found.is_pace or is_warm_up)
            self._complain(error, found.at_ns, say)
            return
        for answer in answers:
            self._write(answer, outcome, say)

    def _write_rest(self, outcome: EstimationOutcome, say: Say) -> None:
        try:
            for answer in self._asked.rest():
                self._write(answer, outcome, say)
        except StorageError:
            raise
        except Exception as error:  # as above
            outcome.failed += max(1, self._asked.waiting)
            self._complain(error, self._at_ns, say)

    def _write(self, answer: Answer, outcome: EstimationOutcome, say: Say) -> None:
        if answer.at_ns <= self._done_ns:  # what it was warmed up with is on the disk
            return
        if answer.error is not None:
            outcome.failed += 1
            self._complain(answer.error, answer.at_ns, say)
            return
        try:
            for result in answer.results:
                self._files.append(result, answer.epoch)
        except StorageError:
            raise
        except Exception as error:  # as above: what it answers may be anything
            outcome.failed += 1
            self._complain(error, answer.at_ns, say)
        else:
            outcome.estimated += 1

    def _complain(self, error: Exception, at_ns: int, say: Say) -> None:
        self._failures += 1
        if self._failures <= _REPORT_FAILURES:
            why = str(error) or type(error).__name__
            say(f"estimator {self._spec.name} failed on what was taken at {at_ns} ns: {why}")

    def _note(self, done_ns: int) -> None:
        self._session["estimate"]["done_ns"] = done_ns
        session.save_session(self._out, self._session)

    def _finish(self, outcome: EstimationOutcome) -> None:
        with Recording(self._out) as made:
            outcome.meshes = made.mesh_count()
            written = {name: len(stream) for name, stream in made.streams.items()}
        self._session["totals"] = {"streams": {}, "meshes": outcome.meshes, "meshes_skipped": outcome.failed}
        self._session["estimate"]["finished"] = _frames_of(self._recording)
        self._session["estimate"]["written"] = written
        self._note(self._sets.time_ns(self.total - 1) if self.total else -1)

    def close(self) -> None:
        """Release the estimator and the folder. Safe to call twice."""
        self._estimator.close()
        self._held.close()

    def __enter__(self) -> RecordedEstimation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and hasattr(self, "_files"):
            with contextlib.suppress(StorageError):
                self._files.close()
        self.close()


def finished_before(
    recording: Recording,
    spec: EstimatorSpec,
    out: Path,
    calibration: Mapping[str, CameraCalibration] | None = None,
) -> EstimationOutcome | None:
    """What lies in `out` where an earlier run did every frame there is, which takes no estimator to tell;
    else None. Raises ConfigError where `out` is something else, or lacks what was
    written, and StorageError."""
    earlier = _earlier(out, recorded_from(recording.path, spec, calibration))
    if earlier is None or earlier["estimate"].get("finished") != _frames_of(recording):
        return None
    with Recording(out) as made:
        written = earlier["estimate"].get("written")
        for name, count in written.items() if isinstance(written, dict) else ():
            there = len(made.streams[name]) if name in made.streams else 0
            if type(count) is int and there < count:
                raise ConfigError(
                    f"{out} was whole, with {count} results of {name}, and has {there} of them now: remove"
                    " it, or name a new folder with --out"
                )
        return EstimationOutcome(meshes=made.mesh_count())


def _earlier(out: Path, origin: dict[str, Any]) -> dict[str, Any] | None:
    """session.json of an earlier run; None where `out` is new."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file: name a new folder")
    if not out.is_dir() or not any(out.iterdir()):
        return None
    found = session.load_session(out)
    estimate = found.get("estimate")
    ours = {key: estimate.get(key) for key in origin} if isinstance(estimate, dict) else {}
    stamps, stamps_then = origin["files"], ours.get("files")
    if isinstance(stamps_then, dict):
        for name, stamp in stamps_then.items():
            if stamps.get(name, stamp) != stamp:  # one that is gone says nothing
                raise ConfigError(
                    f"{out} was made with another file than now stands at {name}: name a new folder"
                    " with --out"
                )
        ours["files"] = stamps
    if ours != origin:
        raise ConfigError(
            f"{out} holds something else than this estimator's results of this recording: name a new folder"
            " with --out"
        )
    return found


def _frames_of(recording: Recording) -> dict[str, list[int]]:
    """How many frames each camera's streams have, and when the last one came: what an end is the end of."""
    return {
        name: [len(stream), stream.last_ns if len(stream) else -1]
        for name, stream in recording.streams.items()
        if not stream.is_estimate
    }


def recorded_from(
    path: Path, spec: EstimatorSpec, calibration: Mapping[str, CameraCalibration] | None = None
) -> dict[str, Any]:
    """What says whether an earlier run made the same: the recording, the estimator with its settings, what is
    in the files those name, and what a rig file says of the cameras in place of the recording."""
    told = asdict(spec)
    told["cameras"] = list(spec.cameras)
    known = {name: each for name, each in (calibration or {}).items() if each != CameraCalibration()}
    digest = hashlib.sha256(repr(sorted(known.items())).encode()).hexdigest()[:16] if known else None
    return {
        "of": str(path.resolve()),
        "estimator": told,
        "calibration": digest,
        "files": dict(_stamps(spec.options)),
    }


def _stamps(options: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The files that options name, of key point sources, too, and what is in them. A recording grows, and is
    the same all the same."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _stamps(value)
        elif key in ESTIMATOR_FILES and key != "session" and isinstance(value, str) and value:
            path = Path(value)
            if exists(path):
                yield value, stamp_of(path)
