"""A writer in a process of its own, frames coming as from cameras: the cores and the memory it takes.

The child reads its frames from a file, one at a time into one array, back and forth over the clip; what
reading costs is taken off. Memory is the largest resident set since the imports; the frames' own pages are
the system's, not the child's. A fit of a model is timed where it happens.

    python scripts/bench/_mesh_live.py FRAMES.bin PEOPLE POINTS JOINTS SECONDS CODEC OUT
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

from scripts.bench._mesh_ways import FPS  # noqa: E402
from scripts.bench._usage import MB, OthersLoad  # noqa: E402

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Live:
    """What a writer has used. cpu_s: of everything, fits included; start_mb: resident before there was a
    writer. late: frames that append() has let wait for more than a frame's time."""

    codec: str
    people: int
    seconds: float
    cpu_s: float
    fits: int
    fit_cpu_s: float
    start_mb: float
    peak_mb: float
    late: int
    file_bytes: int
    raw_bytes: int
    others_cores: float = 0.0

    @property
    def cores(self) -> float:
        """With the fits of this time inside."""
        return self.cpu_s / self.seconds

    @property
    def cores_without_fits(self) -> float:
        return (self.cpu_s - self.fit_cpu_s) / self.seconds


def memory_a_person_mb(few: Live, many: Live) -> float:
    """How much more each further person takes."""
    return (many.peak_mb - few.peak_mb) / (many.people - few.people)


def measure_live(vertices: Float32, joints: Float32, *, codec: str, seconds: float, folder: Path) -> Live:
    """Run the child on a clip (frames, people, points, 3). Raises CalledProcessError."""
    frames = folder / "frames.bin"
    with frames.open("wb") as file:
        for pair in zip(vertices, joints, strict=True):
            for array in pair:
                file.write(np.ascontiguousarray(array, np.float32).tobytes())
    out = folder / f"live.{'nrm' if codec == 'native' else 'xz'}"
    out.unlink(missing_ok=True)
    _, people, points, _ = vertices.shape
    numbers = [str(each) for each in (people, points, joints.shape[2], seconds)]
    others = OthersLoad()
    command = [sys.executable, str(Path(__file__)), str(frames), *numbers, codec, str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Live(**(json.loads(done.stdout) | {"others_cores": others.cores}))


# ---- the child ---------------------------------------------------------------------------------------------


def main(frames: str, people: str, points: str, joints: str, seconds: str, codec: str, out: str) -> int:
    from codec.mesh import MeshWriter

    fits = _time_fits()
    shapes = [(int(people), int(points), 3), (int(people), int(joints), 3)]
    frame = [np.empty(shape, np.float32) for shape in shapes]
    settings: dict[str, Any] = {"codec": codec, "fps": FPS}
    if codec == "bodycompress":
        settings["preset"] = "auto"
    start_mb = _forget_peak()
    began_s, reading_s, late = time.process_time(), 0.0, 0
    with Path(frames).open("rb", buffering=0) as file, MeshWriter(out, **settings) as writer:
        count = os.fstat(file.fileno()).st_size // sum(each.nbytes for each in frame)
        due = time.monotonic()
        for number in range(round(float(seconds) * FPS)):
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1 / FPS
            before = time.thread_time()
            _read(file, number, count, frame)
            reading_s += time.thread_time() - before
            writer.append(frame[0], frame[1])
            late += time.monotonic() > due
    raw_bytes = sum(each.nbytes for each in frame) * (number + 1)
    live = Live(
        codec=codec,
        people=int(people),
        seconds=float(seconds),
        cpu_s=time.process_time() - began_s - reading_s,
        fits=len(fits),
        fit_cpu_s=sum(fits),
        start_mb=start_mb,
        peak_mb=_status_mb("VmHWM"),
        late=late,
        file_bytes=Path(out).stat().st_size,
        raw_bytes=raw_bytes,
    )
    print(json.dumps(asdict(live)))
    return 0


def _read(file: Any, number: int, count: int, frame: list[Float32]) -> None:
    """Frame `number` of a clip of `count` that goes back and forth."""
    place = number % max(1, 2 * count - 2)
    file.seek(min(place, 2 * count - 2 - place) * sum(each.nbytes for each in frame))
    for each in frame:
        file.readinto(each)


def _time_fits() -> list[float]:
    """Gets the CPU seconds of every fit of this process."""
    from codec.mesh import _training

    seconds: list[float] = []
    fit_model = _training.fit_model

    def timed(*arguments: Any, **settings: Any) -> Any:
        before = time.thread_time()
        try:
            return fit_model(*arguments, **settings)
        finally:
            seconds.append(time.thread_time() - before)

    _training.fit_model = timed
    return seconds


def _forget_peak() -> float:
    """Resident megabytes now, which are the peak from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / MB
    return 0.0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
