"""What scripts/_bootstrap.py promises while it makes and fills an environment.

pip, apt-get and uv are replaced, so that no test needs a network or changes the system.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(path: Path, name: str) -> ModuleType:
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


bootstrap = load(ROOT / "scripts" / "_bootstrap.py", "nightrig_bootstrap")


def write_program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


# ---- the environment ------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(bootstrap, "say", lines.append)
    return lines


@pytest.fixture
def quiet_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that lacks nothing, with a Python that librealsense has a wheel for."""
    monkeypatch.delenv("NIGHTRIG_PYTHON", raising=False)
    monkeypatch.setattr(bootstrap, "advise_realsense", lambda python: True)
    monkeypatch.setattr(bootstrap, "provide_system", lambda programs, *, with_realsense: True)
    monkeypatch.setattr(bootstrap, "imports_work", lambda venv: True)
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: True)


def fake_environment(venv: Path, python: object) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)


def options(venv: Path, **changes: object) -> argparse.Namespace:
    values = {"venv": venv, "extras": "", "fingerprint": "one", "program": [], "optional": []}
    return argparse.Namespace(**{**values, **changes})


@pytest.mark.usefixtures("quiet_system")
def test_the_stamp_is_written_last_and_spares_the_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    installs: list[list[str]] = []

    def pip(venv: Path, arguments: Sequence[str]) -> None:
        assert (venv / bootstrap.INSTALLING).exists()
        assert not (venv / bootstrap.STAMP).exists()
        installs.append(list(arguments))

    monkeypatch.setattr(bootstrap, "make_environment", fake_environment)
    monkeypatch.setattr(bootstrap, "pip", pip)
    venv = tmp_path / ".venv"
    bootstrap.bring_up(options(venv, extras="test"))
    assert [arguments[-1] for arguments in installs] == [".[test,realsense]"]
    assert not (venv / bootstrap.INSTALLING).exists()
    assert bootstrap.read_stamp(venv) == ("one", "complete")

    said.clear()
    bootstrap.bring_up(options(venv))
    assert (len(installs), said) == (1, [])

    bootstrap.bring_up(options(venv, fingerprint="two"))
    assert len(installs) == 2
    assert said[0] == "bringing .venv up to date"


@pytest.mark.usefixtures("quiet_system")
def test_an_interrupted_install_is_thrown_away_by_the_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    def interrupted(venv: Path, arguments: Sequence[str]) -> None:
        (venv / "half").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "make_environment", fake_environment)
    monkeypatch.setattr(bootstrap, "pip", interrupted)
    venv = tmp_path / ".venv"
    arguments = ["--venv", str(venv), "--fingerprint", "one"]
    assert bootstrap.main(arguments) == 130
    assert said[-1] == "interrupted; the next start begins this anew"
    assert (venv / bootstrap.INSTALLING).exists()

    monkeypatch.setattr(bootstrap, "pip", lambda venv, arguments: None)
    assert bootstrap.main(arguments) == 0
    assert not (venv / "half").exists()
    assert bootstrap.read_stamp(venv) == ("one", "complete")


@pytest.mark.usefixtures("quiet_system")
def test_an_environment_made_by_hand_is_filled_not_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    monkeypatch.setattr(bootstrap, "pip", lambda venv, arguments: None)
    venv = tmp_path / ".venv"
    fake_environment(venv, None)
    (venv / "mine").touch()
    bootstrap.bring_up(options(venv))
    assert (venv / "mine").exists()
    assert bootstrap.read_stamp(venv) == ("one", "complete")
    assert said[0] == "bringing .venv up to date"


@pytest.mark.usefixtures("quiet_system")
def test_a_failed_install_ends_in_one_line_and_no_stamp(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    def failing(venv: Path, arguments: Sequence[str]) -> None:
        raise bootstrap.Stop("pip install . failed: no network")

    monkeypatch.setattr(bootstrap, "make_environment", fake_environment)
    monkeypatch.setattr(bootstrap, "pip", failing)
    assert bootstrap.main(["--venv", str(tmp_path / ".venv"), "--fingerprint", "one"]) == 1
    assert said[-1] == "pip install . failed: no network"
    assert bootstrap.read_stamp(tmp_path / ".venv") == ("", "")


@pytest.mark.usefixtures("quiet_system")
def test_what_the_system_lacks_is_looked_at_again_on_every_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "make_environment", fake_environment)
    monkeypatch.setattr(bootstrap, "pip", lambda venv, arguments: None)
    monkeypatch.setattr(bootstrap, "provide_system", lambda programs, *, with_realsense: False)
    venv = tmp_path / ".venv"
    bootstrap.bring_up(options(venv))
    assert bootstrap.read_stamp(venv) == ("one", "lacking")
    monkeypatch.setattr(bootstrap, "provide_system", lambda programs, *, with_realsense: True)
    bootstrap.bring_up(options(venv))
    assert bootstrap.read_stamp(venv) == ("one", "complete")


def test_a_folder_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    monkeypatch.delenv("NIGHTRIG_PYTHON", raising=False)
    (tmp_path / "file").touch()
    assert bootstrap.main(["--venv", str(tmp_path / "file" / ".venv"), "--fingerprint", "one"]) == 1
    assert said[-1].startswith(f"cannot set up {tmp_path / 'file' / '.venv'}: ")


def test_two_starts_at_once_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with bootstrap.alone(tmp_path):
            order.append("second")

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    monkeypatch.setattr(bootstrap, "say", say)
    with bootstrap.alone(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(timeout=30)
        order.append("first")
    thread.join(timeout=30)
    assert order == ["first", "second"]
    assert said == ["another start is installing; waiting for it"]


# ---- which Python ---------------------------------------------------------------------------------


@pytest.fixture
def on_a_pi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12 on a Raspberry Pi, with its own Python and no other."""
    monkeypatch.delenv("NIGHTRIG_PYTHON", raising=False)
    monkeypatch.setattr(sys, "version_info", (3, 11, 2))
    monkeypatch.setattr(bootstrap._system, "machine_here", lambda: "aarch64")
    monkeypatch.setattr(bootstrap._system, "glibc_here", lambda: (2, 36))
    monkeypatch.setattr(bootstrap, "probe", lambda command: None)


@pytest.mark.usefixtures("on_a_pi")
def test_a_pi_is_asked_for_a_python_that_has_realsense(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    questions: list[str] = []

    def yes(question: str) -> bool:
        questions.append(question)
        return True

    monkeypatch.setattr(bootstrap, "agrees", yes)
    assert bootstrap.choose_python(tmp_path / ".venv") == bootstrap.Python((3, 10), None)
    assert "Python 3.10, fetched with uv?" in questions[0]


@pytest.mark.usefixtures("on_a_pi")
def test_a_pi_that_cannot_be_asked_goes_on_without_realsense_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    python = bootstrap.choose_python(tmp_path / ".venv")
    assert python == bootstrap.Python((3, 11), sys.executable)
    assert not bootstrap.advise_realsense(python)
    (line,) = said
    assert "no wheel for Python 3.11 on aarch64" in line
    assert "NIGHTRIG_PYTHON=3.10 scripts/nightrig doctor" in line


@pytest.mark.usefixtures("on_a_pi")
def test_a_pi_that_has_the_right_python_takes_it_without_asking(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = bootstrap.Python((3, 10), "/opt/python3.10")
    monkeypatch.setattr(bootstrap, "probe", lambda command: good if command == "python3.10" else None)
    assert bootstrap.choose_python(tmp_path / ".venv") == good


def test_ci_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            raise AssertionError("asked")

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("CI", "true")
    assert not bootstrap.agrees("?")


def test_the_python_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NIGHTRIG_PYTHON", sys.executable)
    chosen = bootstrap.choose_python(tmp_path / ".venv")
    assert chosen.version == sys.version_info[:2]


def test_a_version_that_is_not_here_is_left_to_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "probe", lambda command: None)
    assert bootstrap.requested_python("3.12") == bootstrap.Python((3, 12), None)


@pytest.mark.parametrize("wanted", ["3.9", "3.99", "/no/such/python", "true", "2"])
def test_a_python_we_do_not_support_is_a_usage_error(wanted: str) -> None:
    with pytest.raises(bootstrap.Stop, match=r"is no Python 3\.10 to 3\.13") as stop:
        bootstrap.requested_python(wanted)
    assert stop.value.code == 2


def test_another_python_than_the_environment_has_makes_it_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: True)
    fake_environment(tmp_path, None)
    here = sys.version_info[:2]
    assert bootstrap.fits(tmp_path, bootstrap.Python(here, None))
    assert not bootstrap.fits(tmp_path, bootstrap.Python((here[0], here[1] + 1), None))


# ---- making it, with and without ensurepip --------------------------------------------------------


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> list[Sequence[str]]:
    """Records what would be run on a Debian user's account whose Python has neither ensurepip nor pip."""
    recorded: list[Sequence[str]] = []
    monkeypatch.setattr(bootstrap, "run", recorded.append)
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: False)
    monkeypatch.setattr(bootstrap._system, "has_apt", lambda: True)
    monkeypatch.setattr(bootstrap._system, "missing_libraries", lambda: bootstrap._system.LIBRARIES)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return recorded


DEBIAN = bootstrap.Python((3, 11), "/usr/bin/python3")


def test_a_user_without_ensurepip_is_given_one_line_with_everything(
    commands: list[Sequence[str]], tmp_path: Path
) -> None:
    with pytest.raises(bootstrap.Stop) as stop:
        bootstrap.make_environment(tmp_path, DEBIAN)
    assert str(stop.value).endswith(
        "sudo apt-get install -y --no-install-recommends"
        " python3.11-venv libgl1 libglib2.0-0 libsm6 libusb-1.0-0"
    )
    assert commands == []


def test_root_without_ensurepip_installs_it(
    commands: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed: list[str] = []

    def apt_install(packages: Sequence[str]) -> bool:
        installed.extend(packages)
        return True

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(bootstrap, "apt_install", apt_install)
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: bool(installed))
    bootstrap.make_environment(tmp_path, DEBIAN)
    assert installed == ["python3.11-venv"]
    assert commands == [["/usr/bin/python3", "-m", "venv", str(tmp_path)]]


def test_the_pip_of_the_system_takes_the_place_of_ensurepip(
    commands: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: name == "pip")
    bootstrap.make_environment(tmp_path, DEBIAN)
    assert commands[0] == ["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path)]
    assert list(commands[1][1:4]) == ["-m", "pip", "--python"]


def test_uv_takes_the_place_of_ensurepip_and_pip(
    commands: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/opt/uv" if name == "uv" else None)
    bootstrap.make_environment(tmp_path, DEBIAN)
    bootstrap.make_environment(tmp_path, bootstrap.Python((3, 10), None))
    assert [command[0] for command in commands] == ["/opt/uv", "/opt/uv"]
    assert [command[-2] for command in commands] == ["/usr/bin/python3", "3.10"]


# ---- packages and the system ----------------------------------------------------------------------


def test_where_realsense_cannot_be_installed_the_core_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    asked: list[str] = []

    def pip(venv: Path, arguments: Sequence[str]) -> None:
        asked.append(arguments[-1])
        if "realsense" in arguments[-1]:
            raise bootstrap.Stop("pip install failed: no pyrealsense2")

    monkeypatch.setattr(bootstrap, "pip", pip)
    bootstrap.install_project(tmp_path, [], with_realsense=True)
    assert asked == [".[realsense]", "."]
    assert said[-1] == "pip install failed: no pyrealsense2; trying without RealSense cameras"


def test_an_optional_reader_that_cannot_be_had_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    def failing(venv: Path, arguments: Sequence[str]) -> None:
        raise bootstrap.Stop("no such reader")

    monkeypatch.setattr(bootstrap, "pip", failing)
    bootstrap.install_optional(tmp_path, ["reader==1"])
    assert said == ["no such reader; going on without it"]


@pytest.mark.usefixtures("quiet_system", "said")
def test_one_group_of_optional_packages_that_cannot_be_had_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    had: list[str] = []

    def pip(venv: Path, arguments: Sequence[str]) -> None:
        if "rare" in arguments:
            raise bootstrap.Stop("no such package")
        had.append(arguments[-1])

    monkeypatch.setattr(bootstrap, "make_environment", fake_environment)
    monkeypatch.setattr(bootstrap, "pip", pip)
    bootstrap.bring_up(options(tmp_path / ".venv", optional=["--no-deps reader rare", "--no-deps other"]))
    assert had == [".[realsense]", "other"]


def test_the_telling_line_of_a_failure_is_shown() -> None:
    of_pip = [
        "      error: package directory 'configs' does not exist",
        "      [end of output]",
        "error: subprocess-exited-with-error",
        "note: This error originates from a subprocess.",
    ]
    assert bootstrap.last_error(of_pip) == "error: package directory 'configs' does not exist"
    assert bootstrap.last_error(["Reading lists", "E: Unable to locate package x"]).endswith("package x")
    assert bootstrap.last_error([]) == "no reason given"


def test_pip_really_runs_and_its_failure_is_one_line(tmp_path: Path, said: list[str]) -> None:
    write_program(tmp_path / "bin" / "python", "echo '  Downloading x-1.0-py3-none-any.whl (2 kB)'; exit 1")
    with pytest.raises(bootstrap.Stop, match=r"pip install \. failed: Downloading x"):
        bootstrap.pip(tmp_path, ["-e", "."])
    assert said == ["  x 1.0 (2 kB)"]


def test_a_module_that_does_not_load_is_named_with_the_reason(tmp_path: Path, said: list[str]) -> None:
    write_program(tmp_path / "bin" / "python", "echo 'ImportError: it is broken' >&2; exit 1")
    assert not bootstrap.imports_work(tmp_path)
    assert said[0] == "cv2 does not load: it is broken"


def test_variables_that_would_lead_pip_astray_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "mirror")
    kept = bootstrap.clean_environment()
    assert "PYTHONPATH" not in kept
    assert kept["PIP_INDEX_URL"] == "mirror"


PROGRAM = "nightrig-no-such-program=its-package=preview tests"


def lacks(monkeypatch: pytest.MonkeyPatch, *, root: bool, apt_works: bool) -> list[str]:
    """A system that lacks libGL and libusb until apt-get, if it works, has installed packages."""
    installed: list[str] = []
    table = {library.soname: library for library in bootstrap._system.LIBRARIES}
    missing = (table["libGL.so.1"], table["libusb-1.0.so.0"])

    def apt_install(packages: Sequence[str]) -> bool:
        installed.extend(packages)
        return apt_works

    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(bootstrap._system, "has_apt", lambda: True)
    monkeypatch.setattr(bootstrap, "apt_install", apt_install)
    monkeypatch.setattr(
        bootstrap._system, "missing_libraries", lambda: () if installed and apt_works else missing
    )
    return installed


def test_root_gets_the_missing_libraries_installed(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    installed = lacks(monkeypatch, root=True, apt_works=True)
    assert bootstrap.provide_system([], with_realsense=True)
    assert installed == ["libgl1", "libusb-1.0-0"]
    assert said == ["installing system packages: libgl1 libusb-1.0-0"]


def test_a_user_is_told_the_line_and_the_program_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    installed = lacks(monkeypatch, root=False, apt_works=True)
    assert not bootstrap.provide_system([PROGRAM], with_realsense=True)
    assert installed == []
    assert said == [
        "this system lacks what these need: OpenCV, RealSense cameras, preview tests; "
        "sudo apt-get install -y --no-install-recommends libgl1 libusb-1.0-0 its-package"
    ]


def test_root_whose_apt_get_fails_is_told_the_line_as_well(
    monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    lacks(monkeypatch, root=True, apt_works=False)
    assert not bootstrap.provide_system([], with_realsense=True)
    assert said[-1].endswith("apt-get install -y --no-install-recommends libgl1 libusb-1.0-0")


def test_without_realsense_its_library_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    installed = lacks(monkeypatch, root=True, apt_works=True)
    assert bootstrap.provide_system([], with_realsense=False)
    assert installed == ["libgl1"]


@pytest.mark.parametrize(
    ("lists", "codes", "calls", "worked"),
    [
        (True, [0], ["install"], True),
        (False, [0, 0], ["update", "install"], True),
        (True, [100, 0, 0], ["install", "update", "install"], True),
        (True, [100, 0, 100], ["install", "update", "install"], False),
        (False, [0, 100], ["update", "install"], False),
    ],
)
def test_package_lists_are_fetched_where_they_are_missing_or_of_no_use(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: list[str],
    lists: bool,
    codes: list[int],
    calls: list[str],
    worked: bool,
) -> None:
    if lists:
        (tmp_path / "mirror_main_binary-arm64_Packages.lz4").touch()
    made: list[str] = []

    def apt(arguments: Sequence[str]) -> tuple[int, list[str]]:
        made.append(arguments[0])
        return codes[len(made) - 1], ["E: Unable to fetch some archives"]

    monkeypatch.setattr(bootstrap, "APT_LISTS", tmp_path)
    monkeypatch.setattr(bootstrap, "apt", apt)
    assert bootstrap.apt_install(["libgl1"]) is worked
    assert made == calls
    assert said == ([] if worked else ["apt-get failed: E: Unable to fetch some archives"])
