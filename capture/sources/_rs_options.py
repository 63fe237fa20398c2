"""Options of a RealSense: checked before they are set, set in an order that works, read back afterwards.

A wrong name or value is a ConfigError that names the nearest right one; nothing is rounded or skipped
in silence. Names are librealsense's, with hyphens or underscores.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from typing import Any

from capture.sources._rs_sdk import info
from capture.specs import RealSenseSpec
from codec.errors import ConfigError

# Setting one by hand is of no effect while the other is on.
_AUTOMATIC = {
    "exposure": "enable_auto_exposure",
    "gain": "enable_auto_exposure",
    "white_balance": "enable_auto_white_balance",
}
_LARGEST_POOL = 32


def apply_options(rs: Any, device: Any, spec: RealSenseSpec, camera: str) -> list[str]:
    """Set what the spec asks for, on sensors that do not stream yet; returns what that changed besides."""
    notes = []
    depth, color = _sensor_of(device, "depth"), _sensor_of(device, "color")
    if spec.visual_preset:
        # First of all: a preset sets every other option of the depth sensor.
        _set_preset(rs, _need(depth, "depth", camera), spec.visual_preset, camera)
    if spec.options:
        notes += _set_all(rs, _need(depth, "depth", camera), spec.options, f"{camera}: options")
    if spec.color_options:
        notes += _set_all(rs, _need(color, "color", camera), spec.color_options, f"{camera}: color_options")
    return notes


def raise_pool(rs: Any, sensor: Any, given: Mapping[str, float]) -> None:
    """Let the library have more frames under way at once, unless the user chose a number."""
    option = rs.option.frames_queue_size
    if "frames_queue_size" in _normalised(given) or not sensor.supports(option):
        return
    with contextlib.suppress(RuntimeError):  # some sensors show the option and refuse it
        sensor.set_option(option, min(_LARGEST_POOL, sensor.get_option_range(option).max))


def options_in_force(rs: Any, device: Any) -> dict[str, float | int | str | bool]:
    """Every readable option of the depth and colour sensors, the latter's with "color_" before its name."""
    values: dict[str, float | int | str | bool] = {}
    depth, color = _sensor_of(device, "depth"), _sensor_of(device, "color")
    for sensor, prefix in ((depth, ""), (color, "color_")):
        if sensor is None:
            continue
        for name, option in _supported(rs, sensor).items():
            with contextlib.suppress(RuntimeError):  # write-only, or asleep while not streaming
                values.setdefault(prefix + name, float(sensor.get_option(option)))
    return values


def stereo_baseline_m(rs: Any, sensor: Any) -> float | None:
    """How far apart the imagers of a stereo depth sensor stand; None of a sensor that does not say it."""
    option = rs.option.stereo_baseline
    if not sensor.supports(option):
        return None
    try:
        return abs(float(sensor.get_option(option))) / 1000 or None  # librealsense has it in millimetres
    except RuntimeError:
        return None  # a recording may name the option without its value


def option_value(values: Mapping[str, float], name: str, default: float) -> float:
    """A value of the spec, however the user spelled its name."""
    return _normalised(values).get(name, default)


def _normalised(values: Mapping[str, float]) -> dict[str, float]:
    return {name.strip().lower().replace("-", "_"): value for name, value in values.items()}


def _sensor_of(device: Any, stream: str) -> Any | None:
    for sensor in device.query_sensors():
        if any(profile.stream_type().name == stream for profile in sensor.get_stream_profiles()):
            return sensor
    return None


def _need(sensor: Any | None, what: str, camera: str) -> Any:
    if sensor is None:
        raise ConfigError(f"{camera}: options are given for the {what} sensor, but this camera has none")
    return sensor


def _supported(rs: Any, sensor: Any) -> dict[str, Any]:
    """The sensor's options by name; those this version of the binding has no name for are left out."""
    offered = {int(option) for option in sensor.get_supported_options()}
    return {name: option for name, option in rs.option.__members__.items() if int(option) in offered}


def _set_all(rs: Any, sensor: Any, wished: Mapping[str, float], where: str) -> list[str]:
    supported = _supported(rs, sensor)
    values = _normalised(wished)
    for name, value in values.items():
        _check(rs, sensor, supported, name, value, f"{where}.{name}")
    notes = []
    for name, automatic in _AUTOMATIC.items():
        if name not in values or automatic not in supported:
            continue
        if values.get(automatic):
            raise ConfigError(
                f"{where}.{name} = {values[name]:g} has no effect with {automatic} = "
                f"{values[automatic]:g}; leave one of them out"
            )
        if automatic not in values:
            values[automatic] = 0.0
            notes.append(f"{where}.{name} is set by hand, so {automatic} is off")
    # The automatic ones first: switching one off may put the value it governed back to its default.
    for name in sorted(values, key=lambda name: name not in _AUTOMATIC.values()):
        _set(sensor, supported[name], values[name], f"{where}.{name}")
    return notes


def _check(rs: Any, sensor: Any, supported: Mapping[str, Any], name: str, value: float, where: str) -> None:
    if name not in supported:
        near = difflib.get_close_matches(name, supported, n=1, cutoff=0.5)
        exists = " on this sensor" if name in rs.option.__members__ else ""
        advice = f"did you mean {near[0]}?" if near else "it has " + ", ".join(sorted(supported))
        raise ConfigError(f"{where}: there is no such option{exists}; {advice}")
    option = supported[name]
    if sensor.is_option_read_only(option):
        raise ConfigError(f"{where}: this option can only be read")
    span = sensor.get_option_range(option)
    steps = (value - span.min) / span.step if span.step else 0.0
    if not span.min <= value <= span.max or abs(steps - round(steps)) > 1e-3:
        in_steps = f" in steps of {span.step:g}" if span.step else ""
        raise ConfigError(f"{where} = {value:g}: it must be {span.min:g} to {span.max:g}{in_steps}")


def _set(sensor: Any, option: Any, value: float, where: str) -> None:
    try:
        sensor.set_option(option, value)
    except RuntimeError as error:
        raise ConfigError(f"{where} = {value:g}: the camera refuses it ({error})") from error


def _set_preset(rs: Any, sensor: Any, wished: str, camera: str) -> None:
    option = rs.option.visual_preset
    if not sensor.supports(option):
        name = info(rs, sensor, "name")
        raise ConfigError(f"{camera}: visual_preset: the sensor {name} has no presets; leave it out")
    presets = _presets(rs, sensor, option)
    value = {_plain(name): value for name, value in presets.items()}.get(_plain(wished))
    if value is None:
        near = difflib.get_close_matches(wished, presets, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else "it is one of " + ", ".join(presets)
        raise ConfigError(f"{camera}: visual_preset {wished!r}: there is none of that name; {advice}")
    _set(sensor, option, value, f"{camera}: visual_preset {wished!r}")


def _presets(rs: Any, sensor: Any, option: Any) -> dict[str, float]:
    """Name to value, as the device describes its values; as the D400 series has them where it does not."""
    span = sensor.get_option_range(option)
    described = {}
    for number in range(round(span.min), round(span.max) + 1):
        text = sensor.get_option_value_description(option, number)
        if text:
            described[str(text)] = float(number)
    if described:
        return described
    return {
        name.replace("_", " ").title(): float(int(value))
        for name, value in rs.rs400_visual_preset.__members__.items()
        if span.min <= int(value) <= span.max
    }


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
