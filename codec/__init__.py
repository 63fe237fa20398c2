"""Bytes and arrays: record files, depth codecs, mesh files. Usable as a library without the service.

    from codec import DepthReader, DepthWriter

The names are loaded when they are first asked for: a process that wants only `codec.errors` does not pay
for the codecs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.depth_file import DepthFrame, DepthGap, DepthReader, DepthWriter

__all__ = ["DepthFrame", "DepthGap", "DepthReader", "DepthWriter"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from codec import depth_file

        return getattr(depth_file, name)
    raise AttributeError(f"module 'codec' has no attribute {name!r}")
