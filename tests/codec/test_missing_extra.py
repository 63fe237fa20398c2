"""The error of a missing extra ends in a command that works where it is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from codec import errors

ROOT = Path(errors.__file__).resolve().parents[1]


def test_in_a_checkout_it_installs_from_there_for_this_interpreter() -> None:
    error = errors.MissingExtraError(package="zstandard", extra="zstd", purpose="writing")
    assert str(error).endswith(f"{sys.executable} -m pip install -e '{ROOT}[zstd]'")


def test_elsewhere_it_installs_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(errors, "_ROOT", tmp_path)
    error = errors.MissingExtraError(package="zstandard", extra="zstd", purpose="writing")
    assert str(error).endswith(f"{sys.executable} -m pip install 'nightrig[zstd]'")
