"""One run of another way to record depth, in a process of its own: `python -m scripts.bench._peer`.

Every peer gets the same prepared frames at the same pace from the same capture loop, and is measured from
the first frame until its file is finished. Imports and the loading of frames come before. Says on stdout one
JSON object: CPU seconds, frames, bytes on disk.

    issue8117   a capture thread appends copies to a list, a writer thread compresses each with lz4.frame
                into one length-prefixed file (librealsense issue 8117, asleep on a condition while idle)
    mcap        the same two threads; the writer adds raw z16 messages to an mcap file with LZ4 chunks
    recorder    librealsense's own recorder, compression on, behind a software device
    push        the same software device without the recorder: what pushing alone costs
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from scripts.bench._frames import Depth, FrameSet, paced
from scripts.bench._usage import own_usage

_LIST_LIMIT = 64  # frames; flat out the list would otherwise grow without bound
_LENGTH = struct.Struct("<I")

Sink = Callable[[int, Depth], None]
Feed = Callable[[list[Depth], int, float], None]


class _ThreadsAndList:
    """A capture thread (this one), a list, a writer thread."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._frames: list[tuple[int, Depth] | None] = []
        self._changed = threading.Condition()

    def feed(self, frames: list[Depth], count: int, fps: float) -> None:
        thread = threading.Thread(target=self._write)
        thread.start()
        for number, frame in paced(frames, count, fps):
            self._put((number, frame.copy()))
        self._put(None)
        thread.join()

    def _put(self, entry: tuple[int, Depth] | None) -> None:
        with self._changed:
            while len(self._frames) >= _LIST_LIMIT:
                self._changed.wait()
            self._frames.append(entry)
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._frames:
                    self._changed.wait()
                entry = self._frames.pop(0)
                self._changed.notify()
            if entry is None:
                return
            self._sink(*entry)


@contextmanager
def _issue8117(path: Path, shape: tuple[int, int]) -> Iterator[Feed]:
    import lz4.frame

    with path.open("wb") as file:

        def sink(number: int, frame: Depth) -> None:
            payload = lz4.frame.compress(frame)
            file.write(_LENGTH.pack(len(payload)))
            file.write(payload)

        yield _ThreadsAndList(sink).feed


@contextmanager
def _mcap(path: Path, shape: tuple[int, int]) -> Iterator[Feed]:
    from mcap.writer import CompressionType, Writer

    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.LZ4)
        writer.start(profile="", library="bench")
        schema = writer.register_schema(name="z16", encoding="", data=b"")
        channel = writer.register_channel(topic="/depth", message_encoding="z16", schema_id=schema)

        def sink(number: int, frame: Depth) -> None:
            now_ns = time.time_ns()
            writer.add_message(channel, now_ns, frame.tobytes(), now_ns, sequence=number)

        yield _ThreadsAndList(sink).feed
        writer.finish()


class _SoftwareCamera:
    """A software device inside librealsense with one z16 stream."""

    def __init__(self, rs: Any, shape: tuple[int, int]) -> None:
        height, width = shape
        self._rs = rs
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.name, "bench")
        self.device.register_info(rs.camera_info.serial_number, "1")
        self.sensor = self.device.add_sensor("Stereo Module")
        self.sensor.add_read_only_option(rs.option.depth_units, 0.001)
        self._profile = self.sensor.add_video_stream(self._stream(width, height), True)
        self._stride = 2 * width

    def _stream(self, width: int, height: int) -> Any:
        rs = self._rs
        lens = rs.intrinsics()
        lens.width, lens.height, lens.fx, lens.fy = width, height, width / 2, width / 2
        lens.ppx, lens.ppy = width / 2, height / 2
        lens.model, lens.coeffs = rs.distortion.brown_conrady, [0.0] * 5
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fps = rs.stream.depth, 0, 10, 30
        stream.width, stream.height, stream.bpp, stream.fmt = width, height, 2, rs.format.z16
        stream.intrinsics = lens
        return stream

    def push(self, number: int, frame: Depth) -> None:
        rs = self._rs
        picture = rs.software_video_frame()  # a new one each time: a reused one is freed twice
        picture.pixels, picture.stride, picture.bpp = frame, self._stride, 2
        picture.timestamp = number * 1000.0 / 30
        picture.domain = rs.timestamp_domain.hardware_clock
        picture.frame_number = number + 1
        picture.profile = self._profile.as_video_stream_profile()
        self.sensor.on_video_frame(picture)

    def feed(self, frames: list[Depth], count: int, fps: float) -> None:
        for number, frame in paced(frames, count, fps):
            self.push(number, frame)


@contextmanager
def _push(path: Path, shape: tuple[int, int]) -> Iterator[Feed]:
    import pyrealsense2 as rs

    camera = _SoftwareCamera(rs, shape)
    camera.sensor.open(camera.sensor.get_stream_profiles()[0])
    camera.sensor.start(rs.frame_queue(1))
    yield camera.feed
    camera.sensor.stop()
    camera.sensor.close()


@contextmanager
def _recorder(path: Path, shape: tuple[int, int]) -> Iterator[Feed]:
    import pyrealsense2 as rs

    camera = _SoftwareCamera(rs, shape)
    recorder = rs.recorder(str(path), camera.device, True)
    sensor = recorder.query_sensors()[0]
    sensor.open(sensor.get_stream_profiles()[0])
    sensor.start(rs.frame_queue(1))
    yield camera.feed
    sensor.stop()
    sensor.close()
    del sensor, recorder  # the file is finished in the destructor


def _check_recorder(path: Path, count: int) -> None:
    """The recorder has no bound on its queue and no word for what it lost: look into its file."""
    query = (
        "select count(*) from messages join topics on topics.id = topic_id"
        " where topics.name like '%/image/data%'"
    )
    with sqlite3.connect(path) as file:
        (found,) = file.execute(query).fetchone()
    if found != count:
        raise RuntimeError(f"the recorder has written {found} of {count} frames")


_PEERS: dict[str, tuple[str, Callable[[Path, tuple[int, int]], AbstractContextManager[Feed]]]] = {
    "issue8117": ("lz4", _issue8117),
    "mcap": ("mcap", _mcap),
    "recorder": ("db3", _recorder),
    "push": ("none", _push),
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=_PEERS)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--fps", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder that exists")
    args = parser.parse_args()
    frames = FrameSet.load(args.frames).depth
    suffix, open_peer = _PEERS[args.peer]
    path = args.out / f"depth.{suffix}"
    with open_peer(path, (frames[0].shape[0], frames[0].shape[1])) as feed:
        before = own_usage()
        feed(frames, args.count, args.fps)
    used = own_usage().since(before)
    if args.peer == "recorder":
        _check_recorder(path, args.count)
    size = path.stat().st_size if path.exists() else 0
    print(json.dumps({"cpu_s": used.cpu_s, "frames": args.count, "bytes": size}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
