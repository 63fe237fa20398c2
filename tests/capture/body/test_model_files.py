"""Files of body models: what looks like SMPL's makes a body; an error names the file, the array, the cure."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.body.anatomy import PARENTS
from capture.body.archives import read_arrays
from capture.body.model import BodyModel
from codec.errors import ConfigError, FormatError, NightrigError, StorageError
from tests.capture.body.smpl_imitation import arrays, content, sparse, write_pickle

Arrays = dict[str, np.ndarray]


def _is_the_same(model: BodyModel, plain: Arrays) -> None:
    count = len(plain["v_template"])
    assert np.allclose(model.template_vertices, plain["v_template"], atol=1e-7)
    assert np.array_equal(model.faces, plain["f"])
    assert model.parents == PARENTS
    assert np.allclose(model.weights, plain["weights"], atol=1e-7)
    assert np.allclose(model.shape_directions, plain["shapedirs"], atol=1e-8)
    assert np.allclose(model.joints, plain["J"], atol=1e-12)
    expected = np.einsum("jv,vcb->jcb", plain["J_regressor"], plain["shapedirs"])
    assert np.allclose(model.joint_shape_directions, expected, atol=1e-12)
    assert model.pose_directions is not None
    assert model.pose_directions.shape == (207, 3 * count)
    by_vertex = model.pose_directions.reshape(207, 3, count).transpose(2, 1, 0)
    assert np.allclose(by_vertex, plain["posedirs"], atol=1e-8)
    assert (model.template_vertices.dtype, model.weights.dtype) == (np.float32, np.float32)
    assert (model.faces.dtype, model.joints.dtype) == (np.int32, np.float64)


def test_a_pickle_as_python_2_and_chumpy_wrote_it_makes_the_same_body(tmp_path: Path) -> None:
    plain = arrays()
    name = "basicModel_f_lbs_10_207_0_v1.0.0"
    model = BodyModel.load(write_pickle(tmp_path / f"{name}.pkl", content(plain)))
    _is_the_same(model, plain)
    assert model.name == name
    assert model.head_top_vertex == 411
    pose = np.random.default_rng(0).normal(0, 0.3, 72)
    # A body of these joints and vertices, posed as the definition says.
    from tests.capture.body.test_model import by_the_book

    betas = np.linspace(-1, 1, 10)
    vertices = model.skin(pose, betas, [0, 0, 3])
    assert np.abs(vertices - by_the_book(model, pose, betas, [0, 0, 3])).max() < 1e-6


@pytest.mark.parametrize("shape_count", [1, 10, 16, 300])
@pytest.mark.parametrize("protocol", [2, 4])
def test_any_number_of_shape_directions(protocol: int, shape_count: int, tmp_path: Path) -> None:
    plain = arrays(300, shape_count)
    values = content(plain, scipy_module="scipy.sparse._csc" if protocol == 4 else "scipy.sparse.csc")
    model = BodyModel.load(write_pickle(tmp_path / "m.pkl", values, protocol, python2=protocol == 2))
    _is_the_same(model, plain)
    assert model.shape_count == shape_count


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_makes_the_same_body(save: Callable[..., None], tmp_path: Path) -> None:
    plain = arrays(300)
    odd = {"bs_type": np.array("lrotmin"), "bs_style": np.array("lbs"), "notes": np.array([None], object)}
    save(tmp_path / "SMPL_NEUTRAL.npz", **plain, **odd)
    _is_the_same(BodyModel.load(tmp_path / "SMPL_NEUTRAL.npz"), plain)
    # Signed and in single precision, as others write them.
    other = {**plain, "kintree_table": np.array([PARENTS, range(24)]), "f": plain["f"].astype(np.int64)}
    save(tmp_path / "other.npz", **{**other, "v_template": plain["v_template"].astype(np.float32)})
    model = BodyModel.load(tmp_path / "other.npz")
    assert np.allclose(model.joints, plain["J"], atol=1e-6)


def test_the_kind_of_file_is_seen_in_it_not_in_its_name(tmp_path: Path) -> None:
    plain = arrays(300)
    np.savez(tmp_path / "m.npz", **plain)
    (tmp_path / "m.npz").rename(tmp_path / "m.pkl")
    _is_the_same(BodyModel.load(tmp_path / "m.pkl"), plain)


_FILES = {
    "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl": "neutral",
    "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl": "neutral",
    "SMPL_NEUTRAL.pkl": "neutral",
    "SMPL_NEUTRAL.npz": "neutral",
    "basicModel_f_lbs_10_207_0_v1.0.0.pkl": "female",
    "basicmodel_f_lbs_10_207_0_v1.1.0.pkl": "female",
    "SMPL_FEMALE.pkl": "female",
    "SMPL_FEMALE.npz": "female",
    "basicmodel_m_lbs_10_207_0_v1.0.0.pkl": "male",
    "basicmodel_m_lbs_10_207_0_v1.1.0.pkl": "male",
    "SMPL_MALE.pkl": "male",
    "SMPL_MALE.npz": "male",
}


def test_a_folder_holds_genders_under_all_their_names(tmp_path: Path) -> None:
    small = arrays(50, 2)
    np.savez(tmp_path / "model.npz", **small)
    data = (tmp_path / "model.npz").read_bytes()
    for name, gender in _FILES.items():
        for inner in (".", "smpl", "models", "smpl/models"):
            folder = tmp_path / f"with {name} in {inner.replace('/', ' ')}"
            (folder / inner).mkdir(parents=True)
            (folder / inner / name).write_bytes(data)
            assert BodyModel.load(folder, gender).name == name.rpartition(".")[0]
            for other in {"neutral", "female", "male"} - {gender}:
                with pytest.raises(ConfigError, match=f"holds no {other} model.*there is {name}"):
                    BodyModel.load(folder, other)


def test_of_several_files_for_a_gender_the_newest_is_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **arrays(50, 2))
    for name in _FILES:
        (tmp_path / name).write_bytes((tmp_path / "model.npz").read_bytes())
    assert BodyModel.load(tmp_path).name == "SMPL_NEUTRAL"
    for name in ("SMPL_MALE.npz", "SMPL_MALE.pkl"):
        (tmp_path / name).unlink()
    assert BodyModel.load(tmp_path, "male").name == "basicmodel_m_lbs_10_207_0_v1.1.0"


def test_a_folder_without_models_and_a_gender_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SMPL_NEUTRAL\.npz or .* is looked for, there is no \.pkl"):
        BodyModel.load(tmp_path)
    with pytest.raises(ConfigError, match="gender 'femal' does not exist; there are neutral, female, male"):
        BodyModel.load(tmp_path, "femal")
    with pytest.raises(StorageError, match=r"cannot read .*nowhere\.pkl"):
        BodyModel.load(tmp_path / "nowhere.pkl")


def _changed(key: str, change: Callable[[Any], object]) -> Callable[[dict[str, object]], None]:
    def apply(values: dict[str, object]) -> None:
        values[key] = change(values[key])

    return apply


def _put(array: np.ndarray, place: Any, value: float) -> np.ndarray:
    out = array.copy()
    out[place] = value
    return out


_WRONG: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "no template": ("v_template", lambda a: None, r"is missing; vertices \(V, 3\) in metres is expected"),
    "flat template": ("v_template", np.ravel, r"has the shape \(900,\)"),
    "template in mm": ("v_template", lambda a: a * 1000, "spans 1[0-9]{3}.* m; a person in metres"),
    "template of text": ("v_template", lambda a: "text", "is a str"),
    "template of objects": ("v_template", lambda a: a.astype(object), "array of Python objects"),
    "complex template": ("v_template", lambda a: a + 0j, "is a complex128"),
    "template with NaN": ("v_template", lambda a: _put(a, (5, 1), np.nan), "not finite"),
    "empty template": ("v_template", lambda a: a[:0], "has 0 vertices"),
    "faces from 1": ("f", lambda a: _put(a, (0, 0), 300), r"names vertices outside 0\.\.299"),
    "faces below 0": ("f", lambda a: _put(a.astype(int), (0, 0), -1), "names vertices outside"),
    "faces as floats": ("f", lambda a: a.astype(float), "whole numbers"),
    "quads": ("f", lambda a: np.zeros((4, 4), int), r"\(F, 3\)"),
    "tree of SMPL-X": ("kintree_table", lambda a: np.zeros((2, 55), int), "has 55 joints"),
    "another tree": ("kintree_table", lambda a: _put(a, (0, 23), 20), "another tree"),
    "joints in another order": ("kintree_table", lambda a: a[:, ::-1], "another tree"),
    "no tree": ("kintree_table", lambda a: None, "is missing"),
    "weights that do not add up": ("weights", lambda a: a * 1.1, r"of vertex \d+ sum to 1\.1"),
    "a negative weight": (
        *("weights", lambda a: a + _put(_put(0 * a, (7, 0), -0.5), (7, 1), 0.5)),
        "none below 0",
    ),
    "weights of too few": ("weights", lambda a: a[:-1], r"weights \(300, 24\) is expected"),
    "weights of 52 joints": ("weights", lambda a: np.ones((300, 52)) / 52, r"has the shape \(300, 52\)"),
    "infinite weights": ("weights", lambda a: _put(a, (0, 0), np.inf), "not finite"),
    "regressor of others": ("J_regressor", lambda a: a[:, :-1], r"\(24, 299\); a matrix \(24, 300\)"),
    "regressor rows": ("J_regressor", lambda a: a * 0.5, r"has a row \d+ that sums to 0\.5"),
    "sparse regressor of others": ("J_regressor", lambda a: sparse(a.T), r"sparse matrix \(300, 24\)"),
    "no regressor": ("J_regressor", lambda a: None, "is missing"),
    "no shapes": ("shapedirs", lambda a: None, "is missing"),
    "shapes of others": ("shapedirs", lambda a: a[1:], r"shape directions \(300, 3, B\)"),
    "huge shapes": ("shapedirs", lambda a: a * 1e300, "above 1000"),
    "too many shapes": ("shapedirs", lambda a: np.zeros((300, 3, 1001)), "has 1001 directions"),
    "pose directions turned": ("posedirs", lambda a: a.reshape(-1, 207).T, r"\(300, 3, 207\)"),
    "pose directions of more joints": ("posedirs", lambda a: np.zeros((300, 3, 459)), r"\(300, 3, 459\)"),
    "another way of skinning": ("bs_style", lambda a: "dqbs", "is 'dqbs'; SMPL's 'lbs'"),
    "another kind": ("bs_type", lambda a: 5, "is a int"),
}


@pytest.mark.parametrize("name", _WRONG)
def test_what_is_wrong_in_a_model_is_named(name: str, tmp_path: Path) -> None:
    key, change, message = _WRONG[name]
    values = {**arrays(300), "bs_style": "lbs", "bs_type": "lrotmin"}
    path = write_pickle(tmp_path / "wrong.pkl", {**values, key: change(values[key])}, 4, python2=False)
    with pytest.raises(
        FormatError, match=rf"wrong\.pkl is no body model that can be used: {key} .*{message}"
    ):
        BodyModel.load(path)
    changed = {**values, key: change(values[key])}
    if name != "sparse regressor of others":
        np.savez(tmp_path / "wrong.npz", **{k: v for k, v in changed.items() if v is not None})
        with pytest.raises(FormatError, match=rf"wrong\.npz.*{key}") as error:
            BodyModel.load(tmp_path / "wrong.npz")
        assert "\n" not in str(error.value)


def test_a_model_without_pose_directions_is_a_model(tmp_path: Path) -> None:
    plain = arrays(300)
    del plain["posedirs"]
    np.savez(tmp_path / "m.npz", **plain)
    model = BodyModel.load(tmp_path / "m.npz")
    assert model.pose_directions is None
    assert np.isfinite(model.skin(np.full(72, 0.1), np.zeros(10), np.zeros(3))).all()


@pytest.mark.parametrize("value", [[1, 2], "text", None, np.arange(3), {"means": np.zeros((8, 69))}])
def test_a_pickle_of_something_else_is_no_model(value: object, tmp_path: Path) -> None:
    path = tmp_path / "gmm_08.pkl"
    path.write_bytes(pickle.dumps(value, 2))
    with pytest.raises(FormatError, match=r"gmm_08\.pkl is no body model"):
        BodyModel.load(path)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n", b"PK\x03\x04", b"PK\x03\x04" + b"\0" * 2000, b"version https://git-lfs"]
)
def test_a_file_of_another_kind_is_no_model(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.pkl"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"picture\.pkl"):
        BodyModel.load(path)


def _archive(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return out.getvalue()


def _npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    length = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + length + text + data


_HEADER = "{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


_THREE = _HEADER.format(descr="'<f8'", shape="(1, 3)")
_BAD_MEMBERS = {
    "claims terabytes": _npy(_HEADER.format(descr="'<f8'", shape="(100000000000, 3)"), b"\0" * 24),
    "negative": _npy(_HEADER.format(descr="'<f8'", shape="(-1, 3)"), b"\0" * 24),
    "zeros of nothing": _npy(_HEADER.format(descr="'<f8'", shape="(0, 99999999999999999999)")),
    "objects": _npy(_HEADER.format(descr="'|O'", shape="(1,)"), pickle.dumps([1])),
    "records": _npy(_HEADER.format(descr="[('x', '<f8')]", shape="(3,)"), b"\0" * 24),
    "empty items": _npy(_HEADER.format(descr="'|S0'", shape="(99999,)")),
    "a type that is none": _npy(_HEADER.format(descr="'<f7'", shape="(1,)"), b"\0" * 7),
    "times": _npy(_HEADER.format(descr="'<M8[s]'", shape="(1,)"), b"\0" * 8),
    "a call for a header": _npy("__import__('os').system('true')"),
    "deep header": _npy("(" * 4000),
    "endless header": _npy("(" * 60000),
    "no header": b"\x93NUMPY\x01\x00\xff",
    "another version": _npy(_THREE, b"\0" * 24, b"\x09\x00"),
    "no magic": b"\0" * 100,
    "short": _npy(_THREE, b"\0" * 23),
}


def _bomb() -> bytes:
    """Half a kilobyte of archive for each megabyte of zeros, more of them than a model has numbers."""
    out = io.BytesIO()
    size = 1 << 29
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("v_template.npy", "w", force_zip64=True) as member,
    ):
        member.write(_npy(_HEADER.format(descr="'<f8'", shape=f"({size // 8},)")))
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return out.getvalue()


def _flipped() -> bytes:
    data = bytearray(_archive({"v_template": _npy(_THREE, b"\0" * 24)}, zipfile.ZIP_STORED))
    data[data.index(b"\n") + 5] ^= 1
    return bytes(data)


_BAD_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a bomb": _bomb,
    "another compression": lambda: _archive({"v_template": b"\0" * 100}, zipfile.ZIP_LZMA),
    "cut off": lambda: _archive({"v_template": _npy(_THREE, b"\0" * 24)})[:-1],
    "a bit in stored numbers": _flipped,
    "a directory of 300,000 files": lambda: _directory_of(300_000),
}


def _directory_of(count: int) -> bytes:
    """An archive that lists nothing but entries, each of which takes a lot more room as an object."""
    entry = b"PK\x01\x02" + bytes(42)
    directory = entry * count
    end = b"PK\x05\x06" + bytes(4) + (0xFFFF).to_bytes(2, "little") * 2
    end += len(directory).to_bytes(4, "little") + bytes(4) + bytes(2)
    return directory + end


@pytest.mark.parametrize("name", [*_BAD_MEMBERS, *_BAD_ARCHIVES])
def test_archives_that_are_not_what_they_claim_are_refused_in_bounds(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    make = _BAD_ARCHIVES.get(name, lambda: _archive({"v_template": _BAD_MEMBERS[name]}))
    path.write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"bad\.npz") as error:
            read_arrays(path, ["v_template"])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert peak_bytes < 8 << 20


_STEPS = b"().]}NRbcoieQPstuaSTUXBCIJKLMVhgjpqr\x80\x81\x85\x86\x87\x8a\x8c\x8e\x90\x93\x94\x95\x96"


def _mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """The bytes with a few things wrong: flipped, set, cut, doubled, moved, or replaced by pickle's steps."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place, other = (int(n) for n in rng.integers(0, len(out) + 1, 2))
        length = int(rng.integers(1, 40))
        rest = out[place:]
        match int(rng.integers(0, 8)):
            case 0:
                rest[:1] = bytes(byte ^ (1 << length % 8) for byte in rest[:1])
            case 1:
                rest[:1] = rng.bytes(1)
            case 2:
                rest = rest[length:]
            case 3:
                rest = out[other : other + length] + rest
            case 4:
                rest[:length] = out[other : other + length]
            case 5:
                rest = bytearray()
            case 6:
                rest[:1] = _STEPS[length : length + 1]
            case _:
                rest[:4] = (2 ** int(rng.integers(8, 32)) - 1).to_bytes(4, "little")
        out[place:] = rest
    return bytes(out)


@pytest.mark.parametrize("kind", ["python 2", "protocol 0", "protocol 4", "stored", "compressed"])
def test_mutated_files_are_models_or_refused_within_bounds(kind: str, tmp_path: Path) -> None:
    plain = arrays(12, 2)
    path = tmp_path / "m.pkl"
    if kind in ("stored", "compressed"):
        (np.savez if kind == "stored" else np.savez_compressed)(tmp_path / "m.npz", **plain)
        (tmp_path / "m.npz").rename(path)
    else:
        protocol = {"python 2": 2, "protocol 0": 0, "protocol 4": 4}[kind]
        if not protocol:  # numbers that are spelled take their time
            del plain["posedirs"]
        write_pickle(path, content(plain), protocol, python2=protocol < 3)
    data = path.read_bytes()
    BodyModel.load(path)
    # Between the long strings of numbers most of what a file says stands in few bytes: half of the cases
    # change only those.
    rng = np.random.default_rng(len(kind))
    refusals = []
    tracemalloc.start()
    try:
        for case in range(700 if kind != "protocol 0" else 250):  # text takes five times as long
            changed = _mutated(rng, data) if case % 2 else _mutated_between(rng, data, plain)
            path.write_bytes(changed)
            tracemalloc.reset_peak()
            try:
                BodyModel.load(path)
            except NightrigError as error:
                refusals.append(str(error))
            assert tracemalloc.get_traced_memory()[1] < 40 * len(data) + (4 << 20), case
    finally:
        tracemalloc.stop()
    assert len(refusals) > 100
    assert all("m.pkl" in refusal and "\n" not in refusal for refusal in refusals)


def _mutated_between(rng: np.random.Generator, data: bytes, plain: Arrays) -> bytes:
    """As `_mutated`, with the numbers of the arrays left alone where they stand as they are."""
    kept = [array.tobytes() for array in plain.values()]
    pieces = [data]
    for array in kept:
        pieces = [part for piece in pieces for part in piece.split(array)]
    piece = pieces[int(rng.integers(0, len(pieces)))]
    return data.replace(piece, _mutated(rng, piece), 1)
