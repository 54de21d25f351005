"""The requests of a scenario: the same for each of its arms."""

from sunsim.errors import InputError
from sunsim.scenario.scenario import Scenario
from sunsim.workload.blocks import Conversations, Trace
from sunsim.workload.conversations import draw_conversations
from sunsim.workload.requests import Draws, Requests, draw_requests, traced_requests


def build_requests(scenario: Scenario) -> Requests:
    """Draws the requests of a scenario, or takes them from its trace.

    Raises:
        InputError: the trace is wrong, one of its requests can never fit into a worker of some arm, or there is no
            request at all.
    """
    workload, draws = scenario.workload, Draws(scenario.seed, scenario.model_names, scenario.model_shares)
    if isinstance(workload, Trace):
        assert scenario.trace
        return traced_requests(scenario.trace.rows, draws)
    try:
        if isinstance(workload, Conversations):
            return draw_conversations(workload, draws, scenario.limits)
        return draw_requests(workload, draws)
    except InputError as error:
        raise InputError(error.message, f"scenario {scenario.name}") from error
