"""Mesh files with something wrong: bytes of the file, or of what is compressed in it, changed at random.

For the test of the reader and for scripts/fuzz/mesh_reader. The same seed makes the same file.
"""

from __future__ import annotations

import contextlib
import lzma
import random
from pathlib import Path
from typing import Any

import msgpack

from codec.errors import NightrigError
from codec.mesh import MeshReader
from codec.mesh.stored_streams import stored_xz, stored_zstd

FOLDER = Path(__file__).parent / "golden"

# What msgpack and its arrays are made of, and what has gone wrong in other readers of it.
_TELLING = [
    b"\xc1",
    b"\xc6\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x7f\xff\xff\xff",
    b"\xc9\x00\x00\x00\x10\x01",
    b"\x91" * 600,
    b"\x81\xc4\x02nd" * 40,
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xa3<i9",
    b"\xa2|O",
    b"\xc4\x01O",
    b"\x00" * 2000,
    b"\x80" * 2000,
]
_HEADER_CHANGES: list[dict[str, Any]] = [
    {"length": 2**61},
    {"length": 0},
    {"length": None},
    {"length": -1},
    {"metadata_start": 0},
    {"metadata_start": 2**61},
    {"metadata_start": None},
    {"data_start": 0},
    {"data_start": 4},
    {"data_start": 2**61},
    {"data_start": None},
    {"data_end": 0},
    {"data_end": 2**61},
    {"data_end": 600},
    {"vertex_order": "auto"},
    {"vertex_order": "smpl"},
    {"vertex_order": [0] * 1000},
    {"vertex_order": list(range(30))[::-1]},
    {"vertex_order": {}},
    {"compression": "zstd"},
    {"compression": "xz"},
    {"closed": None},
    {"fps": 1e308},
    {"seek": b"\x00" * 240},
    {"seek": b"\x01" * 240},
    {"__bodycompress_version__": [0, 2, 1]},
    {"__bodycompress_version__": [2**63]},
    {"__bodycompress_version__": None},
]


class Mutator:
    """Gives one file after the other, each made from one of the seeds."""

    def __init__(self, seed: int, *, with_zstd: bool) -> None:
        self._random = random.Random(seed)
        names = sorted(FOLDER.iterdir())
        wanted = [path for path in names if path.suffix == ".xz" or with_zstd]
        self.seeds = [path.read_bytes() for path in wanted if path.stat().st_size < 8000]
        self._contents = [parts for parts in map(_contents, self.seeds) if parts is not None]

    def add(self, whole: bytes) -> None:
        """Another seed."""
        self.seeds.append(whole)
        parts = _contents(whole)
        if parts is not None:
            self._contents.append(parts)

    def next(self) -> bytes:
        pick = self._random.random()
        if pick < 0.35:
            return bytes(self._mutate(self._random.choice(self.seeds)))
        header, metadata, data = self._random.choice(self._contents)
        if pick < 0.55:
            header = header | self._random.choice(_HEADER_CHANGES)
        elif pick < 0.6:
            header = {}
        elif pick < 0.7:
            metadata = bytes(self._mutate(metadata))
        if pick >= 0.62:
            data = bytes(self._mutate(data))
        whole = _laid_out(header, metadata, data)
        return bytes(self._mutate(whole)) if self._random.random() < 0.1 else whole

    def _mutate(self, whole: bytes) -> bytearray:
        return damaged(self._random, whole)


def damaged(chance: random.Random, whole: bytes) -> bytearray:
    """Bytes flipped, cut, doubled, moved, zeroed, or replaced by what msgpack is made of."""
    out = bytearray(whole)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if not out:
            break
        at = chance.randrange(len(out))
        other = chance.randrange(len(out))
        length = chance.choice((1, 2, 4, 16, 300))
        kind = chance.randrange(9)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[other : other + length]
        elif kind == 5:
            out[at : at + length] = chance.randbytes(length)
        elif kind == 6:
            out[at:at] = chance.choice(_TELLING)
        elif kind == 7:
            telling = chance.choice(_TELLING)
            out[at : at + len(telling)] = telling
        else:
            out[at : at + length] = bytes(length)
    return out


def _contents(whole: bytes) -> tuple[dict[str, Any], bytes, bytes] | None:
    """Header, packed metadata and packed frames of an undamaged .xz file with a header."""
    parts = []
    rest = whole
    while rest.startswith(b"\xfd7zXZ"):
        decompressor = lzma.LZMADecompressor()
        try:
            parts.append(decompressor.decompress(rest))
        except lzma.LZMAError:
            return None
        rest = decompressor.unused_data.lstrip(b"\0")
    if len(parts) < 3:
        return None
    header = msgpack.unpackb(parts[0], strict_map_key=False)
    return header, parts[1], b"".join(parts[2:])


def _laid_out(header: dict[str, Any], metadata: bytes, data: bytes) -> bytes:
    """A file around contents that may be anything; places are those that are right unless changed."""
    stored = stored_zstd if header.get("compression") == "zstd" else stored_xz
    if not header:
        return lzma.compress(metadata + data, preset=0)
    packed_metadata, packed_data = stored(metadata or b"\xc0"), stored(data or b"\xc0")
    start = 1024
    places = {"metadata_start": start, "data_start": start + len(packed_metadata)}
    if "data_end" in header:
        places["data_end"] = start + len(packed_metadata) + len(packed_data)
    wanted = {
        key: places[key] if key in places and isinstance(value, int) and 500 < value < 20_000 else value
        for key, value in header.items()
    }
    slot = stored(msgpack.packb(wanted))
    return slot.ljust(start, b"\0") + packed_metadata + packed_data


def exercise(path: Path) -> str:
    """Everything a program might ask of a file; what came of it. Anything but our errors goes through."""
    try:
        reader = MeshReader(path, max_frame_bytes=8 << 20, decode_cameras=True)
    except NightrigError as error:
        return type(error).__name__
    said = "read"
    with reader:
        for ask in (
            lambda: sum(1 for _ in reader),
            lambda: len(reader),
            lambda: reader[0],
            lambda: reader[-1],
            lambda: reader[len(reader) // 2],
            lambda: reader.at(0.1),
            lambda: sum(1 for _ in reader),
            lambda: (reader.note, reader.complete, reader.fps, reader.version),
        ):
            try:
                ask()
            except NightrigError as error:
                said = type(error).__name__
            except IndexError:
                pass
    with MeshReader(path, fps=10) as again:
        for ask in (lambda: again[1], lambda: again.at(1e9), lambda: len(again)):
            with contextlib.suppress(NightrigError, IndexError):
                ask()
    return said
