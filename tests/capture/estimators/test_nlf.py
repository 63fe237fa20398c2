"""The estimator nlf with a module in torch's place: what it asks of a file, what it makes of the answer."""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.body.kinematics import join_parameters
from capture.body.model import BodyModel
from capture.body.procedural import procedural_body
from capture.estimators import make_estimator
from capture.estimators.nlf import NlfEstimator
from capture.frames import CameraInfo, Frame, Intrinsics, Matrix4, StreamInfo
from capture.lenses import Lens
from capture.mesh_faces import unpack_faces
from capture.recording import Recording
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError, MissingExtraError
from tests.capture.body import smpl_imitation
from tests.capture.estimators import pretended_torch
from tests.capture.rigs import record, small_rig

WIDTH, HEIGHT = 64, 48
LENS = Intrinsics(WIDTH, HEIGHT, 50.0, 51.0, 31.0, 23.0)
# A camera that lies on its side, two metres above the floor and half a metre to the left.
PLACE: Matrix4 = ((0.0, 0.0, 1.0, -0.5), (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 2.0), (0.0, 0.0, 0.0, 1.0))
ALL = ("intrinsic_matrix", "distortion_coeffs", "default_fov_degrees", "detector_threshold", "model_name")
EVERY_HUNDREDTH = slice(None, None, 100)
Body = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.setitem(sys.modules, "torch", pretended_torch)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setattr(pretended_torch, "answer", None)
    monkeypatch.setattr(pretended_torch, "gpus", 0)
    pretended_torch.asked.clear()
    return pretended_torch


def file_of(folder: Path, *, keywords: tuple[str, ...] = ALL, people: Any = ((0.1, 0.2, 3.0, 0.9),)) -> Path:
    path = folder / "nlf.torchscript"
    path.write_text(json.dumps({"keywords": keywords, "people": people}))
    return path


def camera(
    *, lens: Intrinsics | None = LENS, place: Matrix4 | None = None, pixels: str = "bgr8"
) -> CameraInfo:
    stream = StreamInfo("color", pixels, WIDTH, HEIGHT, 30.0, intrinsics=lens)
    return CameraInfo("front", "opencv", "Test camera", (stream,), world_from_camera=place)


def opened(path: Path, info: CameraInfo | None = None, **options: Any) -> NlfEstimator:
    estimator = make_estimator(EstimatorSpec("bodies", "nlf", ("front",), {"model": str(path), **options}))
    assert isinstance(estimator, NlfEstimator)
    estimator.open({"front": info or camera()})
    return estimator


def seen(
    estimator: NlfEstimator, number: int = 7, picture: np.ndarray | None = None, time_s: float = 2.0
) -> list[Frame]:
    picture = np.full((HEIGHT, WIDTH, 3), 80, np.uint8) if picture is None else picture
    frame = Frame("color", number, picture, 0.5, "hardware", round(time_s * 1e9), b"")
    return estimator.estimate({("front", "color"): frame})


def answering(bodies: list[Body], **changes: Any) -> Callable[[np.ndarray], dict[str, Any]]:
    """Says that these bodies, posed as our own model poses them, are in every picture that is not black."""
    model = procedural_body()
    skins = [model.skin(*body)[EVERY_HUNDREDTH] for body in bodies]
    joints = [model.pose(join_parameters(*body)) for body in bodies]
    found = {
        "boxes": np.array([[1, 2, 3, 4, 0.5 + 0.1 * i] for i in range(len(bodies))]),
        "pose": np.stack([body[0] for body in bodies]),
        "betas": np.stack([body[1] for body in bodies]),
        "trans": np.stack([body[2] for body in bodies]),
        "joints3d": 1000 * np.stack(joints),
        "vertices3d": 1000 * np.stack(skins),
    } | changes
    empty = pretended_torch.nobody(len(skins[0]))
    empty = {key: value for key, value in empty.items() if found.get(key) is not None}
    found = {key: value for key, value in found.items() if value is not None}
    return lambda images: found if images.any() else empty


def body(seed: int, at: tuple[float, float, float]) -> Body:
    random = np.random.default_rng(seed)
    return 0.4 * random.normal(size=72), random.normal(size=10), np.array(at)


# ---- what a file is asked ----------------------------------------------------------------------------------


def test_a_file_is_asked_with_the_lens_on_rgb_pictures(torch: Any, tmp_path: Path) -> None:
    lens = replace(LENS, model="brown_conrady", coefficients=(0.1, -0.2, 0.001, 0.002, 0.05))
    estimator = opened(file_of(tmp_path), camera(lens=lens), detector_threshold=0.4)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[..., 0], picture[10, 20, 2] = 200, 90  # blue, with a spot of red
    seen(estimator, picture=picture)
    (trial, _), (images, keywords) = torch.asked
    assert trial.shape == images.shape == (1, 3, HEIGHT, WIDTH)
    assert not trial.any()
    assert images.dtype == np.uint8
    assert images[0, :, 10, 20].tolist() == [90, 0, 200]
    assert keywords.keys() == set(ALL)
    assert keywords["intrinsic_matrix"].array.tolist() == [[[50, 0, 31], [0, 51, 23], [0, 0, 1]]]
    assert keywords["intrinsic_matrix"].array.dtype == np.float32
    assert np.allclose(keywords["distortion_coeffs"].array, [lens.coefficients])
    assert keywords["detector_threshold"] == 0.4
    assert keywords["model_name"] == "smpl"


@pytest.mark.parametrize("accepted", [(), ("model_name",), ("default_fov_degrees", "num_aug")])
def test_a_file_is_given_only_what_it_accepts(torch: Any, tmp_path: Path, accepted: tuple[str, ...]) -> None:
    estimator = opened(file_of(tmp_path, keywords=accepted), detector_threshold=0.4)
    assert len(seen(estimator)) == 2
    assert all(set(keywords) <= set(accepted) for _, keywords in torch.asked)
    if "default_fov_degrees" in accepted:
        assert torch.asked[0][1]["default_fov_degrees"] == pytest.approx(
            2 * np.degrees(np.arctan(WIDTH / 2 / 51.0))
        )


def test_without_a_lens_the_field_of_view_is_the_option(torch: Any, tmp_path: Path) -> None:
    opened(file_of(tmp_path), camera(lens=None), fov_degrees=90)
    keywords = torch.asked[0][1]
    wanted = [[[32, 0, (WIDTH - 1) / 2], [0, 32, (HEIGHT - 1) / 2], [0, 0, 1]]]
    assert np.allclose(keywords["intrinsic_matrix"].array, wanted)
    assert keywords["default_fov_degrees"] == pytest.approx(90)
    assert "distortion_coeffs" not in keywords
    assert "detector_threshold" not in keywords  # the file's own


@pytest.mark.parametrize("count", [5, 8])
def test_pictures_are_straightened_where_the_file_cannot_do_it(
    torch: Any, tmp_path: Path, count: int
) -> None:
    """Files know five numbers of a lens, and old ones none."""
    lens = replace(LENS, model="brown_conrady", coefficients=(0.3, *[0.0] * (count - 1)))
    accepted = ALL if count == 8 else ("intrinsic_matrix",)
    estimator = opened(file_of(tmp_path, keywords=accepted), camera(lens=lens))
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, :, :] = np.arange(WIDTH, dtype=np.uint8)[None, :, None]
    seen(estimator, picture=picture)
    images, keywords = torch.asked[-1]
    assert "distortion_coeffs" not in keywords
    assert images[0, 0, 23, 31] == 31
    # The lens shows what lies at 48 further out: 17 * (1 + 0.3 * (17 / 50) ** 2) = 17.6 from the middle.
    assert images[0, 0, 23, 48] == 49


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("kannala_brandt4", (0.02, -0.01, 0.003, -0.001)),
        ("inverse_brown_conrady", (0.3, 0.0, 0.01, 0.0, 0.0)),
    ],
)
def test_pictures_of_lenses_that_no_file_knows_are_straightened(
    torch: Any, tmp_path: Path, model: str, coefficients: tuple[float, ...]
) -> None:
    lens = replace(LENS, model=model, coefficients=coefficients)
    estimator = opened(file_of(tmp_path), camera(lens=lens))
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[...] = 3 * np.arange(WIDTH, dtype=np.uint8)[None, :, None]
    seen(estimator, picture=picture)
    images, keywords = torch.asked[-1]
    assert "distortion_coeffs" not in keywords
    column, row = 52, 40
    ray = np.array([[(column - LENS.cx) / LENS.fx, (row - LENS.cy) / LENS.fy]])
    shown_at = Lens(lens).pixels(ray)[0, 0]
    assert abs(shown_at - column) > 1
    assert float(images[0, 0, row, column]) == pytest.approx(3 * shown_at, abs=1)


def test_grey_pictures_and_jpegs_are_taken_too(torch: Any, tmp_path: Path) -> None:
    import cv2

    picture = np.full((HEIGHT, WIDTH), 80, np.uint8)
    assert len(seen(opened(file_of(tmp_path), camera(pixels="y8")), picture=picture)) == 2
    assert (torch.asked[-1][0] == 80).all()
    jpeg = np.frombuffer(cv2.imencode(".jpg", picture)[1].tobytes(), np.uint8)
    assert len(seen(opened(file_of(tmp_path), camera(pixels="jpeg")), picture=jpeg)) == 2
    assert torch.asked[-1][0].shape == (1, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("gpus", "wanted", "device"),
    [(0, "", "cpu"), (1, "", "cuda"), (1, "cpu", "cpu"), (2, "cuda:1", "cuda:1")],
)
def test_a_gpu_is_used_where_there_is_one(
    torch: Any, tmp_path: Path, gpus: int, wanted: str, device: str
) -> None:
    torch.gpus = gpus
    assert len(seen(opened(file_of(tmp_path), device=wanted))) == 2
    assert {keywords["intrinsic_matrix"].device for _, keywords in torch.asked} == {device}


# ---- what comes out ----------------------------------------------------------------------------------------


def test_people_come_out_in_the_world_as_parameters_and_as_the_files_own_meshes(
    torch: Any, tmp_path: Path
) -> None:
    given = [body(1, (0.2, 0.1, 3.0)), body(2, (-0.6, 0.0, 4.0))]
    torch.answer = answering(given)
    estimator = opened(file_of(tmp_path), camera(place=PLACE))
    mesh, parameters = seen(estimator, number=17)
    model, place = procedural_body(), np.array(PLACE)
    assert (mesh.stream, parameters.stream, mesh.number, parameters.number) == ("mesh", "parameters", 17, 17)
    assert (mesh.data.dtype, parameters.data.dtype) == (np.float32, np.float32)
    told = json.loads(mesh.meta)
    assert (told["people"], told["vertices"], told["joints"], told["model"]) == (2, 69, 24, "nlf smpl")
    assert parameters.meta == mesh.meta
    for row, points, score in zip(parameters.data, mesh.data, told["scores"], strict=True):
        pose, betas, translation = given[0] if score == 0.5 else given[1]
        in_camera = np.vstack(
            [
                model.skin(pose, betas, translation)[EVERY_HUNDREDTH],
                model.pose(np.r_[pose, betas, translation]),
            ]
        )
        in_world = in_camera @ place[:3, :3].T + place[:3, 3]
        assert np.abs(points / 1000 - in_world).max() < 1e-5
        # The parameters say the same as the mesh does.
        posed = model.skin(row[:72], row[72:82], row[82:])[EVERY_HUNDREDTH]
        assert np.abs(posed - in_world[:69]).max() < 1e-5
        assert np.array_equal(row[72:82], betas.astype(np.float32))


def test_a_body_model_makes_the_meshes_where_one_is_given(torch: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "SMPL_MALE.npz", **smpl_imitation.arrays(500))
    model = BodyModel.load(tmp_path / "SMPL_MALE.npz")
    given = body(1, (0.2, 0.1, 3.0))
    torch.answer = answering([given], joints3d=None, vertices3d=None)
    estimator = opened(file_of(tmp_path), camera(place=PLACE), body_model=str(tmp_path), gender="male")
    mesh, parameters = seen(estimator)
    assert json.loads(mesh.meta)["model"] == model.name
    assert mesh.data.shape == (1, 524, 3)
    row, place = parameters.data[0].astype(np.float64), np.array(PLACE)
    in_camera = np.vstack([model.skin(*given), model.pose(join_parameters(*given))])
    in_world = in_camera @ place[:3, :3].T + place[:3, 3]
    assert np.abs(mesh.data[0] / 1000 - in_world).max() < 1e-5
    assert np.abs(model.pose(row) - in_world[500:]).max() < 1e-5


def test_triangles_are_told_where_they_are_known(torch: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **smpl_imitation.arrays(500))
    for more, wanted in (({}, None), ({"body_model": str(tmp_path)}, smpl_imitation.arrays(500)["f"])):
        spec = EstimatorSpec("bodies", "nlf", ("front",), {"model": str(file_of(tmp_path)), **more})
        mesh, _ = NlfEstimator(spec).open({"front": camera()})
        np.testing.assert_array_equal(unpack_faces(mesh.faces), wanted)


def test_parameters_alone_where_no_meshes_are_wanted(torch: Any, tmp_path: Path) -> None:
    torch.answer = answering([body(1, (0.2, 0.1, 3.0))], vertices3d=None)
    estimator = NlfEstimator(
        EstimatorSpec("bodies", "nlf", ("front",), {"model": str(file_of(tmp_path)), "meshes": False})
    )
    assert [stream.name for stream in estimator.open({"front": camera()})] == ["parameters"]
    assert [result.data.shape for result in seen(estimator)] == [(1, 85)]


def test_nobody_in_view_is_no_result(torch: Any, tmp_path: Path) -> None:
    """No "boxes" then, and poses of shape (0, 24, 3)."""
    assert seen(opened(file_of(tmp_path, people=()))) == []
    torch.answer = lambda images: pretended_torch.nobody()
    assert seen(opened(file_of(tmp_path))) == []
    torch.answer = lambda images: pretended_torch.nobody() | {"boxes": np.zeros((0, 5))}
    assert seen(opened(file_of(tmp_path))) == []


def test_who_cannot_be_is_left_out(torch: Any, tmp_path: Path) -> None:
    given = [body(1, (0.2, 0.1, 3.0)), body(2, (0.0, 0.0, -4.0)), body(3, (1.0, 0.0, 3.0))]
    given[2][2][1] = np.nan
    torch.answer = answering(given)
    _, parameters = seen(opened(file_of(tmp_path)))
    assert np.allclose(parameters.data[:, 82:], [[0.2, 0.1, 3.0]], atol=1e-6)
    torch.answer = answering(given[1:])
    assert seen(opened(file_of(tmp_path))) == []
    broken = answering([body(1, (0.2, 0.1, 3.0))])
    broken(np.ones(1))["vertices3d"][0, 5] = np.inf
    torch.answer = broken
    assert seen(opened(file_of(tmp_path))) == []


def test_the_surest_are_kept_where_there_are_too_many(torch: Any, tmp_path: Path) -> None:
    people = [[0.1 * i, 0.0, 3.0, score] for i, score in enumerate((0.4, 0.9, 0.7))]
    mesh, parameters = seen(opened(file_of(tmp_path, people=people), people=2))
    assert json.loads(mesh.meta)["scores"] == [0.9, 0.7]
    assert np.allclose(parameters.data[:, 82] + pretended_torch.PELVIS[0], [0.1, 0.2])


def test_people_keep_their_numbers_whichever_comes_first(torch: Any, tmp_path: Path) -> None:
    estimator = opened(file_of(tmp_path))
    left, right, ids = body(1, (-1.0, 0.0, 3.0)), body(1, (1.0, 0.0, 3.0)), []
    frames = [[left, right], [right, left], [right], [left, right], [body(1, (0.0, 0.0, 5.0)), right]]
    places = []
    for number, given in enumerate(frames):
        torch.answer = answering(given)
        _, parameters = seen(estimator, number=number, time_s=2.0 + number / 30)
        ids.append(json.loads(parameters.meta)["ids"])
        places.append([round(float(x)) for x in parameters.data[:, 82]])
    one, other = ids[0]
    left_id, right_id = (one, other) if places[0] == [-1, 1] else (other, one)
    assert sorted(ids[0]) == [1, 2]
    assert [dict(zip(i, p, strict=True)) for i, p in zip(ids[:4], places[:4], strict=True)] == [
        {left_id: -1, right_id: 1},
        {left_id: -1, right_id: 1},
        {right_id: 1},
        {left_id: -1, right_id: 1},
    ]
    assert ids[4] == [right_id, 3]
    _, parameters = seen(estimator, time_s=60.0)
    assert json.loads(parameters.meta)["ids"] == [4, 5]


# ---- what goes wrong ---------------------------------------------------------------------------------------


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("torch", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"estimator bodies needs torch, .*\[nlf\]"):
        opened(file_of(tmp_path))


def test_torchvision_comes_first_and_its_absence_is_told_only_where_it_is_wanted(
    torch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted: list[str] = []
    real = importlib.import_module

    def noted(name: str, package: str | None = None) -> Any:
        wanted.append(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", noted)
    opened(file_of(tmp_path))
    assert [name for name in wanted if name.startswith("torch")] == ["torchvision", "torch"]
    monkeypatch.setitem(sys.modules, "torchvision", None)
    opened(file_of(tmp_path))
    path = tmp_path / "other.torchscript"
    path.write_text('{"operator": "torchvision::nms"}')
    with pytest.raises(MissingExtraError, match=r"other.torchscript needs torchvision, .*\[nlf\]"):
        opened(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*nlf.torchscript: No such file"),
        (
            "nothing of the kind",
            "nlf.torchscript is no TorchScript file .*: failed finding central directory",
        ),
        ('{"operator": "aten::strange"}', "nlf.torchscript is no TorchScript file"),
        ("{}", "nlf.torchscript is TorchScript, but has no method detect_smpl_batched"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(
    torch: Any, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "nlf.torchscript"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EstimatorError, match=message) as told:
        opened(path)
    assert "\n" not in str(told.value)
    with pytest.raises(EstimatorError, match="cannot read"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints3d": None}, "gives no joints3d, .*body_model"),
        ({"vertices3d": None}, "gives no vertices3d; name a body_model .* meshes = false"),
        ({"trans": None}, "has no trans"),
    ],
)
def test_a_file_that_says_too_little_is_refused_before_the_night(
    torch: Any, tmp_path: Path, changes: dict[str, None], message: str
) -> None:
    torch.answer = answering([body(1, (0.2, 0.1, 3.0))], **changes)
    with pytest.raises(EstimatorError, match=message):
        opened(file_of(tmp_path))


def test_an_answer_of_another_shape_is_told(torch: Any, tmp_path: Path) -> None:
    torch.answer = lambda images: pretended_torch.nobody() | {"pose": np.zeros((0, 55, 3))}
    with pytest.raises(EstimatorError, match="165 numbers where SMPL has 72"):
        opened(file_of(tmp_path))
    torch.answer = None
    estimator = opened(file_of(tmp_path))
    torch.answer = answering([body(1, (0.2, 0.1, 3.0))], trans=np.zeros((2, 3)))
    with pytest.raises(EstimatorError, match=r"trans of shape \(2, 3\) for 1 people"):
        seen(estimator)


def test_a_file_that_fails_on_the_processor_says_so(torch: Any, tmp_path: Path) -> None:
    def fail(images: np.ndarray) -> dict[str, Any]:
        raise pretended_torch.jit.Error("Traceback of TorchScript:\n  ...\nRuntimeError: no cuda:0\n")

    torch.answer = fail
    with pytest.raises(EstimatorError, match=r"fails on the cpu: RuntimeError: no cuda:0; .*GPU"):
        opened(file_of(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "which file"),
        ({"modle": "x"}, "no option modle; it has model"),
        ({"people": 0}, "people = 0: from 1 to 16"),
        ({"people": True}, "people = True should be like 4"),
        ({"fov_degrees": 200}, "fov_degrees = 200"),
        ({"detector_threshold": float("nan")}, "detector_threshold = nan"),
        ({"device": "abacus"}, 'device = "abacus" is none'),
        ({"device": "cuda"}, 'device = "cuda", but torch finds no GPU'),
        ({"model_name": "smplx"}, 'model_name = "smplx", but .* no choice of models'),
    ],
)
def test_wrong_options_are_told(torch: Any, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(EstimatorError, match=message):
        opened(file_of(tmp_path, keywords=()), **options)


def test_it_looks_at_one_camera_that_has_pictures(torch: Any, tmp_path: Path) -> None:
    options = {"model": str(file_of(tmp_path))}
    for cameras, message in (
        ((), "looks at one camera, and was given none"),
        (("front", "side"), "looks at one camera, and was given front, side"),
        (("side",), "there is no camera side; there are front"),
    ):
        with pytest.raises(EstimatorError, match=message):
            NlfEstimator(EstimatorSpec("bodies", "nlf", cameras, options)).open({"front": camera()})
    depth = StreamInfo("depth", "z16", WIDTH, HEIGHT, 30.0)
    with pytest.raises(EstimatorError, match="no pictures"):
        opened(tmp_path / "nlf.torchscript", replace(camera(), streams=(depth,)))


def test_closed_twice_it_asks_to_be_opened(torch: Any, tmp_path: Path) -> None:
    estimator = opened(file_of(tmp_path))
    estimator.close()
    estimator.close()
    assert estimator.inputs() == ()
    with pytest.raises(EstimatorError, match="not open"):
        seen(estimator)


# ---- in a recording ----------------------------------------------------------------------------------------


def test_it_runs_in_a_process_of_its_own_while_a_rig_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "torchvision.py").touch()
    (site / "torch.py").write_text(Path(pretended_torch.__file__).read_text())
    monkeypatch.setenv("PYTHONPATH", str(site))
    file_of(tmp_path)
    # Beside the rig file, which is where it is looked for first.
    tail = '[[estimators]]\nkind = "nlf"\ncameras = ["cam0"]\noptions = { model = "nlf.torchscript" }\n'
    code, account, err = record(
        small_rig(tmp_path, cameras=1, tail=tail), tmp_path / "out", "--duration", "2"
    )
    assert code == 0, err
    assert account["meshes"] > 10
    with Recording(Path(account["session"])) as recording:
        color = {frame.number for frame in recording.streams["cam0/color"]}
        parameters = recording.streams["people/parameters"]
        assert len(parameters) == account["meshes"]
        assert {frame.number for frame in parameters} <= color
        assert all(frame.data.shape == (1, 85) for frame in parameters)
        assert next(recording.meshes())["vertices"].shape == (1, 8, 3)
