"""A module in mediapipe's place that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

Joints = list[tuple[float, float, float]]


@dataclass
class Pretended:
    """`people` are 33 shares and visibilities each; `asked` is (mode, time in ms, picture) of each call."""

    people: list[Joints] = field(default_factory=list)
    world: list[tuple[float, float, float]] = field(default_factory=lambda: [(0.1, 0.2, 0.3)] * 33)
    asked: list[tuple[str, int | None, np.ndarray]] = field(default_factory=list)
    options: list[types.SimpleNamespace] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    on_create: Callable[[], None] = lambda: None
    on_detect: Callable[[], None] = lambda: None

    def answer(self) -> types.SimpleNamespace:
        self.on_detect()
        return types.SimpleNamespace(
            pose_landmarks=[
                [types.SimpleNamespace(x=x, y=y, visibility=v) for x, y, v in joints]
                for joints in self.people
            ],
            pose_world_landmarks=[
                [types.SimpleNamespace(x=x, y=y, z=z) for x, y, z in self.world] for _ in self.people
            ],
        )


def install(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """Put one into sys.modules for the time of a test."""
    told = Pretended()
    # What loading it does to the environment ends with the test: pip would find no proxy in the next one.
    for variable in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, os.environ.get(variable, ""))

    class Landmarker:
        def __init__(self, mode: str) -> None:
            self._mode = mode
            self._last_ms = -1

        @classmethod
        def create_from_options(cls, options: Any) -> Landmarker:
            os.write(2, b"INFO: noise of the library\n")
            told.on_create()
            told.options.append(options)
            return cls(options.running_mode)

        def detect(self, image: Any) -> Any:
            assert self._mode == "IMAGE"
            told.asked.append(("IMAGE", None, image.data))
            return told.answer()

        def detect_for_video(self, image: Any, time_ms: int) -> Any:
            assert self._mode == "VIDEO"
            if time_ms <= self._last_ms:
                raise ValueError("Input timestamp must be monotonically increasing.")
            self._last_ms = time_ms
            os.write(2, b"W0000 more noise\n")
            told.asked.append(("VIDEO", time_ms, image.data))
            return told.answer()

        def close(self) -> None:
            os.write(2, b"INFO: noise at the end\n")
            told.closed.append(self._mode)

    module: Any = types.ModuleType("mediapipe")
    module.Image = types.SimpleNamespace
    module.ImageFormat = types.SimpleNamespace(SRGB=1)
    vision = types.SimpleNamespace(
        PoseLandmarker=Landmarker,
        PoseLandmarkerOptions=types.SimpleNamespace,
        RunningMode={"VIDEO": "VIDEO", "IMAGE": "IMAGE"},
    )
    module.tasks = types.SimpleNamespace(vision=vision, BaseOptions=types.SimpleNamespace)
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    return told
