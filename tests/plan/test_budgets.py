"""Plans with options of an engine that no profile was measured with."""

from __future__ import annotations

import json
from pathlib import Path

from tests.plan.small import invoke


def test_a_budget_of_tokens_that_was_not_measured_buys_no_fewer_gpus(tmp_path: Path) -> None:
    pool = {"profile": "h100-80gb/llama-3.1-8b-bf16", "policy": "isolated", "workers": 1}
    file = tmp_path / "budgets.yaml"
    file.write_text(
        json.dumps(
            {
                "name": "budgets",
                "models": {"count": 1},
                "workload": {
                    "kind": "synthetic",
                    "duration_s": 20,
                    "arrivals": {"kind": "poisson", "rate_rps": 200},
                    "lengths": {"kind": "fixed", "prompt_tokens": 1024, "output_tokens": 2},
                },
                "slo": {"ttft_ms": 2000},
                "plan": {"seeds": 1, "sensitivity": False, "max_prefill_gpus": 16, "size": "prefill"},
                "arms": [
                    {"name": str(tokens), "prefill": pool | {"max_num_batched_tokens": tokens}}
                    for tokens in (8192, 16384)
                ],
            }
        )
    )
    assert invoke("plan", file, "--out", tmp_path / "out", "--quiet")[0] == 0
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [arm["gpus"]["all"] for arm in plan["arms"].values()] == [5, 5]
