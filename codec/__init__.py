"""Bytes and arrays: record files, depth codecs, mesh files. Usable as a library without the service.

from codec import DepthReader, DepthWriter
"""

from __future__ import annotations

from codec.depth_file import DepthFrame, DepthGap, DepthReader, DepthWriter

__all__ = ["DepthFrame", "DepthGap", "DepthReader", "DepthWriter"]
