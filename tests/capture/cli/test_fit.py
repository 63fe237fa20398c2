"""`nightrig fit`: SMPLify's files and photographs become bodies, and whatever is bad among them is told."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from capture.body.model import BodyModel
from capture.body.views import View
from capture.cli import main
from capture.keypoints import PersonKeypoints
from capture.keypoints.joint_sets import joint_set
from tests.capture.body import smpl_imitation
from tests.capture.body.walking_people import POINTS
from tests.capture.fitting.made_pictures import (
    FOCAL_PX,
    SIZE,
    in_cpm_order,
    jpeg_with_exif,
    lsp_points,
    write_est_joints,
    write_pictures,
)
from tests.capture.keypoints.pretended_mediapipe import Pretended, install
from tests.capture.keypoints.tiny_onnx import simcc_of_the_reddest

Capture = pytest.CaptureFixture[str]


def _fit(*words: object) -> int:
    return main(["fit", *(str(word) for word in words)])


def _error_px(result: dict[str, np.ndarray], points: np.ndarray, scale: float = 1.0) -> float:
    """How far a result's points lie from what was seen, in the picture `scale` times as large."""
    joints = POINTS.values(result["pose"], result["betas"]) + result["cam_t"]
    view = View(result["f"], np.array(SIZE) / 2 * scale)
    used = [*range(12), 13]
    return float(np.linalg.norm(view.project(joints) / scale - points[:, :2], axis=1)[used].mean())


def _read(path: Path) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = pickle.loads(path.read_bytes())
    return result


@pytest.fixture
def lsp(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """A folder of three pictures, est_joints.npz, and the points in it."""
    points = lsp_points(3)
    return write_pictures(tmp_path / "images", 3), write_est_joints(tmp_path / "e.npz", points), points


def test_smplifys_files_become_its_results(lsp: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    images, joints, points = lsp
    out = tmp_path / "out"
    assert _fit(images, "--joints", joints, "--out", out) == 0
    names = [f"{k:04d}{end}" for k in range(3) for end in (".obj", ".pkl", "_overlay.png")]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    for k in range(3):
        result = _read(out / f"{k:04d}.pkl")
        assert {key: value.shape for key, value in result.items()} == {
            "cam_t": (3,),
            "f": (2,),
            "pose": (72,),
            "betas": (10,),
        }
        # As in the original: 5000 pixels, of the picture doubled.
        assert result["f"].tolist() == [5000.0, 5000.0]
        assert _error_px(result, points[k], scale=2.0) < 12
    text = (out / "0001.obj").read_text()
    vertices = np.array([line.split()[1:] for line in text.splitlines() if line.startswith("v ")], float)
    # At the origin, in the camera's axes: the head is up, where y is least.
    assert abs(vertices[:, 2].mean()) < 0.5
    assert 1.2 < np.ptp(vertices[:, 1]) < 2.3


@pytest.mark.parametrize("rows", [2, 3])
def test_one_picture_in_cpm_order_with_and_without_confidences(tmp_path: Path, rows: int) -> None:
    points = lsp_points(1)[0]
    images = write_pictures(tmp_path / "images", 1)
    np.save(tmp_path / "a.npy", in_cpm_order(points)[:, :rows].T)
    picture = images / "im0001.jpg"
    arguments = (picture, "--joints", tmp_path / "a.npy", "--focal-px", FOCAL_PX, "--out", tmp_path / "out")
    assert _fit(*arguments) == 0
    result = _read(tmp_path / "out" / "0000.pkl")
    assert result["f"].tolist() == [FOCAL_PX, FOCAL_PX]
    assert _error_px(result, points) < 12
    assert 2.0 < result["cam_t"][2] < 4.5  # he is at 3 m


def test_results_are_passed_over_until_again(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture
) -> None:
    images, joints, _ = lsp
    out = tmp_path / "out"
    command = (images, "--joints", joints, "--out", out, "--json")
    assert _fit(*command) == 0
    before = (out / "0000.pkl").stat().st_mtime_ns
    (out / "0002.pkl").unlink()
    capsys.readouterr()
    assert _fit(*command) == 0
    account = json.loads(capsys.readouterr().out)
    assert account["counts"] == {"passed over": 2, "done": 1}
    assert (out / "0000.pkl").stat().st_mtime_ns == before
    assert _fit(*command, "--mode", "fast") == 0
    told = capsys.readouterr()
    assert "0000: its results are of other settings; --again makes them anew" in told.err
    assert (out / "0000.pkl").stat().st_mtime_ns == before
    assert _fit(*command, "--mode", "fast", "--again") == 0
    assert (out / "0000.pkl").stat().st_mtime_ns > before


@pytest.mark.parametrize("name", ["0001.pkl", "0001.obj", "0001_overlay.png"])
def test_a_file_of_somebody_else_stays_and_the_others_go_on(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture, name: str
) -> None:
    images, joints, _ = lsp
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"mine")
    assert _fit(images, "--joints", joints, "--out", out, "--again") == 3
    assert (out / name).read_bytes() == b"mine"
    assert (out / "0000.pkl").exists()
    assert (out / "0002.pkl").exists()
    told = capsys.readouterr()
    assert f"{name} is not a fit's, and is never overwritten" in told.err
    assert "2 bodies from 2 pictures, 1 failed" in told.out


def test_bad_rows_and_pictures_are_told_and_the_others_go_on(tmp_path: Path, capsys: Capture) -> None:
    points = lsp_points(6)
    points[0] = np.nan
    points[1, 3:, 2] = 0
    points[2, [0, 5]] = np.nan  # an ankle each is not seen
    images = write_pictures(tmp_path / "images", 6)
    (images / "im0005.jpg").unlink()
    (images / "im0006.jpg").write_bytes(b"\xff\xd8 no picture")
    out = tmp_path / "out"
    assert _fit(images, "--joints", write_est_joints(tmp_path / "e.npz", points), "--out", out) == 3
    assert sorted(path.name for path in out.glob("*.pkl")) == ["0002.pkl", "0003.pkl"]
    told = capsys.readouterr()
    assert "im0001.jpg: nobody is seen in it" in told.err
    assert "im0002.jpg: too little of anybody is seen" in told.err
    assert "0004: its picture is missing" in told.err
    assert "im0006.jpg is no picture" in told.err
    assert "2 bodies from 2 pictures, 2 show nobody, 2 failed" in told.out
    assert np.isfinite(_read(out / "0002.pkl")["pose"]).all()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: np.savez(path, est_joints=np.zeros((2, 14, 3))), "is not (3 or more rows"),
        (lambda path: np.savez(path, est_joints=np.zeros((5, 13, 3))), "14 joints of lsp14"),
        (
            lambda path: np.savez(path, est_joints=np.zeros((5, 14, 2))),
            "im0003.jpg: there is no row of key points for it",
        ),
        (lambda path: np.savez(path, est_joints=np.zeros((5, 14, 0))), "no pictures' key points"),
        (lambda path: np.savez(path, other=np.zeros(3)), "has none of the arrays est_joints"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01"), "no NumPy file"),
        (lambda path: None, "cannot read"),
    ],
)
def test_bad_key_points_are_one_line(tmp_path: Path, capsys: Capture, make: object, told: str) -> None:
    images = write_pictures(tmp_path / "images", 3)
    make(tmp_path / "e.npz")  # type: ignore[operator]
    assert _fit(images, "--joints", tmp_path / "e.npz", "--out", tmp_path / "out") in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_gender_file_picks_the_model(lsp: tuple[Path, Path, np.ndarray], tmp_path: Path) -> None:
    images, joints, _ = lsp
    models = tmp_path / "models"
    models.mkdir()
    for name, count in (("SMPL_MALE.pkl", 500), ("SMPL_FEMALE.pkl", 600)):
        values = smpl_imitation.content(smpl_imitation.arrays(count))
        smpl_imitation.write_pickle(models / name, values)
    assert len(BodyModel.load(models, "female").template_vertices) == 600
    (tmp_path / "g.csv").write_text("0\n1\n0\n")
    out = tmp_path / "out"
    command = (images, "--joints", joints, "--model", models, "--out", out)
    assert _fit(*command, "--gender-file", tmp_path / "g.csv") == 0
    counts = [(out / f"{k:04d}.obj").read_text().count("\nv ") for k in range(3)]
    assert counts == [500, 600, 500]


@pytest.mark.parametrize(
    ("text", "told"), [("0\n1\n", "has 2 lines"), ("0\nman\n1\n", "line 2: 'man' is no whole number")]
)
def test_a_bad_gender_file_is_one_line(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture, text: str, told: str
) -> None:
    (tmp_path / "g.csv").write_text(text)
    assert _fit(lsp[0], "--joints", lsp[1], "--gender-file", tmp_path / "g.csv") == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--focal-px", "0"), "--focal-px 0"),
        (("--focal-px", "nan"), "--focal-px nan"),
        (("--headings", "0"), "--headings 0"),
        (("--gender-file", "x.csv"), "belong to --joints"),
        (("--people", "0"), "--people 0"),
        (("--keypoints", "rtmpose"), "--keypoints rtmpose needs --model-file FILE"),
        (("--keypoints", "movenet", "--model-file", "no.onnx"), "cannot read no.onnx"),
        (("--model-file", "no.task"), "`nightrig models pose` makes it"),
    ],
)
def test_wrong_arguments_are_one_line(
    tmp_path: Path, capsys: Capture, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with_exif(28))
    assert _fit(tmp_path / "a.jpg", "--out", tmp_path / "out", *words) == 2
    assert told in capsys.readouterr().err


@pytest.fixture
def mediapipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pretended:
    """A pretended one that sees two walkers, with a file of models in the working folder."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "pose_landmarker.task", "w") as archive:
        for name in ("pose_detector.tflite", "pose_landmarks_detector.tflite"):
            archive.writestr(name, b"model")
    monkeypatch.chdir(tmp_path)
    told = install(monkeypatch)
    names = joint_set("mediapipe33").joints
    lsp_names = joint_set("lsp14").joints
    for points, aside_px in zip(lsp_points(2), (-90.0, 90.0), strict=True):
        by_name = {name: (points[k] + (aside_px, 0, 0)) for k, name in enumerate(lsp_names)}
        joints = [by_name.get(name, np.zeros(3)) for name in names]
        told.people.append([((x + 0.5) / SIZE[0], (y + 0.5) / SIZE[1], v) for x, y, v in joints])
    told.world = [(float("nan"),) * 3] * 33
    return told


def test_everybody_in_a_photograph_gets_a_body(mediapipe: Pretended, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "party.jpg").write_bytes(jpeg_with_exif(33))
    assert _fit("party.jpg", "--placed") == 0
    out = tmp_path / "fits"
    assert sorted(path.name for path in out.iterdir()) == [
        *("party.obj", "party.pkl", "party_overlay.png", "party_person1.obj", "party_person1.pkl"),
    ]
    first, second = _read(out / "party.pkl"), _read(out / "party_person1.pkl")
    assert first["f"][0] == pytest.approx(33 / 43.2666 * 800)
    left, right = sorted((first, second), key=lambda each: each["cam_t"][0])  # the larger one comes first
    assert left["cam_t"][0] < -0.2 < 0.2 < right["cam_t"][0]
    text = (out / "party.obj").read_text()
    vertices = np.array([line.split()[1:] for line in text.splitlines() if line.startswith("v ")], float)
    assert vertices[:, 2].mean() > 1.5  # where the camera saw them
    assert mediapipe.options[-1].num_poses == 10
    assert "2 bodies from 1 picture: fits" in capsys.readouterr().out
    assert _fit("party.jpg", "--placed") == 0
    assert "1 were done before" in capsys.readouterr().out


def test_people_who_are_not_found_again_leave_no_bodies(mediapipe: Pretended, tmp_path: Path) -> None:
    (tmp_path / "party.jpg").write_bytes(jpeg_with_exif(33))
    (tmp_path / "party_person2.jpg").write_bytes(jpeg_with_exif(33))
    for name in ("party.jpg", "party_person2.jpg"):
        assert _fit(name) == 0
    mediapipe.people.pop()
    assert _fit("party.jpg", "--again") == 0
    left = sorted(path.name for path in (tmp_path / "fits").glob("*.pkl"))
    # The third is of another picture, whatever it is called.
    assert left == ["party.pkl", "party_person2.pkl", "party_person2_person1.pkl"]


def test_a_photograph_of_nobody_and_one_that_is_none(
    mediapipe: Pretended, tmp_path: Path, capsys: Capture
) -> None:
    mediapipe.people.clear()
    (tmp_path / "a.jpg").write_bytes(jpeg_with_exif(33))
    assert _fit("a.jpg", "b.jpg") == 3
    told = capsys.readouterr()
    assert "a.jpg: nobody is seen in it" in told.err
    assert "cannot read b.jpg" in told.err
    (tmp_path / "a.png").touch()
    assert _fit("a.jpg", "a.png") == 2
    assert "results of one name" in capsys.readouterr().err


@pytest.mark.usefixtures("mediapipe")
def test_without_mediapipe_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    (tmp_path / "a.jpg").write_bytes(jpeg_with_exif(33))
    assert _fit("a.jpg") == 1
    assert "[mediapipe]" in capsys.readouterr().err


def test_keeping_out_of_oneself_is_a_setting(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture
) -> None:
    images, joints, _ = lsp
    sizes = {"betas2lens": np.zeros((11, 20)), "betas2rads": np.zeros((11, 20))}
    sizes["betas2lens"][-1], sizes["betas2rads"][-1] = 0.3, 0.3  # so thick that everything touches
    np.savez(tmp_path / "regressors_locked_normalized_hybrid.npz", **sizes)
    thick = [images, "--joints", joints, "--capsules", tmp_path]
    for name, words in (
        ("on", [images, "--joints", joints]),
        ("off", [images, "--joints", joints, "--no-interpenetration"]),
        ("thick", thick),
    ):
        assert _fit(*words, "--out", tmp_path / name) == 0
    poses = [_read(tmp_path / name / "0000.pkl")["pose"] for name in ("on", "off", "thick")]
    assert np.abs(poses[0] - poses[2]).max() > 0.05
    assert np.abs(poses[0] - poses[1]).max() < 0.5
    capsys.readouterr()
    assert _fit(*thick, "--out", tmp_path / "on") == 0
    assert "of other settings" in capsys.readouterr().err
    assert _fit(*thick, "--no-interpenetration", "--out", tmp_path / "x") == 2
    assert "--capsules" in capsys.readouterr().err
    assert _fit(*thick[:-1], joints, "--out", tmp_path / "x") == 1
    assert "betas2lens" in capsys.readouterr().err


def test_a_users_prior_moves_the_pose(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture
) -> None:
    images, joints, _ = lsp
    prior = {"means": np.full((1, 69), 0.3), "covars": 0.02 * np.eye(69)[None], "weights": np.ones(1)}
    path = smpl_imitation.write_pickle(tmp_path / "gmm_08.pkl", prior)
    assert _fit(images, "--joints", joints, "--out", tmp_path / "ours") == 0
    assert _fit(images, "--joints", joints, "--prior", path, "--out", tmp_path / "theirs") == 0
    ours, theirs = (_read(tmp_path / name / "0000.pkl")["pose"] for name in ("ours", "theirs"))
    assert np.abs(theirs[3:] - 0.3).mean() < np.abs(ours[3:] - 0.3).mean() - 0.05
    path.write_bytes(b"no prior")
    assert _fit(images, "--joints", joints, "--prior", path, "--out", tmp_path / "x") == 1
    assert "gmm_08.pkl is no pose prior" in capsys.readouterr().err


def test_files_that_changed_under_their_names_are_told(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture
) -> None:
    images, joints, points = lsp
    command = [images, "--joints", joints, "--out", tmp_path / "out"]
    assert _fit(*command) == 0
    capsys.readouterr()
    assert _fit(*command) == 0
    told = capsys.readouterr()
    assert "3 were done before" in told.out
    assert "other settings" not in told.err
    write_est_joints(joints, points + 5.0)
    assert _fit(*command) == 0
    assert capsys.readouterr().err.count("of other settings") == 3
    write_est_joints(joints, points)
    first = sorted(images.iterdir())[0]
    first.write_bytes(sorted(images.iterdir())[1].read_bytes())
    assert _fit(*command) == 0
    assert capsys.readouterr().err.count("of other settings") == 1
    first.unlink()
    first.with_name("im0003.jpg").unlink()
    assert _fit(*command) == 0
    told = capsys.readouterr()
    assert "3 were done before" in told.out
    assert "other settings" not in told.err


@pytest.mark.parametrize("line", ["--1", "9" * 5000, "1e3", "+-1"])
def test_odd_numbers_of_genders_are_one_line(
    lsp: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: Capture, line: str
) -> None:
    (tmp_path / "g.csv").write_text(f"0\n\n{line}\n1\n")
    assert _fit(lsp[0], "--joints", lsp[1], "--gender-file", tmp_path / "g.csv") == 2
    assert "g.csv, line 3: " in capsys.readouterr().err


def test_a_network_for_one_person_looks_at_the_whole_and_then_around_whom_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, lsp_names = joint_set("coco17").joints, joint_set("lsp14").joints
    by_name = dict(zip(lsp_names, lsp_points(1)[0], strict=True))
    seen = np.array([by_name.get(name, np.zeros(3)) for name in names])
    asked = []

    class Network:
        def detect(self, picture: np.ndarray, *, time_s: float, boxes_px: object = None) -> list[object]:
            asked.append(boxes_px)
            shift = 200.0 if boxes_px is None else 0.0  # it does not see well from afar
            index = None if boxes_px is None else 0
            return [PersonKeypoints("coco17", seen[:, :2] + shift, seen[:, 2], box_index=index)]

    def opened(kind: str, options: dict[str, str]) -> Network:
        assert (kind, options) == ("rtmpose", {"model": "net.onnx"})
        return Network()

    monkeypatch.setattr("capture.cli.fit.open_source", opened)
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(jpeg_with_exif(33))
    Path("net.onnx").touch()
    assert _fit("a.jpg", "--keypoints", "rtmpose", "--model-file", "net.onnx", "--focal-px", FOCAL_PX) == 0
    assert _error_px(_read(tmp_path / "fits" / "a.pkl"), lsp_points(1)[0]) < 15
    whole, (box,) = asked
    assert whole is None
    shown = seen[seen[:, 2] > 0, :2] + 200.0
    assert (np.array(box[:2]) < shown.min(axis=0)).all()
    assert (np.array(box[2:]) > shown.max(axis=0)).all()


def test_a_network_of_another_kind_is_refused_by_name(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed", exc_type=ImportError)
    (tmp_path / "a.jpg").write_bytes(jpeg_with_exif(33))
    path = tmp_path / "net.onnx"
    path.write_bytes(simcc_of_the_reddest(17))
    command = [tmp_path / "a.jpg", "--model-file", path, "--out", tmp_path / "out", "--keypoints"]
    assert _fit(*command, "movenet") == 2
    assert f"{path} is not a model for it" in capsys.readouterr().err
    assert _fit(*command, "rtmpose") == 3
    assert "a.jpg: nobody is seen in it" in capsys.readouterr().err
