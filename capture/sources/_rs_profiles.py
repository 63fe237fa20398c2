"""From wishes (sizes and rates, 0 for "your choice") to librealsense stream profiles, and on to StreamInfo.

Chooses, or says what the device has instead; converts intrinsics and extrinsics. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from capture.frames import Intrinsics, Matrix4, StreamInfo
from capture.specs import RealSenseSpec, StreamSpec
from codec.errors import CameraProfileError, ConfigError

_NEAREST_SHOWN = 4
_USUAL = (848, 480, 30)
_IDENTITY: Matrix4 = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A stream to record: its name, its sensor's place in the device, the profile to open it with."""

    name: str
    sensor: int
    profile: Any


@dataclass(frozen=True, slots=True)
class _Wish:
    name: str
    stream: str
    index: int | None
    pixel_format: str
    spec: StreamSpec


@dataclass(frozen=True, slots=True)
class _Offer:
    sensor: int
    profile: Any
    size: tuple[int, int, int]  # width, height, rate


def stream_key(profile: Any) -> tuple[int, int]:
    """(kind of stream, its index): the same for a profile and for the frames that come of it."""
    return int(profile.stream_type()), int(profile.stream_index())


def choose_profiles(device: Any, spec: RealSenseSpec, camera: str) -> list[Chosen]:
    """One profile per wished stream; CameraProfileError names the nearest ones where one is missing."""
    chosen: list[Chosen] = []
    taken: list[_Offer] = []
    for wish in _wishes(spec, camera):
        offer = _pick(_offers(device, wish), wish, taken, camera)
        taken.append(offer)
        chosen.append(Chosen(wish.name, offer.sensor, offer.profile))
    return chosen


def _wishes(spec: RealSenseSpec, camera: str) -> list[_Wish]:
    wishes = []
    if spec.depth is not None:
        wishes.append(_Wish("depth", "depth", None, "z16", spec.depth))
    if spec.color is not None:
        wishes.append(_Wish("color", "color", None, "bgr8", spec.color))
    if spec.infrared is not None:
        wishes += [_Wish(f"infrared{i}", "infrared", i, "y8", spec.infrared) for i in spec.infrared_sensors]
    if not wishes:
        raise ConfigError(f"{camera}: no stream is asked for; set depth, color or infrared")
    return wishes


def _offers(device: Any, wish: _Wish) -> list[_Offer]:
    offers = []
    for number, sensor in enumerate(device.query_sensors()):
        for profile in sensor.get_stream_profiles():
            if (
                profile.stream_type().name == wish.stream
                and profile.format().name == wish.pixel_format
                and wish.index in (None, profile.stream_index())
            ):
                video = profile.as_video_stream_profile()
                offers.append(_Offer(number, profile, (video.width(), video.height(), video.fps())))
    return offers


def _pick(offers: Sequence[_Offer], wish: _Wish, taken: Sequence[_Offer], camera: str) -> _Offer:
    if not offers:
        raise CameraProfileError(f"{camera}: this camera has no {wish.name} stream; leave it out")
    wanted = (wish.spec.width, wish.spec.height, wish.spec.fps)
    fitting = [
        offer
        for offer in offers
        if all(want in (0, has) for want, has in zip(wanted, offer.size, strict=True))
    ]
    if not fitting:
        nearest = sorted({offer.size for offer in offers}, key=lambda size: _distance(wanted, size))
        raise CameraProfileError(
            f"{camera}: no {wish.name} profile {_shown(wanted)}; the nearest ones: "
            + ", ".join(_shown(size) for size in nearest[:_NEAREST_SHOWN])
        )
    usual = next((offer.size for offer in offers if offer.profile.is_default()), _USUAL)

    def unusualness(offer: _Offer) -> tuple[bool, bool, int, int]:
        # Streams of one sensor (depth and infrared) only run together with one size and one rate.
        mates = [other for other in taken if other.sensor == offer.sensor]
        return (
            any(other.size != offer.size for other in mates),
            not offer.profile.is_default(),
            abs(offer.size[2] - usual[2]),
            abs(offer.size[0] * offer.size[1] - usual[0] * usual[1]),
        )

    return min(fitting, key=unusualness)


def _fits(wanted: tuple[float, float, float], size: tuple[int, int, int]) -> bool:
    return all(want in (0, has) for want, has in zip(wanted, size, strict=True))


def _distance(wanted: tuple[float, float, float], size: tuple[int, int, int]) -> float:
    """How far off a profile is, in parts of what was wished."""
    return sum(abs(has - want) / want for want, has in zip(wanted, size, strict=True) if want)


def _shown(size: tuple[float, float, float]) -> str:
    width, height, fps = size
    pixels = f"{width or 'any'}x{height or 'any'}"
    return f"{pixels}@{fps:g}" if fps else pixels


def stream_info(
    name: str,
    profile: Any,
    *,
    pixel_format: str,
    reference: Any,
    depth_scale_m: float | None,
    baseline_m: float | None = None,
    decimation: int = 1,
) -> StreamInfo:
    """What a file says of the stream; `reference` is the profile whose frame is the camera's."""
    video = profile.as_video_stream_profile()
    intrinsics = _intrinsics(video, decimation)
    # Disparity is measured before the image shrinks.
    matched_fx = intrinsics.fx * decimation if intrinsics is not None else None
    return StreamInfo(
        name=name,
        pixel_format=pixel_format,
        width=_decimated(video.width(), decimation),
        height=_decimated(video.height(), decimation),
        fps=float(video.fps()),
        intrinsics=intrinsics,
        depth_scale_m=depth_scale_m,
        camera_from_stream=_camera_from_stream(profile, reference),
        focal_baseline_px_m=matched_fx * baseline_m if matched_fx and baseline_m else None,
    )


def _decimated(pixels: int, factor: int) -> int:
    """The decimation filter pads to a multiple of four."""
    return pixels if factor == 1 else (pixels // factor + 3) // 4 * 4


def _intrinsics(video: Any, decimation: int) -> Intrinsics | None:
    try:
        own = video.get_intrinsics()
    except RuntimeError:
        return None  # an uncalibrated stream
    return Intrinsics(
        width=_decimated(own.width, decimation),
        height=_decimated(own.height, decimation),
        fx=own.fx / decimation,
        fy=own.fy / decimation,
        cx=own.ppx / decimation,
        cy=own.ppy / decimation,
        model=own.model.name,
        coefficients=tuple(float(c) for c in own.coeffs),
    )


def _camera_from_stream(profile: Any, reference: Any) -> Matrix4 | None:
    if stream_key(profile) == stream_key(reference):
        return _IDENTITY
    try:
        extrinsics = profile.get_extrinsics_to(reference)
    except RuntimeError:
        return None  # the device was never calibrated for this pair
    turn, shift = extrinsics.rotation, extrinsics.translation  # rotation is column by column
    row_x, row_y, row_z = (
        (float(turn[r]), float(turn[3 + r]), float(turn[6 + r]), float(shift[r])) for r in range(3)
    )
    return (row_x, row_y, row_z, (0.0, 0.0, 0.0, 1.0))
