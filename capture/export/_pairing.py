"""Which frames of a camera's streams belong together: times in, a table of indices out.

Each row of the table is a moment and has at most one frame of each stream; -1 where a stream has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from capture.recording import RecordedStream
from codec.records.layout import CLOCKS

Table = npt.NDArray[np.int64]

_ONLY_FRAME_NS = 50_000_000
_FAR_S = 4e9


def common_clock(streams: Sequence[RecordedStream]) -> str:
    """The device clock that all frames of all these streams carry; "" where there is no such clock."""
    clocks: set[int] = set()
    for stream in streams:
        for entries in stream.entries():
            clocks |= set(np.unique(entries["clock"]).tolist())
            if not np.isfinite(entries["device_time_s"]).all():
                return ""
    (only,) = clocks if len(clocks) == 1 else (0,)
    return CLOCKS[only] if only < len(CLOCKS) else ""


def times_of(streams: Sequence[RecordedStream], *, device_clock: bool) -> list[npt.NDArray[np.int64]]:
    """The times of all frames of each stream, in nanoseconds on this host's monotonic clock.

    With `device_clock` they come from the device, laid on the host's clock with one offset for all its
    streams, from each time it was opened to the next.
    """
    columns = [_columns(stream) for stream in streams]
    if not device_clock:
        return [monotonic_ns for _, _, monotonic_ns in columns]
    offsets: dict[int, int] = {}
    for epochs, device_ns, monotonic_ns in columns:
        for epoch in np.unique(epochs).tolist():
            own = epochs == epoch
            offsets.setdefault(epoch, int(np.median(monotonic_ns[own] - device_ns[own])))
    return [device_ns + np.array([offsets[e] for e in epochs.tolist()]) for epochs, device_ns, _ in columns]


def _columns(
    stream: RecordedStream,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    parts = list(stream.entries())
    epochs = np.concatenate([p["epoch"] for p in parts]).astype(np.int64)
    device_s = np.concatenate([p["device_time_s"] for p in parts])
    monotonic_ns = np.concatenate([p["monotonic_ns"] for p in parts]).astype(np.int64)
    # Times come from a file: what no clock can show must not overflow.
    device_ns = np.rint(np.clip(np.nan_to_num(device_s), -_FAR_S, _FAR_S) * 1e9).astype(np.int64)
    return epochs, device_ns, monotonic_ns


def pair(times: Sequence[npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.int64], Table]:
    """The moments in order, and for each the index of its frame in every stream.

    The first stream sets the moments. A frame of another stream joins the nearest moment, if that has none
    nearer and lies within half a frame interval (of the slower of the two); else it is a moment by itself.
    """
    order = np.argsort(times[0], kind="stable")
    moments = times[0][order]
    table = np.full((len(order), len(times)), -1, np.int64)
    table[:, 0] = order
    for column in range(1, len(times)):
        moments, table = _join(moments, table, times[column], column)
    return moments, table


def _join(
    moments: npt.NDArray[np.int64], table: Table, times: npt.NDArray[np.int64], column: int
) -> tuple[npt.NDArray[np.int64], Table]:
    reach = max(_interval(moments), _interval(times)) // 2
    nearest = _nearest(moments, times)
    distance = np.abs(moments[nearest] - times)
    joins = np.zeros(len(times), dtype=bool)
    closest_first = np.lexsort((distance, nearest))
    _, first_of_each = np.unique(nearest[closest_first], return_index=True)
    joins[closest_first[first_of_each]] = True
    joins &= distance <= reach
    table[nearest[joins], column] = np.flatnonzero(joins)
    alone = np.full((int((~joins).sum()), table.shape[1]), -1, np.int64)
    alone[:, column] = np.flatnonzero(~joins)
    moments, table = np.concatenate((moments, times[~joins])), np.concatenate((table, alone))
    order = np.argsort(moments, kind="stable")
    return moments[order], table[order]


def _nearest(moments: npt.NDArray[np.int64], times: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    after = np.clip(np.searchsorted(moments, times), 1, max(1, len(moments) - 1))
    if len(moments) == 1:
        return np.zeros(len(times), np.intp)
    nearer_before = times - moments[after - 1] <= moments[after] - times
    return after - nearer_before.astype(np.intp)


def _interval(times: npt.NDArray[np.int64]) -> int:
    return int(np.median(np.diff(np.sort(times)))) if len(times) > 1 else _ONLY_FRAME_NS
