"""Options of an estimator out of a rig file, held against what it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from codec.errors import EstimatorError


def checked_options(
    name: str, options: Mapping[str, object], defaults: Mapping[str, object]
) -> dict[str, Any]:
    """All options, with defaults for those that are not given; each is of the type of its default, and whole
    numbers do where that is one with a point. Raises EstimatorError."""
    for key in options:
        if key not in defaults:
            raise EstimatorError(f"estimator {name}: no option {key}; it has {', '.join(defaults)}")
    found: dict[str, Any] = {**defaults, **options}
    for key, default in defaults.items():
        value = found[key]
        if type(default) is float and type(value) is int:
            value = found[key] = float(value)
        if type(value) is not type(default) or (type(value) is float and not math.isfinite(value)):
            raise EstimatorError(f"estimator {name}: {key} = {value!r} should be like {default!r}")
    return found
