"""A child that talks all night does not fill a log file, and nothing that it said goes uncounted."""

from __future__ import annotations

import re

from capture._voice import Voice


def test_a_traceback_is_passed_on_whole() -> None:
    said = b"Traceback (most recent call last):\n" * 100
    assert Voice("cam0", _filled_s=0.0).within_bounds(said, 0.0) == said


def test_a_driver_that_complains_about_every_frame_is_bounded_and_counted() -> None:
    voice = Voice("cam0", _filled_s=0.0)
    line = b"frame dropped!\n"
    count = 30 * 36_000
    passed = b"".join(voice.within_bounds(line, number / 30) for number in range(count))
    assert len(passed) < 2_000_000
    words = re.findall(rb"\n\[cam0 said ([0-9]+) bytes more\]\n", passed)
    told = sum(len(word) + len(b"\n[cam0 said  bytes more]\n") for word in words)
    held_back = sum(map(int, words)) + voice._held_back_bytes
    assert len(passed) - told + held_back == count * len(line)
