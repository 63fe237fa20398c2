"""The real writer (capture.writer) on some small frames, in a forked process, with a disk that fails.

Everything it would be told by others lies ready: a camera's ring with numbered depth frames, an estimator's
with meshes and parameters, their counters, and the word "stop" when the rings are empty. So one try takes a
fraction of a second, and every k-th call of a kind can be made to fail.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture import ring as kinds
from capture import session, writer
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import DONE
from capture.counters import CounterPage
from capture.frames import CameraInfo, StreamInfo
from capture.recording import Recording
from capture.ring import FrameRing
from capture.spawn import Link
from capture.verification import verify
from capture.writer import COUNTERS, LaneSpec, WriterJob
from codec.durable import system
from scripts.campaigns._account import camera_account
from scripts.campaigns._faulty_calls import BreaksOnce
from scripts.campaigns._sent import DELIVERED, SentLog
from scripts.campaigns._test_camera import depth_loop

_SIZE = (32, 24)
_STEP_NS = 10_000_000
_POINTS = 12
_MESH_EVERY = 4
_PATIENCE_S = 60.0
_RETRY_S, _TICK_S = 0.02, 0.01  # much sooner than in earnest, for the sake of thousands of tries
_SEGMENT_BYTES = 12_000  # so that segments rotate a few times


@dataclass(slots=True)
class WriterTry:
    """How one try ended. trouble: sentences, each a broken promise."""

    fired: bool
    errors: int
    dropped: int
    meshes_lost: int
    torn: int
    trouble: list[str]


class TriedWriter:
    """Rings and counters for one try in `folder`, which is new."""

    def __init__(self, folder: Path, *, frames: int, mesh_codec: str) -> None:
        self.session = folder / "20250101T000000Z-tried"
        self.session.mkdir(parents=True)
        self.log = folder / "cam0.sent"
        self._said = folder / "stderr"
        self._frames, self._mesh_codec = frames, mesh_codec
        self._meshes: dict[int, Any] = {}
        self._rings = (FrameRing.create(4 << 20), FrameRing.create(4 << 20))
        self._pages = (CounterPage(COUNTERS), CounterPage(CAMERA_COUNTERS))
        self._fill_camera()
        self._fill_estimator()

    def _fill_camera(self) -> None:
        ring, page = self._rings[0], self._pages[1]
        info = CameraInfo("cam0", "test", "", (StreamInfo("depth", "z16", *_SIZE, 100.0),))
        now_ns = time.monotonic_ns() - self._frames * _STEP_NS
        ring.push(_json(asdict(info)), kind=kinds.INFO, epoch=1, monotonic_ns=now_ns)
        log, pictures = SentLog(self.log), depth_loop(*_SIZE, seed=1)
        for number in range(1, self._frames + 1):
            picture = pictures[number % len(pictures)]
            picture[0, 0] = number
            at_ns = now_ns + number * _STEP_NS
            crc = zlib.crc32(picture)
            log.note(DELIVERED, stream=0, epoch=1, number=number, monotonic_ns=at_ns, crc=crc)
            assert ring.push(picture, epoch=1, number=number, monotonic_ns=at_ns)
        log.close()
        ring.push(_json({"reason": "stopped"}), kind=kinds.END, epoch=1, monotonic_ns=time.monotonic_ns())
        page["captured0"], page["state"], page["heartbeat_ns"] = self._frames, DONE, time.monotonic_ns()

    def _fill_estimator(self) -> None:
        ring = self._rings[1]
        streams = StreamInfo("mesh", "mesh", _POINTS, 1, 30.0), StreamInfo("parameters", "f32", 5, 1, 30.0)
        info = CameraInfo("people", "estimator", "test", streams)
        ring.push(_json(asdict(info)), kind=kinds.INFO, epoch=1, monotonic_ns=time.monotonic_ns())
        rng = np.random.default_rng(1)
        meta = json.dumps({"vertices": _POINTS - 2}).encode()
        for number in range(_MESH_EVERY, self._frames + 1, _MESH_EVERY):
            points = rng.normal(0, 300, (1, _POINTS, 3)).astype("<f4")
            self._meshes[number] = points
            at = {"epoch": 1, "number": number, "monotonic_ns": time.monotonic_ns()}
            ring.push(points, stream=0, meta=meta, **at)
            ring.push(np.full((1, 5), number, "<f4"), stream=1, **at)
        ring.push(_json({"reason": "stopped"}), kind=kinds.END, epoch=1, monotonic_ns=time.monotonic_ns())

    def run(self, disk: BreaksOnce, *, may_tear: bool) -> WriterTry:
        """Record all of it on that disk, and hold what there is against what was sent."""
        told_read, told_write = os.pipe()
        pid = os.fork()
        if not pid:
            os._exit(self._write(disk, told_write))
        os.close(told_write)
        trouble = []
        with os.fdopen(told_read, "rb") as pipe:
            code = _wait(pid)
            told = [json.loads(line) for line in pipe.read().splitlines()]
        if code != 0:
            trouble.append(f"the writer ended with {code}")
        if b"Traceback" in self._said.read_bytes():
            trouble.append(f"a traceback: {self._said.read_text().splitlines()[-1]}")
        fired = any(event.get("fired") for event in told)
        errors = [e["message"] for e in told if e["event"] == "storage" and not e.get("ok")]
        result = self._check(trouble, may_tear=may_tear, lasts=disk.lasts)
        result.fired, result.errors = fired, len(errors)
        if any(event["event"] == "error" for event in told):
            trouble.append(f"told as an error: {[e for e in told if e['event'] == 'error']}")
        return result

    def _write(self, disk: BreaksOnce, told_fd: int) -> int:
        """In the forked process: its exit code."""
        said_fd = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said_fd, 2)
        writer._DISK_RETRY_S, writer._TICK_S = _RETRY_S, _TICK_S
        control_read, control_write = os.pipe()
        link = Link(control_read, told_fd)
        threading.Thread(target=self._stop_when_empty, args=(control_write,), daemon=True).start()
        system.calls = disk  # type: ignore[assignment]
        try:
            code = writer.run(self._job(), link)
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        link.event("disk", fired=disk.fired)
        return code

    def _stop_when_empty(self, control_fd: int) -> None:
        while any(ring.queued for ring in self._rings):
            time.sleep(0.005)
        os.write(control_fd, b"stop\n")

    def _job(self) -> WriterJob:
        camera, results = self._rings
        return WriterJob(
            session=self.session,
            lanes=(
                LaneSpec("cam0", camera.spec, True, self._pages[1].fd),
                LaneSpec("people", results.spec, False),
            ),
            counters_fd=self._pages[0].fd,
            depth_codec="lattice-lz4",
            jpeg_quality=90,
            near_bound_subpixels=2.5,
            sync_s=0.02,
            sync_bytes=4096,
            segment_s=3600.0,
            segment_bytes=_SEGMENT_BYTES,
            reserve_mb=0.0,
            deletes_oldest=False,
            threads=1,
            mesh_codec=self._mesh_codec,
            mesh_preset=0,
        )

    def _check(self, trouble: list[str], *, may_tear: bool, lasts: bool) -> WriterTry:
        account = camera_account(self.session / "cam0", self.log, "cam0")
        trouble += account.wrong[:3] + account.untrue[:3]
        trouble += [f"{missing.key} is gone" for missing in account.unaccounted[:3]]
        if account.written + account.dropped_total + account.at_camera != account.sent:
            trouble.append(f"{account.sent} sent, {account.written} written, {account.dropped} dropped")
        report = verify(self.session)
        torn = [stretch for stretch in report.damage if "torn tail" in stretch.what]
        other = [stretch for stretch in report.damage if "torn tail" not in stretch.what]
        trouble += [f"damage: {stretch.path.name}: {stretch.what}" for stretch in other]
        if torn and not may_tear:
            trouble.append(f"torn: {torn[0].path.name}")
        trouble += [f"verify: {problem}" for problem in report.problems]
        lost = self._check_meshes(trouble, lasts=lasts)
        page = self._pages[0]
        counted = page["written0.0"] + page["dropped0.0"]
        if counted != self._frames or page["written0.0"] != account.written:
            trouble.append(
                f"the counters say {page['written0.0']} written, {counted} of {self._frames} in all"
            )
        return WriterTry(False, 0, account.dropped_total, lost, len(torn), trouble)

    def _check_meshes(self, trouble: list[str], *, lasts: bool) -> int:
        """How many went with a mesh file that the disk refused. Each must be counted, and in a gap record
        unless the disk refuses that as well, to the very end."""
        with Recording(self.session) as recording:
            seen = {int(mesh["frame_number"]): mesh for mesh in recording.meshes()}
            told = sum(g.count for g in recording.gaps if g.stream == "people/mesh")
            parameters = recording.streams.get("people/parameters")
            results = 0 if parameters is None else len(parameters)
        for number, mesh in seen.items():
            points = np.concatenate([mesh["vertices"], mesh["joints"]], axis=1)
            if np.abs(points - self._meshes[number]).max() > 0.2501:
                trouble.append(f"mesh {number} differs from what was sent")
        lost = len(self._meshes) - len(seen)
        if lost != told and not (lasts and told == 0):
            trouble.append(f"{lost} meshes are missing, {told} are told of")
        if lost != (counted := self._pages[0]["dropped1.0"]):
            trouble.append(f"{lost} meshes are missing, {counted} are counted")
        if results != len(self._meshes):
            trouble.append(f"{results} of {len(self._meshes)} parameters are there")
        return lost

    def close(self) -> None:
        """Give the memory back."""
        for shared in (*self._rings, *self._pages):
            shared.close()


def try_session_files(folder: Path, disk: BreaksOnce) -> WriterTry:
    """What the supervisor writes: a session folder, session.json again and again, events."""
    trouble: list[str] = []
    errors, made, saved, noted = 0, None, -1, []
    before, system.calls = system.calls, disk  # type: ignore[assignment]
    try:
        made = session.create_session(folder / "root", "tried", {}, {})
        for step in range(4):
            for act in (_save, _note):
                try:
                    act(made, step)
                except session.StorageError as error:
                    errors += 1
                    trouble += [] if len(str(error).splitlines()) == 1 else [f"no single line: {error}"]
                else:
                    saved = step if act is _save else saved
                    noted += [step] if act is _note else []
    except session.StorageError:
        errors += 1
    finally:
        system.calls = before
    if made is not None:
        _check_session_files(made, saved, noted, trouble)
    return WriterTry(disk.fired, errors, 0, 0, 0, trouble)


def _save(folder: Path, step: int) -> None:
    session.save_session(folder, {"step": step, "filling": "x" * 5000})


def _note(folder: Path, step: int) -> None:
    session.append_event(folder, {"event": "tried", "step": step})


def _check_session_files(folder: Path, saved: int, noted: list[int], trouble: list[str]) -> None:
    value = json.loads((folder / session.SESSION_FILE).read_text())
    # A rename that could not be made to last has taken place all the same.
    if value.get("step", -1) not in (saved, saved + 1):
        trouble.append(f"session.json has step {value.get('step')}, {saved} was the last that succeeded")
    lines = (folder / session.EVENTS_FILE).read_text().splitlines() if noted else []
    if (steps := [json.loads(line)["step"] for line in lines]) != noted:
        trouble.append(f"events.jsonl has {steps}, {noted} were written")
    if litter := [path.name for path in folder.iterdir() if path.name.startswith(".")]:
        trouble.append(f"left behind: {litter}")


def _wait(pid: int) -> int:
    """Its exit code; a process that hangs is killed."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
