"""What `lattice-rans` expects of every pixel, for a whole image at once: the NumPy twin of `context_model.h`.

Owns the arithmetic from ranks to (prediction, context) and the context map files. Knows no coder. The encoder
of the twin and the training of context maps use it; 16-bit sums wrap here as they do there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from codec.errors import CodecError

I16: TypeAlias = npt.NDArray[np.int16]
U8: TypeAlias = npt.NDArray[np.uint8]
Flags: TypeAlias = npt.NDArray[np.bool_]
_T = TypeVar("_T")
Neighbour: TypeAlias = Callable[[str], _T]

MARGIN = 2
SYMBOLS, ESCAPE, INVALID = 16, 14, 15
MAX_CLASSES = 64
MAX_RANKS = 16383
SCORE_SHIFT, SCORE_BOUND = 3, 10
WEIGHT_UNIT = 12 << SCORE_SHIFT
SMOOTH_CONTEXTS = (2 * SCORE_BOUND + 1) * 3**5
HOLE_CONTEXTS = 128 * 9
CONTEXTS = SMOOTH_CONTEXTS + HOLE_CONTEXTS
MAX_FREQUENCY_CODE = 97
WEIGHED = ("W", "WW", "NW", "NE", "NN", "NWW", "NEE", "NNW", "NNE", "NNEE", "NNWW")
"""The neighbours that have a weight, in the order of the map file."""

NEIGHBOUR_PLACES = {
    "W": (0, -1),
    "WW": (0, -2),
    "N": (-1, 0),
    "NW": (-1, -1),
    "NE": (-1, 1),
    "NWW": (-1, -2),
    "NEE": (-1, 2),
    "NN": (-2, 0),
    "NNW": (-2, -1),
    "NNE": (-2, 1),
    "NNEE": (-2, 2),
    "NNWW": (-2, -2),
}
NEWEST_MAP = 1

# NumPy's numbers of 16 bits: a Python number beside a small array costs as much again as the sum itself.
_ONE, _THREE, _UNIT, _HALF, _SHIFT, _BOUND = map(
    np.int16, (1, 3, WEIGHT_UNIT, 1 << SCORE_SHIFT - 1, SCORE_SHIFT, SCORE_BOUND)
)
_SCORE_STEP, _DOWN_STEP, _LEFT_STEP, _FAR_LEFT_STEP = map(np.int16, (243, 81, 9, 9 * 16))


@dataclass(frozen=True, slots=True)
class ContextMap:
    """A trained map: which class each context belongs to, and what to expect of each class.

    weights: int16 (11,), in 1/96. class_of: uint8 (6255,). defaults: uint8 (classes, 16) frequency codes.
    content: the file as it is, for the kernel.
    """

    id: int
    weights: I16
    class_of: U8
    defaults: U8
    content: U8

    @property
    def classes(self) -> int:
        return len(self.defaults)

    @classmethod
    def from_bytes(cls, content: bytes) -> ContextMap:
        """Parse a map file. Raises CodecError where it is none."""
        at = 4 + 2 * len(WEIGHED)
        if len(content) < at + CONTEXTS:
            raise CodecError(f"a context map has more than {at + CONTEXTS} bytes, this has {len(content)}")
        map_id, classes = np.frombuffer(content, "<u2", count=2).tolist()
        weights = np.frombuffer(content, "<i2", offset=4, count=len(WEIGHED)).astype(np.int16)
        class_of = np.frombuffer(content, np.uint8, offset=at, count=CONTEXTS)
        defaults = np.frombuffer(content, np.uint8, offset=at + CONTEXTS)
        if not 1 <= classes <= MAX_CLASSES or class_of.max() >= classes or defaults.size != classes * SYMBOLS:
            raise CodecError(f"context map {map_id} contradicts itself: it claims {classes} classes")
        defaults = defaults.reshape(classes, SYMBOLS)
        if defaults.max() > MAX_FREQUENCY_CODE or not defaults.any(axis=1).all():
            raise CodecError(f"context map {map_id} has a class with an impossible default table")
        whole = np.frombuffer(content, np.uint8)
        return cls(map_id, weights, class_of, defaults, whole)

    def to_bytes(self) -> bytes:
        """The file; `content` plays no part in it."""
        head = np.array([self.id, self.classes], "<u2").tobytes() + self.weights.astype("<i2").tobytes()
        return head + self.class_of.tobytes() + self.defaults.tobytes()


_learnt: dict[int, ContextMap] = {}


def _map_file(map_id: int) -> Path:
    return Path(__file__).parent / "maps" / f"{map_id}.map"


def newest_map() -> tuple[int, bytes]:
    """The number and the content of the map that frames are encoded with."""
    return NEWEST_MAP, context_map(NEWEST_MAP).content.tobytes()


def has_map(map_id: int) -> bool:
    """Whether payloads that name this map can be decoded."""
    return map_id in _learnt or _map_file(map_id).is_file()


def learn_map(content: bytes) -> None:
    """Make a map known that a file brought along. Raises CodecError where it is none, or where another one
    has its number."""
    found = ContextMap.from_bytes(content)
    if has_map(found.id):
        if context_map(found.id).content.tobytes() != content:
            raise CodecError(f"there is another context map {found.id}: one of them is none of ours")
        return
    _learnt[found.id] = found


@cache
def context_map(map_id: int) -> ContextMap:
    """The map that a payload names. Raises CodecError for one that this version does not have."""
    if map_id in _learnt:
        return _learnt[map_id]
    file = _map_file(map_id)
    if not file.is_file():
        raise CodecError(f"lattice-rans payload needs context map {map_id}: a newer nightrig has it")
    found = ContextMap.from_bytes(file.read_bytes())
    if found.id != map_id:
        raise CodecError(f"context map {map_id} calls itself {found.id}: this installation is damaged")
    return found


class Filled(NamedTuple):
    """Ranks with their margins, int16 (height + 2, width + 4), holes filled from above, and what is valid."""

    ranks: I16
    valid: Flags


def fill(ranks: I16) -> Filled:
    """Fill what was not measured (rank 0) with the rank above, and lay out the margins."""
    height, width = ranks.shape
    filled = np.zeros((height + 2, width + 2 * MARGIN), np.int16)
    valid = np.zeros(filled.shape, np.bool_)
    inner = slice(MARGIN, MARGIN + width)
    valid[2:, inner] = ranks > 0
    for y in range(2, height + 2):
        np.copyto(filled[y, inner], filled[y - 1, inner])
        np.copyto(filled[y, inner], ranks[y - 2], where=valid[y, inner])
        filled[y, :MARGIN] = filled[y - 1, MARGIN]
        filled[y, -MARGIN:] = filled[y, MARGIN + width - 1]
    return Filled(filled, valid)


class Above(NamedTuple):
    """All that the rows above say of some pixels; int16 and bool arrays of one shape."""

    N: I16
    NW: I16
    across: I16
    fall: I16
    weighed: I16
    smooth_context: I16
    hole_context: I16
    valid: Flags
    N_valid: Flags
    without_left: I16


class Expected(NamedTuple):
    """Of each pixel: prediction int16 and context int16."""

    prediction: I16
    context: I16


def look_above(rank_at: Neighbour[I16], valid_at: Neighbour[Flags], weights: I16) -> Above:
    """The part of the work that needs nothing of the pixel's own row.

    `rank_at("NE")` gives int16 ranks, `valid_at("NE")` flags, for each neighbour in the rows above; all
    arrays have one shape.
    """
    N, NW, NE = rank_at("N"), rank_at("NW"), rank_at("NE")
    weighed = N * (WEIGHT_UNIT - weights.sum(keepdims=True)).astype(np.int16)
    for name, weight in zip(WEIGHED, weights, strict=True):
        if name not in ("W", "WW"):
            weighed += rank_at(name) * weight
    across = N - NW
    N_valid, NW_valid, NE_valid, NN_valid = map(valid_at, ("N", "NW", "NE", "NN"))
    which = 2 * N_valid.astype(np.int16) + 4 * NW_valid + 8 * NE_valid + 32 * valid_at("NEE") + 64 * NN_valid
    return Above(
        N=N,
        NW=NW,
        across=across,
        fall=N - rank_at("NN"),
        weighed=weighed,
        smooth_context=27 * np.sign(across) + 9 * np.sign(NE - N - across) + np.int16(SMOOTH_CONTEXTS // 2),
        hole_context=9 * which + np.sign(across) + np.int16(SMOOTH_CONTEXTS + 4),
        valid=N_valid & NW_valid & NE_valid,
        N_valid=N_valid,
        without_left=np.where(~N_valid & NE_valid, NE, N),
    )


def look_left(above: Above, W: I16, WW: I16, W_valid: Flags, WW_valid: Flags, weights: I16) -> Expected:
    """The rest: what the two pixels to the left add."""
    down = W - above.NW
    plane = np.maximum(W + above.across, np.minimum(W, above.N) - _ONE)
    np.minimum(plane, np.maximum(W, above.N) + _ONE, out=plane)
    off = above.weighed + W * weights[0]
    off += WW * weights[1]
    off -= plane * _UNIT
    off += _HALF
    off >>= _SHIFT
    np.minimum(off, _BOUND, out=off)
    np.maximum(off, -_BOUND, out=off)
    down_sign = np.sign(down)
    context = off * _SCORE_STEP
    context += down_sign * _DOWN_STEP
    context += np.sign(above.fall - down) * _THREE
    context += np.sign(W - WW - above.across)
    context += above.smooth_context
    smooth = above.valid & W_valid
    if smooth.all():
        return Expected(plane, context)
    hole = above.hole_context + down_sign * _THREE
    hole += W_valid * _LEFT_STEP
    hole += WW_valid * _FAR_LEFT_STEP
    with_left = np.where(above.N_valid, plane, W)
    prediction = np.where(W_valid, with_left, above.without_left)
    return Expected(prediction, np.where(smooth, context, hole))


def neighbour(rows: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """A neighbour of every pixel, (height, width), from one of the arrays of Filled."""
    dy, dx = NEIGHBOUR_PLACES[name]
    height, width = rows.shape[0] - 2, rows.shape[1] - 2 * MARGIN
    return rows[2 + dy : 2 + dy + height, MARGIN + dx : MARGIN + dx + width]


def expect(filled: Filled, weights: I16) -> Expected:
    """The prediction and the context of every pixel of an image; shapes (height, width)."""
    ranks, valid = partial(neighbour, filled.ranks), partial(neighbour, filled.valid)
    above = look_above(ranks, valid, weights)
    return look_left(above, ranks("W"), ranks("WW"), valid("W"), valid("WW"), weights)
