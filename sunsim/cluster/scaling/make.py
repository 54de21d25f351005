"""The policy of a group of workers from what a scenario says."""

import numpy as np

from sunsim.clock import to_s
from sunsim.cluster.scaling.oracle import Oracle, Work
from sunsim.cluster.scaling.policies import (
    Largest,
    Ratio,
    Schedule,
    blocks_in_use,
    in_flight,
    prompt_rate,
    request_rate,
    slots_running,
    time_busy,
    token_rate,
)
from sunsim.cluster.scaling.seen import Policy
from sunsim.errors import InputError
from sunsim.latency.velocity import decode_batch, decode_step_s, decode_velocity, prefill_velocity
from sunsim.roles import Role, Stage
from sunsim.scenario import Pool, Scenario, scaling
from sunsim.workload.requests import Requests

MOST_BINS = 10_000_000
"""Intervals that an oracle looks ahead over, for the sake of memory."""


def make_policy(
    block: scaling.Scaling, pool: Pool, role: Role, scenario: Scenario, requests: Requests
) -> tuple[Policy, int]:
    """The policy of the workers of a role, and how many are to be ready at the start if the scenario does not say.

    Args:
        block: what the scenario says of it.
        requests: all that will come, for the policy that knows the future.
    """
    least = pool.bounds(role).min
    if isinstance(block, scaling.Schedule):
        schedule = Schedule(block.entries(role.model), block.period_s)
        return schedule, schedule.at(0.0)
    if isinstance(block, scaling.Oracle):
        oracle = _oracle(block, pool, role, scenario, requests)
        return oracle, oracle.at(0.0)
    return _measured(block, pool, role, scenario), least


def _oracle(block: scaling.Oracle, pool: Pool, role: Role, scenario: Scenario, requests: Requests) -> Oracle:
    own = np.ones(len(requests), dtype=np.bool_)
    if role.model:
        own = requests.model == requests.models.index(role.model)
    arrival_s = to_s(requests.arrival_ps[own])
    prompt, output = (tokens[own].astype(np.float64) for tokens in (requests.prompt_tokens, requests.output_tokens))
    works = []
    if role.prefills:
        works.append(Work(arrival_s, np.zeros_like(prompt), prompt / prompts_a_second(pool)))
    if role.decodes:
        token_s, velocity = token_at_most(pool, role, scenario), freed_a_second(pool, role, scenario)
        works.append(Work(arrival_s, output * token_s, (prompt + output) / velocity))
    last_s = max((float(np.max(work.begins_s + work.lasts_s, initial=0.0)) for work in works), default=0.0)
    bins = int(last_s / block.interval_s) + 1
    if bins > MOST_BINS:
        least_s = last_s / MOST_BINS
        message = (
            f"scaling.interval_s is {block.interval_s:g}, must be at least {least_s:.3g} for an oracle of {last_s:g} s"
        )
        raise InputError(message, f"scenario {scenario.name}")
    return Oracle([work.loads(block.interval_s, bins) for work in works], block.interval_s, block.start_s, block.target)


def _measured(block: scaling.Scaling, pool: Pool, role: Role, scenario: Scenario) -> Policy:
    parts: list[Policy] = []
    prefills, decodes = role.prefills, role.decodes
    if isinstance(block, scaling.RequestRate):
        return Ratio(request_rate, block.rps_per_worker)
    if isinstance(block, scaling.KVUsage):
        return Ratio(blocks_in_use, block.target)
    if isinstance(block, scaling.Utilisation):
        if role.stage is Stage.PREFILL:
            return Ratio(time_busy, block.target)
        parts.append(Ratio(slots_running(pool.max_num_seqs), block.target))
        if prefills:
            parts.append(Ratio(prompt_rate(prompts_a_second(pool)), block.target))
    if isinstance(block, scaling.TokenVelocity):
        if prefills and block.threshold_s:
            parts.append(Ratio(in_flight(prompts_a_second(pool)), block.threshold_s))
        elif prefills and block.target:
            parts.append(Ratio(prompt_rate(prompts_a_second(pool)), block.target))
        if decodes and block.target and block.signal == "rate":
            parts.append(Ratio(token_rate(freed_a_second(pool, role, scenario)), block.target))
        elif decodes and block.target:
            parts.append(Ratio(blocks_in_use, block.target))
    return parts[0] if len(parts) == 1 else Largest(parts)


def prompts_a_second(pool: Pool) -> float:
    """Prompt tokens that one of its workers computes a second."""
    return prefill_velocity(pool.times, pool.max_num_batched_tokens)


def freed_a_second(pool: Pool, role: Role, scenario: Scenario) -> float:
    """Tokens that one of its workers frees a second, within the TPOT that the role's models are promised."""
    return decode_velocity(pool.token_times, _largest_batch(pool, role, scenario), pool.mean_prompt, pool.mean_output)


def token_at_most(pool: Pool, role: Role, scenario: Scenario) -> float:
    """Seconds that a token takes in its workers' largest batch."""
    return decode_step_s(pool.token_times, _largest_batch(pool, role, scenario), pool.mean_prompt, pool.mean_output)


def _largest_batch(pool: Pool, role: Role, scenario: Scenario) -> int:
    limit_ms = scenario.slo.strictest("tpot_ms", [role.model] if role.model else scenario.model_names)
    return decode_batch(
        pool.token_times,
        pool.mean_prompt,
        pool.mean_output,
        pool.max_num_seqs,
        pool.num_gpu_blocks,
        pool.profile.block_size,
        limit_ms / 1000 if limit_ms else None,
    )
