"""Recordings as files that other programs open: one module per format, all behind `export`.

A format's module has `run(job) -> None`; what is shared stands in `_job`. Exports can be made again, so
they are written without waiting for the disk.
"""

from __future__ import annotations

from importlib import import_module

from capture.export._job import ExportJob, Selection

__all__ = ["FORMATS", "ExportJob", "Selection", "export"]

# name -> (module, what it makes)
FORMATS = {
    "png": (
        "png",
        "depth/000000.png and color/000000.jpg with camera_intrinsic.json, as Open3D's recorder does",
    ),
    "npz": ("npz", "NumPy arrays of pictures and meshes with numbers and times, at most 128 MB each"),
    "mp4": ("mp4", "a video per stream, depth in a colour map"),
    "obj": ("meshes", "a Wavefront OBJ per mesh and person, in metres"),
    "ply": ("meshes", "a binary PLY per mesh and person, in metres"),
    "csv": ("times", "the times of every frame of every stream, and what is missing"),
    "frames": ("lz4_frames", "one LZ4 file per depth frame: Camera_01/Capture_001/Frame_0001.depth"),
}


def export(format_name: str, job: ExportJob) -> None:
    """Write the selected part of a recording in that format. Raises ConfigError or StorageError."""
    import_module(f"capture.export.{FORMATS[format_name][0]}").run(job)
