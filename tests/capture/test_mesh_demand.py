"""Meshes in doctor: reckoned for one person and for four, with advice where xz is too much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capture import doctor, trials
from capture.cli import main
from capture.config import load_rig
from capture.mesh_demand import makes_meshes, reckon_meshes
from codec.mesh.cost import MeshCost, mesh_costs
from tests.capture.test_doctor import quick  # noqa: F401 (a fixture)

COSTS = {"bodycompress": MeshCost(0.004, 16_000.0), "native": MeshCost(0.0005, 3_000.0)}


def rig_file(folder: Path, *, estimator: str = "truth", mesh_codec: str = "bodycompress") -> str:
    path = folder / "rig.toml"
    path.write_text(
        f"[record]\nmesh_codec = {mesh_codec!r}\n"
        '[[cameras]]\nname = "a"\nsource = "simulated"\ndepth = { width = 640, height = 480, fps = 30 }\n'
        f'[[estimators]]\nkind = "{estimator}"\ncameras = ["a"]\n'
    )
    return str(path)


def test_meshes_are_reckoned_at_the_rate_of_the_camera(tmp_path: Path) -> None:
    rig = load_rig(rig_file(tmp_path)).rig
    assert makes_meshes(rig)
    xz, native = reckon_meshes(rig, COSTS)
    assert xz.cores == pytest.approx((0.12, 0.48))
    assert native.disk_mb_s == pytest.approx((0.09, 0.36))
    assert not makes_meshes(load_rig(rig_file(tmp_path, estimator="stereo")).rig)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("cores", "people"), [(4, None), (1, "4 people"), (0, "one person")], ids=["enough", "short", "none"]
)
def test_native_is_advised_where_xz_does_not_fit_in_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, people: str | None
) -> None:
    monkeypatch.setattr(trials, "mesh_codecs", lambda: {**COSTS, "bodycompress": MeshCost(0.008, 16_000.0)})
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: set(range(cores)))
    report = doctor.examine(load_rig(rig_file(tmp_path)).rig, tmp_path)
    told = [f for f in report.findings if "meshes of" in f.what]
    if people is None:
        assert told == []
    else:
        assert people in told[0].what
        assert "record.mesh_codec = 'native'" in told[0].change
        assert not told[0].fatal


@pytest.mark.usefixtures("quick")
def test_doctor_shows_a_row_for_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trials, "mesh_codecs", lambda: COSTS)
    path = rig_file(tmp_path, mesh_codec="native")
    assert main(["doctor", path, "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("bodycompress", "native"))]
    assert [line.split()[0] for line in rows] == ["bodycompress", "native"]
    assert [line.endswith("<- recorded with") for line in rows] == [False, True]
    assert main(["doctor", path, "--root", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rig"]["meshes"]) == 2


def test_native_is_the_cheaper_and_the_smaller_here() -> None:
    from capture.body.procedural import procedural_body

    costs = mesh_costs(1000 * procedural_body().template_vertices[::4])
    assert costs["native"].cpu_s < costs["bodycompress"].cpu_s
    assert costs["native"].bytes < costs["bodycompress"].bytes


@pytest.mark.usefixtures("quick")
def test_the_meshes_of_one_person_are_in_what_the_rig_takes_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trials, "mesh_codecs", lambda: COSTS)
    path = rig_file(tmp_path, mesh_codec="native")
    report = doctor.examine(load_rig(path).rig, tmp_path)
    assert report.mesh_gb_per_hour == pytest.approx(0.09 * 3.6)
    of_streams = 3.6 * sum(stream.disk_mb_s for stream in report.streams)
    assert report.gb_per_hour == pytest.approx(of_streams + report.mesh_gb_per_hour)
    main(["doctor", path, "--root", str(tmp_path)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("disk ")]
    assert "(0.32 of it meshes of one person" in line
