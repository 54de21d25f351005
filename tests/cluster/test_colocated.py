"""Workers that prefill and decode, and adapters, which may share them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.worlds import pool, scenario, serve, write_profile
from tests.metrics.synthetic import toy_summary

OWN = {"policy": "isolated", "workers": {"a": 1, "b": 1}}


def test_a_lone_request_takes_its_prefill_and_its_decodes(tmp_path: Path) -> None:
    world = scenario(["a", "b"], {"colocated": pool(write_profile(tmp_path), **OWN)})
    row = serve(world, [(0, 0, 1024, 11)]).rows.iloc[0]
    # The synthetic profile's formulas, and 40 ns for each token of context in each of ten decodes.
    prefill_ms = 8 + 0.02 * 1024 + 8e-7 * 1024 * 1025 / 2
    decodes_ms = sum(7 + 0.02 + 4e-5 * (1024 + n) for n in range(1, 11))
    assert row["first_token_s"] * 1e3 == pytest.approx(prefill_ms, rel=1e-3)
    assert (row["last_token_s"] - row["first_token_s"]) * 1e3 == pytest.approx(decodes_ms, rel=1e-3)
    assert pd.isna(row["prefill_worker"])
    assert row["decode_worker"] == "colocated/a/0"


def test_a_prompt_holds_up_the_decodes_beside_it(tmp_path: Path) -> None:
    world = scenario(["a", "b"], {"colocated": pool(write_profile(tmp_path), **OWN)})
    rows = [(0, 0, 16, 21), (50 * 10**9, 0, 4096, 2)]
    alone, beside = serve(world, rows[:1]).rows.iloc[0], serve(world, rows).rows.iloc[0]
    chunk_s = (8 + 0.02 * 4096 + 8e-7 * 4096 * 4097 / 2) / 1e3
    held_up_s = beside["last_token_s"] - alone["last_token_s"]
    assert held_up_s == pytest.approx(chunk_s - 0.007, abs=0.002)


def test_every_worker_counts_as_a_decode_gpu(tmp_path: Path) -> None:
    world = scenario(["a", "b"], {"colocated": pool(write_profile(tmp_path), **OWN)})
    result = serve(world, [(i * 10**9, i % 2, 100, 20) for i in range(20)])
    entry = toy_summary(result)["arms"]["arm"]
    assert (entry["gpus"], entry["decode_gpus"], entry["completed"]) == (2, 2, 20)
    assert {worker["stage"] for worker in entry["workers"].values()} == {"decode"}


@pytest.mark.parametrize(("variant", "steps"), [("bf16", 2), ("lora-r16", 1)])
def test_only_adapters_share_a_prefill_step(tmp_path: Path, variant: str, steps: int) -> None:
    world = scenario(["a", "b"], {"prefill": pool(write_profile(tmp_path, variant=variant))})
    # Two more come while the first is computed: they wait for the same decision.
    rows = [(0, 0, 2048, 1), (10**9, 0, 64, 1), (10**9, 1, 64, 1)]
    result = serve(world, rows)
    starts = result.rows["prefill_start_s"].tolist()[1:]
    assert len(set(starts)) == steps
