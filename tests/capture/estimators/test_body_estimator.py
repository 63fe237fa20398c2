"""The body estimator on simulated cameras: with their depth, and key points that are the truth with noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from capture.body.procedural import procedural_body
from capture.estimators import FailedFrame, InputKey
from capture.estimators._hindsight import Moment
from capture.estimators.body import BodyEstimator
from capture.frames import CameraInfo, Frame
from capture.keypoints import PersonKeypoints
from capture.sources.simulated import Loop, render_loop
from capture.specs import EstimatorSpec, SimulatedSpec, StreamSpec
from codec.errors import EstimatorError, NightrigError

SIZE = StreamSpec(320, 240, 15.0)
INTERVAL_NS = 66_666_667
NOISE = {"noise_px": 1.0, "seed": 4}
Change = Callable[[PersonKeypoints], PersonKeypoints]


@pytest.fixture(scope="module")
def loops() -> dict[str, Loop]:
    """Two cameras that see the same walk."""
    return {
        name: render_loop(SimulatedSpec(index, 2, depth=SIZE, color=SIZE), name=name)
        for index, name in enumerate(("left", "right"))
    }


def _opened(loops: dict[str, Loop], *cameras: str, **options: object) -> BodyEstimator:
    told = {"keypoints": "truth", "keypoint_options": NOISE, **options}
    estimator = BodyEstimator(EstimatorSpec("body", "body", cameras, told))
    estimator.open({name: loop.info for name, loop in loops.items()})
    return estimator


def _seen(loop: Loop, tick: int, *, meta: bytes | None = None) -> dict[InputKey, Frame]:
    """What a camera gives at a tick; `meta` in place of the truth."""
    at = tick % len(loop.color)
    told = loop.color_meta[at] if meta is None else meta
    name, now_ns = loop.info.name, tick * INTERVAL_NS
    return {
        (name, stream): Frame(stream, tick, data[at], now_ns / 1e9, "host", now_ns, told)
        for stream, data in (("color", loop.color), ("depth", loop.depth))
    }


def _pose(loop: Loop, tick: int) -> npt.NDArray[np.float64]:
    return np.array(json.loads(loop.color_meta[tick % len(loop.color)])["pose"])


def _error_m(loop: Loop, tick: int, parameters: npt.NDArray[np.generic]) -> float:
    body = procedural_body()
    found, truth = body.pose(np.asarray(parameters[0], np.float64)), body.pose(_pose(loop, tick))
    return float(np.linalg.norm(found - truth, axis=1)[:20].mean())


def _people(results: list[Frame]) -> list[int]:
    return json.loads(results[0].meta)["ids"] if results else []


# ---- what comes out ----------------------------------------------------------------------------------------


def test_each_frame_of_a_depth_camera_gives_mesh_and_parameters_near_the_truth(
    loops: dict[str, Loop],
) -> None:
    estimator, loop = _opened(loops, "left"), loops["left"]
    assert estimator.inputs() == (("left", "color"), ("left", "depth"))
    errors = []
    for tick in range(24):
        results = estimator.estimate(_seen(loop, tick))
        if tick < 3:
            continue  # somebody is there once he was seen three times
        mesh, parameters = results
        assert (mesh.stream, mesh.data.shape, mesh.data.dtype) == ("mesh", (1, 6914, 3), np.float32)
        assert (parameters.stream, parameters.data.shape) == ("parameters", (1, 85))
        assert (mesh.number, mesh.monotonic_ns) == (tick, tick * INTERVAL_NS)
        assert np.isfinite(mesh.data).all()
        joints = procedural_body().pose(parameters.data[0].astype(np.float64))
        assert np.allclose(mesh.data[0, 6890:], 1000 * joints, atol=0.5)
        assert _people(results) == [1]
        errors.append(_error_m(loop, tick, parameters.data))
        told_mm = json.loads(mesh.meta)["truth_error_mm"]
        assert 0 < told_mm < 200
    assert np.mean(errors) < 0.08
    assert "mm from the truth on average in" in estimator.summary()
    estimator.close()
    estimator.close()


def test_two_cameras_one_at_a_time_are_better_than_one_without_depth(loops: dict[str, Loop]) -> None:
    errors = {}
    for cameras in (("left",), ("left", "right")):
        estimator, some = _opened(loops, *cameras, depth=False), []
        for tick in range(20):
            for camera in reversed(cameras):
                results = estimator.estimate(_seen(loops[camera], tick))
                assert camera == "left" or results == []
            if tick >= 3:
                some.append(_error_m(loops["left"], tick, results[1].data))
        errors[cameras] = np.mean(some)
    assert errors["left", "right"] < min(0.05, errors[("left",)])


def test_parameters_alone_where_no_meshes_are_wanted(loops: dict[str, Loop]) -> None:
    estimator = _opened(loops, "left", meshes=False)
    for tick in range(4):
        results = estimator.estimate(_seen(loops["left"], tick))
    assert [result.stream for result in results] == ["parameters"]


# ---- over a recording --------------------------------------------------------------------------------------


def _recorded(
    estimator: BodyEstimator, sets: Iterable[dict[InputKey, Frame]]
) -> dict[int, npt.NDArray[np.generic]]:
    """The parameters of each number; results come in the order of their frames, and each once."""
    results = [result for frames in sets for result in estimator.estimate_recorded(frames)]
    results += estimator.finish()
    own = [result for result in results if isinstance(result, Frame) and result.stream == "parameters"]
    assert [result.number for result in own] == sorted({result.number for result in own})
    assert all(_people([result]) == [1] for result in own)
    assert all(result.monotonic_ns == result.number * INTERVAL_NS for result in own)
    return {result.number: result.data for result in own}


def test_over_a_recording_a_person_is_there_from_the_first_picture_on(loops: dict[str, Loop]) -> None:
    loop = loops["left"]
    live = _opened(loops, "left")
    assert not any(live.estimate(_seen(loop, tick)) for tick in (20, 21))  # nobody is made of one detection
    found = _recorded(_opened(loops, "left"), (_seen(loop, tick) for tick in range(20, 50)))
    assert list(found) == list(range(20, 50))
    assert max(_error_m(loop, tick, found[tick]) for tick in (20, 21)) < 0.06


def test_over_a_recording_the_first_camera_may_see_somebody_before_the_others(loops: dict[str, Loop]) -> None:
    sets = (_seen(loops[camera], tick) for tick in range(12) for camera in ("left", "right"))
    found = _recorded(_opened(loops, "left", "right"), sets)
    assert list(found) == list(range(12))
    assert _error_m(loops["left"], 0, found[0]) < 0.06


def test_over_a_recording_a_picture_has_what_all_cameras_saw_at_its_moment(loops: dict[str, Loop]) -> None:
    """Without depth, and three pictures a second: by the first camera alone a person is somewhere else."""
    ticks = range(0, 60, 5)
    kept = {"depth": False, "keypoint_options": {"noise_px": 0.5, "seed": 4}}
    sets = [_seen(loops[camera], tick) for tick in ticks for camera in ("left", "right")]
    live, late = (_opened(loops, "left", "right", **kept) for _ in range(2))
    shown = [result for frames in sets for result in live.estimate(frames) if result.stream == "parameters"]
    told = [result for frames in sets for result in late.estimate_recorded(frames)] + late.finish()
    found = [result for result in told if isinstance(result, Frame) and result.stream == "parameters"]
    errors = [
        np.mean([_error_m(loops["left"], result.number, result.data) for result in results[-8:]])
        for results in (shown, found)
    ]
    assert errors[1] < min(0.06, errors[0])


def test_over_a_recording_nobody_is_there_before_he_comes(loops: dict[str, Loop]) -> None:
    loop = loops["left"]
    sets = (_seen(loop, tick, meta=b"" if tick < 9 or tick == 10 else None) for tick in range(20))
    found = _recorded(_opened(loops, "left"), sets)
    assert list(found) == list(range(9, 20))  # the picture in which he was overlooked is one of his, too
    assert _error_m(loop, 9, found[9]) < 0.1


def test_pictures_of_before_the_first_depth_have_people_in_them_too(loops: dict[str, Loop]) -> None:
    estimator = _opened(loops, "left")
    assert estimator.optional_inputs() == (("left", "depth"),)

    def sets() -> Iterator[dict[InputKey, Frame]]:
        for tick in range(12):
            frames = _seen(loops["left"], tick)
            if tick < 4:
                del frames["left", "depth"]
            yield frames

    assert list(_recorded(estimator, sets())) == list(range(12))


def test_a_moment_that_fails_late_costs_only_its_own_results(
    loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = _opened(loops, "left")
    tell = estimator._tell

    def failing(moment: Moment) -> list[Frame]:
        if moment.source.number in (2, 38):
            raise ValueError(f"not {moment.source.number}")
        return tell(moment)

    monkeypatch.setattr(estimator, "_tell", failing)
    told = [each for tick in range(40) for each in estimator.estimate_recorded(_seen(loops["left"], tick))]
    told += estimator.finish()
    failed = [each for each in told if isinstance(each, FailedFrame)]
    assert [each.monotonic_ns for each in failed] == [2 * INTERVAL_NS, 38 * INTERVAL_NS]
    assert str(failed[0].error) == "not 2"
    numbers = [each.number for each in told if isinstance(each, Frame) and each.stream == "parameters"]
    assert numbers == [n for n in range(40) if n not in (2, 38)]


# ---- when things go wrong ----------------------------------------------------------------------------------


def test_nobody_in_view_is_no_person_and_no_error(loops: dict[str, Loop]) -> None:
    estimator = _opened(loops, "left")
    for tick in range(10):
        assert estimator.estimate(_seen(loops["left"], tick, meta=b"")) == []
    assert estimator.summary() == ""


def test_who_leaves_the_picture_is_gone_and_found_again(loops: dict[str, Loop]) -> None:
    estimator, loop = _opened(loops, "left"), loops["left"]
    shown = [
        bool(estimator.estimate(_seen(loop, tick, meta=b"" if 10 <= tick < 50 else None)))
        for tick in range(65)
    ]
    assert all(shown[3:10])
    assert not any(shown[25:50])  # a second after he was seen last he is in no result
    assert all(shown[60:])


class _Changed:
    """A key point source whose people are changed on the way."""

    def __init__(self, source: object, change: Change) -> None:
        self._source, self._change, self.is_on = source, change, False

    def detect(self, *args: object, **told: object) -> list[PersonKeypoints]:
        people = self._source.detect(*args, **told)  # type: ignore[attr-defined]
        return [self._change(person) for person in people] if self.is_on else people

    def close(self) -> None:
        self._source.close()  # type: ignore[attr-defined]


def _nan(person: PersonKeypoints) -> PersonKeypoints:
    return replace(person, points_px=np.full_like(person.points_px, np.nan))


def _infinite(person: PersonKeypoints) -> PersonKeypoints:
    return replace(person, points_px=np.full_like(person.points_px, np.inf), confidences=np.ones(14))


def _wild(person: PersonKeypoints) -> PersonKeypoints:
    return replace(person, points_px=np.random.default_rng(0).uniform(0, 240, person.points_px.shape))


def _half(person: PersonKeypoints) -> PersonKeypoints:
    seen = person.confidences.copy()
    seen[[0, 1, 4, 5]] = 0.0
    return replace(person, confidences=seen)


@pytest.mark.parametrize("change", [_nan, _infinite, _wild, _half])
def test_bad_key_points_give_numbers_or_nobody_and_are_over_within_a_second(
    loops: dict[str, Loop], monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    estimator, loop = _opened(loops, "left"), loops["left"]
    source = _Changed(estimator._sources["left"], change)
    monkeypatch.setitem(estimator._sources, "left", source)  # type: ignore[arg-type]
    for tick in range(60):
        source.is_on = 15 <= tick < 25
        results = estimator.estimate(_seen(loop, tick))
        for result in results:
            assert np.isfinite(result.data).all()
        if not 15 <= tick < 40 and tick >= 3:
            assert len(_people(results)) == 1
            if tick >= 40:  # a second later
                assert _error_m(loop, tick, results[1].data) < 0.15


@pytest.mark.parametrize("gone", ["left", "right"])
def test_a_camera_that_goes_away_and_comes_back(loops: dict[str, Loop], gone: str) -> None:
    """Meanwhile the other goes on alone: a side view, in which arms hide much of the body's depth."""
    estimator = _opened(loops, "left", "right")
    identities, alone, both = set(), [], []
    for tick in range(60):
        is_gone = 20 <= tick < 40
        for camera in ("right", "left"):
            if is_gone and camera == gone:
                continue
            results = estimator.estimate(_seen(loops[camera], tick))
            if camera == "left" and tick >= 3:
                identities.update(_people(results))
                error_m = _error_m(loops["left"], tick, results[1].data)
                (alone if is_gone else both).append((tick, error_m))
    assert identities == {1}
    assert np.mean([error for tick, error in both if tick < 20 or tick > 47]) < 0.05
    if gone == "right":
        assert np.mean([error for _, error in alone]) < 0.08


def test_an_unknown_model_file_is_an_error_that_names_it(loops: dict[str, Loop], tmp_path: Path) -> None:
    with pytest.raises(NightrigError, match=r"nowhere\.npz"):
        _opened(loops, "left", model=str(tmp_path / "nowhere.npz"))
    other = tmp_path / "letter.npz"
    other.write_bytes(b"Dear all")
    with pytest.raises(NightrigError, match=r"letter\.npz"):
        _opened(loops, "left", model=str(other))
    with pytest.raises(NightrigError, match=r"no_prior\.npz"):
        _opened(loops, "left", prior=str(tmp_path / "no_prior.npz"))


def test_what_is_missing_is_refused_by_name(loops: dict[str, Loop]) -> None:
    with pytest.raises(EstimatorError, match="no camera middle; there are left, right"):
        _opened(loops, "middle")
    with pytest.raises(EstimatorError, match="looks at no camera"):
        _opened(loops)
    with pytest.raises(EstimatorError, match="no option modle; it has"):
        _opened(loops, "left", modle="x")
    with pytest.raises(EstimatorError, match="which key points"):
        BodyEstimator(EstimatorSpec("body", "body", ("left",)))
    with pytest.raises(EstimatorError, match="people = 0: from 1 to 16"):
        _opened(loops, "left", people=0)


def test_several_cameras_of_unknown_place_are_refused(loops: dict[str, Loop]) -> None:
    lost: CameraInfo = replace(loops["right"].info, world_from_camera=None)
    told = {"keypoints": "truth"}
    estimator = BodyEstimator(EstimatorSpec("body", "body", ("left", "right"), told))
    with pytest.raises(
        EstimatorError, match="the place of camera right is not known; run `nightrig calibrate`"
    ):
        estimator.open({"left": loops["left"].info, "right": lost})


# ---- depth maps --------------------------------------------------------------------------------------------


def _measured_mm(loop: Loop, tick: int, map_mm: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """What the camera measured at each pixel of a map that somebody is at: from picture to depth picture."""
    streams = {stream.name: stream for stream in loop.info.streams}
    lens, eye, scale_m = (
        streams["color"].intrinsics,
        streams["depth"].intrinsics,
        streams["depth"].depth_scale_m,
    )
    assert lens is not None
    assert eye is not None
    assert scale_m is not None
    rows, columns = np.nonzero(map_mm)
    z = map_mm[rows, columns].astype(float)
    x = (columns - lens.cx) / lens.fx * z + 1000 * np.array(streams["color"].camera_from_stream)[0, 3]
    y = (rows - lens.cy) / lens.fy * z
    measured = loop.depth[tick % len(loop.depth)]
    found = measured[
        np.rint(eye.fy * y / z + eye.cy).astype(int), np.rint(eye.fx * x / z + eye.cx).astype(int)
    ]
    return np.asarray(1000 * scale_m * found)


def test_depth_maps_are_what_each_camera_sees_of_the_person(loops: dict[str, Loop]) -> None:
    estimator = _opened(loops, "left", "right", depth_maps=True)
    results: dict[str, Frame] = {}
    tick = 0
    while "left-depth" not in results or not results["left-depth"].data.any():
        for name in ("right", "left"):
            results = {frame.stream: frame for frame in estimator.estimate(_seen(loops[name], tick))}
        tick += 1
        assert tick < 10
    assert set(results) == {"mesh", "parameters", *(f"{c}-{w}" for c in loops for w in ("depth", "people"))}
    depth, people = results["left-depth"].data, results["left-people"].data
    assert depth.dtype == np.uint16
    assert depth.shape == people.shape == (SIZE.height, SIZE.width)
    assert np.array_equal(depth > 0, people == 1)
    assert (depth > 0).sum() > 0.03 * depth.size
    assert np.median(_measured_mm(loops["left"], tick - 1, depth) - depth[depth > 0]) == pytest.approx(
        0, abs=30
    )
    assert results["right-depth"].data.any()


def test_depth_maps_of_nobody_are_empty(loops: dict[str, Loop]) -> None:
    estimator = _opened(loops, "left", depth_maps=True)
    results = estimator.estimate(_seen(loops["left"], 0, meta=b"{}"))
    assert [frame.stream for frame in results] == ["left-depth", "left-people"]
    assert not any(frame.data.any() for frame in results)


def test_depth_maps_of_large_pictures_are_made_smaller(loops: dict[str, Loop]) -> None:
    info = loops["left"].info
    large = tuple(
        replace(s, width=1920, height=1440, intrinsics=replace(s.intrinsics, fx=1200.0, cx=959.5, width=1920))
        if s.name == "color" and s.intrinsics is not None
        else s
        for s in info.streams
    )
    told = {"keypoints": "truth", "keypoint_options": NOISE, "depth_maps": True}
    estimator = BodyEstimator(EstimatorSpec("body", "body", ("left",), told))
    streams = {s.name: s for s in estimator.open({"left": replace(info, streams=large)})}
    lens = streams["left-depth"].intrinsics
    assert lens is not None
    assert (lens.width, lens.height, lens.fx) == (640, 480, 400.0)
    assert lens.cx == pytest.approx(319.5)
