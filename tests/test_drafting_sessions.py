"""Conversations on workers that draft and cache prefixes, from the scenario's file to the rows of its requests."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import sunsim
from sunsim.result import Result
from tests.synthetic import write_family

BLOCK = 16
CACHES = "profile: synthetic.json, policy: isolated, workers: 1, enable_prefix_caching: true"
DRAFTS = "num_speculative_tokens: 3, synthetic_acceptance_rates: [0.75, 0.55, 0.4]"
EAGLE, N_GRAM = f"speculative_config: {{{DRAFTS}}}", f"speculative_config: {{{DRAFTS}, method: ngram_gpu}}"
SCENARIO = f"""\
name: talks
models: {{count: 1}}
workload:
  kind: sessions
  duration_s: 501
  arrivals: {{kind: constant, rate_rps: 0.01}}
  rounds: {{mean: 4, max: 6}}
  think_s: {{mean: 1}}
  user: {{kind: lognormal, median_tokens: 60, sigma: 0.8, max_tokens: 300}}
  output: {{kind: lognormal, median_tokens: 50, sigma: 0.8, max_tokens: 200}}
slo: {{ttft_ms: 2000, tpot_ms: 25}}
arms:
  - {{name: plain, colocated: {{{CACHES}}}}}
  - {{name: eagle, colocated: {{{CACHES}, {EAGLE}}}}}
  - {{name: n-gram, colocated: {{{CACHES}, {N_GRAM}}}}}
  - {{name: remote, prefill: {{{CACHES}}}, decode: {{{CACHES}, {EAGLE}}}}}
  - {{name: local, prefill: {{{CACHES}}}, decode: {{{CACHES}, {EAGLE}, append_prefill: local}}}}
  - name: sun-local
    prefill: {{{CACHES}}}
    decode: {{profile: synthetic.json, policy: shared, workers: 1, enable_prefix_caching: true, {EAGLE}, append_prefill: local}}
"""


def serve(folder: Path) -> Result:
    """One conversation at a time."""
    for method in ("eagle", "ngram_gpu"):
        write_family(folder, 1, 3, method=method)
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO)
    return sunsim.simulate(sunsim.load(path))


def full_blocks(tokens: pd.Series) -> pd.Series:
    return tokens // BLOCK * BLOCK


def test_later_rounds_find_what_vllm_would_find(tmp_path: Path) -> None:
    rows = serve(tmp_path).requests
    of = {name: arm.reset_index(drop=True) for name, arm in rows.groupby("arm")}
    plain = of["plain"]
    later = plain["round"] > 0
    before = plain[["prompt_tokens", "output_tokens"]].shift()[later].sum(axis=1).astype(int)
    # A later prompt has at least one token more than the conversation before it, whose last token nobody computed.
    found = full_blocks(before - 1)
    assert later.sum() > 5
    assert (plain["cached_tokens"][later] == found).all()
    assert of["n-gram"]["cached_tokens"].equals(plain["cached_tokens"])
    of_drafter = (found - BLOCK).clip(lower=0)
    assert (of["eagle"]["cached_tokens"][later] == of_drafter).all()
    assert (of["local"]["cached_tokens"][later] == of_drafter).all()
    prompts = plain["prompt_tokens"].shift()[later].astype(int)
    remote = (full_blocks(prompts) - BLOCK).clip(lower=0)
    assert (of["remote"]["cached_tokens"][later] == remote).all()
    assert (of["remote"]["moved_tokens"][later] == plain["prompt_tokens"][later] - of_drafter).all()
    assert (of["sun-local"]["appended"][later] == "local").all()


def test_all_arms_decode_faster_with_the_same_luck(tmp_path: Path) -> None:
    result = serve(tmp_path)
    of = {name: arm.reset_index(drop=True) for name, arm in result.requests.groupby("arm")}
    for name in ("n-gram", "remote", "local", "sun-local"):
        assert of[name]["accepted_tokens"].equals(of["eagle"]["accepted_tokens"]), name
        assert of[name]["bursts"].equals(of["eagle"]["bursts"]), name
    entries = result.summary["arms"]
    assert entries["eagle"]["without_drafts"] == "plain"
    assert entries["eagle"]["mean_tpot_ms"] < entries["plain"]["mean_tpot_ms"]
