"""The engine and its twin take vLLM's decisions with drafts: cases that vLLM 0.24's own scheduler ran, played again.

They come from `tests.profiler.vllm_draft_decisions`, which says what is in a line. Left out is what is left out of
`tests.cluster.test_vllm_decisions`, and bursts that are cut off at ``max_model_len``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.sequence import KV, Sequence
from sunsim.latency.steps import Chunk, Outside
from sunsim.workload.acceptance import Acceptance, Rates
from tests.cluster.draft_worlds import DraftSteps
from tests.cluster.test_vllm_decisions import NotedStepwise
from tests.cluster.test_vllm_decisions import config as plain_config
from tests.cluster.worlds import play

RECORDED = Path(__file__).with_name("vllm_draft_decisions.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text().splitlines()]
MAX_MODEL_LEN = 16_384  # of every reference profile, and of these workers


@dataclass(frozen=True)
class Noted(DraftSteps):
    """Step times that write down the steps with chunks that they are asked for: decodes, their context, chunks, drafts."""

    asked: list[tuple[int, int, list[Chunk], int]] = field(default_factory=list)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        self.asked.append((batch, context_tokens, list(chunks), k))
        return super().chunked_step_k(batch, context_tokens, chunks, k)


def config(case: dict[str, Any]) -> EngineConfig:
    """The worker's options."""
    speculation = case["speculation"]
    most, ranges = speculation["num_speculative_tokens"], speculation["num_speculative_tokens_per_batch_size"]
    rates = [[Rates(0, tuple(speculation["synthetic_acceptance_rates"]))]]
    drafts = Drafts(
        num_speculative_tokens=most,
        acceptance=Acceptance(speculation["seed"], rates),
        lookahead=most if speculation["method"] == "eagle" else 0,
        by_batch=by_batch(most, ranges, case["worker"]["max_num_seqs"]) if ranges else None,
        max_model_len=MAX_MODEL_LEN,
    )
    return replace(plain_config(case), drafts=drafts)


def by_batch(most: int, ranges: list[tuple[int, int, int]], max_num_seqs: int) -> tuple[int, ...]:
    """By the requests of a step, as vLLM's ``build_dynamic_sd_schedule_lookup``: gaps carry the last number of drafts on."""
    chosen = [[k for begin, _, k in ranges if begin <= requests][-1] for requests in range(1, max_num_seqs + 1)]
    return (most, *(min(most, k) for k in chosen))


def replay(engine: Engine, case: dict[str, Any]) -> list[list[int]]:
    """Plays a case's requests; gives their stamps as they are recorded."""
    sequences = [
        (at, Sequence(i, 0, prompt, output, KV.GIVEN if arrived else KV.COMPUTE))
        for i, (at, prompt, output, arrived) in enumerate(case["requests"])
    ]
    play(engine, sequences)
    return [
        [s.scheduled_ps, s.first_ps, s.last_ps, s.preemptions, s.drafts, s.draft_tokens, s.accepted_tokens]
        for _, s in sequences
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_twin_decides_as_vllm(case: dict[str, Any]) -> None:
    stepping = NotedStepwise(config(case), Noted(**case["times"]))
    assert replay(cast("Engine", stepping), case) == case["stamps"]
    assert stepping.rows == case["rows"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_engine_decides_as_vllm(case: dict[str, Any]) -> None:
    stepping_times, leaping_times = Noted(**case["times"]), Noted(**case["times"])
    leaping = Engine(config(case), leaping_times)
    assert replay(leaping, case) == case["stamps"]
    assert leaping.steps == sum(bool(taken) for _, _, taken, _, _ in case["rows"])
    assert leaping.preemptions == sum(len(preempted) for *_, preempted in case["rows"])
    replay(cast("Engine", NotedStepwise(config(case), stepping_times)), case)
    assert leaping_times.asked == stepping_times.asked
