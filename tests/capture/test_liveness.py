"""When a recording is alive, by what its processes do: the rule behind the watchdog's ping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from capture.liveness import HELD_S, CameraSight, Liveness, Patience, WriterSight

PATIENCE = Patience()


def fresh_camera(name: str = "front") -> CameraSight:
    return CameraSight(
        name=name,
        streams=("depth", "color"),
        captured=(0, 0),
        silence_s=(10.0, 10.0),
        away=False,
        epoch=1,
        can_wait=False,
        queued=0,
        released=0,
    )


@dataclass
class Rig:
    """Cameras and a writer as the supervisor sees them, looked at twice a second."""

    cameras: list[CameraSight] = field(default_factory=lambda: [fresh_camera("front"), fresh_camera("side")])
    writer: WriterSight = field(default_factory=lambda: WriterSight(1, starting=False, refused=False))
    now_s: float = 1000.0
    liveness: Liveness = field(default_factory=Liveness)

    def live(
        self, seconds: float, *, silent: Sequence[str] = (), stuck: Sequence[str] = (), heart: bool = True
    ) -> list[str]:
        """So much later: all streams give frames but the `silent` ones ("side/color"), and the writer writes
        all but those of the `stuck` cameras. What the last look says."""
        wrong: list[str] = []
        for _ in range(max(1, round(2 * seconds))):
            self.now_s += 0.5
            self.cameras = [self._moved(camera, silent, stuck) for camera in self.cameras]
            if heart:
                self.writer = replace(self.writer, heartbeat_ns=round(self.now_s * 1e9))
            wrong = self.liveness.look(self.now_s, self.cameras, self.writer)
        return wrong

    def _moved(self, camera: CameraSight, silent: Sequence[str], stuck: Sequence[str]) -> CameraSight:
        gives = [not camera.away and f"{camera.name}/{stream}" not in silent for stream in camera.streams]
        captured = tuple(n + gave for n, gave in zip(camera.captured, gives, strict=True))
        if camera.name in stuck:
            return replace(camera, captured=captured, queued=camera.queued + sum(gives))
        return replace(camera, captured=captured, queued=0, released=camera.released + sum(gives))

    def change(self, index: int, **facts: object) -> None:
        self.cameras[index] = replace(self.cameras[index], **facts)  # type: ignore[arg-type]


def test_whole_night_of_frames_is_alive() -> None:
    rig = Rig()
    assert all(rig.live(60) == [] for _ in range(60))


def test_stream_that_falls_silent_without_a_word_is_found_and_named() -> None:
    rig = Rig()
    rig.live(5)
    assert rig.live(15, silent=["side/color"]) == []  # the camera process has its chance first
    assert rig.live(10, silent=["side/color"])[0].startswith("side/color: no frame for 2")
    assert rig.live(1) == []  # and is alive again with its next frame


def test_slow_stream_gets_the_time_it_needs() -> None:
    rig = Rig()
    rig.cameras = [replace(fresh_camera(), silence_s=(100.0, 10.0))]
    assert rig.live(100, silent=["front/depth"]) == []
    assert rig.live(20, silent=["front/depth"]) != []


def test_camera_that_is_known_to_be_away_may_be_away_all_night() -> None:
    rig = Rig()
    rig.live(5)
    rig.change(1, away=True)
    assert rig.live(2 * 3600) == []
    assert rig.live(30, silent=["front/depth"]) != []  # and excuses nobody else


def test_camera_that_was_absent_from_the_beginning_is_known_to_be() -> None:
    rig = Rig()
    rig.cameras.append(
        replace(fresh_camera("top"), streams=(), captured=(), silence_s=(), away=True, epoch=0)
    )
    assert rig.live(3600) == []


def test_first_opening_is_no_outage_that_would_excuse_a_stream() -> None:
    rig = Rig()
    rig.cameras = [replace(fresh_camera(), epoch=0)]
    rig.live(1)
    rig.change(0, epoch=1)
    assert rig.live(25, silent=["front/depth"]) != []


def test_stream_that_stays_silent_after_its_camera_was_opened_again_is_known() -> None:
    """Its colour is dead and its depth goes on: the camera process opens it again ever more seldom."""
    rig = Rig()
    rig.live(5)
    rig.live(10, silent=["side/color"])
    rig.change(1, epoch=2)  # too quick for us to have seen it closed
    assert rig.live(2 * 3600, silent=["side/color"]) == []


def test_stream_that_comes_and_goes_is_one_known_outage_until_it_has_held() -> None:
    rig = Rig()
    rig.live(5)
    for epoch in range(2, 6):
        rig.change(1, epoch=epoch)
        rig.live(HELD_S / 2)
        assert rig.live(40.0 * epoch, silent=["side/color"]) == []
    rig.live(HELD_S + 1)
    assert rig.live(25, silent=["side/color"]) != []


def test_file_gives_frames_when_it_is_asked_and_is_never_late() -> None:
    rig = Rig()
    rig.cameras = [replace(fresh_camera(), can_wait=True)]
    assert rig.live(600, silent=["front/depth", "front/color"]) == []


def test_frames_that_nobody_writes_are_found_though_all_hearts_beat() -> None:
    """A compressing thread that never returns: its camera's frames wait in the ring, the others' do not."""
    rig = Rig()
    rig.live(5)
    assert rig.live(PATIENCE.writer_s - 5, stuck=["side"]) == []
    found = rig.live(10, stuck=["side"])
    assert len(found) == 1
    assert found[0].startswith("side: ")
    assert "waited for the writer" in found[0]
    assert rig.live(1) == []


def test_disk_that_refuses_is_known() -> None:
    rig = Rig()
    rig.writer = replace(rig.writer, refused=True)
    assert rig.live(2 * 3600, stuck=["front", "side"]) == []


def test_writer_that_is_started_again_gets_the_time_to_read_what_is_there_but_not_for_ever() -> None:
    rig = Rig()
    rig.live(5)
    rig.writer = replace(rig.writer, starting=True)
    assert rig.live(PATIENCE.starting_s - 10, stuck=["front", "side"], heart=False) == []
    assert "starting" in rig.live(20, stuck=["front", "side"], heart=False)[0]


def test_writers_that_all_hang_at_the_same_frame_are_no_progress() -> None:
    rig = Rig()
    rig.live(5)
    found: list[str] = []
    for _ in range(3):
        rig.writer = replace(rig.writer, starting=True)
        rig.live(2, stuck=["front"], heart=False)
        rig.writer = replace(rig.writer, starting=False)
        found = rig.live(60, stuck=["front"])
    assert "waited for the writer" in found[0]


def test_heart_of_the_writer_that_stands_still_is_found_though_nothing_is_queued() -> None:
    rig = Rig()
    rig.change(0, away=True)
    rig.change(1, away=True)
    assert rig.live(PATIENCE.writer_s - 5, heart=False) == []
    assert "heart" in rig.live(10, heart=False)[0]
    assert rig.live(1) == []


def test_what_stood_still_while_we_did_is_not_held_against_anybody() -> None:
    rig = Rig()
    rig.live(5)
    for _ in range(3):
        rig.now_s += 3600.0  # suspended, or stopped with Ctrl-Z
        assert rig.live(0.1, silent=["front/depth"], stuck=["side"], heart=False) == []
    assert rig.live(2) == []
