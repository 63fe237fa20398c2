"""Meshes of people on disk: files that bodycompress opens, native ones, single meshes for other programs.

`MeshWriter` and `MeshReader` own a file each; `BodyCompressor` and `BodyDecompressor` are the same under
the names and arguments of bodycompress; `Camera` is what a frame's `camera` stands for; `write_obj` and
`write_ply` export one mesh.
"""

from __future__ import annotations

from codec.mesh.camera import Camera
from codec.mesh.drop_in import BodyCompressor, BodyDecompressor
from codec.mesh.export import write_obj, write_ply
from codec.mesh.mesh_files import MeshReader, MeshWriter

__all__ = [
    "BodyCompressor",
    "BodyDecompressor",
    "Camera",
    "MeshReader",
    "MeshWriter",
    "write_obj",
    "write_ply",
]
