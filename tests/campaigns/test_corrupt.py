"""The campaign that damages files: its short form holds, and it sees what it has to see."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from codec.records import reader
from scripts.campaigns import corrupt
from scripts.campaigns._campaign import BROKEN, HELD
from scripts.campaigns._damage import random_damage
from scripts.campaigns._samples import depth_picture, depth_sample

SHORT = ("--bits", "150", "--random", "200", "--frames", "3", "--large-frames", "4", "--only", "records")


def test_the_short_form_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert corrupt.main([*SHORT, "--out", str(tmp_path)]) == HELD
    assert "BROKEN" not in capsys.readouterr().out


def test_a_reader_that_believes_any_payload_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Believing:
        @staticmethod
        def crc32(data: bytes, value: int = 0) -> object:
            class Whatever(int):
                def __eq__(self, other: object) -> bool:
                    return True

                def __ne__(self, other: object) -> bool:
                    return False

                __hash__ = int.__hash__

            return Whatever(zlib.crc32(data, value))

    monkeypatch.setattr(reader, "zlib", Believing)
    assert corrupt.main([*SHORT, "--out", str(tmp_path)]) == BROKEN


def test_the_same_seed_does_the_same_damage(tmp_path: Path) -> None:
    pictures = [depth_picture(number, width=20, height=14) for number in range(3)]
    sample = depth_sample(tmp_path / "a.nrig", pictures, "raw")
    one, other = ([random_damage(random.Random(n), sample) for n in range(60)] for _ in range(2))
    assert one == other
    for damage in one:
        after = damage.applied(sample.content)
        if damage.keeps_size:
            assert len(after) == len(sample.content)
        touched = {index for patch in damage.patches for index in sample.hit(patch.start, patch.end)}
        if not touched:  # between two records, and each is still there
            assert all(sample.content[span.start : span.end] in after for span in sample.spans)
