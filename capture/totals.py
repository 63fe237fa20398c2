"""The account of a recording: what came in, what was written, what is missing, stream by stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from capture.counters import CounterPage
from capture.frames import CameraInfo


@dataclass(frozen=True, slots=True)
class StreamTotals:
    """One stream. captured = written + dropped (+ queued, while it runs); `lost_at_camera` are frames the
    device never gave us, those of outages included (reckoned from the nominal rate)."""

    captured: int
    written: int
    dropped: int
    lost_at_camera: int
    raw_bytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All of it. `meshes_skipped` counts frames the estimators did not look at, `meshes_lost` meshes that
    were made and did not reach the disk."""

    streams: dict[str, StreamTotals]
    meshes: int = 0
    meshes_skipped: int = 0
    meshes_lost: int = 0
    outages: int = 0
    repeated: int = 0
    results: dict[str, int] = field(default_factory=dict)

    @property
    def incomplete(self) -> bool:
        """True where anything is missing: dropped, lost at the camera, or an outage."""
        return (
            self.outages > 0
            or self.meshes_lost > 0
            or any(s.dropped or s.lost_at_camera for s in self.streams.values())
        )

    def as_dict(self) -> dict[str, Any]:
        """For session.json."""
        return asdict(self)


def count_totals(
    cameras: Sequence[tuple[str, CameraInfo | None, CounterPage]],
    estimators: Iterable[tuple[str, CounterPage]],
    writer: CounterPage,
) -> Totals:
    """Read all counter pages; lanes are the cameras, then the estimators, as the writer has them."""
    streams: dict[str, StreamTotals] = {}
    repeated = 0
    for lane, (name, info, counters) in enumerate(cameras):
        for index, stream in enumerate(info.streams if info else ()):
            repeated += counters[f"repeated{index}"]
            streams[f"{name}/{stream.name}"] = StreamTotals(
                captured=counters[f"captured{index}"],
                written=writer[f"written{lane}.{index}"],
                dropped=counters[f"dropped{index}"] + writer[f"dropped{lane}.{index}"],
                lost_at_camera=counters[f"lost{index}"] + writer[f"outage{lane}.{index}"],
                raw_bytes=writer[f"raw{lane}.{index}"],
                file_bytes=writer[f"file{lane}.{index}"],
            )
    meshes = skipped = lost = 0
    results: dict[str, int] = {}
    for lane, (name, page) in enumerate(estimators, start=len(cameras)):
        mesh_stream = page["mesh_stream"]  # 1 above its number, 0 where there is none
        if mesh_stream:
            meshes += writer[f"written{lane}.{mesh_stream - 1}"]
            lost += writer[f"dropped{lane}.{mesh_stream - 1}"]
            skipped += page["skipped"]
        results[name] = page["estimated"]
    return Totals(streams, meshes, skipped, lost, writer["outages"], repeated, results)
