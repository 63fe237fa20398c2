"""Names that are none, and files that are larger than they can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capture import given_files
from capture.given_files import exists, given_path, is_file, read_small


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "x/" * 4000])
def test_a_name_that_can_be_none_is_a_file_that_is_not_there(name: str) -> None:
    assert not exists(Path(name))
    assert not is_file(Path(name))


def test_a_home_of_nobody_stays_as_it_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert str(given_path("~nobody-of-that-name/night.nrig")) == "~nobody-of-that-name/night.nrig"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given_path("~/night.nrig") == tmp_path / "night.nrig"


def test_no_more_is_read_than_such_a_file_can_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(b"0123456789")
    assert read_small(path, 10) == b"0123456789"
    with pytest.raises(OSError, match="larger than"):
        read_small(path, 9)
    os.truncate(path, 1 << 40)  # it takes nothing on the disk
    with pytest.raises(OSError, match="larger than 16 MB"):
        read_small(path)
    monkeypatch.setattr(given_files, "SETTINGS_BYTES_MAX", 5)
    os.mkfifo(tmp_path / "pipe")
    assert read_small(tmp_path / "pipe") == b""
