"""Which ways the mesh benchmark opens at a level of noise, and the clips it opens them for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from capture.body.procedural import procedural_body
from codec.mesh._affine_fit import SMALL as SMALL_SETTINGS
from codec.mesh.native_repack import RUNS
from scripts.bench import _mesh_peers, _mesh_ways
from scripts.bench._mesh_peers import BODYCOMPRESS
from scripts.bench._mesh_people import HELD_OUT_CLIPS, Clip, people
from scripts.bench._mesh_targets import (
    BLOCKS_S,
    LEVEL_MM,
    ORDERS,
    SETTINGS,
    compatible_name,
    stock_name,
)
from scripts.bench._mesh_ways import AFFINE, FAST, FPS, REFITTED, SMALL, Float32, Order, Way

FIRST_FIT_S: Final = 6.0
"""What a first model is fitted to; a later one, and one that is made offline, sees all that came before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """people: who is measured, by number among the held out clips; `seconds` of each, after `training_s` that
    a model is fitted to. work: a folder for files."""

    people: int
    seconds: float
    training_s: float
    motions: Path
    work: Path
    seed: int = 1

    def clip(self, noise_mm: float, *, count: int | None = None, seconds: float | None = None) -> Clip:
        """Training and measured seconds in one. Raises UnusableClipError and NoScipyError."""
        count, seconds = count or self.people, seconds or self.training_s + self.seconds
        names = HELD_OUT_CLIPS[:: max(1, len(HELD_OUT_CLIPS) // count)][:count]
        return people(names, noise_mm=noise_mm, seconds=seconds, seed=self.seed, motions=self.motions)


def way_names() -> list[str]:
    """All that there are, in the order of the tables."""
    compatible = [
        compatible_name(compression, preset, block_s, order)
        for compression, preset in SETTINGS
        for block_s in BLOCKS_S
        for order in ORDERS
    ]
    stock = [stock_name(*setting, order) for setting in SETTINGS for order in ORDERS]
    return [FAST, AFFINE, REFITTED, SMALL, *compatible, *stock, *_mesh_peers.peer_names()]


def usual_ways(noise_mm: float) -> list[str]:
    """Without the slow ones where they would say the same again: all of them at the level of the targets."""
    if noise_mm == LEVEL_MM:
        return way_names()
    kept = {compatible_name("xz", preset, 1.0, "walk") for preset in (0, 1)}
    kept |= {stock_name(*setting, "walk") for setting in SETTINGS}
    left = ("compatible", BODYCOMPRESS, SMALL)
    return [name for name in way_names() if not name.startswith(left) or name in kept]


def missing_ways(names: Sequence[str]) -> dict[str, str]:
    """Of these, those whose library is not installed, with the package to install."""
    missing = _mesh_peers.missing_peers()
    found = {name: package for name in names for peer, package in missing.items() if name.startswith(peer)}
    if "zstandard" in missing.values() or _mesh_peers.ZSTD in missing:
        found |= {name: "zstandard" for name in names if name.startswith("compatible zstd")}
    return found


def open_ways(names: Sequence[str], plan: Plan, training: Float32, say: Callable[[str], None]) -> list[Way]:
    """The ways by these names, models fitted."""
    order = _mesh_ways.walk_of(training[0, 0])
    return [*_open_all(set(names), plan, training, order, say)]


def _open_all(
    names: set[str], plan: Plan, training: Float32, order: Order, say: Callable[[str], None]
) -> Iterator[Way]:
    if FAST in names:
        yield _mesh_ways.native(FAST, _mesh_ways.order_model(order))
    small: dict[str, Any] = {"settings": SMALL_SETTINGS, "runs": RUNS}
    for name, seen, settings in (
        (AFFINE, training[: round(FIRST_FIT_S * FPS)], {}),
        (REFITTED, training, {}),
        (SMALL, training, small),
    ):
        if name in names:
            began = time.process_time()
            model = _mesh_ways.fitted(seen, **settings)
            fit_cpu_s = time.process_time() - began
            say(f"  {name}: fitted to {len(seen) / FPS:g} s in {fit_cpu_s:.1f} s of CPU")
            yield _mesh_ways.native(name, model, fit_cpu_s=fit_cpu_s)
    orders = {"walk": order, "own": None}
    for compression, preset in SETTINGS:
        for block_s in BLOCKS_S:
            for order_name, own in orders.items():
                name = compatible_name(compression, preset, block_s, order_name)
                if name in names:
                    yield _mesh_ways.compatible(
                        name, plan.work, preset=preset, block_s=block_s, order=own, compression=compression
                    )
    for compression, preset in SETTINGS:
        for order_name, own in orders.items():
            name = stock_name(compression, preset, order_name)
            if name in names:
                yield _mesh_peers.stock(name, plan.work, preset=preset, order=own, compression=compression)
    for name in _mesh_peers.peer_names():
        if name in names:
            yield _mesh_peers.open_peer(name, order, procedural_body().faces)
