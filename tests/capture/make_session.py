"""Builds small sessions on disk, laid out and accounted for as the writer process does it.

session = SessionMaker(tmp_path / "session")
session.camera("front", frames=12, per_segment=5, lost=[3])
session.finish()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from capture import session as files
from capture.frames import CameraInfo, Intrinsics, StreamInfo
from capture.ledger import LOST_AT_CAMERA, OUTAGE, RING_FULL, Gap
from codec.depth import get_codec
from codec.mesh import MeshWriter
from codec.records import RecordFile, RecordWriter
from codec.records.layout import CLOCK, CLOCKS, CODEC_F32, CODEC_JPEG, FRAME, pack_json, pack_record

WIDTH, HEIGHT = 64, 48
FPS = 30.0
START_NS = 5_000_000_000_000
WALL_NS = 1_735_768_800_000_000_000  # 2025-01-01T22:00:00Z
STEP_NS = 33_333_333
_HARDWARE = CLOCKS.index("hardware")


def depth_picture(number: int, *, seed: int = 0) -> npt.NDArray[np.uint16]:
    """A ramp with noise and holes, another one for every number."""
    random = np.random.default_rng(1000 * seed + number)
    picture = np.linspace(600, 3000, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) + random.normal(
        0, 4, (HEIGHT, WIDTH)
    )
    picture[random.random((HEIGHT, WIDTH)) < 0.05] = 0
    return picture.astype(np.uint16)


def color_jpeg(number: int) -> bytes:
    """A plain JPEG whose grey tells the number."""
    picture = np.full((HEIGHT, WIDTH, 3), (7 * number) % 250, np.uint8)
    return bytes(cv2.imencode(".jpg", picture)[1])


def infrared_picture(number: int) -> npt.NDArray[np.uint8]:
    """Stripes that wander."""
    return np.add.outer(np.arange(HEIGHT), 3 * np.arange(WIDTH) + number).astype(np.uint8)


def intrinsics(focal: float = 50.0) -> Intrinsics:
    return Intrinsics(WIDTH, HEIGHT, focal, focal + 1, 31.5, 23.5)


@dataclass(frozen=True, slots=True)
class _Planned:
    """One frame to be written."""

    stream: int
    number: int
    epoch: int
    at_ns: int


class SessionMaker:
    """A session folder under construction."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._totals: dict[str, dict[str, int]] = {}
        self._meshes = 0
        started = {"wall_ns": WALL_NS, "monotonic_ns": START_NS}
        files.save_session(
            folder, {"format": "nightrig-session", "version": 1, "started": started, "totals": None}
        )

    def camera(
        self,
        name: str,
        *,
        frames: int = 12,
        per_segment: int = 100,
        first: int = 0,
        color: bool = True,
        infrared: bool = False,
        lost: Collection[int] = (),
        dropped: Collection[int] = (),
        color_lost: Collection[int] = (),
        second_epoch: int = 0,
        sealed: bool = True,
        backend: str = "simulated",
        depth_codec: str = "lattice-lz4",
    ) -> Path:
        """Write a camera's folder. `lost` and `dropped` are depth numbers that stand in gap records;
        `second_epoch` frames follow after an outage, numbered from 0 again."""
        depth = StreamInfo("depth", "z16", WIDTH, HEIGHT, FPS, intrinsics(), 0.001)
        streams = [depth]
        if color:
            streams.append(StreamInfo("color", "jpeg", WIDTH, HEIGHT, FPS, intrinsics(60.0)))
        if infrared:
            streams.append(StreamInfo("infrared1", "y8", WIDTH, HEIGHT, FPS, intrinsics()))
        plan: list[_Planned] = []
        for epoch, count in ((1, frames), (2, second_epoch)):
            begin_ns = START_NS + (epoch - 1) * (frames + 60) * STEP_NS
            for place in range(count):
                number = place + (first if epoch == 1 else 0)
                at_ns = begin_ns + place * STEP_NS
                for stream in range(len(streams)):
                    missing = (*lost, *dropped) if stream == 0 else color_lost if stream == 1 else ()
                    if epoch == 2 or number not in missing:
                        plan.append(_Planned(stream, number, epoch, at_ns + 1_000_000 * stream))
        gaps = [(0, 1, _gap(LOST_AT_CAMERA, n)) for n in lost]
        gaps += [(0, 1, _gap(RING_FULL, n)) for n in dropped]
        gaps += [(1, 1, _gap(LOST_AT_CAMERA, n)) for n in color_lost]
        if second_epoch:
            end_ns = START_NS + frames * STEP_NS
            away = Gap(OUTAGE, None, None, 60, end_ns, end_ns + 60 * STEP_NS, estimated=True)
            gaps += [(stream, 2, away) for stream in range(len(streams))]
        info = CameraInfo(name, backend, "Test camera", tuple(streams), serial="0001")
        return self._write(
            name, info, plan, gaps, per_segment=per_segment, sealed=sealed, depth_codec=depth_codec
        )

    def estimator(self, name: str = "people", *, frames: int = 6, every: int = 2, meshes: int = 6) -> Path:
        """Body parameters with holes in their numbers, and a mesh file beside them."""
        streams = (StreamInfo("mesh", "mesh", 4, 1, FPS), StreamInfo("parameters", "f32", 5, 1, FPS))
        plan = [_Planned(1, every * i, 1, START_NS + every * i * STEP_NS) for i in range(frames)]
        info = CameraInfo(name, "estimator", "truth", streams)
        folder = self._write(
            name, info, plan, [], per_segment=100, prefix=files.PARAMETERS_PREFIX, extra={0: meshes}
        )
        with MeshWriter(folder / "mesh-000.xz", metadata={"camera": "front"}) as writer:
            for i in range(meshes):
                vertices = np.float32([[[i, 0, 0], [0, 100, 0], [0, 0, 100]]])
                joints = np.float32([[[1, 2, 3]]])
                number, at_ns = every * i, START_NS + every * i * STEP_NS
                writer.append(vertices=vertices, joints=joints, frame_number=number, monotonic_ns=at_ns)
        self._meshes += meshes
        return folder

    def _write(
        self,
        name: str,
        info: CameraInfo,
        plan: list[_Planned],
        gaps: list[tuple[int, int, Gap]],
        *,
        per_segment: int,
        prefix: str = "",
        sealed: bool = True,
        extra: dict[int, int] | None = None,
        depth_codec: str = "lattice-lz4",
    ) -> Path:
        folder = self.folder / name
        folder.mkdir()
        written: Counter[int] = Counter(extra or {})
        sizes: Counter[int] = Counter()
        raw: Counter[int] = Counter()
        missing: Counter[tuple[int, str]] = Counter()
        streams_per_frame = len(info.streams)
        size = per_segment * streams_per_frame
        batches = [plan[i : i + size] for i in range(0, len(plan), size)] or [[]]
        for number, batch in enumerate(batches):
            path = files.segment_path(folder, number, prefix=prefix)
            writer = RecordWriter(path, info={"camera": name, "segment": number})
            describe(writer, info)
            clock(writer, written, Counter(), info)
            for frame in batch:
                record = pack(info.streams[frame.stream], frame, depth_codec)
                sizes[frame.stream] += writer.append(record)
                raw[frame.stream] += raw_bytes(info.streams[frame.stream], record)
                written[frame.stream] += 1
            if number == len(batches) - 1:
                for stream, epoch, gap in gaps:
                    writer.gap(stream, gap.as_dict(), epoch=epoch)
                    missing[stream, gap.reason] += gap.count
            clock(writer, written, missing, info)
            if sealed or number < len(batches) - 1:
                writer.seal()
            writer.close()
        for stream, described in enumerate(info.streams):
            own = [gap for s, _, gap in gaps if s == stream]
            before_us = sum(g.count for g in own if g.reason in (LOST_AT_CAMERA, OUTAGE))
            drops = sum(g.count for g in own) - before_us
            if info.backend != "estimator":
                self._totals[f"{name}/{described.name}"] = {
                    "captured": written[stream] + drops,
                    "written": written[stream],
                    "dropped": drops,
                    "lost_at_camera": before_us,
                    "raw_bytes": raw[stream],
                    "file_bytes": sizes[stream],
                }
        return folder

    def finish(self) -> Path:
        """Write the totals, as the service does when a recording ends."""
        value = files.load_session(self.folder)
        value["totals"] = {"streams": self._totals, "meshes": self._meshes}
        files.save_session(self.folder, value)
        files.append_event(self.folder, {"event": "ended", "exit_code": 0})
        return self.folder


def describe(writer: RecordWriter, info: CameraInfo) -> None:
    """The stream records, each with its camera."""
    value = asdict(info)
    streams = value.pop("streams")
    for index, stream in enumerate(streams):
        writer.stream(index, {**stream, "camera": value}, epoch=1)


def clock(
    writer: RecordWriter, written: Counter[int], missing: Counter[tuple[int, str]], info: CameraInfo
) -> None:
    """A clock record, with the counters as they are and the clocks as they were when the session began."""
    streams = range(max(2, len(info.streams)))
    counters = {"written": [written[i] for i in streams], "dropped": [0 for _ in streams]}
    counters["outage"] = [missing[i, OUTAGE] for i in streams]
    if info.backend != "estimator":
        counters["refused"] = [missing[i, RING_FULL] for i in streams]
        counters["lost"] = [missing[i, LOST_AT_CAMERA] for i in streams]
        counters["captured"] = [written[i] + missing[i, RING_FULL] for i in streams]
    value = {"wall_ns": WALL_NS, "boot_id": "boot", "counters": counters}
    writer.append(pack_json(CLOCK, value, monotonic_ns=START_NS))


def pack(stream: StreamInfo, frame: _Planned, depth_codec: str = "lattice-lz4") -> tuple[bytes, bytes, bytes]:
    """The frame as the writer process encodes it."""
    codec, meta = 0, b""
    if stream.pixel_format == "z16":
        encoder = get_codec(depth_codec)
        payload, codec = encoder.encode(depth_picture(frame.number, seed=frame.epoch)), encoder.id
        meta = b'{"exposure":8500}'
    elif stream.pixel_format == "y8":
        encoder = get_codec("lz4")
        payload, codec = encoder.encode(infrared_picture(frame.number)), encoder.id
    elif stream.pixel_format == "f32":
        payload, codec = (np.arange(5, dtype="<f4") + frame.number).tobytes(), CODEC_F32
    else:
        payload, codec = color_jpeg(frame.number), CODEC_JPEG
    itemsize = {"z16": 2, "y8": 1, "f32": 4}.get(stream.pixel_format)
    return pack_record(
        FRAME,
        payload,
        stream=frame.stream,
        codec=codec,
        clock=_HARDWARE,
        width=stream.width,
        height=stream.height,
        epoch=frame.epoch,
        number=frame.number,
        device_time_s=frame.number / FPS,
        monotonic_ns=frame.at_ns,
        raw_length=stream.width * stream.height * itemsize if itemsize else len(payload),
        meta=meta,
    )


def raw_bytes(stream: StreamInfo, record: tuple[bytes, bytes, bytes]) -> int:
    itemsize = {"z16": 2, "y8": 1, "f32": 4}.get(stream.pixel_format)
    return stream.width * stream.height * itemsize if itemsize else len(record[1])


def _gap(reason: str, number: int) -> Gap:
    at_ns = START_NS + number * STEP_NS
    return Gap(reason, number, number, 1, at_ns, at_ns)


# ---- damage ----


def frame_entry(path: Path, number: int, *, stream: int = 0, epoch: int = 1) -> Any:
    """The index entry of a frame."""
    with RecordFile(path) as file:
        entries = file.entries[file.frames(stream)]
        chosen = (entries["number"] == number) & (entries["epoch"] == epoch)
        return entries[chosen][0].copy()


def flip(path: Path, offset: int) -> None:
    """Turn one bit over."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def flip_payload(path: Path, number: int, **where: int) -> None:
    """Damage the payload of a frame."""
    flip(path, int(frame_entry(path, number, **where)["offset"]) + 64 + 20)


def cut(path: Path, size: int) -> None:
    """Cut the file off."""
    path.write_bytes(path.read_bytes()[:size])


def numbers_of(frames: Iterable[Any]) -> list[int]:
    return [frame.number for frame in frames]
