"""A Pose Landmarker file (`.task`) out of the two models that the wheel of MediaPipe 0.10.18 carries.

Later wheels carry no model, and their tasks want two things more than the old one has: how to scale the
picture, which each model must say itself, and both models in one zip, uncompressed and aligned. Models and
wheel are under the Apache License 2.0, whose text goes along. The result is the same bytes every time.

Knows wheels and files, not how they get here.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capture.keypoints._tflite_metadata import with_normalization
from codec.errors import DamagedError, NotOurFileError, StorageError

PACKAGE: Final = "mediapipe"
VERSION: Final = "0.10.18"
# The one of its wheels that is fetched everywhere: the models in them are the same.
WHEEL_PLATFORM: Final = "manylinux2014_x86_64"
WHEEL_PYTHON: Final = "3.11"
BUNDLE_NAME: Final = "pose_landmarker.task"
_LICENSE: Final = f"{PACKAGE}-{VERSION}.dist-info/LICENSE"
# MediaPipe maps the file into memory and reads its tensors where they lie.
_ALIGNMENT: Final = 64
_LOCAL_HEADER_BYTES: Final = 30
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Model:
    """A model in the wheel: what it must be, how it wants its picture, what the bundle calls it."""

    path: str
    sha256: str
    size_bytes: int
    mean: float
    deviation: float
    name: str


_MODELS: Final = (
    _Model(
        path="mediapipe/modules/pose_detection/pose_detection.tflite",
        sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        size_bytes=2_959_046,
        mean=127.5,
        deviation=127.5,
        name="pose_detector.tflite",
    ),
    _Model(
        path="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        size_bytes=6_440_512,
        mean=0.0,
        deviation=255.0,
        name="pose_landmarks_detector.tflite",
    ),
)


def bundle_from_wheel(wheel: Path) -> bytes:
    """The `.task` file made of a wheel's models.

    Raises StorageError where the wheel cannot be read, NotOurFileError where it is no wheel of that version,
    and DamagedError where a model in it is not the one that was published.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            models = [_published(archive, model, wheel) for model in _MODELS]
            text = archive.read(_LICENSE)
    except OSError as error:
        raise StorageError(f"cannot read {wheel}: {error.strerror or error}") from error
    except KeyError as error:
        raise NotOurFileError(f"{wheel} is no wheel of {PACKAGE} {VERSION}: {error.args[0]}") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise NotOurFileError(f"{wheel} is no wheel, or a damaged one: {error}") from error
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED) as out:
        for model, data in zip(_MODELS, models, strict=True):
            told = with_normalization(data, mean=model.mean, deviation=model.deviation)
            _store(out, bundle, model.name, told)
        _store(out, bundle, "LICENSE", text)
    return bundle.getvalue()


def _published(archive: zipfile.ZipFile, model: _Model, wheel: Path) -> bytes:
    info = archive.getinfo(model.path)
    # The size comes first, so that nothing larger is ever unpacked.
    data = archive.read(info) if info.file_size == model.size_bytes else b""
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise DamagedError(
            f"{wheel}: {model.path} is not the model that {PACKAGE} {VERSION} was published with; fetch it"
            " anew"
        )
    return data


def _store(out: zipfile.ZipFile, bundle: io.BytesIO, name: str, data: bytes) -> None:
    """Add a file whose first byte lies at a multiple of 64."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    ahead = bundle.tell() + _LOCAL_HEADER_BYTES + len(name)
    # Room in the form of a field that nobody knows (id 0xFFFF), which is skipped by its length.
    room = -ahead % _ALIGNMENT
    if room:
        room += _ALIGNMENT if room < 4 else 0
        info.extra = b"\xff\xff" + (room - 4).to_bytes(2, "little") + bytes(room - 4)
    out.writestr(info, data)
