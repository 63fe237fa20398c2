"""What ratios and nanoseconds mean: gigabytes a night, and cores, here and by estimate on a Raspberry Pi.

The Pi figures are no measurements but CPU time here times a fixed factor, which belongs to one machine: on
another one they are worth less still. `nightrig doctor` measures on the Pi itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.bench._depth_targets import STREAM_FPS, STREAMS
from scripts.bench._depth_timing import Figures
from scripts.bench._report import number

WIDTH, HEIGHT = 848, 480
NIGHT_S = 10 * 3600.0
PI4_TIMES = 5.0
"""One core of a Pi 4 (Cortex-A72, 1.5 to 1.8 GHz) against one of the machine these factors come from (AMD
EPYC, Zen 5): from a scheduling model of the instructions, not from a Pi."""
PI5_TIMES = 2.2
"""The same for a Pi 5 (Cortex-A76, 2.4 GHz): from its clock and a third more instructions a cycle."""

_PIXELS_A_SECOND = WIDTH * HEIGHT * STREAM_FPS


@dataclass(frozen=True, slots=True)
class Night:
    """One way. gb_real, gb_simulated: 10^9 bytes per camera and ten hours, at the ratio on the real D400 set
    and on the simulated one, None where it was not measured. cores_here: for eight cameras, encoding alone,
    by the dearer of the two; the Pi's are estimates."""

    way: str
    gb_real: float | None
    gb_simulated: float | None
    cores_here: float
    cores_pi4_estimate: float
    cores_pi5_estimate: float

    def cells(self) -> tuple[str, ...]:
        sizes = ("-" if gb is None else number(gb) for gb in (self.gb_real, self.gb_simulated))
        cores = (self.cores_here, self.cores_pi4_estimate, self.cores_pi5_estimate)
        return self.way, *sizes, *(f"{each:.2f}" for each in cores[:2]), f"{cores[2]:.2f}"


NIGHT_HEADS = (
    "codec",
    "GB, real D400 ratio",
    "GB, simulated ratio",
    f"cores here, {STREAMS} cameras",
    "cores Pi 4, ESTIMATE",
    "cores Pi 5, ESTIMATE",
)


def nights(real: Sequence[Figures] | None, simulated: Sequence[Figures] | None) -> list[Night]:
    """A row for each way of either set."""
    of_real = {figures.way: figures for figures in real or ()}
    of_simulated = {figures.way: figures for figures in simulated or ()}
    names = dict.fromkeys([*of_real, *of_simulated])
    return [_night(name, of_real, of_simulated) for name in names]


def _night(name: str, real: Mapping[str, Figures], simulated: Mapping[str, Figures]) -> Night:
    found = [figures[name] for figures in (real, simulated) if name in figures]
    cores = max(figures.encode_ns for figures in found) * _PIXELS_A_SECOND * STREAMS / 1e9
    return Night(
        way=name,
        gb_real=_gigabytes(real.get(name)),
        gb_simulated=_gigabytes(simulated.get(name)),
        cores_here=cores,
        cores_pi4_estimate=cores * PI4_TIMES,
        cores_pi5_estimate=cores * PI5_TIMES,
    )


def _gigabytes(figures: Figures | None) -> float | None:
    if figures is None:
        return None
    return 2 * _PIXELS_A_SECOND * NIGHT_S / figures.ratio / 1e9
