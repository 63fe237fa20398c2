"""The processes of a recording with the memory they share: made, asked, tended and released together.

Owns the rings' and counters' memory, which the children inherit and which outlives every one of them. How a
single process is restarted stands in capture.processes; when to start, watch and stop, in capture.service.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capture import processes
from capture.camera import COUNTERS as CAMERA_COUNTERS
from capture.camera import MAX_STREAMS
from capture.codec_choice import Choice
from capture.config import ESTIMATOR_QUEUE_MB, Rig
from capture.counters import CounterPage
from capture.estimation import COUNTERS as ESTIMATION_COUNTERS
from capture.estimation import EstimationJob
from capture.frames import CameraInfo
from capture.preview import PreviewJob
from capture.processes import CameraProcess, Journal, WorkerProcess, kill
from capture.ring import FrameRing
from capture.spawn import Child
from capture.specs import EstimatorSpec
from capture.totals import Totals, count_totals
from capture.writer import COUNTERS as WRITER_COUNTERS
from capture.writer import LaneSpec, WriterJob

TICK_S = 0.1
DYING_S = 3.0
_MB = 1 << 20
_WRITER_RESTARTS = 1_000_000
_ESTIMATOR_RESTARTS = 5
_EXIT_TICK_S = 0.01  # a process whose pipe has ended is about to end too


class Crew:
    """Cameras, the writer, and those who look on: estimators and at most one preview."""

    def __init__(
        self, rig: Rig, folder: Path, codec: Choice, journal: Journal, on_turn: Callable[[], None]
    ) -> None:
        """Rings and counters; no process yet. `on_turn` is called with every `pump`."""
        self._on_turn = on_turn
        self._rig, self._folder, self._codec, self._journal = rig, folder, codec, journal
        self.estimators: dict[str, WorkerProcess] = {}
        self.previews: list[WorkerProcess] = []
        specs, estimators = self._rig.camera_specs(), self._rig.estimator_specs()
        estimator_bytes = ESTIMATOR_QUEUE_MB * _MB
        share = (int(self._rig.queue_mb * _MB) - estimator_bytes * len(estimators)) // len(specs)
        self.cameras = [
            CameraProcess(
                spec,
                FrameRing.create(share, observers=len(estimators) + 1),
                CounterPage(CAMERA_COUNTERS),
                journal=self._journal,
            )
            for spec in specs
        ]
        self._results = [FrameRing.create(estimator_bytes, observers=1) for _ in estimators]
        self._estimation_pages = [CounterPage(ESTIMATION_COUNTERS) for _ in estimators]
        self.writer_page = CounterPage(WRITER_COUNTERS)
        self.writer = self._make_writer([estimator.name for estimator in estimators])

    def _make_writer(self, estimators: Sequence[str]) -> WorkerProcess:
        record = self._rig.record
        lanes = [LaneSpec(c.spec.name, c.ring.spec, True, c.counters.fd) for c in self.cameras]
        lanes += [LaneSpec(n, r.spec, False) for n, r in zip(estimators, self._results, strict=True)]
        job = WriterJob(
            session=self._folder,
            lanes=tuple(lanes),
            counters_fd=self.writer_page.fd,
            depth_codec=self._codec.codec,
            jpeg_quality=record.jpeg_quality,
            near_bound_subpixels=record.near_bound_subpixels,
            sync_s=record.sync_s,
            sync_bytes=int(record.sync_mb * _MB),
            segment_s=record.segment_s,
            segment_bytes=int(record.segment_mb * _MB),
            reserve_mb=record.reserve_mb,
            deletes_oldest=record.when_full == "delete-oldest",
            threads=record.threads or max(1, os.cpu_count() or 1),
            mesh_codec=record.mesh_codec,
            mesh_preset=record.mesh_preset,
        )
        pages = (self.writer_page.fd, *(camera.counters.fd for camera in self.cameras))
        fds = (*pages, *(fd for lane in lanes for fd in lane.ring.fds))
        return WorkerProcess(
            "writer",
            processes.WRITER_ENTRY,
            job,
            fds,
            _WRITER_RESTARTS,
            self._journal,
            heartbeat=lambda: self.writer_page["heartbeat_ns"],
        )

    def start_estimators(self) -> None:
        """Those whose cameras are all there; an estimator of a camera that comes later is started then."""
        infos = self.infos()
        for index, spec in enumerate(self._rig.estimator_specs()):
            if spec.name not in self.estimators and infos.keys() >= set(spec.cameras):
                self._start_estimator(index, spec, {name: infos[name] for name in spec.cameras})

    def _start_estimator(self, index: int, spec: EstimatorSpec, infos: dict[str, CameraInfo]) -> None:
        rings = {camera.spec.name: camera.ring.spec for camera in self.cameras}
        page = self._estimation_pages[index]
        job = EstimationJob(
            spec=spec,
            cameras=infos,
            rings={name: ring for name, ring in rings.items() if name in infos},
            observer=index,
            results=self._results[index].spec,
            counters_fd=page.fd,
        )
        worker = WorkerProcess(
            f"estimator {spec.name}",
            processes.ESTIMATOR_ENTRY,
            job,
            (page.fd, *self._results[index].spec.fds, *(fd for r in job.rings.values() for fd in r.fds)),
            _ESTIMATOR_RESTARTS,
            self._journal,
            heartbeat=lambda: page["heartbeat_ns"],
        )
        self.estimators[spec.name] = worker
        worker.spawn()

    def start_preview(self) -> None:
        """Of the cameras that are there."""
        names = [estimator.name for estimator in self._rig.estimator_specs()]
        job = PreviewJob(
            rig=self._rig.name,
            session=self._folder,
            cameras=self.infos(),
            rings={camera.spec.name: camera.ring.spec for camera in self.cameras},
            results={name: ring.spec for name, ring in zip(names, self._results, strict=True)},
            camera_counters={camera.spec.name: camera.counters.fd for camera in self.cameras},
            writer_counters_fd=self.writer_page.fd,
            depth_codec=self._codec.codec,
        )
        fds = [self.writer_page.fd, *job.camera_counters.values()]
        fds += [fd for ring in (*job.rings.values(), *job.results.values()) for fd in ring.fds]
        worker = WorkerProcess(
            "preview", processes.PREVIEW_ENTRY, job, tuple(fds), 0, self._journal, may_leave=True
        )
        self.previews.append(worker)
        worker.spawn()

    @property
    def workers(self) -> list[WorkerProcess]:
        """All processes but the cameras'."""
        return [self.writer, *self.estimators.values(), *self.previews]

    @property
    def children(self) -> list[Child]:
        """The processes that there are now."""
        children = [camera.child for camera in self.cameras]
        children += [worker.child for worker in self.workers]
        return [child for child in children if child is not None]

    @property
    def waiting_estimators(self) -> list[EstimatorSpec]:
        """Those that are not started, since a camera of theirs has never opened."""
        return [spec for spec in self._rig.estimator_specs() if spec.name not in self.estimators]

    def infos(self) -> dict[str, CameraInfo]:
        """What the cameras that have opened said of themselves."""
        return {camera.spec.name: camera.info for camera in self.cameras if camera.info is not None}

    def infos_as_dicts(self) -> dict[str, Any]:
        """The same as it stands in session.json."""
        return {name: asdict(info) for name, info in self.infos().items()}

    def pump(self, wait_s: float = TICK_S) -> None:
        """Wait a moment for events, and act on them."""
        self._on_turn()
        speaking = [child.event_fd for child in self.children if not child.silent]
        select.select(speaking, [], [], wait_s if speaking else min(wait_s, _EXIT_TICK_S))
        for camera in self.cameras:
            camera.pump()
        for worker in self.workers:
            worker.pump()

    def tend(self) -> None:
        """Whatever has died or hangs is replaced when its time has come."""
        for camera in self.cameras:
            camera.tend()
        for worker in self.workers:
            worker.tend()

    @property
    def queued(self) -> int:
        """Frames in all rings."""
        return sum(ring.queued for ring in (*(c.ring for c in self.cameras), *self._results))

    @property
    def released(self) -> int:
        """Frames that have left all rings so far."""
        return sum(ring.released for ring in (*(c.ring for c in self.cameras), *self._results))

    @property
    def fill(self) -> float:
        """Of the fullest camera ring, 0 to 1."""
        return max(camera.ring.fill for camera in self.cameras)

    def totals(self) -> Totals:
        """The account so far."""
        names = [estimator.name for estimator in self._rig.estimator_specs()]
        return count_totals(
            [(camera.spec.name, camera.info, camera.counters) for camera in self.cameras],
            list(zip(names, self._estimation_pages, strict=True)),
            self.writer_page,
        )

    def count_unwritten(self) -> None:
        """The writer is gone for good: what it has not accounted for is dropped."""
        for lane, camera in enumerate(self.cameras):
            for stream in range(MAX_STREAMS):
                passed_on = sum(self.writer_page[f"{what}{lane}.{stream}"] for what in ("written", "dropped"))
                refused = camera.counters[f"dropped{stream}"]
                left = camera.counters[f"captured{stream}"] - refused - passed_on
                if left > 0:
                    self.writer_page.add(f"dropped{lane}.{stream}", left)

    def release(self) -> None:
        """End what still runs, and give all memory back."""
        for child in self.children:
            if child.exit_code() is None:
                kill(child)
                child.wait(DYING_S)
            child.close()
        for camera in self.cameras:
            camera.release()
        for ring in self._results:
            ring.close()
        for page in (*self._estimation_pages, self.writer_page):
            page.close()
