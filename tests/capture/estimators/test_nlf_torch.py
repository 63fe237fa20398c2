"""The estimator nlf with torch itself, and small TorchScript files in place of large ones."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035 - TorchScript of 2.1 reads no others

import numpy as np
import pytest

from capture.estimators.nlf import NlfEstimator
from capture.frames import CameraInfo, Frame, Intrinsics, StreamInfo
from capture.recording import Recording
from capture.specs import EstimatorSpec
from codec.errors import EstimatorError
from tests.capture.estimators import pretended_torch
from tests.capture.rigs import record, small_rig

torch: Any = pytest.importorskip("torch", reason="torch is not installed (extra nlf)")

WIDTH, HEIGHT = 64, 48
PEOPLE = [[0.1, 0.2, 3.0, 0.9], [-0.5, 0.0, 4.0, 0.6]]


class _Finder(torch.nn.Module):  # type: ignore[misc]
    """Finds its people in every picture that is not black; depths are by the focal length it is told."""

    def __init__(self) -> None:
        super().__init__()
        found = pretended_torch._found(PEOPLE, np.ones((1, 3, 2, 2), np.uint8))
        for name, value in found.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(value, np.float32)))

    def empty(self) -> Dict[str, List[torch.Tensor]]:  # noqa: UP006
        return {
            "pose": [torch.zeros(0, 24, 3)],
            "betas": [self.betas[:0]],
            "trans": [self.trans[:0]],
            "joints3d": [self.joints3d[:0]],
            "vertices3d": [self.vertices3d[:0]],
        }

    def answer(self) -> Dict[str, List[torch.Tensor]]:  # noqa: UP006
        return {
            "boxes": [self.boxes],
            "pose": [self.pose],
            "betas": [self.betas],
            "trans": [self.trans],
            "joints3d": [self.joints3d],
            "vertices3d": [self.vertices3d],
        }


class NewFile(_Finder):
    @torch.jit.export  # type: ignore[untyped-decorator]
    def detect_smpl_batched(
        self,
        images: torch.Tensor,
        intrinsic_matrix: Optional[torch.Tensor] = None,  # noqa: UP045
        distortion_coeffs: Optional[torch.Tensor] = None,  # noqa: UP045
        default_fov_degrees: float = 55.0,
        detector_threshold: float = 0.3,
        detector_flip_aug: bool = False,
        model_name: str = "smpl",
    ) -> Dict[str, List[torch.Tensor]]:  # noqa: UP006
        if model_name != "smpl":
            raise ValueError("Unknown model name")
        if int(images.max()) == 0:
            return self.empty()
        found = self.answer()
        found["boxes"] = [torch.where(self.boxes[:, 4:] > detector_threshold, self.boxes, -1.0)]
        if intrinsic_matrix is not None and distortion_coeffs is not None:
            found["betas"] = [self.betas + intrinsic_matrix[0, 0, 0] + distortion_coeffs[0, 0]]
        return found


class OldFile(_Finder):
    @torch.jit.export  # type: ignore[untyped-decorator]
    def detect_smpl_batched(
        self,
        images: torch.Tensor,
        default_fov_degrees: float = 55.0,
    ) -> Dict[str, List[torch.Tensor]]:  # noqa: UP006
        return self.empty() if int(images.max()) == 0 else self.answer()


class OtherFile(torch.nn.Module):  # type: ignore[misc]
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def saved(folder: Path, module: Any) -> Path:
    path = folder / "nlf.torchscript"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(path))
    return path


def opened(path: Path, **options: Any) -> NlfEstimator:
    lens = Intrinsics(WIDTH, HEIGHT, 50.0, 50.0, 31.0, 23.0, "brown_conrady", (0.25, 0.0, 0.0, 0.0, 0.0))
    stream = StreamInfo("color", "bgr8", WIDTH, HEIGHT, 30.0, intrinsics=lens)
    estimator = NlfEstimator(EstimatorSpec("bodies", "nlf", ("front",), {"model": str(path), **options}))
    estimator.open({"front": CameraInfo("front", "opencv", "Test camera", (stream,))})
    return estimator


def seen(estimator: NlfEstimator, grey: int = 80) -> list[Frame]:
    picture = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    frame = Frame("color", 7, picture, 0.5, "hardware", 2_000_000_000, b"")
    return estimator.estimate({("front", "color"): frame})


def test_a_file_of_today_is_told_of_the_lens(tmp_path: Path) -> None:
    estimator = opened(saved(tmp_path, NewFile()), detector_threshold=0.7, device="cpu")
    mesh, parameters = seen(estimator)
    assert parameters.data.shape == (2, 85)
    assert np.allclose(parameters.data[:, 72:82], 50.25)
    assert np.allclose(parameters.data[:, 82:] + pretended_torch.PELVIS, np.array(PEOPLE)[:, :3], atol=1e-6)
    assert mesh.data.shape == (2, 32, 3)
    assert json.loads(mesh.meta)["scores"] == [0.9, -1.0]
    assert seen(estimator, grey=0) == []


def test_an_old_file_is_asked_with_what_it_knows(tmp_path: Path) -> None:
    estimator = opened(saved(tmp_path, OldFile()), detector_threshold=0.7, device="cpu")
    assert [result.data.shape for result in seen(estimator)] == [(2, 32, 3), (2, 85)]
    assert seen(estimator, grey=0) == []


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(EstimatorError, match="has no method detect_smpl_batched"):
        opened(saved(tmp_path, OtherFile()), device="cpu")
    with pytest.raises(EstimatorError, match=r"fails on the cpu: .*Unknown model name"):
        opened(saved(tmp_path, NewFile()), device="cpu", model_name="smplx")
    path = saved(tmp_path, NewFile())
    for content in (path.read_bytes()[:-3000], b"", b"not a file of torch's"):
        path.write_bytes(content)
        with pytest.raises(EstimatorError, match=r"nlf.torchscript is no TorchScript file") as told:
            opened(path, device="cpu")
        assert "\n" not in str(told.value)
    path.unlink()
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(EstimatorError, match=r"nlf.torchscript is no TorchScript file"):
        opened(path, device="cpu")


def test_it_runs_while_a_rig_records(tmp_path: Path) -> None:
    saved(tmp_path, NewFile())
    options = '{ model = "nlf.torchscript", device = "cpu" }'
    tail = f'[[estimators]]\nkind = "nlf"\ncameras = ["cam0"]\noptions = {options}\n'
    code, account, err = record(
        small_rig(tmp_path, cameras=1, tail=tail), tmp_path / "out", "--duration", "3"
    )
    assert code == 0, err
    assert account["meshes"] > 10
    with Recording(Path(account["session"])) as recording:
        assert all(frame.data.shape == (2, 85) for frame in recording.streams["people/parameters"])
