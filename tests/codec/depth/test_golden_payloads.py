"""Payloads that earlier versions wrote are read for ever.

A file in golden/ is never rewritten: a change that cannot read one of them needs a new codec id. What the
pixels must be is kept as the start of the SHA-256 of their little-endian bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from codec.depth import CODEC_NAMES, get_codec

FOLDER = Path(__file__).parent / "golden"


class Golden(NamedTuple):
    payload_bytes: int
    dtype: str
    shape: tuple[int, int]
    pixels_sha256: str


GOLDEN = {
    "raw-uint16-7x5": Golden(82, "uint16", (7, 5), "fab4724197e57259b1a1e5cb112160c8"),
    "raw-uint8-5x7": Golden(47, "uint8", (5, 7), "1f48437126102ea1f253c86b5e2e94d8"),
    "raw-empty-0x7": Golden(12, "uint16", (0, 7), "e3b0c44298fc1c149afbf4c8996fb924"),
    "lz4-uint16-33x47": Golden(1333, "uint16", (33, 47), "aac657a9243f2678dcc794ee8d393fc3"),
    "lz4-uint8-33x47": Golden(851, "uint8", (33, 47), "c54c54bcef39461062575fc32269c147"),
    "lz4-empty-7x0": Golden(23, "uint16", (7, 0), "e3b0c44298fc1c149afbf4c8996fb924"),
    "lattice-lz4-ranks-83x101": Golden(2410, "uint16", (83, 101), "6b940c0a55fb1ce19ebd824d874f961b"),
    "lattice-lz4-late-values-257x256": Golden(410, "uint16", (257, 256), "9b75fd6ec4d187113aa2a00028b22d86"),
    "lattice-lz4-values-33x47": Golden(1060, "uint16", (33, 47), "f021411dda491288fa33e86decf9686b"),
    "lattice-lz4-planes-9x11": Golden(212, "uint16", (9, 11), "63ef1f02914de04ecaf15f458bad8918"),
    "lattice-lz4-uint8-12x13": Golden(170, "uint8", (12, 13), "8d7471c31d1d2d09b9f4b73f5d0a0a1c"),
    "lattice-lz4-empty-0x7": Golden(12, "uint16", (0, 7), "e3b0c44298fc1c149afbf4c8996fb924"),
    "lattice-rans-map1-83x301": Golden(3838, "uint16", (83, 301), "228080110882dff3abb4f788ad832458"),
    "lattice-rans-map1-escapes-96x200": Golden(3591, "uint16", (96, 200), "b88d14c88782f8aa2dd5eaa0dc4536a1"),
    "lattice-rans-map1-holes-40x530": Golden(5826, "uint16", (40, 530), "892c809e76181ce9f529da98f1ca82ad"),
    "lattice-rans-plain-33x7": Golden(215, "uint16", (33, 7), "c3375a39cd419ef39382ac9588549f46"),
    "lattice-rans-uint8-12x13": Golden(150, "uint8", (12, 13), "bde307f322f18256e7e3600b497d8107"),
    "lattice-rans-empty-0x7": Golden(24, "uint16", (0, 7), "e3b0c44298fc1c149afbf4c8996fb924"),
    "near-2.5-83x101": Golden(481, "uint16", (83, 101), "3f1b9d252a8fb9ee56852ce06ec345a3"),
    "near-uint8-12x13": Golden(168, "uint8", (12, 13), "bde307f322f18256e7e3600b497d8107"),
    "max-fitted-83x101": Golden(1377, "uint16", (83, 101), "508fb531bff6a0d436d6d66488b75ebb"),
    "max-default-weights-9x300": Golden(686, "uint16", (9, 300), "761631491b13aae8fa2ba71d3a232c2c"),
    "max-holes-70x101": Golden(1752, "uint16", (70, 101), "889f168d2487203da8b572f3ea9276f0"),
    "max-edges-50x60": Golden(661, "uint16", (50, 60), "195e7484e4d380c2ffd1ec17bb63217e"),
    "max-plain-60x70": Golden(1063, "uint16", (60, 70), "45108412fbf0664523ccab5ce7f6b785"),
    "max-uint8-12x13": Golden(182, "uint8", (12, 13), "eb8a48876fb2fee661b3e50ae2f90b96"),
    "max-empty-0x7": Golden(24, "uint16", (0, 7), "e3b0c44298fc1c149afbf4c8996fb924"),
}


def codec_of(case: str) -> str:
    return max((name for name in CODEC_NAMES if case.startswith(name + "-")), key=len)


@pytest.mark.parametrize("case", GOLDEN)
def test_stored_payload_still_gives_its_pixels(case: str) -> None:
    golden = GOLDEN[case]
    payload = (FOLDER / f"{case}.bin").read_bytes()
    assert len(payload) == golden.payload_bytes
    image = get_codec(codec_of(case)).decode(payload)
    assert image.shape == golden.shape
    assert image.dtype == np.dtype(golden.dtype)
    little = image.astype(image.dtype.newbyteorder("<")).tobytes()
    assert hashlib.sha256(little).hexdigest()[:32] == golden.pixels_sha256


def test_every_stored_payload_is_listed_and_every_codec_has_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == set(GOLDEN)
    assert {codec_of(case) for case in GOLDEN} == set(CODEC_NAMES)
