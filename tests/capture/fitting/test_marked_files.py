"""Results are recognised as ours by a mark that no reader minds."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.body.procedural import procedural_body
from capture.fitting.marked_files import (
    State,
    digest_of,
    make_folder,
    mark_of,
    state_of,
    write_mesh,
    write_parameters,
    write_picture,
)
from codec.errors import StorageError

MARK = mark_of("a", digest_of({"mode": "fast"}))


def test_a_pickle_is_of_protocol_2_and_names_what_every_numpy_has(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    values = {"pose": np.arange(72.0), "cam_t": np.array([0.1, -2.0, 3.0])}
    write_parameters(path, values, MARK)
    read = pickle.loads(path.read_bytes())
    assert {key: value.tolist() for key, value in read.items()} == {k: v.tolist() for k, v in values.items()}
    operations = list(pickletools.genops(path.read_bytes()))
    assert max(operation.proto for operation, _, _ in operations) == 2
    modules = {str(told).split()[0] for operation, told, _ in operations if operation.name == "GLOBAL"}
    assert modules <= {"numpy.core.multiarray", "numpy", "_codecs"}


def test_every_kind_of_file_says_whose_it_is(tmp_path: Path) -> None:
    body = procedural_body()
    write_parameters(tmp_path / "a.pkl", {"pose": np.zeros(72)}, MARK)
    write_mesh(tmp_path / "a.obj", body.template_vertices, body.faces, MARK)
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", picture, MARK)
    assert (cv2.imread(str(tmp_path / "a.png")) == picture).all()
    for suffix in ("pkl", "obj", "png"):
        path = tmp_path / f"a.{suffix}"
        assert state_of(path, MARK) is State.OURS
        assert state_of(path, mark_of("a", digest_of({"mode": "smplify"}))) is State.OF_OTHER_SETTINGS
        assert state_of(path, mark_of("b", digest_of({"mode": "fast"}))) is State.FOREIGN


def test_what_others_wrote_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"pose": np.zeros(72)}, protocol=2))
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    for name in ("a.pkl", "empty", "folder"):
        assert state_of(tmp_path / name, MARK) is State.FOREIGN
    assert state_of(tmp_path / "nothing", MARK) is State.MISSING
    with pytest.raises(StorageError, match="is a file"):
        make_folder(tmp_path / "empty")
