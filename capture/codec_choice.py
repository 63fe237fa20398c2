"""Which depth codec a recording is made with: what `codec = "auto"` stands for, and what is done about a
codec that cannot keep pace with cameras. Pure decisions from measured figures; measures and opens nothing.

`auto` takes lattice-rans where it is native and the processor does it: nothing else that keeps pace is as
small. Else lattice-lz4. Nothing that loses a bit is ever chosen. The effort ladder of the writer may step
aside from the choice while it records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from capture import demand
from capture.config import AUTO, Rig
from capture.demand import Costs
from capture.trials import CodecTrial
from codec.depth import DEFAULT_CODEC

# How much of what was measured may be planned with.
CPU_SHARE = 0.75
DISK_SHARE = 0.7

_MB = 1e6
_OFFLINE = ("max",)
_NATIVE = ("lattice-rans", "near")


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is. usable_bytes: free on the disk, without the reserve of the rig."""

    cores: int
    disk_mb_s: float
    usable_bytes: float


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What a rig would need with one codec. ns_per_pixel and ratio are the codec's own; cores and disk_mb_s
    are those of the whole rig. hours: until the disk is full; None where nothing is written."""

    codec: str
    ns_per_pixel: float
    ratio: float
    cores: float
    disk_mb_s: float
    hours: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """asked: what the rig file says. codec: what is recorded with. reason: a sentence without its full stop.
    gives_way: not what was asked for by name, since it would not keep pace."""

    asked: str
    codec: str
    reason: str
    gives_way: bool = False
    trials: tuple[Reckoning, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For session.json and events."""
        return asdict(self)


def candidates(asked: str, *, kernels: bool) -> tuple[str, ...]:
    """What a trial has to measure: what `auto` may choose, densest first, and what was asked for."""
    ours = ("lattice-rans", DEFAULT_CODEC) if kernels else (DEFAULT_CODEC,)
    return ours if asked in (*ours, AUTO) else (*ours, asked)


def why_too_slow(codec: str, *, kernels: bool) -> str:
    """Why that codec is not made to keep pace with cameras here; "" where it is."""
    if codec in _OFFLINE:
        return f"{codec} is made for recompressing afterwards"
    if codec in _NATIVE and not kernels:
        return f"{codec} is not native here"
    return ""


def needs_trial(asked: str, *, kernels: bool) -> bool:
    """Whether the codec can be said only after measuring."""
    return asked == AUTO or bool(why_too_slow(asked, kernels=kernels))


def reckon(
    rig: Rig, trials: dict[str, CodecTrial], machine: Machine, *, jpeg_ns: float
) -> tuple[Reckoning, ...]:
    """The rig with each of the codecs that were tried; DEFAULT_CODEC must be among them."""
    return tuple(
        _reckon(rig, codec, Costs(trial, trials[DEFAULT_CODEC].ns_per_pixel, jpeg_ns), machine)
        for codec, trial in trials.items()
    )


def _reckon(rig: Rig, codec: str, costs: Costs, machine: Machine) -> Reckoning:
    streams = demand.stream_demands(rig, costs)
    disk_mb_s = sum(stream.disk_mb_s for stream in streams)
    hours = machine.usable_bytes / (disk_mb_s * _MB) / 3600 if disk_mb_s else None
    cores = demand.cores(rig, streams)
    return Reckoning(codec, costs.depth.ns_per_pixel, costs.depth.ratio, cores, disk_mb_s, hours)


def choose(
    asked: str,
    reckonings: Sequence[Reckoning],
    machine: Machine,
    *,
    kernels: bool,
    duration_s: float | None,
) -> Choice:
    """The codec for a rig that asks for `asked`: "auto" or the name of one of the reckonings."""
    by_name = {each.codec: each for each in reckonings}
    slow = "" if asked == AUTO else why_too_slow(asked, kernels=kernels)
    if asked != AUTO and (not slow or fits_cpu(by_name[asked], machine)):
        return Choice(asked, asked, "the rig file asks for it", trials=tuple(reckonings))
    chosen, reason = _smallest_that_fits(
        [by_name[name] for name in candidates(AUTO, kernels=kernels)], machine
    )
    if slow:
        reason = f"{slow} and would take {_cores(by_name[asked], machine)}; {reason}"
    reason += _what_the_disk_says(chosen, machine, duration_s)
    return Choice(asked, chosen.codec, reason, bool(slow), tuple(reckonings))


def fits_cpu(reckoning: Reckoning, machine: Machine) -> bool:
    """Whether the processor does the whole rig with that codec, with room to spare."""
    return reckoning.cores <= CPU_SHARE * machine.cores


def _smallest_that_fits(ours: Sequence[Reckoning], machine: Machine) -> tuple[Reckoning, str]:
    for place, each in enumerate(ours):
        if fits_cpu(each, machine):
            return each, _praise(each, machine) + _why_not(ours[:place], machine)
    cheapest = min(ours, key=lambda each: each.cores)
    return cheapest, f"the processor is short with every codec: it takes {_cores(cheapest, machine)}"


def _praise(reckoning: Reckoning, machine: Machine) -> str:
    return f"{reckoning.ratio:.1f} times smaller for {_cores(reckoning, machine)}"


def _why_not(denser: Iterable[Reckoning], machine: Machine) -> str:
    return "".join(f", where {each.codec} would take {_cores(each, machine)}" for each in denser)


def _cores(reckoning: Reckoning, machine: Machine) -> str:
    return f"{reckoning.cores:.2f} of {machine.cores} cores"


def _what_the_disk_says(chosen: Reckoning, machine: Machine, duration_s: float | None) -> str:
    if chosen.disk_mb_s > DISK_SHARE * machine.disk_mb_s:
        return f"; even so the disk is too slow: {chosen.disk_mb_s:.0f} MB/s of {machine.disk_mb_s:.0f}"
    if chosen.hours is not None and duration_s is not None and chosen.hours < duration_s / 3600:
        return f"; even so the disk is full after {chosen.hours:.1f} of {duration_s / 3600:.1f} hours"
    return ""
