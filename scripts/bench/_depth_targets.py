"""What the depth codecs must reach and aim at, held against what was measured.

Owns the list of targets. A target whose codec does not exist, or whose figures were left out of this run, is
not reached: only a run that has measured everything can end well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codec.depth import CODEC_NAMES
from scripts.bench._depth_streams import StreamsLoad
from scripts.bench._depth_timing import Figures, times_of
from scripts.bench._depth_ways import JPEG_XL_7, LZ4_FRAME, RANS_UNSEEN
from scripts.bench._report import doubt_about_times, number
from scripts.bench._verdicts import Limits, Verdict, judged

NOT_BUILT = "not built"
LEFT_OUT = "left out"

STREAMS = 8
STREAM_FPS = 30.0


_Measured = Mapping[str, Figures]


@dataclass(frozen=True, slots=True)
class _Target:
    """`needs` are the ways whose figures go into it, the judged codec first."""

    what: str
    needs: tuple[str, ...]
    figure: Callable[[_Measured], float]
    limits: Limits
    timed: bool = True


def _ratio(what: str, codec: str, *, must: float, aim: float) -> _Target:
    def figure(ways: _Measured) -> float:
        return ways[codec].ratio

    return _Target(what, (codec,), figure, Limits(must, aim, "x", at_least=True), timed=False)


def _encode_against(codec: str, peer: str, *, must: float, aim: float) -> _Target:
    def figure(ways: _Measured) -> float:
        return times_of(ways[codec].encode_rounds, ways[peer].encode_rounds)

    return _Target(f"{codec}: encode CPU / {peer}", (codec, peer), figure, Limits(must, aim, "x"))


RANS, MAX = "lattice-rans", "max"
_TARGETS = (
    _ratio("lattice-lz4: ratio", "lattice-lz4", must=5.2, aim=6.0),
    _encode_against("lattice-lz4", LZ4_FRAME, must=1.4, aim=1.0),
    _ratio(f"{RANS}: ratio, context map trained without this set", RANS_UNSEEN, must=12.2, aim=13.0),
    _encode_against(RANS, LZ4_FRAME, must=1.2, aim=1.0),
    _Target(
        f"{RANS}: decode CPU / its own encode CPU",
        (RANS,),
        lambda ways: times_of(ways[RANS].decode_rounds, ways[RANS].encode_rounds),
        Limits(3.0, None, "x"),
    ),
    _Target(f"{RANS}: decode CPU", (RANS,), lambda ways: ways[RANS].decode_ns, Limits(None, 4.0, "ns/px")),
    _ratio(f"{MAX}: ratio", MAX, must=14.7, aim=15.5),
    _Target(
        f"{JPEG_XL_7}: encode CPU / {RANS}",
        (RANS, JPEG_XL_7),
        lambda ways: times_of(ways[JPEG_XL_7].encode_rounds, ways[RANS].encode_rounds),
        Limits(40.0, 65.0, "x", at_least=True),
    ),
)
_STREAMS_LIMITS = Limits(0.45, 0.38, "cores")


def judge(
    real: Sequence[Figures] | None, loads: Sequence[StreamsLoad], *, others_cores: float
) -> list[Verdict]:
    """Every target against the figures of the real D400 set (None: it was not measured) and the streams.

    others_cores: how many cores worked for others while `real` was measured.
    """
    measured = {figures.way: figures for figures in real or ()}
    doubt = doubt_about_times(others_cores)
    verdicts = [_verdict(target, measured, doubt if target.timed else "") for target in _TARGETS]
    return [*verdicts, _streams_verdict(loads)]


def _verdict(target: _Target, measured: _Measured, doubt: str) -> Verdict:
    missing = [name for name in target.needs if name not in measured]
    if missing:
        return judged(target.what, None, target.limits, note=_why_missing(target.needs[0], missing))
    note = _best_peer(measured) if JPEG_XL_7 in target.needs else ""
    return judged(target.what, target.figure(measured), target.limits, note=note, doubt=doubt)


def _streams_verdict(loads: Sequence[StreamsLoad]) -> Verdict:
    what = f"{RANS}: cores for {STREAMS} streams 848x480@{STREAM_FPS:.0f}"
    load = next((load for load in loads if load.codec == RANS), None)
    if load is None:
        note = NOT_BUILT if RANS not in CODEC_NAMES else f"{LEFT_OUT}: no streams were run with it"
        return judged(what, None, _STREAMS_LIMITS, note=note)
    doubt = doubt_about_times(load.others_cores)
    return judged(what, load.cores, _STREAMS_LIMITS, note=load.punctuality, doubt=doubt)


def _why_missing(codec: str, missing: Sequence[str]) -> str:
    if codec not in (*CODEC_NAMES, RANS_UNSEEN):
        return NOT_BUILT
    return f"{LEFT_OUT}: {', '.join(missing)} not measured on the real D400 set"


def _best_peer(measured: _Measured) -> str:
    """Whom the comparison is with: the peer of the best ratio, beside ours."""
    best = max((figures for figures in measured.values() if not figures.ours), key=lambda each: each.ratio)
    return (
        f"best ratio of all peers: {best.way}, {number(best.ratio)} x; ours {number(measured[RANS].ratio)} x"
    )
