"""Native files hold segments in which some people are not known at all, and nobody is known in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec.mesh import MeshReader, MeshWriter


def test_a_segment_whose_unknown_people_are_unknown_altogether_comes_back(tmp_path: Path) -> None:
    points = np.zeros((3, 6, 3))
    points[1] = np.nan
    with MeshWriter(tmp_path / "a.nrm", codec="native") as writer:
        for _ in range(3):
            writer.append(points)
    with MeshReader(tmp_path / "a.nrm") as reader:
        for frame in reader:
            np.testing.assert_array_equal(frame["vertices"], points)
