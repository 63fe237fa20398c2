"""Whatever a failing test leaves running is ended with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.capture import rigs


@pytest.fixture(autouse=True)
def _no_recording_outlives_its_test() -> Iterator[None]:
    yield
    while rigs.running:
        rigs.running.pop().__exit__()
