"""Native mesh files with something wrong: bytes, records, or what is in them behind right checksums.

For the tests and for scripts/fuzz/mesh_reader. The same seed makes the same file.
"""

from __future__ import annotations

import contextlib
import lzma
import random
import struct
import zlib
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from mutations import damaged
from native_records import HEAD, Piece, pieces_of

from codec.errors import NightrigError
from codec.mesh import MeshReader
from codec.records.layout import INDEX, MESH_HEAD, MESH_MODEL, MESHES, pack_index, pack_record

GOLDEN = Path(__file__).parent / "golden"
_NUMBERS = (0, 1, 2, 3, 5, 127, 255, 256, 4096, 65535, 65536, 2**20, 2**27, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (0.0, -2.0, 1e-320, 1e308, float("inf"), float("nan"), 2.0, 1e-6)


@dataclass(frozen=True)
class Mutant:
    """framing_only: what is in whole records is as it was, so that no frame may be another than it was."""

    content: bytes
    seed: str
    framing_only: bool


class NativeMutator:
    """Gives one file after the other, each made from one of the stored ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        paths = sorted(GOLDEN.glob("native-*.nrm"))
        self.seeds = {path.name: path.read_bytes() for path in paths}
        self._pieces = {path.name: pieces_of(path) for path in paths}
        # Small ones are quick: the large ones now and then.
        self._names = [name for name, whole in self.seeds.items() for _ in range(1 + 60_000 // len(whole))]

    def next(self) -> Mutant:
        name = self._random.choice(self._names)
        pick = self._random.random()
        if pick < 0.25:
            return Mutant(self._damaged(self.seeds[name]), name, True)
        pieces = list(self._pieces[name])
        if pick < 0.35:
            self._shuffle(pieces)
            return Mutant(self._laid_out(pieces), name, True)
        for _ in range(self._random.choice((1, 1, 2))):
            where = self._random.randrange(1, len(pieces))
            try:
                pieces[where] = self._spoilt(pieces[where])
            except (zlib.error, lzma.LZMAError, struct.error, IndexError):  # spoilt before
                pieces[where] = replace(pieces[where], payload=self._damaged(pieces[where].payload))
        if self._random.random() < 0.8:
            pieces = with_names_of_models_right(pieces)
        whole = self._laid_out(pieces)
        return Mutant(self._damaged(whole) if self._random.random() < 0.05 else whole, name, False)

    def _damaged(self, whole: bytes) -> bytes:
        return bytes(damaged(self._random, whole))

    def _shuffle(self, pieces: list[Piece]) -> None:
        """Records twice, away, or elsewhere; the file record stays the first."""
        for _ in range(self._random.randrange(1, 4)):
            one, other = (self._random.randrange(1, len(pieces)) for _ in range(2))
            how = self._random.randrange(3)
            if how == 0:
                pieces.insert(other, pieces[one])
            elif how == 1 and len(pieces) > 2:
                del pieces[one]
            else:
                pieces[one], pieces[other] = pieces[other], pieces[one]

    def _laid_out(self, pieces: list[Piece]) -> bytes:
        records = [
            b"".join(
                pack_record(
                    p.kind, p.payload, number=p.number, raw_length=p.raw_length, monotonic_ns=p.monotonic_ns
                )
            )
            for p in pieces
        ]
        whole = b"".join(records)
        if self._random.random() < 0.1:  # an index that says something else
            index = self._damaged(bytes(48 * len(pieces)))
            whole += b"".join(pack_index(index, recompressed_to=None))
        return whole

    def _spoilt(self, piece: Piece) -> Piece:
        if self._random.random() < 0.05:
            changes: dict[str, Any] = {
                "kind": self._random.choice((1, 2, 3, MESH_HEAD, MESH_MODEL, MESHES, INDEX)),
                "number": self._random.choice((0, 1, piece.number, 2**64 - 1)),
                "raw_length": self._random.choice(_NUMBERS),
                "monotonic_ns": self._random.choice((0, -(2**63), 2**63 - 1, 2**62)),
            }
            key = self._random.choice(list(changes))
            return replace(piece, **{key: changes[key]})
        if piece.kind == MESHES:
            return replace(piece, payload=self._segment(piece.payload))
        if piece.kind == MESH_MODEL and self._random.random() < 0.8:
            return replace(piece, payload=self._model(piece.payload))
        if piece.kind == MESH_HEAD and self._random.random() < 0.8:
            return replace(piece, payload=zlib.compress(self._damaged(zlib.decompress(piece.payload))))
        return replace(piece, payload=self._damaged(piece.payload))

    def _segment(self, payload: bytes) -> bytes:
        fields = list(HEAD.unpack_from(payload))
        ends = np.cumsum([HEAD.size, *fields[9:]]).tolist()
        parts = [payload[start:end] for start, end in pairwise(ends)]
        part, pick = self._random.randrange(5), self._random.random()
        if pick < 0.3:
            where = self._random.randrange(9)
            limit = (256, 256, 65536, 2**32, 2**32, 2**32, 2**32, 0, 2**64)[where]
            near = fields[where] + self._random.choice((-1, 1)) if where != 7 else 1.0
            values = _FLOATS if where == 7 else [n % limit for n in (*_NUMBERS, near, near)]
            fields[where] = self._random.choice(values)
        elif pick < 0.85 and part < 4 and parts[part]:
            parts[part] = zlib.compress(self._damaged(zlib.decompress(parts[part])))
        else:
            parts[part] = self._damaged(parts[part])
        fields[9:] = map(len, parts)
        if self._random.random() < 0.03:
            fields[9 + part] = self._random.choice(_NUMBERS)
        return HEAD.pack(*fields) + b"".join(parts)

    def _model(self, payload: bytes) -> bytes:
        head = bytearray(payload[:16])
        if self._random.random() < 0.3:
            where = self._random.randrange(16)
            head[where] = self._random.choice((0, 1, 2, 48, 255, self._random.randrange(256)))
            return bytes(head) + payload[16:]
        return payload[:16] + lzma.compress(self._damaged(lzma.decompress(payload[16:])), preset=0)


def with_names_of_models_right(pieces: list[Piece]) -> list[Piece]:
    """Segments that name the models as they are now: else a spoilt one is never looked at."""
    from codec.mesh._affine_model import model_name

    names = {p.number: model_name(p.payload) for p in pieces if p.kind == MESH_MODEL}
    right = []
    for piece in pieces:
        if piece.kind == MESH_MODEL:
            piece = replace(piece, number=names[piece.number])
        elif piece.kind == MESHES and len(piece.payload) >= HEAD.size:
            (name,) = struct.unpack_from("<Q", piece.payload, 28)
            own = struct.pack("<Q", names.get(name, name))
            piece = replace(piece, payload=piece.payload[:28] + own + piece.payload[36:])
        right.append(piece)
    return right


def digest(frame: dict[str, Any]) -> bytes:
    """Of everything in a frame; NaN is like itself."""

    def told(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return (str(value.dtype), np.shape(value), value.tobytes())
        if isinstance(value, dict):
            return [(repr(key), told(each)) for key, each in value.items()]
        return [told(each) for each in value] if isinstance(value, list) else repr(value)

    return repr(told(frame)).encode()


def frames_by_seed(mutator: NativeMutator) -> dict[str, set[bytes]]:
    found = {}
    for name in mutator.seeds:
        with MeshReader(GOLDEN / name) as reader:
            found[name] = {digest(frame) for frame in reader}
    return found


def exercise_native(path: Path, allowed: set[bytes] | None) -> str:
    """Everything a program might ask of a file; what came of it. Anything but our errors goes through, and
    so does a frame that is not among the allowed ones."""
    try:
        reader = MeshReader(path)
    except NightrigError as error:
        return type(error).__name__
    with reader:
        frames = list(reader)
        assert allowed is None or all(digest(frame) in allowed for frame in frames), (
            "another frame than it was"
        )
        said = "read whole" if reader.complete else "read in part" if frames else "read nothing"
        asks: list[Any] = [0, -1, len(reader) // 2, 2**40]
        for ask in asks:
            with contextlib.suppress(NightrigError, IndexError):
                frame = reader[ask]
                assert allowed is None or digest(frame) in allowed, "another frame than it was"
        for seconds in (0.0, 0.5, 1e9, -1e300, float("inf")):
            with contextlib.suppress(NightrigError, IndexError):
                reader.at(seconds)
        assert isinstance((reader.note, reader.metadata, reader.fps, len(reader), reader.version), tuple)
    return said
