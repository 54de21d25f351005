"""What else might come: the scenario's requests at another rate, longer, or of another skew, and slower steps."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sunsim.latency.steps import Chunk, DecodeLine, DraftStepTimes, Outside, StepTimes, WorkerTimes, takes_drafts
from sunsim.scenario import Scenario, build_requests
from sunsim.scenario.blocks import ArmBlock, ModelCount, Zipf
from sunsim.workload.blocks import Closed, Conversations, RoundTokens, Trace
from sunsim.workload.changes import sooner
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Segments


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a simulation departs from the scenario; the random draws stay the same.

    Attributes:
        rate: times the scenario's rate: of requests, or of sessions, whose users think as long as ever.
        outputs: times its output lengths; of sessions each later prompt is as much longer.
        alpha: added to the Zipf exponent of its popularity.
        decode_time: times the profiles' time of steps that only decode.
        prefill_time: times that of steps with a prompt.
        accepted: times the shares of drafts that are accepted, of arms that draft; at most 1.
    """

    rate: float = 1.0
    outputs: float = 1.0
    alpha: float = 0.0
    decode_time: float = 1.0
    prefill_time: float = 1.0
    accepted: float = 1.0

    def plain(self) -> dict[str, float]:
        """For JSON: what departs from the scenario."""
        return {name: value for name, value in asdict(self).items() if value != getattr(AS_PLANNED, name)}

    def times_on(self, times: WorkerTimes) -> WorkerTimes:
        """A worker's step times under these conditions."""
        if self.decode_time == 1 and self.prefill_time == 1:
            return times
        steps: StepTimes = times
        if takes_drafts(steps):
            return _ScaledDraftTimes(times, steps, self.decode_time, self.prefill_time)
        return _ScaledTimes(times, self.decode_time, self.prefill_time)


AS_PLANNED = Conditions()


def under(scenario: Scenario, conditions: Conditions) -> Scenario:
    """The scenario with the rate and the skew of the conditions, and sessions' answers, where they can be said in it."""
    changes: dict[str, Any] = {}
    workload, models = scenario.workload, scenario.document.models
    if not isinstance(workload, Trace) and not isinstance(workload.arrivals, Closed):
        arrivals = workload.arrivals.model_copy(update={"rate_rps": workload.arrivals.mean_rps * conditions.rate})
        answers = (
            {"output": _longer(workload.output, conditions.outputs)} if isinstance(workload, Conversations) else {}
        )
        changes["workload"] = workload.model_copy(update={"arrivals": arrivals, **answers})
    elif isinstance(workload, Trace):
        # A trace's window is the same requests at every rate, and so are the stretches of one popularity.
        faster: dict[str, Any] = {"rate_scale": workload.rate_scale * conditions.rate}
        if workload.popularity:
            faster["popularity"] = sooner(workload.popularity, conditions.rate)
        changes["workload"] = workload.model_copy(update=faster)
        measure = scenario.measure
        changes["measure"] = measure.model_copy(update={"warmup_s": measure.warmup_s / conditions.rate})
    if conditions.alpha and isinstance(models, ModelCount) and isinstance(models.popularity, Zipf):
        popularity = Zipf(alpha=max(0.0, models.popularity.alpha + conditions.alpha))
        changes["models"] = models.model_copy(update={"popularity": popularity})
    return scenario.changed(**changes)


def _longer(tokens: RoundTokens, outputs: float) -> RoundTokens:
    """The same law, times as long; the least is one token."""
    kept = {"fixed": ("tokens",), "lognormal": ("median_tokens", "max_tokens")}[tokens.kind]
    return tokens.model_copy(update={name: max(1, round(getattr(tokens, name) * outputs)) for name in kept})


def can_lengthen(scenario: Scenario) -> bool:
    """Whether outputs can be longer or shorter; the prompts of a trace's later rounds have its answers in them."""
    sessions = build_requests(scenario).sessions
    return not isinstance(scenario.workload, Trace) or sessions is None or not sessions.react


def has_skew(scenario: Scenario) -> bool:
    """Whether models are drawn by a Zipf law, whose exponent can be changed."""
    models = scenario.document.models
    named = scenario.trace is not None and scenario.trace.rows.model is not None
    return isinstance(models, ModelCount) and isinstance(models.popularity, Zipf) and not named


def accepting(block: ArmBlock, accepted: float) -> ArmBlock:
    """An arm whose acceptance rates, those of models and contexts of their own too, are `accepted` times as high."""
    changed = {}
    for stage, pool in block.pools().items():
        if config := pool.speculative_config:
            changed[str(stage)] = pool.model_copy(update={"speculative_config": config.accepting(accepted)})
    return block.model_copy(update=changed) if changed and accepted != 1 else block


def requests_under(scenario: Scenario, conditions: Conditions) -> Requests:
    """The requests of a scenario that `under` made, with what can only be done to the requests themselves.

    Raises:
        InputError: as `build_requests`.
    """
    requests = build_requests(scenario)
    if conditions.outputs != 1 and not isinstance(scenario.workload, Conversations):
        room = min((limit.tokens for limit in scenario.limits if not limit.prompt_only), default=2**30)
        longest = np.maximum(room - requests.prompt_tokens, 1)
        scaled = np.rint(requests.output_tokens * conditions.outputs)
        requests = replace(requests, output_tokens=np.clip(scaled, 1, longest).astype(np.int32))
        if sessions := requests.sessions:
            end = sessions.segments.end.copy()
            end[sessions.answer] = requests.prompt_tokens + requests.output_tokens
            requests = replace(requests, sessions=replace(sessions, segments=Segments(sessions.segments.parent, end)))
    return requests


def only(requests: Requests, model: str) -> Requests:
    """The requests of one model; sessions are of one model each."""
    return requests.where(requests.model == requests.models.index(model))


def take_turns(requests: Requests) -> bool:
    """Whether a session may have rounds of several models, so that none of these can be served alone."""
    sessions = requests.sessions
    if sessions is None:
        return False
    waits = sessions.previous != UNKNOWN
    return bool((requests.model[waits] != requests.model[sessions.previous[waits]]).any())


class _ScaledTimes:
    """A step-time model with all GPU times multiplied."""

    def __init__(self, times: WorkerTimes, decode: float, prefill: float) -> None:
        self._times = times
        self._decode = decode
        self._prefill = prefill
        self.launch_ps = times.launch_ps
        self.lead_ps = times.lead_ps
        self.tail_ps = times.tail_ps
        self.pause_ps = times.pause_ps
        self.take_in_ps = times.take_in_ps
        self.stalls = times.stalls

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        return self._slower(self._times.decode_line(batch, context_tokens))

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        step_ps, outside = self._times.chunked_step(batch, context_tokens, chunks)
        return round(step_ps * self._prefill), outside

    def _slower(self, line: DecodeLine) -> DecodeLine:
        base, slope = round(line.base_ps * self._decode), round(line.slope_ps * self._decode)
        return DecodeLine(base, slope, line.limit_tokens, line.outside)


class _ScaledDraftTimes(_ScaledTimes):
    """The same with drafts; a step in which requests enter with one token each is one of decodes."""

    def __init__(self, times: WorkerTimes, drafting: DraftStepTimes, decode: float, prefill: float) -> None:
        """`drafting`: the same as `times`."""
        super().__init__(times, decode, prefill)
        self._drafting = drafting

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        return self._slower(self._drafting.decode_line_k(batch, context_tokens, k))

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        step_ps, outside = self._drafting.chunked_step_k(batch, context_tokens, chunks, k)
        factor = self._prefill if any(chunk.tokens > 1 for chunk in chunks) else self._decode
        return round(step_ps * factor), outside
