"""An estimator over a recording: every frame once, also after a kill, and the recording untouched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import recorded_estimation
from capture.calibration import CameraCalibration
from capture.cli import main
from capture.frames import Intrinsics
from capture.recorded_estimation import EstimationOutcome, RecordedEstimation
from capture.recording import Recording
from capture.specs import EstimatorSpec
from codec.errors import ConfigError, EstimatorError
from tests.capture import recorded_estimator
from tests.capture.make_session import HEIGHT, WIDTH, SessionMaker
from tests.capture.recorded_estimator import RecordedEstimator
from tests.capture.rigs import REPOSITORY


@pytest.fixture(autouse=True)
def _ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_estimation, "make_estimator", RecordedEstimator)
    recorded_estimator.seen.clear()


@pytest.fixture
def maker(tmp_path: Path) -> SessionMaker:
    return SessionMaker(tmp_path / "night")


def spec_of(**options: Any) -> EstimatorSpec:
    return EstimatorSpec("bodies", "scripted", ("front",), options)


def estimate(
    session: Path, out: Path, spec: EstimatorSpec | None = None, said: list[str] | None = None
) -> tuple[EstimationOutcome, int]:
    """What came of it, and how many sets were done before."""
    with (
        Recording(session) as recording,
        RecordedEstimation(recording, spec or spec_of(), out, depth_codec="lattice-lz4") as work,
    ):
        done = work.done
        return work.run(lambda count: None, (said if said is not None else []).append), done


def numbers_in(out: Path) -> tuple[list[int], list[int]]:
    """Of the parameters and of the meshes."""
    with Recording(out) as recording:
        stream = next(s for name, s in recording.streams.items() if name.endswith("parameters"))
        assert all(frame.data[0, 0] == frame.number for frame in stream)
        return [frame.number for frame in stream], [mesh["frame_number"] for mesh in recording.meshes()]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_frame_gets_its_result_and_the_recording_stays_as_it_is(
    maker: SessionMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=40, per_segment=15, lost=[3, 4])
    session = maker.finish()
    before = digests(session)
    outcome, done = estimate(session, tmp_path / "out", spec_of(nobody_on=[7]))
    assert (outcome.seen, outcome.estimated, outcome.empty, outcome.failed, done) == (38, 37, 1, 0, 0)
    wanted = [n for n in range(40) if n not in (3, 4, 7)]
    assert numbers_in(tmp_path / "out") == (wanted, wanted)
    assert digests(session) == before
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert main(["info", str(tmp_path / "out")]) == 0
    # Times are those of the recording, not of today.
    assert "started 2025-01-01T22:00:00" in capsys.readouterr().out


def test_a_frame_it_cannot_take_costs_only_its_own_result(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=20)
    said: list[str] = []
    outcome, _ = estimate(maker.finish(), tmp_path / "out", spec_of(fail_on=[2, 3, 4, 5, 6]), said)
    assert (outcome.seen, outcome.estimated, outcome.failed) == (20, 15, 5)
    assert len(said) == 3
    assert "cannot take 2" in said[0]
    assert numbers_in(tmp_path / "out")[0] == [0, 1, *range(7, 20)]


def test_damage_is_told_and_stepped_over(maker: SessionMaker, tmp_path: Path) -> None:
    folder = maker.camera("front", frames=20, color=False)
    session = maker.finish()
    path = folder / "000.nrig"
    with Recording(session) as recording:
        record = recording.streams["front/depth"].record(9)
    data = bytearray(path.read_bytes())
    data[record.offset + 120] ^= 0x10
    path.write_bytes(data)
    said: list[str] = []
    outcome, _ = estimate(session, tmp_path / "out", said=said)
    assert (outcome.estimated, outcome.damaged) == (19, 1)
    assert len(said) == 1
    assert str(path) in said[0]


def test_what_was_interrupted_goes_on_with_a_second_of_warm_up(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=90, color=False)
    session, out = maker.finish(), tmp_path / "out"

    class Interrupted(Exception):
        pass

    def stop_at_50(count: int, left: list[int] = [50]) -> None:  # noqa: B006 (one call only)
        left[0] -= count
        if not left[0]:
            raise Interrupted

    with (
        pytest.raises(Interrupted),
        Recording(session) as recording,
        RecordedEstimation(recording, spec_of(), out, depth_codec="lz4") as work,
    ):
        work.run(stop_at_50, lambda sentence: None)
    assert numbers_in(out) == (list(range(50)), list(range(50)))
    recorded_estimator.seen.clear()
    outcome, done = estimate(session, out)
    assert (done, outcome.seen, outcome.estimated) == (50, 40, 40)
    first = recorded_estimator.seen[0][0][1]
    assert 18 <= first <= 21
    assert numbers_in(out) == (list(range(90)), list(range(90)))
    outcome, done = estimate(session, out)
    assert (done, outcome.seen, outcome.meshes) == (90, 0, 90)


def test_results_that_come_late_lie_with_their_frames(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=40, second_epoch=20, color=False)
    said: list[str] = []
    spec = spec_of(late=7, nobody_on=[5], bad_on=[11, 38], fail_on=[20])
    outcome, _ = estimate(maker.finish(), tmp_path / "out", spec, said)
    # Numbers begin anew where the camera was opened again.
    wanted = [
        *(n for n in range(40) if n not in (5, 11, 20, 38)),
        *(n for n in range(20) if n not in (5, 11)),
    ]
    assert numbers_in(tmp_path / "out") == (wanted, wanted)
    with Recording(tmp_path / "out") as made, Recording(maker.folder) as recording:
        stream = next(s for name, s in made.streams.items() if name.endswith("parameters"))
        results = [(frame.number, frame.epoch, frame.monotonic_ns) for frame in stream]
        frames = {
            (frame.number, frame.epoch, frame.monotonic_ns) for frame in recording.streams["front/depth"]
        }
    assert set(results) <= frames
    assert [epoch for _, epoch, _ in results] == [1] * 36 + [2] * 18
    assert (outcome.seen, outcome.estimated, outcome.empty, outcome.failed) == (60, 54, 2, 4)
    assert any("failed on what was taken" in sentence for sentence in said)


def test_what_fails_late_is_charged_to_its_own_frame(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=30, color=False)
    said: list[str] = []
    outcome, _ = estimate(maker.finish(), tmp_path / "out", spec_of(late=7, fail_late_on=[4, 25]), said)
    wanted = [n for n in range(30) if n not in (4, 25)]
    assert numbers_in(tmp_path / "out") == (wanted, wanted)
    assert (outcome.seen, outcome.estimated, outcome.empty, outcome.failed) == (30, 28, 0, 2)
    with Recording(maker.folder) as recording:
        taken_ns = {frame.number: frame.monotonic_ns for frame in recording.streams["front/depth"]}
    for number, line in zip((4, 25), said, strict=True):
        assert f"at {taken_ns[number]} ns: cannot tell {number}" in line


def test_one_that_fails_at_the_end_loses_only_what_it_had_not_told(
    maker: SessionMaker, tmp_path: Path
) -> None:
    maker.camera("front", frames=30, color=False)
    said: list[str] = []
    spec = spec_of(late=7, fail_at_end=True)
    outcome, _ = estimate(maker.finish(), tmp_path / "out", spec, said)
    assert numbers_in(tmp_path / "out") == (list(range(23)), list(range(23)))
    assert (outcome.seen, outcome.estimated, outcome.empty, outcome.failed) == (30, 23, 0, 7)
    assert "cannot end" in said[0]
    assert estimate(maker.folder, tmp_path / "out", spec)[1] == 30  # and it is done


def test_pictures_of_other_cameras_that_it_cannot_take_are_told(
    maker: SessionMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.camera("front", frames=6)
    maker.camera("side", frames=6)
    options = ("inputs=[['front', 'depth'], ['side', 'depth']]", "by_camera=true", "fail_beside=true")
    arguments = [word for option in options for word in ("--option", option)]
    assert main(["estimate", str(maker.finish()), "--kind", "scripted", *arguments]) == 3
    told = capsys.readouterr()
    assert "6 pictures of other cameras could not be taken" in told.out
    assert "cannot take this camera" in told.err
    assert numbers_in(tmp_path / "night-scripted")[0] == list(range(6))


def test_late_results_are_each_written_once_after_an_interruption(
    maker: SessionMaker, tmp_path: Path
) -> None:
    maker.camera("front", frames=90, color=False)
    session, out = maker.finish(), tmp_path / "out"

    def stop_at_50(count: int, left: list[int] = [50]) -> None:  # noqa: B006 (one call only)
        left[0] -= count
        if not left[0]:
            raise KeyboardInterrupt

    spec = spec_of(late=12)
    with (
        pytest.raises(KeyboardInterrupt),
        Recording(session) as recording,
        RecordedEstimation(recording, spec, out, depth_codec="lz4") as work,
    ):
        work.run(stop_at_50, lambda sentence: None)
    assert numbers_in(out) == (list(range(38)), list(range(38)))
    outcome, done = estimate(session, out, spec)
    assert (done, outcome.seen, outcome.estimated) == (38, 52, 52)
    assert numbers_in(out) == (list(range(90)), list(range(90)))


def test_a_frame_may_lack_what_is_optional(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=10, lost=[0, 1, 6])
    inputs = [["front", "color"], ["front", "depth"]]
    outcome, _ = estimate(maker.finish(), tmp_path / "strict", spec_of(inputs=inputs))
    assert outcome.estimated == 7
    recorded_estimator.seen.clear()
    outcome, _ = estimate(maker.folder, tmp_path / "out", spec_of(inputs=inputs, optional=inputs[1:]))
    assert (outcome.seen, outcome.estimated) == (10, 10)
    assert [len(found) for found in recorded_estimator.seen] == [1, 1, 2, 2, 2, 2, 1, 2, 2, 2]


KILLED = """
import sys
from capture import recorded_estimation
from tests.capture.recorded_estimator import RecordedEstimator
recorded_estimation.make_estimator = RecordedEstimator
from tests.capture.test_recorded_estimation import estimate, spec_of
from pathlib import Path
estimate(Path(sys.argv[1]), Path(sys.argv[2]), spec_of(slow_s=0.01))
"""


def test_a_kill_loses_nothing_that_the_next_run_does_not_make_again(
    maker: SessionMaker, tmp_path: Path
) -> None:
    maker.camera("front", frames=300, color=False)
    session, out = maker.finish(), tmp_path / "out"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, session, out], cwd=REPOSITORY)
        deadline_s = time.monotonic() + 60
        segments = len(list(out.rglob("*.nrig")))
        while len(list(out.rglob("*.nrig"))) == segments and time.monotonic() < deadline_s:
            time.sleep(0.02)
        time.sleep(0.7)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    outcome, done = estimate(session, out, spec_of(slow_s=0.01))
    assert outcome.seen == 300 - done
    assert numbers_in(out) == (list(range(300)), list(range(300)))


def test_cameras_one_at_a_time_come_in_the_order_they_were_taken(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=10)
    maker.camera("side", frames=10)
    inputs = [["front", "depth"], ["front", "color"], ["side", "depth"]]
    outcome, _ = estimate(maker.finish(), tmp_path / "out", spec_of(inputs=inputs, by_camera=True))
    assert outcome.estimated == 10
    assert recorded_estimator.seen[:4] == [
        (("front", 0), ("front", 0)),
        (("side", 0),),
        (("front", 1), ("front", 1)),
        (("side", 1),),
    ]
    recorded_estimator.seen.clear()
    outcome, _ = estimate(maker.folder, tmp_path / "together", spec_of(inputs=inputs))
    assert recorded_estimator.seen[0] == (("front", 0), ("front", 0), ("side", 0))
    assert (outcome.seen, len(recorded_estimator.seen)) == (10, 10)


def test_what_was_found_out_since_counts(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=2)
    pose = ((1.0, 0, 0, 5.0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))
    known = {"front": CameraCalibration(Intrinsics(WIDTH, HEIGHT, 99, 99, 32, 24), pose)}
    with (
        Recording(maker.finish()) as recording,
        RecordedEstimation(
            recording, spec_of(), tmp_path / "out", calibration=known, depth_codec="lz4"
        ) as work,
    ):
        camera = work._estimator.cameras["front"]  # type: ignore[attr-defined]
        work.run(lambda count: None, lambda sentence: None)
    assert camera.world_from_camera == pose
    depth, color = camera.streams
    assert color.pixel_format == "bgr8"
    assert depth.intrinsics.fx == 50.0  # a lens that the camera knew stays
    with Recording(tmp_path / "out") as made:
        assert made.streams["people/parameters"].camera.world_from_camera == pose


def test_results_of_another_calibration_are_something_else(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=3)
    first, other = (
        {"front": CameraCalibration(Intrinsics(WIDTH, HEIGHT, focal, focal, 8.0, 6.0))}
        for focal in (50.0, 60.0)
    )

    def work(known: dict[str, CameraCalibration] | None, out: Path) -> RecordedEstimation:
        return RecordedEstimation(recording, spec_of(), out, calibration=known, depth_codec="lz4")

    with Recording(maker.finish()) as recording:
        with work(first, tmp_path / "out") as made:
            made.run(lambda count: None, lambda line: None)
        with work(first, tmp_path / "out") as again:
            assert again.done == again.total
        for known in (other, None):
            with pytest.raises(ConfigError, match="something else"):
                work(known, tmp_path / "out")
            with pytest.raises(ConfigError, match="something else"):
                recorded_estimation.finished_before(recording, spec_of(), tmp_path / "out", known)
        with work(None, tmp_path / "plain") as made:
            made.run(lambda count: None, lambda line: None)
        with work({"front": CameraCalibration()}, tmp_path / "plain") as again:
            assert again.done == again.total


def test_results_of_another_model_under_the_same_name_are_something_else(
    maker: SessionMaker, tmp_path: Path
) -> None:
    maker.camera("front", frames=3)
    session, model = maker.finish(), tmp_path / "model.npz"
    for name, spec in {
        "its own": spec_of(model=str(model)),
        "of a source": spec_of(keypoint_options={"model": str(model)}),
    }.items():
        model.write_bytes(b"first")
        assert estimate(session, tmp_path / name, spec)[1] == 0
        assert estimate(session, tmp_path / name, spec)[1] == 3
        model.write_bytes(b"other")
        with pytest.raises(ConfigError, match=r"another file than now stands at .*model\.npz"):
            estimate(session, tmp_path / name, spec)
        model.unlink()
        assert estimate(session, tmp_path / name, spec)[1] == 3


def test_results_that_are_gone_are_not_called_done(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=3)
    session, out = maker.finish(), tmp_path / "out"
    estimate(session, out)
    with Recording(session) as recording:
        assert recorded_estimation.finished_before(recording, spec_of(), out) is not None
        shutil.rmtree(out / "people")
        with pytest.raises(ConfigError, match=r"was whole, with 3 results of people/.* has 0 of them"):
            recorded_estimation.finished_before(recording, spec_of(), out)


@pytest.mark.parametrize("written", [None, 7, [3], {"people/parameters": "3", "people/mesh": None}])
def test_counts_that_say_nothing_are_held_against_nobody(
    maker: SessionMaker, tmp_path: Path, written: object
) -> None:
    maker.camera("front", frames=3)
    session, out = maker.finish(), tmp_path / "out"
    estimate(session, out)
    path = out / "session.json"
    told = json.loads(path.read_text())
    told["estimate"]["written"] = written
    path.write_text(json.dumps(told))
    with Recording(session) as recording:
        assert recorded_estimation.finished_before(recording, spec_of(), out) is not None


def test_a_folder_with_something_else_is_left_alone(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=3)
    session, out = maker.finish(), tmp_path / "out"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        estimate(session, out)
    estimate(session, tmp_path / "other")
    with pytest.raises(ConfigError, match="something else"):
        estimate(session, tmp_path / "other", spec_of(nobody_on=[1]))
    with pytest.raises(ConfigError, match="something else"):
        estimate(session, session)
    with pytest.raises(EstimatorError, match="has no frames of front/infrared1"):
        estimate(session, tmp_path / "third", spec_of(inputs=[["front", "infrared1"]]))
    assert not (tmp_path / "third").exists()
    with pytest.raises(EstimatorError, match="no licence"):
        estimate(session, tmp_path / "third", spec_of(refuse="no licence"))


def test_what_is_finished_is_told_without_the_estimator(
    maker: SessionMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(RecordedEstimator):
        def open(self, cameras: object) -> Any:
            raise EstimatorError("the model file is missing")

    maker.camera("front", frames=12)
    session = str(maker.finish())
    arguments = ["estimate", session, "--kind", "scripted", "--option", "fail_on=[5]"]
    assert main(arguments) == 3
    before = digests(tmp_path / "night-scripted")
    monkeypatch.setattr(recorded_estimation, "make_estimator", Broken)
    capsys.readouterr()
    assert main(arguments) == 0
    assert f"night-scripted: every frame of {session} is done already" in capsys.readouterr().err
    assert digests(tmp_path / "night-scripted") == before
    assert main(["estimate", session, "--kind", "scripted"]) == 2  # of other settings
    assert "holds something else" in capsys.readouterr().err
    maker.camera("side", frames=3)  # the recording has grown
    assert main([*arguments, "--camera", "front"]) == 1
    assert "the model file is missing" in capsys.readouterr().err


def test_nothing_is_warmed_up_where_nothing_is_left(maker: SessionMaker, tmp_path: Path) -> None:
    maker.camera("front", frames=12)
    session, out = maker.finish(), tmp_path / "out"
    estimate(session, out, spec_of(fail_on=[5]))
    recorded_estimator.seen.clear()
    said: list[str] = []
    outcome, done = estimate(session, out, spec_of(fail_on=[5]), said)
    assert (done, outcome.seen, said, recorded_estimator.seen) == (12, 0, [], [])


def test_the_command_line(maker: SessionMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker.camera("front", frames=12)
    session = str(maker.finish())
    assert main(["estimate", session]) == 2
    assert "without an estimator: say --kind" in capsys.readouterr().err
    assert main(["estimate", session, "--kind", "scripted", "--option", "nobody_on=[1, 2]", "--json"]) == 0
    told = capsys.readouterr()
    assert f'"{tmp_path / "night-scripted"}"' in told.out
    assert '"estimated": 10' in told.out
    assert main(["estimate", session, "--kind", "scripted", "--camera", "side"]) == 2
    assert "has front" in capsys.readouterr().err
    assert main(["estimate", session, "--kind", "scripted", "--option", "fail_on=[1]", "--name", "b"]) == 3
    assert main(["estimate", session, "--camera", "front"]) == 2
    assert np.isclose(numbers_in(tmp_path / "night-b")[0], [0, *range(2, 12)]).all()
