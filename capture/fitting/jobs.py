"""One picture after another: who is in it, their bodies, the files.

work = Fitting(Bodies(path, "neutral"), settings, out, focal_px=None)
for job in jobs:
    outcome = work.run(job)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from capture.body.capsules import CapsuleSizes, read_capsule_sizes
from capture.body.cold import Fit, Mode, fit_cold
from capture.body.model import BodyModel
from capture.body.prior import PosePrior
from capture.body.procedural import procedural_body
from capture.body.views import ORIGINAL_FOCAL_PX, Observation, View
from capture.fitting.marked_files import (
    State,
    digest_of,
    mark_of,
    state_of,
    write_mesh,
    write_parameters,
    write_picture,
)
from capture.fitting.overlay import draw_bodies
from capture.fitting.pictures import read_picture
from capture.keypoints import PersonKeypoints, Picture
from capture.keypoints.joint_sets import to_lsp14
from capture.stamps import stamp_of
from codec.durable import remove_file
from codec.errors import EstimatorError, FormatError, StorageError

_BETAS: Final = 10
_FITTED: Final = (State.OURS, State.OF_OTHER_SETTINGS)


class Bodies:
    """The body for each gender, and how thick its parts are: of the user's files, each read once, or ours."""

    def __init__(self, path: Path | None, capsules: Path | None = None) -> None:
        self._path = path
        self._capsules = capsules
        self._loaded: dict[str, BodyModel] = {}
        self._sizes: dict[str, CapsuleSizes] = {}

    def of(self, gender: str) -> BodyModel:
        """Raises as `BodyModel.load`."""
        if self._path is None:
            return procedural_body()
        key = gender if self._path.is_dir() else ""
        if key not in self._loaded:
            self._loaded[key] = BodyModel.load(self._path, gender)
        return self._loaded[key]

    def sizes_of(self, gender: str) -> CapsuleSizes | None:
        """None where the mesh tells. Raises as `read_capsule_sizes`."""
        if self._capsules is None:
            return None
        if gender not in self._sizes:
            self._sizes[gender] = read_capsule_sizes(self._capsules, gender)
        return self._sizes[gender]


@dataclass(frozen=True, slots=True)
class Job:
    """A picture, the name its results begin with, whose they are, and who is in it.

    `picture` is None where it is missing. `people` looks into the picture, or knows.
    """

    stem: str
    picture: Path | None
    gender: str
    people: Callable[[Picture], Sequence[PersonKeypoints]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a picture: files written, and what has to be told.

    `state` is "done", "passed over" (its results are there), "nobody" or "failed".
    """

    state: str
    files: tuple[Path, ...] = ()
    told: str = ""


@dataclass(frozen=True, slots=True)
class Fitting:
    """How bodies are fitted and where they go.

    focal_px      of the pictures; None: what the picture tells, else the original's 5000
    enlargement   as how many times larger the pictures count where nothing tells the focal length: the
                  original doubles LSP's, so that its 5000 pixels are 2500 of theirs
    prior         how likely poses are; None: by what ships with us
    interpenetration  whether bodies keep out of themselves; None: as the mode has it
    is_placed     meshes stand where the camera saw them, not at the origin
    """

    bodies: Bodies
    out: Path
    digest: str
    mode: Mode
    headings: int | None
    focal_px: float | None
    enlargement: float
    prior: PosePrior | None
    interpenetration: bool | None
    is_placed: bool
    has_overlay: bool
    again: bool

    def run(self, job: Job) -> Outcome:
        """Raises ConfigError and the like only for what concerns every picture."""
        try:
            return self._run(job)
        except (EstimatorError, FormatError, StorageError) as error:
            return Outcome("failed", told=str(error))

    def _run(self, job: Job) -> Outcome:
        body = self.bodies.of(job.gender)
        mark = self._mark(job)
        states = {path: state_of(path, mark) for path in self._files(job.stem, 0)}
        foreign = [path for path, state in states.items() if state is State.FOREIGN]
        if foreign:
            return Outcome("failed", told=f"{foreign[0]} is not a fit's, and is never overwritten")
        if not self.again and State.MISSING not in states.values():
            # Whether a picture that is gone was the same one cannot be told.
            other = job.picture is not None and State.OF_OTHER_SETTINGS in states.values()
            told = f"{job.stem}: its results are of other settings; --again makes them anew" if other else ""
            return Outcome("passed over", told=told)
        if job.picture is None:
            return Outcome("failed", told=f"{job.stem}: its picture is missing")
        picture, told_px = read_picture(job.picture)
        view, focal_factor = self._view(picture, told_px)
        people = job.people(picture)
        fits = []
        for person in people:
            fit = fit_cold(
                body,
                [_observation(person, view)],
                self.prior,
                mode=self.mode,
                headings=self.headings,
                interpenetration=self.interpenetration,
                capsules=self.bodies.sizes_of(job.gender),
            )
            if fit is not None:
                fits.append(fit)
        if not fits:
            if self.again:
                self._forget_people(job.stem, mark, 0)
            seen = "too little of anybody is seen for a body" if people else "nobody is seen in it"
            return Outcome("nobody", told=f"{job.picture}: {seen}")
        return self._written(job, mark, body, picture, fits, focal_factor)

    def _mark(self, job: Job) -> str:
        settings = {"of all": self.digest, "picture": stamp_of(job.picture)}
        return mark_of(job.stem, digest_of(settings))

    def _view(self, picture: Picture, told_px: float | None) -> tuple[View, float]:
        height, width = picture.shape[:2]
        focal_px = self.focal_px or told_px
        if focal_px is not None:
            return View.of_picture(width, height, focal_px), 1.0
        return View.of_picture(width, height, ORIGINAL_FOCAL_PX / self.enlargement), self.enlargement

    def _files(self, stem: str, person: int) -> list[Path]:
        name = stem if person == 0 else f"{stem}_person{person}"
        files = [self.out / f"{name}.pkl", self.out / f"{name}.obj"]
        if person == 0 and self.has_overlay:
            files.append(self.out / f"{stem}_overlay.png")
        return files

    def _written(
        self,
        job: Job,
        mark: str,
        body: BodyModel,
        picture: Picture,
        fits: Sequence[Fit],
        focal_factor: float,
    ) -> Outcome:
        names = [self._files(job.stem, k) for k in range(len(fits))]
        for path in (path for files in names for path in files):
            if state_of(path, mark) is State.FOREIGN:
                return Outcome("failed", told=f"{path} is not a fit's, and is never overwritten")
        results = [fit.result_dict() for fit in fits]
        placed = [body.skin(r["pose"], r["betas"], r["cam_t"]) for r in results]
        if self.has_overlay:
            drawn = draw_bodies(picture, placed, body.faces, fits[0].view.focal_px)
            write_picture(names[0][2], drawn, mark)
        # The first person's parameters come last: with them the picture counts as done.
        for k in reversed(range(len(fits))):
            result = results[k]
            mesh = placed[k]
            if not self.is_placed:
                mesh = body.skin(result["pose"], result["betas"], np.zeros(3))
            write_mesh(names[k][1], mesh, body.faces, mark)
            betas = np.zeros(_BETAS)
            betas[: len(result["betas"])] = result["betas"][:_BETAS]
            result = {**result, "f": result["f"] * focal_factor, "betas": betas}
            write_parameters(names[k][0], result, mark)
        self._forget_people(job.stem, mark, len(fits))
        return Outcome("done", tuple(path for files in names for path in files))

    def _forget_people(self, stem: str, mark: str, first: int) -> None:
        """Take away what an earlier fit of this picture says of people whom this one does not find."""
        for person in count(first):
            found = [path for path in self._files(stem, person) if state_of(path, mark) in _FITTED]
            if not found:
                return
            for path in found:
                remove_file(path)


def _observation(person: PersonKeypoints, view: View) -> Observation:
    points, confidences = to_lsp14(person.joint_set, person.points_px, person.confidences)
    world = None
    if person.world_m is not None:
        world, _ = to_lsp14(person.joint_set, person.world_m, person.confidences)
    return Observation(view, points, confidences, world_m=world)
