"""What scripts/check_wheels promises: nothing missing goes unnoticed, and nothing unreachable is blamed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
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


check_wheels = load(ROOT / "scripts" / "check_wheels", "nightrig_check_wheels")

Wheel = check_wheels.Wheel
CORE = ["one>=1", "old-only>=2; python_version < '3.11'"]


def registry(**lacking: str) -> Callable[[Sequence[str], Sequence[str]], list[object]]:
    """A stand-in for pip: every distribution has version 1.0, but for `name="3.12"`, none on 3.12."""

    def resolve(wishes: Sequence[str], arguments: Sequence[str]) -> list[object]:
        python = arguments[1] if arguments else "native"
        names = [check_wheels.Requirement(wish).name for wish in wishes]
        if any(lacking.get(name) == python for name in names):
            raise check_wheels.NoWheelError(names)
        requires = ("backport; python_version < '3.11'", "tool; extra == 'dev'")
        return [Wheel(name, "1.0", requires if name == "one" else ()) for name in names]

    return resolve


def test_a_full_table_of_wheels_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_wheels, "resolve", registry())
    assert check_wheels.report_wheels(CORE, ["pyrealsense2>=2"])
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[2:]}
    assert rows["one"] == ["1.0", "1.0", "1.0", "1.0"]
    assert rows["old-only"] == ["1.0", "-", "-", "-"]


def test_what_only_the_other_python_needs_is_resolved_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_wheels, "resolve", registry())
    check_wheels.report_wheels(CORE, ["pyrealsense2>=2"])
    output = capsys.readouterr().out
    (row,) = [line for line in output.splitlines() if "backport" in line]
    assert row.split() == ["backport", "1.0", "-", "-", "-"]
    assert "tool" not in output


def test_a_missing_wheel_fails_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_wheels, "resolve", registry(one="3.13"))
    assert not check_wheels.report_wheels(CORE, ["pyrealsense2>=2"])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("one")]
    assert row.split() == ["one", "1.0", "1.0", "1.0", "missing"]


def test_realsense_may_be_missing_and_a_wheel_that_does_not_load_is_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_wheels, "resolve", registry(pyrealsense2="3.11"))
    assert check_wheels.report_wheels(CORE, ["pyrealsense2>=2"])
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.split() == ["(pyrealsense2)", "1.0", "none", "glibc", "2.38", "1.0"]


@pytest.mark.parametrize(("arguments", "code"), [([], 4), (["--offline-ok"], 0)])
def test_a_registry_out_of_reach_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
) -> None:
    def unreachable(wishes: Sequence[str], options: Sequence[str]) -> list[object]:
        raise check_wheels.NoWheelError("nothing")

    monkeypatch.setattr(sys, "argv", ["check_wheels", *arguments])
    monkeypatch.setattr(check_wheels, "resolve", unreachable)
    monkeypatch.setattr(check_wheels, "report_size", lambda core: True)
    assert check_wheels.main() == code
    assert "not checked" in capsys.readouterr().out


def test_the_size_of_the_core_is_that_of_everything_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = check_wheels.installed_closure(["pytest"])
    assert {"pytest", "pluggy"} <= names
    assert check_wheels.report_size(["pytest"])
    monkeypatch.setattr(check_wheels, "CORE_LIMIT_MB", 0)
    assert not check_wheels.report_size(["pytest"])
    assert capsys.readouterr().out.rstrip().endswith("TOO BIG")
