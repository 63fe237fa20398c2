"""Hostile record files: damaged ones, and whole records with wrong things in them behind checksums that are
right, for a checksum tells of accidents, not of intent."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from codec.context_maps import newest_map
from codec.records import RecordFile
from codec.records.layout import (
    CODEC_JPEG,
    END,
    END_PAYLOAD,
    MAP,
    MAX_RECORD_BYTES,
    pack_index,
    pack_record,
)
from scripts.campaigns._damage import random_damage
from scripts.campaigns._hostile_values import damaged, odd_jpeg, odd_text
from scripts.campaigns._samples import Sample, record_samples

_NUMBERS = (0, 1, 2, 3, 16, 17, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_LONG_NUMBERS = (*_NUMBERS, 2**53, 2**63 - 1, 2**63, 2**64 - 1)


class HostileRecords:
    """Bytes of record files, made from samples that are written into `folder` and read once."""

    def __init__(self, folder: Path) -> None:
        samples = record_samples(folder, frames=4)
        self.samples = {sample.name: sample for sample in samples}
        self._pieces = {sample.name: _pieces(sample) for sample in samples}

    def content(self, chance: random.Random) -> bytes:
        """A file of any kind with anything wrong in it."""
        if chance.random() < 0.03:
            return chance.randbytes(chance.choice((0, 1, 63, 64, 65, 5000)))
        name = chance.choice(list(self.samples))
        if chance.random() < 0.3:
            sample = self.samples[name]
            return random_damage(chance, sample).applied(sample.content)
        return self.resealed(chance, name)

    def resealed(self, chance: random.Random, name: str) -> bytes:
        """Whole records of that sample with wrong things in them."""
        pieces = [dict(piece) for piece in self._pieces[name]]
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(pieces))
            how = chance.random()
            if how < 0.45:
                pieces[place] = _spoilt(chance, pieces[place])
            elif how < 0.6:
                _change_number(chance, pieces[place])
            elif how < 0.7:
                pieces.insert(chance.randrange(len(pieces)), dict(pieces[place]))
            elif how < 0.8 and len(pieces) > 1:
                del pieces[place]
            elif how < 0.9:
                other = chance.randrange(len(pieces))
                pieces[place], pieces[other] = pieces[other], pieces[place]
            else:
                pieces.insert(place, _odd_map(chance))
        whole = b"".join(b"".join(pack_record(**piece)) for piece in pieces)
        if chance.random() < 0.2:
            entries = damaged(chance, bytes(48 * len(pieces)))
            index = b"".join(pack_index(entries, recompressed_to=None))
            end = END_PAYLOAD.pack(len(whole), len(entries) // 48, 4)
            whole += index + b"".join(pack_record(END, end))
        return whole


def _odd_map(chance: random.Random) -> dict[str, Any]:
    content = damaged(chance, newest_map()[1])
    number = chance.choice((0, 1, 2, 77, int.from_bytes(content[:2].ljust(2), "little")))
    return {"kind": MAP, "payload": content, "number": number, "raw_length": len(content)}


def _pieces(sample: Sample) -> list[dict[str, Any]]:
    """The records of a sample as pack_record takes them."""
    pieces = []
    with RecordFile(sample.path) as file:
        for index in range(len(file)):
            record = file.read(index)
            header = record.header
            names = ("kind", "stream", "codec", "clock", "width", "height", "epoch", "number")
            names += ("device_time_s", "monotonic_ns", "raw_length")
            fields = {name: getattr(header, name) for name in names}
            pieces.append({**fields, "payload": record.payload, "meta": record.meta})
    return pieces


def _spoilt(chance: random.Random, piece: dict[str, Any]) -> dict[str, Any]:
    """A record with another payload or meta."""
    name = "meta" if piece.get("meta") and chance.random() < 0.3 else "payload"
    content = piece[name]
    if name == "payload" and piece.get("codec") == CODEC_JPEG:
        return {**piece, **odd_jpeg_record(chance, content)}
    try:
        changed = odd_text(chance, json.loads(content))
    except (ValueError, RecursionError):
        changed = damaged(chance, content)
    return {**piece, name: changed[: MAX_RECORD_BYTES // 2]}


def odd_jpeg_record(chance: random.Random, jpeg: bytes) -> dict[str, Any]:
    """The payload of a frame; now and then its header claims the same size."""
    payload, (width, height) = odd_jpeg(chance, jpeg)
    claim = {"width": width, "height": height} if chance.random() < 0.5 else {}
    return {"payload": payload, **claim}


def _change_number(chance: random.Random, piece: dict[str, Any]) -> None:
    name = chance.choice(("kind", "stream", "codec", "clock", "width", "height", "epoch", "number", "time"))
    if name == "time":
        piece["monotonic_ns"] = chance.choice((0, -1, -(2**63), 2**63 - 1, 2**62))
        piece["device_time_s"] = chance.choice((0.0, float("nan"), float("inf"), -1e308, 1e-320))
        return
    limit = {"number": 64, "width": 32, "height": 32, "epoch": 32}.get(name, 8)
    piece[name] = chance.choice(_LONG_NUMBERS) % (1 << limit)
    if name == "width":
        piece["raw_length"] = chance.choice(_NUMBERS)
