"""Where the prompt of a later round is computed: on a prefill worker, or on the decode worker that had the round before."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sunsim.clock import PS_PER_MS, to_ps
from sunsim.cluster.sequence import Sequence as Request
from sunsim.scenario import Arm, Scenario

UNCACHED_TOKENS = 2048
UNCACHED_SHARE = 0.7
"""Of Dynamo's conditional disaggregation, its defaults: ``lib/kv-router/src/conditional_disagg.rs`` in ai-dynamo/dynamo."""
WINDOW_PS = to_ps(10.0)
"""For how long `Slack` looks back. Assumed: AMPD does not say how long its window is."""


class HasCache(Protocol):
    """What a rule looks at of a decode worker."""

    @property
    def slot(self) -> int:
        """Its number."""

    def cached_tokens(self, sequence: Request) -> int:
        """Of a request that is not there yet, the tokens whose KV it has."""


IsLocal = Callable[[Request, HasCache, int], bool]
"""Whether a request's prompt is computed on the decode worker that had the round before; and what time it is (ps)."""


def always(_request: Request, _worker: HasCache, _now_ps: int) -> bool:
    """Local."""
    return True


def bounded(request: Request, worker: HasCache, _now_ps: int) -> bool:
    """Local if little is to be computed, and most of the prompt is not."""
    uncached = request.prompt_tokens - worker.cached_tokens(request)
    return uncached < UNCACHED_TOKENS and uncached < UNCACHED_SHARE * request.prompt_tokens


RULES: dict[str, IsLocal] = {"always": always, "bounded": bounded}


class Recent:
    """Mean of what was noted in the last `WINDOW_PS`."""

    def __init__(self) -> None:
        self._noted: deque[tuple[int, float]] = deque()

    def note(self, now_ps: int, value: float) -> None:
        """It happened now."""
        self._noted.append((now_ps, value))

    def mean(self, now_ps: int) -> float:
        """0 if nothing was."""
        noted = self._noted
        while noted and noted[0][0] <= now_ps - WINDOW_PS:
            noted.popleft()
        return sum([value for _, value in noted]) / len(noted) if noted else 0.0


class Slack:
    """Local if the decode worker is further within its limit than prefill: AMPD's idea, not its algorithm.

    The decode worker's share of its limit is the mean TPOT of the requests that ended there in the last ten seconds,
    prefill's is the mean wait for the first token of those that came through prefill meanwhile, each over its model's
    limit. AMPD also predicts what the request itself would add, and sorts the prefill queue.

    Args:
        limits_ps: by model, to the first token and for each one after it.
    """

    def __init__(self, limits_ps: Sequence[tuple[float, float]]) -> None:
        self._limits_ps = limits_ps
        self._waits = Recent()
        self._paces: defaultdict[int, Recent] = defaultdict(Recent)

    def is_local(self, _request: Request, worker: HasCache, now_ps: int) -> bool:
        """The rule; what has not been seen is well within its limit."""
        return self._paces[worker.slot].mean(now_ps) <= self._waits.mean(now_ps)

    def waited(self, model: int, wait_ps: int, now_ps: int) -> None:
        """A request that came through prefill has its first token, or is in the step that makes it."""
        self._waits.note(now_ps, wait_ps / self._limits_ps[model][0])

    def decoded(self, slot: int, request: Request, tokens: int, now_ps: int) -> None:
        """A request has ended on a decode worker, which made so many of its tokens."""
        if tokens > 1:
            pace_ps = (request.last_ps - request.first_ps) / (tokens - 1)
            self._paces[slot].note(now_ps, pace_ps / self._limits_ps[request.model][1])


def slack_of(scenario: Scenario) -> Slack:
    """The rule with the limits of a scenario, which has both for each model."""
    limits = [scenario.slo.of(name) for name in scenario.model_names]
    return Slack([(of["ttft_ms"] * PS_PER_MS, of["tpot_ms"] * PS_PER_MS) for of in limits])


def rule_of(arm: Arm) -> str | None:
    """Which rule an arm has, of `RULES` or ``slack``; None where prompts are never computed by decode workers."""
    block = arm.block.decode
    if block is None or block.append_prefill == "remote":
        return None
    return "always" if block.append_prefill == "local" else block.append_rule
