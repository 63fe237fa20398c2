"""Each model stands in a native file twice: one bad record costs its own segment and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from moving_bodies import moving_bodies
from native_mutations import digest
from native_records import pieces_of, write_pieces

from codec.mesh import model_copies
from codec.mesh.conversion import Target, convert
from codec.mesh.native_reader import NativeMeshReader
from codec.mesh.native_writer import NativeMeshWriter
from codec.records.layout import MESH_HEAD, MESH_MODEL, MESHES


def affine(path: Path, frames: int = 700) -> Path:
    with NativeMeshWriter(path, way="affine", fps=30.0, metadata={"who": "test"}) as writer:
        for n, vertices in enumerate(moving_bodies(frames, points=120)):
            writer.append(vertices, n=n)
    return path


def digests(path: Path) -> list[bytes]:
    with NativeMeshReader(path) as reader:
        return [digest(frame) for frame in reader]


@pytest.mark.parametrize("way", ["live", "affine", "small"])
def test_any_record_that_is_gone_costs_its_own_segment_and_nothing_else(tmp_path: Path, way: str) -> None:
    path = affine(tmp_path / "a.nrm")
    if way != "live":
        path = tmp_path / "b.nrm"
        convert(tmp_path / "a.nrm", path, Target("native", way=way))
    with NativeMeshReader(path) as reader:
        assert reader.has_models
    every, pieces, first = digests(path), pieces_of(path), 0
    for place, piece in enumerate(pieces):
        last = first + (piece.raw_length if piece.kind == MESHES else 0)
        left = write_pieces(tmp_path / "c.nrm", [*pieces[:place], *pieces[place + 1 :]])
        assert digests(left) == every[:first] + every[last:]
        if piece.kind == MESH_HEAD:
            with NativeMeshReader(left) as reader:
                assert reader.metadata == {"who": "test"}
        first = last


def test_the_second_copy_comes_once_enough_lies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distance = 20_000
    monkeypatch.setattr(model_copies, "COPY_AFTER_BYTES", distance)
    pieces = pieces_of(affine(tmp_path / "a.nrm", 900))
    ends: dict[int, int] = {}
    copies: list[int] = []
    at = 0
    for place, piece in enumerate(pieces):
        if piece.kind == MESH_MODEL:
            if piece.number in ends:
                assert at - ends[piece.number] >= distance or place >= len(pieces) - 3
                copies.append(place)
            ends.setdefault(piece.number, at + 64 + len(piece.payload))
        at += 64 + len(piece.payload)
    assert len(copies) == len(ends) == 2
    assert any(piece.kind == MESHES for piece in pieces[copies[0] :])  # not only when the file is closed


def test_a_writer_that_was_killed_has_the_second_copy_of_what_it_wrote_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_copies, "COPY_AFTER_BYTES", 20_000)
    path = tmp_path / "a.nrm"
    writer = NativeMeshWriter(path, fps=30.0)
    for vertices in moving_bodies(300, points=200):
        writer.append(vertices)
    writer.flush()
    assert sum(piece.kind == MESH_MODEL for piece in pieces_of(path)) == 2
    writer.close()
    assert sum(piece.kind == MESH_MODEL for piece in pieces_of(path)) == 2
