"""The front door: what scripts/nightrig and scripts/test promise before anything is installed.

They run for real in a copy of the checkout whose path has a space, with a stand-in where the environment
or the installer would be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts._needs import needed_modules

ROOT = Path(__file__).resolve().parent.parent
NATIVE = sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("c*/**/native/module.c"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a night rig"
    (folder / "scripts").mkdir(parents=True)
    (folder / "capture").mkdir()
    for native in NATIVE:
        shutil.copytree(ROOT / native, folder / native)
    for name in (
        "scripts/nightrig",
        "scripts/test",
        "scripts/_bootstrap.sh",
        "scripts/_bootstrap.py",
        "pyproject.toml",
        "capture/__init__.py",
        "capture/_system.py",
    ):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def ready(checkout: Path) -> Path:
    """A checkout with a finished environment, whose program prints its number and arguments, exits 7."""
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(Path(sys.executable).resolve())
    write_program(binaries / "nightrig", 'echo $$; printf "%s\\n" "$@"; exit 7')
    asking = f'here=\'{checkout}/scripts\'; . "$here/_bootstrap.sh"; is_ready() {{ echo "$fingerprint"; }};'
    fingerprint = subprocess.run(
        ["sh", "-c", asking + " prepare .venv ''"], capture_output=True, text=True, check=True, env=env()
    ).stdout.strip()
    stamp = [fingerprint, str((binaries / "python").resolve()), "complete"]
    (checkout / ".venv" / "nightrig-stamp").write_text("\n".join(stamp) + "\n")
    return checkout


def write_program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def env(**changes: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NIGHTRIG_PYTHON"} | changes


def with_python3(folder: Path, body: str) -> dict[str, str]:
    """An environment in which python3 is that shell script and no other Python is found."""
    for tool in ("sh", "cat", "cksum", "readlink", "dirname", "id"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).parent.mkdir(parents=True, exist_ok=True)
        (folder / tool).symlink_to(found)
    write_program(folder / "python3", body)
    return env(PATH=str(folder))


INSTALLER = 'case "$1" in -c) exit 0;; esac; echo "installing $*"; exit 9'
"""A python3 that passes for a good one and, asked to install, says so on stdout and fails."""


# ---- scripts/nightrig -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", ["scripts/nightrig", "scripts/test", "scripts/check_wheels", "scripts/check_kernels", ".ci/run"]
)
def test_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_ci_runs_the_test_script_and_nothing_else() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec scripts/test"


def test_a_ready_environment_is_entered_without_a_word(ready: Path) -> None:
    with subprocess.Popen(
        [str(ready / "scripts" / "nightrig"), "record", "two words", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=env(),
    ) as process:
        stdout, stderr = process.communicate()
    number, *arguments = stdout.splitlines()
    assert arguments == ["record", "two words", "--json"]
    assert process.returncode == 7
    assert stderr == ""
    assert int(number) == process.pid  # the program took the place of the script: signals reach it


def test_it_can_be_called_through_a_link(ready: Path, tmp_path: Path) -> None:
    (tmp_path / "nr").symlink_to(ready / "scripts" / "nightrig")
    answer = subprocess.run([str(tmp_path / "nr"), "x"], capture_output=True, text=True, env=env())
    assert (answer.returncode, answer.stdout.splitlines()[1]) == (7, "x")


@pytest.mark.parametrize("change", ["pyproject", *NATIVE, "stamp", "python", "lacking", "chosen"])
def test_anything_that_changed_is_looked_into_before_the_start(
    ready: Path, tmp_path: Path, change: str
) -> None:
    venv = ready / ".venv"
    environment = with_python3(tmp_path / "bin", INSTALLER)
    if change == "pyproject":
        with (ready / "pyproject.toml").open("a") as file:
            file.write("# a new dependency\n")
    elif change in NATIVE:
        with (ready / change / "module.c").open("a") as file:
            file.write("/* a new kernel */\n")
    elif change == "stamp":
        (venv / "nightrig-stamp").unlink()
    elif change == "python":
        (venv / "bin" / "python").unlink()
        write_program(venv / "bin" / "python", "exit 0")
    elif change == "lacking":
        stamp = venv / "nightrig-stamp"
        stamp.write_text(stamp.read_text().replace("complete", "lacking"))
    else:
        environment["NIGHTRIG_PYTHON"] = "3.12"
    answer = subprocess.run(
        [str(ready / "scripts" / "nightrig"), "info", "--json"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert answer.stdout == ""
    assert "installing" in answer.stderr
    assert answer.returncode == 9


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('case "$2" in *print*) echo "python3 is 3.9";; *) exit 1;; esac', "python3 is 3.9"),
        ("exit 127", "there is no python3"),
    ],
)
def test_without_a_supported_python_one_line_names_what_to_install(
    checkout: Path, tmp_path: Path, body: str, found: str
) -> None:
    answer = subprocess.run(
        [str(checkout / "scripts" / "nightrig")],
        capture_output=True,
        text=True,
        env=with_python3(tmp_path / "bin", body),
    )
    assert answer.returncode == 1
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert f"needs Python 3.10 to 3.13, and {found}: " in line
    assert "apt-get install -y python3 python3-venv" in line


def test_the_tests_have_an_environment_of_their_own(checkout: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [str(checkout / "scripts" / "test")],
        capture_output=True,
        text=True,
        env=with_python3(tmp_path / "bin", INSTALLER),
    )
    assert answer.returncode == 9
    assert f"--venv {checkout}/.venv-test --extras test" in answer.stderr


@pytest.mark.parametrize("quiet", ["-q", "-qq", "--quiet"])
def test_the_last_line_of_the_tests_is_there_however_quiet_they_shall_be(checkout: Path, quiet: str) -> None:
    (checkout / "scripts" / "_bootstrap.sh").write_text(
        'root=$(dirname "$here"); prepare() { venv=$root/v; }\n'
    )
    write_program(checkout / "v" / "bin" / "python", 'printf "%s|" "$@"; echo')
    command = [str(checkout / "scripts" / "test"), "-k", "two words", quiet, "-x"]
    answer = subprocess.run(command, capture_output=True, text=True, env=env(), check=True)
    assert answer.stdout.splitlines()[-1] == "-m|pytest|-q|-k|two words|-x|"


# ---- programs that need an environment of ours -----------------------------------------------------


@pytest.mark.parametrize(
    ("script", "venv", "maker"),
    [
        ("scripts/check_kernels", ".venv-test", "scripts/test"),
        ("scripts/check_wheels", ".venv-test", "scripts/test"),
        ("scripts/fuzz/compare_twin", ".venv-test", "scripts/test"),
        ("scripts/train_context_map.py", ".venv", "scripts/nightrig"),
        ("scripts/bench/depth.py", ".venv", "scripts/nightrig"),
        ("scripts/bench/pipeline.py", ".venv", "scripts/nightrig"),
    ],
)
def test_a_python_without_our_packages_is_told_which_one_has_them(script: str, venv: str, maker: str) -> None:
    bare = [sys.executable, "-S", str(ROOT / script), "--help"]  # -S: none of the packages installed for it
    answer = subprocess.run(bare, capture_output=True, text=True, cwd="/", env=env(PYTHONPATH=""))
    assert answer.returncode == 3
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"{script}: needs ")
    assert line.endswith(f": run it as {venv}/bin/python {script}; {maker} makes that environment")


def test_a_module_of_ours_that_is_missing_is_no_matter_of_the_environment() -> None:
    with pytest.raises(ModuleNotFoundError), needed_modules():
        raise ModuleNotFoundError("No module named 'codec.depth.gone'", name="codec.depth.gone")
