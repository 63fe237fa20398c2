"""USB controllers of this machine and what hangs on them, read from sysfs. Nothing is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_DEVICES = Path("/sys/bus/usb/devices")
_MODEL = Path("/proc/device-tree/model")

# Share of the line rate that isochronous and bulk streams of several cameras have been seen to get.
_USABLE = 0.62
# A Pi 4 hangs all its ports on one VL805 behind one PCIe 2.0 lane.
_PI_4_MB_S = 350.0


@dataclass(frozen=True, slots=True)
class Controller:
    """One root hub. `line_mbit_s` as the kernel says it; `serials` of the devices below it."""

    name: str
    line_mbit_s: float
    serials: tuple[str, ...]

    @property
    def usable_mb_s(self) -> float:
        """Megabytes a second to plan with."""
        usable = self.line_mbit_s / 8 * _USABLE
        return min(usable, _PI_4_MB_S) if is_pi_4() else usable


def is_pi_4() -> bool:
    """Whether this is a Raspberry Pi 4 (or 400, or CM4), whose USB ports share one lane."""
    try:
        return "Pi 4" in _MODEL.read_text() or "Module 4" in _MODEL.read_text()
    except OSError:
        return False


def controllers(devices: Path = _DEVICES) -> list[Controller]:
    """The root hubs, fastest first; [] where the machine has no USB or hides it."""
    found = []
    for root in sorted(devices.glob("usb[0-9]*")):
        bus = root.name.removeprefix("usb")
        speed = _read(root / "speed")
        serials = [
            _read(path / "serial") for path in sorted(devices.glob(f"{bus}-*")) if ":" not in path.name
        ]
        if speed:
            found.append(Controller(root.name, float(speed), tuple(s for s in serials if s)))
    return sorted(found, key=lambda c: -c.line_mbit_s)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
