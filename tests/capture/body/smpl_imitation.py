"""Files as SMPL's are, made of our own body: nothing of the licensed ones is needed to test their reading.

The pickles are laid out as Python 2 wrote them: its string opcodes, the old places of classes, attributes in
chumpy's objects and in SciPy's matrices.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from capture.body.anatomy import PARENTS
from capture.body.procedural import procedural_body

Array = npt.NDArray[Any]


def arrays(vertex_count: int = 6890, shape_count: int = 10, *, seed: int = 3) -> dict[str, Array]:
    """The arrays of a model, in float64, of `vertex_count` vertices spread over our body."""
    rng = np.random.default_rng(seed)
    body = procedural_body()
    chosen = np.linspace(0, len(body.template_vertices) - 1, vertex_count).astype(int)
    template = body.template_vertices[chosen].astype(float)
    weights = body.weights[chosen].astype(float)
    regressor = np.zeros((24, vertex_count))
    for joint, place in enumerate(body.joints):
        near = np.argsort(np.linalg.norm(template - place, axis=1))[:8]
        regressor[joint, near] = rng.dirichlet(np.ones(8))
    faces = (
        body.faces if vertex_count == len(body.template_vertices) else rng.integers(0, vertex_count, (50, 3))
    )
    return {
        "v_template": template,
        "f": faces.astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(24)], np.uint32),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "J_regressor": regressor,
        "J": regressor @ template,
        "shapedirs": rng.normal(0, 0.01, (vertex_count, 3, shape_count)),
        "posedirs": rng.normal(0, 0.001, (vertex_count, 3, 207)),
    }


class Ch:
    __module__ = "chumpy.ch"

    def __init__(self, x: Array) -> None:
        self.x = x
        # The notes that chumpy keeps, as they come along.
        self._dirty_vars = {"x"}
        self._itr = None
        self._depends_on_deps = {"J_transformed": {"deps": {"r"}, "value": None, "out_of_date": True}}


class Select:
    __module__ = "chumpy.reordering"

    def __init__(self, a: Ch, idxs: Array, preferred_shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


@lru_cache
def _matrix_class(module: str) -> type:
    return type("csc_matrix", (), {"__module__": module})


def sparse(matrix: Array, module: str = "scipy.sparse.csc") -> object:
    """The matrix as SciPy's csc keeps it, in an object of a class of that module."""
    columns, rows = np.nonzero(matrix.T)
    out = _matrix_class(module)()
    starts = np.searchsorted(columns, np.arange(matrix.shape[1] + 1)).astype(np.int32)
    out.__dict__.update(_shape=matrix.shape, data=matrix[rows, columns], maxprint=50)
    out.__dict__.update(indices=rows.astype(np.int32), indptr=starts)
    return out


def content(plain: dict[str, Array], *, scipy_module: str = "scipy.sparse.csc") -> dict[str, object]:
    """What stands in a pickle of SMPL's: the arrays, some of them in objects of chumpy and SciPy."""
    shapes = plain["shapedirs"]
    # A selection out of more directions, in another order.
    more = np.concatenate([np.full_like(shapes, 9.0), shapes], axis=2)
    idxs = np.arange(more.size).reshape(more.shape)[:, :, shapes.shape[2] :].ravel()
    return {
        **plain,
        "shapedirs": Select(Ch(more), idxs, shapes.shape),
        "weights": Ch(plain["weights"]),
        "J_regressor": sparse(plain["J_regressor"], scipy_module),
        "J_regressor_prior": sparse(plain["J_regressor"], scipy_module),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "vert_sym_idxs": np.arange(len(plain["v_template"])),
        "pose_training_info": {"gender": "f", "ids": [np.int64(3), np.float64(0.5)], "more": None},
    }


@contextmanager
def importable(values: dict[str, object]) -> Iterator[None]:
    """While it lasts the imitated classes stand where pickle looks for those it writes."""
    matrices = [value for value in values.values() if type(value).__name__ == "csc_matrix"]
    modules: dict[str, types.ModuleType] = {}
    for item in (Ch, Select, *map(type, matrices)):
        parts = item.__module__.split(".")
        for end in range(1, len(parts) + 1):
            modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        setattr(modules[item.__module__], item.__name__, item)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _Python2Pickler(pickle._Pickler):
    """Writes as Python 2 did: text and bytes alike as its byte strings, classes at their old places."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _save_string(self, value: str | bytes) -> None:
        data = value if isinstance(value, bytes) else value.encode("latin1")
        if self.proto == 0:
            self.write(b"S" + repr(data)[1:].encode() + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_string

    def save_global(self, obj: object, name: str | None = None) -> None:
        module, name = obj.__module__, name or obj.__qualname__
        module = {"builtins": "__builtin__", "copyreg": "copy_reg"}.get(module, module)
        self.write(f"c{module.replace('numpy._core', 'numpy.core')}\n{name}\n".encode())
        self.memoize(obj)

    dispatch[type] = save_global
    dispatch[types.FunctionType] = save_global


def pickled(values: dict[str, object], protocol: int = 2, *, python2: bool = True) -> bytes:
    out = io.BytesIO()
    with importable(values):
        (_Python2Pickler if python2 else pickle.Pickler)(out, protocol).dump(values)
    return out.getvalue()


def write_pickle(path: Path, values: dict[str, object], protocol: int = 2, *, python2: bool = True) -> Path:
    path.write_bytes(pickled(values, protocol, python2=python2))
    return path
