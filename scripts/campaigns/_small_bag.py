"""A small recording of librealsense, made by librealsense itself from a virtual camera."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from capture.frames import Intrinsics, StreamInfo

SUFFIX = ".db3"
"""What librealsense 2.58 and later write."""
_WIDTH, _HEIGHT, _FPS = 16, 12, 30.0
_FRAMES = 4


def record_bag(path: Path) -> bytes | None:
    """Its bytes; None where there is no librealsense, or one that writes another kind."""
    try:
        import pyrealsense2 as rs
    except ImportError:
        return None
    from capture.sources._rs_sdk import sdk_version, start_into_queue
    from capture.sources.virtual_realsense import VirtualD435

    if sdk_version(rs) < (2, 58):
        return None
    camera = VirtualD435("111", [_stream("depth", "z16"), _stream("color", "bgr8")])
    recorder = rs.recorder(str(path), camera.device, True)
    queue = rs.frame_queue(1)
    sensors = recorder.query_sensors()
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles())
    for sensor in sensors:
        start_into_queue(rs, sensor, queue)
    random = np.random.default_rng(1)
    for number in range(1, _FRAMES + 1):
        depth = random.integers(0, 1 << 16, (_HEIGHT, _WIDTH), np.uint16)
        camera.push("depth", depth, number=number, time_s=number / _FPS)
        color = random.integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
        camera.push("color", color, number=number, time_s=number / _FPS)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    # The file is finished when the last of these is gone.
    del sensor, sensors, recorder, camera
    gc.collect()
    return path.read_bytes()


def _stream(name: str, pixel_format: str) -> StreamInfo:
    lens = Intrinsics(_WIDTH, _HEIGHT, 10.0, 10.0, 8.0, 6.0, "brown_conrady", (0.0,) * 5)
    scale_m = 0.001 if name == "depth" else None
    return StreamInfo(name, pixel_format, _WIDTH, _HEIGHT, _FPS, lens, scale_m)
