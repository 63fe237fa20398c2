"""A TorchScript file of NLF's: loaded, asked with the keywords that it accepts, its answer as arrays.

Owns the import of torch, which is as large as everything else together and an extra (`nlf`). Answers are
those of `detect_smpl_batched` for one picture, in the frame of its camera (x right, y down, z forward). The
file is the user's; what it answers is checked before it is believed.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from codec.errors import EstimatorError, MissingExtraError

Float64 = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

_EXTRA: Final = "nlf"
_METHOD: Final = "detect_smpl_batched"
_POSE_COUNT: Final = 72


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The n people that the file found in a picture; `vertices_mm` of V vertices also where n is 0.

    poses           (n, 72) axis-angle              scores       (n,) 1 where the file tells none
    betas           (n, any number)                 joints_mm    (n, 24, 3), or None
    translations_m  (n, 3)                          vertices_mm  (n, V, 3), or None
    """

    poses: Float64
    betas: Float64
    translations_m: Float64
    scores: Float64
    joints_mm: Float64 | None
    vertices_mm: Float64 | None


class NlfFile:
    """The file on `device` ("" is a GPU where torch has one), ready to be asked."""

    def __init__(self, owner: str, path: Path, device: str) -> None:
        """`owner` begins every message. Raises MissingExtraError, and EstimatorError for a file or a device
        that cannot be used."""
        self._owner, self._path = owner, path
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise EstimatorError(f"{owner}: cannot read {path}: {error.strerror or error}") from error
        except ValueError:
            raise EstimatorError(f"{owner}: {str(path)!r} is no name of a file") from None
        self._torch = _load_torch(owner)
        self._device = self._chosen(device)
        self._module = self._load()
        self._ask: Any = getattr(self._module, _METHOD, None)
        schema = getattr(self._ask, "schema", None)
        if schema is None:
            raise EstimatorError(
                f"{owner}: {path} is TorchScript, but has no method {_METHOD}: it is not one of NLF's files"
            )
        self.keywords = frozenset(argument.name for argument in schema.arguments)
        """The names of what its method takes."""
        self._given: dict[str, Any] = {}

    def _chosen(self, device: str) -> str:
        has_cuda = bool(self._torch.cuda.is_available())
        if device.startswith("cuda") and not has_cuda:
            raise EstimatorError(
                f'{self._owner}: device = "{device}", but torch finds no GPU here; device = "cpu", or another'
                " build of torch"
            )
        try:
            return str(self._torch.device(device or ("cuda" if has_cuda else "cpu")))
        except RuntimeError as error:
            raise EstimatorError(
                f'{self._owner}: device = "{device}" is none; "cuda", "cuda:1", "cpu" are'
            ) from error

    def _load(self) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as such
                return self._torch.jit.load(str(self._path), map_location=self._device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            if "torchvision::" in str(error):
                raise MissingExtraError(
                    package="torchvision", extra=_EXTRA, purpose=f"{self._owner}: {self._path}"
                ) from error
            raise EstimatorError(
                f"{self._owner}: {self._path} is no TorchScript file that this torch"
                f" ({self._torch.__version__}) can load: {_last_line(error)}"
            ) from error

    def give(self, keywords: Mapping[str, object]) -> None:
        """Goes with every picture from now on, as far as the file accepts it; arrays become float32 tensors.

        What the file does not take it is not given: files of different years differ.
        """
        self._given = {
            name: self._tensor(value) if isinstance(value, np.ndarray) else value
            for name, value in keywords.items()
            if name in self.keywords
        }

    def _tensor(self, array: npt.NDArray[Any]) -> Any:
        return self._torch.from_numpy(np.array(array, np.float32)).to(self._device)

    def detect(self, picture: Picture) -> Detections:
        """People in a picture, BGR or grey. Raises EstimatorError where the file fails, or answers with
        something else than it should."""
        how = cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB
        rgb = np.ascontiguousarray(cv2.cvtColor(picture, how).transpose(2, 0, 1)[np.newaxis])
        try:
            with self._torch.inference_mode():
                answer = self._ask(self._torch.from_numpy(rgb).to(self._device), **self._given)
                found = {key: self._array(answer, key) for key in _WANTED}
        except (RuntimeError, TypeError, self._torch.jit.Error) as error:
            hint = "" if self._device != "cpu" else "; files of NLF's may need a GPU"
            raise EstimatorError(
                f"{self._owner}: {self._path} fails on the {self._device}: {_last_line(error)}{hint}"
            ) from error
        return self._checked(found)

    def _array(self, answer: Any, key: str) -> Float64 | None:
        """What it says under that key of the one picture; None for nothing."""
        if not isinstance(answer, dict):
            raise EstimatorError(
                f"{self._owner}: {self._path} answers with a {type(answer).__name__} instead of a dictionary"
            )
        listed = answer.get(key)
        if listed is None or not len(listed):
            return None
        return np.asarray(listed[0].detach().float().cpu().numpy(), np.float64)

    def _checked(self, found: Mapping[str, Float64 | None]) -> Detections:
        poses, betas, translations = (found[key] for key in ("pose", "betas", "trans"))
        if poses is None or betas is None or translations is None:
            lacking = next(key for key in ("pose", "betas", "trans") if found[key] is None)
            raise EstimatorError(f"{self._owner}: the answer of {self._path} has no {lacking}")
        count, boxes = len(poses), found["boxes"]
        # Without anybody in view it is (0, 24, 3).
        width = math.prod(poses.shape[1:])
        if width != _POSE_COUNT:
            raise EstimatorError(
                f"{self._owner}: {self._path} poses people with {width} numbers where SMPL has {_POSE_COUNT};"
                ' model_name = "smpl"'
            )
        scored = boxes is not None and boxes.ndim == 2 and boxes.shape[0] == count and boxes.shape[1] == 5
        found_now = Detections(
            poses.reshape(count, _POSE_COUNT),
            betas,
            translations,
            np.nan_to_num(boxes[:, 4]) if scored and boxes is not None else np.ones(count),
            found["joints3d"],
            found["vertices3d"],
        )
        self._check_shapes(found_now, count)
        return found_now

    def _check_shapes(self, found: Detections, count: int) -> None:
        wanted: dict[str, tuple[Float64 | None, tuple[int, ...]]] = {
            "betas": (found.betas, (count, -1)),
            "trans": (found.translations_m, (count, 3)),
            "joints3d": (found.joints_mm, (count, 24, 3)),
            "vertices3d": (found.vertices_mm, (count, -1, 3)),
        }
        for key, (array, shape) in wanted.items():
            if array is None:
                continue
            fits = array.ndim == len(shape) and all(
                b in (-1, a) for a, b in zip(array.shape, shape, strict=True)
            )
            if not fits:
                raise EstimatorError(
                    f"{self._owner}: {self._path} answers with {key} of shape {array.shape} for {count}"
                    " people"
                )


_WANTED: Final = ("boxes", "pose", "betas", "trans", "joints3d", "vertices3d")


def _load_torch(owner: str) -> Any:
    """The module torch. Raises MissingExtraError, and EstimatorError where it or its torchvision is there but
    does not load, as where they are not of one release."""
    try:
        # First: it registers the operators that files of NLF's name, before one is loaded.
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("torchvision")
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise MissingExtraError(package="torch", extra=_EXTRA, purpose=owner) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise EstimatorError(
            f"{owner}: torch (or torchvision) is installed but does not load: {_last_line(error)}"
        ) from error


def _last_line(error: Exception) -> str:
    """Where torch says what went wrong: above it stands where in TorchScript."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
