"""Native mesh files that were damaged, cut, shuffled: whole segments come back as they were."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from moving_bodies import moving_bodies
from native_goldens import GOLDENS
from native_mutations import NativeMutator, digest, exercise_native, frames_by_seed
from native_records import AFFINE, Piece, pieces_of, with_payload, write_pieces

from capture.recovery import recover
from codec.errors import DiskFullError, FormatError, NotOurFileError
from codec.mesh import _mesh_native
from codec.mesh.native_reader import NativeMeshReader
from codec.mesh.native_writer import NativeMeshWriter
from codec.records.layout import MESH_MODEL, MESHES

GOLDEN = Path(__file__).parent / "golden"
AFFINE_GOLDEN = "native-affine.nrm"


@pytest.mark.parametrize("coder", ["kernel", "twin"])
@pytest.mark.parametrize("seed", range(2))
def test_mutated_files_raise_nothing_but_our_errors(
    tmp_path: Path, seed: int, coder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if coder == "twin":
        monkeypatch.setattr(_mesh_native, "kernels", None)
    mutator, path, said = NativeMutator(seed), tmp_path / "a.nrm", set()
    frames = frames_by_seed(mutator)
    for _ in range(400):
        mutant = mutator.next()
        path.write_bytes(mutant.content)
        begun_s = time.monotonic()
        said.add(exercise_native(path, frames[mutant.seed] if mutant.framing_only else None))
        assert time.monotonic() - begun_s < 20.0
    assert {"read in part", "read nothing", "FormatError"} <= said


def digests(path: Path) -> list[bytes]:
    with NativeMeshReader(path) as reader:
        return [digest(frame) for frame in reader]


@pytest.mark.parametrize("name", GOLDENS)
def test_a_file_cut_anywhere_gives_every_whole_segment(tmp_path: Path, name: str) -> None:
    whole, path = (GOLDEN / name).read_bytes(), tmp_path / "a.nrm"
    every, pieces = digests(GOLDEN / name), pieces_of(GOLDEN / name)
    ends, at, frames = [], 0, 0
    for piece in pieces:
        at += 64 + len(piece.payload)
        frames += piece.raw_length if piece.kind == MESHES else 0
        ends.append((at, frames))
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        expected = max((count for end, count in ends if end <= size), default=0)
        try:
            with NativeMeshReader(path) as reader:
                assert [digest(frame) for frame in reader] == every[:expected]
                assert not reader.complete
                assert not reader.closed
        except NotOurFileError:
            assert size < ends[1][0]


@pytest.mark.parametrize("name", [AFFINE_GOLDEN, "native-odd.nrm"])
def test_each_damaged_record_costs_its_own_segment_alone(tmp_path: Path, name: str) -> None:
    every, pieces = digests(GOLDEN / name), pieces_of(GOLDEN / name)
    whole, at, first = (GOLDEN / name).read_bytes(), 0, 0
    for piece in pieces:
        end = at + 64 + len(piece.payload)
        last = first + (piece.raw_length if piece.kind == MESHES else 0)
        for place in (at + 20, at + 70):  # its header, its payload
            damaged = bytearray(whole)
            damaged[place] ^= 16
            path = tmp_path / "a.nrm"
            path.write_bytes(damaged)
            left = every[:first] + every[last:]
            if piece.kind != MESH_MODEL:
                assert digests(path) == left
            elif name == AFFINE_GOLDEN:
                assert digests(path) == []  # the only model
        at, first = end, last


def with_models(tmp_path: Path, *, spoilt: int) -> tuple[Path, list[bytes]]:
    """Three copies of a model among segments that want it, one of them spoilt."""
    pieces = pieces_of(GOLDEN / AFFINE_GOLDEN)
    model = next(piece for piece in pieces if piece.kind == MESH_MODEL)
    segments = [piece for piece in pieces if piece.kind == MESHES]
    assert segments[0].payload[0] == AFFINE
    laid = [model, segments[0], model, segments[1], model]
    models = [n for n, piece in enumerate(laid) if piece is model]
    laid[models[spoilt]] = with_payload(model, payload=model.payload[:-9])
    return write_pieces(tmp_path / "a.nrm", [*pieces[:2], *laid]), digests(GOLDEN / AFFINE_GOLDEN)


@pytest.mark.parametrize("spoilt", range(3))
def test_any_copy_of_a_model_will_do(tmp_path: Path, spoilt: int) -> None:
    path, every = with_models(tmp_path, spoilt=spoilt)
    assert digests(path) == every


def test_a_model_of_another_content_is_not_taken_for_the_one_that_is_named(tmp_path: Path) -> None:
    pieces = pieces_of(GOLDEN / AFFINE_GOLDEN)
    other = next(p for p in pieces_of(GOLDEN / "native-bodies.nrm") if p.kind == MESH_MODEL)
    where = next(n for n, piece in enumerate(pieces) if piece.kind == MESH_MODEL)
    pieces[where] = Piece(MESH_MODEL, other.payload, number=pieces[where].number)
    with NativeMeshReader(write_pieces(tmp_path / "a.nrm", pieces)) as reader:
        assert list(reader) == []
        with pytest.raises(FormatError, match="the model they were written with"):
            _ = reader[0]


@pytest.mark.parametrize("size", [700, 16_000, 27_000, 31_000])
def test_recover_makes_a_clean_file_of_a_torn_one(tmp_path: Path, size: int) -> None:
    people = tmp_path / "session" / "people"
    people.mkdir(parents=True)
    torn = people / "mesh-000.nrm"
    torn.write_bytes((GOLDEN / AFFINE_GOLDEN).read_bytes()[:size])
    left = digests(torn)
    if not left:
        return
    report = recover(people, tmp_path / "copy")
    (copy,) = (tmp_path / "copy").rglob("mesh-000.nrm")
    assert report.meshes == len(left)
    assert not report.lossless
    with NativeMeshReader(copy) as reader:
        assert [digest(frame) for frame in reader] == left
        assert reader.complete
        assert reader.closed


@pytest.mark.parametrize("room", [300, 900, 5_000, 9_000, 15_000])
def test_a_disk_that_is_full_in_the_middle_of_any_record_keeps_what_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """The system takes as many bytes as there is room for, then none: short writes, then errors."""
    writev, left = os.writev, [room]

    def small_disk(fd: int, views: list[memoryview]) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = b"".join(views)[: left[0]]
        left[0] -= len(taken)
        return writev(fd, [taken])

    monkeypatch.setattr("codec.durable.system.calls.writev", small_disk)
    path, told, frames = tmp_path / "a.nrm", 0, [{"vertices": v, "n": n} for n, v in bodies()]
    try:
        writer = NativeMeshWriter(path, fps=30.0, segment_s=0.5)
        try:
            for frame in frames:
                writer.append(**frame)
            writer.flush()
        except DiskFullError:
            told += 1
        with contextlib.suppress(DiskFullError):
            writer.close()
        written = writer.frames_written
    except DiskFullError:
        assert not path.exists()
        return
    monkeypatch.undo()
    assert told
    with NativeMeshReader(path) as reader:
        assert [frame["n"] for frame in reader] == list(range(written))
        assert not reader.closed
    assert path.stat().st_size <= room


def bodies() -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    yield from enumerate(moving_bodies(200, points=60))
