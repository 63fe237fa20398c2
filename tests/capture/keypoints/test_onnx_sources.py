"""RTMPose and MoveNet, with networks of a few nodes in place of real ones, run by the real onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from capture.keypoints import KeypointSource, open_source
from capture.keypoints.rtmpose import decode_simcc
from codec.errors import ConfigError, EstimatorError, MissingExtraError
from tests.capture.keypoints import tiny_onnx

BOX = (200.0, 100.0, 300.0, 350.0)


def _runtime() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed", exc_type=ImportError)


def _picture(at: tuple[int, int] = (260, 170), *, radius: int = 6) -> np.ndarray:
    """640 x 480 with a red spot, and blue, white-ish green and darker red elsewhere, which are not as red."""
    rows, columns = np.mgrid[:480, :640]
    picture = np.full((480, 640, 3), 40, np.uint8)
    picture[300:340, 220:240] = (255, 255, 100)
    picture[120:140, 210:230] = (255, 0, 0)
    picture[np.hypot(columns - at[0], rows - at[1]) <= radius] = (0, 0, 250)
    return picture


def _open(tmp_path: Path, kind: str, data: bytes, **options: object) -> KeypointSource:
    _runtime()
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    return open_source(kind, {"model": path, **options})


RTM17 = tiny_onnx.simcc_of_the_reddest(17)


@pytest.mark.parametrize(("joints", "joint_set"), [(17, "coco17"), (26, "halpe26")])
def test_rtmpose_finds_the_spot_of_a_box_where_it_is_in_the_picture(
    tmp_path: Path, joints: int, joint_set: str
) -> None:
    source = _open(tmp_path, "rtmpose", tiny_onnx.simcc_of_the_reddest(joints))
    (person,) = source.detect(_picture(), time_s=0.0, boxes_px=[BOX])
    assert person.joint_set == joint_set
    assert person.points_px.shape == (joints, 2)
    assert np.abs(person.points_px - (260, 170)).max() < 8
    assert np.allclose(person.confidences, 0.2 * (250 - 123.675) / 58.395, atol=0.02)
    assert person.box_index == 0
    assert person.world_m is None
    source.close()


def test_rtmpose_takes_every_box_by_itself_and_the_whole_picture_without_one(tmp_path: Path) -> None:
    source = _open(tmp_path, "rtmpose", RTM17)
    picture = _picture()
    picture[400:420, 500:520] = (0, 0, 250)
    people = source.detect(picture, time_s=0.0, boxes_px=[BOX, (np.nan, 0, 1, 1), (450, 350, 580, 470)])
    assert [person.box_index for person in people] == [0, 2]
    assert np.abs(people[1].points_px - (509, 409)).max() < 12
    (person,) = source.detect(_picture(), time_s=0.0)
    assert person.box_index is None
    assert np.abs(person.points_px - (260, 170)).max() < 10


def test_rtmpose_with_free_sides_takes_the_usual_ones(tmp_path: Path) -> None:
    source = _open(tmp_path, "rtmpose", tiny_onnx.simcc_of_the_reddest(17, free=True))
    assert len(source.detect(_picture(), time_s=0.0, boxes_px=[BOX])) == 1


def test_nobody_is_where_nothing_is_trusted(tmp_path: Path) -> None:
    source = _open(tmp_path, "rtmpose", RTM17)
    assert source.detect(np.zeros((480, 640, 3), np.uint8), time_s=0.0, boxes_px=[BOX]) == []
    assert source.detect(np.zeros((480, 640), np.uint8), time_s=0.0) == []
    assert source.detect(_picture(), time_s=0.0, boxes_px=[]) == []
    assert source.detect(_picture(), time_s=0.0, boxes_px=[(9000, 9000, 9100, 9200)]) == []


@pytest.mark.parametrize("shape", [(4320, 7680, 3), (33_000, 60), (1, 1, 3)])
def test_pictures_of_every_size_are_taken(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = _open(tmp_path, "rtmpose", RTM17)
    picture = np.zeros(shape, np.uint8)
    assert source.detect(picture, time_s=0.0) == []
    assert source.detect(picture, time_s=0.0, boxes_px=[(0, 0, 30, 30), (-1e9, -1e9, 1e9, 1e9)]) == []


def test_what_is_no_picture_is_refused_and_the_next_one_is_taken(tmp_path: Path) -> None:
    source = _open(tmp_path, "rtmpose", RTM17)
    with pytest.raises(EstimatorError, match="is no picture"):
        source.detect(np.zeros((0, 0, 3), np.uint8), time_s=0.0)
    assert len(source.detect(_picture(), time_s=0.0, boxes_px=[BOX])) == 1


def test_outputs_that_are_no_numbers_are_nobody(tmp_path: Path) -> None:
    shapes = [[1, 17, 384], [1, 17, 512]]
    source = _open(tmp_path, "rtmpose", tiny_onnx.constant_outputs(shapes, float("nan")))
    assert source.detect(_picture(), time_s=0.0, boxes_px=[BOX]) == []


def test_histograms_become_pixels_and_the_lower_maximum_is_the_confidence() -> None:
    along_x, along_y = np.zeros((3, 400)), np.zeros((3, 600))
    along_x[0, 100], along_y[0, 30] = 0.9, 0.4
    along_x[1, 399], along_y[1, 599] = 1.3, 2.0
    along_x[2, 5] = np.nan
    points, confidences = decode_simcc(along_x, along_y, (200, 300))
    assert points[:2].tolist() == [[50, 15], [199.5, 299.5]]
    assert confidences.tolist() == [0.4, 1.0, 0.0]


@pytest.mark.parametrize("kind", [tiny_onnx.INT32, tiny_onnx.FLOAT, tiny_onnx.UINT8])
def test_movenet_finds_the_spot_in_a_box_and_in_the_whole(tmp_path: Path, kind: int) -> None:
    source = _open(tmp_path, "movenet", tiny_onnx.movenet_of_the_reddest(kind=kind))
    (boxed,) = source.detect(_picture(), time_s=0.0, boxes_px=[BOX])
    (whole,) = source.detect(_picture(), time_s=0.0)
    for person, near in ((boxed, 8), (whole, 8)):
        assert person.joint_set == "coco17"
        assert np.abs(person.points_px - (260, 170)).max() < near
        assert np.allclose(person.confidences, 250 / 255, atol=0.1)
    assert (boxed.box_index, whole.box_index) == (0, None)
    assert source.detect(np.zeros((480, 640, 3), np.uint8), time_s=0.0, boxes_px=[BOX]) == []
    source.close()


def test_movenet_for_several_people_leaves_out_those_who_are_not_there(tmp_path: Path) -> None:
    source = _open(tmp_path, "movenet", tiny_onnx.movenet_of_the_reddest(people=6, side=256))
    (person,) = source.detect(_picture(), time_s=0.0)
    assert np.abs(person.points_px - (260, 170)).max() < 8


@pytest.mark.parametrize("kind", ["rtmpose", "movenet"])
@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x06" + bytes(50), None])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, kind: str, content: bytes | None) -> None:
    _runtime()
    path = tmp_path / "wrong.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"wrong\.onnx"):
        open_source(kind, {"model": path})


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("rtmpose", tiny_onnx.movenet_of_the_reddest(), r"its picture is \(1, 192, 192, 3\)"),
        ("movenet", RTM17, r"its picture is \(1, 3, 256, 192\)"),
        ("rtmpose", tiny_onnx.simcc_of_the_reddest(133), "gives 133 joints; say with joint_set"),
        ("rtmpose", tiny_onnx.simcc_of_the_reddest(14), "gives 14 joints; say with joint_set"),
        ("rtmpose", tiny_onnx.constant_outputs([[1, 17, 384]], 0.0), "not two of"),
        ("rtmpose", tiny_onnx.constant_outputs([[1, 17, 64], [1, 17, 48]], 0.0), "for a picture of 192x256"),
        ("rtmpose", tiny_onnx.constant_outputs([[1, 17, 384], [1, 16, 512]], 0.0), "for a picture of"),
        ("rtmpose", RTM17[: len(RTM17) // 2], "is not a model for it"),
    ],
)
def test_a_network_of_another_kind_is_refused_when_it_is_opened(
    tmp_path: Path, kind: str, data: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _open(tmp_path, kind, data)
    assert "net.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_the_joint_set_can_be_said_and_must_fit(tmp_path: Path) -> None:
    data = tiny_onnx.simcc_of_the_reddest(14)
    source = _open(tmp_path, "rtmpose", data, joint_set="cpm14")
    assert source.detect(_picture(), time_s=0.0, boxes_px=[BOX])[0].joint_set == "cpm14"
    with pytest.raises(ConfigError, match="gives 14 joints, and coco17 has others"):
        _open(tmp_path, "rtmpose", data, joint_set="coco17")
    with pytest.raises(ConfigError, match="no joint set 'coco18'"):
        _open(tmp_path, "rtmpose", data, joint_set="coco18")
    with pytest.raises(ConfigError, match="threads = 0"):
        _open(tmp_path, "rtmpose", data, joint_set="cpm14", threads=0)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(RTM17)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for kind in ("rtmpose", "movenet"):
        with pytest.raises(MissingExtraError, match=r"needs onnxruntime, which is not installed: .*\[onnx\]"):
            open_source(kind, {"model": path})
