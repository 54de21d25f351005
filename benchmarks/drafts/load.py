"""What drafts add to ways of serving, by load: ``python -m benchmarks.drafts.load [FIGURE.png]``.

Serves ``scenarios/speculative.yaml`` at several rates, each arm with drafts and without, and with other numbers of drafts, and
prints the ratios. A figure shows them beside what steps alone say (`benchmarks.drafts.steps`) and what a shared drafter may
miss (`benchmarks.drafts.shared`).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from plots.drafts import plot_drafts

from benchmarks.drafts import shared, steps
from benchmarks.drafts.cells import PLAIN, WIDTH, Cell, Figures, simulated
from benchmarks.on_all_cores import simulate_all
from sunsim.report.format import times
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable

RATES = (5, 20, 40, 60, 80, 100, 120)
"""Requests a second."""
NUMBERS = (1, 3, 5)
"""Of drafts, those measured."""
NUMBERED = "sun-mtp"
"""The arm that is tried with other numbers."""
BY_BATCH = "[[1, 48, 3], [49, 128, 1], [129, 256, 0]]"
"""Drafts by batch, for the same arm."""

Found = Mapping[Cell, Figures]
NOTE = (
    "Four models, the hottest with 70 % of the requests, four decode GPUs and seven for prefill; three drafts, accepted with "
    "rates 0.75/0.55/0.40 whoever drafts (assumed). TPOT in ms with drafts and without, and the speed-up between them; fullest: "
    "requests decoding on the fullest decode GPU, in the mean. * overloaded."
)


def numbered(rate: float, drafts: int) -> Cell:
    """The arm with so many drafts."""
    if drafts == len(steps.RATES[:3]):
        return Cell(NUMBERED, rate)
    block = f"{{num_speculative_tokens: {drafts}, synthetic_acceptance_rates: {list(steps.RATES[:drafts])}}}"
    return Cell(NUMBERED, rate, (f"arms.{NUMBERED}.decode.speculative_config={block}",))


def by_batch(rate: float) -> Cell:
    """The arm with fewer drafts the larger the batch."""
    path = f"arms.{NUMBERED}.decode.speculative_config.num_speculative_tokens_per_batch_size"
    return Cell(NUMBERED, rate, (f"{path}={BY_BATCH}",))


def cells() -> list[Cell]:
    """All of them, the longest first."""
    found = []
    for rate in reversed(RATES):
        found += [Cell(arm, rate) for pair in PLAIN.items() for arm in pair]
        found += [numbered(rate, drafts) for drafts in NUMBERS] + [by_batch(rate)]
    return list(dict.fromkeys(found))


def gain(found: Found, drafting: Cell, without: Cell) -> float | None:
    """Mean TPOT without drafts over that with them; None where either is overloaded."""
    with_drafts, base = found[drafting], found[without]
    return None if with_drafts.overloaded or base.overloaded else base.tpot_ms / with_drafts.tpot_ms


def tables(found: Found) -> Iterator[str | TextTable]:
    """By rate: each arm with drafts and without; then other numbers of drafts."""
    yield NOTE
    header = [f"{arm}\\n{what}" for arm in PLAIN.values() for what in ("TPOT", "fullest", "speed-up")]
    yield TextTable("By load", ("req/s", *header), [(f"{rate:g}", *_by_arm(found, rate)) for rate in RATES])
    header = [f"K={drafts}" for drafts in NUMBERS]
    rows = []
    for rate in RATES:
        base = Cell(PLAIN[NUMBERED], rate)
        tried = [*(numbered(rate, drafts) for drafts in NUMBERS), by_batch(rate)]
        rows.append((f"{rate:g}", *(times(gain(found, cell, base)) for cell in tried)))
    yield TextTable(f"Speed-up of {NUMBERED} by number of drafts", ("req/s", *header, "by batch"), rows)
    most = 100 * max(each.outside for each in found.values())
    yield f"By batch: {BY_BATCH}. At most {most:.1f} % of an arm's decode steps are beyond what was measured."


def _by_arm(found: Found, rate: float) -> Iterator[str]:
    for arm, without in PLAIN.items():
        drafting, base = found[Cell(arm, rate)], found[Cell(without, rate)]
        yield f"{_marked(base)} {_marked(drafting)}"
        yield f"{base.batch:.0f} {drafting.batch:.0f}"
        yield times(gain(found, Cell(arm, rate), Cell(without, rate)))


def _marked(figures: Figures) -> str:
    return f"{figures.tpot_ms:.2f}{'*' if figures.overloaded else ''}"


def frame(found: Found) -> pd.DataFrame:
    """A row a rate and arm with drafts: `rate`, `arm`, `speedup` (missing where overloaded)."""
    rows = [
        {"rate": rate, "arm": arm, "speedup": gain(found, Cell(arm, rate), Cell(without, rate))}
        for arm, without in PLAIN.items()
        for rate in RATES
    ]
    return pd.DataFrame(rows).astype({"speedup": "float64"})


def main() -> None:
    """Prints the tables; draws the figure if a file is named."""
    parser = ArgumentParser()
    parser.add_argument("figure", type=Path, nargs="?")
    given = parser.parse_args()
    found = simulate_all(cells(), simulated)
    if given.figure:
        worse = simulate_all(shared.cells(), simulated)
        plot_drafts(frame(found), steps.frame(), shared.frame(worse), given.figure)
    sys.stdout.write(plain(list(tables(found)), WIDTH))


if __name__ == "__main__":
    main()
