#!/usr/bin/env python3
"""Trains a context map for lattice-rans and tells how well it does on frames it has not seen.

    .venv/bin/python scripts/train_context_map.py             # leave-one-set-out report; writes nothing
    .venv/bin/python scripts/train_context_map.py --write 2   # codec/depth/maps/2.map from all sets

From the recordings of real cameras in a folder and from the simulated D435, and from nothing else. A map that
has been written is part of the format for ever: an existing file is never overwritten, and the encoder uses a
new one only when NEWEST_MAP in codec/depth/_context_model.py names it.

How. The weights of the score are a least-squares fit of a pixel to its eleven neighbours, where the
ground is smooth. Contexts are then merged into classes by k-means on code lengths: a context joins the class
whose tables would code it shortest, summed over groups of frames, each group with tables of its own, because
each frame will have its own. So two contexts share a class only if they behave alike in every group, and
the map holds for cameras with more or less noise than those it was made from. To that end each set also comes
with its lattice halved (half the noise) and turned upside down.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # in place of this folder: here, modules are named from the root of the checkout

from scripts._needs import needed_modules  # noqa: E402

with needed_modules(venv=".venv"):
    import numpy as np
    import numpy.typing as npt

    from codec.depth import _context_model as model
    from codec.depth._rans_side import code_of_frequency
    from codec.depth.lattice_rans import LatticeRansCodec
    from scripts.bench import _depth_sets

T = TypeVar("T")
Counts = npt.NDArray[np.float64]
"""(contexts, symbols): how often each symbol came, in the frames of one group."""

CLASSES = 64
_LARGEST_MAP = 65535  # 16 bits, in the map as in each payload
FRAMES_OF_A_SET = 12
_ROUNDS = 40
_SMOOTH = 6  # ranks between a pixel, its neighbours and N, for the least-squares fit
_UNSEEN = 0.02  # what a symbol that never came counts


def main() -> int:
    args = _arguments()
    target = _path_of(args.write)
    if target is not None and target.exists():
        _say(f"{target} exists: old frames need it as it is. Choose another number")
        return 2
    _say("loading frames")
    frames = load_frames(args.depth_data, most=args.frames, leave_out=args.leave_out)
    if target is not None:
        target.write_bytes(train(frames, map_id=args.write).to_bytes())
        print(f"wrote {target.relative_to(ROOT)}")
        return 0
    everything = train(frames)
    print("| set | trained without it | trained with it |\n|---|---|---|")
    for name, of_set in frames.items():
        others = without(frames, name)
        unseen = f"x{ratio(of_set, train(others)):.2f}" if others else "-"
        print(f"| {name} | {unseen} | x{ratio(of_set, everything):.2f} |", flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    """As asked for; ends the program where that would fail only after the training."""
    parser = _parser()
    args = parser.parse_args()
    names = _depth_sets.set_names(args.depth_data)
    if wrong := [name for name in args.leave_out if name not in names]:
        parser.error(f"--leave-out: no set is called {', '.join(wrong)}; there are {', '.join(names)}")
    left = dict.fromkeys(name for name in names if name not in args.leave_out)
    if not (left if args.write is not None else any(without(left, name) for name in left)):
        parser.error(
            f"of {', '.join(left) or 'no set'} there is nothing to learn: the report needs two cameras"
        )
    if args.write is not None and not 1 <= args.write <= _LARGEST_MAP:
        parser.error(f"--write: a map has a number from 1 to {_LARGEST_MAP}, not {args.write}")
    return args


def _path_of(map_id: int | None) -> Path | None:
    return None if map_id is None else ROOT / "codec" / "depth" / "maps" / f"{map_id}.map"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=int, metavar="N", help="train on all sets and write map N")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SET", help="sets to do without")
    parser.add_argument(
        "--frames", type=int, default=FRAMES_OF_A_SET, help="of each set (default: %(default)s)"
    )
    real = ROOT.parent / "shared" / "data" / "depth"
    parser.add_argument("--depth-data", type=Path, default=real, metavar="DIR", help="folders of 16-bit PNGs")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def load_frames(
    real: Path, *, most: int = FRAMES_OF_A_SET, leave_out: Collection[str] = ()
) -> dict[str, list[_depth_sets.Depth]]:
    """What maps are made from, by the name of the set."""
    names = [name for name in _depth_sets.set_names(real) if name not in leave_out]
    return {name: _depth_sets.load_set(name, real, most=most).frames for name in names}


def without(sets: dict[str, T], name: str) -> dict[str, T]:
    """Those to train from where the frames of `name` shall be new: no set of the same camera or simulator."""
    return {other: some for other, some in sets.items() if other not in _depth_sets.relatives(name)}


def ratio(frames: Iterable[_depth_sets.Depth], chosen: model.ContextMap) -> float:
    """Bytes of the frames by bytes of their payloads."""
    codec = LatticeRansCodec(trial_map=chosen)
    raw, packed = 0, 0
    for frame in frames:
        raw += frame.nbytes
        packed += len(codec.encode(frame))
    return raw / packed


# ---- training ----------------------------------------------------------------------------------------------


def train(frames: dict[str, list[_depth_sets.Depth]], *, map_id: int = 0) -> model.ContextMap:
    """A map made from these sets alone. `map_id` 0 is for trials."""
    sets = [[ranks_of(frame) for frame in some] for some in frames.values()]
    weights = fit_weights(ranks for some in sets for ranks in some[:: max(len(some) // 4, 1)])
    groups = []
    for some in sets:
        for variant in (_as_it_is, _halved, _upside_down):
            counts = sum(count(variant(ranks), weights) for ranks in some)
            groups.append(counts * (1e6 / counts.sum()))  # no set speaks louder than another
    class_of = merge(groups, CLASSES)
    total = np.full((CLASSES, model.SYMBOLS), _UNSEEN)
    np.add.at(total, class_of, sum(groups))
    shares = total / total.sum(axis=1, keepdims=True)
    defaults = [[code_of_frequency(max(round(4096 * p), 1)) for p in row] for row in shares.tolist()]
    made = model.ContextMap(
        map_id, weights, class_of.astype(np.uint8), np.array(defaults, np.uint8), np.empty(0, np.uint8)
    )
    return model.ContextMap.from_bytes(made.to_bytes())


def ranks_of(frame: _depth_sets.Depth) -> model.I16:
    values = np.unique(frame[frame > 0])
    rank_of = np.zeros(65536, np.int16)
    rank_of[values] = np.arange(1, values.size + 1)
    return rank_of[frame]


def _as_it_is(ranks: model.I16) -> model.I16:
    return ranks


def _halved(ranks: model.I16) -> model.I16:
    halved: model.I16 = (ranks + 1) >> 1
    return halved


def _upside_down(ranks: model.I16) -> model.I16:
    """Near is far and left is right: the mirror image of every context."""
    turned: model.I16 = np.where(ranks > 0, ranks.max() + 1 - ranks, 0).astype(np.int16)[:, ::-1]
    return np.ascontiguousarray(turned)


def fit_weights(frames: Iterable[model.I16]) -> model.I16:
    """Least squares of (pixel - N) on (neighbour - N), on smooth ground, in units of 1 / WEIGHT_UNIT."""
    size = len(model.WEIGHED)
    normal, right = np.zeros((size, size)), np.zeros(size)
    for ranks in frames:
        filled = model.fill(ranks)
        above = model.neighbour(filled.ranks, "N").astype(np.float64)
        known = [model.neighbour(filled.ranks, name) - above for name in model.WEIGHED]
        known.append(ranks - above)
        valid = (ranks > 0) & model.neighbour(filled.valid, "N")
        smooth = valid & (np.abs(known).max(axis=0) <= _SMOOTH)
        differences = np.stack([column[smooth] for column in known[:-1]])
        normal += differences @ differences.T
        right += differences @ known[-1][smooth]
    return np.rint(np.linalg.solve(normal, right) * model.WEIGHT_UNIT).astype(np.int16)


def count(ranks: model.I16, weights: model.I16) -> Counts:
    """How often each symbol came in each context."""
    expected = model.expect(model.fill(ranks), weights)
    residual = ranks.astype(np.int64) - expected.prediction
    symbol = np.minimum(np.where(residual < 0, -2 * residual - 1, 2 * residual), model.ESCAPE)
    symbol = np.where(ranks > 0, symbol, model.INVALID)
    which = expected.context.astype(np.int64) * model.SYMBOLS + symbol
    counted = np.bincount(which.ravel(), minlength=model.CONTEXTS * model.SYMBOLS)
    return counted.reshape(model.CONTEXTS, model.SYMBOLS).astype(np.float64)


def merge(groups: list[Counts], classes: int) -> npt.NDArray[np.intp]:
    """The class of each context: k-means, with the bits of coding a context by a class as the distance."""
    total = np.sum(groups, axis=0)
    often = total.sum(axis=1)
    used = np.flatnonzero(often)
    shares = total[used] / often[used, None]
    # To begin with, in the order of how sure and how lopsided contexts are, and how often invalid.
    key = shares[:, 0] + 0.15 * (shares[:, 1] - shares[:, 2]) + 3 * shares[:, model.INVALID]
    order = np.argsort(key)
    mass = np.cumsum(np.sqrt(often[used][order]))
    class_of = np.empty(used.size, np.intp)
    class_of[order] = np.minimum(mass / mass[-1] * classes, classes - 1).astype(np.intp)
    before = np.inf
    for _ in range(_ROUNDS):
        bits = np.zeros((used.size, classes))
        for counts in groups:
            tables = np.full((classes, model.SYMBOLS), _UNSEEN)
            np.add.at(tables, class_of, counts[used])
            bits -= counts[used] @ np.log2(tables / tables.sum(axis=1, keepdims=True)).T
        class_of = bits.argmin(axis=1)
        now = bits.min(axis=1).sum()
        if now > before * (1 - 1e-5):
            break
        before = now
    result = np.zeros(model.CONTEXTS, np.intp)
    result[used] = class_of
    return result


if __name__ == "__main__":
    sys.exit(main())
