"""Video files and network streams as cameras, through the OpenCV that is installed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from mjpeg_server import MjpegServer

from capture.frames import CameraInfo, Frame, StreamInfo
from capture.picture_headers import jpeg_size
from capture.sources import _cv_knock, _cv_live, _cv_pace, _cv_stream
from capture.sources._cv_address import parse_address
from capture.sources._cv_jpeg import trim_jpeg
from capture.sources._cv_knock import knock
from capture.sources._cv_live import LiveVideo
from capture.sources._cv_pace import Pacer
from capture.sources._cv_quiet import cv2
from capture.sources.opencv import OpenCVSource
from capture.specs import OpenCVSpec, StreamSpec
from codec.errors import (
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraProfileError,
    ConfigError,
    SourceEndedError,
)

WIDTH, HEIGHT, FPS = 160, 120, 30
BITS = 8


def burn(number: int) -> npt.NDArray[np.uint8]:
    """A picture that says its number in 8 fields, black or white; survives any codec."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        image[30:90, bit * 20 : bit * 20 + 20] = 235 if number >> bit & 1 else 16
    return image


def burnt_number(frame: Frame) -> int:
    image = frame.data if frame.data.ndim == 3 else cv2.imdecode(frame.data, cv2.IMREAD_COLOR)
    return sum(int(image[60, bit * 20 + 10].mean() > 128) << bit for bit in range(BITS))


def jpeg(number: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    image = cv2.resize(burn(number), (width, height))
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


def write_video(path: Path, count: int, fourcc: str) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(count):
        writer.write(burn(number))
    writer.release()
    return str(path)


def read_all(source: OpenCVSource, most: int = 10_000) -> list[Frame]:
    """Everything up to the end; the frames' data copied, since it is valid only until the next read."""
    frames: list[Frame] = []
    try:
        while len(frames) < most:
            for frame in source.read(5.0):
                copy = frame.data.copy()
                times = (frame.device_time_s, frame.clock, frame.monotonic_ns)
                frames.append(Frame(frame.stream, frame.number, copy, *times))
    except SourceEndedError:
        pass
    return frames


def drain(source: OpenCVSource, numbers: list[int]) -> None:
    """Read on and on, putting down the burnt numbers, until the source raises."""
    while True:
        numbers += [burnt_number(frame) for frame in source.read(1.0)]


def play(device: str, **settings: object) -> tuple[CameraInfo, list[Frame]]:
    source = OpenCVSource("cam", OpenCVSpec(device, **settings))  # type: ignore[arg-type]
    info = source.open()
    try:
        return info, read_all(source)
    finally:
        source.close()


# ---- files ----


@pytest.mark.parametrize(("name", "fourcc"), [("a.avi", "MJPG"), ("a.mkv", "MJPG"), ("a.mp4", "mp4v")])
def test_every_picture_of_a_file_comes_back_in_order_with_its_time(
    tmp_path: Path, name: str, fourcc: str
) -> None:
    info, frames = play(write_video(tmp_path / name, 60, fourcc), pace="fast")
    assert info.can_wait
    assert (info.streams[0].width, info.streams[0].height, info.streams[0].fps) == (WIDTH, HEIGHT, FPS)
    assert [frame.number for frame in frames] == list(range(60))
    assert [burnt_number(frame) for frame in frames] == list(range(60))
    assert [frame.device_time_s for frame in frames] == pytest.approx(np.arange(60) / FPS, abs=0.001)
    assert {frame.clock for frame in frames} == {"media"}


def test_motion_jpeg_files_are_passed_on_byte_for_byte_or_decoded_where_opencv_hides_their_times(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "a.avi", 10, "MJPG")
    info, frames = play(path, pace="fast")
    if info.streams[0].pixel_format == "bgr8":
        assert tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 10)
        return
    raw = Path(path).read_bytes()
    assert all(raw.count(frame.data.tobytes()) == 1 for frame in frames)
    info, frames = play(path, pace="fast", passthrough=False)
    assert info.streams[0].pixel_format == "bgr8"
    assert [burnt_number(frame) for frame in frames] == list(range(10))


def test_a_rate_in_the_spec_replaces_the_times_of_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12, "mp4v")
    info, frames = play(path, color=StreamSpec(fps=100.0))
    assert info.streams[0].fps == 100.0
    assert [frame.device_time_s for frame in frames] == pytest.approx(np.arange(12) / 100)


def test_a_picture_that_is_not_due_is_not_handed_out(tmp_path: Path) -> None:
    source = OpenCVSource(
        "cam", OpenCVSpec(write_video(tmp_path / "a.mp4", 3, "mp4v"), color=StreamSpec(fps=0.01))
    )
    source.open()
    assert [frame.number for frame in source.read(0.0)] == [0]
    assert source.read(0.0) == []
    assert source.read(0.01) == []
    source.close()


def test_a_loop_counts_numbers_and_times_on(tmp_path: Path) -> None:
    source = OpenCVSource(
        "cam", OpenCVSpec(write_video(tmp_path / "a.avi", 7, "MJPG"), pace="fast", loop=True)
    )
    source.open()
    frames = read_all(source, most=21)
    source.close()
    assert [frame.number for frame in frames] == list(range(21))
    assert [burnt_number(frame) for frame in frames] == list(range(7)) * 3
    assert [frame.device_time_s for frame in frames] == pytest.approx(np.arange(21) / FPS, abs=0.001)


def test_the_end_of_a_file_stays_the_end(tmp_path: Path) -> None:
    source = OpenCVSource("cam", OpenCVSpec(write_video(tmp_path / "a.mp4", 2, "mp4v"), pace="fast"))
    source.open()
    assert len(read_all(source)) == 2
    for _ in range(2):
        with pytest.raises(SourceEndedError, match="played to its end, 2 pictures"):
            source.read(0.0)
    source.close()
    source.close()
    source.open()
    assert len(read_all(source)) == 2
    source.close()


def test_a_file_that_breaks_off_is_not_a_normal_end(tmp_path: Path) -> None:
    whole = Path(write_video(tmp_path / "a.avi", 60, "MJPG")).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    source = OpenCVSource("cam", OpenCVSpec(str(tmp_path / "cut.avi"), pace="fast"))
    source.open()
    numbers: list[int] = []
    with pytest.raises(CameraProfileError, match=r"cut\.avi breaks off after \d+ of 60"):
        drain(source, numbers)
    source.close()
    assert len(numbers) > 20
    assert numbers == list(range(len(numbers)))


def test_a_damaged_file_gives_all_that_still_decodes_and_leaves_the_other_numbers_out(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    raw = bytearray(Path(write_video(path, 60, "MJPG")).read_bytes())
    middle = raw.index(b"\xff\xd8", len(raw) // 2)
    raw[middle : middle + 2] = b"\0\0"  # one picture is no JPEG any more
    path.write_bytes(raw)
    info, frames = play(str(path), pace="fast")
    if info.streams[0].pixel_format == "bgr8":
        pytest.skip("this OpenCV tells no times of raw packets, and its decoder makes up a damaged picture")
    assert len(frames) == 59
    assert [frame.number for frame in frames] == [burnt_number(frame) for frame in frames]


def test_what_is_no_video_is_named_and_explained(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video")
    good = write_video(tmp_path / "a.mp4", 2, "mp4v")
    cases = [
        (OpenCVSpec(str(tmp_path / "no.mp4")), CameraNotFoundError, r"there is no file .*no\.mp4"),
        (OpenCVSpec(str(tmp_path)), CameraProfileError, "is a folder"),
        (OpenCVSpec(str(tmp_path / "empty.mp4")), CameraProfileError, r"empty\.mp4 is empty"),
        (OpenCVSpec(str(tmp_path / "text.mp4")), CameraProfileError, r"text\.mp4 is not a video"),
        (OpenCVSpec(good, StreamSpec(640, 480)), CameraProfileError, "wished 640x480, the file has 160x120"),
        (OpenCVSpec(good, pace="slow"), ConfigError, "realtime, fast"),
    ]
    for spec, kind, words in cases:
        source = OpenCVSource("cam", spec)
        with pytest.raises(kind, match=words):
            source.open()
        source.close()


def test_reading_before_opening_is_an_error() -> None:
    with pytest.raises(CameraLostError, match="not open"):
        OpenCVSource("cam", OpenCVSpec("a.mp4")).read(0.0)


def test_deadlines_are_absolute_so_that_late_pictures_do_not_shift_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        slept.append(seconds)
        now_s += seconds + 0.01  # always late

    monkeypatch.setattr(_cv_pace.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(_cv_pace.time, "sleep", sleep)
    pacer = Pacer("realtime")
    assert pacer.wait(5.0, 1.0)  # the first one is due at once, whatever its stamp
    for index in range(1, 5):
        assert pacer.wait(5.0 + index / 10, 1.0)
    assert slept == pytest.approx([0.1, 0.09, 0.09, 0.09])
    assert not pacer.wait(7.0, 0.5)
    assert slept[-1] == 0.5


# ---- streams ----


def stream_spec(server: MjpegServer, path: str = "/video", **settings: object) -> OpenCVSpec:
    return OpenCVSpec(server.url(path), open_timeout_s=3.0, **settings)  # type: ignore[arg-type]


def collect(source: OpenCVSource, count: int) -> list[Frame]:
    frames: list[Frame] = []
    deadline_s = time.monotonic() + 20
    while len(frames) < count and time.monotonic() < deadline_s:
        frames += source.read(1.0)
    return frames


@pytest.mark.parametrize("lengths", [True, False])
def test_http_mjpeg_comes_through_byte_for_byte(lengths: bool) -> None:
    jpegs = [jpeg(number) for number in range(50)]
    with MjpegServer(jpegs, after="hold", lengths=lengths) as server:
        source = OpenCVSource("cam", stream_spec(server, color=StreamSpec(fps=15.0)))
        info = source.open()
        # Without lengths a picture ends where the next one begins: the last one stays open.
        frames = collect(source, 50 if lengths else 49)
        server.release()
        source.close()
    assert info.streams == (StreamInfo("color", "jpeg", WIDTH, HEIGHT, 15.0),)
    assert not info.can_wait
    assert [frame.data.tobytes() for frame in frames] == jpegs[: len(frames)]
    assert [frame.number for frame in frames] == list(range(50 if lengths else 49))
    assert all(np.diff([frame.monotonic_ns for frame in frames]) >= 0)
    assert {(frame.device_time_s, frame.clock) for frame in frames} == {(None, "")}


def test_without_passthrough_the_stream_is_decoded() -> None:
    with MjpegServer([jpeg(number) for number in range(20)], after="hold") as server:
        source = OpenCVSource("cam", stream_spec(server, passthrough=False))
        info = source.open()
        frames = collect(source, 15)  # the decoder keeps the last ones for its threads
        server.release()
        source.close()
    assert info.streams == (StreamInfo("color", "bgr8", WIDTH, HEIGHT, 0.0),)
    assert [burnt_number(frame) for frame in frames] == list(range(len(frames)))
    assert frames[0].data.shape == (HEIGHT, WIDTH, 3)


def test_a_stall_is_a_timeout_first_and_then_a_lost_camera() -> None:
    with MjpegServer([jpeg(number) for number in range(20)], after="hold") as server:
        source = OpenCVSource("cam", stream_spec(server, read_timeout_s=1.2))
        source.open()
        assert len(collect(source, 20)) == 20
        assert source.read(0.01) == []
        with pytest.raises(CameraLostError, match=r"1\.2 s"):
            collect(source, 1)
        with pytest.raises(CameraLostError):
            source.read(0.01)
        source.close()


def test_a_closed_connection_is_a_lost_camera_after_its_last_picture() -> None:
    jpegs = [jpeg(number) for number in range(20)]
    with MjpegServer(jpegs, after="hold") as server:
        source = OpenCVSource("cam", stream_spec(server))
        source.open()
        assert len(collect(source, 20)) == 20
        server.release()
        with pytest.raises(CameraLostError, match="closed the connection after 20 pictures"):
            collect(source, 1)
        source.close()
        source.close()


def test_a_picture_of_another_size_is_a_lost_camera_not_a_wrong_record() -> None:
    with MjpegServer([jpeg(1), jpeg(2), jpeg(3, 80, 60), jpeg(4)], after="hold") as server:
        source = OpenCVSource("cam", stream_spec(server))
        source.open()
        numbers: list[int] = []
        with pytest.raises(CameraLostError, match="from 160x120 to 80x60"):
            drain(source, numbers)
        source.close()
    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/missing", CameraNotFoundError, "404 .*check the path"),
        ("/private", CameraNotFoundError, "401 .*user:password@"),
        ("/busy", CameraNotFoundError, "503 .*another program"),
        ("/mute", CameraNotFoundError, "no picture came"),
        ("/page", CameraProfileError, "text/html, which is no video"),
    ],
)
def test_a_server_that_sends_no_video_is_explained(path: str, kind: type[CameraError], words: str) -> None:
    with MjpegServer([jpeg(0)]) as server:
        source = OpenCVSource("cam", stream_spec(server, path))
        with pytest.raises(kind, match=words):
            source.open()


def test_a_wish_that_a_stream_does_not_meet_names_both_sizes() -> None:
    with MjpegServer([jpeg(0), jpeg(1)], after="hold") as server:
        source = OpenCVSource("cam", stream_spec(server, color=StreamSpec(640, 480)))
        with pytest.raises(CameraProfileError, match="wished 640x480, given 160x120"):
            source.open()


def test_an_address_where_nobody_listens_is_not_found_and_keeps_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        spec = OpenCVSpec(f"http://me:hush@127.0.0.1:{port}/video?key=hush", open_timeout_s=2.0)
        with pytest.raises(CameraNotFoundError, match="cannot be reached") as caught:
            OpenCVSource("cam", spec).open()
        for url in (f"rtsp://me:hush@127.0.0.1:{port}/1", "http://me:hush@host:port/"):
            with pytest.raises(CameraNotFoundError) as other:
                OpenCVSource("cam", OpenCVSpec(url, open_timeout_s=2.0)).open()
            assert "hush" not in str(other.value)
    assert f"http://127.0.0.1:{port}/video" in str(caught.value)
    assert "hush" not in str(caught.value)


class _Host:
    """A host on the network that can be off: a question for a connection then gets no answer at all."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self._door.getsockname()[1]
        self._waiting: list[socket.socket] = []

    def off(self) -> None:
        for _ in range(4):  # the queue of those who knock is full
            self._waiting.append(socket.socket())
            self._waiting[-1].setblocking(False)
            self._waiting[-1].connect_ex(("127.0.0.1", self.port))

    def on(self) -> None:
        while self._waiting:
            self._waiting.pop().close()
        self._door.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                self._door.accept()[0].close()

    def close(self) -> None:
        for sock in (self._door, *self._waiting):
            sock.close()


@pytest.fixture
def host() -> Iterator[_Host]:
    host = _Host()
    yield host
    host.close()


def test_a_host_that_is_off_is_not_found_without_asking_ffmpeg(
    host: _Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cv_stream.cv2, "VideoCapture", _NeverOpened)
    host.off()
    spec = OpenCVSpec(f"rtsp://127.0.0.1:{host.port}/1", open_timeout_s=0.5)
    with pytest.raises(CameraNotFoundError, match="it does not answer"):
        OpenCVSource("cam", spec).open()


class _NeverOpened:
    def open(self, *_: object) -> bool:
        raise AssertionError("nobody is there")

    def release(self) -> None:
        pass


def test_a_host_that_comes_back_is_found_while_it_is_asked_for(
    host: _Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cv_knock, "_ASK_AGAIN_S", 0.2)  # below the second after which the system asks again
    host.off()
    back = threading.Timer(0.5, host.on)
    back.start()
    asked: list[float] = []
    connect = socket.create_connection

    def ask(place: tuple[str, int], wait_s: float) -> socket.socket:
        asked.append(wait_s)
        return connect(place, wait_s)

    monkeypatch.setattr(_cv_knock.socket, "create_connection", ask)
    knock("cam", parse_address(f"http://127.0.0.1:{host.port}/"), 30.0)
    back.join()
    assert len(asked) >= 3
    assert max(asked) <= 0.2


# ---- the thread between a live camera and its reader ----

INFO = CameraInfo("cam", "test", "test", (StreamInfo("color", "y8", 4, 4, 0.0),))


class ScriptedFeed:
    """Delivers the frames it is given, then does nothing, or raises, until it is let go."""

    def __init__(self, frames: list[Frame], *, then: Exception | None = None) -> None:
        self.frames = frames
        self.then = then
        self.delivered = threading.Event()
        self.go_on = threading.Event()
        self.hang_in_open = False
        self.closed = threading.Event()

    def open(self) -> CameraInfo:
        if self.hang_in_open:
            self.go_on.wait()
        return INFO

    def next(self) -> list[Frame]:
        if self.frames:
            return [self.frames.pop(0)]
        self.delivered.set()
        if self.then is not None:
            raise self.then
        self.go_on.wait(0.01)
        return []

    def close(self) -> None:
        self.closed.set()


def small_frame(number: int, side: int = 4) -> Frame:
    return Frame("color", number, np.zeros((side, side), np.uint8), None, "", 0)


def test_a_reader_that_stalls_finds_the_newest_64_frames_and_a_gap_in_the_numbers() -> None:
    feed = ScriptedFeed([small_frame(number) for number in range(100)])
    video = LiveVideo("cam", feed, open_timeout_s=5.0, read_timeout_s=60.0)
    video.open()
    assert feed.delivered.wait(10)
    assert [frame.number for frame in video.read(1.0)] == list(range(36, 100))
    assert video.read(0.0) == []
    video.close()
    assert feed.closed.is_set()


def test_what_waits_for_the_reader_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cv_live, "_KEPT_BYTES", 3 * 100)
    feed = ScriptedFeed([small_frame(number, side=10) for number in range(8)])
    video = LiveVideo("cam", feed, open_timeout_s=5.0, read_timeout_s=60.0)
    video.open()
    assert feed.delivered.wait(10)
    assert [frame.number for frame in video.read(1.0)] == [5, 6, 7]
    video.close()


def test_frames_that_came_before_a_loss_are_delivered_first() -> None:
    feed = ScriptedFeed([small_frame(0), small_frame(1)], then=CameraLostError("cam: gone"))
    video = LiveVideo("cam", feed, open_timeout_s=5.0, read_timeout_s=60.0)
    video.open()
    assert feed.closed.wait(10)
    assert [frame.number for frame in video.read(0.0)] == [0, 1]
    with pytest.raises(CameraLostError, match="gone"):
        video.read(0.0)
    video.close()


def test_an_unforeseen_error_in_the_thread_reaches_the_reader() -> None:
    feed = ScriptedFeed([], then=ZeroDivisionError("unforeseen"))
    video = LiveVideo("cam", feed, open_timeout_s=5.0, read_timeout_s=60.0)
    video.open()
    with pytest.raises(ZeroDivisionError):
        video.read(10.0)
    video.close()


def test_a_device_that_hangs_is_given_up_and_releases_itself_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cv_live, "_CLOSE_WAIT_S", 0.05)
    feed = ScriptedFeed([])
    feed.hang_in_open = True
    video = LiveVideo("cam", feed, open_timeout_s=0.1, read_timeout_s=1.0)
    with pytest.raises(CameraLostError, match="no picture came"):
        video.open()
    video.close()
    assert not feed.closed.is_set()
    feed.go_on.set()
    assert feed.closed.wait(10)


# ---- spelling ----


def test_addresses_are_told_apart_by_their_spelling(tmp_path: Path) -> None:
    video = str(tmp_path / "a.mp4")
    assert parse_address("0").target == "/dev/video0"
    assert parse_address("/dev/v4l/by-id/usb-x").kind == "webcam"
    assert parse_address("rtsp://me:hush@host/1?token=hush").shown == "rtsp://host/1"
    assert parse_address("udp://127.0.0.1:5000").kind == "stream"
    assert (parse_address(video).kind, parse_address(video).target) == ("file", video)
    assert parse_address(f"file://{video}").target == video


def test_a_jpeg_is_trimmed_to_its_end_and_never_inside() -> None:
    whole = np.frombuffer(jpeg(5), np.uint8)
    padded = np.concatenate([whole, np.zeros(1000, np.uint8)])
    assert bytes(trim_jpeg(whole)) == bytes(whole)  # type: ignore[arg-type]
    assert bytes(trim_jpeg(padded)) == bytes(whole)  # type: ignore[arg-type]
    assert trim_jpeg(whole[:-2]) is None
    assert trim_jpeg(padded[2:]) is None
    assert jpeg_size(whole) == (WIDTH, HEIGHT)
    for length in range(0, 700, 7):  # a header may break off anywhere
        assert jpeg_size(whole[:length]) in (None, (WIDTH, HEIGHT))


def test_what_has_a_scheme_and_is_no_address_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"http://\[ is no address"):
        parse_address("http://[")
    assert parse_address("9" * 5000).kind == "file"
