"""Which xz preset a live writer can afford, by the CPU time that compressing really takes.

Owns no thread and no clock: it is told what segments cost and says what the next ones should have.
"""

from __future__ import annotations

# 1 to 3 cost more than 0 and save next to nothing on meshes with an estimator's noise.
LADDER = (0, 4, 5)

# What a preset costs against the cheapest, for meshes stored as they are with it. Corrected by what it takes
# when it has been stepped up to, within a factor of two, and forgotten over minutes: a machine that was busy
# with other things just then should not keep us from it for the night.
_COST = {0: 1.0, 4: 5.0, 5: 18.0}
# Up only with room to spare, and not at once: going up and down again costs more than waiting.
_UP_SHARE = 0.75
_CALM_SEGMENTS = 3
_FORGET = 0.02
# Segments shorter than this (a flush) say little about how much there is in a second.
_SHORT_S = 0.25


class LivePreset:
    """Keeps compression within `budget`, a share of one core, by walking a ladder of presets.

    Begins at the cheapest; the first measurement picks the highest that fits. Later it goes down at
    once when a segment took more than its budget or the writer is behind, and up one step when three
    segments in a row left room for it.
    """

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._step = 0
        self._calm = 0
        self._cheapest_s: float | None = None  # CPU seconds for a stored number at the cheapest preset
        self._relative = dict(_COST)
        self._new = False

    @property
    def preset(self) -> int:
        """What the next segment should be compressed with."""
        return LADDER[self._step]

    def measure_first(self, *, numbers: int, cpu_s: float, lasted_s: float) -> None:
        """A sample at the cheapest preset: `numbers` numbers for each `lasted_s` of recording."""
        if self._cheapest_s is None and numbers and lasted_s >= _SHORT_S:
            self._cheapest_s = cpu_s / numbers
            self._new = True
            fitting = [
                step
                for step, preset in enumerate(LADDER)
                if self._expected_s(preset) * numbers <= _UP_SHARE * self._budget * lasted_s
            ]
            self._step = max(fitting, default=0)

    def measure(self, preset: int, *, numbers: int, cpu_s: float, lasted_s: float, behind: bool) -> None:
        """A whole segment, of `lasted_s` of recording, has been compressed with `preset`.

        `behind`: others were waiting for it.
        """
        if not numbers or lasted_s < _SHORT_S:
            return
        self._learn(preset, cpu_s / numbers)
        step = LADDER.index(preset)
        if behind or cpu_s > self._budget * lasted_s:
            self._calm = 0
            self._step = min(self._step, max(step - 1, 0))
            return
        higher = LADDER[min(step + 1, len(LADDER) - 1)]
        roomy = self._expected_s(higher) * numbers <= _UP_SHARE * self._budget * lasted_s
        self._calm = self._calm + 1 if roomy and step == self._step else 0
        if self._calm >= _CALM_SEGMENTS:
            self._calm = 0
            self._step = min(step + 1, len(LADDER) - 1)
            self._new = self._step > step

    def _learn(self, preset: int, cost_s: float) -> None:
        if self._cheapest_s is None:
            self._cheapest_s = cost_s / self._relative[preset]
        elif self._new:
            self._new = False
            usual = _COST[preset]
            found = cost_s / self._cheapest_s if self._cheapest_s else usual
            self._relative[preset] = min(max(found, usual / 2), usual * 2)
        else:
            self._cheapest_s = 0.5 * (self._cheapest_s + cost_s / self._relative[preset])
        for each, usual in _COST.items():
            self._relative[each] += _FORGET * (usual - self._relative[each])

    def _expected_s(self, preset: int) -> float:
        """CPU seconds for a number."""
        return (self._cheapest_s or 0.0) * self._relative[preset]
