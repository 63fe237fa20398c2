"""A recording as a camera: looks at what a path is and hands it to the source that can play it.

Knows file names, not formats. Each source is imported only when a path asks for it.
"""

from __future__ import annotations

from pathlib import Path

from capture.given_files import exists, given_path
from capture.sources import Source
from capture.specs import PlaybackSpec
from codec.errors import CameraNotFoundError, ConfigError

_BAG_SUFFIXES = (".bag", ".db3")
_RECORD_SUFFIX = ".nrig"
_VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mjpg", ".mjpeg", ".ts")
_ACCEPTED = (
    "a playback camera takes a RealSense recording (.bag, .db3), a camera folder of a session or one of its "
    ".nrig files, or a folder of depth PNGs (Open3D: depth/ and color/; TUM: depth.txt and rgb.txt)"
)


def open_playback(name: str, spec: PlaybackSpec) -> Source:
    """The source for that recording, not yet opened.

    Raises CameraNotFoundError where nothing is, ConfigError where it is nothing that can be played.
    """
    path = given_path(spec.path)
    if not exists(path):
        raise CameraNotFoundError(f"{name}: there is no recording {spec.path}")
    if path.is_dir():
        return _open_folder(name, path, spec)
    suffix = path.suffix.lower()
    if suffix in _BAG_SUFFIXES:
        from capture.sources._bag import BagSource

        return BagSource(name, spec)
    if suffix == _RECORD_SUFFIX:
        from capture.sources._recording import RecordingSource

        return RecordingSource(name, spec)
    if suffix in _VIDEO_SUFFIXES:
        raise ConfigError(
            f"{name}: {spec.path} is a video: play it with an opencv camera (device = the file)"
        )
    raise ConfigError(f"{name}: {spec.path} is no recording; {_ACCEPTED}")


def _open_folder(name: str, folder: Path, spec: PlaybackSpec) -> Source:
    if any(folder.glob(f"*{_RECORD_SUFFIX}")):
        from capture.sources._recording import RecordingSource

        return RecordingSource(name, spec)
    if (folder / "session.json").exists():
        cameras = sorted(child.name for child in folder.iterdir() if any(child.glob(f"*{_RECORD_SUFFIX}")))
        raise ConfigError(
            f"{name}: {spec.path} is a whole session; name one of its cameras: {', '.join(cameras) or 'none'}"
        )
    from capture.sources._png_folder import PngFolderSource
    from capture.sources._png_layout import holds_pngs

    if holds_pngs(folder):
        return PngFolderSource(name, spec)
    raise ConfigError(f"{name}: {spec.path} holds no recording; {_ACCEPTED}")
