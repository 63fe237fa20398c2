#!/usr/bin/env python3
"""Cuts files off at every byte: whatever was whole before the cut comes back, and nothing else.

    scripts/campaigns/truncate.py                       every byte of every kind of file, about five minutes
    scripts/campaigns/truncate.py --step 97 --frames 4  a few hundred cuts

A record file gives exactly the frames whose records end before the cut; a mesh file those of the segments
that do, and of the one that is cut at most what had been written. Of every --recover'th cut `recover` makes
a copy, in which `verify` must find no damage, nothing unaccounted for, and the same frames.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # modules are named from the root of the checkout

from capture.recovery import recover
from capture.verification import CLEAN, LOSS, verify
from codec.errors import FormatError, NightrigError
from scripts.campaigns._answers import Answers, mesh_answers, record_answers
from scripts.campaigns._campaign import Campaign, Promise, Result, at_least, at_most
from scripts.campaigns._samples import RECORDS, Sample, mesh_samples, record_samples

_CUTS_PER_CASE = 1000
_TOLD = 3


def main(arguments: Sequence[str] | None = None) -> int:
    campaign = Campaign("truncate", __doc__)
    campaign.parser.add_argument("--step", type=int, default=1, help="cut at every so manyth byte")
    campaign.parser.add_argument("--frames", type=int, default=12, help="of each file")
    campaign.parser.add_argument("--recover", type=int, default=41, help="of so many cuts one is recovered")
    args = campaign.parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        made = record_samples(Path(folder), frames=args.frames)
        made += mesh_samples(Path(folder), frames=args.frames)
    samples = {sample.name: sample for sample in made}
    cases = [
        f"{name} from {first}"
        for name, sample in samples.items()
        for first in range(0, len(sample.content), _CUTS_PER_CASE)
    ]

    def attempt(case: str, work: Path) -> Result:
        name, _, first = case.partition(" from ")
        cuts = range(int(first), min(int(first) + _CUTS_PER_CASE, len(samples[name].content)))
        return _Cutting(samples[name], work, args.recover).try_all([c for c in cuts if c % args.step == 0])

    return campaign.run(args, cases, attempt, _judge)


class _Cutting:
    """One file, shortened again and again."""

    def __init__(self, sample: Sample, work: Path, recover_every: int) -> None:
        self.sample, self._work, self._recover_every = sample, work, recover_every
        self._path = work / sample.path.name
        self._path.write_bytes(sample.content)
        self._result = {"cuts": 0, "frames": 0, "wrong": 0, "lost": 0, "recovered": 0, "unclean": 0}
        self._trouble: list[str] = []

    def try_all(self, cuts: list[int]) -> Result:
        for cut in reversed(cuts):  # from the end on, a file need only be shortened
            with self._path.open("r+b") as file:
                file.truncate(cut)
            self._try(cut)
            if cut % self._recover_every == 0:
                self._recover(cut)
        return {**self._result, "trouble": self._trouble[:_TOLD]}

    def _try(self, cut: int) -> None:
        expected = self.sample.answers[: self.sample.whole_before(cut)]
        try:
            answers, silent = self._read(cut)
        except Exception as error:
            answers, silent = (), False
            self._say(cut, f"{type(error).__name__} instead of one of our errors: {error}")
            self._result["wrong"] += 1
        allowed = self.sample.answers[: len(answers)] if self.sample.family != RECORDS else expected
        by_name = sorted if self.sample.family == RECORDS else tuple  # streams come one after the other
        wrong = sum(answer not in allowed for answer in answers)
        lost = sum(answer not in answers for answer in expected)
        self._result["cuts"] += 1
        self._result["frames"] += len(answers)
        self._result["wrong"] += wrong + silent
        self._result["lost"] += lost
        if wrong or lost or silent or len(set(answers)) != len(answers):
            self._say(cut, f"{wrong} frames wrong, {lost} lost" + ", damage that is not told" * silent)
        elif self.sample.family == RECORDS and by_name(answers) != by_name(expected):
            self._say(cut, "frames in another order")

    def _read(self, cut: int) -> tuple[Answers, bool]:
        """The frames, and whether a record that is cut in two goes unmentioned."""
        try:
            if self.sample.family != RECORDS:
                return mesh_answers(self._path), False
            answers, damages = record_answers(self._path)
        except NightrigError:
            return (), False
        return answers, bool(self.sample.hit(cut, cut)) and not damages

    def _recover(self, cut: int) -> None:
        out = self._work / "recovered"
        shutil.rmtree(out, ignore_errors=True)
        self._result["recovered"] += 1
        try:
            recover(self._path, out)
        except FormatError as error:
            if self.sample.whole_before(cut):
                self._unclean(cut, f"recover says {error}")
            return
        except Exception as error:
            self._unclean(cut, f"recover raises {type(error).__name__}: {error}")
            return
        copy = out / self._path.name if self.sample.family != RECORDS else out / "000.nrig"
        report = verify(copy)
        if report.verdict not in (CLEAN, LOSS):
            self._unclean(
                cut, f"verify of the copy says {report.verdict}: {report.damage or report.problems}"
            )
        kept = mesh_answers(copy) if self.sample.family != RECORDS else record_answers(copy)[0]
        expected = self.sample.answers[: self.sample.whole_before(cut)]
        if any(answer not in kept for answer in expected):
            self._unclean(cut, "the copy lacks frames")

    def _unclean(self, cut: int, what: str) -> None:
        self._result["unclean"] += 1
        self._say(cut, what)

    def _say(self, cut: int, what: str) -> None:
        self._trouble.append(f"{self.sample.path.name} cut at byte {cut}: {what}")


def _judge(results: list[Result]) -> list[Promise]:
    def total(key: str) -> int:
        return sum(result[key] for result in results)

    return [
        at_least("cuts", total("cuts"), 1),
        at_least("frames read back after them", total("frames"), 1),
        at_most("wrong frames, and errors that are not ours", total("wrong"), 0),
        at_most("frames lost that were whole before the cut", total("lost"), 0),
        at_least("cuts recovered", total("recovered"), 1),
        at_most("copies that verify does not pass, or that lack frames", total("unclean"), 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
