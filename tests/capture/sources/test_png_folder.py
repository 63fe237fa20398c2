"""Folders of depth PNGs as cameras, and which source a recording's path leads to."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from capture.cli import main
from capture.frames import CameraInfo, Frame, Intrinsics, StreamInfo
from capture.sources._cv_quiet import cv2
from capture.sources._png_folder import PngFolderSource
from capture.sources.playback import open_playback
from capture.specs import PlaybackSpec
from codec.depth import get_codec
from codec.errors import (
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    ConfigError,
    SourceEndedError,
)
from codec.records import RecordWriter
from codec.records.layout import FRAME, pack_record
from tests.capture.make_session import START_NS, describe

WIDTH, HEIGHT = 64, 48


def depth(number: int) -> npt.NDArray[np.uint16]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray(1000 + 700 * number + rows * 3 + columns, np.uint16)


def color(number: int) -> npt.NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8)


def write(path: Path, image: npt.NDArray[np.generic]) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image)


def open3d_folder(folder: Path, count: int, suffix: str = "jpg") -> Path:
    for number in range(count):
        write(folder / "depth" / f"{number:06d}.png", depth(number))
        write(folder / "color" / f"{number:06d}.{suffix}", color(number))
    matrix = [60.0, 0, 0, 0, 61.0, 0, 31.5, 23.5, 1]
    facts = {"width": WIDTH, "height": HEIGHT, "intrinsic_matrix": matrix}
    (folder / "camera_intrinsic.json").write_text(json.dumps(facts))
    return folder


TUM_START = 1305031102.160407


def tum_folder(folder: Path, depth_count: int, color_count: int) -> Path:
    """Depth each 33 ms, colour 10 ms after it, stamped as the data set does."""
    for name, kind, count, lag_s in (("depth", depth, depth_count, 0.0), ("rgb", color, color_count, 0.01)):
        lines = ["# pictures", f"# file: {name}"]
        for number in range(count):
            stamp = f"{TUM_START + number / 30 + lag_s:.6f}"
            write(folder / name / f"{stamp}.png", kind(number))
            lines.append(f"{stamp} {name}/{stamp}.png")
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def play(folder: Path, pace: str = "fast", **settings: object) -> tuple[CameraInfo, list[Frame]]:
    source = open_playback("cam", PlaybackSpec(str(folder), pace, **settings))  # type: ignore[arg-type]
    info = source.open()
    frames: list[Frame] = []
    try:
        while len(frames) < 100:
            frames += source.read(5.0)
    except SourceEndedError:
        pass
    source.close()
    return info, frames


def of(frames: list[Frame], stream: str) -> list[Frame]:
    return [frame for frame in frames if frame.stream == stream]


def test_an_open3d_folder_comes_back_bit_for_bit_with_its_intrinsics(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 5)
    info, frames = play(folder, fps=10.0)
    assert info.can_wait
    depth_info, color_info = info.streams
    intrinsics = Intrinsics(WIDTH, HEIGHT, 60.0, 61.0, 31.5, 23.5)
    assert (depth_info.name, depth_info.pixel_format, depth_info.depth_scale_m) == ("depth", "z16", 0.001)
    assert (color_info.name, color_info.pixel_format, color_info.depth_scale_m) == ("color", "jpeg", None)
    assert depth_info.intrinsics == color_info.intrinsics == intrinsics
    assert (depth_info.width, depth_info.height, depth_info.fps) == (WIDTH, HEIGHT, 10.0)
    for number, (depth_frame, color_frame) in enumerate(
        zip(of(frames, "depth"), of(frames, "color"), strict=True)
    ):
        assert depth_frame.number == color_frame.number == number
        assert depth_frame.device_time_s == color_frame.device_time_s == pytest.approx(number / 10)
        np.testing.assert_array_equal(depth_frame.data, depth(number))
        assert color_frame.data.tobytes() == (folder / "color" / f"{number:06d}.jpg").read_bytes()
    assert len(frames) == 10


def test_open3ds_own_intrinsic_file_gives_the_depth_scale_and_the_user_overrules_it(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 1)
    facts = json.loads((folder / "camera_intrinsic.json").read_text()) | {"depth_scale": 4000.0}
    (folder / "camera_intrinsic.json").rename(folder / "intrinsic.json")
    (folder / "intrinsic.json").write_text(json.dumps(facts))
    assert play(folder)[0].streams[0].depth_scale_m == 0.00025
    assert play(folder, depth_scale_m=0.01)[0].streams[0].depth_scale_m == 0.01


def test_an_exported_recording_plays_back_with_its_scale_and_its_times(tmp_path: Path) -> None:
    stream = StreamInfo("depth", "z16", WIDTH, HEIGHT, 30.0, None, 0.0001)
    path, out, came_ms = tmp_path / "000.nrig", tmp_path / "out", (0, 100, 200, 900)
    writer = RecordWriter(path, info={"camera": "front", "segment": 0})
    describe(writer, CameraInfo("front", "simulated", "Test camera", (stream,)))
    for number, at_ms in enumerate(came_ms):
        encoder = get_codec("lz4")
        writer.append(
            pack_record(
                FRAME,
                encoder.encode(depth(number)),
                codec=encoder.id,
                epoch=1,
                monotonic_ns=START_NS + at_ms * 1_000_000,
                width=WIDTH,
                height=HEIGHT,
                number=number,
                raw_length=2 * WIDTH * HEIGHT,
            )
        )
    writer.seal()
    writer.close()
    assert main(["export", str(path), "--format", "png", "--out", str(out)]) == 0
    info, frames = play(out)
    assert (info.streams[0].depth_scale_m, info.streams[0].fps) == (0.0001, 10.0)
    assert [frame.device_time_s for frame in frames] == [ms / 1000 for ms in came_ms]
    np.testing.assert_array_equal(frames[3].data, depth(3))
    assert play(out, depth_scale_m=0.01)[0].streams[0].depth_scale_m == 0.01
    (out / "times.csv").unlink()
    assert [frame.device_time_s for frame in play(out, fps=5.0)[1]] == pytest.approx([0, 0.2, 0.4, 0.6])
    (out / "streams.json").write_text("{")
    with pytest.raises(CameraProfileError, match=r"streams\.json cannot be read"):
        play(out)


def test_color_pngs_are_decoded(tmp_path: Path) -> None:
    info, frames = play(open3d_folder(tmp_path, 3, "png"))
    assert info.streams[1].pixel_format == "bgr8"
    for number, frame in enumerate(of(frames, "color")):
        np.testing.assert_array_equal(frame.data, color(number))


def test_depth_and_color_of_different_counts_keep_their_places_in_time(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 6)
    (folder / "color" / "000002.jpg").unlink()
    (folder / "depth" / "000005.png").unlink()
    _, frames = play(folder, fps=10.0)
    assert [frame.device_time_s for frame in of(frames, "depth")] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [frame.device_time_s for frame in of(frames, "color")] == pytest.approx([0, 0.1, 0.3, 0.4, 0.5])
    for stream in ("depth", "color"):
        assert [frame.number for frame in of(frames, stream)] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(of(frames, "depth")[4].data, depth(4))


def test_a_tum_folder_keeps_its_stamps_and_its_scale(tmp_path: Path) -> None:
    info, frames = play(tum_folder(tmp_path, 6, 4))
    assert [(s.name, s.pixel_format) for s in info.streams] == [("depth", "z16"), ("color", "bgr8")]
    assert info.streams[0].depth_scale_m == 0.0002
    assert info.streams[0].fps == pytest.approx(30, abs=0.01)
    stamps = [frame.device_time_s for frame in of(frames, "depth")]
    assert stamps == pytest.approx([round(TUM_START + n / 30, 6) for n in range(6)], rel=0, abs=1e-6)
    assert [frame.stream for frame in frames] == ["depth", "color"] * 4 + ["depth"] * 2
    assert {frame.clock for frame in frames} == {"media"}
    for number, frame in enumerate(of(frames, "depth")):
        np.testing.assert_array_equal(frame.data, depth(number))
    assert play(tmp_path, depth_scale_m=0.0005)[0].streams[0].depth_scale_m == 0.0005


def test_a_bare_folder_of_pngs_is_depth_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        write(tmp_path / f"frame_{number}.png", depth(number))
    info, frames = play(tmp_path, depth_scale_m=0.00025)
    assert [stream.name for stream in info.streams] == ["depth"]
    assert info.streams[0].depth_scale_m == 0.00025
    assert info.streams[0].intrinsics is None
    assert [int(frame.data[0, 0]) for frame in frames] == [1700, 2400, 8000]
    assert [frame.number for frame in frames] == [0, 1, 2]


def test_a_loop_counts_numbers_and_times_on(tmp_path: Path) -> None:
    _, frames = play(open3d_folder(tmp_path, 3), fps=10.0, loop=True)
    depth_frames = of(frames, "depth")
    assert [frame.number for frame in depth_frames] == list(range(50))
    assert [frame.device_time_s for frame in depth_frames] == pytest.approx(np.arange(50) / 10)
    np.testing.assert_array_equal(depth_frames[4].data, depth(1))


def test_a_picture_that_is_not_due_waits_and_is_not_lost(tmp_path: Path) -> None:
    source = PngFolderSource("cam", PlaybackSpec(str(open3d_folder(tmp_path, 2)), fps=2.0))
    source.open()
    assert len(source.read(0.0)) == 2
    assert source.read(0.0) == []
    assert [frame.number for frame in source.read(10.0)] == [1, 1]
    with pytest.raises(SourceEndedError):
        source.read(0.0)
    source.close()
    source.close()
    with pytest.raises(CameraLostError):
        source.read(0.0)


def test_a_damaged_picture_in_the_middle_is_named_and_nothing_is_skipped(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 4)
    whole = (folder / "depth" / "000002.png").read_bytes()
    (folder / "depth" / "000002.png").write_bytes(whole[: len(whole) // 2])
    source = PngFolderSource("cam", PlaybackSpec(str(folder), "fast"))
    source.open()
    assert [frame.number for _ in range(2) for frame in source.read(1.0)] == [0, 0, 1, 1]
    for _ in range(2):  # it stays an error: a reader that tries again does not get past it
        with pytest.raises(CameraProfileError, match=r"000002\.png: damaged"):
            source.read(1.0)
    source.close()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (depth(0).astype(np.uint8), r"000002\.png: 8 bits and 1 channels; depth is a PNG of 16 bits"),
        (color(1), r"000002\.png: 8 bits and 3 channels"),
        (depth(0)[:24], r"000002\.png is 64x24, the pictures before it are 64x48"),
    ],
)
def test_a_picture_that_is_not_like_the_others_is_named(
    tmp_path: Path, image: npt.NDArray[np.generic], words: str
) -> None:
    folder = open3d_folder(tmp_path, 3)
    write(folder / "depth" / "000002.png", image)
    with pytest.raises(CameraProfileError, match=words):
        play(folder)


def test_a_torn_jpeg_is_named_after_the_depth_beside_it_has_been_delivered(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 3)
    path = folder / "color" / "000001.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    source = PngFolderSource("cam", PlaybackSpec(str(folder), "fast"))
    source.open()
    assert [(frame.stream, frame.number) for _ in range(2) for frame in source.read(1.0)] == [
        ("depth", 0),
        ("color", 0),
        ("depth", 1),
    ]
    with pytest.raises(CameraProfileError, match=r"000001\.jpg: not a whole JPEG"):
        source.read(1.0)
    source.close()


def test_what_cannot_be_played_from_the_start_is_refused_at_open(tmp_path: Path) -> None:
    write(tmp_path / "eight" / "0.png", depth(0).astype(np.uint8))
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "depth.txt").write_text("# x\nnot a line at all\n")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "depth.txt").write_text("1.5 depth/missing.png\n")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "depth.txt").write_text("# nothing yet\n")
    open3d = tmp_path / "intrinsics"
    open3d.mkdir()
    (open3d_folder(open3d, 1) / "camera_intrinsic.json").write_text('{"width": 64}')
    cases = [
        ("eight", CameraProfileError, r"0\.png: 8 bits"),
        ("words", CameraProfileError, "depth.txt line 2: 'not a line at all' is not"),
        ("gone", CameraProfileError, r"depth.txt line 1: there is no file depth/missing\.png"),
        ("none", CameraNotFoundError, "holds no depth PNGs"),
        ("intrinsics", CameraProfileError, r"camera_intrinsic\.json is not an Open3D intrinsic"),
        ("absent", CameraNotFoundError, "there is no folder"),
    ]
    for name, kind, words in cases:
        source = PngFolderSource("cam", PlaybackSpec(str(tmp_path / name), "fast"))
        with pytest.raises(kind, match=words):
            source.open()
        source.close()
    with pytest.raises(ConfigError, match="above 0"):
        PngFolderSource("cam", PlaybackSpec(str(tmp_path), fps=0.0))


# ---- which source a path leads to ----


def test_recordings_lead_to_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str, PlaybackSpec]] = []
    for module_name, class_name in (("_bag", "BagSource"), ("_recording", "RecordingSource")):
        module = ModuleType(module_name)

        def make(name: str, spec: PlaybackSpec, class_name: str = class_name) -> None:
            made.append((class_name, name, spec))

        setattr(module, class_name, make)
        monkeypatch.setitem(sys.modules, f"capture.sources.{module_name}", module)
    (tmp_path / "camera").mkdir()
    for file in ("a.bag", "b.db3", "c.nrig", "camera/000.nrig"):
        (tmp_path / file).touch()
    paths = [tmp_path / name for name in ("a.bag", "b.db3", "c.nrig", "camera")]
    for path in paths:
        open_playback("cam", PlaybackSpec(str(path)))
    assert [kind for kind, _, _ in made] == ["BagSource", "BagSource", "RecordingSource", "RecordingSource"]
    assert [Path(spec.path) for _, _, spec in made] == paths


def test_what_is_no_recording_is_told_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "session" / "front").mkdir(parents=True)
    (tmp_path / "session" / "front" / "000.nrig").touch()
    (tmp_path / "session" / "session.json").touch()
    (tmp_path / "empty").mkdir()
    for file in ("a.mp4", "a.txt"):
        (tmp_path / file).touch()
    cases = [
        ("absent", CameraNotFoundError, "there is no recording"),
        ("session", ConfigError, "name one of its cameras: front"),
        ("empty", ConfigError, r"holds no recording; .*\.bag, \.db3.*\.nrig.*depth PNGs"),
        ("a.mp4", ConfigError, "is a video: play it with an opencv camera"),
        ("a.txt", ConfigError, r"is no recording; .*depth PNGs"),
    ]
    for name, kind, words in cases:
        with pytest.raises(kind, match=words):
            open_playback("cam", PlaybackSpec(str(tmp_path / name)))


def test_a_picture_that_claims_to_be_gigabytes_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    folder = tum_folder(tmp_path, 3, 3)
    second = sorted((folder / "depth").iterdir())[1]
    whole = bytearray(second.read_bytes())
    whole[16:24] = (30_000).to_bytes(4, "big") * 2
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    second.write_bytes(whole)
    source = PngFolderSource("p", PlaybackSpec(str(folder), pace="fast"))
    source.open()
    assert [frame.stream for frame in source.read(1.0)] == ["depth"]
    assert [frame.stream for frame in source.read(1.0)] == ["color"]
    with pytest.raises(CameraProfileError, match=rf"{second.name}: damaged, it claims 30000x30000 pixels"):
        source.read(1.0)


def test_names_in_a_list_that_are_none_are_files_that_are_not_there(tmp_path: Path) -> None:
    folder = tum_folder(tmp_path, 2, 0)
    (folder / "depth.txt").write_text(f"1.0 depth/{'[' * 2000}.png\n")
    with pytest.raises(CameraProfileError, match=r"line 1: there is no file depth/\[+\.\.\.$"):
        PngFolderSource("p", PlaybackSpec(str(folder))).open()


@pytest.mark.parametrize("name", ["camera_intrinsic.json", "streams.json"])
def test_a_nest_of_brackets_is_no_json(tmp_path: Path, name: str) -> None:
    (open3d_folder(tmp_path, 2) / name).write_text("[" * 100_000)
    with pytest.raises(CameraProfileError, match=name):
        PngFolderSource("p", PlaybackSpec(str(tmp_path))).open()


def test_times_beyond_all_numbers_are_passed_over(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 2)
    (folder / "times.csv").write_text(f"file,depth_monotonic_ns\n0,0\n1,{10**400}\n")
    frames = play(folder)[1]
    assert [frame.device_time_s for frame in of(frames, "depth")] == pytest.approx([0.0, 1 / 30])


def test_times_that_give_no_rate_leave_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 2)
    (folder / "times.csv").write_text(f"file,depth_monotonic_ns\n0,0\n1,{10**17}\n")
    info, frames = play(folder, fps=15.0)
    assert info.streams[0].fps == 15.0
    assert of(frames, "depth")[1].device_time_s == pytest.approx(1e8)


def test_a_scale_that_is_none_is_passed_over(tmp_path: Path) -> None:
    folder = open3d_folder(tmp_path, 2)
    facts = json.loads((folder / "camera_intrinsic.json").read_text())
    (folder / "camera_intrinsic.json").write_text(json.dumps({**facts, "depth_scale": 1e-320}))
    (folder / "streams.json").write_text('{"streams": {"depth": {"depth_scale_m": 1e-320}}}')
    assert play(folder)[0].streams[0].depth_scale_m == 0.001
