"""What a verb may say on stderr: one line of ours where it fails, and its progress."""

from __future__ import annotations

from collections.abc import Iterator

# What libpng and libjpeg say of a damaged picture comes from C code within OpenCV and cannot be turned off.
_PICTURE_LIBRARIES = (
    "libpng ",
    "Corrupt JPEG data",
    "Premature end of JPEG",
    "Invalid SOS",
    "Unsupported marker",
    "Warning: unknown JFIF revision",
    "Inconsistent progression sequence",
    "Unknown Adobe color transform",
    "Application transferred too many scanlines",
)
_OURS = (
    "nightrig: ",
    "the native kernels are not built",
    "verify",
    "recover",
    "export",
    "recompress",
    "convert",
    "what an interrupted run",
)


def wrong_lines(told: str, code: int | None) -> Iterator[str]:
    """What should not stand there after that exit code (None: there is none)."""
    lines = [line for line in told.splitlines() if line.strip()]
    if "Traceback" in told:
        yield f"a traceback on stderr: {lines[-1][:160]}"
        return
    errors = [line for line in lines if line.startswith("nightrig: ")]
    if code in (1, 2) and len(errors) != 1:
        yield f"exit code {code} with {len(errors)} error lines"
    foreign = [line for line in lines if not line.startswith((*_OURS, *_PICTURE_LIBRARIES))]
    if foreign:
        yield f"on stderr: {foreign[0][:160]}"
    strange = [line for line in lines if line.startswith(_OURS) and not line.replace("\t", " ").isprintable()]
    if strange:
        yield f"on stderr: {strange[0][:160]!r}"
