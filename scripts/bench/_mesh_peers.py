"""What others store meshes with, for the mesh benchmark.

    bodycompress  stock 0.3 from PyPI, one thread, its files whole; xz 5 is its default
    meshoptimizer vertex codec on differences in time, a frame at a time, then zstd 9 over two seconds
    draco         a mesh at a time, quantised to the same error; it reorders points, which nobody undoes
    blosc2        differences in time, bit shuffle, zstd 5, two seconds at a time
    zstd, npz     float32 as it comes, two seconds at a time: what a script does that thinks of nothing;
                  "steps" are whole steps of 16 bits

All but the last two keep coordinates on our grid or within its error. Libraries are imported only when a way
is opened; one that is not installed is in `missing_peers` and nowhere else.
"""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scripts.bench._mesh_ways import STEP_MM, Float32, Order, Payload, Way, segments

BODYCOMPRESS, MESHOPT, DRACO = "bodycompress", "meshoptimizer + zstd 9", "draco 12 bit"
BLOSC2, ZSTD, ZSTD_STEPS, NPZ = "blosc2, differences", "zstd 3", "zstd 3, steps", "npz"

_DRACO_BITS: Final = 12
_DRACO_RANGE_MM: Final = STEP_MM * (2**_DRACO_BITS - 1)
Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class _Peer:
    """`modules` are what it needs, `package` what to install for it."""

    modules: tuple[str, ...]
    package: str
    make: Callable[[Order, npt.NDArray[np.int32] | None], tuple[Callable[..., Any], Callable[..., Any]]]


def peer_names() -> list[str]:
    """All there are, installed or not; bodycompress has settings, and `stock` opens it."""
    return [*_PEERS]


def missing_peers() -> dict[str, str]:
    """Peers whose library is not installed, with the package to install."""
    peers = {
        BODYCOMPRESS: (_BODYCOMPRESS_MODULES, "bodycompress"),
        **{k: (p.modules, p.package) for k, p in _PEERS.items()},
    }
    return {name: package for name, (modules, package) in peers.items() if not all(map(find_spec, modules))}


def peer_packages() -> list[str]:
    """The packages that peers come from, once each."""
    return list(
        dict.fromkeys(["bodycompress", "lzma_mt", *(p.package for p in _PEERS.values() if p.package)])
    )


def open_peer(name: str, order: Order, faces: npt.NDArray[np.int32] | None) -> Way:
    """A peer by its name; `order` for those who like neighbours side by side, `faces` for Draco."""
    encode, decode = _PEERS[name].make(order, faces)
    return Way(name, False, encode, decode)


# ---- bodycompress ------------------------------------------------------------------------------------------

_BODYCOMPRESS_MODULES: Final = ("bodycompress", "lzma_mt", "zstandard", "msgpack_numpy")


def stock(name: str, folder: Path, *, preset: int, order: Order | None, compression: str = "xz") -> Way:
    """Stock bodycompress in one thread."""
    _stand_in_for_camera_packages()
    import bodycompress

    path = folder / "stock.xz"

    def encode(vertices: Float32) -> Payload:
        path.unlink(missing_ok=True)
        settings: dict[str, Any] = {"compression": compression, "compression_level": preset}
        with bodycompress.BodyCompressor(str(path), n_threads=1, vertex_order=order, **settings) as writer:
            for frame in vertices:
                writer.append(vertices=frame)
        return path

    def decode(payload: Path) -> Iterator[Float32]:
        for frame in bodycompress.BodyDecompressor(str(payload), n_threads=1):
            yield frame["vertices"]

    return Way(name, False, encode, decode)


def _stand_in_for_camera_packages() -> None:
    """bodycompress imports deltacamera and scipy, 450 MB, for its camera class, which no mesh needs."""
    if "bodycompress" in sys.modules:
        return
    if find_spec("deltacamera") is None:
        sys.modules["deltacamera"] = types.ModuleType("deltacamera")
        sys.modules["deltacamera"].Camera = type("Camera", (), {})  # type: ignore[attr-defined]
    if find_spec("scipy") is None:
        for module in ("scipy", "scipy.spatial", "scipy.spatial.transform"):
            sys.modules[module] = types.ModuleType(module)
        sys.modules["scipy.spatial.transform"].Rotation = type("Rotation", (), {})  # type: ignore[attr-defined]


# ---- the others --------------------------------------------------------------------------------------------


def _steps(vertices: Float32) -> Int16:
    """Whole steps; a person within 16 m of the camera fits 16 bits."""
    return np.rint(vertices * np.float32(1 / STEP_MM)).astype(np.int16)


def _vertices(steps: Int16) -> Float32:
    return steps.astype(np.float32) * np.float32(STEP_MM)


def _differences(vertices: Float32, order: Order) -> Int16:
    """Of each frame from the one before, within two seconds; points in `order`."""
    steps = _steps(vertices)[:, :, order]
    differences = steps.copy()
    differences[1:] -= steps[:-1]
    return differences


def _summed(differences: Int16, order: Order) -> Float32:
    vertices = np.empty(differences.shape, np.float32)
    vertices[:, :, order] = _vertices(np.cumsum(differences, axis=0, dtype=np.int16))
    return vertices


def _meshopt(order: Order, _: object) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import meshoptimizer
    import zstandard

    compressor, decompressor = zstandard.ZstdCompressor(level=9), zstandard.ZstdDecompressor()
    points = len(order)

    def encode(vertices: Float32) -> Payload:
        parts = []
        for part in segments(vertices):
            differences = _differences(part, order)
            meshes = np.zeros((*differences.shape[:3], 4), np.int16)  # it takes multiples of four bytes
            meshes[..., :3] = differences
            coded = [
                meshoptimizer.encode_vertex_buffer(mesh, points, 8) for mesh in meshes.reshape(-1, points, 4)
            ]
            people = part.shape[1]
            sizes = np.array([people, *map(len, coded)], "<u4").tobytes()
            parts.append(compressor.compress(len(coded).to_bytes(4, "little") + sizes + b"".join(coded)))
        return parts

    def decode(parts: Sequence[bytes]) -> Iterator[Float32]:
        for part in parts:
            data = decompressor.decompress(part)
            count = int.from_bytes(data[:4], "little")
            people, *sizes = np.frombuffer(data, "<u4", count + 1, 4).tolist()
            at, meshes = 8 + 4 * count, []
            for size in sizes:
                coded = np.frombuffer(data, np.uint8, size, at)
                mesh = meshoptimizer.decode_vertex_buffer(points, 8, coded)
                meshes.append(mesh.view(np.int16).reshape(points, 4)[:, :3])
                at += size
            yield from _summed(np.array(meshes).reshape(-1, people, points, 3), order)

    return encode, decode


def _draco(_: Order, faces: npt.NDArray[np.int32] | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import DracoPy

    found: list[npt.NDArray[np.intp]] = []  # our points in its order, which the faces alone decide

    def encode(vertices: Float32) -> Payload:
        parts = []
        for mesh in vertices.reshape(-1, *vertices.shape[2:]):
            origin = mesh.min(axis=0)
            parts.append(
                DracoPy.encode(
                    mesh,
                    faces,
                    quantization_bits=_DRACO_BITS,
                    quantization_range=_DRACO_RANGE_MM,
                    quantization_origin=origin,
                    compression_level=7,
                )
            )
        if not found:
            seen = np.asarray(DracoPy.decode(parts[0]).points, np.float32)
            found.append(_nearest(vertices[0, 0], seen))
        return [vertices.shape[1].to_bytes(2, "little"), *parts]

    def decode(parts: Sequence[bytes]) -> Iterator[Float32]:
        people, meshes = int.from_bytes(parts[0], "little"), parts[1:]
        for first in range(0, len(meshes), people):
            frame = [np.asarray(DracoPy.decode(m).points) for m in meshes[first : first + people]]
            yield np.array(frame, np.float32)[:, found[0]]

    return encode, decode


def _nearest(points: Float32, among: Float32) -> npt.NDArray[np.intp]:
    """For each point the place of the nearest one of others."""
    squares = (among**2).sum(axis=1)
    return np.array([int((squares - 2 * (among @ point)).argmin()) for point in points])


def _blosc2(order: Order, _: object) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import blosc2

    options: dict[str, Any] = {
        "typesize": 2,
        "nthreads": 1,
        "clevel": 5,
        "codec": blosc2.Codec.ZSTD,
        "filters": [blosc2.Filter.BITSHUFFLE],
        "filters_meta": [0],
    }

    def encode(vertices: Float32) -> Payload:
        head = np.array(vertices.shape[1:3], "<u4").tobytes()
        # One coordinate after the other: their differences are alike.
        planes = (
            np.ascontiguousarray(_differences(part, order).transpose(0, 1, 3, 2))
            for part in segments(vertices)
        )
        return [head, *(blosc2.compress2(each, **options) for each in planes)]

    def decode(parts: Sequence[bytes]) -> Iterator[Float32]:
        people, points = np.frombuffer(parts[0], "<u4").tolist()
        for part in parts[1:]:
            planes = np.frombuffer(blosc2.decompress2(part, nthreads=1), np.int16)
            yield from _summed(planes.reshape(-1, people, 3, points).transpose(0, 1, 3, 2), order)

    return encode, decode


def _zstd(_: Order, __: object, *, steps: bool = False) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import zstandard

    compressor, decompressor = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()

    def encode(vertices: Float32) -> Payload:
        head = np.array(vertices.shape[1:3], "<u4").tobytes()
        arrays = (_steps(part) if steps else part for part in segments(vertices))
        return [head, *(compressor.compress(np.ascontiguousarray(each)) for each in arrays)]

    def decode(parts: Sequence[bytes]) -> Iterator[Float32]:
        people, points = np.frombuffer(parts[0], "<u4").tolist()
        for part in parts[1:]:
            data = np.frombuffer(decompressor.decompress(part), np.int16 if steps else np.float32)
            frames = data.reshape(-1, people, points, 3)
            yield from _vertices(frames) if steps else frames

    return encode, decode


def _npz(_: Order, __: object) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def encode(vertices: Float32) -> Payload:
        parts = []
        for part in segments(vertices):
            memory = io.BytesIO()
            np.savez_compressed(memory, vertices=part)
            parts.append(memory.getvalue())
        return parts

    def decode(parts: Sequence[bytes]) -> Iterator[Float32]:
        for part in parts:
            yield from np.load(io.BytesIO(part))["vertices"]

    return encode, decode


_PEERS: Final[dict[str, _Peer]] = {
    MESHOPT: _Peer(("meshoptimizer", "zstandard"), "meshoptimizer", _meshopt),
    DRACO: _Peer(("DracoPy",), "DracoPy", _draco),
    BLOSC2: _Peer(("blosc2",), "blosc2", _blosc2),
    ZSTD: _Peer(("zstandard",), "zstandard", _zstd),
    ZSTD_STEPS: _Peer(("zstandard",), "zstandard", lambda o, f: _zstd(o, f, steps=True)),
    NPZ: _Peer((), "", _npz),
}
