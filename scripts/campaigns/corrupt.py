#!/usr/bin/env python3
"""Damages files: no reader ever gives a frame that was not recorded, and one bad record costs no other.

    scripts/campaigns/corrupt.py                                 about 25 minutes
    scripts/campaigns/corrupt.py --only records                  record files alone
    scripts/campaigns/corrupt.py --bits 200 --random 200 --frames 3 --large-frames 3

First every bit of a small file of each kind is turned over, then a large file (depth as a real camera gave
it, where --real has it; else simulated) is damaged at random: bits, bytes, zeroed, misplaced, doubled and
removed blocks, doubled, swapped and removed records, cuts. Damage is in place or moves what follows.

Frames are held against what was written by the checksum of their pixels and everything else that is known
of them. Where at most one record is touched, the frames of all others are counted.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from codec.errors import NightrigError
from scripts.bench._depth_sets import REAL_D400_SET, WIDE_SIMULATED_SET, load_set
from scripts.campaigns._answers import mesh_answers, record_answers
from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._damage import Damage, Patch, random_damage
from scripts.campaigns._ledger import ROOT
from scripts.campaigns._samples import RECORDS, Sample, depth_sample, mesh_samples, record_samples

_BITS_PER_CASE = 4000
_DAMAGES_PER_CASE = 200
_TOLD = 3
_COUNTS = ("tried", "frames", "wrong", "doubled", "single", "others", "others_read", "foreign")


def main(arguments: Sequence[str] | None = None) -> int:
    campaign = Campaign("corrupt", __doc__)
    add = campaign.parser.add_argument
    add("--bits", type=int, default=0, help="of each small file, evenly spread (default: all)")
    add("--random", type=int, default=20_000, help="random damages of the large file, and a tenth of meshes")
    add("--frames", type=int, default=4, help="of each small file")
    add("--large-frames", type=int, default=40, help="of the large file")
    add("--real", type=Path, default=ROOT.parent / "shared" / "data" / "depth", help="folder of depth PNGs")
    add("--only", choices=("records", "meshes"), help="one family of files (default: both)")
    args = campaign.parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = [*record_samples(folder, frames=args.frames), *mesh_samples(folder, frames=3 * args.frames)]
        large = [_large(folder, args.real, args.large_frames)]
        large += mesh_samples(folder / "large", frames=3 * args.large_frames, points=40)
    if args.only:
        small, large = (
            [sample for sample in samples if (sample.family == RECORDS) == (args.only == "records")]
            for samples in (small, large)
        )
    bits = {f"bits of {sample.name}": sample for sample in small}
    damaged = {f"damage to {sample.name}": sample for sample in large}
    cases = []
    for kind, sample in bits.items():
        count = 8 * len(sample.content)
        cases += [f"{kind} from {first}" for first in range(0, count, _BITS_PER_CASE)]
    for kind, sample in damaged.items():
        count = args.random if sample.family == RECORDS else args.random // 10
        cases += [f"{kind} from {first} of {count}" for first in range(0, count, _DAMAGES_PER_CASE)]

    def attempt(case: str, work: Path) -> Result:
        kind, _, rest = case.partition(" from ")
        if kind in bits:
            sample = bits[kind]
            step = max(1, 8 * len(sample.content) // args.bits) if args.bits else 1
            wanted = range(int(rest), min(int(rest) + _BITS_PER_CASE, 8 * len(sample.content)))
            flips = (_flip(sample, bit) for bit in wanted if bit % step == 0)
            return _Trial(sample, work).try_all(flips)
        first, _, count = rest.partition(" of ")
        sample = damaged[kind]
        numbers = range(int(first), min(int(first) + _DAMAGES_PER_CASE, int(count)))
        return _Trial(sample, work).try_all(
            random_damage(random.Random(f"{args.seed} {sample.name} {number}"), sample) for number in numbers
        )

    return campaign.run(args, cases, attempt, _judge)


def _large(folder: Path, real: Path, frames: int) -> Sample:
    name = REAL_D400_SET if (real / REAL_D400_SET).is_dir() else WIDE_SIMULATED_SET
    pictures = load_set(name, real, most=frames).frames
    return depth_sample(folder / f"{name}.nrig", pictures, "lattice-lz4")


def _flip(sample: Sample, bit: int) -> Damage:
    at = bit // 8
    flipped = bytes([sample.content[at] ^ 1 << bit % 8])
    return Damage(f"bit {bit}", (Patch(at, at + 1, flipped),))


class _Trial:
    """One file, damaged and mended again and again."""

    def __init__(self, sample: Sample, work: Path) -> None:
        self._sample = sample
        self._path = work / sample.path.name
        self._path.write_bytes(sample.content)
        self._truth = set(sample.answers)
        self._result = dict.fromkeys(_COUNTS, 0)
        self._trouble: list[str] = []

    def try_all(self, damages: Iterable[Damage]) -> Result:
        for damage in damages:
            if damage.keeps_size:
                self._write(damage.patches)
                self._try(damage)
                content = self._sample.content
                self._write(Patch(p.start, p.end, content[p.start : p.end]) for p in damage.patches)
            else:
                self._path.write_bytes(damage.applied(self._sample.content))
                self._try(damage)
                self._path.write_bytes(self._sample.content)
        return {"checked": self._sample.checked, **self._result, "trouble": self._trouble[:_TOLD]}

    def _write(self, patches: Iterable[Patch]) -> None:
        with self._path.open("r+b") as file:
            for patch in patches:
                file.seek(patch.start)
                file.write(patch.data)

    def _try(self, damage: Damage) -> None:
        result = self._result
        result["tried"] += 1
        try:
            is_record = self._sample.family == RECORDS
            answers = record_answers(self._path)[0] if is_record else mesh_answers(self._path)
        except NightrigError:
            answers = ()
        except Exception as error:
            result["foreign"] += 1
            self._say(damage, f"{type(error).__name__} instead of one of our errors: {error}")
            return
        wrong = sum(answer not in self._truth for answer in answers)
        names = [name for name, _ in answers]
        result["frames"] += len(answers)
        result["wrong"] += wrong
        if self._sample.family == RECORDS:  # of meshes a session says what it has seen before
            result["doubled"] += len(names) - len(set(names))
        hit = {index for patch in damage.patches for index in self._sample.hit(patch.start, patch.end)}
        if damage.what == "swapped records":
            hit = set()  # they are all still there
        missing = 0
        if len(hit) <= 1 and self._sample.checked:
            touched = {place for index in hit for place in self._sample.spans[index].frames}
            others = [a for place, a in enumerate(self._sample.answers) if place not in touched]
            missing = len(set(others) - set(answers))
            result["single"] += 1
            result["others"] += len(others)
            result["others_read"] += len(others) - missing
        if wrong or missing:
            self._say(damage, f"{wrong} frames wrong, {missing} lost that it did not touch")

    def _say(self, damage: Damage, what: str) -> None:
        where = ", ".join(f"bytes {p.start} to {p.end}" for p in damage.patches)
        self._trouble.append(f"{self._sample.path.name}, {damage.what} at {where}: {what}")


def _judge(results: list[Result]) -> list[Promise]:
    def total(key: str) -> int:
        return sum(result[key] for result in results)

    share = 100.0 * total("others_read") / max(1, total("others"))
    return [
        at_least("damaged files", total("tried"), 1),
        at_least("frames read from them", total("frames"), 1),
        at_most("wrong frames", total("wrong"), 0),
        at_most("frames that come twice", total("doubled"), 0),
        at_most("errors that are not ours", total("foreign"), 0),
        at_least("files with at most one record damaged", total("single"), 1),
        at_least(f"of their other frames ({total('others')}) are read", share, 99.0, "%"),
    ]


if __name__ == "__main__":
    sys.exit(main())
