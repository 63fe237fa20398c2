"""Native files of frames that change their kind, or that end soon: nothing is paid for twice, or in vain."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_bodies import moving_bodies

from codec.mesh import native_writer
from codec.mesh.native_reader import NativeMeshReader
from codec.mesh.native_writer import NativeMeshWriter, Way
from codec.records import RecordFile
from codec.records.layout import MESH_MODEL, MESHES


def write(path: Path, frames: list[dict[str, Any]], *, way: Way = "fast") -> Path:
    with NativeMeshWriter(path, way=way, fps=30.0) as writer:
        for frame in frames:
            writer.append(**frame)
        writer.flush()
        assert writer.frames_written == writer.frames_total
    return path


def now_and_then(frames: int, *, every: int, points: int = 60) -> list[dict[str, Any]]:
    """Frames of which every so many has no uncertainties."""
    return [
        {"vertices": v, "n": n, **({"vertex_uncertainties": v[..., 0] / 1e5} if n % every else {})}
        for n, v in enumerate(moving_bodies(frames, points=points))
    ]


def kinds_in(path: Path) -> list[int]:
    with RecordFile(path) as file:
        return [int(kind) for kind in file.entries["kind"]]


def test_a_short_recording_is_not_larger_for_a_model_that_cannot_pay(tmp_path: Path) -> None:
    frames = [{"vertices": v} for v in moving_bodies(360, points=100)]
    sizes = [write(tmp_path / way, frames, way=way).stat().st_size for way in ("fast", "affine")]
    assert sizes[1] <= sizes[0]


def test_a_model_takes_a_small_part_of_what_its_meshes_take(tmp_path: Path) -> None:
    for count in (450, 510, 570, 630):
        frames = [{"vertices": v} for v in moving_bodies(count, points=200)]
        sizes = [
            write(tmp_path / f"{way}{count}", frames, way=way).stat().st_size for way in ("fast", "affine")
        ]
        assert sizes[1] < 1.33 * sizes[0]


@pytest.mark.parametrize("way", ["fast", "affine"])
def test_kinds_that_alternate_have_one_order_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    walks = []
    real = native_writer.walk_order
    monkeypatch.setattr(native_writer, "walk_order", lambda *given: walks.append(1) or real(*given))
    frames = now_and_then(80, every=2)
    path = write(tmp_path / "a.nrm", frames, way=way)
    assert len(walks) == 2
    assert kinds_in(path).count(MESH_MODEL) == 2  # it is the same one, with its copy
    with NativeMeshReader(path) as reader:
        for got, gave in zip(reader, frames, strict=True):
            assert got.keys() == gave.keys()
            assert got["n"] == gave["n"]
            assert np.abs(got["vertices"] - gave["vertices"]).max() <= 0.2501
        assert reader.complete, reader.note


def test_what_was_learnt_outlives_a_frame_of_another_kind(tmp_path: Path) -> None:
    # Never as many on end as a first model takes.
    path = write(tmp_path / "a.nrm", now_and_then(1400, every=150), way="affine")
    with RecordFile(path) as file:
        ways = [file.read(int(index)).payload[0] for index in file.of_kind(MESHES)]
    assert 2 in ways


def test_many_short_segments_share_their_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = os.fdatasync

    def slow(fd: int) -> None:
        syncs.append(fd)
        time.sleep(0.05)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    path = write(tmp_path / "a.nrm", now_and_then(120, every=2))
    assert kinds_in(path).count(MESHES) == 120
    assert len(syncs) < 30
    with NativeMeshReader(path) as reader:
        assert [frame["n"] for frame in reader] == list(range(120))
