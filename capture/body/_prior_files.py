"""Files of pose priors: an `.npz` of ours, or the pickle of the original SMPLify (users bring their own)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.body.unpickling import load_pickle
from codec.errors import FormatError, NotOurFileError, StorageError

Float64 = npt.NDArray[np.float64]

# The original calls them covars.
_COVARIANCE_KEYS: Final = ("covariances", "covars")
_LARGEST_MIXTURE: Final = 256


def read_mixture(path: Path, size: int) -> tuple[Float64, Float64, Float64]:
    """means (K, size), covariances (K, size, size) and weights (K,) of a file, a valid mixture.

    Raises NotOurFileError, naming file and key, and StorageError where the file cannot be read.
    """
    try:
        entries = _npz_entries(path) if zipfile.is_zipfile(path) else _pickled_entries(path)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    covariances_key = next((key for key in _COVARIANCE_KEYS if key in entries), _COVARIANCE_KEYS[0])
    means = _numbers(path, entries, "means", (None, size))
    count = len(means)
    covariances = _numbers(path, entries, covariances_key, (count, size, size))
    weights = _numbers(path, entries, "weights", (count,))
    if (weights <= 0).any():
        raise NotOurFileError(
            f"{path} is no pose prior: its key 'weights' holds numbers that are not positive"
        )
    # Files hold rounded numbers; what is skew in them is rounding.
    symmetric = 0.5 * (covariances + covariances.transpose(0, 2, 1))
    for k, matrix in enumerate(symmetric):
        skew = np.abs(matrix - covariances[k]).max()
        if skew > 1e-3 * np.abs(matrix).max() or np.linalg.eigvalsh(matrix)[0] <= 0:
            raise NotOurFileError(
                f"{path} is no pose prior: matrix {k} of its key {covariances_key!r} is no covariance "
                "(symmetric and positive definite)"
            )
    return means, symmetric, weights


def _pickled_entries(path: Path) -> Mapping[str, object]:
    """Of gmm_08.pkl, read without running anything of it."""
    try:
        read = load_pickle(path)
    except FormatError as error:
        raise NotOurFileError(
            f"{path} is no pose prior: neither an .npz file of arrays nor a pickle of them ({error})"
        ) from error
    if not isinstance(read, dict):
        raise NotOurFileError(f"{path} is no pose prior: its pickle holds no dictionary")
    return {str(key): value for key, value in read.items()}


def _npz_entries(path: Path) -> dict[str, object]:
    # Opened here, as np.load leaves a file open that it cannot make sense of.
    with path.open("rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("a single array")
            with loaded as archive:
                return dict(archive)
        except (ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            raise NotOurFileError(f"{path} is no pose prior: it is no .npz file of arrays") from error


def _numbers(path: Path, entries: Mapping[str, object], key: str, shape: tuple[int | None, ...]) -> Float64:
    if key not in entries:
        found = ", ".join(sorted(entries)) or "nothing"
        raise NotOurFileError(f"{path} is no pose prior: it lacks the key {key!r} (it holds {found})")
    values = np.asarray(entries[key])
    wanted = ", ".join("K" if length is None else str(length) for length in shape)
    fits = values.ndim == len(shape) and all(
        length in (None, have) for length, have in zip(shape, values.shape, strict=True)
    )
    if values.dtype.kind not in "fiu" or not fits or not 1 <= len(values) <= _LARGEST_MIXTURE:
        raise NotOurFileError(
            f"{path} is no pose prior: its key {key!r} is {values.dtype} {values.shape}, "
            f"not numbers ({wanted})"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise NotOurFileError(f"{path} is no pose prior: its key {key!r} holds numbers that are not finite")
    return values
