"""What a scenario file may say about its requests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from sunsim.clock import MAX_S
from sunsim.document.block import Block, Duration, Moment, Name, Positive, Tokens, path_without_controls
from sunsim.workload.changes import Popularity, RateFile, Renewal, Stretch, refuse_overlap
from sunsim.workload.traces.names import FormatName

MAX_REQUESTS = 10**8
Requests: TypeAlias = Annotated[int, Field(ge=1, le=MAX_REQUESTS)]


class Poisson(Renewal):
    """Exponential gaps between arrivals."""

    kind: Literal["poisson"] = "poisson"


class Gamma(Renewal):
    """Gamma gaps of shape `burstiness`, as in vLLM's benchmark: coefficient of variation ``1/sqrt(burstiness)``."""

    kind: Literal["gamma"] = "gamma"
    burstiness: float = Field(ge=0.001, le=1e6)


class Constant(Renewal):
    """Equal gaps; the first request arrives at time 0."""

    kind: Literal["constant"] = "constant"


class Closed(Block):
    """A closed loop: `concurrency` requests at a time from time 0 on, the next one arrives when one ends."""

    kind: Literal["closed"] = "closed"
    concurrency: int = Field(ge=1, le=MAX_REQUESTS)


class FixedLengths(Block):
    """The same lengths for every request."""

    kind: Literal["fixed"] = "fixed"
    prompt_tokens: Tokens
    output_tokens: Tokens


class Lognormal(Block):
    """``median_tokens * exp(sigma * z)`` with z standard normal, rounded, then held within 1..`max_tokens`."""

    median_tokens: Tokens
    sigma: float = Field(ge=1e-6, le=10)
    max_tokens: Tokens

    @model_validator(mode="after")
    def _median_below_maximum(self) -> Self:
        if self.max_tokens < self.median_tokens:
            message = f"max_tokens is {self.max_tokens}, must be at least median_tokens ({self.median_tokens})"
            raise ValueError(message)
        return self


class FixedTokens(Block):
    """The same number for every round."""

    kind: Literal["fixed"] = "fixed"
    tokens: Tokens


class LognormalTokens(Lognormal):
    """A lognormal number for each round."""

    kind: Literal["lognormal"] = "lognormal"


class LognormalLengths(Block):
    """Independent lognormal prompt and output lengths."""

    kind: Literal["lognormal"] = "lognormal"
    prompt: Lognormal
    output: Lognormal


class AzureLengths(Block):
    """Lengths as in the public Azure LLM inference traces 2023, of conversation or of code completion."""

    kind: Literal["azure-conv", "azure-code"]


Arrivals: TypeAlias = Poisson | Gamma | Constant
Lengths: TypeAlias = FixedLengths | LognormalLengths | AzureLengths
RoundTokens: TypeAlias = FixedTokens | LognormalTokens


class Synthetic(Block):
    """Drawn requests: those that arrive before `duration_s`, at most `requests` of them; one of both is needed.

    A closed loop ends with its `requests`: when they arrive is for the simulation to say.
    """

    kind: Literal["synthetic"] = "synthetic"
    duration_s: Duration | None = None
    requests: Requests | None = None
    arrivals: Arrivals | Closed = Field(discriminator="kind")
    popularity: Popularity | None = Field(default=None, discriminator="kind")
    lengths: Lengths = Field(discriminator="kind")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if isinstance(self.arrivals, Closed) and (self.requests is None or self.duration_s is not None):
            message = (
                "arrivals are closed, so requests must be given and duration_s left out: it ends with its requests"
            )
            raise ValueError(message)
        if self.duration_s is None and self.requests is None:
            message = "duration_s and requests are missing, one of them must be given"
            raise ValueError(message)
        return self


class Rounds(Block):
    """How many rounds a session has: geometric from 1, cut at `max` if there is one, with this `mean` after the cut.

    Where `mean` is `max`, every session has as many.
    """

    mean: float = Field(ge=1, le=10_000)
    max: int | None = Field(default=None, ge=1, le=MAX_REQUESTS)

    @model_validator(mode="after")
    def _mean_below_max(self) -> Self:
        if self.max is not None and self.max < self.mean:
            message = f"max is {self.max}, must be at least mean ({self.mean:g})"
            raise ValueError(message)
        return self


class Think(Block):
    """From a round's last token to the next round, in seconds: exponential with this mean."""

    mean: float = Field(ge=0, le=MAX_S)


class Conversations(Block):
    """Drawn sessions, which begin before `duration_s`; a round's prompt is all that was said before and new tokens.

    Attributes:
        arrivals: of sessions.
        popularity: how the models' shares of the sessions that begin change.
        system_prompt_tokens: that prompts begin with: a text of each model's own, one for all where they take turns.
        user: new tokens of a round.
        output: tokens of its answer.
        take_turns: each round goes to the model after the last round's, as agents do that work on one context.
    """

    kind: Literal["sessions"] = "sessions"
    duration_s: Duration
    arrivals: Arrivals = Field(discriminator="kind")
    popularity: Popularity | None = Field(default=None, discriminator="kind")
    rounds: Rounds
    think_s: Think
    system_prompt_tokens: int = Field(default=0, ge=0, lt=2**30)
    user: RoundTokens = Field(discriminator="kind")
    output: RoundTokens = Field(discriminator="kind")
    take_turns: bool = False


def _shape(value: Any) -> str:
    return "<mapping>" if isinstance(value, Mapping) and value else "<word>"


def _popularity(value: Any) -> Any:
    if value != "popularity":
        message = "must be a mapping from names of the trace to models of the scenario, or popularity"
        raise ValueError(message)
    return value


class Trace(Block):
    """Requests from a file; see `sunsim.workload.traces` for the formats.

    Attributes:
        models: what the trace's names of models are in the scenario. None: the same. ``popularity``: the trace's are
            not used, models are drawn, as they are for a trace without names.
        start_s: of the trace's own time: where it is begun.
        duration_s: of the trace's own time: how long it is used.
        requests: the most that are used.
        rate_scale: arrivals are divided by it, after the trace has been cut.
        too_long: what to do about requests that fit into no worker.
        stretches: parts of the trace that are laid end to end, in this order, instead of the one from `start_s` on.
        popularity: how the shares of models that are drawn change, in the time of the run.
    """

    kind: Literal["trace"] = "trace"
    format: FormatName
    path: Annotated[Path, Field(strict=False), AfterValidator(path_without_controls)]
    models: (
        Annotated[
            Annotated[dict[str, Name], Tag("<mapping>")]
            | Annotated[Literal["popularity"], BeforeValidator(_popularity), Tag("<word>")],
            Discriminator(_shape),
        ]
        | None
    ) = None
    start_s: Moment = 0.0
    duration_s: Duration | None = None
    requests: Requests | None = None
    rate_scale: Positive = 1.0
    too_long: Literal["refuse", "drop"] = "refuse"
    stretches: Annotated[tuple[Stretch, ...], Field(strict=False, min_length=1, max_length=10_000)] | None = None
    popularity: Popularity | None = Field(default=None, discriminator="kind")

    @model_validator(mode="after")
    def _stretches_apart(self) -> Self:
        if self.stretches is None:
            return self
        if self.start_s or self.duration_s is not None:
            key = "start_s" if self.start_s else "duration_s"
            message = f"{key} and stretches are given, must be one of them: each stretch has its own"
            raise ValueError(message)
        refuse_overlap(self.stretches)
        return self

    def __hash__(self) -> int:
        """`models` has none."""
        return hash(self.path)


Workload: TypeAlias = Synthetic | Conversations | Trace


def file_of(workload: Workload) -> Path | None:
    """The file that a completed workload reads: a trace, or a curve of rates."""
    if isinstance(workload, Trace):
        return workload.path
    curve = None if isinstance(workload.arrivals, Closed) else workload.arrivals.curve
    return curve.path if isinstance(curve, RateFile) else None


def with_file(workload: Workload, path: Path) -> Workload:
    """A workload that reads its `file_of` there."""
    if isinstance(workload, Trace):
        return workload.model_copy(update={"path": path})
    assert not isinstance(workload.arrivals, Closed)
    arrivals = workload.arrivals.model_copy(update={"curve": RateFile(path=path)})
    return workload.model_copy(update={"arrivals": arrivals})
