"""What SUN's later rounds cost: KV that decoding made computed again or kept, prompts computed by prefill or by decode workers.

``python -m benchmarks.sessions.history [FIGURE.png]`` serves ``scenarios/sessions-history.yaml`` with other numbers of rounds
and other lengths of answers, beside closed forms, and prints tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from plots.history import plot_history
from sunsim.clock import PS_PER_MS
from sunsim.cluster.simulation import simulate_arm
from sunsim.latency.profile import Profile, load_named
from sunsim.latency.steps import Chunk
from sunsim.records import ArmResult
from sunsim.report.format import ABSENT
from sunsim.report.text_table import TextTable
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario, build_requests, load_scenario
from sunsim.workload.blocks import Conversations, FixedTokens

SCENARIO = Path(__file__).parents[2] / "scenarios" / "sessions-history.yaml"
ROUNDS = (1, 2, 4, 8)
OUTPUT_TOKENS = (64, 256, 1024)
PRINTED_ROUNDS = (2, 8)
OUTPUT_TOKENS_S = 3000.0
"""That are asked for a second in every setting, so that decode workers are about equally full."""
REQUESTS = 2000
"""Expected, of each setting."""
PROFILES = ("h100-80gb/llama-3.1-8b-bf16", "h200-141gb/llama-3.1-8b-bf16")
MODELS = range(1, 7)
NOTE = (
    "{gpus} GPUs of {profile}, {models} models, sessions of so many rounds; {prompt:,} prompt tokens in the first round and "
    "{user:,} new ones in each other, {rate:,.0f} output tokens/s asked for. Prefill: GPU time of the prefill workers a "
    "session; closed: the same if each prompt's new tokens are a step of their own. Moved: KV over the link a session, both "
    "ways, and its closed form. TTFT of all rounds but the first. TPOT closed: that of remote over the share of time that "
    "chunks leave to decode workers. Blocks: of KV on a decode worker."
)
BLOCKS_NOTE = "KV blocks left on a decode worker that holds the prefill modules of so many models beside the decoder; 0: does not fit."


class Point(NamedTuple):
    """An arm with sessions of so many rounds and answers of so many tokens; means.

    Attributes:
        prefill_ms, moved_gb: a session; `closed_ms` and `closed_gb` by closed form.
        ttft_ms: of later rounds; NaN without any.
        tpot_ms: of all rounds; `closed_tpot_ms` from that of the arm that prefills remotely, whose own is as simulated.
        num_gpu_blocks: of a decode worker.
    """

    rounds: int
    output_tokens: int
    arm: str
    prefill_ms: float
    closed_ms: float
    moved_gb: float
    closed_gb: float
    ttft_ms: float
    tpot_ms: float
    closed_tpot_ms: float
    num_gpu_blocks: int


class New(NamedTuple):
    """Of a session by round: what is computed of its prompt and where, and how many tokens are moved for it, int64[n]."""

    chunks: list[Chunk]
    local: list[bool]
    moved: NDArray[np.int64]

    def ms(self, arm: Arm, *, local: bool) -> float:
        """How long its chunks take on prefill workers, or those on decode workers, each a step of its own."""
        assert arm.prefill
        chunks = [chunk for chunk, there in zip(self.chunks, self.local, strict=True) if there == local]
        return sum(arm.prefill.times.chunked_step(0, 0, [chunk])[0] for chunk in chunks) / PS_PER_MS


def setting(rounds: int, output_tokens: int) -> Scenario:
    """The scenario with sessions of just so many rounds and answers of so many tokens."""
    duration_s = REQUESTS * output_tokens / OUTPUT_TOKENS_S
    changes = {
        "workload.rounds": f"{{mean: {rounds}, max: {rounds}}}",
        "workload.output.tokens": output_tokens,
        "workload.arrivals.rate_rps": OUTPUT_TOKENS_S / output_tokens / rounds,
        "workload.duration_s": duration_s,
        "measure.warmup_s": duration_s / 4,
    }
    return load_scenario(SCENARIO, [f"{path}={value}" for path, value in changes.items()])


def new_tokens(scenario: Scenario, arm: Arm, rounds: int) -> New:
    """Closed form: full blocks of the prompt before are found, and with ``keep`` those of its answer.

    Kept answers are moved from decode to prefill, those computed again the other way.
    """
    workload, decode = scenario.workload, arm.block.decode
    assert isinstance(workload, Conversations)
    assert isinstance(workload.user, FixedTokens)
    assert isinstance(workload.output, FixedTokens)
    assert decode
    assert arm.prefill
    block, answer = arm.prefill.profile.block_size, workload.output.tokens
    round_ = np.arange(rounds)
    prompt = workload.system_prompt_tokens + workload.user.tokens * (round_ + 1) + answer * round_
    full = np.append(workload.system_prompt_tokens, prompt[:-1]) // block * block
    # The last token of an answer has no KV when its request ends.
    known = np.where(round_ > 0, (prompt - workload.user.tokens - 1) // block * block, full)
    before = known if decode.history == "keep" else full
    local = (round_ > 0) & (decode.append_prefill == "local")
    chunks = [Chunk(*each) for each in zip((prompt - before).tolist(), before.tolist(), strict=True)]
    return New(chunks, local.tolist(), np.where(local, 0, prompt - full))


def measured(task: tuple[int, int]) -> list[Point]:
    """Simulates all arms with so many rounds and output tokens."""
    scenario = setting(*task)
    requests = build_requests(scenario)
    results = [simulate_arm(scenario, arm, requests) for arm in scenario.arms]
    points = [_point(task, scenario, arm, result) for arm, result in zip(scenario.arms, results, strict=True)]
    remote_ms = {point.arm: point.tpot_ms for point in points}
    return [
        point._replace(closed_tpot_ms=remote_ms[point.arm.replace("local", "remote")] / point.closed_tpot_ms)
        for point in points
    ]


def _point(task: tuple[int, int], scenario: Scenario, arm: Arm, result: ArmResult) -> Point:
    """With the share of time that chunks leave to decode workers in place of `closed_tpot_ms`."""
    assert arm.prefill
    assert arm.decode
    rounds, output_tokens = task
    rows, new = result.rows, new_tokens(scenario, arm, rounds)
    sessions = rows["session"].nunique()
    kv_gb = arm.prefill.profile.kv_bytes_per_token_of_all / 1e9
    sessions_s = OUTPUT_TOKENS_S / output_tokens / rounds / sum(arm.decode.roles.values())
    counted = rows[rows["arrival_s"] >= scenario.measure.warmup_s]
    later = counted[counted["round"] > 0]
    decode_s = counted["last_token_s"] - counted["first_token_s"]
    return Point(
        *task,
        arm.name,
        prefill_ms=1000 * sum(w.busy_s for w in result.workers if w.role.stage is Stage.PREFILL) / sessions,
        closed_ms=new.ms(arm, local=False),
        moved_gb=float(rows["moved_tokens"].sum()) * kv_gb / sessions,
        closed_gb=float(new.moved.sum()) * kv_gb,
        ttft_ms=1000 * float((later["first_token_s"] - later["arrival_s"]).mean()),
        tpot_ms=1000 * float((decode_s / (counted["output_tokens"] - 1)).mean()),
        closed_tpot_ms=1 - sessions_s * new.ms(arm, local=True) / 1000,
        num_gpu_blocks=arm.decode.num_gpu_blocks,
    )


def blocks_left(profile: Profile, models: int) -> int:
    """KV blocks of a decode worker beside the prefill modules of so many models."""
    block_bytes = profile.block_size * profile.kv_bytes_per_token
    return max(0, (profile.num_gpu_blocks * block_bytes - models * profile.weight_bytes) // block_bytes)


def tables(scenario: Scenario, points: Sequence[Point]) -> Iterator[str | TextTable]:
    """One with a row an arm, and one of the memory that prefill modules take."""
    workload, prefill = scenario.workload, scenario.arms[0].prefill
    assert isinstance(workload, Conversations)
    assert isinstance(workload.user, FixedTokens)
    assert prefill
    yield NOTE.format(
        gpus=scenario.arms[0].gpus,
        profile=prefill.profile_name,
        models=len(scenario.model_names),
        prompt=workload.system_prompt_tokens + workload.user.tokens,
        user=workload.user.tokens,
        rate=OUTPUT_TOKENS_S,
    )
    headers = ("", "prefill\nms", "closed", "moved\nGB", "closed", "TTFT,\nlater ms", "TPOT\nms", "closed", "blocks")
    yield TextTable("", headers, list(_rows(points)))
    yield BLOCKS_NOTE
    profiles = [load_named(name) for name in PROFILES]
    rows = [(str(models), *(f"{blocks_left(profile, models):,}" for profile in profiles)) for models in MODELS]
    yield TextTable("", ("models", *PROFILES), rows)


def _rows(points: Sequence[Point]) -> Iterator[tuple[str, ...]]:
    for rounds in PRINTED_ROUNDS:
        for output_tokens in OUTPUT_TOKENS:
            yield (f"{rounds} rounds, {output_tokens:,} output tokens",)
            for point in points:
                if (point.rounds, point.output_tokens) == (rounds, output_tokens):
                    yield (
                        point.arm,
                        f"{point.prefill_ms:.1f}",
                        f"{point.closed_ms:.1f}",
                        f"{point.moved_gb:.3f}",
                        f"{point.closed_gb:.3f}",
                        ABSENT if np.isnan(point.ttft_ms) else f"{point.ttft_ms:.1f}",
                        f"{point.tpot_ms:.2f}",
                        f"{point.closed_tpot_ms:.2f}",
                        f"{point.num_gpu_blocks:,}",
                    )


def main() -> None:
    """Prints the tables; draws the figure if a file is named."""
    tasks = [(rounds, output_tokens) for output_tokens in OUTPUT_TOKENS for rounds in ROUNDS]
    points = [point for found in simulate_all(tasks, measured).values() for point in found]
    for file in sys.argv[1:]:
        plot_history(pd.DataFrame(points), Path(file))
    show(tables(setting(*tasks[0]), points))


if __name__ == "__main__":
    main()
