"""What an experiment does, and the jobs that it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from profiler.tuning.choices import Boundary
from profiler.tuning.experiment.tasks import TASKS
from sunsim.accuracy.measured import MIN_SEEDS


class Size(NamedTuple):
    """Of a Llama: all inputs of linear layers are multiples of 128, as int4 groups need; Llama 3.1's 4 queries a key."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    learning_rate: float


SIZES: Mapping[str, Size] = {
    "tiny": Size(2, 128, 4, 1, 256, 3e-3),
    "30m": Size(7, 640, 8, 2, 1792, 1e-3),
    "100m": Size(8, 1024, 16, 4, 3072, 6e-4),
}
"""By name; the learning rate is that of pre-training. tiny is for a try on a CPU."""


TUNINGS: Mapping[str, tuple[str, ...]] = {
    "full": ("base", "full", "full-int4", "full-prefill-base-decode"),
    "prefill-only": ("prefill-only", "prefill-only-int4"),
    "prefill-only-int4-tuned": ("prefill-only-int4-tuned",),
    "lora": ("lora",),
}
"""What is tuned for each task and seed, and the rows of an accuracy file that come of it, in order. full-int4 is the fully
tuned model decoding with int4 weights of its own: what the quantized shared decoder is to be compared with."""
METHODS = tuple(method for methods in TUNINGS.values() for method in methods)

RATES: Mapping[str, tuple[float, ...]] = {
    "full": (1e-4, 3e-4, 1e-3),
    "prefill-only": (3e-4, 1e-3, 3e-3),
    "lora": (1e-3, 3e-3, 1e-2),
}
"""Learning rates that each method is tried with on `RATE_TASKS`; the one with the lowest validation loss tunes all tasks."""
RATE_TASKS = ("list-operators", "math-format")


@dataclass(frozen=True, slots=True)
class Order:
    """An experiment.

    sizes: names of `SIZES`. tasks: names of `tasks.TASKS`. seeds: tunings of each, with their own examples and
    tests. boundary: who computes the last prompt token, see `two_pathways`. pretrain_s: seconds for each size.
    corpus: examples for pre-training. train, validation, test: examples of a task. steps, batch: of a tuning.
    rates: learning rates to try for each method.
    """

    sizes: Sequence[str] = ("30m", "100m")
    tasks: Sequence[str] = tuple(TASKS)
    seeds: int = MIN_SEEDS
    boundary: Boundary = "decode"
    pretrain_s: Mapping[str, float] = field(default_factory=dict)
    corpus: int = 3_000_000
    pretrain_batch: int = 512
    train: int = 4096
    validation: int = 256
    test: int = 500
    steps: int = 240
    batch: int = 64
    lora_rank: int = 16
    rates: Mapping[str, Sequence[float]] = field(default_factory=lambda: dict(RATES))


WHOLE = Order()
QUICK = Order(
    sizes=("tiny",),
    tasks=("call-format",),
    seeds=1,
    corpus=20_000,
    pretrain_batch=32,
    train=64,
    validation=16,
    test=16,
    steps=20,
    batch=8,
    rates={method: rates[1:2] for method, rates in RATES.items()},
)
"""A try: four tunings of a few seconds each also on a slow core, whose learning rates are not looked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of an experiment that one process does.

    name: of its file in DIR/done. after: names of jobs whose results it needs. alone: nothing else runs on its device.
    method: of `RATES`, whose rate is tried, or of `TUNINGS`, with its task and seed.
    """

    name: str
    kind: Literal["pretrain", "rate", "tuning"]
    size: str
    after: tuple[str, ...] = ()
    alone: bool = False
    method: str = ""
    rate: float = 0.0
    task: str = ""
    seed: int = 0


def jobs_of(order: Order) -> list[Job]:
    """All jobs, the more urgent ones first: whole seeds of all sizes one after another, so that an early end has whole ones.

    A verdict takes `MIN_SEEDS`. Further seeds begin when all of these are known: on a device that is busy they would make
    them late.
    """
    pretrain = [Job(f"pretrain-{size}", "pretrain", size, alone=True) for size in reversed(order.sizes)]
    rates = [
        Job(rate_name(size, method, rate), "rate", size, (f"pretrain-{size}",), method=method, rate=rate)
        for size in order.sizes
        for method, tried in order.rates.items()
        if len(tried) > 1
        for rate in tried
    ]
    needed = {size: (f"pretrain-{size}", *(job.name for job in rates if job.size == size)) for size in order.sizes}
    first: tuple[str, ...] = ()
    tunings: list[Job] = []
    for seed in range(order.seeds):
        if seed == MIN_SEEDS:
            first = tuple(job.name for job in tunings)
        tunings += [
            Job(
                f"{size}-{task}-{seed}-{method}",
                "tuning",
                size,
                needed[size] + first,
                method=method,
                task=task,
                seed=seed,
            )
            for task in order.tasks
            for size in order.sizes
            for method in TUNINGS
        ]
    return [*pretrain, *rates, *tunings]


def rate_name(size: str, method: str, rate: float) -> str:
    """The job that tries one."""
    return f"rate-{size}-{method}-{rate:g}"
