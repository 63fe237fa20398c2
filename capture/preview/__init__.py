"""The preview process: what the rig sees now, in a window. An observer: it can slow nothing down."""

from __future__ import annotations

from capture.preview.job import PreviewJob

__all__ = ["PreviewJob"]
