"""Native mesh files that somebody made to do harm, and frames that are odd but right."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from moving_bodies import moving_bodies
from native_records import AFFINE, file_around, pieces_of, segment, with_payload, write_pieces

from codec.errors import CodecError, FormatError
from codec.mesh.native_reader import NativeMeshReader
from codec.mesh.native_writer import NativeMeshWriter
from codec.records.layout import MESH_HEAD, MESH_MODEL, MESHES

MB = 1 << 20
ARRAY_OF_NOTHING = {b"nd": True, b"type": "|S0", b"kind": b"", b"shape": [10**10], b"data": b""}
DEEP = msgpack.packb([{"x": 0}])[:-1] + b"\x91" * 600 + b"\x00"


def nobody(vertices: int) -> bytes:
    return segment(shape=(60_000,), states=b"\x01" * 60_000, vertices=vertices)


def many(**how: Any) -> bytes:
    return segment(meshes=2000, vertices=4000, shape=(2000,), states=bytes(2000), **how)


HOSTILE = {
    "people without a mesh that take terabytes": nobody(2**31),
    "people without a mesh that take gigabytes": nobody(60_000),
    "a product of axes that overflows to nothing": segment(shape=(2**31, 2**31, 4)),
    "no people on axes too long for NumPy": segment(shape=(0, 2**32 - 1, 2**32 - 1)),
    "nine axes": segment(shape=(1,) * 8 + (0,)),
    "many numbers in few bytes, fast": many(points=b"12"),
    "many numbers in few bytes, affine": many(way=AFFINE, points=bytes(600)),
    "meshes without points": segment(meshes=2**27, vertices=0),
    "steps that overflow": segment(steps_per_mm=5e-324),
    "steps that are none": segment(steps_per_mm=float("nan")),
    "another array for that of the frame": segment(entries=msgpack.packb([{"vertices": 1}])),
    "two lists of entries": segment(entries=msgpack.packb([{}]) * 2),
    "entries nested too deeply": segment(entries=DEEP),
    "entries that are no maps": segment(entries=msgpack.packb([[]])),
    "a model that there is not": segment(model=77),
    "no model for the affine way": segment(way=AFFINE),
    "shifts in the fast way": segment(shifts=b"x"),
    "meshes that come later": segment(meshes=1, shape=(1,), states=bytes(1), before=b"\1\0\0\0" * 2),
    "a state that there is not": segment(shape=(1,), states=b"\x03"),
    "items of no bytes": segment(entries=msgpack.packb([{"x": ARRAY_OF_NOTHING}])),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_segment_is_refused_in_little_time_and_memory(tmp_path: Path, case: str) -> None:
    path = file_around(tmp_path / "a.nrm", HOSTILE[case], segment(meshes=1, shape=(1,), states=bytes(1)))
    begun_s = time.monotonic()
    with NativeMeshReader(path) as reader:
        tracemalloc.start()
        try:
            (left,) = list(reader)  # the other segment
            assert tracemalloc.get_traced_memory()[1] < 8 * MB
        finally:
            tracemalloc.stop()
        assert not left["vertices"].any()
        assert "frames 0 to 0" in reader.note
        with pytest.raises(FormatError, match=r"a\.nrm: frames 0 to 0: "):
            _ = reader[0]
    assert time.monotonic() - begun_s < 5.0


def test_the_largest_segment_stays_within_a_few_of_its_size(tmp_path: Path) -> None:
    """33 million numbers in 100 kB."""
    whole = segment(meshes=1000, vertices=8388, shape=(1000,), states=bytes(1000))
    assert len(whole) < 100_000
    with NativeMeshReader(file_around(tmp_path / "a.nrm", whole)) as reader:
        tracemalloc.start()
        try:
            assert reader[0]["vertices"].shape == (1000, 8388, 3)
            assert tracemalloc.get_traced_memory()[1] < 700 * MB
        finally:
            tracemalloc.stop()


def test_a_count_that_no_segment_can_have_is_not_believed(tmp_path: Path) -> None:
    with NativeMeshReader(file_around(tmp_path / "a.nrm", segment(), frames=2**32 - 1)) as reader:
        assert len(reader) == 0
        assert list(reader) == []
        assert not reader.complete


def written(path: Path, frames: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    with NativeMeshWriter(path, **{"fps": 30.0, **settings}) as writer:
        for frame in frames:
            writer.append(**frame)
    with NativeMeshReader(path) as reader:
        back = list(reader)
        assert reader.complete, reader.note
    assert len(back) == len(frames)
    return back


def test_what_is_appended_may_be_changed_afterwards(tmp_path: Path) -> None:
    pose, nested, vertices = np.zeros(6), {"list": [0]}, np.zeros((1, 5, 3))
    with NativeMeshWriter(tmp_path / "a.nrm", fps=30.0) as writer:
        for n in range(5):
            pose[:], nested["list"][0], vertices[:] = n, n, n
            writer.append(vertices, pose=pose, nested=nested)
    with NativeMeshReader(tmp_path / "a.nrm") as reader:
        for n, frame in enumerate(reader):
            assert (frame["pose"] == n).all()
            assert frame["nested"] == {"list": [n]}
            assert (frame["vertices"] == n).all()


def test_what_was_read_may_be_changed(tmp_path: Path) -> None:
    frames = [{"vertices": v, "pose": np.arange(3), "nested": {"a": [1]}} for v in moving_bodies(3, points=9)]
    written(tmp_path / "a.nrm", frames)
    with NativeMeshReader(tmp_path / "a.nrm") as reader:
        for frame in (reader[1], next(iter(reader)), reader[1], reader.at(0.03)):
            for name in ("vertices", "pose"):
                frame[name][:] = 99
            frame["nested"]["a"].append(2)
            frame.clear()
        assert (reader[1]["pose"] == np.arange(3)).all()
        assert reader[1]["nested"] == {"a": [1]}
        assert (reader[1]["vertices"] != 99).all()


def test_frames_with_large_entries_go_on_in_another_segment(tmp_path: Path) -> None:
    """Pictures, say: two seconds of them are more than one object may have."""
    back = written(tmp_path / "a.nrm", [{"picture": np.full(3 * MB, n, np.uint8)} for n in range(40)])
    assert [int(frame["picture"][-1]) for frame in back] == list(range(40))


def test_frames_with_many_entries_go_on_in_another_segment(tmp_path: Path) -> None:
    back = written(tmp_path / "a.nrm", [{"list": [n] * 300_000} for n in range(8)])
    assert [frame["list"][-1] for frame in back] == list(range(8))


def test_entries_as_deep_as_is_allowed_are_read_back_and_deeper_ones_refused(tmp_path: Path) -> None:
    deep: Any = 5
    for _ in range(62):
        deep = [deep]
    assert written(tmp_path / "a.nrm", [{"x": deep}])[0]["x"] == deep
    with NativeMeshWriter(tmp_path / "b.nrm") as writer, pytest.raises(CodecError, match="nested deeper"):
        writer.append(x=[deep])


@pytest.mark.parametrize(
    ("vertices", "words"),
    [
        (np.zeros((1,) * 9 + (4, 3)), "too many"),
        (np.zeros((0, 2**20, 2**20, 5, 3), np.uint8), "too many"),
        (np.zeros((0, 2**33, 3), np.uint8), "too many"),
        (np.zeros((70_000, 1, 3)), "too many"),
        (np.zeros((1, 9_000_000, 3), np.uint8), "too many"),
        ([[[1.0, 2.0, 3.0]], [[1.0]]], "cannot be made an array"),
    ],
    ids=["nine axes", "huge axes", "huge points", "people", "points", "ragged"],
)
def test_a_frame_that_could_not_be_read_back_is_refused_at_once(
    tmp_path: Path, vertices: Any, words: str
) -> None:
    good = moving_bodies(3, points=8)
    with NativeMeshWriter(tmp_path / "a.nrm", fps=30.0) as writer:
        writer.append(good[0])
        with pytest.raises(CodecError, match=words):
            writer.append(vertices)
        writer.append(good[1])
    with NativeMeshReader(tmp_path / "a.nrm") as reader:
        assert len(list(reader)) == 2


@pytest.mark.parametrize("people", [600, 3000])
def test_hundreds_of_meshes_a_frame_take_no_gigabytes(tmp_path: Path, people: int) -> None:
    random = np.random.default_rng(0)
    frames = [{"vertices": random.normal(0, 900, (people - 7 * (n % 3), 2, 3))} for n in range(12)]
    begun_s = time.monotonic()
    tracemalloc.start()
    try:
        back = written(tmp_path / "a.nrm", frames)
        assert tracemalloc.get_traced_memory()[1] < 60 * MB
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begun_s < 20.0
    for got, gave in zip(back, frames, strict=True):
        assert np.abs(got["vertices"] - gave["vertices"]).max() <= 0.2501


@pytest.mark.parametrize("settings", [{"quantization_mm": 1e-310}, {"quantization_mm": 1e300}])
def test_steps_that_would_overflow_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(CodecError, match="quantization_mm"):
        NativeMeshWriter(tmp_path / "a.nrm", **settings)
    NativeMeshWriter(tmp_path / "b.nrm", segment_s=1e300, fps=1e300).close()


def timed(path: Path, *, has_times: bool = True) -> None:
    frames = [{"vertices": v, "n": n} for n, v in enumerate(moving_bodies(180, points=9))]
    for n, frame in enumerate(frames if has_times else []):
        frame["monotonic_ns"] = 10**12 + n * 33_333_333
    written(path, frames)


@pytest.mark.parametrize("has_times", [True, False])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_damage_to_one_segment_costs_no_frame_of_another_by_number_or_time(
    tmp_path: Path, lost: int, has_times: bool
) -> None:
    timed(tmp_path / "a.nrm", has_times=has_times)
    pieces = pieces_of(tmp_path / "a.nrm")
    where = [n for n, piece in enumerate(pieces) if piece.kind == MESHES][lost]
    pieces[where] = with_payload(pieces[where], payload=pieces[where].payload[:-1])
    with NativeMeshReader(write_pieces(tmp_path / "b.nrm", pieces)) as reader:
        assert len(reader) == 180
        for n in range(180):
            if n // 60 == lost:
                with pytest.raises(FormatError, match=f"frames {60 * lost} to {60 * lost + 59}"):
                    _ = reader[n]
            else:
                assert reader[n]["n"] == n
                assert reader.at(n / 30)["n"] == n


def test_lost_metadata_and_lost_copies_of_a_model_are_told(tmp_path: Path) -> None:
    timed(tmp_path / "a.nrm")
    whole, path = (tmp_path / "a.nrm").read_bytes(), tmp_path / "b.nrm"
    pieces = pieces_of(tmp_path / "a.nrm")
    for kind, words in ((MESH_HEAD, "the metadata: "), (MESH_MODEL, "a mesh model: ")):
        wanted = next(piece for piece in pieces if piece.kind == kind)
        for find in (whole.index, whole.rindex):
            at = find(wanted.payload) + len(wanted.payload) // 2
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with NativeMeshReader(path) as reader:
                assert [frame["n"] for frame in reader] == list(range(180))
                assert reader.quantization_mm == 0.5
                assert reader.note.startswith(words)
                assert reader.note.endswith("a copy of it was read")
                assert reader.lossless
    write_pieces(path, [piece for piece in pieces if piece.kind != MESH_HEAD])
    with NativeMeshReader(path) as reader:
        assert [frame["n"] for frame in reader] == list(range(180))
        assert reader.note == "the metadata cannot be read"
        assert not reader.lossless
