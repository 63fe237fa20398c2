"""A live mesh writer that catches up: a segment holds no more than its seconds, by the frames' own times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.mesh import MeshReader, MeshWriter
from codec.mesh.segment_pool import Segment

POINTS = np.arange(36, dtype=np.float32).reshape(1, 12, 3)
QUARTER_NS = 250_000_000


def segments(path: Path, codec: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[int]:
    """How many of twelve frames, a quarter of a second apart and appended at once, each segment got."""
    counts: list[int] = []
    writer = MeshWriter(path, codec=codec, segment_s=1.0, **settings)
    inner = writer._writer
    write = inner._pool._write

    def noting(segment: Segment) -> None:
        counts.append(segment.count)
        write(segment)

    monkeypatch.setattr(inner._pool, "_write", noting)
    monkeypatch.setattr(inner, "_due_in_s", lambda: 3600.0)  # however slow this machine is
    for number in range(12):
        writer.append(vertices=POINTS, monotonic_ns=10**12 + number * QUARTER_NS, frame_number=number)
    writer.close()
    with MeshReader(path) as reader:
        assert [frame["frame_number"] for frame in reader] == list(range(12))
    return counts


@pytest.mark.parametrize(("codec", "name"), [("native", "a.nrm"), ("bodycompress", "a.xz")])
def test_frames_that_had_waited_go_into_segments_as_if_they_had_not(
    tmp_path: Path, codec: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert segments(tmp_path / name, codec, monkeypatch, by_frame_time=True) == [4, 4, 4]


@pytest.mark.parametrize(("codec", "name"), [("native", "a.nrm"), ("bodycompress", "a.xz")])
def test_without_it_a_segment_ends_by_the_clock_alone(
    tmp_path: Path, codec: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert segments(tmp_path / name, codec, monkeypatch) == [12]
