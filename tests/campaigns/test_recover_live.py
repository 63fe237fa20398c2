"""A camera that stays away: the rig's own command is run for it, and nobody else notices."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.campaigns._account import camera_account
from scripts.campaigns._faults import Faults
from scripts.campaigns._session import RigPlan, TriedRecording


def test_recover_command_brings_a_camera_back_and_costs_the_others_nothing(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    # The command does what a power cycle does: the first switch, "absent", is off afterwards.
    script = f'echo "$NIGHTRIG_CAMERA $NIGHTRIG_SERIAL" > {logs}/told; '
    script += f"printf '\\000' | dd of={logs}/$NIGHTRIG_CAMERA.faults conv=notrunc"
    plan = RigPlan(
        cameras=2,
        width=64,
        height=48,
        queue_mb=16,
        camera=f"recover_command = ['sh', '-c', {json.dumps(script)}]\nrecover_after = 2",
    )
    with TriedRecording(plan, logs, tmp_path / "root") as recording:
        recording.wait_until_started()
        Faults(logs / "cam1.faults")["absent"] = 1
        recording.wait_for(lambda: "camera cam1 is back" in recording.said(), 30)
        assert recording.stop() == 3
        lines = (recording.session / "events.jsonl").read_text().splitlines()
        kinds = [json.loads(line)["event"] for line in lines]
        assert "recover-command" in kinds
        assert "recover-command-ended" in kinds
        assert (logs / "told").read_text() == "cam1 cam1\n"
        account = camera_account(recording.session / "cam0", logs / "cam0.sent", "cam0")
        assert account.sent == account.written > 0
