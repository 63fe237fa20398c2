"""`mp4`: a video per stream, `<camera>/<stream>.mp4`, at the stream's nominal rate.

Depth is shown in a perceptual colour map, near bright and far dark, with one range for the whole video;
infrared in grey. Frames that are missing are not filled in. Where a camera was opened again with another
size, another file begins.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from capture.export._job import ExportJob, counted, storage_error
from capture.preview.depth_colors import DEFAULT_RANGE, DepthRange, colored, follow
from capture.recording import RecordedStream
from codec.errors import StorageError

_FORMATS = ("z16", "jpeg", "bgr8", "y8")
_FOURCC = "mp4v"
_SAMPLES = 16
_DEFAULT_FPS = 30.0


def run(job: ExportJob) -> None:
    """Write every selected stream. Raises ConfigError or StorageError."""
    cameras = job.streams(_FORMATS)
    plan = [
        (stream, camera, job.chosen(stream.monotonic_ns()).tolist())
        for camera, streams in cameras.items()
        for stream in streams
    ]
    frames = sum(len(indices) for _, _, indices in plan)
    done = job.start(frames, selected=frames)
    for stream, camera, indices in plan:
        _write_stream(job, stream, job.folder(camera, cameras), indices, done)


def _write_stream(
    job: ExportJob, stream: RecordedStream, folder: Path, indices: list[int], done: Callable[[int], None]
) -> None:
    fps = stream.info.fps or stream.fps or _DEFAULT_FPS
    span = DEFAULT_RANGE
    if stream.info.pixel_format == "z16":
        span = _range_of(stream, indices)
        job.notes.append(f"{stream.name}: from {span.near_m:g} m (bright) to {span.far_m:g} m (dark)")
    video: _Video | None = None
    files = 0
    try:
        for _, frame in stream.frames(counted(indices, done)):
            picture = _picture(frame.data, stream, span)
            if video is None or video.shape != picture.shape:
                if video is not None:
                    video.close()
                suffix = f"-{files:03d}" if files else ""
                video = _Video(folder / f"{stream.info.name}{suffix}.mp4", picture.shape, fps)
                files += 1
            video.write(picture)
    finally:
        if video is not None:
            video.close()
    job.files += files


def _range_of(stream: RecordedStream, indices: list[int]) -> DepthRange:
    """One range for the whole video, from a few of its frames."""
    few = indices[:: max(1, len(indices) // _SAMPLES)]
    scale_m = stream.info.depth_scale_m or 0.001
    samples = [(np.asarray(frame.data, np.uint16), scale_m) for _, frame in stream.frames(few)]
    return follow(DEFAULT_RANGE, samples)


def _picture(
    data: npt.NDArray[np.generic], stream: RecordedStream, span: DepthRange
) -> npt.NDArray[np.uint8]:
    if stream.info.pixel_format == "z16":
        return colored(np.asarray(data, np.uint16), stream.info.depth_scale_m or 0.001, span)
    if data.ndim == 2:
        return np.asarray(cv2.cvtColor(np.asarray(data, np.uint8), cv2.COLOR_GRAY2BGR))
    return np.asarray(data, np.uint8)


class _Video:
    """One video file being written."""

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float) -> None:
        self.shape = shape
        self._path = path
        fourcc = cv2.VideoWriter.fourcc(*_FOURCC)
        self._writer = cv2.VideoWriter(str(path), fourcc, fps, (shape[1], shape[0]))
        if not self._writer.isOpened():
            raise StorageError(f"cannot write {path}: this OpenCV has no MPEG-4 encoder, or the disk refuses")

    def write(self, picture: npt.NDArray[np.uint8]) -> None:
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file; OpenCV says nothing of a disk that ran full, so look at what is there."""
        self._writer.release()
        try:
            empty = self._path.stat().st_size == 0
        except OSError as error:
            raise storage_error(self._path, error) from error
        if empty:
            raise StorageError(f"cannot write {self._path}: nothing arrived on the disk")
