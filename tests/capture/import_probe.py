"""Entry of a child that says which of some modules an import drags in."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from capture.spawn import Link


def run(job: dict[str, Any], link: Link) -> int:
    import_module(job["module"])
    link.event("imported", modules=[name for name in job["forbidden"] if name in sys.modules])
    return 0
