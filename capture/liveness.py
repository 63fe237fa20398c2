"""Is this recording alive? The rule by which systemd's watchdog is pinged. Pure: looks in, words out.

    liveness = Liveness()
    wrong = liveness.look(now_s, cameras, writer)      # several times a second; [] means alive

Everything that can go wrong with one process has its remedy nearby: the camera process opens a silent device
again, the supervisor kills what hangs. This is the check behind all of them, for what none of them has
noticed. It asks for results, not for good will:

- every stream of every camera gives new frames, or it is known why not: since its last frame the camera was
  away, opened again or started again, which stands in the events;
- whatever lies in a ring leaves it to the disk, or the disk is known to refuse;
- the writer's heart beats.

Each has a patience well above that of the remedy nearby, so that this one never comes first. Time counts
only as far as we were there to look: a machine that was suspended has lost nothing by it. The rule knows no
wall clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

HELD_S = 60.0
"""A stream that stops within this time of its return is the same outage going on."""

_LONGEST_LOOK_S = 2.0  # between two looks; more than that we were stopped ourselves


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each remedy gets.

    camera_s on top of the time after which the camera process itself calls a stream silent. writer_s: a
    writer that hangs is killed after 60 s and its successor needs a moment. starting_s: a successor reads
    what its predecessor has left, which may be large and the disk slow.
    """

    camera_s: float = 10.0
    writer_s: float = 90.0
    starting_s: float = 600.0


@dataclass(frozen=True, slots=True)
class CameraSight:
    """A camera and its ring at one look.

    captured: new frames so far, by stream. silence_s: how long each stream may be silent before the camera
    process does something. away: it is known not to deliver now (absent, opening, restarting, at its end).
    epoch: counts its openings. can_wait: a file, which gives frames when it is asked. queued and released:
    what lies in the ring, and a number that changes with all that leaves it.
    """

    name: str
    streams: tuple[str, ...]
    captured: tuple[int, ...]
    silence_s: tuple[float, ...]
    away: bool
    epoch: int
    can_wait: bool
    queued: int
    released: int


@dataclass(frozen=True, slots=True)
class WriterSight:
    """The writer at one look. starting: its process is being (re)started. refused: the disk takes nothing."""

    heartbeat_ns: int
    starting: bool
    refused: bool


@dataclass(slots=True)
class _Stream:
    captured: int
    silent_s: float = 0.0
    known: bool = False


@dataclass(slots=True)
class _Camera:
    """away_ago_s: since it was last known to be away; before its first outage, for ever."""

    epoch: int
    released: int
    stuck_s: float = 0.0
    away_ago_s: float = float("inf")
    streams: dict[str, _Stream] = field(default_factory=dict)


@dataclass(slots=True)
class Liveness:
    """Remembers how long each thing has stood still."""

    patience: Patience = Patience()
    _looked_s: float | None = None
    _cameras: dict[str, _Camera] = field(default_factory=dict)
    _heartbeat_ns: int = 0
    _heart_still_s: float = 0.0
    _starting_s: float = 0.0

    def look(self, now_s: float, cameras: Sequence[CameraSight], writer: WriterSight) -> list[str]:
        """What stands still without anybody knowing why, a line each; [] while the recording is alive."""
        passed_s = 0.0 if self._looked_s is None else min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        wrong = self._look_at_writer(passed_s, writer)
        for camera in cameras:
            wrong += self._look_at_camera(passed_s, camera, writer)
        return wrong

    def _look_at_writer(self, passed_s: float, writer: WriterSight) -> list[str]:
        beats = writer.heartbeat_ns != self._heartbeat_ns
        self._heartbeat_ns = writer.heartbeat_ns
        self._starting_s = self._starting_s + passed_s if writer.starting else 0.0
        if beats:
            self._heart_still_s = 0.0
        elif not writer.starting:
            self._heart_still_s += passed_s
        if self._starting_s > self.patience.starting_s:
            return [f"the writer has been starting for {self._starting_s:.0f} s"]
        if self._heart_still_s > self.patience.writer_s:
            return [f"the writer's heart has stood still for {self._heart_still_s:.0f} s"]
        return []

    def _look_at_camera(self, passed_s: float, sight: CameraSight, writer: WriterSight) -> list[str]:
        camera = self._cameras.setdefault(sight.name, _Camera(sight.epoch, sight.released))
        wrong = self._look_at_ring(passed_s, camera, sight, writer)
        if sight.away or (sight.epoch != camera.epoch and camera.epoch > 0):  # its first opening is no outage
            camera.away_ago_s = 0.0
        else:
            camera.away_ago_s += passed_s
        camera.epoch = sight.epoch
        for name, captured, silence_s in zip(sight.streams, sight.captured, sight.silence_s, strict=True):
            stream = camera.streams.setdefault(name, _Stream(captured))
            self._note(passed_s, stream, captured, camera.away_ago_s)
            due = not (stream.known or sight.can_wait)
            if due and stream.silent_s > silence_s + self.patience.camera_s:
                wrong.append(
                    f"{sight.name}/{name}: no frame for {stream.silent_s:.0f} s, and nothing says why"
                )
        return wrong

    def _note(self, passed_s: float, stream: _Stream, captured: int, away_ago_s: float) -> None:
        if captured != stream.captured:
            stream.captured, stream.silent_s = captured, 0.0
            stream.known = stream.known and away_ago_s < HELD_S
        else:
            stream.silent_s += passed_s
        stream.known = stream.known or away_ago_s == 0.0

    def _look_at_ring(
        self, passed_s: float, camera: _Camera, sight: CameraSight, writer: WriterSight
    ) -> list[str]:
        """A successor that hangs at the same frame as its predecessor must not look like progress: its
        start is not counted, but does not set the clock back either."""
        if sight.queued == 0 or sight.released != camera.released or writer.refused:
            camera.stuck_s = 0.0
        elif not writer.starting:
            camera.stuck_s += passed_s
        camera.released = sight.released
        if camera.stuck_s <= self.patience.writer_s:
            return []
        return [
            f"{sight.name}: {sight.queued} frames have waited for the writer for {camera.stuck_s:.0f} s"
            " without one being written"
        ]
