"""One depth stream in one record file: the simplest way to write and read compressed depth.

    with DepthWriter("night.nrig", width=848, height=480, depth_scale_m=0.001) as writer:
        writer.append(depth_u16, number=n, device_time_s=t)
    with DepthReader("night.nrig") as reader:
        print(len(reader), reader[1000].data)

The files are ordinary record files: what the service records opens here, and the other way round.
"""

from __future__ import annotations

import math
import operator
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.context_maps import learn_maps, write_map
from codec.depth import DepthCodec, NearSettings, codec_by_id, get_codec
from codec.errors import CodecError, DamagedError, FormatError
from codec.records.layout import FRAME, pack_record
from codec.records.numbers import gap_count, gap_range
from codec.records.reader import Damage, RecordFile
from codec.records.writer import RecordWriter, clock_number

_MAPPED = ("lattice-rans", "near")

DepthImage = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class DepthFrame:
    """One depth image. data: uint16 (height, width), in units of the stream's depth_scale_m, 0 = none."""

    number: int
    epoch: int
    device_time_s: float | None
    monotonic_ns: int
    data: DepthImage


@dataclass(frozen=True, slots=True)
class DepthGap:
    """Missing frames. first and last are None where only the count is known, from the nominal rate."""

    reason: str
    first: int | None
    last: int | None
    count: int
    start_ns: int
    end_ns: int


class DepthWriter:
    """Writes one depth stream to a new file. Used by one thread."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int,
        height: int,
        depth_scale_m: float,
        codec: str = "lattice-lz4",
        near: NearSettings | None = None,
        fps: float = 0.0,
        clock: str = "hardware",
    ) -> None:
        """Create the file. `near` says how much the codec of that name may lose.

        Raises StorageError where the file exists, CodecError for an unknown codec.
        """
        self._shape = (height, width)
        self._codec: DepthCodec = get_codec(codec, near=near)
        self._clock = clock_number(clock)
        self._writer = RecordWriter(path)
        stream = {
            "name": "depth",
            "pixel_format": "z16",
            "width": width,
            "height": height,
            "fps": fps,
            "depth_scale_m": depth_scale_m,
        }
        self._writer.stream(0, stream)
        if codec in _MAPPED:
            write_map(self._writer)
        self._last_number = -1

    def append(
        self,
        depth_u16: DepthImage,
        *,
        number: int | None = None,
        device_time_s: float | None = None,
        monotonic_ns: int | None = None,
    ) -> None:
        """Append a uint16 (height, width) image; `number` counts on by itself, `monotonic_ns` is now.

        Raises CodecError for another shape or type, ValueError for a number below 0 or above 2**64 - 1,
        DiskFullError or StorageError where the disk refuses. The file stays good whatever is raised.
        """
        if depth_u16.dtype != np.uint16 or depth_u16.shape != self._shape:
            raise CodecError(
                f"{self._writer.file.path} takes uint16 images of {self._shape}, "
                f"not {depth_u16.dtype} of {depth_u16.shape}"
            )
        number = self._last_number + 1 if number is None else number
        height, width = self._shape
        self._writer.append(
            pack_record(
                FRAME,
                self._codec.encode(depth_u16),
                codec=self._codec.id,
                clock=self._clock,
                width=width,
                height=height,
                number=number,
                device_time_s=device_time_s,
                monotonic_ns=time.monotonic_ns() if monotonic_ns is None else monotonic_ns,
                raw_length=depth_u16.nbytes,
            )
        )
        self._last_number = number

    def gap(self, gap: DepthGap) -> None:
        """Account for frames that are missing."""
        fields = {name: getattr(gap, name) for name in DepthGap.__dataclass_fields__}
        self._writer.gap(0, {**fields, "estimated": gap.first is None})

    def sync(self) -> None:
        """Wait until everything appended is on the disk."""
        self._writer.file.sync()

    def close(self) -> None:
        """Write the index and close. Safe to call twice. Raises DiskFullError or StorageError."""
        self._writer.seal()

    def __enter__(self) -> DepthWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DepthReader:
    """Reads the depth stream of a record file; len(), [i] and iteration give DepthFrames.

    Iteration steps over damaged frames and lists them in `damage`; [i] raises DamagedError. A codec that
    this version does not have raises CodecError in both: the frame is not damaged. No slices.
    """

    def __init__(self, path: str | os.PathLike[str], *, stream: str | None = None) -> None:
        """Open a file; `stream` names one where it holds several depth streams.

        Raises NotOurFileError, FormatError where there is no such stream, StorageError.
        """
        self._file = RecordFile(path)
        self._codecs: dict[int, DepthCodec] = {}
        learn_maps(self._file)
        try:
            self._stream, self.info = self._find(stream)
        except BaseException:
            self._file.close()
            raise
        self._where = self._file.frames(self._stream)

    def _find(self, name: str | None) -> tuple[int, dict[str, Any]]:
        streams = self._file.streams()
        depth = {i: info for i, info in streams.items() if info.get("pixel_format") == "z16"}
        for index, info in depth.items():
            if name is None or info.get("name") == name:
                return index, info
        names = ", ".join(str(info.get("name")) for info in streams.values()) or "nothing readable"
        wanted = "depth stream" if name is None else f"depth stream {name!r}"
        raise FormatError(f"{self._file.path} has no {wanted}; it holds {names}")

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: int) -> DepthFrame:
        place = operator.index(index)  # a slice is a TypeError
        if not -len(self) <= place < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        record = self._file.read(int(self._where[place]))
        header = record.header
        if header.codec not in self._codecs:
            self._codecs[header.codec] = codec_by_id(header.codec)
        try:
            data = self._codecs[header.codec].decode(record.payload)
        except CodecError as error:
            raise DamagedError(f"{self._file.path}: the frame at byte {record.offset}: {error}") from error
        if data.dtype != np.uint16 or data.shape != (header.height, header.width):
            raise DamagedError(
                f"{self._file.path}: the frame at byte {record.offset} holds {data.dtype} of {data.shape}, "
                f"not uint16 of {(header.height, header.width)}"
            )
        time_s = header.device_time_s
        return DepthFrame(
            header.number,
            header.epoch,
            None if math.isnan(time_s) else time_s,
            header.monotonic_ns,
            data,
        )

    def __iter__(self) -> Iterator[DepthFrame]:
        for index in range(len(self)):
            try:
                yield self[index]
            except DamagedError:
                entry = self._file.entries[self._where[index]]
                damage = Damage(int(entry["offset"]), int(entry["length"]), "damaged")
                if damage not in self._file.damage:
                    self._file.damage.append(damage)

    @property
    def gaps(self) -> list[DepthGap]:
        """Missing frames, as the writer accounted for them."""
        return [_gap(gap) for stream, _, gap in self._file.gaps() if stream == self._stream]

    @property
    def damage(self) -> list[Damage]:
        """Stretches of the file that are no whole record."""
        return self._file.damage

    def close(self) -> None:
        """Safe to call twice."""
        self._file.close()

    def __enter__(self) -> DepthReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _gap(gap: dict[str, Any]) -> DepthGap:
    first, last = gap_range(gap) or (None, None)
    start_ns, end_ns = gap.get("start_ns"), gap.get("end_ns")
    return DepthGap(
        reason=str(gap.get("reason")),
        first=first,
        last=last,
        count=gap_count(gap),
        start_ns=start_ns if type(start_ns) is int else 0,
        end_ns=end_ns if type(end_ns) is int else 0,
    )
