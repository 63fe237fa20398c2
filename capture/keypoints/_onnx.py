"""One neural network in an ONNX file, run by onnxruntime on the processor (extra `onnx`).

Owns the import of onnxruntime and turns its errors into ours. A file is tried once when it is opened, so that
one of another kind is told at once and not in the middle of the night.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codec.errors import ConfigError, EstimatorError, MissingExtraError

Array = npt.NDArray[Any]

_TYPES: Final = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
_FATAL: Final = 4


class Network:
    """A network with one picture as its input. `shape` and `dtype` are that input's; a side of 0 is free."""

    def __init__(self, path: Path, *, purpose: str, threads: int) -> None:
        """Raises ConfigError for a file that is none, MissingExtraError without onnxruntime."""
        if threads < 1:
            raise ConfigError(f"{purpose}: threads = {threads} is less than 1")
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigError(f"{purpose}: cannot read {path}: {error.strerror or error}") from error
        self._path, self._purpose = path, purpose
        self._session = self._opened(threads)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
            told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise self.refused(f"it wants {told or 'nothing'}, and not one picture")
        self._name = inputs[0].name
        self.dtype = _TYPES[inputs[0].type]
        self.shape = tuple(side if isinstance(side, int) and side > 0 else 0 for side in inputs[0].shape)

    def _opened(self, threads: int) -> Any:
        try:
            onnxruntime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise MissingExtraError(package="onnxruntime", extra="onnx", purpose=self._purpose) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            return onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common root but this
            raise self.refused(_one_line(error)) from error

    def run(self, picture: Array) -> list[Array]:
        """The outputs for an input of its shape. Raises EstimatorError."""
        try:
            outputs = self._session.run(None, {self._name: picture})
        except Exception as error:  # as above
            raise EstimatorError(f"{self._purpose}: {self._path} failed: {_one_line(error)}") from error
        return [np.asarray(output) for output in outputs]

    def tried(self, picture: Array) -> list[Array]:
        """`run`, for the trial at the opening: what fails then is the file's fault. Raises ConfigError."""
        try:
            return self.run(picture)
        except EstimatorError as error:
            raise ConfigError(str(error)) from error

    def refused(self, why: str) -> ConfigError:
        """The error for a file of another kind."""
        return ConfigError(f"{self._purpose}: {self._path} is not a model for it: {why}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
