"""Our own recordings played back as cameras: the same frames, numbers and times, recorded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.player import Player
from capture.recording import Recording
from capture.sources._recording import RecordingSource
from capture.specs import PlaybackSpec
from codec import DepthWriter
from codec.errors import CameraNotFoundError, ConfigError, SourceEndedError
from tests.capture.rigs import record, small_rig


def _play(source: RecordingSource) -> list[tuple[str, int, float | None, bytes]]:
    found = []
    try:
        while True:
            found += [(f.stream, f.number, f.device_time_s, f.data.tobytes()) for f in source.read(1.0)]
    except SourceEndedError:
        return found


def _depth_file(path: Path, count: int = 10) -> Path:
    with DepthWriter(path, width=16, height=8, depth_scale_m=0.0001, fps=1000.0) as writer:
        for n in range(count):
            stamp = {"device_time_s": n / 1000, "monotonic_ns": 1_000_000 * n}
            writer.append(np.full((8, 16), n, np.uint16), number=100 + n, **stamp)
    return path


def test_a_session_recorded_again_from_its_own_files_is_the_same(tmp_path: Path) -> None:
    code, account, err = record(small_rig(tmp_path, cameras=1), tmp_path / "one", "--duration", "1")
    assert code == 0, err
    folder = Path(account["session"]) / "cam0"
    rig = tmp_path / "again.toml"
    rig.write_text(
        "preview = false\nqueue_mb = 32\n[record]\nreserve_mb = 1\n[[cameras]]\n"
        f'name = "again"\nsource = "playback"\npath = "{folder}"\npace = "fast"\n'
    )
    code, account, err = record(rig, tmp_path / "two")
    assert code == 0, err
    with Recording(folder) as first, Recording(Path(account["session"])) as second:
        assert {name.split("/")[1] for name in second.streams} == {"depth", "color"}
        for name, stream in second.streams.items():
            original = first.streams["cam0/" + name.split("/")[1]]
            assert len(stream) == len(original) > 20
            for a, b in zip(original, stream, strict=True):
                assert (a.number, a.device_time_s, a.meta) == (b.number, b.device_time_s, b.meta)
                np.testing.assert_array_equal(a.data, b.data)


def test_single_file_plays_with_its_numbers_and_times_and_ends(tmp_path: Path) -> None:
    source = RecordingSource("c", PlaybackSpec(str(_depth_file(tmp_path / "d.nrig")), pace="fast"))
    info = source.open()
    assert info.can_wait
    assert info.streams[0].depth_scale_m == pytest.approx(0.0001)
    found = _play(source)
    source.close()
    assert [(number, time_s) for _, number, time_s, _ in found] == [(100 + n, n / 1000) for n in range(10)]


def test_loop_goes_on_with_numbers_and_times(tmp_path: Path) -> None:
    source = RecordingSource(
        "c", PlaybackSpec(str(_depth_file(tmp_path / "d.nrig", 3)), pace="fast", loop=True)
    )
    source.open()
    frames = [source.read(1.0)[0] for _ in range(7)]
    source.close()
    assert [frame.number for frame in frames] == list(range(100, 107))
    times = [frame.device_time_s or 0.0 for frame in frames]
    assert times == pytest.approx([0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006])


def test_damaged_frame_is_a_hole_in_the_numbers(tmp_path: Path) -> None:
    path = _depth_file(tmp_path / "d.nrig")
    with Recording(path) as recording:
        offset = next(iter(recording.streams.values())).record(4).offset
    data = bytearray(path.read_bytes())
    data[offset + 70] ^= 255
    path.write_bytes(data)
    source = RecordingSource("c", PlaybackSpec(str(path), pace="fast"))
    source.open()
    assert [number for _, number, _, _ in _play(source)] == [n for n in range(100, 110) if n != 104]
    source.close()


def test_whole_session_of_two_cameras_is_refused_with_their_names(tmp_path: Path) -> None:
    for camera in ("left", "right"):
        (tmp_path / camera).mkdir()
        _depth_file(tmp_path / camera / "000.nrig")
    source = RecordingSource("c", PlaybackSpec(str(tmp_path)))
    with pytest.raises(ConfigError, match="left, right"):
        source.open()


def test_file_that_is_not_ours_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "x.nrig"
    path.write_bytes(b"not a recording" * 10)
    with pytest.raises(CameraNotFoundError, match="not a nightrig recording"):
        RecordingSource("c", PlaybackSpec(str(path))).open()


@pytest.mark.filterwarnings("error")
def test_times_at_the_ends_of_64_bits_play(tmp_path: Path) -> None:
    path = tmp_path / "d.nrig"
    with DepthWriter(path, width=16, height=8, depth_scale_m=0.001) as writer:
        for monotonic_ns in (-(2**63), 0, 2**63 - 1):
            writer.append(np.zeros((8, 16), np.uint16), monotonic_ns=monotonic_ns)
    source = RecordingSource("c", PlaybackSpec(str(path), pace="fast"))
    source.open()
    assert [number for _, number, _, _ in _play(source)] == [0, 1, 2]
    with Recording(path) as recording:
        player = Player(recording)
        player.advance(1e9)
        player.step(-1)
        (depth,) = recording.streams.values()
        assert [depth.index_at(at) for at in (-(10**30), -1, 0, 2**63 - 1, 10**30)] == [-1, 0, 1, 2, 2]
