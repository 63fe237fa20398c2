"""Stored native files are read for ever: by kernels, by their twin, and by a reader written from the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_goldens import GOLDENS, Frame, expected
from native_records import AFFINE, FAST, pieces_of
from stranger_native import frames_of as strangers_frames_of
from stranger_native import head_of as strangers_head_of

from codec.mesh import MeshReader, _mesh_native
from codec.records.layout import MESHES

FOLDER = Path(__file__).parent / "golden"
every_golden = pytest.mark.parametrize("name", GOLDENS)


def assert_same(read: Any, wanted: Any) -> None:
    if isinstance(wanted, np.ndarray | np.generic):
        assert read.dtype == wanted.dtype
        np.testing.assert_array_equal(read, wanted)
    elif isinstance(wanted, dict):
        assert read.keys() == wanted.keys()
        for key, value in wanted.items():
            assert_same(read[key], value)
    elif isinstance(wanted, list):
        assert len(read) == len(wanted)
        for one, other in zip(read, wanted, strict=True):
            assert_same(one, other)
    else:
        assert type(read) is type(wanted)
        assert read == wanted


def assert_frames(name: str, frames: list[Frame]) -> None:
    wanted = GOLDENS[name].frames()
    assert len(frames) == len(wanted)
    for read, frame in zip(frames, wanted, strict=True):
        assert_same(read, expected(frame))


@pytest.fixture(params=["kernel", "twin"])
def _coder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "twin":
        monkeypatch.setattr(_mesh_native, "kernels", None)
    elif _mesh_native.kernels is None:
        pytest.skip("the kernels are not built: install a C compiler and python3-dev")


@pytest.mark.usefixtures("_coder")
@every_golden
def test_stored_files_give_what_was_put_in(name: str) -> None:
    with MeshReader(FOLDER / name) as reader:
        assert_frames(name, list(reader))
        assert (reader.complete, reader.closed, reader.codec) == (True, True, "native")
        assert_same(reader.metadata, GOLDENS[name].metadata)
        assert reader.fps == GOLDENS[name].settings.get("fps")
        for number in (0, len(reader) // 2, -1):
            assert_same(reader[number], expected(GOLDENS[name].frames()[number]))


@every_golden
def test_a_stranger_reads_stored_files_with_the_page_alone(name: str) -> None:
    whole = (FOLDER / name).read_bytes()
    head = strangers_head_of(whole)
    assert_same(head["metadata"], GOLDENS[name].metadata)
    assert head["quantization_mm"] == GOLDENS[name].settings.get("quantization_mm", 0.5)
    assert head["fps"] == GOLDENS[name].settings.get("fps")
    assert_frames(name, list(strangers_frames_of(whole)))


def test_the_strangers_reader_is_short_and_knows_nothing_of_ours() -> None:
    source = (Path(__file__).parent / "stranger_native.py").read_text()
    assert "from codec" not in source
    assert len(list(filter(None, source.splitlines()))) < 175


def test_stored_files_hold_both_ways_every_state_and_little() -> None:
    segments = [
        piece.payload for name in GOLDENS for piece in pieces_of(FOLDER / name) if piece.kind == MESHES
    ]
    assert {segment[0] for segment in segments} == {FAST, AFFINE}
    assert sum((FOLDER / name).stat().st_size for name in GOLDENS) < 60_000
