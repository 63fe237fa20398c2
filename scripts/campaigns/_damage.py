"""Damage to a file, as disks, file systems and people do it; and which bytes of the file it touched.

The same random generator does the same damage.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from scripts.campaigns._samples import Sample

_SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes start to end of the file become `data`. A splice: start and end are the same."""

    start: int
    end: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Patches in the order of the file, which do not overlap; `what` they are, in a word."""

    what: str
    patches: tuple[Patch, ...]

    def applied(self, content: bytes) -> bytes:
        """The file afterwards."""
        pieces, at = [], 0
        for patch in self.patches:
            pieces += [content[at : patch.start], patch.data]
            at = patch.end
        return b"".join([*pieces, content[at:]])

    @property
    def keeps_size(self) -> bool:
        """Whether every byte behind it stays where it is."""
        return all(len(patch.data) == patch.end - patch.start for patch in self.patches)


def random_damage(chance: random.Random, sample: Sample) -> Damage:
    """One of the ways below."""
    name = chance.choice(list(_WAYS))
    return Damage(name, tuple(_WAYS[name](chance, sample)))


def _length(chance: random.Random, most: int) -> int:
    """Small ones are as likely as large ones."""
    return min(most, int(2 ** chance.uniform(0, most.bit_length())))


def _where(chance: random.Random, sample: Sample, length: int) -> int:
    """Anywhere; half of the time near the beginning of a record, where its header is."""
    last = len(sample.content) - length
    if chance.random() < 0.5:
        return chance.randint(0, last)
    return min(last, chance.choice(sample.spans).start + chance.randint(0, 80))


def _bit(chance: random.Random, sample: Sample) -> list[Patch]:
    at = _where(chance, sample, 1)
    return [Patch(at, at + 1, bytes([sample.content[at] ^ 1 << chance.randrange(8)]))]


def _bytes(chance: random.Random, sample: Sample) -> list[Patch]:
    length = _length(chance, min(4096, len(sample.content) // 2))
    at = _where(chance, sample, length)
    return [Patch(at, at + length, chance.randbytes(length))]


def _zeros(chance: random.Random, sample: Sample) -> list[Patch]:
    """A block that was never written, as a power cut leaves it."""
    length = _SECTOR_BYTES * _length(chance, max(1, min(256, len(sample.content) // _SECTOR_BYTES // 2)))
    at = chance.randrange(0, len(sample.content) - length, _SECTOR_BYTES)
    return [Patch(at, at + length, bytes(length))]


def _other_block(chance: random.Random, sample: Sample) -> list[Patch]:
    """A block that was written to the wrong place."""
    length = _SECTOR_BYTES * _length(chance, max(1, min(64, len(sample.content) // _SECTOR_BYTES // 4)))
    at, source = (chance.randrange(0, len(sample.content) - length, _SECTOR_BYTES) for _ in range(2))
    return [Patch(at, at + length, sample.content[source : source + length])]


def _doubled(chance: random.Random, sample: Sample) -> list[Patch]:
    """A stretch once more, right behind itself or elsewhere."""
    length = _length(chance, len(sample.content) // 4)
    source = _where(chance, sample, length)
    at = source + length if chance.random() < 0.5 else _where(chance, sample, 0)
    return [Patch(at, at, sample.content[source : source + length])]


def _doubled_record(chance: random.Random, sample: Sample) -> list[Patch]:
    """A whole record once more, between records or in the middle of one."""
    span = chance.choice(sample.spans)
    at = chance.choice(sample.spans).start if chance.random() < 0.7 else _where(chance, sample, 0)
    return [Patch(at, at, sample.content[span.start : span.end])]


def _swapped(chance: random.Random, sample: Sample) -> list[Patch]:
    """Two records in each other's place."""
    first, second = sorted(chance.sample(sample.spans, 2), key=lambda span: span.start)
    one, other = (sample.content[span.start : span.end] for span in (first, second))
    return [Patch(first.start, first.end, other), Patch(second.start, second.end, one)]


def _inserted(chance: random.Random, sample: Sample) -> list[Patch]:
    at = _where(chance, sample, 0)
    return [Patch(at, at, chance.randbytes(_length(chance, 4096)))]


def _removed(chance: random.Random, sample: Sample) -> list[Patch]:
    length = _length(chance, min(1 << 16, len(sample.content) // 2))
    at = _where(chance, sample, length)
    return [Patch(at, at + length, b"")]


def _removed_record(chance: random.Random, sample: Sample) -> list[Patch]:
    span = chance.choice(sample.spans)
    return [Patch(span.start, span.end, b"")]


def _cut(chance: random.Random, sample: Sample) -> list[Patch]:
    """Everything from the middle on is gone."""
    at = _where(chance, sample, 0)
    return [Patch(at, len(sample.content), b"")]


_WAYS: dict[str, Callable[[random.Random, Sample], list[Patch]]] = {
    "a bit": _bit,
    "bytes": _bytes,
    "zeros": _zeros,
    "a block of elsewhere": _other_block,
    "a doubled stretch": _doubled,
    "a doubled record": _doubled_record,
    "swapped records": _swapped,
    "inserted bytes": _inserted,
    "removed bytes": _removed,
    "a removed record": _removed_record,
    "cut off": _cut,
}
