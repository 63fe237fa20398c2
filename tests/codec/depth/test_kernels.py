"""Stored damage is refused by kernel and twin, and the checks of the kernels find what they are for.

The payloads in damaged/ are as nearly right as can be: each breaks the one rule that it is named after.
Those called sound break none, but ask for much.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from codec.depth import _native, _rans_twin, get_codec
from codec.depth._context_model import NEWEST_MAP, context_map
from codec.errors import CodecError

ROOT = Path(__file__).resolve().parents[3]
DAMAGED = sorted((Path(__file__).parent / "damaged").glob("*.bin"))
MAX_PIXELS = 2**22
FUZZED_FOLDERS = (
    "scripts/fuzz",
    "codec/depth/native",
    "codec/depth/maps",
    "codec/mesh/native",
    "tests/codec/depth",
)
CODEC_OF = {path: "max" if path.stem.startswith("max-") else "lattice-rans" for path in DAMAGED}


@pytest.mark.parametrize("coder", ["kernel", "twin"])
@pytest.mark.parametrize("path", DAMAGED, ids=lambda path: path.stem)
def test_what_breaks_one_rule_is_refused_and_what_breaks_none_is_read(
    path: Path, coder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if coder == "twin":
        monkeypatch.setattr(_native, "kernels", None)
    elif _native.kernels is None:
        pytest.skip("the native kernels are not built: install a C compiler and python3-dev")
    codec = get_codec(CODEC_OF[path], max_pixels=MAX_PIXELS)
    if "-sound-" in path.stem:
        assert not codec.decode(path.read_bytes()).any()
        return
    with pytest.raises(CodecError, match="damaged"):
        codec.decode(path.read_bytes())


def test_damage_is_stored_for_every_rule() -> None:
    names = list(CODEC_OF.values())
    assert (names.count("lattice-rans"), names.count("max")) == (25, 13)
    assert sum(path.stat().st_size for path in DAMAGED) < 17_000


def test_lanes_that_a_payload_claims_cost_the_twin_no_memory() -> None:
    """Few pixels in a row and many lanes: for each pixel 64 times a lane does nothing."""
    path = Path(__file__).parent / "damaged" / "lattice-rans-sound-nothing-measured-32-lanes.bin"
    body = memoryview(path.read_bytes())[12:]
    peaks = []
    for height in (100, 400):
        target = np.empty((height, 8), np.uint16)
        tracemalloc.start()
        _rans_twin.decode(body, context_map(NEWEST_MAP), target)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert not target.any()
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize("where", ["side information", "words"])
def test_bytes_that_no_image_of_its_size_can_need_cost_the_twin_no_memory(where: str) -> None:
    image = np.full((8, 8), 500, np.uint16)
    body = _rans_twin.encode(image, context_map(NEWEST_MAP)) or b""
    too_many = bytes(4_000_000)
    if where == "words":
        body += too_many
    else:
        side_bytes = int.from_bytes(body[1:5], "little") + len(too_many)
        body = body[:1] + side_bytes.to_bytes(4, "little") + body[5:-16] + too_many + body[-16:]
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="damaged"):
            _rans_twin.decode(memoryview(body), context_map(NEWEST_MAP), np.empty_like(image))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def run(*command: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`path` is the only folder in which programs are found."""
    environment = os.environ | ({} if path is None else {"PATH": str(path)})
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_the_kernels_of_this_machine_agree_on_stored_payloads_and_on_chance() -> None:
    if not shutil.which("gcc"):
        pytest.skip("no gcc: apt-get install -y gcc")
    answer = run(ROOT / "scripts" / "check_kernels", "--only", "gcc", "gcc-plain", "--images", "40")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count("passed: 3 stored, 40 drawn") == 2
    assert answer.stdout.count("passed: 4 stored, 40 drawn; narrow ") == 2
    assert answer.stdout.count("passed: 6 stored, 24 drawn; skin ") == 2


@pytest.mark.parametrize("script", ["check_kernels", "fuzz/run", "fuzz/compare_twin"])
def test_scripts_explain_themselves_and_refuse_what_they_do_not_know(script: str) -> None:
    assert os.access(ROOT / "scripts" / script, os.X_OK)
    assert "usage" in run(ROOT / "scripts" / script, "--help").stdout
    wrong = ["--only", "vax"] if script == "check_kernels" else ["--cases", "none"]
    assert run(ROOT / "scripts" / script, *wrong).returncode == 2


def test_a_check_that_could_check_nothing_does_not_pass(tmp_path: Path) -> None:
    answer = run(ROOT / "scripts" / "check_kernels", path=tmp_path)
    assert answer.returncode == 3
    assert "not available: gcc: " in answer.stdout
    assert "nothing was checked" in answer.stdout.splitlines()[-1]


LINKER = "/bin/ld: cannot find /lib/clang/14.0.6/lib/linux/libclang_rt.{}-x86_64.a: No such file or directory"


def test_a_clang_without_sanitizers_is_no_failure_of_the_kernels(tmp_path: Path) -> None:
    program(
        tmp_path / "clang", f'case " $* " in *" -c "*) ;; *) echo "{LINKER.format("asan")}" >&2; exit 1; esac'
    )
    answer = run(ROOT / "scripts" / "check_kernels", "--only", "clang-sanitized", path=tmp_path)
    assert answer.returncode == 3, answer.stdout + answer.stderr
    assert "not available: clang-sanitized: " in answer.stdout
    assert "apt-get install -y clang libclang-rt-dev" in answer.stdout


def test_without_clang_or_its_fuzzer_one_line_says_what_to_install(tmp_path: Path) -> None:
    for folder in FUZZED_FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    command = (tmp_path / "scripts" / "fuzz" / "run", "max-decode", "--cases", "1")
    answer = run(*command, path=binaries)
    assert answer.returncode == 3
    assert answer.stdout.endswith("apt-get install -y clang libclang-rt-dev\n")
    version = 'if [ "$1" = --version ]; then echo "Debian clang version 14.0.6"; exit; fi'
    program(binaries / "clang", f'{version}; echo "{LINKER.format("fuzzer")}" >&2; exit 1')
    answer = run(*command, path=binaries)
    assert answer.returncode == 3
    (line,) = answer.stdout.splitlines()
    assert line.startswith("fuzz: clang has no libFuzzer: ")
    assert line.endswith("apt-get install -y libclang-rt-14-dev")


@pytest.mark.parametrize(
    ("target", "codec", "file", "bound", "weaker"),
    [
        (
            "lattice-rans-decode",
            "depth",
            "lattice_rans_decode.c",
            "in_lane > limit - used",
            "in_lane > limit",
        ),
        ("mesh-decode", "mesh", "affine_decode.c", "from->end - from->at < 2", "from->end == from->at"),
        (
            "mesh-encode",
            "mesh",
            "affine_entropy.c",
            "coder->at - coder->start < 2",
            "coder->at < coder->start",
        ),
    ],
    ids=["lattice-rans-decode", "mesh-decode", "mesh-encode"],
)
def test_a_kernel_that_goes_out_of_bounds_is_found_by_the_fuzzer(
    tmp_path: Path, target: str, codec: str, file: str, bound: str, weaker: str
) -> None:
    if not shutil.which("clang") or not list(Path("/usr/lib").glob("llvm-*/lib/clang/*/lib/linux/*fuzzer*")):
        pytest.skip("no clang with libFuzzer: apt-get install -y clang libclang-rt-14-dev")
    for folder in FUZZED_FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    source = tmp_path / "codec" / codec / "native" / file
    good = source.read_text()
    spoilt = good.replace(bound, weaker)
    assert spoilt != good
    source.write_text(spoilt)
    answer = run(tmp_path / "scripts" / "fuzz" / "run", target, "--cases", "50000", "--seed", "1")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "FINDING: ERROR: AddressSanitizer: heap-buffer-overflow" in answer.stdout
