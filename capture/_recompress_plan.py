"""Which frames of a record file are to be recompressed: told by its index, nothing is decoded.

Owns the rules of what is done already, what is none of our business, and what must be left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture import session
from capture._verify_file import has_broken_index
from capture.recording import begins_with_record
from codec.depth import DepthCodec, codec_by_id, codec_name, get_codec
from codec.errors import CodecError, ConfigError, DamagedError, FormatError, NotOurFileError, StorageError
from codec.records.layout import FRAME, STREAM
from codec.records.reader import RecordFile

RECOVER = "`nightrig recover` makes a clean copy"
"""What to do about a damaged file."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One segment: how many frames are to be recompressed, or why it is left alone (`trouble`).

    `pixels` are theirs, by the name of the codec they have; `has_depth` counts every codec. `camera` is what
    the file says whose it is, "" where it does not."""

    path: Path
    size: int
    modified_s: float
    camera: str = ""
    sealed: bool = True
    frames: int = 0
    pixels: Mapping[str, int] = field(default_factory=dict)
    has_depth: bool = False
    trouble: str = ""


def is_lossless(codec: DepthCodec) -> bool:
    """Whether what a codec decodes is what was recorded."""
    return bool(getattr(codec, "lossless", True))


def lossless_codec(name: str) -> DepthCodec:
    """The codec of that name. Raises ConfigError where there is none, or where it would lose anything."""
    try:
        codec = get_codec(name)
    except CodecError as error:
        raise ConfigError(f"--codec: {error}") from error
    if not is_lossless(codec):
        raise ConfigError(
            f"--codec {name}: it is lossy, and recompressing must not change a frame; choose a lossless one"
        )
    return codec


def plan_segment(path: Path, codec: DepthCodec, *, alone: bool) -> SegmentPlan:
    """Look at one segment. Raises StorageError, and NotOurFileError for a file of a newer version, or for
    one that is no recording where it is `alone` and not a segment among others."""
    trouble = session.broken_link(path)
    if trouble:
        return SegmentPlan(path, 0, 0.0, trouble=f"{path}: {trouble}")
    try:
        status = path.stat()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    plan = SegmentPlan(path, status.st_size, status.st_mtime)
    try:
        file = RecordFile(path)
    except NotOurFileError as error:
        if alone or begins_with_record(path):
            raise
        # An empty one is what is left where recording stopped before anything was in it.
        return plan if status.st_size == 0 else replace(plan, trouble=f"{error}; {RECOVER} without it")
    with file:
        plan = replace(plan, sealed=file.sealed, camera=str(file.info.get("camera") or ""))
        try:
            refuse_damage(file)
            pending = pending_frames(file, codec)
            plan = replace(plan, frames=int(pending.sum()), pixels=_pixels(file, pending))
            return replace(plan, has_depth=bool(_depth_frames(file).any()))
        except DamagedError as error:
            return replace(plan, trouble=f"{error}; {RECOVER}")
        except FormatError as error:
            return replace(plan, trouble=str(error))


def refuse_damage(file: RecordFile) -> None:
    """Raise DamagedError where opening the file has shown damage. `file` was opened by its index."""
    if file.damage:
        first = file.damage[0]
        what = "its tail is torn" if first.kind == "torn tail" else "there is no record"
        raise DamagedError(f"{file.path}: {what} at byte {first.offset} ({first.length} bytes)")
    if has_broken_index(file):
        raise DamagedError(f"{file.path}: its index is damaged")


def pending_frames(file: RecordFile, codec: DepthCodec) -> npt.NDArray[np.bool_]:
    """For each of the file's entries, whether it is a depth frame that `codec` is still to be tried on.

    Frames that `codec` has, or has been tried on, are not; nor are those of a lossy codec, whose payload
    alone says that they are not what the camera saw. Raises DamagedError where a stream's description
    cannot be read, NotOurFileError for frames of a codec this version does not know.
    """
    if file.recompressed_to == codec.id:
        return np.zeros(len(file), dtype=np.bool_)
    pending = _depth_frames(file)
    codecs = file.entries["codec"]
    for codec_id in np.unique(codecs[pending]).tolist():
        if codec_id == codec.id or not is_lossless(_known_codec(file, codec_id)):
            pending &= codecs != codec_id
    return pending


def _pixels(file: RecordFile, pending: npt.NDArray[np.bool_]) -> dict[str, int]:
    own = file.entries[pending]
    codecs = np.unique(own["codec"]).tolist()
    raw_bytes = {codec: int(own["raw_length"][own["codec"] == codec].sum(dtype=np.int64)) for codec in codecs}
    return {codec_name(codec): count // 2 for codec, count in raw_bytes.items()}


def _known_codec(file: RecordFile, codec_id: int) -> DepthCodec:
    try:
        return codec_by_id(codec_id)
    except CodecError as error:
        raise NotOurFileError(f"{file.path}: {error}") from error


def _depth_frames(file: RecordFile) -> npt.NDArray[np.bool_]:
    """The z16 frames; a stream is what the last description before a frame says."""
    found = np.zeros(len(file), dtype=np.bool_)
    is_frame = file.entries["kind"] == FRAME
    for index in file.of_kind(STREAM):
        try:
            described = file.read(int(index)).json()
        except ValueError as error:
            offset = int(file.entries["offset"][index])
            raise DamagedError(
                f"{file.path}: the record at byte {offset} is not the JSON it should be"
            ) from error
        own = is_frame & (file.entries["stream"] == file.entries["stream"][index])
        own[:index] = False
        found[own] = described.get("pixel_format") == "z16"
    return found
