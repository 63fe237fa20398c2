"""The affine codec in NumPy: what the kernels do (native/affine_*.c), to the bit, where they were not built.

Points are (meshes, points, 4) uint32 in the model's order. All sums are modulo 2**32, as there. A mesh takes
about twenty milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError
from codec.mesh._affine_model import (
    CLASSES,
    FOLDS,
    INTER,
    INTRA,
    PROBABILITY_BITS,
    SYMBOLS,
    WEIGHT_BITS,
    AffineModel,
    low_bits,
    taps,
)

GROUP = 32
RAW_BITS = 12
ESCAPE = SYMBOLS - 1
LARGEST_SHIFT = 6
JUDGED_EVERY = 5
_LEAST_STATE = 1 << 16

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coded:
    """What is to be coded of every number: (meshes, points, 4) zigzag codes, and contexts without shifts."""

    codes: U32
    contexts: U16


@dataclass(frozen=True, slots=True)
class Segment:
    """refs: (meshes, 2) int32, the meshes each is predicted from, or -1 twice. shifts: (meshes, 2) int8.
    channels: 3, or 4 with uncertainties."""

    refs: npt.NDArray[np.int32]
    shifts: npt.NDArray[np.int8]
    channels: int

    @property
    def meshes(self) -> int:
        return len(self.refs)


class TwinAffine:
    """The same interface as `_mesh_native.NativeAffine`."""

    def predict(self, model: AffineModel, segment: Segment, points: U32, known: U8) -> Coded:
        """Codes and contexts; numbers that are not `known` (bit 0: position, bit 1: uncertainty) become the
        predicted ones in `points`."""
        codes, contexts = np.zeros(points.shape, np.uint32), np.zeros(points.shape, np.uint16)
        used = slice(0, segment.channels)
        for m in range(segment.meshes):
            mesh, before, kind = points[m], _before(points, segment, m), _kind(segment, m)
            is_known = np.repeat(known[m][:, None] & 1, 4, axis=1).astype(bool)
            is_known[:, 3] = known[m] & 2 if segment.channels == 4 else 1
            for start, end in _levels(model):
                place = slice(start, end)
                whole, below, fold = _predicted(model, kind, start, end, mesh, before)
                mesh[place][~is_known[place]] = whole[~is_known[place]]
                residual = mesh[place] - whole
                residual = np.where(below, 0 - residual, residual)
                codes[m, place, used] = _zigzag(residual)[:, used]
                classes = model.classes[kind][place][:, [0, 0, 0, 1]].astype(np.uint16)
                contexts[m, place, used] = (classes * FOLDS + fold)[:, used]
        return Coded(codes, contexts)

    def choose_shifts(
        self, model: AffineModel, channels: int, coded: Coded, costs: U16
    ) -> npt.NDArray[np.int8]:
        """For each mesh what its classes are to be moved by, judged by some of its points."""
        shifts = np.zeros((len(coded.codes), 2), np.int8)
        judged = slice(JUDGED_EVERY - 1, None, JUDGED_EVERY)
        for m in range(len(coded.codes)):
            for which, used in enumerate((slice(0, 3), slice(3, 4))[: channels - 2]):
                codes, contexts = coded.codes[m, judged, used], coded.contexts[m, judged, used]
                costs_by_step = [
                    _cost(codes, _shifted(contexts, _shift_of(step)), costs)
                    for step in range(2 * LARGEST_SHIFT + 1)
                ]
                best = costs_by_step.index(min(costs_by_step))
                shifts[m, which] = _shift_of(best)
        return shifts

    def encode(self, model: AffineModel, segment: Segment, coded: Coded) -> bytes:
        """The bytes."""
        lanes = GROUP * segment.channels
        coder = _Coder(lanes)
        for m in reversed(range(segment.meshes)):
            for start, end in reversed(list(_groups(model))):
                codes, shifted = _group_of(segment, coded, m, start, end)
                coder.put_group(model, codes, shifted)
        return coder.finish()

    def decode(self, model: AffineModel, segment: Segment, data: bytes) -> U32:
        """The points. Raises FormatError."""
        decoder = _Decoder(data, GROUP * segment.channels)
        points = np.zeros((segment.meshes, model.points, 4), np.uint32)
        for m in range(segment.meshes):
            before, kind, channels = _before(points, segment, m), _kind(segment, m), segment.channels
            shifts = segment.shifts[m][[0, 0, 0, 1]][:channels].astype(np.int64)
            for start, end in _levels(model):
                whole, below, fold = _predicted(model, kind, start, end, points[m], before)
                classes = model.classes[kind][start:end][:, [0, 0, 0, 1]].astype(np.int64)
                contexts = _shifted((classes * FOLDS + fold)[:, :channels], shifts)
                codes = np.empty((end - start, channels), np.uint32)
                for at in range(0, end - start, GROUP):
                    group = slice(at, at + GROUP)
                    codes[group] = decoder.get_group(model, contexts[group].ravel()).reshape(-1, channels)
                residual = _unzigzag(codes)
                residual = np.where(below[:, :channels], 0 - residual, residual)
                points[m, start:end, :channels] = whole[:, :channels] + residual
        decoder.finish()
        return points


# ---- prediction ----


def _kind(segment: Segment, m: int) -> int:
    return INTER if segment.refs[m, 0] >= 0 else INTRA


def _before(points: U32, segment: Segment, m: int) -> list[U32]:
    return [points[ref] for ref in segment.refs[m] if ref >= 0]


def _levels(model: AffineModel) -> Iterator[tuple[int, int]]:
    start = 0
    for end in model.level_ends.tolist():
        yield start, end
        start = end


def _groups(model: AffineModel) -> Iterator[tuple[int, int]]:
    for start, end in _levels(model):
        for at in range(start, end, GROUP):
            yield at, min(at + GROUP, end)


def _predicted(
    model: AffineModel, kind: int, start: int, end: int, mesh: U32, before: list[U32]
) -> tuple[U32, npt.NDArray[np.bool_], npt.NDArray[np.uint16]]:
    """For each number of a level the whole number predicted, whether the exact value lies below, its fold."""
    neighbours = model.neighbours[start:end]
    weights = model.weights[kind][start:end].astype(np.uint32)
    if start == 0:
        base = before[0][:1] if before else np.zeros((1, 4), np.uint32)
        total = np.zeros((1, 4), np.uint32)
    else:
        base = mesh[neighbours[:, 0]]
        total = 0 - (base << np.uint32(WEIGHT_BITS))
        at = model.now[kind]
        total += _weighted(mesh, neighbours[:, :at], weights[:, :at])
        for each, count in zip(before, model.before, strict=False):
            total += each[start:end] * weights[:, at, None]
            total += _weighted(each, neighbours[:, :count], weights[:, at + 1 : at + 1 + count])
            at += 1 + count
        assert at == taps(model.now, model.before, kind)
    whole = (total + np.uint32(1 << (WEIGHT_BITS - 1))).view(np.int32) >> WEIGHT_BITS
    rest = (total - (whole.view(np.uint32) << np.uint32(WEIGHT_BITS))).view(np.int32)
    fold = np.minimum(np.abs(rest) >> (WEIGHT_BITS - 4), FOLDS - 1).astype(np.uint16)
    return base + whole.view(np.uint32), rest < 0, fold


def _weighted(mesh: U32, neighbours: U16, weights: U32) -> U32:
    result: U32 = (mesh[neighbours] * weights[:, :, None]).sum(axis=1, dtype=np.uint32)
    return result


def _zigzag(residual: U32) -> U32:
    return residual << np.uint32(1) ^ (0 - (residual >> np.uint32(31)))


def _unzigzag(code: U32) -> U32:
    return code >> np.uint32(1) ^ (0 - (code & np.uint32(1)))


# ---- contexts ----


def _shift_of(step: int) -> int:
    """0, 1, -1, 2, -2, ...: of two that cost the same the nearest is taken."""
    return (step + 1) // 2 if step % 2 else -(step // 2)


def _shifted(contexts: npt.NDArray[np.integer], shift: int | I64) -> I64:
    wide = contexts.astype(np.int64)
    shifted: I64 = np.clip(wide // FOLDS + shift, 0, CLASSES - 1) * FOLDS + wide % FOLDS
    return shifted


def _bits_of(values: I64) -> I64:
    """How many bits each number takes; below 2**32."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _cost(codes: U32, contexts: I64, costs: U16) -> int:
    low = low_bits(contexts // FOLDS)
    high = codes.astype(np.int64) >> low
    escape = np.where(high < ESCAPE, 0, 5 + _bits_of(np.maximum(high - ESCAPE, 0)))
    return int((costs[contexts, np.minimum(high, ESCAPE)].astype(np.int64) + 256 * (low + escape)).sum())


def _group_of(segment: Segment, coded: Coded, m: int, start: int, end: int) -> tuple[I64, I64]:
    """Codes and shifted contexts of a group, by lane."""
    used = slice(0, segment.channels)
    shifts = segment.shifts[m][[0, 0, 0, 1]][used].astype(np.int64)
    codes = coded.codes[m, start:end, used].astype(np.int64)
    return codes.ravel(), _shifted(coded.contexts[m, start:end, used], shifts).ravel()


# ---- rANS ----


class _Coder:
    """Codes backwards; `_words` holds runs of words, the last of the file first."""

    def __init__(self, lanes: int) -> None:
        self._states = np.full(lanes, _LEAST_STATE, np.int64)
        self._words: list[npt.NDArray[np.int64]] = []

    def put_group(self, model: AffineModel, codes: I64, contexts: I64) -> None:
        low = low_bits(contexts // FOLDS)
        high = codes >> low
        for lane in reversed(np.flatnonzero(high >= ESCAPE).tolist()):
            excess = int(high[lane]) - ESCAPE
            bits = excess.bit_length()
            self._put_raw(lane, excess, bits)
            self._put_raw(lane, bits, 6)
        lanes = np.flatnonzero(low)
        self._put(lanes, (codes & ((1 << low) - 1))[lanes], np.ones(lanes.size, np.int64), low[lanes])
        symbols = np.minimum(high, ESCAPE)
        below = model.sums[contexts, symbols].astype(np.int64)
        frequencies = model.sums[contexts, symbols + 1].astype(np.int64) - below
        self._put(np.arange(codes.size), below, frequencies, np.full(codes.size, PROBABILITY_BITS))

    def _put(self, lanes: npt.NDArray[np.intp], below: I64, frequencies: I64, bits: I64) -> None:
        states = self._states[lanes]
        full = states >= frequencies << (32 - bits)
        if full.any():
            self._words.append(states[full] & 0xFFFF)
            states = np.where(full, states >> 16, states)
        self._states[lanes] = (states // frequencies << bits) + states % frequencies + below

    def _put_raw(self, lane: int, value: int, bits: int) -> None:
        where, one = np.array([lane]), np.ones(1, np.int64)
        while bits:
            piece = (bits - 1) % RAW_BITS + 1
            bits -= piece
            number = np.array([value >> bits & ((1 << piece) - 1)])
            self._put(where, number, one, np.array([piece]))

    def finish(self) -> bytes:
        words = [each.astype("<u2").tobytes() for each in reversed(self._words)]
        return self._states.astype("<u4").tobytes() + b"".join(words)


class _Decoder:
    """Takes any bytes; FormatError where they are too few."""

    def __init__(self, data: bytes, lanes: int) -> None:
        if len(data) < 4 * lanes or len(data) % 2:
            raise FormatError(f"a mesh segment of {len(data)} bytes is cut short")
        self._states = np.frombuffer(data, "<u4", lanes).astype(np.int64)
        self._words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.int64)
        self._at = 0

    def get_group(self, model: AffineModel, contexts: I64) -> U32:
        lanes = np.arange(contexts.size)
        states = self._states[lanes]
        slots = states & ((1 << PROBABILITY_BITS) - 1)
        sums = model.sums[contexts].astype(np.int64)
        symbols = (sums[:, 1:] <= slots[:, None]).sum(axis=1)
        below = sums[lanes, symbols]
        self._refill(lanes, (sums[lanes, symbols + 1] - below) * (states >> PROBABILITY_BITS) + slots - below)
        low = low_bits(contexts // FOLDS)
        lows = np.zeros(contexts.size, np.int64)
        wide = np.flatnonzero(low)
        if wide.size:
            lows[wide] = self._states[wide] & ((1 << low[wide]) - 1)
            self._refill(wide, self._states[wide] >> low[wide])
        for lane in np.flatnonzero(symbols >= ESCAPE).tolist():
            bits = self._get_raw(lane, 6)
            if bits > 32:
                raise FormatError("a mesh segment does not decode: damaged")
            symbols[lane] += self._get_raw(lane, bits)
        return np.asarray((symbols << low | lows) & 0xFFFFFFFF, np.uint32)

    def _refill(self, lanes: npt.NDArray[np.intp], states: I64) -> None:
        short = states < _LEAST_STATE
        wanted = int(np.count_nonzero(short))
        if wanted:
            words = self._words[self._at : self._at + wanted]
            if words.size < wanted:
                raise FormatError("a mesh segment ends in the middle: damaged")
            states = states.copy()
            states[short] = states[short] << 16 | words
            self._at += wanted
        self._states[lanes] = states

    def _get_raw(self, lane: int, bits: int) -> int:
        value, where = 0, np.array([lane])
        for done in range(0, bits, RAW_BITS):
            piece = min(bits - done, RAW_BITS)
            value |= (int(self._states[lane]) & ((1 << piece) - 1)) << done
            self._refill(where, self._states[where] >> piece)
        return value

    def finish(self) -> None:
        """Raises FormatError where something is left over."""
        if self._at != self._words.size or (self._states != _LEAST_STATE).any():
            raise FormatError("a mesh segment does not end where it should: damaged")
