"""What a scenario file may say: one frozen pydantic model a block, attribute names are the YAML keys.

Load files with `sunsim.scenario.load_scenario`, which also checks what one block alone cannot know.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from sunsim.document.block import (
    Block,
    Count,
    Delay,
    Duration,
    FileName,
    FolderName,
    Gigabits,
    Moment,
    Name,
    Positive,
    Seed,
    Workers,
    shape,
)
from sunsim.roles import Stage
from sunsim.scenario.accuracy import AccuracyBlock
from sunsim.scenario.pools import DecodeBlock, PoolBlock, PrefillBlock
from sunsim.scenario.slo import Slo
from sunsim.workload.blocks import Conversations, Synthetic, Trace
from sunsim.workload.shares import expected_shares


class Zipf(Block):
    """Share of the k-th most popular of n models: ``k**-alpha / sum(j**-alpha for j in 1..n)``."""

    kind: Literal["zipf"] = "zipf"
    alpha: float = Field(ge=0, le=20)


class Uniform(Block):
    """The same share for every model."""

    kind: Literal["uniform"] = "uniform"


class ModelCount(Block):
    """`count` models named m1, m2, ... by falling popularity."""

    count: int = Field(ge=1, le=10_000)
    popularity: Zipf | Uniform = Field(default=Uniform(), discriminator="kind")


class ModelWeight(Block):
    """One named model; its share of the requests is its weight over the sum of all weights."""

    name: Name
    weight: Positive


class Measure(Block):
    """The window that headline figures come from: `warmup_s` after requests begin to come (a trace: its first) until the last."""

    warmup_s: Moment = 0.0
    until: Literal["last-arrival"] = "last-arrival"


class StopWhenFinished(Block):
    """Run until every request has finished."""

    when: Literal["all-finished"] = "all-finished"


class StopAtTime(Block):
    """Run until `limit_s`; what has not finished then is counted as unfinished."""

    when: Literal["time"] = "time"
    limit_s: Duration


class Shed(Block):
    """Requests that are predicted to miss their model's TTFT or TPOT limit, times `factor`, are refused when they come."""

    kind: Literal["shed"] = "shed"
    factor: float = Field(default=1.0, ge=0.01, le=100)


class ArmBlock(Block):
    """One way to serve the requests. Without `prefill` prompts' KV is there at arrival; without `decode` a request
    ends with its first token. `colocated` workers do both, in chunks beside their decodes; there is nothing else then.
    Without `admission` every request is taken. `accuracy` changes nothing that is simulated.
    """

    name: Name
    admission: Shed | None = None
    accuracy: AccuracyBlock | None = None
    prefill: PrefillBlock | None = None
    decode: DecodeBlock | None = None
    colocated: PoolBlock | None = None

    @model_validator(mode="after")
    def _has_a_pool(self) -> Self:
        if not self.pools():
            message = "prefill and decode are missing, at least one of them, or colocated, must be given"
            raise ValueError(message)
        if self.colocated and (self.prefill or self.decode):
            message = "colocated is given, prefill and decode must be left out: its workers do both"
            raise ValueError(message)
        return self

    def pools(self) -> dict[Stage, PoolBlock]:
        """The pools that the arm has, by stage, prefill first."""
        return {stage: pool for stage in Stage if (pool := getattr(self, stage)) is not None}


class Transfer(Block):
    """The KV link of a worker, in each direction: bandwidth in Gbit/s (10**9 bit), latency in milliseconds.

    Attributes:
        measured: measured transfers, which then say what the other two would: completed, a shipped file's
            name, or an absolute path.
    """

    bandwidth_gbit_s: Gigabits = 400.0
    latency_ms: Delay = 0.1
    measured: FileName | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        stated = {"bandwidth_gbit_s", "latency_ms"} & self.model_fields_set
        if self.measured is not None and stated:
            message = f"{min(stated)} is given, must be left out: measured says it"
            raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = whole(self)
        return fields if self.measured is None else {"measured": self.measured}


class Sweep(Block):
    """What `sunsim sweep` varies; nothing else looks at it.

    Attributes:
        seeds: how many, counted from the scenario's own, or which.
        combine: every value with every other, or the first with the first, the second with the second and so on.
        over: dotted path, as for ``--set``, to the values that are put there one after the other.
    """

    seeds: Annotated[
        Annotated[int, Field(ge=1, le=10_000), Tag("<scalar>")]
        | Annotated[tuple[Seed, ...], Field(strict=False, min_length=1, max_length=10_000), Tag("<list>")],
        Discriminator(shape),
    ] = 1
    combine: Literal["product", "zip"] = "product"
    over: dict[str, Annotated[tuple[Any, ...], Field(strict=False, min_length=1, max_length=10_000)]] = Field(
        default_factory=dict, max_length=100
    )


class Budget(Block):
    """The most that a plan may cost: simulations, of all seeds together, and seconds. None means no limit.

    A number of simulations gives the same plan every time; what seconds leave found depends on the machine.
    """

    points: Count | None = None
    seconds: Positive | None = None


class Planning(Block):
    """What `sunsim plan` looks for; nothing else looks at it.

    Attributes:
        attainment: share of each model's requests that must meet every SLO.
        require: whether they must over all seeds together, or with each seed in every window of `Slo.worst_window_s`.
        seeds: how many, counted from the scenario's own; a seed's requests are the same for every arm and size.
        size: the stages whose pools are sized; with ``none`` only the highest rate of the pools as given is looked for.
        max_prefill_gpus, max_decode_gpus: the largest pool to try; of each model where it keeps its own. Colocated
            workers are held to that of decode.
        price_per_gpu_hour: in any currency, of every card or by card, as profiles name it; None leaves costs out.
        sensitivity: also size for other rates, lengths, skew and step times.
    """

    attainment: float = Field(default=0.95, gt=0, le=1)
    require: Literal["mean", "worst-window"] = "mean"
    seeds: int = Field(default=3, ge=1, le=100)
    size: Literal["both", "prefill", "decode", "none"] = "both"
    max_prefill_gpus: Workers = 256
    max_decode_gpus: Workers = 256
    price_per_gpu_hour: (
        Annotated[
            Annotated[Positive, Tag("<scalar>")] | Annotated[dict[Name, Positive], Tag("<mapping>")],
            Discriminator(shape),
        ]
        | None
    ) = None
    budget: Budget = Budget()
    sensitivity: bool = True

    def most_gpus(self, stage: Stage) -> tuple[str, int]:
        """The largest pool of a stage to try, after the key that says it."""
        key = "max_prefill_gpus" if stage is Stage.PREFILL else "max_decode_gpus"
        return key, getattr(self, key)

    def price_of(self, card: str) -> float | None:
        """Of an hour of such a GPU; None where none is stated."""
        prices = self.price_per_gpu_hour
        return prices.get(card) if isinstance(prices, dict) else prices


class Document(Block):
    """A whole scenario file.

    Attributes:
        models: None where the trace names them; a completed document has them.
    """

    name: FolderName
    seed: Seed = 0
    models: (
        Annotated[
            Annotated[ModelCount, Tag("<mapping>")]
            | Annotated[tuple[ModelWeight, ...], Field(strict=False, min_length=1, max_length=10_000), Tag("<list>")],
            Discriminator(shape),
        ]
        | None
    ) = None
    workload: Synthetic | Conversations | Trace = Field(discriminator="kind")
    slo: Slo = Slo()
    measure: Measure = Measure()
    stop: StopWhenFinished | StopAtTime = Field(default=StopWhenFinished(), discriminator="when")
    arms: tuple[ArmBlock, ...] = Field(strict=False, min_length=1, max_length=1000)
    transfer: Transfer = Transfer()
    first_token: Literal["decode", "prefill"] = "decode"
    sweep: Sweep | None = None
    plan: Planning | None = None

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the models in the order of the file; a request's model index points into it."""
        assert self.models
        if isinstance(self.models, ModelCount):
            return tuple(f"m{rank}" for rank in range(1, self.models.count + 1))
        return tuple(model.name for model in self.models)

    @property
    def model_shares(self) -> tuple[float, ...]:
        """Expected share of the requests of each model over the run, in the order of `model_names`; they add up to 1.

        Raises:
            InputError: as `expected_shares`.
        """
        return expected_shares(self.workload, self.model_names, self.own_shares)

    @property
    def own_shares(self) -> tuple[float, ...]:
        """What `models` says of their shares, in the order of `model_names`; they add up to 1."""
        assert self.models
        if not isinstance(self.models, ModelCount):
            weights = [model.weight for model in self.models]
        else:
            popularity = self.models.popularity
            alpha = popularity.alpha if isinstance(popularity, Zipf) else 0.0
            weights = [float(rank) ** -alpha for rank in range(1, self.models.count + 1)]
        total = sum(weights)
        return tuple(weight / total for weight in weights)
