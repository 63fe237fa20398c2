"""Options of a source out of a rig file, held against the keyword arguments that its class takes.

The class is the one list of what there is: names, types and defaults are read from its signature.
"""

from __future__ import annotations

import difflib
import inspect
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codec.errors import ConfigError

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a file name"}


def checked_options(kind: str, make: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as keyword arguments for the class `make`, numbers and paths as it wants them.

    Raises ConfigError for one that it does not take, one that it needs and one of another type. `WAYS_OUT` of
    the class says where to get one that it needs.
    """
    parameters = inspect.signature(make).parameters
    hints = typing.get_type_hints(make.__dict__["__init__"])
    for name in options:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, 1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(parameters) or 'none'}"
            raise ConfigError(f"key point source {kind}: there is no option {name}; {hint}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in options:
            way_out = getattr(make, "WAYS_OUT", {}).get(name)
            told = f"option {name} is missing, {_words(hints[name])}{f'; {way_out}' if way_out else ''}"
            raise ConfigError(f"key point source {kind}: {told}")
    return {name: _fitting(kind, name, value, hints[name]) for name, value in options.items()}


def _fitting(kind: str, name: str, value: Any, hint: Any) -> Any:
    for each in _kinds(hint):
        if each is types.NoneType and value is None:
            return None
        if each is Path and isinstance(value, str | os.PathLike):
            return Path(value).expanduser()
        if each is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if each is int and isinstance(value, bool):  # true is a number to Python, not to people
            continue
        if isinstance(each, type) and isinstance(value, each):
            return value
    raise ConfigError(f"key point source {kind}: {name} = {value!r} is not {_words(hint)}")


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _words(hint: Any) -> str:
    return " or ".join(
        _WORDS.get(each, getattr(each, "__name__", str(each)))
        for each in _kinds(hint)
        if each is not types.NoneType
    )
