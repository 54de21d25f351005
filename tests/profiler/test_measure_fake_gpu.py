"""The whole measurement against steps of known length; runs only where vLLM is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")

# Sleeping is not exact, and a busy machine wakes late.
TOLERANCE_MS = 0.5


def fake_step_ms(requests: int, tokens: int) -> float:
    """What the fake GPU sleeps for."""
    return 4 + 0.02 * requests + 0.005 * (tokens - requests)


@pytest.mark.parametrize("variant", ["bf16", "awq", "fp8", "lora-r16"])
def test_a_quick_profile_has_the_fake_gpus_times(tmp_path: Path, variant: str) -> None:
    out = tmp_path / "profile.json"
    command = [sys.executable, "-m", "tests.profiler.fake_platform", str(out), variant]
    subprocess.run(command, check=True, timeout=240)
    profile: dict[str, Any] = json.loads(out.read_text())

    assert all(isinstance(seconds, float) for seconds in profile["phases"].values()), profile["phases"]
    assert profile["variant"] == variant
    assert profile["processors"] == 132
    assert profile["engine_args"].get("quantization") == ("fp8" if variant == "fp8" else None)
    assert profile["engine_args"].get("max_loras") == (3 if variant == "lora-r16" else None)
    assert profile["warm_up"]["seconds"] > 0
    for point in profile["decode_points"]:
        expected = fake_step_ms(point["batch"], point["batch"])
        assert point["step_ms_median"] == pytest.approx(expected, abs=TOLERANCE_MS)
    for point in profile["prefill_points"]:
        if not point["idle_start"]:
            expected = fake_step_ms(point["prompts"], point["new_tokens"])
            measured_ms = point["step_ms_mean" if point["lengths"] == "traffic" else "step_ms_median"]
            assert measured_ms == pytest.approx(expected, abs=TOLERANCE_MS)
    for point in profile["mixed_points"]:
        expected = fake_step_ms(point["batch"] + 1, point["batch"] + point["chunk_tokens"])
        if point["lengths"] == "uniform":
            assert point["step_ms_median"] == pytest.approx(expected, abs=TOLERANCE_MS)
    uniform = [point["batch"] for point in profile["decode_points"] if point["lengths"] == "uniform"]
    assert uniform == [16, 9, 8, 4, 2, 1]
    traffic = {point["batch"] for point in profile["decode_points"] if point["lengths"] == "traffic"}
    assert max(traffic) == 12
    assert len(traffic) > 6
    even = {point["chunk_tokens"] for point in profile["idle_starts"] if point["lengths"] == "uniform"}
    assert even == {0, 128}
    assert {point["lengths"] for point in profile["idle_starts"]} == {"uniform", "traffic"}
    phases = [record["phase"] for record in profile["host_stalls"]]
    assert phases == ["decode uniform 135", "traffic-chat"]
    assert {(p["prompts"], p["new_tokens"]) for p in profile["prefill_points"]} >= {(1, 64), (1, 512), (4, 512)}
    assert {point["joined"] for point in profile["join_points"]} == {1, 4}
    assert {point["where"] for point in profile["first_token_points"]} == {"busy", "idle", "prefill", "traffic"}
