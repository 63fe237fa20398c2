"""Detections that lie in files: every layout, and what is refused."""

from __future__ import annotations

import contextlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from capture.keypoints import open_source
from capture.keypoints.detection_files import FileSource
from capture.keypoints.joint_sets import to_lsp14
from codec.errors import ConfigError, EstimatorError, NightrigError, NotOurFileError, StorageError

BLANK = np.zeros((2, 2, 3), np.uint8)


def _joints(pictures: int, count: int = 14) -> np.ndarray:
    """(pictures, count, 3) of x, y, confidence; no two alike."""
    values = np.random.default_rng(pictures * count).uniform(10, 400, (pictures, count, 3))
    values[..., 2] = np.linspace(0.1, 0.9, pictures * count).reshape(pictures, count)
    return values


def _saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("rows", [3, 5, 28])
def test_smplify_s_joints_of_every_number_of_rows(tmp_path: Path, rows: int) -> None:
    told = _joints(7)
    array = np.full((rows, 14, 7), -1.0)
    array[:3] = told.transpose(2, 1, 0)
    source = FileSource(path=_saved(tmp_path / "est_joints.npz", est_joints=array))
    assert len(source) == 7
    for number in range(7):
        (person,) = source.detect(BLANK, time_s=0.0, number=number)
        assert person.joint_set == "lsp14"
        assert np.array_equal(person.points_px, told[number, :, :2])
        assert np.array_equal(person.confidences, told[number, :, 2])
    assert source.detect(BLANK, time_s=0.0, number=7) == []
    assert source.detect(BLANK, time_s=0.0, number=-1) == []


@pytest.mark.parametrize("array", [_joints(1)[0], _joints(1)[0].T])
def test_smplify_s_joints_of_a_single_picture(tmp_path: Path, array: np.ndarray) -> None:
    (person,) = FileSource(path=_saved(tmp_path / "a.npz", est_joints=array)).people(0)
    assert np.array_equal(person.points_px, _joints(1)[0, :, :2])


def test_a_bare_array_is_in_cpm_s_order_without_confidences(tmp_path: Path) -> None:
    told = _joints(1)[0, :, :2]
    np.save(tmp_path / "joints.npy", told.T)
    (person,) = FileSource(path=tmp_path / "joints.npy").people(0)
    assert person.joint_set == "cpm14"
    points, confidences = to_lsp14(person.joint_set, person.points_px, person.confidences)
    assert np.array_equal(points, told[[13, 12, 11, 8, 9, 10, 7, 6, 5, 2, 3, 4, 1, 0]])
    assert np.array_equal(confidences, np.ones(14))
    (said,) = FileSource(path=tmp_path / "joints.npy", joint_set="lsp14").people(0)
    assert said.joint_set == "lsp14"


@pytest.mark.parametrize("key", ["keypoints", "positions_2d"])
@pytest.mark.parametrize(("count", "name"), [(17, "coco17"), (26, "halpe26"), (33, "mediapipe33")])
def test_plain_arrays_by_picture(tmp_path: Path, key: str, count: int, name: str) -> None:
    told = _joints(4, count)
    for array, trusted in ((told, True), (told[..., :2], False), (told[:, np.newaxis], True)):
        (person,) = FileSource(path=_saved(tmp_path / "a.npz", **{key: array})).people(2)
        assert person.joint_set == name
        assert np.array_equal(person.points_px, told[2, :, :2])
        assert np.array_equal(person.confidences, told[2, :, 2] if trusted else np.ones(count))


def test_detectron_s_rows_and_several_people_of_whom_one_is_missing(tmp_path: Path) -> None:
    told = _joints(3, 17)
    rows = np.full((3, 2, 4, 17), np.nan)
    rows[:, 0, 0], rows[:, 0, 1], rows[:, 0, 3] = told[..., 0], told[..., 1], told[..., 2]
    rows[1, 1], rows[1, 1, 2] = rows[1, 0], np.nan  # a second one in one picture
    rows[:, 0, 2] = 77  # the logit
    source = FileSource(path=_saved(tmp_path / "a.npz", keypoints=rows, boxes=np.zeros((3, 5))))
    assert [len(source.people(number)) for number in range(3)] == [1, 2, 1]
    assert np.array_equal(source.people(0)[0].confidences, told[0, :, 2])


def test_pictures_are_told_by_number_or_by_time(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.npz", keypoints=_joints(5, 17))
    third = FileSource(path=path).people(2)[0].points_px

    def found(time_s: float, number: int | None = None, **options: object) -> np.ndarray:
        source = open_source("file", {"path": str(path), **options})
        return source.detect(BLANK, time_s=time_s, number=number)[0].points_px

    assert np.array_equal(found(9.9, 2), third)
    assert np.array_equal(found(9.9, 3, first=1), third)
    assert np.array_equal(found(0.081, fps=25), third)
    with pytest.raises(EstimatorError, match="no number to find it by; set fps"):
        found(0.0)
    with pytest.raises(EstimatorError, match="no time to find it by"):
        found(float("nan"), fps=25)
    with pytest.raises(ConfigError, match=r"fps = 0\.0"):
        found(0.0, fps=0)


def test_a_closed_source_has_nobody(tmp_path: Path) -> None:
    source = FileSource(path=_saved(tmp_path / "a.npz", keypoints=_joints(5, 17)))
    source.close()
    source.close()
    assert source.people(0) == []
    assert len(source) == 0


class _Ran(Exception):
    pass


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, (
            "raise __import__('tests.capture.keypoints.test_detection_files', fromlist=['x'])._Ran",
        )


def _objects(*items: object) -> np.ndarray:
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_detectron_s_inference_writes(tmp_path: Path, save: Callable[..., None]) -> None:
    """A list of [nothing, people] for each picture; nobody is an empty list or an empty array."""
    rng = np.random.default_rng(0)
    people = [rng.uniform(0, 1, (count, 4, 17)).astype(np.float32) for count in (1, 3)]
    pictures = _objects([[], people[0]], [[], []], [[], people[1]], [[], np.zeros((0, 4, 17))])
    save(
        tmp_path / "video.mp4.npz",
        boxes=_objects(*[[[], np.zeros((1, 5))]] * 4),
        segments=np.array(None),
        keypoints=pictures,
        metadata=np.array({"w": 640, "h": 480}),
    )
    source = FileSource(path=tmp_path / "video.mp4.npz")
    assert len(source) == 4
    assert [len(source.people(k)) for k in range(4)] == [1, 0, 3, 0]
    for person, told in zip(source.people(2), people[1], strict=True):
        assert person.joint_set == "coco17"
        assert np.allclose(person.points_px, told[:2].T)
        assert np.allclose(person.confidences, told[3])


def test_pictures_whose_lists_numpy_took_for_columns(tmp_path: Path) -> None:
    pictures = np.empty((3, 2), dtype=object)
    for k in range(3):
        pictures[k] = [[], np.full((1, 4, 17), k + 0.5)]
    np.savez(tmp_path / "a.npz", keypoints=pictures)
    source = FileSource(path=tmp_path / "a.npz")
    assert [source.people(k)[0].points_px[0, 0] for k in range(3)] == [0.5, 1.5, 2.5]


def test_what_videopose3d_prepares(tmp_path: Path) -> None:
    points = np.random.default_rng(1).uniform(0, 500, (5, 17, 2)).astype(np.float32)
    videos = {"walk.mp4": {"custom": [points]}}
    np.savez(tmp_path / "data_2d_custom_a.npz", positions_2d=np.array(videos), metadata=np.array({"n": 17}))
    source = FileSource(path=tmp_path / "data_2d_custom_a.npz")
    assert len(source) == 5
    assert np.allclose(source.people(3)[0].points_px, points[3])
    videos["run.mp4"] = {"custom": [points]}
    np.savez(tmp_path / "two.npz", positions_2d=np.array(videos))
    with pytest.raises(NotOurFileError, match=r"two\.npz: positions_2d holds 2 videos \(walk\.mp4/custom/0"):
        FileSource(path=tmp_path / "two.npz")


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        (_objects([[], np.zeros((1, 4, 17))], [[], np.zeros((1, 3, 17))]), "the people of keypoints are"),
        (_objects([[], np.zeros((4, 17))]), r"picture 0 of keypoints is \(4, 17\)"),
        (_objects([[], "people"]), "picture 0 of keypoints is str"),
        (_objects([[], []]), "nobody at all"),
        (_objects(), "holds a list"),
        (np.array({"a": 1}), "holds no {video"),
        (np.array(7, dtype=object), "holds a int"),
    ],
)
def test_objects_of_another_layout_are_refused(tmp_path: Path, pictures: np.ndarray, told: str) -> None:
    np.savez(tmp_path / "a.npz", keypoints=pictures)
    with pytest.raises(NotOurFileError, match=told) as caught:
        FileSource(path=tmp_path / "a.npz")
    assert "a.npz" in str(caught.value)


def test_pickled_objects_are_refused_before_they_run(tmp_path: Path) -> None:
    """Detectron's own layout: one list of arrays per picture."""
    objects = _objects(_Harmful(), [np.zeros((1, 4, 17))])
    np.savez(tmp_path / "a.npz", boxes=objects, keypoints=objects)
    with pytest.raises(NotOurFileError, match=r"a\.npz: keypoints is refused at byte"):
        FileSource(path=tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(_Harmful()))
    for name in ("a.npy", "a.pkl"):
        with pytest.raises(NotOurFileError, match="Python objects"):
            FileSource(path=tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"poses": np.zeros((3, 17, 3))},
            "has none of the arrays est_joints, keypoints, positions_2d; it has poses",
        ),
        ({"keypoints": np.zeros((3, 18, 3))}, "18 joints, as none of our joint sets has"),
        ({"keypoints": np.zeros((3, 17, 5))}, "is neither"),
        ({"keypoints": np.zeros(17)}, "is neither"),
        ({"keypoints": np.array(["a", "b"])}, "not numbers"),
        ({"keypoints": np.zeros((3, 17, 3), complex)}, "not numbers"),
        ({"est_joints": np.zeros((2, 14, 9))}, r"is not \(3 or more rows, 14 joints of lsp14"),
        ({"est_joints": np.zeros((5, 13, 9))}, r"\(5, 13, 9\) is not"),
    ],
)
def test_another_layout_is_told(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises((NotOurFileError, ConfigError), match=message) as caught:
        FileSource(path=_saved(tmp_path / "a.npz", **arrays))
    assert "a.npz" in str(caught.value)


def test_a_joint_set_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.npz", keypoints=np.zeros((3, 17, 3)))
    with pytest.raises(ConfigError, match="17 joints, and halpe26 has 26"):
        FileSource(path=path, joint_set="halpe26")
    with pytest.raises(ConfigError, match="no joint set 'coco'"):
        FileSource(path=path, joint_set="coco")


def test_an_absent_file_and_one_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*absent\.npz: No such file"):
        FileSource(path=tmp_path / "absent.npz")
    for content in (b"", b"text", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'shape': (2,"):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(NotOurFileError, match=r"a\.npy"):
            FileSource(path=tmp_path / "a.npy")


def test_damage_anywhere_is_an_error_of_ours_or_other_numbers(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.npz", keypoints=_joints(2, 17))
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        path.write_bytes(
            bytes(damaged[: int(rng.integers(1, len(whole) + 1))]) if rng.random() < 0.3 else damaged
        )
        with contextlib.suppress(NightrigError):
            FileSource(path=path).people(0)


def test_an_archive_that_unpacks_to_gigabytes_is_refused_by_its_listing(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("keypoints.npy", "w") as entry,
    ):
        for _ in range(65):
            entry.write(bytes(16 << 20))
    with pytest.raises(NotOurFileError, match=r"keypoints\.npy unpacks to more than 1 GiB"):
        FileSource(path=path)


def _openpose(folder: Path, number: int, people: list[list[float]]) -> None:
    told = {"version": 1.3, "people": [{"pose_keypoints_2d": each} for each in people]}
    (folder / f"video_{number:012d}_keypoints.json").write_text(json.dumps(told))


def test_a_folder_of_openpose_s(tmp_path: Path) -> None:
    told = _joints(2, 25)
    _openpose(tmp_path, 0, [told[0].ravel().tolist(), [], told[1].ravel().tolist()])
    _openpose(tmp_path, 4, [])
    (tmp_path / "notes.txt").write_text("mine")
    source = open_source("file", {"path": tmp_path})
    assert len(source) == 5  # type: ignore[arg-type]
    people = source.detect(BLANK, time_s=0.0, number=0)
    assert [person.joint_set for person in people] == ["body25", "body25"]
    assert np.array_equal(people[1].points_px, told[1, :, :2])
    assert source.detect(BLANK, time_s=0.0, number=4) == source.detect(BLANK, time_s=0.0, number=2) == []


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(NotOurFileError, match=r"has no file NAME_NUMBER_keypoints\.json"):
        FileSource(path=tmp_path)
    for content in (
        b"{",
        b"[]",
        b'{"people": [{}]}',
        b'{"people": [{"pose_keypoints_2d": [1, 2]}]}',
        b"[" * 99999,
    ):
        (tmp_path / "video_000000000000_keypoints.json").write_bytes(content)
        with pytest.raises(NotOurFileError, match=r"video_000000000000_keypoints\.json is no key point file"):
            FileSource(path=tmp_path).people(0)
