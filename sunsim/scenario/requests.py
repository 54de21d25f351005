"""The requests of a scenario: the same for each of its arms."""

from dataclasses import replace

from sunsim.errors import InputError
from sunsim.scenario.scenario import Scenario
from sunsim.workload.blocks import Conversations, Trace
from sunsim.workload.conversations import draw_conversations
from sunsim.workload.requests import Draws, Requests, draw_requests, traced_requests
from sunsim.workload.traces.hashes import BLOCK_TOKENS, hashed_sessions


def caches_prefixes(scenario: Scenario) -> bool:
    """Whether some worker finds again what prompts have in common."""
    return any(pool.enable_prefix_caching for arm in scenario.document.arms for pool in arm.pools().values())


def build_requests(scenario: Scenario) -> Requests:
    """Draws the requests of a scenario, or takes them from its trace.

    What the prompts of a trace have in common by their hashes is looked at only where an arm caches prefixes; the
    requests are the same.

    Raises:
        InputError: the trace is wrong, one of its requests can never fit into a worker of some arm, or there is no
            request at all.
    """
    workload, names = scenario.workload, scenario.model_names
    draws = Draws(scenario.seed, names, scenario.document.own_shares, workload.popularity)
    if isinstance(workload, Trace):
        assert scenario.trace
        rows = scenario.trace.rows
        requests = traced_requests(rows, draws)
        # Which takes a while, and nobody else asks.
        if workload.format in BLOCK_TOKENS and caches_prefixes(scenario):
            block_tokens = BLOCK_TOKENS[workload.format]
            requests = replace(requests, sessions=hashed_sessions(rows, workload.path, block_tokens))
        return requests
    try:
        if isinstance(workload, Conversations):
            return draw_conversations(workload, draws, scenario.limits)
        return draw_requests(workload, draws)
    except InputError as error:
        raise InputError(error.message, f"scenario {scenario.name}") from error
