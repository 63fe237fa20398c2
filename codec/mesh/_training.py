"""Remembers what an affine model is to be fitted to, and fits it beside the writing.

Keeps a bounded number of short runs of meshes, spread over all that was seen. A fit takes seconds of a core:
it runs on a thread of its own, below everything else, and the result is picked up when it is there.
"""

from __future__ import annotations

import contextlib
import os
import threading

import numpy as np
import numpy.typing as npt

from codec.mesh._affine_fit import LIVE, FitSettings, Run, fit_model
from codec.mesh._affine_model import MAX_POINTS, AffineModel
from codec.mesh._segment import Batch, Signature

RUN_MESHES = 12
RUNS = 30
LEAST_RUNS = 25
_NICE = 10


class Training:
    """The runs of meshes of one signature, and at most one fit under way."""

    def __init__(self, signature: Signature, settings: FitSettings = LIVE, *, runs: int = RUNS) -> None:
        self.signature = signature
        self._settings = settings
        self._most = runs
        self._runs: list[Run] = []
        self._offered = 0
        self._random = np.random.default_rng(signature.points)
        self._thread: threading.Thread | None = None
        self._fitted: AffineModel | None = None
        self._failure: BaseException | None = None

    @property
    def possible(self) -> bool:
        """Whether a model can be made for these points at all."""
        return bool(self.signature.arrays & 3) and 4 <= self.signature.points <= MAX_POINTS

    @property
    def enough(self) -> bool:
        """Whether there is enough for a first model."""
        return len(self._runs) >= min(LEAST_RUNS, self._most)

    @property
    def offered(self) -> int:
        """Runs that were seen so far, kept or not."""
        return self._offered

    @property
    def kept(self) -> int:
        """Runs that a fit goes by."""
        return len(self._runs)

    def see(self, batch: Batch) -> None:
        """Take runs out of a segment's meshes."""
        if not self.possible:
            return
        for chain in _chains(batch.refs[:, 0]):
            for first in range(0, len(chain) - RUN_MESHES + 1, RUN_MESHES):
                run = chain[first : first + RUN_MESHES]
                if batch.known is None or (batch.known[run] == 3).all():
                    self._offer(batch, run)

    def _offer(self, batch: Batch, meshes: npt.NDArray[np.intp]) -> None:
        # Each run that was ever seen is as likely to be kept as any other.
        self._offered += 1
        place = len(self._runs)
        if place >= self._most:
            place = int(self._random.integers(self._offered))
            if place >= self._most:
                return
        run = batch.points[meshes].view(np.int32)
        middle = np.rint(run[0].mean(axis=0)).astype(np.int32)
        middle[3] = 0
        local = run - middle
        if np.abs(local).max() < 2**15:  # else it is no body, or the grid is very fine
            self._runs[place : place + 1] = [local.astype(np.int16)]

    def start(self) -> None:
        """Begin to fit, unless that goes on already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fit, args=(list(self._runs),), daemon=True)
            self._thread.name = "mesh model"
            self._thread.start()

    def take(self, *, wait: bool = False) -> AffineModel | None:
        """The model, once, when it is ready. Raises what the fit raised."""
        if self._thread is None or (self._thread.is_alive() and not wait):
            return None
        self._thread.join()
        self._thread = None
        fitted, failure, self._fitted, self._failure = self._fitted, self._failure, None, None
        if failure is not None:
            raise failure
        return fitted

    def fit(self, settings: FitSettings) -> AffineModel:
        """A model with other settings, here and now. Raises what fitting raises."""
        uncertainties = self.signature.channels == 4
        return fit_model(
            self._runs, joints=self.signature.joints, uncertainties=uncertainties, settings=settings
        )

    def _fit(self, runs: list[Run]) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._fitted = fit_model(
                runs,
                joints=self.signature.joints,
                uncertainties=self.signature.channels == 4,
                settings=self._settings,
            )
        except Exception as error:
            self._failure = error


def _chains(refs: npt.NDArray[np.int32]) -> list[npt.NDArray[np.intp]]:
    """The meshes of each person, in order: those that refer to each other without a break."""
    chains: dict[int, list[int]] = {}
    for mesh, ref in enumerate(refs.tolist()):
        chains[mesh] = [*chains.pop(ref, []), mesh]
    return [np.array(chain) for chain in chains.values()]
