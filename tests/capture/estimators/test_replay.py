"""The estimator replay: what comes out is what was written for the same frames, or by time for live ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from capture import recorded_estimation
from capture.body.procedural import procedural_body
from capture.cli import main
from capture.estimators import InputKey, make_estimator
from capture.estimators.people_results import PeopleResults, people_frames, people_streams
from capture.estimators.replay import ReplayEstimator, _Loop
from capture.frames import CameraInfo, Frame, StreamInfo
from capture.recorded_estimation import EstimationOutcome, RecordedEstimation
from capture.recorded_people import RecordedPeople
from capture.recording import Recording
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError
from tests.capture.body import smpl_imitation
from tests.capture.make_session import STEP_NS, SessionMaker, flip_payload
from tests.capture.rigs import record, small_rig

HOLES = (0, 1, 2, 17)
Estimated = Callable[..., Path]


class Walkers:
    """Writes one or two people a frame, but nobody on HOLES. Options: stream, model, meshes, faces."""

    def __init__(self, spec: EstimatorSpec) -> None:
        self._spec = spec
        self._stream = str(spec.options.get("stream", "color"))
        self._points = 6 if spec.options.get("meshes", True) else 0

    def open(self, cameras: Mapping[str, CameraInfo]) -> tuple[StreamInfo, ...]:
        faces = self._spec.options.get("faces")
        return people_streams(self._points, 30.0, faces=None if faces is None else np.array(faces))

    def inputs(self) -> tuple[InputKey, ...]:
        return ((self._spec.cameras[0], self._stream),)

    def estimate(self, frames: Mapping[InputKey, Frame]) -> list[Frame]:
        frame = frames[self.inputs()[0]]
        if frame.number in HOLES:
            return []
        rows = rows_of(frame.number)
        meshes = rows[:, :18].reshape(-1, 6, 3) * 100 if self._points else None
        model = str(self._spec.options.get("model", "procedural"))
        meta = {"ids": list(range(1, len(rows) + 1))}
        return people_frames(frame, rows, meshes, vertices=4, model=model, meta=meta)

    def close(self) -> None:
        """Nothing was taken."""


def rows_of(number: int) -> np.ndarray:
    random = np.random.default_rng(number)
    return random.normal(size=(1 + number % 2, 85)).astype(np.float32)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    maker = SessionMaker(tmp_path / "night")
    maker.camera("front", frames=60, per_segment=25)
    maker.camera("side", frames=60)
    return maker.finish()


@pytest.fixture
def estimated(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estimated:
    """People of the session, written as another machine would."""

    def write(
        name: str = "bodies", mesh_codec: Literal["bodycompress", "native"] = "native", **options: Any
    ) -> Path:
        out = tmp_path / f"night-{name}"
        camera = options.pop("camera", "front")
        kind = options.pop("kind", "walkers")
        with monkeypatch.context() as patch:
            patch.setattr(recorded_estimation, "make_estimator", Walkers)
            run(session, EstimatorSpec(name, kind, (camera,), options), out, mesh_codec=mesh_codec)
        return out

    return write


def run(session: Path, spec: EstimatorSpec, out: Path, *, mesh_codec: str = "native") -> EstimationOutcome:
    with (
        Recording(session) as recording,
        RecordedEstimation(recording, spec, out, depth_codec="lz4", mesh_codec=mesh_codec) as work,
    ):
        return work.run(lambda count: None, lambda sentence: None)


def replayed(session: Path, people: Path, *, cameras: tuple[str, ...] = ("front",), **options: Any) -> Path:
    out = people.with_name(f"{people.name}-again")
    shutil.rmtree(out, ignore_errors=True)
    run(session, EstimatorSpec("again", "replay", cameras, {"session": str(people), **options}), out)
    return out


def parameters_in(path: Path) -> list[tuple[Any, ...]]:
    with Recording(path) as recording:
        return [
            (f.number, f.epoch, f.monotonic_ns, f.device_time_s, f.clock, f.payload, f.data.shape, f.meta)
            for f in recording.streams["people/parameters"]
        ]


def meshes_in(path: Path) -> list[tuple[Any, ...]]:
    with Recording(path) as recording:
        return [
            (m["frame_number"], m["monotonic_ns"], m["vertices"].tobytes(), m["joints"].tobytes())
            for m in recording.meshes()
        ]


def opened(people: Path, stream: str = "color", **options: Any) -> ReplayEstimator:
    streams = tuple(StreamInfo(name, "bgr8", 8, 8, 15.0) for name in ("depth", "color"))
    cameras = {"front": CameraInfo("front", "simulated", "Simulated", streams)}
    spec = EstimatorSpec("again", "replay", ("front",), {"session": str(people), **options})
    estimator = make_estimator(spec)
    assert isinstance(estimator, ReplayEstimator)
    estimator.open(cameras)
    assert estimator.inputs() == (("front", stream),)
    return estimator


def asked(
    estimator: ReplayEstimator,
    number: int,
    at_ns: int,
    device_s: float | None = None,
    clock: str = "hardware",
) -> list[Frame]:
    frame = Frame("color", number, np.zeros((8, 8, 3), np.uint8), device_s, clock, at_ns)
    return estimator.estimate({estimator.inputs()[0]: frame})


# ---- over a recording --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mesh_codec", ["bodycompress", "native"])
def test_each_frame_has_again_what_was_written_for_it(
    session: Path, estimated: Estimated, mesh_codec: str
) -> None:
    people = estimated(mesh_codec=mesh_codec)
    written = parameters_in(people)
    assert [row[0] for row in written] == [n for n in range(60) if n not in HOLES]
    assert all(row[5] == rows_of(row[0]).tobytes() for row in written)
    again = replayed(session, people)
    assert parameters_in(again) == written
    assert meshes_in(again) == meshes_in(people)
    assert len(meshes_in(again)) == len(written)


def test_the_command_line_takes_people_from_elsewhere_for_the_camera_they_are_of(
    session: Path, estimated: Estimated, capsys: pytest.CaptureFixture[str]
) -> None:
    """All cameras are its, and the first of them is another."""
    people = estimated(camera="side")
    command = ["estimate", str(session), "--kind", "replay", "--option", f"session={people}"]
    assert main(command) == 0
    assert parameters_in(session.with_name("night-replay")) == parameters_in(people)
    assert "none of" not in capsys.readouterr().out
    assert main(["verify", str(session.with_name("night-replay"))]) == 0


def test_people_of_depth_frames_are_found_too(session: Path, estimated: Estimated) -> None:
    written = parameters_in(people := estimated(stream="depth", kind="truth"))
    assert parameters_in(replayed(session, people)) == written
    people = estimated("others", stream="depth")
    assert parameters_in(replayed(session, people, stream="depth")) == parameters_in(people) == written


def test_frames_of_another_recording_are_told_at_the_end(estimated: Estimated, tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path / "day")
    maker.camera("front", frames=10, first=1000)
    spec = EstimatorSpec("again", "replay", ("front",), {"session": str(estimated())})
    outcome = run(maker.finish(), spec, tmp_path / "out")
    assert (outcome.seen, outcome.empty) == (10, 10)
    assert "none of 10 frames of front/color has people in" in outcome.summary
    assert "loop = true" in outcome.summary


def test_only_parameters_where_no_meshes_are_wanted(session: Path, estimated: Estimated) -> None:
    people = estimated()
    again = replayed(session, people, meshes=False)
    assert parameters_in(again) == parameters_in(people)
    assert meshes_in(again) == []


def test_meshes_are_made_where_none_were_written(session: Path, estimated: Estimated, tmp_path: Path) -> None:
    people = estimated(meshes=False)
    estimator, body = opened(people), procedural_body()
    with Recording(people) as recording:
        frame = recording.streams["people/parameters"][5]
    mesh, parameters = asked(estimator, frame.number, frame.monotonic_ns)
    assert np.array_equal(parameters.data, frame.data)
    told = json.loads(mesh.meta)
    assert (told["vertices"], told["model"], told["ids"]) == (6890, body.name, frame.meta["ids"])
    wanted = np.stack([PeopleResults(body, 0).mesh_mm(row.astype(np.float64)) for row in frame.data])
    assert np.array_equal(mesh.data, wanted)
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **smpl_imitation.arrays(500))
    estimator = opened(people, body_model=str(tmp_path / "SMPL_NEUTRAL.npz"))
    mesh, parameters = asked(estimator, frame.number, frame.monotonic_ns)
    assert mesh.data.shape == (len(frame.data), 524, 3)
    assert json.loads(mesh.meta)["vertices"] == 500
    assert json.loads(parameters.meta) == frame.meta


@pytest.mark.parametrize("faces", [None, [[0, 1, 2], [3, 2, 1]]])
def test_recorded_meshes_keep_their_triangles(
    session: Path, estimated: Estimated, faces: list[list[int]] | None
) -> None:
    again = replayed(session, estimated(faces=faces))
    with RecordedPeople(again) as people:
        np.testing.assert_array_equal(people.faces(), faces)


def test_a_frame_whose_parameters_are_damaged_costs_only_itself(session: Path, estimated: Estimated) -> None:
    people = estimated()
    written = parameters_in(people)
    index = [stream.name for stream in people_streams(6, 30.0)].index("parameters")
    flip_payload(people / "people" / "parameters-000.nrig", 9, stream=index)
    assert parameters_in(replayed(session, people)) == [row for row in written if row[0] != 9]


def test_meshes_are_found_in_any_order_and_across_files(estimated: Estimated) -> None:
    people = estimated()
    folder = people / "people"
    shutil.copy(folder / "mesh-000.nrm", folder / "mesh-001.nrm")
    with RecordedPeople(people) as recorded:
        order = [3, 4, 5, 40, 41, 50, 55, 2, 0, 55, 54, 7, 8, 30, 1]
        for index in order:
            mesh = recorded.mesh(index)
            assert mesh is not None
            number = recorded.parameters(index).number
            assert mesh.points_mm.shape == (1 + number % 2, 6, 3)
            assert np.allclose(mesh.points_mm, rows_of(number)[:, :18].reshape(-1, 6, 3) * 100, atol=0.5)


# ---- live --------------------------------------------------------------------------------------------------


def test_a_recording_that_is_played_is_recognised_by_the_clock_of_its_device(estimated: Estimated) -> None:
    people = estimated()
    estimator = opened(people)
    with Recording(people) as recording:
        frame = recording.streams["people/parameters"][7]
    at_ns, number = frame.monotonic_ns + 10**12, frame.number
    assert frame.device_time_s is not None
    _, parameters = asked(estimator, number, at_ns, frame.device_time_s)
    assert (parameters.number, parameters.monotonic_ns) == (number, at_ns)
    assert np.array_equal(parameters.data, frame.data)
    assert asked(estimator, number + 1, at_ns, frame.device_time_s) == []
    assert asked(estimator, number, at_ns, frame.device_time_s, clock="system") == []
    assert asked(estimator, number, at_ns) == []


def test_people_are_played_by_time_again_and_again(estimated: Estimated) -> None:
    people = estimated()
    with RecordedPeople(people) as recorded:
        numbers = [recorded.parameters(index).number for index in range(len(recorded))]
    estimator = opened(people, loop=True)
    begin_ns = 77_000_000_000
    count = numbers[-1] - numbers[0] + 1
    for step in (0, 1, 2, 9, 30, count - 1, count, count + 5, 7 * count + 20):
        _, parameters = asked(estimator, 1000 + step, begin_ns + step * STEP_NS + STEP_NS // 3)
        # The first frame stands for the first result.
        wanted = rows_of(numbers[0] + step % count)
        if numbers[0] + step % count in numbers:
            assert np.array_equal(parameters.data, wanted), step
        assert parameters.number == 1000 + step
    # Another clock begins anew.
    _, parameters = asked(estimator, 3, 5)
    assert np.array_equal(parameters.data, rows_of(numbers[0]))


def test_nobody_is_there_where_nobody_was(session: Path, estimated: Estimated) -> None:
    people = estimated()
    with RecordedPeople(people) as recorded:
        times_ns = recorded.times_ns
    loop = _Loop(np.concatenate([times_ns, times_ns + 10_000_000_000]))
    assert loop.at(0) == 0
    after_last_ns = int(times_ns[-1] - times_ns[0])
    assert loop.at(after_last_ns + STEP_NS) == len(times_ns) - 1  # a frame that is late is no gap
    assert loop.at(after_last_ns + 1_000_000_000) is None
    assert loop.at(10_000_000_000) == len(times_ns)


def test_it_plays_people_into_a_live_recording(estimated: Estimated, tmp_path: Path) -> None:
    estimated()
    tail = (
        '[[estimators]]\nkind = "replay"\ncameras = ["cam0"]\n'
        'options = { session = "night-bodies", loop = true }\n'
    )
    rig = small_rig(tmp_path, cameras=1, tail=tail)
    code, account, err = record(rig, tmp_path / "out", "--duration", "2")
    assert code == 0, err
    assert account["meshes"] > 10
    known = {rows_of(number).tobytes() for number in range(60)}
    with Recording(Path(account["session"])) as recording:
        assert {frame.data.tobytes() for frame in recording.streams["people/parameters"]} <= known
        assert all(mesh["vertices"].shape[1:] == (4, 3) for mesh in recording.meshes())


# ---- what goes wrong ---------------------------------------------------------------------------------------


def test_a_folder_without_people_is_one_line(session: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in (
        (session, "night has no people"),
        (session / "front", "front has no people"),
        (tmp_path / "empty", "empty holds no recording"),
        (tmp_path / "nowhere", "nowhere does not exist"),
    ):
        with pytest.raises(EstimatorError, match=f"^estimator again: .*{message}"):
            opened(path)


def test_several_estimators_want_a_name(session: Path, estimated: Estimated) -> None:
    one, other = estimated("one"), estimated("other", stream="depth")
    shutil.copytree(other / "people", one / "other")
    with pytest.raises(EstimatorError, match="several estimators: name one of other, one"):
        opened(one)
    with pytest.raises(
        EstimatorError, match="no people of an estimator third; there are those of other, one"
    ):
        opened(one, estimator="third")
    written = parameters_in(other)
    again = replayed(session, one, estimator="other", stream="depth")
    assert parameters_in(again) == written
    assert meshes_in(again) == meshes_in(other)


def test_parameters_of_a_model_that_is_not_here_want_it(estimated: Estimated) -> None:
    people = estimated(model="SMPL_MALE", meshes=False)
    with pytest.raises(
        EstimatorError, match=r"no meshes, .* of SMPL_MALE: name a body_model, or say meshes ="
    ):
        opened(people)
    opened(people, meshes=False)


def test_a_mesh_file_that_cannot_be_read_is_named(estimated: Estimated) -> None:
    people = estimated()
    (people / "people" / "mesh-000.nrm").write_bytes(b"nothing of ours")
    with pytest.raises(EstimatorError, match=r"estimator again: .*mesh-000.nrm"):
        opened(people)
    opened(people, meshes=False)


@pytest.mark.parametrize(
    ("cameras", "options", "message"),
    [
        ((), {}, "looks at no camera"),
        (("back",), {}, "there is no camera back; there are front"),
        (("front",), {"stream": "infrared1"}, "camera front has no stream infrared1; it has color"),
        (("front",), {"session": ""}, "people of which recording"),
        (("front",), {"sesion": "x"}, "no option sesion; it has session"),
        (("front",), {"loop": "yes"}, "loop = 'yes' should be like False"),
    ],
)
def test_wrong_settings_are_told(
    estimated: Estimated, cameras: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    front = CameraInfo("front", "opencv", "", (StreamInfo("color", "bgr8", 8, 8, 30.0),))
    spec = EstimatorSpec("again", "replay", cameras, {"session": str(estimated()), **options})
    with pytest.raises(EstimatorError, match=message):
        make_estimator(spec).open({"front": front})


def test_closed_twice_it_asks_to_be_opened(estimated: Estimated) -> None:
    estimator = opened(estimated())
    estimator.close()
    estimator.close()
    with pytest.raises(EstimatorError, match="not open"):
        asked(estimator, 3, 5)
