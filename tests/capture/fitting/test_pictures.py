"""What pictures tell of their lens, and which picture belongs to which row of key points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.fitting.pictures import focal_on_film_mm, pictures_in, pictures_of_rows, read_picture
from codec.errors import ConfigError, FormatError, StorageError
from tests.capture.fitting.made_pictures import SIZE, jpeg_with_exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_focal_length_on_film_becomes_pixels(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with_exif(28, order=order))
    picture, focal_px = read_picture(path)
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    assert focal_px == pytest.approx(28 / 43.2666 * 800)


def test_exif_data_that_end_early_or_make_no_sense_tell_nothing() -> None:
    whole = jpeg_with_exif(28)
    for length in range(100):
        focal_on_film_mm(whole[:length])
    rng = np.random.default_rng(0)
    for _ in range(500):
        data = bytearray(whole)
        for at in rng.integers(2, 80, 3):
            data[at] = rng.integers(256)
        told = focal_on_film_mm(bytes(data))
        assert told is None or 1 <= told <= 5000
    assert focal_on_film_mm(jpeg_with_exif(0)) is None
    assert focal_on_film_mm(b"") is None


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    (tmp_path / "b.jpg").write_bytes(b"")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(FormatError, match=name):
            read_picture(tmp_path / name)
    with pytest.raises(StorageError, match=r"c\.jpg"):
        read_picture(tmp_path / "c.jpg")


def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("im10.jpg", "im2.PNG", "im1.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in pictures_in(tmp_path)] == ["im1.jpg", "im2.PNG", "im10.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no pictures"):
        pictures_in(tmp_path / "empty")


def test_rows_find_their_pictures_by_number() -> None:
    two, three, five = Path("im0002.jpg"), Path("im0003.jpg"), Path("im0005.jpg")
    assert pictures_of_rows([two, three, five], 5) == [None, two, three, None, five]
    zero = Path("im0000.jpg")
    assert pictures_of_rows([zero, two], 3) == [zero, None, two]
    # As many as rows: whatever they are called.
    assert pictures_of_rows([five, Path("x.jpg")], 2) == [five, Path("x.jpg")]
    with pytest.raises(ConfigError, match=r"im0005\.jpg"):
        pictures_of_rows([two, five], 4)
    with pytest.raises(ConfigError, match="number of its own"):
        pictures_of_rows([Path("x.jpg"), two], 4)
