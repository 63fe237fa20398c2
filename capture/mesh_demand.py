"""What the meshes of a rig ask of a machine, in a mesh file of either kind. Pure sums; measures nothing.

How many people there will be nobody knows: it is reckoned with one and with a few. What estimating them
costs is the estimator's, and not in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capture.config import Rig
from capture.demand import stream_rates
from codec.mesh.cost import MeshCost

FEW = 4
"""People, to reckon with beside one."""

_WITHOUT_MESHES = ("stereo",)
_USUAL_FPS = 30.0
_MB = 1e6


@dataclass(frozen=True, slots=True)
class MeshReckoning:
    """The rig's meshes with one kind of file, for one person and for FEW."""

    codec: str
    ms_per_mesh: float
    cores: tuple[float, float]
    disk_mb_s: tuple[float, float]


def makes_meshes(rig: Rig) -> bool:
    """Whether an estimator of the rig (perhaps) makes meshes; those of others may."""
    return any(estimator.kind not in _WITHOUT_MESHES for estimator in rig.estimators)


def reckon_meshes(rig: Rig, costs: Mapping[str, MeshCost]) -> list[MeshReckoning]:
    """The rig with each kind; every frame of the fastest camera that is looked at is estimated."""
    fps = sum(_fps(rig, estimator.cameras) for estimator in rig.estimators if _may_make(estimator.kind))
    return [
        MeshReckoning(
            codec,
            1000 * cost.cpu_s,
            (fps * cost.cpu_s, FEW * fps * cost.cpu_s),
            (fps * cost.bytes / _MB, FEW * fps * cost.bytes / _MB),
        )
        for codec, cost in costs.items()
    ]


def _may_make(kind: str) -> bool:
    return kind not in _WITHOUT_MESHES


def _fps(rig: Rig, cameras: tuple[str, ...]) -> float:
    watched = [camera for camera in rig.cameras if not cameras or camera.name in cameras]
    return max((fps for camera in watched for fps in stream_rates(camera)), default=_USUAL_FPS)
