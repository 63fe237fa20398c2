"""How to get the native kernels: nothing to say where they are, else one command that can be pasted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from capture import kernels


def test_nothing_is_said_where_they_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "has_kernels", lambda: True)
    monkeypatch.setattr(kernels, "has_mesh_kernels", lambda: True)
    assert kernels.how_to_get_kernels() == ""


def test_switch_that_turns_them_off_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "has_kernels", lambda: False)
    monkeypatch.setenv("NIGHTRIG_NO_KERNELS", "1")
    assert kernels.how_to_get_kernels() == "unset NIGHTRIG_NO_KERNELS"


@pytest.mark.parametrize("compiler", [None, "/usr/bin/cc"])
@pytest.mark.parametrize("headers", [False, True])
def test_compiler_and_headers_come_first_where_one_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: str | None, headers: bool
) -> None:
    monkeypatch.setattr(kernels, "has_kernels", lambda: False)
    monkeypatch.delenv("NIGHTRIG_NO_KERNELS", raising=False)
    monkeypatch.setattr(kernels.shutil, "which", lambda _: compiler)
    monkeypatch.setattr(kernels.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(kernels._system, "has_apt", lambda: True)
    if headers:
        (tmp_path / "Python.h").touch()
    way = kernels.how_to_get_kernels()
    assert ("python3-dev && " in way) == (compiler is None or not headers)
    assert f"{sys.executable} -m pip install --force-reinstall --no-deps -e " in way
