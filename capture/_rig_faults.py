"""What is wrong with a rig file, in one line: the key, what is wrong, and the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from capture._rig import Estimator, Record, Rig
from capture._rig_cameras import SOURCES, Stream

_SHOWN_CHARACTERS = 60


def explain(faults: Sequence[Any], data: dict[str, Any]) -> str:
    """One line for the first thing that is wrong: the key, what is wrong, and the nearest right one."""
    error, location = faults[0], _location(faults[0])
    key = ".".join(str(part) for part in location) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], data)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
        return f"unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"the key {key!r} is missing"
    if error["type"].startswith("union_tag"):
        given = error.get("input") or {}
        tag = given.get("source") if isinstance(given, dict) else None
        near = difflib.get_close_matches(str(tag), SOURCES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}.source is {tag!r}; {hint}known sources are {', '.join(SOURCES)}"
    if error["type"] == "tuple_type" and key in ("cameras", "estimators"):
        return f"{key} must be a list of tables: write [[{key}]] above each"
    message = str(error["msg"]).removeprefix("Value error, ")
    # A value that is none of two things: a number, or one of a few words.
    words = [
        f["ctx"]["expected"]
        for f in faults[1:]
        if _location(f) == location and "expected" in f.get("ctx", {})
    ]
    told = " or ".join([message, *words])
    return f"{key} = {_shortened(repr(error['input']))}: {told}" if location else told


def _location(error: Any) -> Sequence[str | int]:
    """Where in the file: without what pydantic calls the members of a union."""
    members = ("constrained-", "literal[")
    parts = [part for part in error["loc"] if part not in SOURCES]
    return [part for part in parts if not (isinstance(part, str) and part.startswith(members))]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _known_keys(location: Sequence[str | int], data: dict[str, Any]) -> list[str]:
    """The keys that the table at `location` may have."""
    model: type[BaseModel] = Rig
    value: Any = data
    for part in location:
        value = _member(value, part)
        if part == "record":
            model = Record
        elif part == "estimators":
            model = Estimator
        elif part in ("depth", "color", "infrared"):
            model = Stream
        elif isinstance(value, dict) and str(value.get("source")) in SOURCES:
            model = SOURCES[str(value["source"])]
    return list(model.model_fields)


def _member(value: Any, part: Any) -> Any:
    return value[part] if isinstance(value, (dict, list)) else {}
