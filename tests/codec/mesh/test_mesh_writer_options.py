"""What BodycompressWriter can be asked for beyond its defaults, and what it takes as a frame."""

from __future__ import annotations

import importlib.util
import lzma
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_bodies import moving_bodies, worst_error_mm

from codec.errors import CodecError, DiskFullError, MissingExtraError, StorageError
from codec.mesh import Camera
from codec.mesh.bodycompress_reader import BodycompressReader
from codec.mesh.bodycompress_writer import BodycompressWriter
from codec.mesh.live_preset import LADDER
from codec.mesh.segment_compression import XzSegments, compress_xz

needs_zstandard = pytest.mark.skipif(
    importlib.util.find_spec("zstandard") is None, reason="the extra zstd is not installed"
)
both = pytest.mark.parametrize("compression", ["xz", pytest.param("zstd", marks=needs_zstandard)])


def frames_of(path: Path, **settings: Any) -> list[dict[str, Any]]:
    with BodycompressReader(path, **settings) as reader:
        frames = list(reader)
        assert (reader.complete, reader.closed, len(reader)) == (True, True, len(frames)), reader.note
    return frames


@pytest.mark.parametrize("preset", [None, 0, 4, 5, 9])
@pytest.mark.parametrize("order", [None, "auto", np.random.default_rng(0).permutation(300)], ids=str)
def test_xz_presets_and_orders(tmp_path: Path, preset: int | None, order: Any) -> None:
    vertices = moving_bodies(20, people=2)
    with BodycompressWriter(
        tmp_path / "mesh.xz", preset=preset, vertex_order=order, segment_s=3600
    ) as writer:
        for number, v in enumerate(vertices):
            writer.append(v)
            if number % 7 == 6:
                writer.flush()
        assert writer.preset == (1 if preset is None else preset)
    assert worst_error_mm(frames_of(writer.path), vertices) <= 0.2501


@needs_zstandard
@pytest.mark.parametrize("preset", [None, 1, 19])
@pytest.mark.parametrize("order", [None, np.random.default_rng(0).permutation(300)], ids=str)
def test_zstd_presets_and_orders(tmp_path: Path, preset: int | None, order: Any) -> None:
    vertices = moving_bodies(20, people=2)
    settings = {"preset": preset, "vertex_order": order, "compression": "zstd", "segment_s": 3600}
    with BodycompressWriter(tmp_path / "mesh.zst", metadata={"a": 1}, threads=4, **settings) as writer:  # type: ignore[arg-type]
        for number, v in enumerate(vertices):
            writer.append(v)
            if number % 7 == 6:
                writer.flush()
                with BodycompressReader(writer.path) as reader:
                    # Flushed frames are there for others while writing goes on, with nothing amiss.
                    assert len(list(reader)) == number + 1 == len(reader)
                    assert (reader.complete, reader.closed) == (True, False)
    assert worst_error_mm(frames_of(writer.path), vertices) <= 0.2501
    with BodycompressReader(writer.path) as reader:
        assert (reader.compression, reader.metadata) == ("zstd", {"a": 1})


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": 10},
        {"preset": -1},
        {"preset": True},
        {"preset": 1.5},
        {"preset": "best"},
        {"preset": "auto", "compression": "zstd"},
        {"preset": "auto", "cpu_budget": 0.0},
        {"compression": "zip"},
        {"compression": "zstd", "preset": 23},
        {"vertex_order": "human"},
        {"vertex_order": [0, 0]},
        {"threads": 0},
        {"fps": -1.0},
        {"quantization_mm": float("inf")},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_and_leave_no_file(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(CodecError):
        BodycompressWriter(tmp_path / "mesh.xz", **settings)
    assert list(tmp_path.iterdir()) == []


def test_without_zstandard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Path(__file__).parent / "golden" / "030-none.zst"
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"reading a mesh file .* -m pip install -e '.*\[zstd\]'"):
        BodycompressReader(golden)
    with pytest.raises(MissingExtraError, match="writing a mesh file"):
        BodycompressWriter(tmp_path / "mesh.zst", compression="zstd")
    assert list(tmp_path.iterdir()) == []


@both
def test_any_leading_axes_whole_numbers_and_frames_without_vertices(tmp_path: Path, compression: str) -> None:
    body = moving_bodies(1, people=6)[0]
    whole = np.arange(30, dtype=np.int16).reshape(10, 3) * 8
    frames: list[dict[str, Any]] = [
        {"vertices": body[0]},
        {"vertices": body.reshape(2, 3, 300, 3), "joints": body.reshape(2, 3, 300, 3)[:, :, :4]},
        {"joints": body[:, :7].astype(np.float16)},
        {"vertices": whole},
        {"vertices": whole.astype(np.uint64), "vertex_uncertainties": np.zeros(10)},
        {"vertices": body[:, :0], "joint_uncertainties": np.zeros((6, 0))},
        {"vertices": whole[::2, ::-1]},
        {"vertices": [[1, 2, 3], [4.5, 5, 6]]},
        {"number": 8},
        {},
    ]
    with BodycompressWriter(tmp_path / "mesh", compression=compression) as writer:
        for frame in frames:
            writer.append(**frame)
    for given, read in zip(frames, frames_of(writer.path), strict=True):
        assert given.keys() == read.keys()
        for name, value in given.items():
            assert np.shape(read[name]) == np.shape(value)
            np.testing.assert_allclose(read[name], np.asarray(value, float), atol=0.2501)


def test_what_does_not_fit_is_told_with_its_key(tmp_path: Path) -> None:
    body = moving_bodies(1, people=2)[0]
    with BodycompressWriter(tmp_path / "mesh.xz") as writer:
        for frame, complaint in (
            ({"vertices": body, "joints": body[0]}, "not of the same people"),
            ({"vertices": body[0] * np.nan}, "vertices has values that are not finite"),
            ({"joints": body[0] * 1e30}, r"joints has values .* too large for the grid of 0\.5 mm"),
            ({"joint_uncertainties": np.full((2, 2, 3), np.inf)}, "joint_uncertainties has values"),
            ({"vertices": body * 1j}, "vertices must be numbers"),
            ({"vertices": "body"}, "vertices must be numbers"),
            ({"camera": {"loc": 1}}, "camera"),
            ({"deep": {"a": [1, object()]}}, r"the frame\['deep'\]\['a'\]\[1\] is a object"),
        ):
            with pytest.raises(CodecError, match=rf"mesh\.xz: frame 0: .*{complaint}"):
                writer.append(**frame)  # type: ignore[arg-type]
        assert writer.frames_total == 0


def test_values_are_kept_as_far_as_32_bits_of_difference_reach(tmp_path: Path) -> None:
    # Coordinates beyond 2**30 steps are fine as long as neighbours are near, as they are for bodycompress.
    far = np.cumsum(np.full((1, 9, 3), 2.0**29), axis=1)
    steep = np.zeros((2, 4, 3))
    steep[1, 2] = 2.0**30
    steep[1, 3] = -(2.0**30)
    with BodycompressWriter(tmp_path / "mesh.xz") as writer:
        writer.append(far)
        writer.append(steep)
        writer.append(np.full((2, 2, 3), [[[1.0]], [[2.0**62]]]))
    first, second, third = frames_of(writer.path)
    np.testing.assert_array_equal(first["vertices"], far)
    assert first["vertices"].dtype == np.float64
    assert (second["rejected_people"], third["rejected_people"]) == ([1], [1])
    np.testing.assert_array_equal(third["vertices"], np.ones((1, 2, 3)))


def test_a_list_of_rejected_people_survives_copying(tmp_path: Path) -> None:
    body = moving_bodies(1, people=3)[0]
    body[1] = np.nan
    with BodycompressWriter(tmp_path / "first.xz") as writer:
        writer.append(body)
    (frame,) = frames_of(writer.path)
    with BodycompressWriter(tmp_path / "copy.xz") as writer:
        writer.append(**frame)
        frame["vertices"][0] = np.inf
        writer.append(**frame)
    first, second = frames_of(writer.path)
    assert first["rejected_people"] == [1]
    assert (second["rejected_people"], second["rejected_people_recorded"]) == ([0], [1])


@both
def test_cameras_go_in_as_objects_and_come_out_as_asked(tmp_path: Path, compression: str) -> None:
    camera = Camera(
        rotvec_w2c=np.array([0.0, 0.5, 0.0], np.float32),
        loc=np.array([1, 2, 3], np.float32),
        intr=np.array([[500, 0, 320], [0, 500, 240]], np.float32),
        up=np.array([0, -1, 0], np.float32),
        distcoef=np.array([0.1, 0.2, 0, 0, 0.3], np.float32),
        image_shape=(480, 640),
    )
    with BodycompressWriter(tmp_path / "mesh", compression=compression) as writer:
        writer.append(moving_bodies(1)[0], camera=camera)
    (frame,) = frames_of(writer.path)
    assert frame["camera"]["image_shape"] == [480, 640]
    (frame,) = frames_of(writer.path, decode_cameras=True)
    assert frame["camera"].image_shape == (480, 640)
    np.testing.assert_allclose(frame["camera"].R, camera.R, atol=1e-6)
    np.testing.assert_array_equal(frame["camera"].distcoef, camera.distcoef)


def test_segments_are_compressed_side_by_side_and_written_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, most = 0, 0
    lock = threading.Lock()

    def slow(self: XzSegments, data: bytes, level: int) -> bytes:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02 if busy == 1 else 0.001)  # the first one is the last to be ready
        with lock:
            busy -= 1
        return compress_xz(data, level)

    monkeypatch.setattr(XzSegments, "segment", slow)
    vertices = moving_bodies(60, points=10)
    with BodycompressWriter(tmp_path / "mesh.xz", segment_s=1e-9, threads=4) as writer:
        for number, v in enumerate(vertices):
            writer.append(v, number=number)
    assert most > 1
    frames = frames_of(writer.path)
    assert [frame["number"] for frame in frames] == list(range(60))
    assert worst_error_mm(frames, vertices) <= 0.2501


def test_a_failure_in_one_thread_ends_all_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: XzSegments, data: bytes, level: int) -> bytes:
        if b"poison" in data:
            raise MemoryError("no more")
        time.sleep(0.005)
        return compress_xz(data, level)

    monkeypatch.setattr(XzSegments, "segment", broken)
    writer = BodycompressWriter(tmp_path / "mesh.xz", segment_s=1e-9, threads=4)
    vertices = moving_bodies(60, points=10)

    def record() -> None:
        for number, v in enumerate(vertices):
            writer.append(v, number=number, what="poison" if number == 20 else "")
            time.sleep(0.001)
        writer.flush()

    with pytest.raises(CodecError, match="cannot compress"):
        record()
    writer.close()
    assert writer.frames_written <= 20
    with BodycompressReader(writer.path) as reader:
        assert len(list(reader)) == writer.frames_written
        assert not reader.closed
    with pytest.raises(CodecError, match="closed"):
        writer.append(vertices[0])


@both
def test_a_full_disk_leaves_every_frame_that_was_written(tmp_path: Path, compression: str) -> None:
    vertices = moving_bodies(40)
    writer = BodycompressWriter(tmp_path / "mesh", compression=compression, segment_s=3600)
    for v in vertices[:10]:
        writer.append(v)
    writer.flush()
    for v in vertices[10:]:
        writer.append(v)
    real = writer._file.append

    def full(*chunks: bytes) -> int:
        raise DiskFullError("cannot write to it: No space left on device")

    writer._file.append = full  # type: ignore[method-assign, assignment]
    with pytest.raises(DiskFullError):
        writer.flush()
    with pytest.raises(DiskFullError):
        writer.append(vertices[0])
    writer._file.append = real  # type: ignore[method-assign]
    writer.close()
    with BodycompressReader(writer.path) as reader:
        assert worst_error_mm(list(reader), vertices[:10]) <= 0.2501
        assert (reader.complete, reader.closed, writer.frames_written) == (True, False, 10)
        assert len(reader[-1]["vertices"]) == 1


def test_more_values_than_a_reader_takes_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.mesh.bodycompress_frames._MAX_POINT_VALUES", 899)
    with (
        BodycompressWriter(tmp_path / "mesh.xz") as writer,
        pytest.raises(CodecError, match="vertices has 900 values, the most is 899"),
    ):
        writer.append(moving_bodies(1)[0])


def test_auto_begins_low_and_settles_by_what_it_measures(tmp_path: Path) -> None:
    vertices = moving_bodies(60)
    for budget, wanted in ((1e-9, LADDER[0]), (1e9, LADDER[-1])):
        with BodycompressWriter(
            tmp_path / f"{budget}.xz", preset="auto", cpu_budget=budget, segment_s=0.3
        ) as writer:
            assert writer.preset == LADDER[0]
            give_up_s = time.monotonic() + 20
            for number in range(10_000):
                writer.append(vertices[number % 60])
                time.sleep(0.02)
                if writer.frames_written > 40 and writer.preset == wanted:
                    break
                assert time.monotonic() < give_up_s
            total = writer.frames_total
        expected = vertices[np.arange(total) % 60]
        assert worst_error_mm(frames_of(writer.path), expected) <= 0.2501


def test_compressing_takes_the_memory_of_the_data_and_loses_nothing_by_it() -> None:
    data = bytes(np.random.default_rng(0).integers(0, 20, 200_000, np.uint8))
    for preset in (0, 1, 5, 9):
        packed = compress_xz(data, preset)
        assert lzma.decompress(packed) == data
        assert len(packed) <= len(lzma.compress(data, preset=preset)) + 16
        limited = lzma.LZMADecompressor(memlimit=2 << 20)
        assert limited.decompress(packed) == data
    assert lzma.decompress(compress_xz(b"", 9)) == b""


def test_an_existing_file_is_never_touched_whatever_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    path.write_bytes(b"last night")
    with pytest.raises(StorageError, match="exists already"):
        BodycompressWriter(path, vertex_order=np.arange(9), preset="auto")
    assert path.read_bytes() == b"last night"
