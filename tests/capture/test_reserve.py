"""How much of the disk stays free: a number as it is, or a minute of recording."""

from __future__ import annotations

from capture.reserve import Reserve, reserve_bytes

MB, GB = 1 << 20, 1 << 30


def test_reserve_is_a_gib_or_a_minute_of_recording_whichever_is_more() -> None:
    assert reserve_bytes("auto") == GB
    assert reserve_bytes("auto", rate=17.0 * MB) == GB
    assert reserve_bytes("auto", rate=100.0 * MB) == 6000 * MB
    assert reserve_bytes(256.0, rate=100.0 * MB) == 256 * MB
    assert reserve_bytes(0.0) == 0


def test_reserve_follows_the_rate_slowly_and_a_burst_hardly_moves_it() -> None:
    reserve = Reserve("auto")
    for _ in range(120):
        reserve.note_rate(50.0 * MB)
    assert abs(reserve.bytes - 3000 * MB) < MB
    reserve.note_rate(500.0 * MB)  # a queue that was drained
    assert reserve.bytes < 3500 * MB
    for _ in range(600):
        reserve.note_rate(0.0)
    assert reserve.bytes == GB


def test_recording_stops_at_the_reserve_and_goes_on_only_with_clearly_more_room() -> None:
    reserve = Reserve(1024.0)
    reserve.look(GB + 1)
    assert reserve.usable_bytes == 1
    reserve.look(GB)
    assert reserve.usable_bytes == 0
    reserve.look(GB + 32 * MB)  # a log file was rotated: not worth beginning for
    assert reserve.usable_bytes == 0
    reserve.look(GB + 65 * MB)
    assert reserve.usable_bytes == 65 * MB
    reserve.look(GB + MB)
    assert reserve.usable_bytes == MB


def test_what_would_have_to_go_leaves_room_to_go_on_with() -> None:
    reserve = Reserve(1024.0)
    reserve.note_rate(10.0 * MB)
    for free in (0, GB - 1, GB, GB + 100 * MB):
        reserve.look(free)
        lacking = reserve.lacking_bytes
        assert lacking > 0
        reserve.look(free + lacking)
        assert reserve.usable_bytes > 0
        assert reserve.lacking_bytes == 0
    reserve.look(GB + 115 * MB)
    assert reserve.lacking_bytes == 0


def test_without_a_reserve_only_the_disk_itself_ends_it() -> None:
    reserve = Reserve(0.0)
    reserve.look(1)
    assert reserve.usable_bytes == 1
    reserve.look(0)
    assert reserve.usable_bytes == 0
