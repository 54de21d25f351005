"""A recorded stream on one simulated worker: the engine of `sunsim.cluster`, without router, link or second stage.

The rows of an arm say neither when the engine queued a request nor when its last token was out of the engine, as the
record of a worker does. With one worker nothing but its front end and its engine is left, so the loop is a few lines, the
same for each role.
"""

from dataclasses import dataclass, replace

import numpy as np

from sunsim.clock import to_ps, to_s
from sunsim.cluster.batch_at import batch_at
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.validation.served import Ints, Served
from sunsim.validation.worker_run import ActualRun


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stream as simulated: its requests in the order of the run's, the steps taken, those outside the profile."""

    served: Served
    steps: int
    outside: int


def replay(run: ActualRun, times: LatencyModel, offset: float = 0.0) -> Replayed:
    """Simulates the run's requests from their recorded submissions, on a worker with the run's own options.

    Args:
        run: the actual run; nothing of its outcome is used.
        times: step times, front-end delays and stalls.
        offset: which of the model's series of stalls the worker sees, in [0, 1).

    Raises:
        InputError: a request can never fit into the run's KV blocks.
    """
    meta, actual = run.meta, run.served
    config = EngineConfig(
        max_num_seqs=meta.engine_args.max_num_seqs,
        max_num_batched_tokens=meta.engine_args.max_num_batched_tokens,
        num_gpu_blocks=meta.num_gpu_blocks,
        block_size=meta.block_size,
        defer_block_free=meta.engine_args.kv_connector is not None,  # whatever the run's role
    )
    engine = Engine(config, times, times.stalls(offset))
    kv = KV.COMPUTE if meta.does.prefills else KV.GIVEN
    prompts = actual.prompt_tokens.tolist()
    sequences = [
        Sequence(i, 0, prompt, output, kv)
        for i, (prompt, output) in enumerate(zip(prompts, actual.output_tokens.tolist(), strict=True))
    ]
    through_ps = to_ps(actual.submit_s) + np.array([times.frontend_in_ps(prompt) for prompt in prompts], dtype=np.int64)
    queued_ps = np.zeros_like(through_ps)
    for i in np.argsort(through_ps, kind="stable").tolist():
        now_ps = int(through_ps[i])
        while (due_ps := engine.next_wake()) is not None and due_ps < now_ps:
            engine.wake(due_ps)
        engine.submit(now_ps, sequences[i])
        # vLLM looks for new requests, and stamps them as queued, right before it composes a step.
        decision_ps = engine.next_wake()
        queued_ps[i] = now_ps if decision_ps is None else decision_ps
    while (due_ps := engine.next_wake()) is not None:
        engine.wake(due_ps)
    _check_all_done(run, sequences)
    served = _served(actual, queued_ps, sequences, times, prefills=meta.prefills_only)
    return Replayed(served, engine.steps, sum(engine.outside.values()))


def _served(
    actual: Served, queued_ps: Ints, sequences: list[Sequence], times: LatencyModel, *, prefills: bool
) -> Served:
    stamps = [(sequence.scheduled_ps, sequence.first_ps, sequence.last_ps) for sequence in sequences]
    scheduled_ps, first_ps, last_ps = np.array(stamps, dtype=np.int64).T
    worker = np.zeros_like(first_ps)
    out_first_ps, out_last_ps = (
        times.prefill_out_ps if prefills else times.out_ps(batch_at(worker, scheduled_ps, last_ps, at))
        for at in (first_ps, last_ps)
    )
    return replace(
        actual,
        queued_s=to_s(queued_ps),
        scheduled_s=to_s(scheduled_ps),
        first_token_s=to_s(first_ps),
        last_token_s=to_s(last_ps),
        client_first_token_s=to_s(first_ps + out_first_ps),
        client_last_token_s=to_s(np.maximum(first_ps + out_first_ps, last_ps + out_last_ps)),
        preemptions=np.array([sequence.preemptions for sequence in sequences], dtype=np.int64),
    )


def _check_all_done(run: ActualRun, sequences: list[Sequence]) -> None:
    """A request that cannot fit stays at the head of the queue, and all behind it."""
    stuck = next((sequence for sequence in sequences if sequence.last_ps == UNSET), None)
    if stuck:
        tokens = stuck.prompt_tokens + int(run.served.output_tokens[stuck.request])
        message = (
            f"a request of {tokens} tokens (prompt + output) never fits into the run's {run.meta.num_gpu_blocks} KV "
            f"blocks of {run.meta.block_size}, must be another num_gpu_blocks"
        )
        raise InputError(message, run.path)
