"""What a scenario file may say about a pool that grows and shrinks: its bounds and its policy."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from sunsim.clock import MAX_S
from sunsim.document.block import Block, Duration, Moment, Positive, Rate, Workers, shape

Share: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Interval: TypeAlias = Annotated[float, Field(ge=1e-3, le=MAX_S)]
Entry: TypeAlias = Annotated[tuple[Moment, Workers], Field(strict=False)]
"""From this second on, so many workers."""
Entries: TypeAlias = Annotated[tuple[Entry, ...], Field(strict=False, min_length=1, max_length=10_000)]


class Bounds(Block):
    """How few and how many workers a pool may have, both included."""

    min: Workers
    max: Workers

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            message = f"min is {self.min}, must be at most max ({self.max})"
            raise ValueError(message)
        return self


def workers_shape(value: Any) -> str:
    """Tag of what `workers` is meant to be: a number, a number a model, bounds, or bounds a model."""
    if isinstance(value, BaseModel):
        return "<bounds>"
    if not isinstance(value, Mapping):
        return "<scalar>"
    if any(isinstance(each, Mapping | BaseModel) for each in value.values()):
        return "<bounds of models>"
    return "<bounds>" if value and value.keys() <= Bounds.model_fields.keys() else "<mapping>"


class Pace(Block):
    """So many workers at most within so many seconds."""

    workers: Workers
    every_s: Duration


class _Scaling(Block):
    """What all policies have.

    Attributes:
        interval_s: between two decisions; 15 s is the period at which Kubernetes' autoscaler looks (llm-d's, too).
        start_s: from the order until the worker takes requests: 65 to 105 s were seen for an 8B model on an H200.
        cooldown_s: a pool shrinks only to the most that was wanted in the last so many seconds, and at once with 0;
            300 s is Kubernetes' stabilization window.
        grow, shrink: the most by which a pool changes within some time (the ``policies`` of Kubernetes' autoscaler, of type
            ``Pods``); None: there is no such limit.
        warm_workers: started and kept beside those that serve, within the pool's bounds; they hold GPUs.
        initial: workers that are ready at the start, in each pool; None: what the policy says, which is the least that
            the pool may have, or for a schedule what it says of second 0.
    """

    kind: str
    interval_s: Interval = 15.0
    start_s: Moment = 85.0
    cooldown_s: Moment = 300.0
    grow: Pace | None = None
    shrink: Pace | None = None
    warm_workers: int = Field(default=0, ge=0, le=10_000)
    initial: Workers | None = None


class Utilisation(_Scaling):
    """As many workers as bring their utilisation to `target` (the formula of Kubernetes' Horizontal Pod Autoscaler)."""

    kind: Literal["utilisation"]
    target: Share = 0.7


class KVUsage(_Scaling):
    """As many workers as bring the share of their KV blocks in use to `target` (llm-d's variant autoscaler: 0.8)."""

    kind: Literal["kv-usage"]
    target: Share = 0.8


class TokenVelocity(_Scaling):
    """As many workers as the tokens that come need at the rate at which one frees them.

    Attributes:
        signal: ``in-flight`` (llm-d): prefill works off its uncached prompt tokens within `threshold_s`, decode brings
            its KV usage to `target`; ``rate`` (TokenScale): a worker gets `target` of what it could do of the tokens
            that came in the last interval.
    """

    kind: Literal["token-velocity"]
    signal: Literal["in-flight", "rate"] = "in-flight"
    threshold_s: Duration | None = None
    target: Share | None = None


class RequestRate(_Scaling):
    """A worker for each `rps_per_worker` requests a second, as the last interval had them."""

    kind: Literal["request-rate"]
    rps_per_worker: Rate


class Schedule(_Scaling):
    """So many workers from a moment on, as the file says; the order is given then, at the next decision.

    Attributes:
        workers: in order of the seconds, of which the first is 0; the same of every pool of the stage, or each model's.
        period_s: after which it begins again; None: the last entry stays.
    """

    kind: Literal["schedule"]
    workers: Annotated[
        Annotated[Entries, Tag("<list>")] | Annotated[dict[str, Entries], Tag("<mapping>")], Discriminator(shape)
    ]
    period_s: Duration | None = None
    cooldown_s: Moment = 0.0

    def entries(self, model: str | None) -> tuple[Entry, ...]:
        """Of a model's own pool, or with None of one that all share."""
        return self.workers[model or ""] if isinstance(self.workers, dict) else self.workers


class Oracle(_Scaling):
    """Knows all requests to come: as many workers as bring their load to `target`, ordered `start_s` ahead."""

    kind: Literal["oracle"]
    target: Positive = 0.8
    cooldown_s: Moment = 0.0


Scaling: TypeAlias = Utilisation | KVUsage | TokenVelocity | RequestRate | Schedule | Oracle
