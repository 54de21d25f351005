"""What a scenario file may say about the workers of a stage."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from sunsim.document.block import Block, Count, Delay, Duration, FileName, Workers
from sunsim.scenario.scaling import Bounds, Scaling, workers_shape
from sunsim.scenario.speculative import SpeculativeConfig

RouterName: TypeAlias = Literal[
    "round-robin",
    "random",
    "least-requests",
    "least-tokens",
    "power-of-two-choices",
    "least-predicted-tpot",
    "least-harm",
    "session-affinity",
    "prefix-affinity",
]
STATE_BLIND = frozenset({"round-robin", "random"})
"""Routers that don't look at the workers' loads."""
AFFINE = frozenset({"session-affinity", "prefix-affinity"})
"""Routers that look at what workers have cached of the request."""
ADAPTIVE = frozenset({"least-predicted-tpot", "least-harm"})
"""Routers that ask the latency model."""
LOOKS_AT_OUTPUTS = ADAPTIVE | {"least-tokens"}
"""Routers for which it matters what is known of output lengths."""


class LoadReport(Block):
    """How old what a router knows of its workers is, in milliseconds: it adds what it has sent since the last report.

    Attributes:
        every_ms: between a worker's reports of its load.
        delay_ms: from a report to the router.
    """

    every_ms: float = Field(ge=0.01, le=3_600_000)
    delay_ms: Delay = 0.0


class OutputLengths(Block):
    """What a router knows of the output lengths of requests that have not ended.

    Attributes:
        known: ``exact``; ``predicted``: see `sunsim.workload.predictor`; ``none``: their mean alone.
        accuracy: share of the requests that are predicted right; None unless `known` is ``predicted``.
    """

    known: Literal["exact", "predicted", "none"]
    accuracy: float | None = Field(default=None, ge=0, le=1)


class PoolBlock(Block):
    """The workers of one stage of an arm, as a file has them.

    `sunsim.scenario.checks.complete` fills in what the file leaves out: then `workers` is a map model -> number when
    isolated and a number when shared (of an elastic pool `Bounds` in their place), `profile` is a shipped profile's name or an absolute path, and no option is None.

    Attributes:
        router: how a request is given to one of the workers that may take it.
        max_imbalance: of router prefix-affinity: how many requests more than the least loaded worker one may have and
            still be looked at; None of the others.
        allocation: how a number of workers is spread over the models when isolated; None once it has been.
        scaling: when workers come and go; None of a pool whose size is fixed.
        load_report: None where the router sees its workers' loads as they are.
        output_lengths: None where the router does not look at them.
        num_gpu_blocks: KV blocks of one worker after its weights; for a shared prefill pool the weights of all models,
            which adapters have in common.
        enable_prefix_caching: KV that a worker still has is not computed, or pulled, again.
        speculative_config: several tokens a step, of workers that decode; None: one.
    """

    profile: FileName
    policy: Literal["isolated", "shared"]
    router: RouterName = "least-requests"
    max_imbalance: Annotated[int, Field(ge=0, lt=2**30)] | None = None
    workers: Annotated[
        Annotated[Workers, Tag("<scalar>")]
        | Annotated[dict[str, Workers], Tag("<mapping>")]
        | Annotated[Bounds, Tag("<bounds>")]
        | Annotated[dict[str, Bounds], Tag("<bounds of models>")],
        Discriminator(workers_shape),
    ]
    scaling: Scaling | None = Field(default=None, discriminator="kind")
    allocation: Literal["equal", "proportional"] | None = None
    load_report: LoadReport | None = None
    output_lengths: OutputLengths | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    max_model_len: Count | None = None
    num_gpu_blocks: Count | None = None
    enable_prefix_caching: bool = False
    speculative_config: SpeculativeConfig | None = None


class PrefillBlock(PoolBlock):
    """The workers that prefill, as a file has them.

    Attributes:
        module: ``own``: each model has its own prefill module; ``shared``: all have one (PrefillShare), so its KV serves
            any of them and a step mixes their prompts.
    """

    module: Literal["own", "shared"] = "own"


def _kind(value: Any) -> str:
    """Tag of text, or of a number."""
    return "<text>" if isinstance(value, str) else "<number>"


class Convertible(Block):
    """Decode workers that take whole requests, prompt and all, while prefill is behind (TokenScale, arXiv:2512.03416).

    Attributes:
        workers: how many of the pool, the first; of each model's own where it is isolated, and of those that are ready
            where it is elastic.
        max_chunk_tokens: as `EngineConfig.max_prefill_chunk_tokens`. A completed document has a
            number: with ``auto`` the most with which `Slo.tpot_ms` still holds, see `sunsim.scenario.convertible`.
        threshold_s: prefill is behind when its tokens take longer than this on the least loaded worker.
        num_gpu_blocks: KV blocks of such a worker, beside weights that only it has.
    """

    workers: Workers = 1
    max_chunk_tokens: Annotated[
        Annotated[Literal["auto"], Tag("<text>")] | Annotated[Count, Tag("<number>")], Discriminator(_kind)
    ] = "auto"
    threshold_s: Duration | None = None
    num_gpu_blocks: Count | None = None


class DecodeBlock(PoolBlock):
    """The workers that decode, as a file has them.

    Attributes:
        append_prefill: where the prompts of a session's later rounds are computed: on a prefill worker, on the decode
            worker that had the round before, or now here, now there.
        append_rule: how that is decided, see `sunsim.cluster.append`; None unless `append_prefill` is ``auto``.
        history: what becomes of KV that decoding made: with ``keep`` later rounds use it, on the decode worker and, over
            the link, on the prefill worker; with ``rebuild`` prefill computes it again, and where decode has the module
            that made it, only that stage uses it.
        convertible: its workers that take whole requests now and then; None: none do.
    """

    append_prefill: Literal["remote", "local", "auto"] = "remote"
    append_rule: Literal["bounded", "slack"] | None = None
    history: Literal["rebuild", "keep"] = "rebuild"
    convertible: Convertible | None = None
