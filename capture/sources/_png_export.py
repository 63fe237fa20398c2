"""What `nightrig export --format png` wrote beside its pictures: the depth scale and the times.

    streams.json   streams.depth.depth_scale_m
    times.csv      file, then "<stream>_monotonic_ns" for every stream; empty where it has no such picture

Both are optional, and files of other programs that have the same names are passed over; a streams.json that
is no JSON is an error, for a scale lost in silence makes every distance wrong.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from capture._recorded_info import SCALES_M
from capture.given_files import read_small

_STREAMS, _TIMES = "streams.json", "times.csv"
_TIME_COLUMN = "_monotonic_ns"


def read_depth_scale_m(folder: Path) -> float | None:
    """The depth scale; None where it is not said. Raises ValueError, whose text names the file."""
    path = folder / _STREAMS
    if not path.is_file():
        return None
    try:
        facts = json.loads(read_small(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}; restore it or remove it") from None
    for key in ("streams", "depth", "depth_scale_m"):
        facts = facts.get(key) if isinstance(facts, dict) else None
    is_scale = isinstance(facts, float) and SCALES_M[0] <= facts <= SCALES_M[1]
    return facts if is_scale else None


def read_times_s(folder: Path) -> dict[float, float]:
    """Number in a picture's name -> when it came, in seconds since the first; {} where they are not said."""
    times_ns: dict[float, int] = {}
    try:
        for row in csv.DictReader(io.StringIO(read_small(folder / _TIMES).decode(), newline="")):
            came = [v for k, v in row.items() if v and str(k).endswith(_TIME_COLUMN)]
            if came:  # depth first: pictures of one number belong together
                times_ns[float(row["file"])] = int(came[0])
        first_ns = min(times_ns.values(), default=0)
        times_s = {number: (at_ns - first_ns) / 1e9 for number, at_ns in times_ns.items()}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error):
        return {}
    return times_s if len(set(times_s.values())) == len(times_s) else {}
