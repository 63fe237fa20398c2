from __future__ import annotations

import lzma
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from killed_writer import frames_left, kill_one, name_of
from moving_bodies import moving_bodies, worst_error_mm

from codec.errors import CodecError, DiskFullError, StorageError
from codec.mesh import MeshReader, MeshWriter


def frames_of(path: Path) -> list[dict[str, object]]:
    with MeshReader(path) as reader:
        frames = list(reader)
        assert reader.complete, reader.note
        assert len(reader) == len(frames)
    return frames


def test_frames_come_back_within_half_a_step_with_everything_beside_them(tmp_path: Path) -> None:
    vertices = moving_bodies(70, people=2)
    path = tmp_path / "mesh.xz"
    with MeshWriter(path, metadata={"model": "tubes", "fps": 30}) as writer:
        for n, v in enumerate(vertices):
            writer.append(
                v,
                v[:, :24],
                number=n,
                pose=[np.float32(n), np.eye(3) * n],
                vertex_uncertainties=v[..., 0] / 1e5,
            )
        assert (writer.frames_total, writer.rejected_people) == (70, 0)
    assert writer.frames_written == 70
    frames = frames_of(path)
    assert worst_error_mm(frames, vertices) <= 0.2501
    for n, (frame, v) in enumerate(zip(frames, vertices, strict=True)):
        assert frame["number"] == n
        np.testing.assert_array_equal(frame["pose"][1], np.eye(3) * n)  # type: ignore[index]
        np.testing.assert_allclose(frame["joints"], v[:, :24], atol=0.2501)
        np.testing.assert_allclose(frame["vertex_uncertainties"], v[..., 0] / 1e5, atol=0.00026)
    with MeshReader(path) as reader:
        assert reader.metadata == {"model": "tubes", "fps": 30}
        assert reader.closed


def test_the_grid_is_exact_and_its_step_is_free(tmp_path: Path) -> None:
    for step in (0.25, 2.0):
        grid = np.rint(moving_bodies(3) / step)
        path = tmp_path / f"{step}.xz"
        with MeshWriter(path, quantization_mm=step) as writer:
            for v in grid * step:
                writer.append(v)
        assert worst_error_mm(frames_of(path), (grid * step).astype(np.float32)) == 0.0


def test_people_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    with MeshWriter(path) as writer:
        for people in (0, 1, 3, 0, 2):
            writer.append(moving_bodies(1, people=people)[0])
    assert [np.shape(f["vertices"])[0] for f in frames_of(path)] == [0, 1, 3, 0, 2]


def test_the_file_is_valid_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    with MeshWriter(path, metadata=[1, 2]):
        lzma.decompress(path.read_bytes())
        with MeshReader(path) as reader:
            assert (len(reader), list(reader), reader.metadata) == (0, [], [1, 2])
            assert reader.complete
            assert not reader.closed


def test_what_was_flushed_is_on_disk_while_writing_goes_on(tmp_path: Path) -> None:
    path, vertices = tmp_path / "mesh.xz", moving_bodies(20)
    with MeshWriter(path, segment_s=3600) as writer:
        for v in vertices[:12]:
            writer.append(v)
        assert frames_of(path) == []
        writer.flush()
        assert writer.frames_written == 12
        assert worst_error_mm(frames_of(path), vertices[:12]) <= 0.2501
        for v in vertices[12:]:
            writer.append(v)
        writer.flush()
        writer.flush()
        lzma.decompress(path.read_bytes())
        assert worst_error_mm(frames_of(path), vertices) <= 0.2501


def test_a_segment_is_closed_when_its_time_has_come_even_if_nobody_comes_into_view(tmp_path: Path) -> None:
    with MeshWriter(tmp_path / "mesh.xz", segment_s=0.05) as writer:
        writer.append(moving_bodies(1)[0])
        give_up_s = time.monotonic() + 10
        while writer.frames_written == 0 and time.monotonic() < give_up_s:
            time.sleep(0.01)
        assert len(frames_of(writer.path)) == 1


def test_segments_stay_small_when_frames_come_faster_than_real_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.mesh.bodycompress_writer._SEGMENT_BYTES", 10_000)
    vertices = moving_bodies(100)
    with MeshWriter(tmp_path / "mesh.xz", segment_s=3600) as writer:
        for v in vertices:
            writer.append(v)
    assert writer.path.read_bytes().count(b"\xfd7zXZ\x00") > 15
    assert worst_error_mm(frames_of(writer.path), vertices) <= 0.2501


def test_an_exception_in_the_block_keeps_what_was_written(tmp_path: Path) -> None:
    path, vertices = tmp_path / "mesh.xz", moving_bodies(5)

    def interrupted_recording() -> None:
        with MeshWriter(path) as writer:
            for v in vertices:
                writer.append(v)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_recording()
    assert worst_error_mm(frames_of(path), vertices) <= 0.2501


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "mesh.xz"
    path.write_bytes(b"last night")
    with pytest.raises(StorageError, match="exists already"):
        MeshWriter(path)
    assert path.read_bytes() == b"last night"


@pytest.mark.parametrize("settings", [{"quantization_mm": 0.0}, {"preset": 11}, {"segment_s": float("inf")}])
def test_settings_that_cannot_work_are_refused_and_leave_no_file(
    tmp_path: Path, settings: dict[str, float]
) -> None:
    with pytest.raises(CodecError):
        MeshWriter(tmp_path / "mesh.xz", **settings)  # type: ignore[arg-type]
    with pytest.raises(CodecError, match="the metadata"):
        MeshWriter(tmp_path / "mesh.xz", metadata={"camera": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_person_who_is_not_finite_is_left_out_and_the_others_are_kept(tmp_path: Path, bad: float) -> None:
    vertices = moving_bodies(1, people=3)[0]
    joints = vertices[:, :24].copy()
    vertices[1, 77, 2] = bad
    with MeshWriter(tmp_path / "mesh.xz") as writer:
        writer.append(vertices, joints, ids=[4, 5, 6])
        writer.append(vertices[[0, 2]], joints[[0, 2]])
        joints[2, 0, 0] = bad
        writer.append(vertices, joints)
        assert writer.rejected_people == 3
    first, second, third = frames_of(writer.path)
    np.testing.assert_array_equal(first["vertices"], second["vertices"])
    np.testing.assert_array_equal(first["joints"], second["joints"])
    assert (first["ids"], first["rejected_people"]) == ([4, 5, 6], [1])
    assert "rejected_people" not in second
    assert third["rejected_people"] == [1, 2]


def test_a_frame_that_is_wrong_raises_and_the_file_stays_good(tmp_path: Path) -> None:
    good = moving_bodies(1, people=2)[0]
    with MeshWriter(tmp_path / "mesh.xz") as writer:
        writer.append(good)
        with pytest.raises(
            CodecError, match=r"mesh\.xz: frame 1: vertices must be numbers \(\.\.\., points, 3\)"
        ):
            writer.append(good[..., :2])
        with pytest.raises(CodecError, match="joints must be numbers"):
            writer.append(good, joints=np.zeros(3))
        with pytest.raises(CodecError, match="joints is no array"):
            writer.append(good, joints=[[1.0], [2.0, 3.0]])  # type: ignore[arg-type]
        with pytest.raises(CodecError, match="vertices must be numbers"):
            writer.append(good.astype(object))
        with pytest.raises(CodecError, match="not of the same people"):
            writer.append(good, good[:1])
        with pytest.raises(CodecError, match="which cannot be stored"):
            writer.append(good, pose=object())
        with pytest.raises(CodecError, match="taken by the file format"):
            writer.append(good, qd_vertices=1)
        writer.append(good)
        assert writer.frames_total == 2
    assert len(frames_of(writer.path)) == 2
    with pytest.raises(CodecError, match="is closed"):
        writer.append(good)
    writer.close()


def test_arrays_may_be_reused_at_once(tmp_path: Path) -> None:
    vertices = moving_bodies(10)
    buffer = np.empty_like(vertices[0])
    with MeshWriter(tmp_path / "mesh.xz") as writer:
        for v in vertices:
            buffer[:] = v
            writer.append(buffer)
            buffer[:] = -1
    assert worst_error_mm(frames_of(writer.path), vertices) <= 0.2501


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Every write beyond `size` fails as on a full disk; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_surfaces_at_the_next_call_and_takes_nothing_back(tmp_path: Path) -> None:
    vertices = moving_bodies(40)
    writer = MeshWriter(tmp_path / "mesh.xz", segment_s=3600)
    for v in vertices[:10]:
        writer.append(v)
    writer.flush()
    for v in vertices[10:]:
        writer.append(v)
    with largest_file(writer.size_bytes + 1000), pytest.raises(DiskFullError):
        writer.flush()
    with pytest.raises(DiskFullError):
        writer.append(vertices[0])
    writer.close()
    assert (writer.frames_total, writer.frames_written) == (40, 10)
    assert worst_error_mm(frames_of(writer.path), vertices[:10]) <= 0.2501


def test_a_disk_that_fills_at_the_end_is_told_by_close_once(tmp_path: Path) -> None:
    writer = MeshWriter(tmp_path / "mesh.xz", segment_s=3600)
    for v in moving_bodies(30):
        writer.append(v)
    with largest_file(writer.size_bytes + 1000), pytest.raises(DiskFullError):
        writer.close()
    writer.close()
    assert frames_of(writer.path) == []


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.6])
def test_a_killed_process_loses_no_frame_that_was_written(tmp_path: Path, after_s: float) -> None:
    path = tmp_path / name_of("xz")
    appended, written = kill_one(path, "xz", after_s)
    frames_left(path, "xz", appended, written)
