"""What a step with drafts costs, and what it must give, from step times alone: ``python -m benchmarks.drafts.steps``.

A step of a batch in which each request has K drafts takes longer than one without, and gives each request its acceptance
length in place of one token. Without queueing the time per token is the step's time over that length, so drafts pay while
the length is above the ratio of the two steps' times, which is the step's cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd

from benchmarks.show import show
from sunsim.clock import PS_PER_MS
from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.drafts import DraftFamily, DraftTimes, Method
from sunsim.latency.profile import load_named
from sunsim.report.text_table import TextTable

PROFILES = {"bf16": "h200-141gb/llama-3.1-8b-bf16", "awq": "h200-141gb/llama-3.1-8b-awq"}
FAMILIES: dict[str, tuple[str, Method]] = {
    "bf16": (PROFILES["bf16"], "eagle"),
    "awq": (PROFILES["awq"], "eagle"),
    "bf16, n-gram": (PROFILES["bf16"], "ngram_gpu"),
}
"""Profiles with drafts, and what drafts."""
RATES = (0.75, 0.55, 0.40, 0.29, 0.21)
"""Accepted at least so far; assumed, the fourth and the fifth falling as the third does."""
MOST = 5
"""Drafts that a worker is started with."""
BATCHES = (1, 8, 16, 32, 64, 96, 128, 192, 256)
CONTEXTS = (400, 1500, 4096)
"""Tokens of each request."""
NOTE = (
    "Cost: the time of a step with K drafts a request over that of one without, and so the acceptance length from which on "
    "drafts pay. Speed-up: acceptance length over cost, the output of a full batch against that without drafts, at the rates "
    f"{'/'.join(f'{rate:.2f}' for rate in RATES)} (cumulative; assumed). Every request has the same context."
)


class Cost(NamedTuple):
    """Of a step with drafts.

    Attributes:
        batch, context, drafts: requests, tokens of each, and drafts of each.
        plain_ms, drafts_ms: time of the step without drafts and with them.
    """

    batch: int
    context: int
    drafts: int
    plain_ms: float
    drafts_ms: float

    @property
    def cost(self) -> float:
        """Time with drafts over that without."""
        return self.drafts_ms / self.plain_ms

    def speedup(self, rates: Sequence[float]) -> float:
        """Tokens a second with drafts over those without."""
        return length(rates, self.drafts) / self.cost


def length(rates: Sequence[float], drafts: int) -> float:
    """Mean acceptance length: one token and the accepted drafts; vLLM's definition of rates and length."""
    return 1 + sum(rates[:drafts])


@cache
def times_of(profile: str, context: int, method: Method = "eagle") -> DraftTimes:
    """Step times with drafts, for requests of one length.

    Raises:
        InputError: no steps with drafts were measured.
    """
    base = load_named(profile)
    family = DraftFamily.of(base, method, MOST)
    if family is None:
        message = "has no profile with drafts beside it, must have one"
        raise InputError(message, base.path)
    return DraftTimes(family, LengthMix((context,), (1,)))


def cost(times: DraftTimes, batch: int, context: int, drafts: int) -> Cost:
    """Of one step."""
    lines = [times.decode_line_k(batch, batch * context, k) for k in (0, drafts)]
    plain_ms, drafts_ms = ((line.base_ps + line.slope_ps * batch * context) / PS_PER_MS for line in lines)
    return Cost(batch, context, drafts, plain_ms, drafts_ms)


def numbers(profile: str, method: Method = "eagle") -> list[int]:
    """Of drafts, those that were measured."""
    return [drafts for drafts in times_of(profile, 1, method).family.measured if drafts]


def costs(profile: str, context: int, method: Method = "eagle") -> list[list[Cost]]:
    """A list a batch, in it one of each measured number of drafts."""
    times = times_of(profile, context, method)
    return [[cost(times, batch, context, drafts) for drafts in numbers(profile, method)] for batch in BATCHES]


def loss_from(of_batches: Sequence[Cost], rates: Sequence[float]) -> int | None:
    """The batch from which on drafts never pay; None where they pay in the largest."""
    paying = [each.batch for each in of_batches if each.speedup(rates) > 1]
    return next((each.batch for each in of_batches if each.batch > max(paying, default=0)), None)


def tables(rates: Sequence[float] = RATES) -> Iterator[str | TextTable]:
    """A table a profile, and where drafts turn into a loss."""
    yield NOTE
    losses = []
    for name, (profile, method) in FAMILIES.items():
        measured, of_contexts = numbers(profile, method), [costs(profile, context, method) for context in CONTEXTS]
        lengths = ", ".join(f"K={drafts}: {length(rates, drafts):.2f}" for drafts in measured)
        rows = [
            (f"{batch}", *(_cell(each, rates) for found in of_contexts for each in found[i]))
            for i, batch in enumerate(BATCHES)
        ]
        header = (f"{context:,} tok.\nK={drafts}" for context in CONTEXTS for drafts in measured)
        yield TextTable(f"{name}: cost and speed-up (lengths {lengths})", ("requests", *header), rows)
        for i, drafts in enumerate(measured):
            at = [_loss([own[i] for own in found], rates) for found in of_contexts]
            losses.append((name, f"K={drafts}", *at))
    headers = ("", "", *(f"{context:,}\ntokens each" for context in CONTEXTS))
    yield TextTable("Requests from which on drafts are a loss", headers, losses, left=2)


def best_by_batch(profile: str, context: int, rates: Sequence[float] = RATES) -> list[list[int]]:
    """Ranges of batches with the number of drafts that gives most there, vLLM's num_speculative_tokens_per_batch_size.

    A range begins with each of `BATCHES`; neighbours with the same number are one.
    """
    ranges: list[list[int]] = []
    for own, end in zip(costs(profile, context), [*(batch - 1 for batch in BATCHES[1:]), BATCHES[-1]], strict=True):
        speedup, drafts = max((each.speedup(rates), each.drafts) for each in own)
        drafts = drafts if speedup > 1 else 0
        if ranges and ranges[-1][2] == drafts:
            ranges[-1][1] = end
        else:
            ranges.append([own[0].batch, end, drafts])
    return ranges


def frame(rates: Sequence[float] = RATES) -> pd.DataFrame:
    """A row a batch, context and number of drafts of the first profile: `batch`, `context`, `drafts`, `speedup`."""
    profile = next(iter(PROFILES.values()))
    rows = [
        {"batch": each.batch, "context": context, "drafts": each.drafts, "speedup": each.speedup(rates)}
        for context in CONTEXTS
        for of_batch in costs(profile, context)
        for each in of_batch
    ]
    return pd.DataFrame(rows)


def _cell(each: Cost, rates: Sequence[float]) -> str:
    return f"{each.cost:.2f} {each.speedup(rates):.2f}x"


def _loss(of_batches: Sequence[Cost], rates: Sequence[float]) -> str:
    found = loss_from(of_batches, rates)
    return f"above {BATCHES[-1]}" if found is None else str(found)


def main() -> None:
    """Prints the tables."""
    show(tables())


if __name__ == "__main__":
    main()
