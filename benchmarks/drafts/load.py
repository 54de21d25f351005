"""What drafts add to ways of serving, by load: ``python -m benchmarks.drafts.load [FIGURE.png]``.

Serves ``scenarios/speculative.yaml`` at several rates, each arm with drafts and without, and with other numbers of drafts, and
prints the ratios. A figure shows them beside what steps alone say (`benchmarks.drafts.steps`) and what a shared drafter may
miss (`benchmarks.drafts.shared`).
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.drafts import shared, steps
from benchmarks.drafts.cells import DRAFTS, PLAIN, Cell, Figures, simulated
from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from plots.drafts import plot_drafts
from sunsim.report.format import times
from sunsim.report.text_table import TextTable

RATES = (10, 40, 80, 120, 160, 200, 240, 280)
"""Requests a second."""
NUMBERS = (1, 3, 5)
"""Of drafts, tried."""
NUMBERED = "sun-mtp"
"""The arm that is tried with other numbers."""
CONTEXT = 1500
"""Tokens of a request of the scenario, about, for which numbers of drafts by batch are chosen."""
LIMIT_MS = 8.0
"""Of the 99th percentile of TPOT."""

Found = Mapping[Cell, Figures]
NOTE = (
    "Four models, the hottest with 70 % of the requests, four decode GPUs and twelve for prefill; three drafts, accepted with "
    "rates 0.75/0.55/0.40 whoever drafts (assumed). Mean TPOT without drafts and with them, and the ratio; fullest: "
    "requests decoding on the fullest decode GPU, in the mean. * overloaded: decode batches are full, and the rate is not carried."
)


def numbered(rate: float, drafts: int) -> Cell:
    """The arm with so many drafts."""
    if drafts == DRAFTS:
        return Cell(NUMBERED, rate)
    block = f"{{num_speculative_tokens: {drafts}, synthetic_acceptance_rates: {list(steps.RATES[:drafts])}}}"
    return Cell(NUMBERED, rate, (f"arms.{NUMBERED}.decode.speculative_config={block}",))


def by_batch(rate: float) -> Cell:
    """The arm with the number of drafts that gives most for each batch, by steps alone."""
    ranges = steps.best_by_batch(steps.PROFILES["bf16"], CONTEXT)
    block = (
        f"{{num_speculative_tokens: {max(NUMBERS)}, synthetic_acceptance_rates: {list(steps.RATES[: max(NUMBERS)])}, "
        f"num_speculative_tokens_per_batch_size: {ranges}}}"
    )
    return Cell(NUMBERED, rate, (f"arms.{NUMBERED}.decode.speculative_config={block}",))


def halved(rate: float) -> Cell:
    """The arm on half as many decode GPUs."""
    return Cell(NUMBERED, rate, (f"arms.{NUMBERED}.decode.workers=2",))


def cells() -> list[Cell]:
    """All of them, the longest first."""
    found = []
    for rate in reversed(RATES):
        found += [Cell(arm, rate) for pair in PLAIN.items() for arm in pair]
        found += [numbered(rate, drafts) for drafts in NUMBERS] + [by_batch(rate), halved(rate)]
    return list(dict.fromkeys(found))


def gain(found: Found, drafting: Cell, without: Cell) -> float:
    """Mean TPOT without drafts over that with them; an overloaded arm's is that of full batches."""
    return found[without].tpot_ms / found[drafting].tpot_ms


def tables(found: Found) -> Iterator[str | TextTable]:
    """By rate: each arm with drafts and without; then other numbers of drafts."""
    yield NOTE
    header = [f"{arm}\n{what}" for arm in PLAIN.values() for what in ("TPOT ms", "fullest", "speed-up")]
    yield TextTable("By load", ("req/s", *header), [(f"{rate:g}", *_by_arm(found, rate)) for rate in RATES])
    yield TextTable(
        f"Most requests/s with 99 % of TPOT within {LIMIT_MS:g} ms",
        ("", "without drafts", "with", "ratio"),
        [_most(found, arm, without) for arm, without in PLAIN.items()],
    )
    yield TextTable("Mean latency as C1 / (1 - RPS C2)", ("", "C1, s", "1/C2, req/s", "R2"), list(_laws(found)))
    header = [f"K={drafts}" for drafts in NUMBERS]
    rows = []
    for rate in RATES:
        base = Cell(PLAIN[NUMBERED], rate)
        tried = [*(numbered(rate, drafts) for drafts in NUMBERS), by_batch(rate), halved(rate)]
        rows.append((f"{rate:g}", *(f"{times(gain(found, cell, base))}{_mark(found[cell])}" for cell in tried)))
    header += ["by batch", "on two\ndecode GPUs"]
    yield TextTable(f"{NUMBERED} with other numbers of drafts, against {PLAIN[NUMBERED]}", ("req/s", *header), rows)
    most = 100 * max(each.outside for each in found.values())
    ranges = [f"{drafts} up to {end}" for _, end, drafts in steps.best_by_batch(steps.PROFILES["bf16"], CONTEXT)]
    yield (
        f"By batch: {', '.join(ranges)} requests, and an upper bound: vLLM 0.24 loses its full CUDA graphs where it chooses so "
        f"(python -m benchmarks.drafts.by_batch). On two decode GPUs: K={DRAFTS}, against four without drafts. At most "
        f"{most:.1f} % of an arm's decode steps are beyond what was measured."
    )


def _by_arm(found: Found, rate: float) -> Iterator[str]:
    for arm, without in PLAIN.items():
        drafting, base = found[Cell(arm, rate)], found[Cell(without, rate)]
        yield f"{marked(base)} {marked(drafting)}"
        yield f"{base.batch:.0f} {drafting.batch:.0f}"
        yield times(gain(found, Cell(arm, rate), Cell(without, rate)))


def sustained(found: Found, arm: str) -> float | None:
    """The rate at which the 99th percentile of TPOT reaches the limit, on straight lines between rates; None beyond them."""
    points = [(rate, found[Cell(arm, rate)].p99_tpot_ms) for rate in RATES]
    for (low, below), (high, above) in pairwise(points):
        if below <= LIMIT_MS < above:
            return low + (high - low) * (LIMIT_MS - below) / (above - below)
    return None


class Law(NamedTuple):
    """Latency by rate as ``L = C1 / (1 - RPS C2)`` (arXiv 2605.15051).

    Attributes:
        c1_s: latency at no load.
        full_rps: ``1 / C2``, the rate at which it has no end.
        r2: share of the variance of the latencies that the law explains.
    """

    c1_s: float
    full_rps: float
    r2: float


def law(points: Sequence[tuple[float, float]]) -> Law:
    """The law through rates and latencies in seconds: ``1 / L`` is a line in the rate, by least squares."""
    rate, latency_s = np.array(points).T
    slope, base = np.polyfit(rate, 1 / latency_s, 1)
    left = latency_s - 1 / (base + slope * rate)
    return Law(1 / base, -base / slope, 1 - float((left**2).sum() / ((latency_s - latency_s.mean()) ** 2).sum()))


def _laws(found: Found) -> Iterator[tuple[str, ...]]:
    """A row an arm, of the rates at which it is not overloaded."""
    for arm in (name for pair in PLAIN.items() for name in reversed(pair)):
        of_rates = [(rate, found[Cell(arm, rate)]) for rate in RATES]
        points = [(rate, each.e2el_ms / 1000) for rate, each in of_rates if not each.overloaded]
        if len(points) > 3:
            own = law(points)
            yield arm, f"{own.c1_s:.2f}", f"{own.full_rps:.0f}", f"{own.r2:.3f}"


def _most(found: Found, arm: str, without: str) -> tuple[str, ...]:
    base, drafting = sustained(found, without), sustained(found, arm)
    shown = (f"above {RATES[-1]}" if rate is None else f"{rate:.0f}" for rate in (base, drafting))
    return (without, *shown, times(drafting / base if base and drafting else None))


def marked(figures: Figures) -> str:
    """Mean TPOT, with a star where the arm is overloaded."""
    return f"{figures.tpot_ms:.2f}{_mark(figures)}"


def _mark(figures: Figures) -> str:
    return "*" if figures.overloaded else ""


def frame(found: Found) -> pd.DataFrame:
    """A row a rate and arm with drafts: `rate`, `arm`, `speedup`, and whether it is `overloaded` with drafts or without."""
    pairs = [(rate, Cell(arm, rate), Cell(without, rate)) for arm, without in PLAIN.items() for rate in RATES]
    rows = [
        {
            "rate": rate,
            "arm": drafting.arm,
            "speedup": gain(found, drafting, base),
            "overloaded": found[drafting].overloaded or found[base].overloaded,
        }
        for rate, drafting, base in pairs
    ]
    return pd.DataFrame(rows)


def main() -> None:
    """Prints the tables; draws the figure if a file is named."""
    parser = ArgumentParser()
    parser.add_argument("figure", type=Path, nargs="?")
    given = parser.parse_args()
    found = simulate_all(cells(), simulated)
    if given.figure:
        worse = simulate_all(shared.cells(), simulated)
        plot_drafts(frame(found), steps.frame(), shared.frame(worse), given.figure)
    show(tables(found))


if __name__ == "__main__":
    main()
