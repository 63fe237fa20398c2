"""What mesh files must reach and aim at, held against what was measured at 5 mm of noise.

Owns the list of targets, and the names of the ways they speak of. A target whose figures were left out of
this run is not reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from scripts.bench._mesh_live import Live, memory_a_person_mb
from scripts.bench._mesh_timing import Figures
from scripts.bench._mesh_ways import AFFINE, FAST
from scripts.bench._report import doubt_about_times, number
from scripts.bench._verdicts import Limits, Verdict, judged

LEVEL_MM: Final = 5.0
LIVE_PEOPLE: Final = 4
LEFT_OUT = "left out"

ORDERS: Final = ("walk", "own")
SETTINGS: Final = (("xz", 0), ("xz", 1), ("xz", 5), ("zstd", 3))
BLOCKS_S: Final = (1.0, 5.0)
_MOST_LARGER: Final = {1.0: 1.08, 5.0: 1.02}


def stock_name(compression: str, preset: int, order: str) -> str:
    """A file of bodycompress itself."""
    return f"bodycompress {compression} {preset}, {order}"


def compatible_name(compression: str, preset: int, block_s: float, order: str) -> str:
    """Our file in its format."""
    return f"compatible {compression} {preset}, {block_s:g} s, {order}"


DEFAULTS: Final = tuple(stock_name("xz", 5, order) for order in ORDERS)

_Measured = Mapping[str, Figures]


def judge(figures: Iterable[Figures], lives: Sequence[Live], *, others_cores: float) -> list[Verdict]:
    """Every target against the figures at LEVEL_MM, and the live writers.

    others_cores: how many cores worked for others meanwhile.
    """
    measured = {each.way: each for each in figures}
    doubt = doubt_about_times(others_cores)
    return [
        *_against_default(AFFINE, measured, (2.2, 3.0), 30.0, doubt),
        *_against_default(FAST, measured, (1.3, None), 100.0, doubt),
        *(_compatible(block_s, measured) for block_s in BLOCKS_S),
        _decode(measured, doubt),
        *_live(lives),
    ]


def _against_default(
    way: str, measured: _Measured, smaller: tuple[float, float | None], cheaper: float, doubt: str
) -> list[Verdict]:
    """Against the smaller file of the default, in whichever order that has."""
    ours = measured.get(way)
    default = max((measured[n] for n in DEFAULTS if n in measured), key=lambda f: f.ratio, default=None)
    ratio = cpu = None
    note = f"{LEFT_OUT}: {way} and bodycompress xz 5 are needed"
    if ours is not None and default is not None:
        ratio = ours.ratio_with_models / default.ratio
        cpu = default.encode_s / ours.encode_s
        note = f"{number(ours.ratio_with_models)} x against {number(default.ratio)} x ({default.way})"
    return [
        judged(f"{way}: smaller than bodycompress xz 5", ratio, _at_least(*smaller), note=note),
        judged(f"{way}: cheaper to write than it", cpu, _at_least(cheaper, None), doubt=doubt),
    ]


def _compatible(block_s: float, measured: _Measured) -> Verdict:
    """The worst of all presets and orders that were measured on both sides."""
    larger = {
        f"{compression} {preset}, {order}": measured[stock].ratio / measured[ours].ratio
        for compression, preset in SETTINGS
        for order in ORDERS
        if (stock := stock_name(compression, preset, order)) in measured
        and (ours := compatible_name(compression, preset, block_s, order)) in measured
    }
    what = f"compatible, blocks of {block_s:g} s: size against bodycompress"
    if not larger:
        return judged(what, None, Limits(_MOST_LARGER[block_s], 1.0, "x"), note=LEFT_OUT)
    worst = max(larger, key=lambda name: larger[name])
    note = f"the worst of {len(larger)}: {worst}"
    return judged(what, larger[worst], Limits(_MOST_LARGER[block_s], 1.0, "x"), note=note)


def _decode(measured: _Measured, doubt: str) -> Verdict:
    figures = measured.get(AFFINE)
    figure = None if figures is None else 1.0 / figures.decode_s
    note = LEFT_OUT if figure is None else ""
    return judged(
        f"{AFFINE}: faster to read than real time", figure, _at_least(30.0, 100.0), note=note, doubt=doubt
    )


def _live(lives: Sequence[Live]) -> list[Verdict]:
    native = [live for live in lives if live.codec == "native"]
    many = next((live for live in native if live.people == LIVE_PEOPLE), None)
    few = next((live for live in native if live.people < LIVE_PEOPLE), None)
    memory = with_fit = without = None
    notes = [LEFT_OUT] * 3
    doubt = ""
    if many is not None:
        doubt = doubt_about_times(many.others_cores)
        without, with_fit = many.cores_without_fits, many.cores
        notes[0] = f"{many.late} frames late"
        notes[1] = f"{many.fits} fit of {number(many.fit_cpu_s)} s inside"
        if few is not None:
            memory = memory_a_person_mb(few, many)
            peaks = (f"{number(each.peak_mb)} MB with {each.people}" for each in (few, many))
            notes[2] = f"peaks: {', '.join(peaks)}"
    cores = Limits(0.15, 0.1, "cores")
    seconds = "" if many is None else f" for {many.seconds:g} s"
    what = f"live, {LIVE_PEOPLE} people at 30 fps"
    return [
        judged(what, without, cores, note=notes[0], doubt=doubt),
        judged(f"{what}, from the start{seconds}", with_fit, cores, note=notes[1], doubt=doubt),
        judged("live: memory of each further person", memory, Limits(60.0, 30.0, "MB"), note=notes[2]),
    ]


def _at_least(must: float, aim: float | None) -> Limits:
    return Limits(must, aim, "x", at_least=True)
