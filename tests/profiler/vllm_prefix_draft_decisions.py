"""The same as `tests.profiler.vllm_decisions` with drafts and prefix caching, for `tests.cluster.test_vllm_prefix_draft_decisions`.

`python -m tests.profiler.vllm_prefix_draft_decisions OUT.jsonl`; runs only beside vLLM.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sunsim.workload.sessions import UNKNOWN
from tests.profiler.vllm_cases import ARRIVED, RETURNING, Times, Worker
from tests.profiler.vllm_decisions import make_core, record_all
from tests.profiler.vllm_draft_decisions import (
    Case,
    DraftingDevice,
    DraftTimes,
    Speculation,
    check,
    with_counts,
    write_drafter,
)
from tests.profiler.vllm_draft_decisions import drawn as drawn_drafts
from tests.profiler.vllm_prefix_decisions import CachingDevice, Chats, Round, Talk, run_texts, talk, tokens_of
from tests.profiler.vllm_prefix_decisions import drawn as drawn_talk

# Seeds of short and varied cases.
DRAWN = [
    0,
    60,
    69,
    89,
    117,
    123,
    143,
    192,
    200,
    215,
    216,
    218,
    226,
    239,
    248,
    321,
    331,
    342,
    348,
    371,
    373,
    382,
    400,
    463,
    479,
]


class CachingDraftingDevice(CachingDevice, DraftingDevice):
    """Both."""

    def listen(self) -> None:
        """Looks on when the scheduler asks for cached blocks, and when it counts drafts."""
        CachingDevice.listen(self)
        DraftingDevice.listen(self)


def record(one: Talk, model: Path, drafter: Path) -> dict[str, Any]:
    """As `vllm_prefix_decisions.record`, and a request has what it has in `vllm_draft_decisions.record`."""
    case = one.case
    assert isinstance(case, Case)
    device = CachingDraftingDevice(case, tokens_of(one))
    core = make_core(case.worker, device, model, caching=True, speculative_config=case.speculation.config(drafter))
    check(core, case)
    assert core.scheduler.use_eagle == (case.speculation.method == "eagle")
    return with_counts(run_texts(one, core, device), device)


def with_drafts(one: Talk, speculation: Speculation, times: DraftTimes, worker: Worker | None = None) -> Talk:
    """The same conversations on a worker that drafts."""
    case = one.case
    return replace(one, case=Case(case.name, worker or case.worker, speculation, times, case.requests))  # type: ignore[arg-type]


def drawn(seed: int) -> Talk:
    """Random conversations with random drafts, on a random worker with room for them."""
    one, drafts = drawn_talk(seed), drawn_drafts(seed)
    worker, most = one.case.worker, drafts.speculation.num_speculative_tokens
    seqs = worker.max_num_seqs
    worker = replace(
        worker,
        max_num_batched_tokens=max(worker.max_num_batched_tokens, seqs * (most + 1)),
        num_gpu_blocks=worker.num_gpu_blocks + -(-3 * most // worker.block_size),
    )
    return with_drafts(one, drafts.speculation, drafts.times, worker)


def talks() -> Iterator[Talk]:
    """All that is recorded."""
    roomy = Worker(max_num_seqs=8, max_num_batched_tokens=128, num_gpu_blocks=400)
    plain, slow_host = DraftTimes(), DraftTimes(launch=9_000, graph_launch=4_000, lead=3_000)
    three = Speculation(3, [0.75, 0.55, 0.40])
    all_accepted, n_gram = replace(three, synthetic_acceptance_rates=[1.0] * 3), replace(three, method="ngram_gpu")
    few_or_many = replace(three, num_speculative_tokens_per_batch_size=[(1, 2, 3), (4, 5, 1), (6, 64, 0)])

    def made(name: str, worker: Worker, begun: list[int], requests: list[Round]) -> Talk:
        return talk(name, worker, Times(), begun, requests)

    for tokens in (16, 17, 32, 33, 100):
        again: list[Round] = [(at, (0, 0), 6, 0) for at in (0, 1_000_000, 1_000_000, 2_000_000)]
        yield with_drafts(made(f"a prompt of {tokens} tokens again", roomy, [tokens], again), three, plain)
    again = [(at, (0, 0), 6, 0) for at in (0, 1_000_000, 2_000_000)]
    yield with_drafts(made("a prompt again, no drafter", roomy, [33], again), n_gram, plain)
    for output in (1, 14, 15, 16, 17, 18, 19, 33):
        rounds: list[Round] = [(0, (UNKNOWN, 15), output, 0), (9_000_000, (1, 40), 3, 0)]
        yield with_drafts(made(f"the round after {output} tokens", roomy, [], rounds), all_accepted, plain)
        early: list[Round] = [(0, (UNKNOWN, 15), output, 0), (60_000, (1, 40), 3, 0)]
        name = f"the round after {output} tokens, before they are out"
        yield with_drafts(made(name, roomy, [], early), all_accepted, plain)
    many = Chats(number=12)
    for name, speculation, times in (
        ("conversations", three, plain),
        ("conversations, launches shown", three, slow_host),
        ("conversations, no drafter", n_gram, plain),
    ):
        yield with_drafts(made(name, roomy, list(many.begun), many.requests(1)), speculation, times)
    small = made("conversations in a small cache", replace(roomy, num_gpu_blocks=40), [40], many.requests(2))
    yield with_drafts(small, three, plain)
    tight = replace(roomy, num_gpu_blocks=24)
    yield with_drafts(made("conversations in a tiny cache", tight, [40], many.requests(3)), few_or_many, plain)
    long = Chats(number=14, output=90, gap=30_000, think=2_000_000, rounds=3)
    pressed = made("preemption on an ordinary worker", replace(roomy, num_gpu_blocks=22), [40], long.requests(4))
    yield with_drafts(pressed, three, plain)
    given = replace(long, arrived=1.0)
    decoder = replace(roomy, num_gpu_blocks=22, connector=ARRIVED)
    arriving = made("preemption of many where KV arrives", decoder, [40], given.requests(4))
    yield with_drafts(arriving, three, plain)
    returning = replace(decoder, connector=RETURNING)
    yield with_drafts(made("preemption where KV arrives again", returning, [40], given.requests(4)), three, slow_host)
    yield from map(drawn, DRAWN)


def record_talks(model: Path) -> Iterator[dict[str, Any]]:
    """`model` is the directory of the target's config.json."""
    drafter = write_drafter(model)
    return (record(one, model, drafter) for one in talks())


if __name__ == "__main__":
    record_all(sys.argv[1], record_talks)
