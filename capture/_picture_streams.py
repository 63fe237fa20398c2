"""Which streams of a recording a window can show. Loads no OpenCV: the display has to be opened first."""

from __future__ import annotations

from difflib import get_close_matches

from capture.recording import RecordedStream, Recording
from codec.errors import ConfigError

_FORMATS = ("z16", "jpeg", "bgr8", "y8")


def picture_streams(recording: Recording, camera: str | None) -> list[RecordedStream]:
    """Those with pictures (of one camera, if named). Raises ConfigError where there is nothing to show."""
    pictures = [s for s in recording.streams.values() if s.info.pixel_format in _FORMATS and len(s)]
    if not pictures:
        raise ConfigError(f"{recording.path} has no pictures to show")
    if camera is None:
        return pictures
    chosen = [stream for stream in pictures if stream.name.rpartition("/")[0] == camera]
    if not chosen:
        known = list(dict.fromkeys(stream.name.rpartition("/")[0] for stream in pictures))
        near = get_close_matches(camera, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        raise ConfigError(f"--camera {camera}: no such camera in {recording.path}; {hint}")
    return chosen
