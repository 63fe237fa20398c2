from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codec.errors import CodecError, FormatError
from codec.mesh.bodycompress_frames import decode_frame, encode_frame
from codec.mesh.msgpack_arrays import ObjectStream
from codec.mesh.vertex_order import vertex_order


def through_the_file(frame: dict[str, Any], order: Any, **settings: Any) -> dict[str, Any]:
    packed, _ = encode_frame(frame, quantization_mm=0.5, order=vertex_order(order), **settings)
    (stored,) = ObjectStream().feed(packed)
    return decode_frame(stored, vertex_order(vertex_order(order).header))


def points(count: int, *leading: int) -> np.ndarray:
    return np.random.default_rng(count).integers(-2000, 2000, (*leading, count, 3)) / 2.0


@pytest.mark.parametrize(
    ("order", "count"),
    [
        (None, 9),
        ("auto", 9),
        ("auto", 6890),
        ("auto", 10475),
        ("smpl", 6890),
        ("smplx", 10475),
        ([2, 0, 1], 3),
        (np.arange(70000)[::-1], 70000),
        (np.zeros(0, int), 0),
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.parametrize("leading", [(), (2,), (0,)], ids=str)
def test_points_come_back_where_they_were(order: Any, count: int, leading: tuple[int, ...]) -> None:
    vertices, unsure = points(count, *leading), np.abs(points(count, *leading)[..., 0]) / 1000
    frame = {"vertices": vertices, "vertex_uncertainties": unsure}
    for narrow in (False, True):
        back = through_the_file(frame, order, narrow=narrow)
        np.testing.assert_array_equal(back["vertices"], vertices)
        np.testing.assert_allclose(back["vertex_uncertainties"], unsure, atol=0.00026)


def test_auto_reorders_uncertainties_with_their_vertices_alone() -> None:
    unsure = np.arange(6890) / 2000
    alone = encode_frame({"vertex_uncertainties": unsure}, quantization_mm=0.5, order=vertex_order("auto"))
    plain = encode_frame({"vertex_uncertainties": unsure}, quantization_mm=0.5)
    named = encode_frame({"vertex_uncertainties": unsure}, quantization_mm=0.5, order=vertex_order("smpl"))
    assert alone == plain != named
    for order in ("auto", "smpl"):
        back = through_the_file({"vertex_uncertainties": unsure}, order)
        np.testing.assert_allclose(back["vertex_uncertainties"], unsure, atol=1e-6)


def test_an_order_of_another_number_of_points_is_named_with_the_key() -> None:
    for frame in ({"vertices": points(5)}, {"vertex_uncertainties": points(5)[:, 0]}):
        with pytest.raises(CodecError, match=r"vert.*6890 points"):
            encode_frame(frame, quantization_mm=0.5, order=vertex_order("smpl"))
    with pytest.raises(CodecError, match="vertex_uncertainties"):
        encode_frame(
            {"vertices": points(6890), "vertex_uncertainties": points(5)[:, 0]},
            quantization_mm=0.5,
            order=vertex_order("auto"),
        )
    stored = {"qd_vertices": [np.zeros((5, 3), np.int32), 2.0]}
    with pytest.raises(FormatError, match="6890 points"):
        decode_frame(stored, vertex_order("smpl"))
    stored = {"qd_vertex_uncertainties": [np.zeros(5, np.int32), 2.0]}
    with pytest.raises(FormatError, match="has 5 points"):
        decode_frame(stored, vertex_order([0]))


@pytest.mark.parametrize(
    "order",
    ["SMPL", "", [0, 2], [0, 0], [-1, 0], [[0, 1]], [0.0, 1.0], np.zeros(1 << 21, int), 5, {"a": 1}, b"smpl"],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_order_is_refused(order: Any) -> None:
    with pytest.raises(FormatError, match="vertex order"):
        vertex_order(order)
