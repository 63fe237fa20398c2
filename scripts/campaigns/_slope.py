"""A straight line through a series of samples, and how sure one may be of its slope.

Samples of a process's memory are not independent (an allocator keeps what it got for a while), which makes
the textbook error of the slope too small: it is widened by the correlation of neighbouring residuals, as for
a first-order autoregressive series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SURE_SIGMAS = 2.0
_FEWEST_SAMPLES = 12
_MOST_CORRELATED = 0.95


@dataclass(frozen=True, slots=True)
class Slope:
    """Per unit of the time axis, with its standard error; span: of the samples, in the same unit."""

    per_unit: float
    error: float
    span: float

    def at_most(self, limit: float) -> bool | None:
        """True or False where two standard errors leave no doubt, None where they do."""
        margin = _SURE_SIGMAS * self.error
        if self.per_unit + margin <= limit:
            return True
        return False if self.per_unit - margin > limit else None

    def span_needed(self, limit: float) -> float:
        """How long a series of this noise must be to decide, if there is no slope: the error shrinks with the
        power 3/2 of the span."""
        return float(self.span * max(1.0, _SURE_SIGMAS * self.error / limit) ** (2 / 3))


def fit(times: list[float], values: list[float]) -> Slope | None:
    """The least-squares line; None for too few samples to judge."""
    if len(times) < _FEWEST_SAMPLES:
        return None
    t, y = np.asarray(times) - np.mean(times), np.asarray(values) - np.mean(values)
    slope = float(t @ y / (t @ t))
    residuals = y - slope * t
    variance = float(residuals @ residuals) / (len(t) - 2)
    power = float(residuals @ residuals)
    correlation = float(residuals[1:] @ residuals[:-1]) / power if power > 0 else 0.0
    correlation = min(_MOST_CORRELATED, max(0.0, correlation))
    widened = (1 + correlation) / (1 - correlation)
    return Slope(slope, float(np.sqrt(variance / (t @ t) * widened)), float(times[-1] - times[0]))
