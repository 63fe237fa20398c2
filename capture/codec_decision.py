"""The depth codec of a recording that is about to begin: capture.codec_choice, with a trial where needed.

A rig that names a codec which keeps pace costs nothing here. `auto`, and a codec that cannot be expected to
keep pace, cost a trial of about a second (two or three on a Pi), before the session is made and a camera is
opened. It is made anew each time: the disk, its room and the machine's load are not what they were yesterday.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from capture import codec_choice, demand
from capture.codec_choice import Choice, Machine
from capture.codec_trial import TrialJob, existing_folder, measure_apart
from capture.config import AUTO, Rig
from capture.reserve import reserve_bytes
from codec.depth import DEFAULT_CODEC, has_kernels
from codec.errors import TrialError


def decide_codec(
    rig: Rig, root: Path, *, duration_s: float | None, say: Callable[[str], None] = lambda _: None
) -> Choice:
    """The codec to record with; `say` is told when that takes a trial. Never raises for a trial that fails:
    then it is the default one."""
    asked, kernels = rig.record.codec, has_kernels()
    if not codec_choice.needs_trial(asked, kernels=kernels):
        return Choice(asked, asked, "the rig file asks for it")
    if not demand.has_depth(rig):
        return Choice(asked, DEFAULT_CODEC, "the rig has no depth to compress")
    folder = existing_folder(root)
    quality = rig.record.jpeg_quality if demand.makes_jpeg(rig) else 0
    say("trying the depth codecs ...")
    # An offline codec without its kernel takes seconds for a frame: that is known, and need not be measured.
    hopeless = codec_choice.why_too_slow(asked, kernels=True) if not kernels else ""
    tried = AUTO if hopeless else asked
    job = TrialJob(codec_choice.candidates(tried, kernels=kernels), folder, quality)
    try:
        measured = measure_apart(job)
        free = shutil.disk_usage(folder).free
    except (TrialError, OSError) as error:
        return Choice(asked, DEFAULT_CODEC, f"the default, since {error}", gives_way=asked != AUTO)
    machine = Machine(
        cores=len(os.sched_getaffinity(0)),
        disk_mb_s=measured.disk_mb_s,
        usable_bytes=max(0.0, free - reserve_bytes(rig.record.reserve_mb)),
    )
    reckonings = codec_choice.reckon(rig, measured.codecs, machine, jpeg_ns=measured.jpeg_ns)
    choice = codec_choice.choose(tried, reckonings, machine, kernels=kernels, duration_s=duration_s)
    if hopeless:
        reason = f"{hopeless}, and not native here; {choice.reason}"
        choice = replace(choice, asked=asked, reason=reason, gives_way=True)
    return choice
