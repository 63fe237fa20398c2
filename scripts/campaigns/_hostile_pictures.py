"""Hostile things to play: folders of pictures, videos, recordings of librealsense."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from capture.sources._cv_quiet import cv2
from scripts.campaigns._hostile_values import damaged, odd_jpeg, odd_png, odd_text
from scripts.campaigns._small_bag import SUFFIX, record_bag

_VIDEOS = ((".mp4", "mp4v"), (".mov", "mp4v"), (".avi", "MJPG"), (".avi", "XVID"), (".mkv", "MJPG"))
_FRAMES = 3
_HUGE_BYTES = 3 << 30
_TYPES = ("sensor_msgs/msg/Image", "std_msgs/msg/Float32", "none")
_TIMES_NS = (0, -1, 2**62, 2**63 - 1, -(2**63))


def make_huge(path: Path) -> None:
    """A file that claims to be of gigabytes, and takes nothing on the disk."""
    os.truncate(path, _HUGE_BYTES)


class HostilePictures:
    """Makes them from pictures, videos and a recording that are made once, below `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        picture = (np.arange(20 * 14, dtype=np.uint16).reshape(14, 20) * 7) % 4000
        colours = np.dstack([picture % 256] * 3).astype(np.uint8)
        self._depth_png = cv2.imencode(".png", picture)[1].tobytes()
        self._color_jpg = cv2.imencode(".jpg", colours)[1].tobytes()
        self._color_png = cv2.imencode(".png", colours)[1].tobytes()
        self._videos = [(suffix, _video(folder / f"{code}{suffix}", code)) for suffix, code in _VIDEOS]
        self._bag = record_bag(folder / f"night{SUFFIX}")

    def pictures(self, chance: random.Random, folder: Path) -> Path:
        """A folder in one of the layouts that are known."""
        path = folder / "pictures"
        path.mkdir()
        layout = chance.choice(("Open3D", "TUM", "plain"))
        depth = path / "depth" if layout != "plain" else path
        color = path / ("rgb" if layout == "TUM" else "color")
        for each in {depth, color} if layout != "plain" else {depth}:
            each.mkdir(exist_ok=True)
        only_jpg = chance.random() < 0.3
        for number in range(_FRAMES):
            (depth / f"{number:06d}.png").write_bytes(_maybe_odd_png(chance, self._depth_png))
            if layout != "plain":
                jpg, png = self._color_jpg, self._color_png
                if only_jpg or number % 2:
                    content = odd_jpeg(chance, jpg)[0] if chance.random() < 0.4 else jpg
                    (color / f"{number:06d}.jpg").write_bytes(content)
                else:
                    (color / f"{number:06d}.png").write_bytes(_maybe_odd_png(chance, png))
        if layout == "Open3D":
            _describe_as_open3d(chance, path)
        elif layout == "TUM":
            _describe_as_tum(chance, path, depth, color)
        if chance.random() < 0.1:
            os.mkfifo(depth / "000009.png")
        if chance.random() < 0.05:
            make_huge(chance.choice([each for each in path.rglob("*") if each.is_file()]))
        return path

    def video(self, chance: random.Random, folder: Path) -> Path:
        """A damaged one, or something else by that name."""
        suffix, content = chance.choice(self._videos)
        path = folder / f"film{suffix if chance.random() < 0.9 else chance.choice(('.mp4', '.avi', '.mkv'))}"
        path.write_bytes(damaged(chance, content))
        return path

    def bag(self, chance: random.Random, folder: Path) -> Path:
        """Files by name alone, and beginnings of true ones. Whole ones: see `whole_bag`."""
        suffix = chance.choice((".bag", ".db3", ".mp4", ".png", ""))
        path = folder / f"night{suffix}"
        starts = (b"", b"#ROSBAG V2.0\n", b"SQLite format 3\0", b"#ROSBAG V1.2\n", b"SQLite format 3")
        how = chance.randrange(6)
        if how == 0:
            os.mkfifo(path)
        elif how == 1:
            path.mkdir()
        elif how == 2:
            path.symlink_to(path.name)
        else:
            path.write_bytes(chance.choice(starts) + chance.randbytes(chance.choice((0, 1, 100, 5000))))
        return path

    def whole_bag(self, chance: random.Random, folder: Path) -> Path:
        """A recording of librealsense with bytes or with messages in it changed; where that is not installed
        (or writes no such file) one of the others."""
        if self._bag is None:
            return self.bag(chance, folder)
        path = folder / f"night{SUFFIX}"
        if chance.random() < 0.4:
            path.write_bytes(damaged(chance, self._bag))
            return path
        path.write_bytes(self._bag)
        with closing(sqlite3.connect(path)) as database:
            for _ in range(chance.choice((1, 1, 2, 4))):
                _spoil_message(chance, database)
            database.commit()
        return path


def _spoil_message(chance: random.Random, database: sqlite3.Connection) -> None:
    messages = database.execute("select id, topic_id, data from messages order by id").fetchall()
    message, topic, content = chance.choice(messages)
    how = chance.random()
    if how < 0.6:
        database.execute("update messages set data = ? where id = ?", (damaged(chance, content), message))
    elif how < 0.7:
        moment_ns = chance.choice(_TIMES_NS)
        database.execute("update messages set timestamp = ? where id = ?", (moment_ns, message))
    elif how < 0.8:
        database.execute("delete from messages where id = ?", (message,))
    elif how < 0.9:
        name = database.execute("select name from topics where id = ?", (topic,)).fetchone()[0]
        changed = damaged(chance, name.encode()).decode("latin-1")
        database.execute("update topics set name = ? where id = ?", (changed, topic))
    else:
        database.execute("update topics set type = ? where id = ?", (chance.choice(_TYPES), topic))


def _video(path: Path, code: str) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 30, (48, 32))
    for number in range(_FRAMES):
        writer.write(np.random.default_rng(number).integers(0, 255, (32, 48, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def _maybe_odd_png(chance: random.Random, whole: bytes) -> bytes:
    return odd_png(chance, whole) if chance.random() < 0.4 else whole


def _describe_as_open3d(chance: random.Random, path: Path) -> None:
    matrix = [20.0, 0, 0, 0, 20.0, 0, 10.0, 7.0, 1.0]
    intrinsics: dict[str, Any] = {"width": 20, "height": 14, "intrinsic_matrix": matrix, "depth_scale": 1000}
    (path / "camera_intrinsic.json").write_bytes(odd_text(chance, intrinsics))
    scale = {"streams": {"depth": {"depth_scale_m": 0.001, "name": "depth"}}, "paired_by": "hardware"}
    (path / "streams.json").write_bytes(odd_text(chance, scale))
    head = "file,depth_device_time_s,depth_monotonic_ns\n"
    rows = "".join(f"{n},{n / 30},{n if chance.random() < 0.95 else 10**400}\n" for n in range(_FRAMES))
    text = (head + rows).encode()
    (path / "times.csv").write_bytes(damaged(chance, text) if chance.random() < 0.7 else text)


def _describe_as_tum(chance: random.Random, path: Path, depth: Path, color: Path) -> None:
    for name, where in (("depth", depth), ("rgb", color)):
        pictures = sorted(each.name for each in where.iterdir())
        lines = [f"{n / 30} {where.name}/{each}" for n, each in enumerate(pictures)]
        text = "\n".join(["# time file", *lines, ""]).encode()
        (path / f"{name}.txt").write_bytes(damaged(chance, text) if chance.random() < 0.5 else text)
