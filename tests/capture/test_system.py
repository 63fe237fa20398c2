"""What the system lacks: the tables, the advice, and that it all works before anything is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from capture import _system

ROOT = Path(__file__).resolve().parents[2]
BOOKWORM, TRIXIE = (2, 36), (2, 41)


@pytest.mark.parametrize("python", _system.SUPPORTED_PYTHONS)
def test_every_supported_python_has_realsense_on_a_pc(python: tuple[int, int]) -> None:
    advice = _system.realsense_advice(python=python, machine="x86_64", glibc=BOOKWORM)
    assert advice.wheel
    assert advice.python is None


@pytest.mark.parametrize(
    ("python", "glibc", "instead"),
    [
        ((3, 11), BOOKWORM, (3, 10)),
        ((3, 13), TRIXIE, (3, 12)),
        ((3, 12), BOOKWORM, (3, 10)),
        ((3, 11), (2, 31), None),
    ],
)
def test_a_pi_is_told_which_python_has_realsense(
    python: tuple[int, int], glibc: tuple[int, int], instead: tuple[int, int] | None
) -> None:
    advice = _system.realsense_advice(python=python, machine="aarch64", glibc=glibc)
    assert not advice.wheel
    assert advice.python == instead
    if instead:
        assert f"NIGHTRIG_PYTHON=3.{instead[1]} scripts/nightrig" in advice.way_out
    else:
        assert "from source" in advice.way_out


@pytest.mark.parametrize(("python", "glibc"), [((3, 10), BOOKWORM), ((3, 12), TRIXIE), ((3, 10), TRIXIE)])
def test_the_right_python_on_a_pi_has_realsense(python: tuple[int, int], glibc: tuple[int, int]) -> None:
    assert _system.realsense_advice(python=python, machine="aarch64", glibc=glibc).wheel


def test_a_wheel_that_would_not_load_is_named_with_both_versions_of_the_c_library() -> None:
    advice = _system.realsense_advice(python=(3, 12), machine="aarch64", glibc=BOOKWORM)
    assert "needs glibc 2.38" in advice.reason
    assert "this is 2.36" in advice.reason


@pytest.mark.parametrize(("machine", "glibc"), [("armv7l", BOOKWORM), ("x86_64", None), ("riscv64", TRIXIE)])
def test_a_machine_without_any_wheel_builds_from_source(machine: str, glibc: tuple[int, int] | None) -> None:
    advice = _system.realsense_advice(python=(3, 11), machine=machine, glibc=glibc)
    assert (advice.wheel, advice.python) == (False, None)
    assert "from source" in advice.way_out


def test_a_32_bit_python_on_a_64_bit_kernel_is_a_32_bit_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert _system.machine_here() == "armv7l"


def test_a_system_without_glibc_has_no_glibc_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(name: str) -> str:
        raise ValueError(name)

    monkeypatch.setattr(os, "confstr", no_such_name)
    assert _system.glibc_here() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the libraries are those of Linux")
def test_only_what_the_loader_does_not_find_is_missing() -> None:
    missing = _system.missing_libraries(lambda soname: soname != "libSM.so.6")
    assert [library.soname for library in missing] == ["libSM.so.6"]
    assert _system.missing_libraries(lambda soname: True) == ()


def test_the_real_loader_knows_a_library_from_a_wish() -> None:
    assert _system._loads("libc.so.6") or not sys.platform.startswith("linux")
    assert not _system._loads("libnightrig-has-no-such-library.so.1")


def test_a_bare_debian_needs_four_packages() -> None:
    assert _system.packages_of(_system.LIBRARIES) == ("libgl1", "libglib2.0-0", "libsm6", "libusb-1.0-0")


def test_one_missing_library_names_its_own_package() -> None:
    alone = [library for library in _system.LIBRARIES if library.soname == "libX11.so.6"]
    assert _system.packages_of(alone) == ("libx11-6",)


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where apt keeps its lists: one is there."""
    monkeypatch.setattr(_system, "_APT_LISTS", tmp_path)
    (tmp_path / "deb.debian.org_debian_dists_trixie_main_binary-amd64_Packages.lz4").touch()
    return tmp_path


def test_the_apt_line_has_sudo_for_everybody_but_root(lists: Path) -> None:
    line = "apt-get install -y --no-install-recommends libgl1 libsm6"
    assert _system.apt_line(["libgl1", "libsm6"], root=True) == line
    assert _system.apt_line(["libgl1", "libsm6"], root=False) == f"sudo {line}"


def test_where_apt_has_no_lists_they_are_fetched_first(lists: Path) -> None:
    for path in lists.iterdir():
        path.unlink()
    (lists / "lock").touch()
    (lists / "partial").mkdir()
    line = "apt-get update && apt-get install -y --no-install-recommends libgl1"
    assert _system.apt_line(["libgl1"], root=True) == line
    assert _system.apt_line(["libgl1"], root=False) == line.replace("apt-get", "sudo apt-get")


def test_without_apt_the_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_system, "has_apt", lambda: False)
    hint = _system.install_hint(_system.LIBRARIES[:1])
    assert "libGL.so.1" in hint
    assert "apt" not in hint


def test_a_failed_import_is_explained_with_everything_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_system, "missing_libraries", lambda: _system.LIBRARIES)
    monkeypatch.setattr(_system, "has_apt", lambda: True)
    text = "libGL.so.1: cannot open shared object file: No such file or directory"
    line = _system.explain_import_error(ImportError(text))
    assert line is not None
    assert line.startswith("libGL.so.1 is missing on this system: ")
    assert line.endswith("libgl1 libglib2.0-0 libsm6 libusb-1.0-0")


def test_a_library_that_is_not_in_the_table_is_named_all_the_same() -> None:
    text = "libnew.so.7: cannot open shared object file: No such file or directory"
    line = _system.explain_import_error(ImportError(text))
    assert line == "libnew.so.7 is missing on this system: install the package that holds it"


def test_a_wheel_for_a_newer_c_library_is_explained() -> None:
    text = "/lib/aarch64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by pyrealsense2.so)"
    line = _system.explain_import_error(ImportError(text))
    assert line is not None
    assert line.startswith("GLIBC_2.38 is newer than this system's")


def test_another_import_error_is_left_to_others() -> None:
    assert _system.explain_import_error(ModuleNotFoundError("No module named 'cv2'")) is None


def test_the_plan_needs_no_package_at_all() -> None:
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "capture" / "_system.py"), "plan"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = answer.stdout.splitlines()
    assert lines[0].startswith(f"Python {sys.version_info[0]}.{sys.version_info[1]} on ")
    assert "pyrealsense2" in lines[1]
    assert answer.stderr == ""


def test_anything_but_plan_is_a_usage_error() -> None:
    answer = subprocess.run(
        [sys.executable, str(ROOT / "capture" / "_system.py"), "paln"], capture_output=True, text=True
    )
    assert answer.returncode != 0
    assert "usage: python3 capture/_system.py plan" in answer.stderr
