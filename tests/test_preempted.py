"""What is said of prefill where decode preempts: only a decoder that cannot prefill sends requests back there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.files.quick import be_quick
from tests.plan.small import SCENARIO, invoke
from tests.synthetic import synthetic_profile


def ran(folder: Path, variant: str, policy: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The summary's entry of an arm whose decode workers preempt, and what `split` says of its prefill streams."""
    (folder / "profile.json").write_text(json.dumps(synthetic_profile(variant=variant)))
    file = folder / "small.yaml"
    file.write_text(SCENARIO[: SCENARIO.index("- name: sun")])
    decode = f"{{profile: profile.json, policy: {policy}, workers: 2, num_gpu_blocks: 500}}"
    options = ("--set", f"arms.isolated.decode={decode}", "--set", "arms.isolated.prefill.router=round-robin")
    assert invoke("run", file, "--out", folder / "run", "--quiet", *options)[0] == 0
    assert invoke("split", file, "--out", folder / "split", "--stage", "prefill", *options)[0] == 0
    (entry,) = json.loads((folder / "run" / "summary.json").read_text())["arms"].values()
    (streams,) = json.loads((folder / "split" / "split.json").read_text())["arms"].values()
    assert entry["preemptions"] > 0
    return entry, streams


@pytest.mark.parametrize(
    ("variant", "policy", "sends_back"),
    [("bf16", "shared", True), ("bf16", "isolated", False), ("lora-r16", "shared", False)],
)
def test_prefill_is_known_unless_requests_are_sent_back_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, policy: str, sends_back: bool
) -> None:
    be_quick(monkeypatch)
    entry, streams = ran(tmp_path, variant, policy)
    occupied = [w["mean_kv_occupancy"] for w in entry["workers"].values() if w["stage"] == "prefill"]
    assert all((known is None) is sends_back for known in occupied)
    assert ("sent back" in streams["why"]) is sends_back
    assert streams["exact"] is not sends_back
