"""The real library with the file that we make for it, where both can be had; it sees real and made people."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.fitting.looking import people_in
from capture.keypoints import PersonKeypoints
from capture.keypoints.joint_sets import joint_set, to_lsp14
from capture.keypoints.pose_bundle import bundle_from_wheel
from capture.keypoints.pose_fetch import fetch_wheel
from capture.sources.simulated import Loop, render_loop
from capture.specs import SimulatedSpec, StreamSpec
from codec.errors import MissingExtraError, NightrigError
from tests.capture.rigs import REPOSITORY

pytest.importorskip("mediapipe", reason="mediapipe is not installed", exc_type=ImportError)

from capture.keypoints.mediapipe_pose import MediaPipeSource

VIDEOS = REPOSITORY.parent / "shared" / "data" / "video"
COLOR = StreamSpec(640, 480, 30.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pose")
    try:
        bundle = bundle_from_wheel(fetch_wheel(folder))
    except NightrigError as error:
        pytest.skip(f"the models cannot be fetched here: {error}")
    path = folder / "pose_landmarker.task"
    path.write_bytes(bundle)
    try:
        MediaPipeSource(model=path).close()
    except MissingExtraError as error:
        pytest.skip(str(error))
    return path


@pytest.fixture(scope="module")
def loop() -> Loop:
    return render_loop(SimulatedSpec(color=COLOR, loop_s=1.0), name="made", color_format="bgr8")


def _true_lsp_limbs(loop: Loop, index: int) -> np.ndarray:
    """LSP 0 to 11 of the made person, from the 24 joints that the camera tells."""
    joints = np.array(json.loads(loop.color_meta[index])["keypoints_px"])[:, :2]
    return joints[[8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20]]


def test_the_made_person_is_found_where_it_is(model: Path, loop: Loop) -> None:
    source = MediaPipeSource(model=model)
    errors = []
    for index in range(0, len(loop.color), 3):
        (person,) = source.detect(loop.color[index], time_s=index / 30)
        points, confidences = to_lsp14(person.joint_set, person.points_px, person.confidences)
        errors.append(
            np.linalg.norm(points[:12] - _true_lsp_limbs(loop, index), axis=1)[confidences[:12] > 0.5]
        )
        assert person.world_m is not None
        hips = person.world_m[[joint_set("mediapipe33").index(f"{side}_hip") for side in ("left", "right")]]
        assert np.abs(hips.mean(axis=0)).max() < 0.05
    source.close()
    assert np.median(np.concatenate(errors)) < 12  # of a body 350 pixels high


def test_a_small_person_is_found_in_a_box(model: Path, loop: Loop) -> None:
    """In a picture so large that the person is a tenth of its height, where nobody is found without a box."""
    small = cv2.resize(loop.color[15], (160, 120), interpolation=cv2.INTER_AREA)
    picture = np.full((960, 1280, 3), 90, np.uint8)
    picture[500:620, 700:860] = small
    truth = _true_lsp_limbs(loop, 15) / 4 + (700, 500)
    box = np.concatenate([truth.min(axis=0) - 8, truth.max(axis=0) + 8])
    source = MediaPipeSource(model=model)
    assert source.detect(picture, time_s=0.0) == []
    (person,) = source.detect(picture, time_s=0.0, boxes_px=[box])
    source.close()
    points, confidences = to_lsp14(person.joint_set, person.points_px, person.confidences)
    seen = confidences[:12] > 0.5
    assert seen.sum() >= 8
    assert np.median(np.linalg.norm(points[:12] - truth, axis=1)[seen]) < 5


def test_nobody_in_noise_and_in_pictures_of_every_shape(model: Path) -> None:
    source = MediaPipeSource(model=model)
    rng = np.random.default_rng(1)
    for number, shape in enumerate(
        [(480, 640, 3), (480, 640), (1, 1, 3), (3, 2000, 3), (2000, 3), (4320, 7680, 3)]
    ):
        picture = rng.integers(0, 256, shape, dtype=np.uint8)
        assert source.detect(picture, time_s=number / 30) == []
    source.close()


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="the real videos are not here (data/video)")
@pytest.mark.parametrize("name", ["cam01", "cam02", "cam03", "cam04"])
def test_the_person_of_a_real_video_is_found_in_every_picture(model: Path, name: str) -> None:
    video = cv2.VideoCapture(str(VIDEOS / "pose2sim_single" / "videos" / f"{name}.mp4"))
    source = MediaPipeSource(model=model)
    found = []
    for number in range(40):
        picture = video.read()[1]
        people = source.detect(picture, time_s=number / 60)
        found.append(len(people))
    source.close()
    video.release()
    assert found == [1] * 40


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="the real videos are not here (data/video)")
@pytest.mark.parametrize(
    ("video", "number", "heights"),
    [
        ("sports2d_demo.mp4", 15, [0.36]),  # against the light, from the front and from behind
        ("sports2d_demo.mp4", 60, [0.41, 0.37]),
        ("pose2sim_single/videos/cam02.mp4", 40, [0.36, 0.19]),  # who leans over: legs that look like people
    ],
)
def test_everybody_in_a_photograph_is_found_and_nobody_else(
    model: Path, video: str, number: int, heights: list[float]
) -> None:
    pictures = cv2.VideoCapture(str(VIDEOS / video))
    for _ in range(number):
        pictures.grab()
    picture = pictures.read()[1]
    pictures.release()

    def look(part: np.ndarray) -> list[PersonKeypoints]:
        source = MediaPipeSource(model=model, people=10)
        found = source.detect(part, time_s=0.0)
        source.close()
        return found

    found = people_in(picture, look, most=10)
    tall = [np.ptp(person.points_px[person.confidences > 0.5, 1]) / len(picture) for person in found]
    assert sorted(tall, reverse=True) == pytest.approx(heights, abs=0.04)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_library_asks_for_no_address(model: Path, tmp_path: Path) -> None:
    """Held against the library itself, in a process whose every look-up of a name is told and refused."""
    shim = tmp_path / "names.c"
    shim.write_text(
        "#include <netdb.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
        "int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,\n"
        "                struct addrinfo **found) {\n"
        '    FILE *out = fopen(getenv("NAMES_ASKED"), "a");\n'
        '    fprintf(out, "%s\\n", name ? name : "-");\n    fclose(out);\n    return EAI_FAIL;\n}\n'
    )
    library = tmp_path / "names.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, shim], check=True)
    asked = tmp_path / "asked"
    program = (
        "import numpy, sys\n"
        "from capture.keypoints.mediapipe_pose import MediaPipeSource\n"
        f"source = MediaPipeSource(model=__import__('pathlib').Path({str(model)!r}))\n"
        "source.detect(numpy.zeros((240, 320, 3), numpy.uint8), time_s=0.0)\n"
        "source.close()\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(library), "NAMES_ASKED": str(asked)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not asked.exists(), asked.read_text()
