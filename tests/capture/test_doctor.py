"""doctor: the sums are right, what does not fit is named with a way out, and trials leave nothing behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from capture import doctor, trials, usb
from capture.cli import main
from capture.cli._kernels import warn_of_recording_meshes
from capture.config import load_rig
from codec.errors import StorageError


def codecs_that_cost(ns_per_pixel: float) -> Callable[[Sequence[str]], dict[str, trials.CodecTrial]]:
    """Trials in which every codec takes as long and makes a sixth."""
    return lambda names: {name: trials.CodecTrial(ns_per_pixel, 6.0) for name in names}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials with known results, on a machine that lacks nothing."""
    monkeypatch.setattr(doctor, "how_to_get_kernels", lambda: "")
    monkeypatch.setattr(trials, "depth_codecs", codecs_that_cost(4.0))
    monkeypatch.setattr(trials, "jpeg_encode", lambda _: 3.0)
    monkeypatch.setattr(trials, "disk_write", lambda _: 300.0)
    monkeypatch.setattr(trials, "available_memory", lambda: 8 << 30)
    monkeypatch.setattr(doctor, "controllers", lambda: [usb.Controller("usb2", 5000.0, ())])
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    plenty = SimpleNamespace(free=20_000 * 10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: plenty)


def _rig(tmp_path: Path, cameras: int, width: int, height: int, head: str = "") -> Path:
    text = head
    for index in range(cameras):
        text += f'[[cameras]]\nname = "c{index}"\nsource = "realsense"\nserial = "{index}"\n'
        text += f"depth = {{ width = {width}, height = {height}, fps = 30 }}\n"
    path = tmp_path / "rig.toml"
    path.write_text(text)
    return path


def test_sums_are_those_of_the_rig(quick: None, tmp_path: Path) -> None:
    report = doctor.examine(load_rig(str(_rig(tmp_path, 4, 640, 480))).rig, tmp_path)
    assert len(report.streams) == 4
    assert report.streams[0].raw_mb_s == pytest.approx(18.432)
    assert sum(s.usb_mb_s for s in report.streams) == pytest.approx(73.728)
    assert report.gb_per_hour == pytest.approx(73.728 / 6 * 3.6)
    assert report.cpu_cores == pytest.approx(4 * (640 * 480 * 30 * 4e-9 + 0.03))
    assert report.fits
    assert not report.findings


def test_eight_720p_cameras_do_not_fit_one_controller_and_the_way_out_is_named(
    quick: None, tmp_path: Path
) -> None:
    report = doctor.examine(load_rig(str(_rig(tmp_path, 8, 1280, 720))).rig, tmp_path)
    finding = next(f for f in report.findings if "USB" in f.what)
    assert "442 MB/s" in finding.what
    assert "controllers" in finding.change
    assert not report.fits


def test_the_same_on_a_pi_4_says_that_its_ports_share_one_bus(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "is_pi_4", lambda: True)
    monkeypatch.setattr(usb, "is_pi_4", lambda: True)
    report = doctor.examine(load_rig(str(_rig(tmp_path, 8, 1280, 720))).rig, tmp_path)
    finding = next(f for f in report.findings if "USB" in f.what)
    assert "350 MB/s" in finding.what
    assert "share one bus" in finding.change


@pytest.mark.parametrize(
    ("what", "patch", "word"),
    [
        ("disk_write", lambda _: 10.0, "the disk writes 10 MB/s"),
        ("available_memory", lambda: 100 << 20, "lower queue_mb"),
        ("depth_codecs", codecs_that_cost(90.0), "cores of 4"),
    ],
)
def test_what_is_short_is_named(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, patch: object, word: str
) -> None:
    monkeypatch.setattr(trials, what, patch)
    report = doctor.examine(load_rig(str(_rig(tmp_path, 4, 848, 480))).rig, tmp_path)
    assert not report.fits
    assert any(word in f"{f.what}; {f.change}" for f in report.findings)


def test_a_disk_that_is_full_within_the_hour_does_not_fit(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    report = doctor.examine(load_rig(str(_rig(tmp_path, 4, 848, 480))).rig, tmp_path)
    assert any("full after" in finding.what for finding in report.findings)


def test_the_disk_is_held_against_the_duration_of_the_rig_and_its_reserve(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One 640x480 camera at 30 fps is 11.06 GB an hour; 34.25 GB with the reserve of 1 GiB last three hours.
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=34_250_000_000))
    for duration_s, fits in ((2.9 * 3600, True), (3.1 * 3600, False), (60, True)):
        rig = load_rig(str(_rig(tmp_path, 1, 640, 480, head=f"duration_s = {duration_s}\n"))).rig
        report = doctor.examine(rig, tmp_path)
        assert report.hours_left == pytest.approx(3.0, abs=0.01)
        assert report.fits is fits
    assert not doctor.examine(
        load_rig(str(_rig(tmp_path, 1, 640, 480, head="duration_s = 36000\n"))).rig, tmp_path
    ).fits


def test_a_disk_that_fills_up_is_no_fault_where_the_oldest_may_go(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=34_250_000_000))
    head = "duration_s = 36000\n[record]\nwhen_full = '{}'\n"
    for policy, fits in (("stop", False), ("delete-oldest", True)):
        path = _rig(tmp_path, 1, 640, 480, head=head.format(policy))
        report = doctor.examine(load_rig(str(path)).rig, tmp_path)
        (finding,) = [f for f in report.findings if "full after" in f.what]
        assert (report.fits, finding.fatal) == (fits, not fits)
        assert ("deleted" in finding.what) is fits
        assert report.disk_reserve_gb == pytest.approx((1 << 30) / 1e9)


def test_a_disk_that_is_not_mounted_is_named_before_a_night_goes_to_another(
    quick: None, tmp_path: Path
) -> None:
    rig = load_rig(str(_rig(tmp_path, 1, 640, 480))).rig
    report = doctor.examine(rig, tmp_path / "ssd" / "recordings")
    assert report.disk_folder == str(tmp_path)
    assert any(f"{tmp_path}/ssd does not exist" in finding.what for finding in report.findings)
    assert doctor.examine(rig, tmp_path / "recordings").findings == []


def test_only_what_hangs_on_usb_counts_there(quick: None, tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(
        "".join(
            f'[[cameras]]\nname="c{index}"\nsource="opencv"\ndevice="{device}"\npassthrough={passthrough}\n'
            for index, (device, passthrough) in enumerate(
                [
                    ("0", "true"),
                    ("/dev/v4l/by-id/usb-x", "false"),
                    ("http://127.0.0.1/x", "true"),
                    ("night.mp4", "true"),
                ]
            )
        )
    )
    report = doctor.examine(load_rig(str(path)).rig, tmp_path)
    assert [s.usb_mb_s for s in report.streams] == pytest.approx([2.304, 18.432, 0.0, 0.0])


def test_every_kind_of_camera_can_be_reckoned(quick: None, tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    (tmp_path / "x").mkdir()
    path.write_text(
        '[[cameras]]\nname="a"\nsource="realsense"\ninfrared={}\ninfrared_sensors=[1,2]\n'
        '[[cameras]]\nname="b"\nsource="opencv"\n'
        f'[[cameras]]\nname="c"\nsource="playback"\npath="{tmp_path}/x"\n'
        '[[cameras]]\nname="d"\nsource="simulated"\ndepth={}\n'
    )
    report = doctor.examine(load_rig(str(path)).rig, tmp_path)
    names = {s.name for s in report.streams}
    assert names == {"a/infrared1", "a/infrared2", "b/color", "c/depth", "c/color", "d/depth"}
    assert all(s.assumed for s in report.streams)


def test_the_trials_measure_something_and_leave_no_file(tmp_path: Path) -> None:
    trial = trials.depth_codecs(["lattice-lz4"], seconds=0.1)["lattice-lz4"]
    assert trial.ns_per_pixel > 0
    assert trial.ratio > 3
    assert trials.jpeg_encode(90, seconds=0.05) > 0
    assert trials.disk_write(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_codec_that_takes_seconds_for_a_frame_is_judged_by_a_strip_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[int] = []

    class Slow:
        def encode(self, image: npt.NDArray[np.uint16]) -> bytes:
            rows.append(len(image))
            until_s = time.process_time() + image.size * 10e-6
            while time.process_time() < until_s:
                pass
            return bytes(image.nbytes // 2)

    monkeypatch.setattr(trials, "get_codec", lambda _: Slow())
    tried = trials.depth_codecs(["slow"])["slow"]
    assert rows == [16]
    assert tried.ratio == 2
    assert tried.ns_per_pixel == pytest.approx(10_000, rel=0.2)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write in"):
        trials.disk_write(tmp_path / "missing")


def test_usb_controllers_are_read_from_sysfs(tmp_path: Path) -> None:
    for name, speed in (("usb1", "480"), ("usb2", "5000"), ("2-1", "5000"), ("2-1:1.0", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "speed").write_text(speed)
    (tmp_path / "2-1" / "serial").write_text("828112071102\n")
    found = usb.controllers(tmp_path)
    assert [c.name for c in found] == ["usb2", "usb1"]
    assert found[0].serials == ("828112071102",)
    assert found[0].usable_mb_s == pytest.approx(387.5)


def test_the_verb_says_fits_for_people_and_json_for_machines(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = str(_rig(tmp_path, 1, 640, 480))
    assert main(["doctor", rig, "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("fits")
    assert main(["doctor", rig, "--root", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rig"]["fits"] is True
    assert told["versions"]["python"]


def test_cameras_lists_none_without_failing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"realsense", "webcams", "note"}


def test_each_codec_that_was_tried_is_shown_and_what_auto_would_take(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "has_kernels", lambda: True)
    path = _rig(tmp_path, 2, 848, 480, '[record]\ncodec = "auto"\n')
    assert main(["doctor", str(path), "--root", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["rig"]
    assert [tried["codec"] for tried in report["codecs"]] == ["lattice-rans", "lattice-lz4"]
    assert (report["depth_codec"], report["depth_ratio"]) == ("lattice-rans", 6.0)
    main(["doctor", str(path), "--root", str(tmp_path)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "<- recorded with" in line]
    assert line.startswith("lattice-rans")


def test_without_kernels_the_dense_codec_is_shown_as_not_native_and_the_way_out_once(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "has_kernels", lambda: False)
    monkeypatch.setattr("capture.kernels.has_kernels", lambda: False)
    monkeypatch.setattr(doctor, "how_to_get_kernels", lambda: "build them")
    monkeypatch.setattr("capture.cli.doctor.how_to_get_kernels", lambda: "build them")
    assert main(["doctor", str(_rig(tmp_path, 1, 848, 480)), "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "lattice-rans    not native here" in lines
    assert len([line for line in lines if "build them" in line]) == 1
    assert main(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "build them" in line]
    assert line.startswith("kernels         not built")
    asks_for_it = _rig(tmp_path, 1, 848, 480, '[record]\ncodec = "lattice-rans"\n')
    main(["doctor", str(asks_for_it), "--root", str(tmp_path)])
    assert "lattice-rans    not native here" not in capsys.readouterr().out


@pytest.mark.parametrize("mesh_codec", ["native", "bodycompress"])
def test_what_meshes_cost_without_kernels_is_told_where_it_is_paid(
    quick: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mesh_codec: str,
) -> None:
    monkeypatch.setattr("capture.kernels.has_kernels", lambda: True)
    monkeypatch.setattr("capture.kernels.has_mesh_kernels", lambda: False)
    monkeypatch.setattr(doctor, "how_to_get_kernels", lambda: "build them")
    monkeypatch.setattr("capture.cli.doctor.how_to_get_kernels", lambda: "build them")
    rig = _rig(tmp_path, 1, 848, 480, f'[record]\nmesh_codec = "{mesh_codec}"\n')
    rig.write_text(rig.read_text() + '[[estimators]]\nkind = "truth"\n')
    assert main(["doctor", str(rig), "--root", str(tmp_path)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "build them" in line]
    assert len(told) == (mesh_codec == "native")
    assert all("native meshes stay `fast`" in line and "twice the disk" not in line for line in told)
    warn_of_recording_meshes(load_rig(str(rig)).rig)
    assert ("native meshes stay `fast`" in capsys.readouterr().err) == (mesh_codec == "native")
