"""Virtual RealSense cameras that the real librealsense opens by serial, and the simulated camera behind one.

`VirtualD435` is a software device of librealsense, `VirtualBus` a context it is plugged into and pulled out
of; `RealSenseSource(context=bus.context)` cannot tell them from hardware. `VirtualRealSenseSource` feeds the
rendered loop of a simulated camera through them, so that the demo rig runs the code a real rig runs.

Promises: pixels, numbers and times come out of the library as they went in. Needs pyrealsense2; knows no
rings, files or processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.frames import CameraInfo, Frame, Intrinsics, Matrix4, StreamInfo
from capture.sources._d435_noise import BASELINE_MM
from capture.sources._rs_frames import CLOCK_PERIOD_S
from capture.sources._rs_sdk import SOFTWARE_ONLY, load_sdk
from capture.sources.realsense import RealSenseSource
from capture.sources.simulated import Loop, Metronome, Progress, exact_rate, render_loop
from capture.specs import RealSenseSpec, SimulatedSpec, StreamSpec

Array = npt.NDArray[np.generic]

# What a real camera's pool holds; a software device's is without bounds until told otherwise.
_POOL_FRAMES = 16
_MODEL = "Intel RealSense D435"
_FIRMWARE = "5.17.0.10"
# Of a stream's name: librealsense's stream and index, format, bytes per pixel, sensor.
_KINDS = {
    "depth": ("depth", 0, "z16", 2, "Stereo Module"),
    "infrared1": ("infrared", 1, "y8", 1, "Stereo Module"),
    "infrared2": ("infrared", 2, "y8", 1, "Stereo Module"),
    "color": ("color", 0, "bgr8", 3, "RGB Camera"),
}
# Options with least, most, step and default, as a D435 has them.
_STEREO_OPTIONS = {
    "visual_preset": (0, 6, 1, 0),
    "exposure": (1, 165000, 1, 8500),
    "enable_auto_exposure": (0, 1, 1, 1),
    "gain": (16, 248, 1, 16),
    "laser_power": (0, 360, 30, 150),
    "emitter_enabled": (0, 2, 1, 1),
    "inter_cam_sync_mode": (0, 259, 1, 0),
    "global_time_enabled": (0, 1, 1, 0),
}
_COLOR_OPTIONS = {
    "exposure": (1, 10000, 1, 156),
    "enable_auto_exposure": (0, 1, 1, 1),
    "gain": (0, 128, 1, 64),
    "white_balance": (2800, 6500, 10, 4600),
    "enable_auto_white_balance": (0, 1, 1, 1),
    "global_time_enabled": (0, 1, 1, 0),
}


class VirtualBus:
    """A librealsense context of its own, with the virtual cameras plugged into it."""

    def __init__(self) -> None:
        self._rs = load_sdk("a virtual RealSense")
        self.context = self._rs.context(SOFTWARE_ONLY)
        # The context keeps only a weak reference to a software device, and adding one makes a temporary: the
        # device is gone at once unless somebody holds the list that the callback is handed.
        self._plugged: dict[str, tuple[VirtualD435, list[Any]]] = {}
        self._news: list[Any] = []
        news = self._news
        self.context.set_devices_changed_callback(lambda event: news.append(event.get_new_devices()))

    def plug(self, camera: VirtualD435) -> None:
        self._news.clear()
        camera.device.add_to(self.context)  # calls back before it returns
        self._plugged[camera.serial] = camera, list(self._news)
        self._news.clear()

    def unplug(self, camera: VirtualD435) -> None:
        """The cable is pulled: the camera leaves the bus, whoever still holds it open. Its frames stop when
        the caller stops pushing them."""
        self._plugged.pop(camera.serial, None)


class VirtualD435:
    """A software device with the streams given: `name` decides what each is (depth, color, infrared1 and 2).

    A stream may be given more than once with other sizes or rates, as a real camera offers several; the
    first is its default, and frames belong to the one that is pushed.
    """

    def __init__(self, serial: str, streams: Sequence[StreamInfo], *, model: str = _MODEL) -> None:
        self.serial = serial
        self._rs = rs = load_sdk("a virtual RealSense")
        self.device = rs.software_device()
        facts = {
            "name": model,
            "serial_number": serial,
            "product_line": "D400",
            "usb_type_descriptor": "3.2",
            "firmware_version": _FIRMWARE,
            "physical_port": f"virtual/{serial}",
            "product_id": "0B07",
        }
        for key, value in facts.items():
            self.device.register_info(getattr(rs.camera_info, key), value)
        self._sensors: dict[str, Any] = {}
        self._profiles: dict[tuple[str, int, int], Any] = {}
        self._bytes_per_pixel: dict[str, int] = {}
        for number, stream in enumerate(streams):
            self._add_stream(stream, unique_id=10 * (number + 1))
        self._place(streams)

    def push(
        self,
        stream: str,
        pixels: Array,
        *,
        number: int,
        time_s: float,
        domain: str = "hardware_clock",
        metadata: Mapping[str, int] | None = None,
    ) -> None:
        """One frame leaves the sensor. `time_s` is the device's own clock, which wraps at 2^32 us."""
        rs = self._rs
        sensor = self._sensors[stream]
        height, width = pixels.shape[:2]
        for key, value in (metadata or {}).items():
            sensor.set_metadata(getattr(rs.frame_metadata_value, key), int(value))  # stays until overwritten
        frame = rs.software_video_frame()  # a new one each time: the library frees the pixels of an old one
        frame.pixels = pixels
        frame.bpp = self._bytes_per_pixel[stream]
        frame.stride = width * frame.bpp
        frame.timestamp = time_s * 1000.0
        frame.domain = getattr(rs.timestamp_domain, domain)
        frame.frame_number = number
        frame.profile = self._profiles[stream, width, height].as_video_stream_profile()
        sensor.on_video_frame(frame)

    def bound_pool(self) -> None:
        """Give each sensor a real camera's pool, once its streams have started: starting unbounds it."""
        for sensor in self._sensors.values():
            sensor.set_option(self._rs.option.frames_queue_size, _POOL_FRAMES)

    def _add_stream(self, stream: StreamInfo, unique_id: int) -> None:
        rs = self._rs
        kind, index, pixel_format, bytes_per_pixel, sensor_name = _KINDS[stream.name]
        is_first = stream.name not in self._sensors
        sensor = self._sensor(sensor_name)
        if stream.name == "depth" and is_first:
            sensor.add_read_only_option(rs.option.depth_units, stream.depth_scale_m or 0.001)
            sensor.add_read_only_option(rs.option.stereo_baseline, BASELINE_MM)
        video = rs.video_stream()
        video.type = getattr(rs.stream, kind)
        video.index = index
        video.uid = unique_id
        video.width, video.height = stream.width, stream.height
        video.fps = _whole_rate(stream.fps)
        video.bpp = bytes_per_pixel
        video.fmt = getattr(rs.format, pixel_format)
        video.intrinsics = self._intrinsics(stream)
        self._sensors[stream.name] = sensor
        self._bytes_per_pixel[stream.name] = bytes_per_pixel
        profile = sensor.add_video_stream(video, is_first)
        self._profiles.setdefault((stream.name, stream.width, stream.height), profile)

    def _sensor(self, name: str) -> Any:
        by_name = {_KINDS[stream][4]: sensor for stream, sensor in self._sensors.items()}
        if name in by_name:
            return by_name[name]
        sensor = self.device.add_sensor(name)
        options = _STEREO_OPTIONS if name == "Stereo Module" else _COLOR_OPTIONS
        for option, (least, most, step, default) in options.items():
            span = self._rs.option_range()
            span.min, span.max, span.step, span.default = least, most, step, default
            sensor.add_option(getattr(self._rs.option, option), span, True)
        return sensor

    def _intrinsics(self, stream: StreamInfo) -> Any:
        rs = self._rs
        lens = stream.intrinsics or _plain_lens(stream)
        own = rs.intrinsics()
        own.width, own.height = stream.width, stream.height
        own.fx, own.fy, own.ppx, own.ppy = lens.fx, lens.fy, lens.cx, lens.cy
        own.model = rs.distortion.__members__.get(lens.model, rs.distortion.none)
        own.coeffs = [*lens.coefficients, 0.0, 0.0, 0.0, 0.0, 0.0][:5]
        return own

    def _place(self, streams: Sequence[StreamInfo]) -> None:
        """Register where each stream lies in the frame of the first one."""
        profiles = [self._profiles[stream.name, stream.width, stream.height] for stream in streams]
        for stream, profile in list(zip(streams, profiles, strict=True))[1:]:
            if stream.camera_from_stream is not None:
                profile.register_extrinsics_to(profiles[0], self._extrinsics(stream.camera_from_stream))

    def _extrinsics(self, camera_from_stream: Matrix4) -> Any:
        matrix = np.array(camera_from_stream)
        extrinsics = self._rs.extrinsics()
        extrinsics.rotation = [float(x) for x in matrix[:3, :3].T.ravel()]  # column by column
        extrinsics.translation = [float(x) for x in matrix[:3, 3]]
        return extrinsics


def _plain_lens(stream: StreamInfo) -> Intrinsics:
    width, height = stream.width, stream.height
    return Intrinsics(width, height, 0.6 * width, 0.6 * width, width / 2, height / 2)


@dataclass(frozen=True, slots=True, eq=False)
class _Reel:
    """One stream of the loop, on the clock all simulated cameras share."""

    name: str
    pictures: tuple[Array, ...]
    truths: tuple[bytes, ...]
    metronome: Metronome
    before_first: int

    def truth(self, number: int) -> bytes:
        return self.truths[(number + self.before_first) % len(self.truths)]


class _Feeder(threading.Thread):
    """Pushes every picture of the loop into the camera when it is due.

    Where this process stood still, the pictures a camera's buffers would have held follow at once; older
    ones are skipped, number and all.
    """

    def __init__(self, camera: VirtualD435, reels: Sequence[_Reel]) -> None:
        super().__init__(name=f"feeder {camera.serial}", daemon=True)
        self._camera = camera
        self._reels = reels
        self._next = {reel.name: reel.before_first + 1 for reel in reels}
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while True:
            due_ns = min(reel.metronome.due_ns(self._next[reel.name]) for reel in self._reels)
            if self._stop_asked.wait(max(0, due_ns - time.monotonic_ns()) / 1e9):
                return
            now_ns = time.monotonic_ns()
            for reel in self._reels:
                latest = reel.metronome.latest(now_ns)
                for tick in range(max(self._next[reel.name], latest - _POOL_FRAMES + 1), latest + 1):
                    self._push(reel, tick)
                self._next[reel.name] = latest + 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def _push(self, reel: _Reel, tick: int) -> None:
        taken_s = reel.metronome.due_ns(tick) / 1e9
        self._camera.push(
            reel.name,
            reel.pictures[tick % len(reel.pictures)],
            number=tick - reel.before_first,
            time_s=taken_s % CLOCK_PERIOD_S,
            metadata={
                "frame_counter": tick - reel.before_first,
                "actual_exposure": 8500,
                "gain_level": 16,
                "sensor_timestamp": round(taken_s % CLOCK_PERIOD_S * 1e6),
            },
        )


class VirtualRealSenseSource:
    """A simulated camera that goes through librealsense; frames carry the truth of the loop in `meta`."""

    def __init__(self, name: str, spec: SimulatedSpec) -> None:
        self._name = name
        self._spec = spec
        self.progress: Progress | None = None
        self._loop: Loop | None = None
        self._source: RealSenseSource | None = None
        self._feeder: _Feeder | None = None
        self._reels: dict[str, _Reel] = {}

    def open(self) -> CameraInfo:
        """Render the loop (once), plug a camera that plays it into a bus of its own, and open that one."""
        self.close()
        load_sdk(f"camera {self._name}: through_realsense")  # before seconds of rendering
        if self._loop is None:
            self._loop = render_loop(self._spec, name=self._name, color_format="bgr8", progress=self.progress)
        info = self._loop.info
        bus = VirtualBus()
        camera = VirtualD435(info.serial, info.streams, model=info.model)
        bus.plug(camera)
        wishes = {s.name: StreamSpec(s.width, s.height, _whole_rate(s.fps)) for s in info.streams}
        spec = RealSenseSpec(info.serial, depth=wishes.get("depth"), color=wishes.get("color"))
        self._source = RealSenseSource(self._name, spec, context=bus.context)
        opened = self._source.open()
        camera.bound_pool()
        self._reels = {stream.name: self._reel(self._loop, stream) for stream in info.streams}
        self._feeder = _Feeder(camera, list(self._reels.values()))
        self._feeder.start()
        # librealsense counts rates in whole frames a second; ours may be broken ones.
        streams = tuple(replace(s, fps=own.fps) for s, own in zip(opened.streams, info.streams, strict=True))
        return replace(
            opened,
            backend=info.backend,
            streams=streams,
            world_from_camera=info.world_from_camera,
            options={**info.options, "through": "librealsense"},
        )

    def read(self, timeout_s: float) -> list[Frame]:
        assert self._source is not None, "read() before open()"
        return [
            replace(frame, meta=_joined(frame.meta, self._reels[frame.stream].truth(frame.number)))
            for frame in self._source.read(timeout_s)
        ]

    def close(self) -> None:
        if self._feeder is not None:
            self._feeder.stop()
            self._feeder = None
        if self._source is not None:
            self._source.close()
            self._source = None

    @staticmethod
    def _reel(loop: Loop, stream: StreamInfo) -> _Reel:
        rolls: dict[str, tuple[tuple[Array, ...], tuple[bytes, ...]]] = {
            "depth": (loop.depth, loop.meta),
            "color": (loop.color, loop.color_meta),
        }
        pictures, truths = rolls[stream.name]
        metronome = Metronome(exact_rate(stream.fps))
        return _Reel(stream.name, pictures, truths, metronome, metronome.latest(time.monotonic_ns()))


def _whole_rate(fps: float) -> int:
    return max(1, round(fps))


def _joined(first: bytes, second: bytes) -> bytes:
    """Two JSON objects as one."""
    if not first or not second:
        return first or second
    return first[:-1] + b"," + second[1:]
