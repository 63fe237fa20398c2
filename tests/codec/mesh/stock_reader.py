"""Run as a program: read a mesh file with the stock bodycompress and save what it says as .npz.

    python stock_reader.py MESH.xz THREADS OUT.npz      THREADS "default" leaves them to bodycompress
    python stock_reader.py --write MESH.xz FRAMES.npy SETTINGS      write one instead; SETTINGS as JSON

bodycompress imports deltacamera and scipy (450 MB with what they need) for its camera class alone. Where
they are not installed, empty modules stand in for them: nothing that reads or writes meshes calls them.
It is a program of its own so that no other test meets these stand-ins.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types

import numpy as np


def stand_in_for_camera_packages() -> None:
    if importlib.util.find_spec("deltacamera") is None:
        sys.modules["deltacamera"] = types.ModuleType("deltacamera")
        sys.modules["deltacamera"].Camera = type("Camera", (), {})  # type: ignore[attr-defined]
    if importlib.util.find_spec("scipy") is None:
        for name in ("scipy", "scipy.spatial", "scipy.spatial.transform"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["scipy.spatial.transform"].Rotation = type("Rotation", (), {})  # type: ignore[attr-defined]


def read(path: str, threads: str, out: str) -> None:
    import bodycompress

    settings = {} if threads == "default" else {"n_threads": int(threads)}
    reader = bodycompress.BodyDecompressor(path, **settings)
    frames = []
    ended = "clean"
    try:
        frames.extend(frame for frame in reader)
    except EOFError:
        ended = "EOFError"
    np.savez(
        out,
        vertices=np.array([frame["vertices"] for frame in frames]),
        joints=np.array([frame.get("joints", 0.0) for frame in frames]),
        numbers=np.array([frame.get("number", -1) for frame in frames]),
        length=len(reader),
        metadata=str(reader.metadata),
        ended=ended,
    )


def write(path: str, frames: str, settings: str) -> None:
    import bodycompress

    with bodycompress.BodyCompressor(path, metadata={"who": "stock"}, **json.loads(settings)) as writer:
        for number, vertices in enumerate(np.load(frames)):
            writer.append(vertices=vertices, joints=vertices[..., :24, :], number=number, box=np.arange(4.0))


if __name__ == "__main__":
    stand_in_for_camera_packages()
    if sys.argv[1] == "--write":
        write(*sys.argv[2:])
    else:
        read(*sys.argv[1:])
