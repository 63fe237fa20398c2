"""A reader of native mesh files written from docs/FORMAT.md alone, number by number.

It knows nothing of codec/: where the page and the codec part ways, this reader fails. It is there to be held
against the page, not to be fast, and is no guard against damage.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any

import msgpack
import numpy as np

RECORD = struct.Struct("<I4s4BIIIQdqIIII")
NAMES = ("vertices", "joints", "vertex_uncertainties", "joint_uncertainties")


def records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        head = RECORD.unpack_from(data, at)
        yield head[2], head[9], data[at + 64 : at + 4 + head[0] - head[12]]
        at += 4 + head[0]


def array(value: dict[Any, Any]) -> Any:
    """msgpack-numpy's maps."""
    if b"nd" not in value:
        return value
    found = np.frombuffer(value[b"data"], value[b"type"])
    return found.reshape(value[b"shape"]) if value[b"nd"] else found[0]


def unpacked(packed: bytes) -> Any:
    return msgpack.unpackb(zlib.decompress(packed), object_hook=array, strict_map_key=False)


def head_of(data: bytes) -> Any:
    return next(unpacked(payload) for kind, _, payload in records(data) if kind == 9)


def signed(number: Any) -> Any:
    """Modulo 2^32, as signed."""
    return (number + 2**31) % 2**32 - 2**31


def unzigzag(v: Any) -> Any:
    return np.where(v % 2, -(v + 1) // 2, v // 2)


def model_of(payload: bytes) -> dict[str, Any]:
    kind, k0, k1, b0, b1, _, levels, vertices, joints = struct.unpack_from("<6BHII", payload)
    n, body = vertices + joints, np.frombuffer(lzma.decompress(payload[16:]), np.uint8).astype(np.int64)

    def take(*shape: int) -> Any:
        nonlocal body
        taken, body = body[: prod(shape)], body[prod(shape) :]
        return taken.reshape(shape)

    def pairs(*shape: int) -> Any:
        return take(*shape) + 256 * take(*shape)

    model = {"order": pairs(n), "taken": (k0, k1, b0, b1)}
    if kind == 2:
        model["ends"] = (take(levels, 4) @ (256 ** np.arange(4))).tolist()
        model["neighbours"] = pairs(max(k0, k1, b0, b1), n)
        model["weights"] = [(pairs(rows, n) + 2**15) % 2**16 - 2**15 for rows in (k0, k1 + 2 + b0 + b1)]
        model["classes"] = [take(2, n), take(2, n)]
        model["frequencies"] = pairs(256, 64)
    return model


def fast_points(data: bytes, model: dict[str, Any] | None, meshes: int, n: int, C: int, back: Any) -> Any:
    points, by_place = np.zeros((meshes, n, 4), np.int64), np.zeros((meshes, 4, n), np.int64)
    for channels in (slice(0, 3), slice(3, 4))[: C - 2]:
        size, escapes, escape_size = struct.unpack_from("<III", data)
        symbols = np.frombuffer(zlib.decompress(data[12 : 12 + size], -15), np.uint8).astype(np.int64)
        planes = np.frombuffer(zlib.decompress(data[12 + size : 12 + size + escape_size]), np.uint8)
        symbols[symbols == 255] += 256 ** np.arange(4) @ planes.reshape(4, escapes).astype(np.int64)
        by_place[:, channels] = np.cumsum(
            unzigzag(symbols).reshape(meshes, channels.stop % 2 * 2 + 1, n), axis=2
        )
        data = data[12 + size + escape_size :]
    for mesh in np.flatnonzero(back[0]):
        by_place[mesh] += by_place[mesh - back[0][mesh]]
    points[:, np.arange(n) if model is None else model["order"]] = by_place.transpose(0, 2, 1)
    return points


class Coder:
    def __init__(self, data: bytes, lanes: int, frequencies: Any) -> None:
        self.states = list(struct.unpack_from(f"<{lanes}I", data))
        self.words = iter(np.frombuffer(data, "<u2", offset=4 * lanes).tolist())
        self.f, self.below = frequencies, np.cumsum(frequencies, axis=1) - frequencies

    def renew(self, lane: int, x: int) -> None:
        self.states[lane] = x if x >= 65536 else 65536 * x + next(self.words)

    def symbol(self, lane: int, context: int) -> int:
        high, t = divmod(self.states[lane], 32768)
        s = int(np.searchsorted(self.below[context], t, side="right")) - 1
        self.renew(lane, int(self.f[context, s]) * high + t - int(self.below[context, s]))
        return s

    def raw(self, lane: int, bits: int) -> int:
        k = min(12, bits)
        low = self.states[lane] % 2**k
        if bits:
            self.renew(lane, self.states[lane] // 2**k)
        return low + (self.raw(lane, bits - k) << k if bits > k else 0)


def affine_points(data: bytes, model: dict[str, Any], q: Any, back: Any, shifts: Any) -> Any:
    """Fills q, (meshes, n, C), by place."""
    C = q.shape[2]
    coder = Coder(data, 32 * C, model["frequencies"])
    for m in range(len(q)):
        past = [q[m - back[0][m]], q[m - back[1][m]]] if back[0][m] else []
        weights, classes = model["weights"][len(past) > 0], model["classes"][len(past) > 0]
        for first, end in zip([0, *model["ends"]], model["ends"], strict=False):
            for start in range(first, end, 32):
                group = []  # point, channel, prediction, whether rest is below 0, context
                for i in range(start, min(start + 32, end)):
                    base, total = expected(model, weights[:, i], i, q[m], past)
                    whole = signed(total + 2048) // 4096
                    for c in range(C):
                        rest = int(signed(total[c] - 4096 * whole[c]))
                        class_ = min(max(int(classes[c // 3, i] + shifts[c // 3, m]), 0), 31)
                        context = 8 * class_ + min(abs(rest) // 256, 7)
                        group.append((i, c, int(base[c] + whole[c]), rest < 0, context))
                low = [0 if g[4] < 8 * 16 else (g[4] // 8 - 13) // 3 for g in group]
                s = [coder.symbol(lane, g[4]) for lane, g in enumerate(group)]
                lows = [coder.raw(lane, bits) for lane, bits in enumerate(low)]
                for lane, (i, c, prediction, is_below, _) in enumerate(group):
                    s[lane] += coder.raw(lane, coder.raw(lane, 6)) if s[lane] == 63 else 0
                    residual = int(unzigzag((s[lane] << low[lane]) + lows[lane]))
                    q[m, i, c] = signed(prediction + (-residual if is_below else residual))
    assert set(coder.states) == {65536}
    assert next(coder.words, None) is None


def expected(model: dict[str, Any], w: Any, i: int, q: Any, past: list[Any]) -> tuple[Any, Any]:
    """(base, sum) of a point, for each of its numbers."""
    k0, k1, b0, b1 = model["taken"]
    j, k = model["neighbours"][:, i], k1 if past else k0
    if i == 0:
        return (past[0][0] if past else 0 * q[0]), 0 * q[0]
    total = w[:k] @ q[j[:k]] - 4096 * q[j[0]]
    for mesh, at, b in zip(past, (k1, k1 + 1 + b0), (b0, b1), strict=False):
        total = total + w[at] * mesh[i] + w[at + 1 : at + 1 + b] @ mesh[j[:b]]
    return q[j[0]], signed(total)


def frames_of(data: bytes) -> Iterator[dict[str, Any]]:
    models = {number: model_of(payload) for kind, number, payload in records(data) if kind == 10}
    for kind, _, payload in records(data):
        if kind == 11:
            yield from segment_frames(payload, models)


def segment_frames(payload: bytes, models: dict[int, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    way, arrays, _, _, meshes, vertices, joints, steps_per_mm, name, *lengths = struct.unpack_from(
        "<BBHIIIIdQ5I", payload
    )
    n, C = vertices + joints, 4 if arrays & 12 else 3
    parts = [payload[e - s : e] for e, s in zip(56 + np.cumsum(lengths), lengths, strict=True)]
    shapes, people = map(zlib.decompress, parts[:2])
    at = 4 + struct.unpack_from("<I", people)[0]
    states = iter(people[4:at])
    back = np.frombuffer(people, "<u4", 2 * meshes, at).astype(np.int64).reshape(2, meshes)
    bits = np.unpackbits(np.frombuffer(people, np.uint8, offset=at + 8 * meshes))
    if way == 1:
        points = signed(fast_points(parts[4], models.get(name), meshes, n, C, back))
    else:
        points, by_place = np.zeros((meshes, n, 4), np.int64), np.zeros((meshes, n, C), np.int64)
        shifts = np.frombuffer(zlib.decompress(parts[2]), np.int8).astype(int).reshape(2, meshes)
        affine_points(parts[4], models[name], by_place, back, shifts)
        points[:, models[name]["order"], :C] = by_place
    at, meshes_left = 0, iter(points)
    for rest in unpacked(parts[3]):
        shape = struct.unpack_from(f"<{shapes[at]}I", shapes, at + 1)
        at += 1 + 4 * len(shape)
        count = prod(shape) if arrays else 0
        steps, known = np.zeros((count, n, 4)), np.zeros((count, 2, n), bool)
        for mesh in range(count):
            state = next(states)
            if state != 1:
                steps[mesh], known[mesh] = next(meshes_left), True
            if state == 2:
                known[mesh] = bits[: 2 * n].reshape(2, n)
                bits = bits[(2 * n + 7) // 8 * 8 :]
        frame = {}
        for bit in (bit for bit in range(4) if arrays >> bit & 1):
            own = slice(0, vertices) if bit % 2 == 0 else slice(vertices, n)
            numbers = steps[:, own, 3] if bit >= 2 else steps[:, own, :3]
            is_known = known[:, 1, own] if bit >= 2 else known[:, 0, own, None]
            large = np.abs(np.where(is_known, numbers, 0)).max(initial=0) > 2**24
            values = np.where(is_known, numbers / (steps_per_mm * (1000 if bit >= 2 else 1)), np.nan)
            frame[NAMES[bit]] = values.reshape(*shape, *values.shape[1:]).astype("f8" if large else "f4")
        yield {**frame, **rest}
