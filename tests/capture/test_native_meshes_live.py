"""The demo rig with native meshes, from the cameras to the exported files, and with its writer killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from capture import session
from capture.body.procedural import procedural_body
from capture.cli import main
from capture.recording import Recording
from capture.verification import verify
from codec.errors import NotOurFileError
from codec.mesh import MeshReader
from tests.capture.rigs import REPOSITORY, record, start_recording, wait_for

SEGMENT_S = 2.0
FPS = 30


def demo_rig(folder: Path, *, mesh_codec: str = "native") -> Path:
    text = (REPOSITORY / "configs" / "demo.toml").read_text()
    assert "[record]\n" in text
    path = folder / "rig.toml"
    path.write_text(text.replace("[record]\n", f'[record]\nmesh_codec = "{mesh_codec}"\n') + "\n")
    return path


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mesh_codec", ["native", "bodycompress"])
def test_two_seconds_of_the_demo_rig_verify_show_and_export(
    tmp_path: Path, mesh_codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = demo_rig(tmp_path, mesh_codec=mesh_codec)
    code, account, told = record(rig, tmp_path / "out", "--duration", "2", "--no-preview")
    assert code == 0, told
    (folder,) = (tmp_path / "out").iterdir()
    (path,) = session.list_meshes(folder / "people")
    assert path.name == ("mesh-000.nrm" if mesh_codec == "native" else "mesh-000.xz")
    assert main(["verify", str(folder), "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["meshes"] == account["meshes"] > 20
    assert main(["info", str(folder), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["mesh_files"]
    assert (facts["frames"], facts["vertices"], facts["joints"]) == (account["meshes"], 6890, 24)
    assert facts["kind"].startswith(mesh_codec)
    assert facts["closed"]
    assert (
        main(["export", str(folder), "--format", "obj", "--out", str(tmp_path / "obj"), "--every", "20"]) == 0
    )
    lines = (tmp_path / "obj" / "mesh_000000.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == 6890
    assert main(["recompress", str(folder), "--meshes", "small"]) == 0
    assert main(["verify", str(folder)]) == 0
    assert "CLEAN" in capsys.readouterr().out


@pytest.mark.timeout(180)
def test_a_killed_writer_costs_the_open_segment_at_most_and_the_account_says_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_recording(
        demo_rig(tmp_path), tmp_path / "out", "--duration", "7", "--no-preview"
    ) as recording:
        recording.wait_until_started()
        folder = recording.session

        def has_a_segment() -> bool:
            paths = session.list_meshes(folder / "people")
            if not paths:
                return False
            try:
                with MeshReader(paths[0]) as reader:
                    return len(reader) > 20
            except NotOurFileError:  # created, its first record not yet written
                return False

        wait_for(has_a_segment, 60.0, recording.process)
        time.sleep(1.0)
        os.kill(recording.child("writer"), signal.SIGKILL)
        code, account, told = recording.finish()
    assert code == 3, told
    paths = session.list_meshes(folder / "people")
    assert [path.name for path in paths] == ["mesh-000.nrm", "mesh-001.nrm"]
    for path in paths:  # a writer that took over knows the triangles, too
        with MeshReader(path) as reader:
            assert isinstance(reader.metadata, dict)
            np.testing.assert_array_equal(reader.metadata["faces"], procedural_body().faces)
    with MeshReader(paths[0]) as reader:
        assert (reader.closed, reader.damage) == (False, "")
        before = [int(frame["frame_number"]) for frame in reader]
    assert len(before) > 20
    report = verify(folder)
    lost = session.load_session(folder)["totals"]["meshes_lost"]
    assert 0 < lost <= (SEGMENT_S + 0.5) * FPS
    assert [(gap.stream, gap.reason, gap.count) for gap in report.gaps] == [("people/mesh", "killed", lost)]
    with MeshReader(paths[0]) as reader, Recording(folder) as recorded:
        newest_ns = reader[len(before) - 1]["monotonic_ns"]
        results_ns = recorded.streams["people/parameters"].monotonic_ns()
    assert report.gaps[0].start_ns == newest_ns
    within = (results_ns > newest_ns) & (results_ns <= report.gaps[0].end_ns)
    assert np.count_nonzero(within) >= lost
    assert (report.meshes_lost, report.damage, report.problems) == (0, [], [])
    assert report.verdict == "loss"
    assert any(f"the meshes of {lost} results are missing" in note for note in report.notes), report.notes
    with Recording(folder) as recorded:
        numbers = [int(frame["frame_number"]) for frame in recorded.meshes()]
        assert recorded.damage == []
    assert len(numbers) == len(set(numbers)) == account["meshes"]
    assert np.all(np.diff(numbers) > 0)
    assert main(["verify", str(folder)]) == 3
    told = capsys.readouterr().out
    assert f"~{lost}" in told
    assert "LOSS" in told
    assert main(["recover", str(folder), "--out", str(tmp_path / "copy")]) == 0  # all there is
    with MeshReader(tmp_path / "copy" / "people" / "mesh-000.nrm") as reader:
        assert (len(reader), reader.closed) == (len(before), True)
    # What a killed writer left goes on saying so when it is packed anew.
    assert main(["recompress", str(folder), "--meshes", "small"]) == 0
    again = verify(folder)
    assert (again.meshes, again.meshes_lost, again.verdict) == (report.meshes, 0, "loss")
