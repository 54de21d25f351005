"""What vLLM 0.24 takes where it chooses the number of drafts by the batch: ``python -m benchmarks.drafts.by_batch``.

An engine that was started with ``num_speculative_tokens_per_batch_size`` runs without full CUDA graphs, and its first model
runner. Its measured steps stand beside those of engines of one number of drafts and of none, of as many requests with as much
context, which is what a simulated arm with such a key takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.drafts.steps import PROFILES, RATES, cost, length, times_of
from benchmarks.show import show
from sunsim.latency.profile import profiles_root
from sunsim.report.format import times
from sunsim.report.text_table import TextTable

FILE = profiles_root() / "h200-141gb/actual-runs/host-m-llama-eagle-k3/llama-3.1-8b-bf16-eagle-by-batch.json"
EVERY = 4
"""Of the measured batches one in so many is shown, and the largest with each number of drafts."""


class Found(NamedTuple):
    """Of one measured batch.

    Attributes:
        batch, drafts: requests, and drafts of each.
        measured_ms: a step of the engine that chooses by the batch.
        fixed_ms, plain_ms: one of an engine with so many drafts always, and of one without.
    """

    batch: int
    drafts: int
    measured_ms: float
    fixed_ms: float
    plain_ms: float

    @property
    def measured_token_ms(self) -> float:
        """Time per token at `RATES`."""
        return self.measured_ms / length(RATES, self.drafts)

    @property
    def fixed_token_ms(self) -> float:
        """The same as simulated."""
        return self.fixed_ms / length(RATES, self.drafts)

    @property
    def against_none(self) -> float:
        """Tokens a second as measured over those without drafts."""
        return self.plain_ms / self.measured_token_ms


def found() -> list[Found]:
    """A row a measured batch, rising."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    ranges = data["engine_args"]["speculative_config"]["num_speculative_tokens_per_batch_size"]
    rows = []
    for point in sorted(data["decode_points"], key=lambda point: point["batch"]):
        batch, context = point["batch"], round(point["context_tokens"] / point["batch"])
        (drafts,) = (k for first, last, k in ranges if first <= batch <= last)
        own = cost(times_of(PROFILES["bf16"], context), batch, context, drafts)
        rows.append(Found(batch, drafts, point["step_ms_median"], own.drafts_ms, own.plain_ms))
    return rows


def tables() -> Iterator[str | TextTable]:
    """Steps and times per token, and at how many of the measured batches drafts lose."""
    rows = found()
    largest = {each.drafts: each for each in rows}
    lost = [each for each in rows if each.against_none < 1]
    of_numbers = [
        f"{sum(each.drafts == drafts for each in lost)} of {sum(each.drafts == drafts for each in rows)} with {drafts}"
        for drafts in largest
    ]
    ratios = [each.measured_ms / each.fixed_ms for each in rows]
    yield (
        "Steps of vLLM 0.24 that chooses the number of drafts by the batch, measured (medians), beside steps of as many requests "
        "with as much context in an engine with that number always, and in one without drafts (both from the profiles). Time per "
        f"token: over the acceptance length at {'/'.join(f'{rate:.2f}' for rate in RATES[:3])} (assumed)."
    )
    shown = [each for i, each in enumerate(rows) if i % EVERY == 0 or each in largest.values()]
    header = ("requests", "drafts", "by batch,\nstep ms", "always,\nstep ms", "none,\nstep ms")
    more = ("by batch,\nms a token", "always,\nms a token", "by batch\nagainst none")
    table = [
        (
            f"{each.batch}",
            f"{each.drafts}",
            *(f"{ms:.1f}" for ms in each[2:]),
            f"{each.measured_token_ms:.1f}",
            f"{each.fixed_token_ms:.1f}",
            times(each.against_none),
        )
        for each in shown
    ]
    yield TextTable("Drafts by the batch", (*header, *more), table)
    yield (
        f"Of {len(rows)} measured batches {len(lost)} take longer a token than in an engine without drafts: "
        f"{', '.join(of_numbers)}. The best is {times(max(each.against_none for each in rows))} as fast. All take "
        f"{min(ratios):.2f} to {max(ratios):.2f} times the steps that are simulated."
    )


def main() -> None:
    """Prints the tables."""
    show(tables())


if __name__ == "__main__":
    main()
