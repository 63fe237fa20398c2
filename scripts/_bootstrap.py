"""Makes and fills a virtual environment, for scripts/nightrig and scripts/test (through _bootstrap.sh).

Promises: stdout and stdin stay untouched; two starts at once wait for each other; an install that was
interrupted is thrown away by the next start, never mistaken for a whole one; as root on a system with
apt-get it installs the missing system packages, and otherwise names the line that does. An environment
somebody made by hand in the same place is filled, not replaced. Needs nothing but the standard library.

What the system lacks and which Python librealsense wants is decided in capture/_system.py.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from capture import _system  # noqa: E402 (it lies in the checkout, which is not installed yet)

STAMP = "nightrig-stamp"
INSTALLING = "nightrig-installing"
APT_LISTS = Path("/var/lib/apt/lists")

# These would send an installation, or what it finds installed, to another place.
MISLEADING = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")


class Stop(Exception):
    """Ends the start with one line for the person at the terminal and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter for the environment; `command` is None where uv has to fetch it."""

    version: _system.Version
    command: str | None

    @property
    def dotted(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--extras", default="", help="comma-separated extras of the project")
    parser.add_argument("--fingerprint", required=True, help="changes when a new installation is due")
    parser.add_argument("--program", action="append", default=[], metavar="COMMAND=PACKAGE=PURPOSE")
    parser.add_argument(
        "--optional", action="append", default=[], help="more arguments to pip; failing is no failure"
    )
    options = parser.parse_args(arguments)
    try:
        with alone(ROOT):
            bring_up(options)
    except Stop as stop:
        say(str(stop))
        return stop.code
    except KeyboardInterrupt:
        say("interrupted; the next start begins this anew")
        return 130
    except OSError as error:
        say(f"cannot set up {options.venv}: {error}")
        return 1
    return 0


def bring_up(options: argparse.Namespace) -> None:
    """The environment as it should be: Python, packages, system libraries, and the stamp last of all."""
    venv: Path = options.venv
    python = choose_python(venv)
    with_realsense = advise_realsense(python)
    fingerprint, state = read_stamp(venv)
    if fingerprint != options.fingerprint or not fits(venv, python):
        started = time.monotonic()
        provide_environment(venv, python)
        extras = [extra for extra in options.extras.split(",") if extra]
        install_project(venv, extras, with_realsense=with_realsense)
        for arguments in options.optional:
            install_optional(venv, arguments.split())
        (venv / INSTALLING).unlink()
        say(f"installed in {time.monotonic() - started:.0f} s")
    elif state == "complete":
        return
    complete = provide_system(options.program, with_realsense=with_realsense)
    complete = complete and imports_work(venv)
    state = "complete" if complete else "lacking"
    write_stamp(venv, [options.fingerprint, str((venv / "bin" / "python").resolve()), state])


# ---- which Python ---------------------------------------------------------------------------------


def choose_python(venv: Path) -> Python:
    """NIGHTRIG_PYTHON, else the one the environment has, else one that librealsense has a wheel for
    (fetched only after asking), else the one that runs this."""
    if wanted := os.environ.get("NIGHTRIG_PYTHON"):
        return requested_python(wanted)
    present = None if (venv / INSTALLING).exists() else probe(str(venv / "bin" / "python"))
    if present:
        return present
    running = Python(sys.version_info[:2], sys.executable)
    better = _system.realsense_advice_here(running.version).python
    if better is None:
        return running
    candidate = Python(better, None)
    if installed := probe(f"python{candidate.dotted}"):
        return installed
    question = (
        f"pyrealsense2 has no wheel for Python {running.dotted} on this machine."
        f" Make the environment with Python {candidate.dotted}, fetched with uv?"
    )
    return candidate if agrees(question) else running


def requested_python(wanted: str) -> Python:
    """NIGHTRIG_PYTHON as an interpreter; a version without one here is left to uv."""
    is_version = re.fullmatch(r"3\.(\d+)", wanted)
    found = probe(f"python{wanted}" if is_version else wanted)
    if found:
        return found
    if is_version and (version := (3, int(is_version[1]))) in _system.SUPPORTED_PYTHONS:
        return Python(version, None)
    raise Stop(f"NIGHTRIG_PYTHON={wanted} is no Python 3.10 to 3.13: give a path, a command or 3.12", 2)


def probe(command: str) -> Python | None:
    """The interpreter behind a command, or None where there is none that we support."""
    script = "import sys; print(*sys.version_info[:2]); print(sys.executable)"
    try:
        answer = subprocess.run(
            [command, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.fullmatch(r"(\d+) (\d+)\n(.+)\n", os.fsdecode(answer.stdout))
    if answer.returncode != 0 or said is None:
        return None
    version = (int(said[1]), int(said[2]))
    return Python(version, said[3]) if version in _system.SUPPORTED_PYTHONS else None


def advise_realsense(python: Python) -> bool:
    """Whether pyrealsense2 can be had for that Python; says so in one line where it cannot."""
    advice = _system.realsense_advice_here(python.version)
    if not advice.wheel:
        say(f"{advice.reason}, so RealSense cameras are left out; {advice.way_out}")
    return advice.wheel


def agrees(question: str) -> bool:
    """Asks on a terminal; a script, a service or CI is never asked and has not agreed."""
    streams = (sys.stdin, sys.stderr)
    if os.environ.get("CI") or not all(stream and stream.isatty() for stream in streams):
        return False
    sys.stderr.write(f"nightrig: {question} [Y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


# ---- the environment ------------------------------------------------------------------------------


def fits(venv: Path, python: Python) -> bool:
    """Whether the environment is whole and of the Python version that was chosen."""
    interpreter = venv / "bin" / "python"
    present = probe(str(interpreter))
    if present is None or present.version != python.version or (venv / INSTALLING).exists():
        return False
    return has_module(interpreter, "pip")


def provide_environment(venv: Path, python: Python) -> None:
    """Leaves an environment with pip at `venv`, marked as unfinished until the caller says otherwise."""
    whole = fits(venv, python)
    venv.mkdir(parents=True, exist_ok=True)
    (venv / INSTALLING).touch()
    (venv / STAMP).unlink(missing_ok=True)
    if whole:
        say(f"bringing {venv.name} up to date")
        return
    say(f"making {venv.name} with Python {python.dotted} (about 110 MB to download the first time)")
    empty(venv, keep=INSTALLING)
    make_environment(venv, python)


def empty(folder: Path, *, keep: str) -> None:
    for entry in folder.iterdir():
        if entry.name == keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def make_environment(venv: Path, python: Python) -> None:
    """An environment with pip in it, whichever way this machine has.

    Debian splits ensurepip, and with it `python3 -m venv`, off into a package of its own."""
    if python.command is None:
        run([uv_command(), "venv", "--quiet", "--allow-existing", "--seed", "-p", python.dotted, str(venv)])
        return
    package = f"python{python.dotted}-venv"
    if not has_module(python.command, "ensurepip") and os.geteuid() == 0 and _system.has_apt():
        say(f"installing the system package {package}")
        apt_install([package])
    if has_module(python.command, "ensurepip"):
        run([python.command, "-m", "venv", str(venv)])
    elif has_module(python.command, "pip"):
        run([python.command, "-m", "venv", "--without-pip", str(venv)])
        run([python.command, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "-q", "pip"])
    elif uv := shutil.which("uv"):
        run([uv, "venv", "--quiet", "--allow-existing", "--seed", "-p", python.command, str(venv)])
    elif _system.has_apt():
        packages = [package, *_system.packages_of(_system.missing_libraries())]
        raise Stop(f"{python.command} cannot make an environment: {_system.apt_line(packages)}")
    else:
        raise Stop(f"{python.command} has neither ensurepip nor pip: install either, or uv")


def uv_command() -> str:
    """uv from the machine, else from the package registry in an environment of its own."""
    if uv := shutil.which("uv"):
        return uv
    own = ROOT / ".venv-uv"
    if not (own / "bin" / "uv").exists():
        say(f"installing uv in {own.name}")
        make_environment(own, Python(sys.version_info[:2], sys.executable))
        pip(own, ["--only-binary", ":all:", "uv"])
    return str(own / "bin" / "uv")


def has_module(python: str | Path, name: str) -> bool:
    return quietly([str(python), "-c", f"import {name}"])[0] == 0


# ---- packages -------------------------------------------------------------------------------------


def install_project(venv: Path, extras: Sequence[str], *, with_realsense: bool) -> None:
    """The project itself, editable, so that `git pull` is all an update takes.

    Wheels only: a Pi would build OpenCV from source for hours, and then fail."""
    arguments = ["--only-binary", ":all:", "-e"]
    if with_realsense:
        try:
            pip(venv, [*arguments, f".[{','.join([*extras, 'realsense'])}]"])
        except Stop as stop:
            say(f"{stop}; trying without RealSense cameras")
        else:
            return
    pip(venv, [*arguments, f".[{','.join(extras)}]" if extras else "."])


def install_optional(venv: Path, arguments: Sequence[str]) -> None:
    try:
        pip(venv, arguments)
    except Stop as stop:
        say(f"{stop}; going on without it")


def pip(venv: Path, arguments: Sequence[str]) -> None:
    """`pip install`, with a line for each download, as they can take minutes."""
    fixed = ["install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    command = [str(venv / "bin" / "python"), "-m", "pip", *fixed, *arguments]
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if wheel := re.match(r"\s*Downloading (?:\S*/)?(\w+)-([^-]+)-\S+\.whl (\(.*\))", line):
                say(f"  {wheel[1]} {wheel[2]} {wheel[3]}")
    if process.returncode != 0:
        raise Stop(f"pip install {arguments[-1]} failed: {last_error(lines)}")


def last_error(lines: Sequence[str]) -> str:
    """The line of pip, venv, apt-get or Python that says most about a failure."""
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if re.match(r"(E|ERROR|error|cause|\w+Error): ", line)]
    # pip sums the failure of a build up in this line, after the one that tells the reason.
    telling = [line for line in errors if not line.endswith("subprocess-exited-with-error")]
    return (telling or errors or said or ["no reason given"])[-1]


def imports_work(venv: Path) -> bool:
    """Whether what was installed really loads on this system; says what does not."""
    python = venv / "bin" / "python"
    works = True
    for module in ("cv2", "pyrealsense2"):
        script = f"import importlib.util as u\nif u.find_spec('{module}'): import {module}"
        code, lines = quietly([str(python), "-c", script])
        if code != 0:
            reason = last_error(lines).removeprefix("ImportError: ")
            say(f"{module} does not load: {_system.explain_import_error(ImportError(reason)) or reason}")
            works = False
    return works


# ---- the system -----------------------------------------------------------------------------------


def provide_system(programs: Sequence[str], *, with_realsense: bool) -> bool:
    """Installs, or names, the system libraries and programs that are missing; True when none is left."""
    missing = lacking(programs, with_realsense=with_realsense)
    if missing and os.geteuid() == 0 and _system.has_apt():
        packages = _system.packages_of(missing)
        say(f"installing system packages: {' '.join(packages)}")
        apt_install(packages)
        missing = lacking(programs, with_realsense=with_realsense)
    if missing:
        purposes = ", ".join(dict.fromkeys(library.purpose for library in missing))
        say(f"this system lacks what these need: {purposes}; {_system.install_hint(missing)}")
    return not missing


def lacking(programs: Sequence[str], *, with_realsense: bool) -> list[_system.Library]:
    """The missing libraries, and the missing programs as if they were libraries."""
    libraries = [
        library
        for library in _system.missing_libraries()
        if with_realsense or library.purpose != _system.REALSENSE_PURPOSE
    ]
    for entry in programs:
        command, package, purpose = entry.split("=")
        if shutil.which(command) is None:
            libraries.append(_system.Library(command, package, purpose))
    return libraries


def apt_install(packages: Sequence[str]) -> bool:
    """Installs as root; fetches the package lists first where there are none, and again where they are
    too old to be of use. Says why it failed."""
    refreshed = False
    if not any(APT_LISTS.glob("*_Packages*")):
        apt(["update"])
        refreshed = True
    install = ["install", "-y", "--no-install-recommends", *packages]
    code, lines = apt(install)
    if code != 0 and not refreshed:
        apt(["update"])
        code, lines = apt(install)
    if code != 0:
        say(f"apt-get failed: {last_error(lines)}")
    return code == 0


def apt(arguments: Sequence[str]) -> tuple[int, list[str]]:
    # Wait for the unattended upgrade of a freshly booted machine instead of failing beside it.
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments]
    return quietly(command, DEBIAN_FRONTEND="noninteractive")


# ---- small parts ----------------------------------------------------------------------------------


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the checkout for one start at a time. The lock goes with the process, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start is installing; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_stamp(venv: Path) -> tuple[str, str]:
    """The fingerprint and the state that were written last; empty where they are not to be trusted."""
    try:
        fingerprint, interpreter, state = (venv / STAMP).read_text().splitlines()
    except (FileNotFoundError, ValueError):
        return "", ""
    return (fingerprint, state) if interpreter == str((venv / "bin" / "python").resolve()) else ("", "")


def write_stamp(venv: Path, lines: Sequence[str]) -> None:
    draft = venv / f"{STAMP}.new"
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(venv / STAMP)


def run(command: Sequence[str]) -> None:
    code, lines = quietly(command)
    if code != 0:
        what = " ".join([Path(command[0]).name, *command[1:]])
        raise Stop(f"{what} failed: {last_error(lines)}")


def quietly(command: Sequence[str], **variables: str) -> tuple[int, list[str]]:
    """The exit code of a command and what it said, which the terminal does not see."""
    answer = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**clean_environment(), **variables},
    )
    return answer.returncode, os.fsdecode(answer.stdout).splitlines()


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in MISLEADING}


def say(text: str) -> None:
    print(f"nightrig: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
