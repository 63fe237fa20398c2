"""Rig files: what is right becomes plain specs, what is wrong is one line with the key and the way out."""

from __future__ import annotations

import json
import pickle
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capture import config
from capture._rig_cameras import SOURCES
from capture.config import SHIPPED, LoadedRig, Rig, find_rig, load_rig
from capture.specs import (
    CameraSpec,
    EstimatorSpec,
    OpenCVSpec,
    PlaybackSpec,
    RealSenseSpec,
    SimulatedSpec,
    StreamSpec,
)
from codec.errors import ConfigError

CAMERA = '[[cameras]]\nname = "front"\nsource = "simulated"\n'
SHIPPED_RIGS = sorted({path for folder in SHIPPED for path in folder.glob("*.toml")})


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Writes text (or bytes) into a rig file and loads it."""

    def load(text: str | bytes) -> Rig:
        path = tmp_path / "rig.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_rig(str(path)).rig

    return load


def refusal(load: Any, text: str | bytes) -> str:
    """The message for a wrong rig file: one line that names the file."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    message = str(caught.value)
    assert "\n" not in message
    assert "rig.toml" in message
    return message


# ---- what is right ----


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("reserve_mb = -1", "record.reserve_mb = -1: Input should be greater than or equal to 0 or 'auto'"),
        ("reserve_mb = 'all'", "record.reserve_mb = 'all': Input should be a valid number"),
        ("when_full = 'delete'", "record.when_full = 'delete': Input should be 'stop' or 'delete-oldest'"),
        ("sync_mb = 0", "record.sync_mb = 0: Input should be greater than 0"),
    ],
)
def test_what_the_disk_is_to_keep_free_is_checked(load: Any, line: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"[record]\n{line}\n{CAMERA}")
    assert told in str(caught.value)


def test_smallest_rig_has_sensible_defaults(load: Any) -> None:
    rig = load(CAMERA)
    assert (rig.name, rig.queue_mb, rig.duration_s, rig.preview) == ("rig", 256.0, None, True)
    assert rig.record.model_dump() == {
        "root": "recordings",
        "codec": "lattice-lz4",
        "near_bound_subpixels": 2.5,
        "jpeg_quality": 90,
        "mesh_codec": "bodycompress",
        "mesh_preset": "auto",
        "sync_s": 0.5,
        "segment_s": 600.0,
        "segment_mb": 2048.0,
        "sync_mb": 8.0,
        "reserve_mb": "auto",
        "when_full": "stop",
        "threads": 0,
    }
    assert rig.camera_specs() == (CameraSpec("front", SimulatedSpec()),)
    assert rig.estimator_specs() == ()


def test_every_source_becomes_its_spec(load: Any) -> None:
    rig = load("""
        [[cameras]]
        name = "a"
        source = "realsense"
        serial = "828112071102"
        depth = { width = 848, height = 480, fps = 30 }
        infrared = { fps = 15 }
        infrared_sensors = [1, 2]
        visual_preset = "High Accuracy"
        options = { laser_power = 150 }
        color_options = { exposure = 156.5 }
        decimation = 2
        world_from_camera = [[1, 0, 0, 0], [0, 1, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]]
        restart_max_s = 30
        stall_s = 2.5

        [[cameras]]
        name = "b"
        source = "opencv"
        device = 2
        color = { width = 1280, height = 720 }
        pace = "fast"
        loop = true
        passthrough = false

        [[cameras]]
        name = "c"
        source = "playback"
        path = "elsewhere/front"
        fps = 10

        [[cameras]]
        name = "d"
        source = "simulated"
        seed = 5
        """)
    world = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.5), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    realsense = RealSenseSpec(
        serial="828112071102",
        depth=StreamSpec(848, 480, 30.0),
        infrared=StreamSpec(fps=15.0),
        infrared_sensors=(1, 2),
        visual_preset="High Accuracy",
        options={"laser_power": 150.0},
        color_options={"exposure": 156.5},
        decimation=2,
    )
    opencv = OpenCVSpec("2", StreamSpec(1280, 720), "fast", True, False)
    assert rig.camera_specs() == (
        CameraSpec("a", realsense, world, 30.0, 2.5),
        CameraSpec("b", opencv),
        CameraSpec("c", PlaybackSpec("elsewhere/front", fps=10.0)),
        CameraSpec("d", SimulatedSpec(seed=5)),
    )


def test_realsense_without_streams_records_depth(load: Any) -> None:
    (spec,) = load('[[cameras]]\nname = "a"\nsource = "realsense"').camera_specs()
    assert (spec.source.depth, spec.source.color) == (StreamSpec(), None)
    (spec,) = load('[[cameras]]\nname = "a"\nsource = "realsense"\ncolor = {}').camera_specs()
    assert (spec.source.depth, spec.source.color) == (None, StreamSpec())


def test_recover_command_of_the_rig_is_every_cameras_that_has_none_of_its_own(load: Any) -> None:
    own = CAMERA.replace("front", "side") + 'recover_command = ["reset", "side"]\nrecover_after = 3\n'
    none = CAMERA.replace("front", "back") + "recover_command = []\n"
    specs = load('recover_command = ["reset", "all"]\n' + CAMERA + own + none).camera_specs()
    assert [(spec.recover_command, spec.recover_after) for spec in specs] == [
        (("reset", "all"), 5),
        (("reset", "side"), 3),
        ((), 5),
    ]


def test_simulated_cameras_stand_around_the_room_together(load: Any) -> None:
    names = "abc"
    text = "".join(f'[[cameras]]\nname = "{name}"\nsource = "simulated"\n' for name in names)
    text += '[[cameras]]\nname = "web"\nsource = "opencv"\n'
    specs = load(text).camera_specs()
    assert [(spec.source.index, spec.source.count) for spec in specs[:3]] == [(0, 3), (1, 3), (2, 3)]
    (spec,) = load(CAMERA + "index = 7").camera_specs()
    assert spec.source.index == 7


def test_estimator_without_cameras_looks_at_all_and_is_called_by_its_kind(load: Any) -> None:
    text = CAMERA + CAMERA.replace("front", "side")
    text += '[[estimators]]\nkind = "truth"\n'
    text += '[[estimators]]\nkind = "stereo"\nname = "near"\ncameras = ["side"]\noptions = { scale = 2 }\n'
    assert load(text).estimator_specs() == (
        EstimatorSpec("truth", "truth", ("front", "side")),
        EstimatorSpec("near", "stereo", ("side",), {"scale": 2}),
    )


@pytest.mark.parametrize("path", SHIPPED_RIGS, ids=lambda path: path.stem)
def test_every_shipped_rig_loads_by_path_and_by_name(path: Path) -> None:
    by_path, by_name = load_rig(str(path)), load_rig(path.stem)
    assert by_path == by_name
    assert isinstance(by_path, LoadedRig)
    specs = by_path.rig.camera_specs(), by_path.rig.estimator_specs()
    assert pickle.loads(pickle.dumps(specs)) == specs
    json.dumps(by_path.rig.model_dump(mode="json"))


def test_demo_is_what_it_is_said_to_be() -> None:
    rig = load_rig("demo").rig
    assert rig.duration_s == 10
    assert [spec.source.depth for spec in rig.camera_specs()] == [StreamSpec(848, 480, 30.0)] * 2
    assert [spec.kind for spec in rig.estimator_specs()] == ["body"]


def test_a_file_of_that_name_is_preferred_to_a_shipped_rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text('name = "mine"\n' + CAMERA)
    assert load_rig("demo").rig.name == "mine"


def test_mark_that_some_editors_put_in_front_is_passed_over(load: Any) -> None:
    assert load(b"\xef\xbb\xbf" + CAMERA.encode()).name == "rig"


def test_files_named_in_a_rig_are_looked_for_beside_it_first(tmp_path: Path, load: Any) -> None:
    (tmp_path / "video.mp4").touch()
    (tmp_path / "cal.json").touch()
    text = '[[cameras]]\nname = "a"\nsource = "opencv"\ndevice = "video.mp4"\n'
    text += '[[cameras]]\nname = "b"\nsource = "playback"\npath = "elsewhere"\n'
    text += '[[estimators]]\nkind = "stereo"\noptions = { calibration = "cal.json" }\n'
    text += '[[estimators]]\nkind = "nlf"\noptions = { model = "cal.json", body_model = "elsewhere" }\n'
    rig = load(text)
    assert rig.cameras[0].device == str(tmp_path / "video.mp4")
    assert rig.cameras[1].path == "elsewhere"
    assert rig.estimators[0].options == {"calibration": str(tmp_path / "cal.json")}
    assert rig.estimators[1].options == {"model": str(tmp_path / "cal.json"), "body_model": "elsewhere"}


@pytest.mark.parametrize("device", ["rtsp://camera/" + "x" * 5000, "a\\u0000b", "http://[::1]:80/s?a=b"])
def test_address_that_can_be_no_file_is_taken_as_it_is(load: Any, device: str) -> None:
    rig = load(f'[[cameras]]\nname = "a"\nsource = "opencv"\ndevice = "{device}"\n')
    assert rig.cameras[0].device == device.replace("\\u0000", "\0")


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("que_mb = 3\n" + CAMERA, ("'que_mb'", "did you mean 'queue_mb'?")),
        (CAMERA + "lop_s = 3", ("'cameras.0.lop_s'", "did you mean 'loop_s'?")),
        (CAMERA + "depth = { with = 640 }", ("'cameras.0.depth.with'", "did you mean 'width'?")),
        ("[record]\ncodek = 'raw'\n" + CAMERA, ("'record.codek'", "did you mean 'codec'?")),
        (CAMERA + "[[estimators]]\nkinds = 'truth'", ("'estimators.0.kinds'", "did you mean 'kind'?")),
        (CAMERA + "zzzzzz = 3", ("'cameras.0.zzzzzz'", "known keys are", "loop_s")),
        (
            CAMERA.replace("simulated", "realsens"),
            ("cameras.0.source is 'realsens'", "did you mean 'realsense'?"),
        ),
        ('[[cameras]]\nname = "a"', ("cameras.0.source is None", "known sources are realsense, opencv")),
        (CAMERA.replace('"simulated"', "[1]"), ("cameras.0.source",)),
        ('[[cameras]]\nsource = "simulated"', ("the key 'cameras.0.name' is missing",)),
        ('[[cameras]]\nname = "a"\nsource = "playback"', ("the key 'cameras.0.path' is missing",)),
        ("", ("the key 'cameras' is missing",)),
        ("cameras = []", ("cameras = []", "at least 1")),
        ('[cameras]\nname = "a"\nsource = "simulated"', ("write [[cameras]]",)),
        ('[cameras.front]\nsource = "simulated"', ("write [[cameras]]",)),
        (CAMERA + '[estimators]\nkind = "truth"', ("write [[estimators]]",)),
        ("queue_mb = 7\n" + CAMERA, ("queue_mb = 7", "greater than or equal to 8")),
        (
            "queue_mb = 19\n" + CAMERA + "[[estimators]]\nkind = 'truth'\ncameras = ['a']",
            ("rig.toml: queue_mb = 19 is too little: this rig needs 20",),
        ),
        ("queue_mb = inf\n" + CAMERA, ("queue_mb = inf", "finite")),
        ("duration_s = nan\n" + CAMERA, ("duration_s = nan", "finite")),
        ("[record]\nsegment_mb = inf\n" + CAMERA, ("record.segment_mb = inf", "finite")),
        ("[record]\nnear_bound_subpixels = 0\n" + CAMERA, ("record.near_bound_subpixels = 0", "0.0039")),
        ("[record]\nnear_bound_subpixels = 256\n" + CAMERA, ("near_bound_subpixels = 256", "less than 256")),
        ("[record]\njpeg_quality = 101\n" + CAMERA, ("record.jpeg_quality = 101", "100")),
        ("[record]\ncodec = 'latice-lz4'\n" + CAMERA, ("record.codec = 'latice-lz4'", "'lattice-lz4'")),
        (CAMERA + "stall_s = inf", ("cameras.0.stall_s = inf", "finite")),
        (CAMERA + "depth = { width = -1 }", ("cameras.0.depth.width = -1",)),
        (CAMERA + "depth = 3", ("cameras.0.depth = 3",)),
        (CAMERA + "world_from_camera = [[1, 0, 0, 0]]", ("cameras.0.world_from_camera", "4x4 matrix")),
        (CAMERA + "world_from_camera = [[1, 0, 0], [0, 1, 0]]", ("cameras.0.world_from_camera",)),
        ('name = "../up"\n' + CAMERA, ("name = '../up'", "a folder cannot be called")),
        ('name = "a\\n"\n' + CAMERA, ("name = 'a\\n'", "a folder cannot be called")),
        (CAMERA.replace("front", "people"), ("cameras.0.name = 'people'", "none of people")),
        (CAMERA.replace("front", "session.json"), ("cameras.0.name = 'session.json'", "session.json")),
        (CAMERA + CAMERA, ("two cameras or estimators are called 'front'",)),
        (CAMERA + '[[estimators]]\nkind = "front"', ("two cameras or estimators are called 'front'",)),
        (CAMERA + '[[estimators]]\nkind = "truth"\nname = "../x"', ("estimators.0", "'../x'")),
        (CAMERA + '[[estimators]]\nkind = "a/b"', ("estimators.0", "'a/b'")),
        (CAMERA + '[[estimators]]\nkind = "people"', ("estimators.0", "'people'")),
        (
            CAMERA + '[[estimators]]\nkind = "truth"\ncameras = ["frnt"]',
            ("estimator 'truth'", "camera 'frnt'", "did you mean 'front'?"),
        ),
        ("cameras = 3", ("cameras",)),
        ("name = = 1\n", ("is not valid TOML", "line 1")),
        ("name = [1\n", ("is not valid TOML",)),
        ("a = 1\na = 2\n", ("is not valid TOML",)),
        ("a = " + "9" * 5000, ("is not valid TOML",)),
        ("a = " + "[" * 20_000, ("is not valid TOML",)),
        (b"name = '\xff'", ("is not a text file", "byte 8")),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, (str, bytes)) else "",
)
def test_what_is_wrong_is_named_with_the_way_out(
    load: Any, text: str | bytes, words: tuple[str, ...]
) -> None:
    message = refusal(load, text)
    for word in words:
        assert word in message


def test_thirteenth_camera_and_fifth_estimator_are_refused(load: Any) -> None:
    cameras = "".join(CAMERA.replace("front", f"c{i}") for i in range(13))
    assert "at most 12" in refusal(load, cameras)
    estimators = "".join(f'[[estimators]]\nkind = "truth"\nname = "e{i}"\n' for i in range(5))
    assert "at most 4" in refusal(load, CAMERA + estimators)


def test_typing_error_is_named_before_what_it_makes_missing(load: Any) -> None:
    message = refusal(load, '[[cameras]]\nnam = "front"\nsource = "simulated"')
    assert "unknown key 'cameras.0.nam'; did you mean 'name'?" in message


def test_long_values_do_not_fill_the_screen(load: Any) -> None:
    message = refusal(load, f"queue_mb = {list(range(500))}\n" + CAMERA)
    assert len(message) < 250
    assert "queue_mb = [0, 1, 2" in message


@pytest.mark.parametrize("name", ["demmo", "demo.tml", "configs/demo"])
def test_rig_that_is_not_there_names_the_shipped_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no rig file {name}: .*shipped rigs are .*demo"):
        find_rig(name)
    with pytest.raises(ConfigError, match=r"did you mean demo\?"):
        find_rig("demmo")


@pytest.mark.parametrize("name", ["", ".", "/", "x" * 5000, "a\0b", "\n", "*", "é" * 300])
def test_argument_that_can_be_no_file_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError):
        load_rig(name)


def test_rig_file_that_cannot_be_read_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "rig.toml"
    path.write_text(CAMERA)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"cannot read .*: Permission denied"):
        load_rig(str(path))


# ---- whatever stands in the file ----

_KEYS = st.sampled_from(
    [
        *config.Rig.model_fields,
        *config.Record.model_fields,
        *config.RealSenseCamera.model_fields,
        *config.OpenCVCamera.model_fields,
        *config.SimulatedCamera.model_fields,
        *config.Estimator.model_fields,
        "widht",
    ]
) | st.text(string.ascii_letters, max_size=4)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["simulated", "realsense", "opencv", "playback", "truth", "front", "10" * 200])
    | st.integers(10**300, 10**310)
    | st.datetimes()
    | st.dates()
    | st.times()
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_CAMERAS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["front", "side"]) | _SCALARS,
        "source": st.sampled_from([*SOURCES]) | _VALUES,
    },
    optional={
        "depth": _VALUES,
        "world_from_camera": _VALUES,
        "device": _VALUES,
        "path": _VALUES,
        "options": _VALUES,
    },
)
_RIGS = st.dictionaries(_KEYS, _VALUES, max_size=6).flatmap(
    lambda rig: st.lists(_CAMERAS, max_size=3).map(lambda cameras: {**rig, "cameras": cameras})
)


@given(_RIGS | st.dictionaries(_KEYS, _VALUES, max_size=6))
@example({"estimators": [{"source": []}]})
@settings(max_examples=400, deadline=None)
def test_whatever_a_rig_says_it_loads_or_is_one_line(data: dict[str, Any]) -> None:
    config._anchor_paths(data, Path("/nowhere"))
    try:
        rig = config._check(data, Path("rig.toml"))
    except ConfigError as error:
        lines = str(error).splitlines()
    else:
        lines = ["fits"]
        _check_specs(rig)
    assert len(lines) == 1


def _check_specs(rig: Rig) -> None:
    assert 1 <= len(rig.camera_specs()) <= 12
    pickle.dumps((rig.camera_specs(), rig.estimator_specs()))


@given(st.text(max_size=200) | st.text("[]{}=\"'\n abc.#1-:", max_size=80))
@settings(max_examples=200, deadline=None)
def test_whatever_the_text_nothing_but_a_config_error_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "rig.toml"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    with pytest.raises(ConfigError):
        load_rig(str(path))
