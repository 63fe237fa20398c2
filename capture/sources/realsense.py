"""RealSense cameras through librealsense: depth, colour and infrared, by serial or the first free one.

Promises: every frame the library hands over is delivered once, with its own number, or its number is
missing and tells so. Each sensor feeds a queue of its own frames and no synchroniser stands between, so a
dead colour stream does not stop depth and colour at half the rate loses nothing. Opening a camera that is
absent or busy fails at once. A camera that vanishes is a CameraLostError; one that is merely silent is not.

Does not promise to come back from a call into the library: a hung driver is the supervisor's to end,
which is why every camera has a process of its own.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.sources._rs_devices import candidates, describe_all
from capture.sources._rs_frames import DeviceClock, StreamReader
from capture.sources._rs_options import (
    apply_options,
    option_value,
    options_in_force,
    raise_pool,
    stereo_baseline_m,
)
from capture.sources._rs_profiles import Chosen, choose_profiles, stream_info, stream_key
from capture.sources._rs_sdk import explained, info, load_sdk, start_into_queue
from capture.specs import RealSenseSpec
from codec.errors import CameraBusyError, CameraError, CameraLostError

# Frames waiting for us, all streams together: half a second of four streams at 30 fps. Frames in the queue
# are taken out of the library's own pool of 16 (`keep_frames`), which would otherwise run dry first.
_QUEUED_FRAMES = 64
# A camera that has been silent for so long is looked for in the list of devices, and so often.
_SILENCE_S = 0.5
# One that never said a word in so long is reset when it is given up.
_MUTE_S = 2.5
_LAST_FREE_RUNNING_SYNC_MODE = 1.0


def list_realsense(context: Any = None) -> list[dict[str, Any]]:
    """The connected RealSense cameras as plain dicts: serial, name, firmware, usb_type, product_line, port
    and profiles (stream, width, height, fps). MissingExtraError without pyrealsense2."""
    rs = load_sdk("listing RealSense cameras")
    return describe_all(rs, context or rs.context())


class RealSenseSource:
    """One RealSense camera. `context` is an rs.context to look for it in, for virtual cameras; None means
    the cameras of this machine."""

    def __init__(self, name: str, spec: RealSenseSpec, *, context: Any = None) -> None:
        self._name = name
        self._spec = spec
        self._context = context
        self._rs: Any = None
        self._device: Any = None
        self._running: list[Any] = []
        self._queue: Any = None
        self._readers: dict[tuple[int, int], StreamReader] = {}
        self._opened_s = 0.0
        self._heard_s = 0.0
        self._looked_s = 0.0
        self._is_mute = True
        self._stuck: Any = None  # the device that is to be reset when it is closed

    def open(self) -> CameraInfo:
        self.close()
        self._rs = load_sdk(f"camera {self._name}")
        if self._context is None:
            self._context = self._rs.context()
        devices = candidates(self._rs, self._context, self._name, self._spec.serial)
        for device in devices:
            try:
                return self._open_device(device)
            except CameraBusyError:
                if len(devices) == 1:
                    raise
        raise CameraBusyError(
            f"{self._name}: every one of the {len(devices)} RealSense cameras is in use by another program"
        )

    def read(self, timeout_s: float) -> list[Frame]:
        if self._queue is None:
            raise CameraLostError(f"{self._name}: not open")
        sdk_frame = self._queue.try_wait_for_frame(max(0, round(timeout_s * 1000)))[1]
        if not sdk_frame:
            self._look_for_the_device()
            return []
        frames = []
        for left in reversed(range(_QUEUED_FRAMES)):
            now_ns = time.monotonic_ns()
            reader = self._readers.get(stream_key(sdk_frame.get_profile()))
            frame = reader.take(sdk_frame, now_ns) if reader is not None else None
            if frame is not None:
                frames.append(frame)
            # What is polled must be taken; the rest, if there is more, is for the next call.
            if not left or not (sdk_frame := self._queue.poll_for_frame()):
                break
        self._heard_s = time.monotonic()
        self._is_mute = False
        return frames

    def close(self) -> None:
        """Release the camera, and reset it where it is stuck.

        A reset may hang as any call of a driver may. Here and not in open(): those who watch over us give an
        opening its time, and closing none.
        """
        was_mute = self._running and self._is_mute and time.monotonic() - self._opened_s > _MUTE_S
        if was_mute and not self._waits_for_a_trigger():
            self._stuck = self._device
        self._release()
        stuck, self._stuck = self._stuck, None
        if stuck is not None:
            _reset(stuck)

    def _release(self) -> None:
        for sensor in self._running:
            with contextlib.suppress(RuntimeError):  # the device may be gone, or was never started
                sensor.stop()
            with contextlib.suppress(RuntimeError):
                sensor.close()
        self._running, self._readers = [], {}
        self._queue = self._device = None

    def _open_device(self, device: Any) -> CameraInfo:
        rs, serial = self._rs, info(self._rs, device, "serial_number")
        camera = f"{self._name} ({info(rs, device, 'name')} {serial})"
        doing = "ask what it offers"
        try:
            chosen = choose_profiles(device, self._spec, camera)
            doing = "set its options"
            notes = apply_options(rs, device, self._spec, camera)
            doing = "open its streams"
            streams = self._streams(device, chosen)
            self._start(device, chosen)
            doing = "read its options"
            return self._camera_info(device, streams, notes)
        except RuntimeError as error:
            self._release()
            trouble = explained(camera, doing, error)
            if type(trouble) is CameraError:
                self._stuck = device
                raise CameraError(f"{trouble}; it is told to reset itself") from error
            raise trouble from error

    def _streams(self, device: Any, chosen: list[Chosen]) -> tuple[StreamInfo, ...]:
        """The streams and, on the way, a reader for each."""
        clock = DeviceClock()
        reference = next((c.profile for c in chosen if c.name == "depth"), chosen[0].profile)
        sensors = device.query_sensors()
        streams = []
        for choice in chosen:
            is_depth = choice.name == "depth"
            factor = self._spec.decimation if is_depth else 1
            sensor = sensors[choice.sensor]
            stream = stream_info(
                choice.name,
                choice.profile,
                pixel_format=choice.profile.format().name,
                reference=reference,
                depth_scale_m=float(sensor.as_depth_sensor().get_depth_scale()) if is_depth else None,
                baseline_m=stereo_baseline_m(self._rs, sensor) if is_depth else None,
                decimation=factor,
            )
            process = self._decimation(factor).process if factor > 1 else None
            self._readers[stream_key(choice.profile)] = StreamReader(self._rs, stream, clock, process=process)
            streams.append(stream)
        return tuple(streams)

    def _decimation(self, factor: int) -> Any:
        decimation = self._rs.decimation_filter()
        decimation.set_option(self._rs.option.filter_magnitude, factor)
        return decimation

    def _start(self, device: Any, chosen: list[Chosen]) -> None:
        """Open all sensors, then start them, so that their first frames lie close together."""
        self._device = device
        self._queue = self._rs.frame_queue(_QUEUED_FRAMES, keep_frames=True)
        profiles: dict[int, list[Any]] = {}
        for choice in chosen:
            profiles.setdefault(choice.sensor, []).append(choice.profile)
        sensors = device.query_sensors()
        for number, wanted in profiles.items():
            sensor = sensors[number]
            raise_pool(self._rs, sensor, {**self._spec.options, **self._spec.color_options})
            sensor.open(wanted)
            self._running.append(sensor)
        for sensor in self._running:
            start_into_queue(self._rs, sensor, self._queue)
        self._opened_s = self._heard_s = self._looked_s = time.monotonic()
        self._is_mute = True

    def _camera_info(self, device: Any, streams: tuple[StreamInfo, ...], notes: list[str]) -> CameraInfo:
        rs = self._rs
        options = options_in_force(rs, device)
        if notes:
            options["note"] = "; ".join(notes)
        return CameraInfo(
            name=self._name,
            backend="realsense",
            model=info(rs, device, "name"),
            streams=streams,
            serial=info(rs, device, "serial_number"),
            firmware=info(rs, device, "firmware_version"),
            usb_type=info(rs, device, "usb_type_descriptor"),
            options=options,
        )

    def _look_for_the_device(self) -> None:
        """After a silence: is it still plugged in? Asking costs a scan of the bus, so not every time."""
        now_s = time.monotonic()
        if now_s - max(self._heard_s, self._looked_s) < _SILENCE_S:
            return
        self._looked_s = now_s
        try:
            # The first is a flag that the library's own watcher clears; the second finds what it missed.
            present = self._device.is_connected() and self._context.query_devices().contains(self._device)
        except RuntimeError as error:
            raise explained(self._name, "look for the camera", error) from error
        if not present:
            raise CameraLostError(f"{self._name}: the camera was unplugged or has reset itself")

    def _waits_for_a_trigger(self) -> bool:
        mode = option_value(self._spec.options, "inter_cam_sync_mode", 0.0)
        return mode > _LAST_FREE_RUNNING_SYNC_MODE


def _reset(device: Any) -> None:
    """Tell a stuck camera to start anew; one that cannot be told (a software device) is left as it is."""
    with contextlib.suppress(RuntimeError):
        device.hardware_reset()
