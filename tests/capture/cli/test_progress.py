"""The bar and its plain lines: alive while nothing gets done, silent once closed, and never in the way."""

from __future__ import annotations

import io
import time

import pytest

from capture.cli import _progress
from capture.cli._progress import Progress, duration


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Gone(_Terminal):
    def write(self, _: str) -> int:
        raise OSError("the terminal was closed")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens every half second or every ten happens fifty times a second."""
    monkeypatch.setattr(_progress, "_REDRAWN_S", 0.02)
    monkeypatch.setattr(_progress, "_PLAIN_EVERY_S", 0.02)


def _wait_for(stream: io.StringIO, text: str) -> None:
    end_s = time.monotonic() + 10
    while text not in stream.getvalue():
        assert time.monotonic() < end_s, stream.getvalue()
        time.sleep(0.005)


def test_bar_is_there_before_anything_is_done() -> None:
    terminal = _Terminal()
    with Progress("verify", 10, unit="frames", stream=terminal):
        assert "0 of 10 frames" in terminal.getvalue()


def test_clock_of_the_bar_goes_on_while_nothing_gets_done(hasty: None) -> None:
    terminal = _Terminal()
    with Progress("verify", 10, unit="frames", stream=terminal):
        _wait_for(terminal, "0:00:01 so far")


def test_through_a_pipe_there_is_a_plain_line_now_and_then(hasty: None) -> None:
    pipe = io.StringIO()
    with Progress("verify", 2000, unit="B", stream=pipe) as progress:
        progress(500)
        _wait_for(pipe, "\n")
    assert pipe.getvalue().startswith("verify: 25 %  500 B of 2 kB, ")
    assert "\r" not in pipe.getvalue()


def test_what_is_short_says_nothing_through_a_pipe() -> None:
    pipe = io.StringIO()
    with Progress("verify", 2000, unit="B", stream=pipe) as progress:
        progress(2000)
    assert pipe.getvalue() == ""


@pytest.mark.parametrize("stream_type", [_Terminal, io.StringIO])
def test_nothing_is_printed_once_it_is_closed(hasty: None, stream_type: type[io.StringIO]) -> None:
    stream = stream_type()
    progress = Progress("verify", 10, unit="frames", stream=stream)
    progress.close()
    before = stream.getvalue()
    progress(1)
    progress.say("too late")
    time.sleep(0.1)
    progress.close()
    assert stream.getvalue() == before


@pytest.mark.parametrize("stream_type", [_Terminal, io.StringIO])
def test_a_line_that_is_said_stays_above_the_bar(stream_type: type[io.StringIO]) -> None:
    stream = stream_type()
    with Progress("verify", 10, unit="frames", stream=stream) as progress:
        progress.say("stopping")
    assert [line.split("\r")[-1] for line in stream.getvalue().split("\n")] == ["stopping", ""]


def test_terminal_that_is_gone_does_not_stop_the_work(hasty: None) -> None:
    with Progress("verify", 10, unit="frames", stream=_Gone()) as progress:
        progress(1)
        progress.say("nobody reads this")


def test_time_left_may_come_from_whoever_knows_better() -> None:
    terminal = _Terminal()
    with Progress("recompress", 10, unit="frames", left_s=lambda: 3661.0, stream=terminal):
        assert "1:01:01 left" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (90, "90 seconds"),
        (150, "2 minutes"),
        (7000, "117 minutes"),
        (2.6 * 86400, "3 days"),
        (47 * 3600, "47 hours"),
    ],
)
def test_an_estimate_is_told_in_round_numbers(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_nothing_counts_is_said_instead_of_a_time_left() -> None:
    terminal = _Terminal()
    with Progress("convert", 10, unit="frames", stream=terminal) as progress:
        time.sleep(0.01)
        progress(5)
        progress.stage("fitting a model")
        assert terminal.getvalue().rstrip().endswith("so far, fitting a model")
        progress.stage("")
        assert terminal.getvalue().rstrip().endswith("left")
