"""A recorded stream on one simulated worker: the engine of `sunsim.cluster`, without router, link or second stage.

The rows of an arm say neither when the engine queued a request nor when its last token was out of the engine, as the
record of a worker does. With one worker nothing but its front end and its engine is left, so the loop is a few lines, the
same for each role.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from sunsim.clock import PS_PER_MS, to_s
from sunsim.cluster.batch_at import batch_at
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.sequence import KV, NEVER, UNSET, Sequence
from sunsim.errors import InputError
from sunsim.latency.drafts import DraftTimes
from sunsim.latency.model import LatencyModel
from sunsim.metrics.rows import Floats
from sunsim.validation.clients import Clients
from sunsim.validation.served import Ints, Served
from sunsim.validation.worker_run import ActualRun

Times: TypeAlias = LatencyModel | DraftTimes


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stream as simulated: its requests in the order of the run's, the steps taken, those outside the profile.

    `cached_tokens`: of each prompt, those found in the worker's prefix cache, int64[n].

    `drafts`: what they came to on a worker that drafts.

    `itl_ms`: gaps between the tokens of a request as they come to its client, of all requests, float64[k]; None where the
    run does not have them.
    """

    served: Served
    steps: int
    outside: int
    cached_tokens: Ints
    drafts: DraftCounts | None = None
    itl_ms: Floats | None = None


def replay(run: ActualRun, times: Times, seed: int = 0) -> Replayed:
    """Simulates the run's requests, sent as its clients do, on a worker with the run's own options.

    Args:
        run: the actual run; nothing of its outcome is used but the times at which requests were sent. Those of a closed
            loop are not used either, beyond its first requests, nor those of sessions beyond their first rounds.
        times: step times, front-end delays and stalls.
        seed: of what is drawn, which is whether drafts are accepted.

    Raises:
        InputError: a request can never fit into the run's KV blocks.
    """
    meta, actual = run.meta, run.served
    front = times.host if isinstance(times, DraftTimes) else times
    most = meta.engine_args.max_model_len or int((actual.prompt_tokens + actual.output_tokens).max())
    config = EngineConfig(
        max_num_seqs=meta.engine_args.max_num_seqs,
        max_num_batched_tokens=meta.engine_args.max_num_batched_tokens,
        num_gpu_blocks=meta.num_gpu_blocks,
        block_size=meta.block_size,
        defer_block_free=meta.engine_args.kv_connector is not None,  # whatever the run's role
        enable_prefix_caching=meta.engine_args.enable_prefix_caching,
        drafts=meta.speculative_config.drafts(seed, most) if meta.speculative_config else None,
    )
    sessions = run.rounds.sessions if run.rounds else None
    keys = BlockKeys(sessions, meta.block_size, None) if sessions else None
    engine = Engine(config, times, times.stalls(0.0), keys)
    kv = KV.COMPUTE if meta.does.prefills else KV.GIVEN
    prompts = actual.prompt_tokens.tolist()
    sequences = [
        Sequence(i, 0, prompt, output, kv)
        for i, (prompt, output) in enumerate(zip(prompts, actual.output_tokens.tolist(), strict=True))
    ]
    every_step = run.client is not None
    clients = Clients(actual, front, run.client.loop if run.client else None, sessions)
    queued_ps = np.zeros_like(clients.submit_ps)
    outputs_ps: list[int] = []
    while (now_ps := min(clients.next_ps, due_ps := _due_ps(engine, every_step=every_step))) != NEVER:
        if due_ps < clients.next_ps:
            outputs_ps.append(now_ps)
            clients.note(now_ps, engine.wake(now_ps))
        elif (i := clients.take()) is not None:
            engine.submit(now_ps, sequences[i])
            # vLLM looks for new requests, and stamps them as queued, right before it composes a step.
            decision_ps = engine.next_wake()
            queued_ps[i] = now_ps if decision_ps is None else decision_ps
    _check_all_done(run, sequences)
    served = _served(actual, clients.submit_ps, queued_ps, sequences, front, prefills=meta.prefills_only)
    outside = sum(engine.outside.values())
    cached_tokens = np.array([sequence.cached_tokens for sequence in sequences], dtype=np.int64)
    drafts = engine.count_drafts()
    itl_ms = None
    if every_step:
        served, itl_ms = served.to_client(), _gaps_ms(outputs_ps, sequences, actual.output_tokens, front)
    return Replayed(served, engine.steps, outside, cached_tokens, drafts, itl_ms)


def _due_ps(engine: Engine, *, every_step: bool) -> int:
    """When the next decision falls due; without `every_step` an engine leaps over steps in which nothing is decided."""
    due_ps = engine.next_wake()
    return NEVER if due_ps is None else engine.due_ps if every_step else due_ps


def _gaps_ms(outputs_ps: list[int], sequences: list[Sequence], outputs: Ints, times: LatencyModel) -> Floats:
    """Gaps between tokens at the client: every step gives one to each request from the step of its first on.

    Preempted requests are left out: theirs come with breaks that their stamps do not tell.

    Args:
        outputs_ps: when the output of each step is out, in order; a long launch can have those of two come together.
        sequences: all requests, done.
        outputs: tokens of each.
        times: say when tokens reach the client.
    """
    out_ps = np.array(outputs_ps, dtype=np.int64)
    scheduled_ps, first_ps, last_ps = _stamps(sequences)
    begun = np.searchsorted(np.sort(scheduled_ps), out_ps, side="right")
    ended = np.searchsorted(np.sort(last_ps), out_ps, side="left")
    client_ps = out_ps + times.out_ps(begun - ended)
    kept = np.array([not sequence.preemptions for sequence in sequences])
    gaps = outputs[kept] - 1
    # Of steps that are out together, the first that leaves enough for all of a request's tokens.
    first, last = (np.searchsorted(out_ps, stamp_ps[kept]) for stamp_ps in (first_ps, last_ps))
    first = np.maximum(first, last - gaps)
    size = len(out_ps)
    requests = np.cumsum(np.bincount(first, minlength=size) - np.bincount(first + gaps, minlength=size))
    return np.repeat(np.diff(client_ps) / PS_PER_MS, requests[:-1])


def _stamps(sequences: list[Sequence]) -> Ints:
    """When each was first scheduled, and its first and last token, [3, n]."""
    stamps = [(sequence.scheduled_ps, sequence.first_ps, sequence.last_ps) for sequence in sequences]
    return np.array(stamps, dtype=np.int64).T


def _served(
    actual: Served,
    submit_ps: Ints,
    queued_ps: Ints,
    sequences: list[Sequence],
    times: LatencyModel,
    *,
    prefills: bool,
) -> Served:
    scheduled_ps, first_ps, last_ps = _stamps(sequences)
    worker = np.zeros_like(first_ps)
    out_first_ps, out_last_ps = (
        times.prefill_out_ps if prefills else times.out_ps(batch_at(worker, scheduled_ps, last_ps, at))
        for at in (first_ps, last_ps)
    )
    return replace(
        actual,
        submit_s=to_s(submit_ps),
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
