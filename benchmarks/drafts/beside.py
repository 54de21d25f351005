"""Ways beside those of `benchmarks.drafts.load`: as many GPUs colocated, and fewer accepted drafts.

``python -m benchmarks.drafts.beside`` serves ``scenarios/speculative.yaml`` on its sixteen GPUs at some rates, colocated and
shared, and each arm once more with the acceptance that is published of an EAGLE-3 drafter (`benchmarks.drafts.published`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.drafts.cells import COLOCATED, DRAFTS, PLAIN, Cell, Figures, simulated
from benchmarks.drafts.load import gain, marked
from benchmarks.drafts.published import OTHER_LENGTH, rates_through
from benchmarks.drafts.steps import RATES, length
from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from sunsim.report.format import times
from sunsim.report.text_table import TextTable

LOADS = (10, 40, 80, 120, 160, 200, 240)
"""Requests a second."""
ALL = PLAIN | COLOCATED
PUBLISHED = tuple(round(rate, 2) for rate in rates_through(dict([OTHER_LENGTH]), DRAFTS))
"""Acceptance rates of the EAGLE-3 drafter."""

Found = Mapping[Cell, Figures]


def published(arm: str, rate: float) -> Cell:
    """The arm with drafts whose acceptance is `PUBLISHED`."""
    stage = "colocated" if arm in COLOCATED else "decode"
    return Cell(arm, rate, (f"arms.{arm}.{stage}.speculative_config.synthetic_acceptance_rates={list(PUBLISHED)}",))


def cells() -> list[Cell]:
    """All of them, the longest first."""
    found = []
    for rate in reversed(LOADS):
        found += [Cell(arm, rate) for pair in ALL.items() for arm in pair] + [published(arm, rate) for arm in ALL]
    return found


def tables(found: Found) -> Iterator[str | TextTable]:
    """By rate: colocated GPUs beside shared ones; then speed-ups with both acceptance rates."""
    yield (
        "Sixteen GPUs in every arm: colocated 10, 3, 2 and 1 of the four models, the others twelve for prefill and four for "
        "decode. Mean TPOT and mean latency from arrival to last token without drafts and with three. * overloaded."
    )
    arms = {**COLOCATED, "sun-mtp": PLAIN["sun-mtp"]}
    header = [f"{arm}\n{what}" for arm in arms.values() for what in ("TPOT ms", "latency s", "speed-up")]
    rows = [(f"{rate:g}", *(part for pair in arms.items() for part in _beside(found, pair, rate))) for rate in LOADS]
    yield TextTable("Colocated and shared", ("req/s", *header), rows)
    high, low = (f"{'/'.join(f'{rate:.2f}' for rate in own[:DRAFTS])}" for own in (RATES, PUBLISHED))
    lengths = [f"{length(own, DRAFTS):.2f}" for own in (RATES, PUBLISHED)]
    yield (
        f"Speed-up by three drafts at the rates of this page, {high} ({lengths[0]} tokens a step; chosen, of no drafter), and at "
        f"those of an EAGLE-3 drafter, {low} ({lengths[1]}; MT-bench, derived from its published length)."
    )
    header = [f"{arm}\n{own}" for arm in ALL.values() for own in lengths]
    rows = [(f"{rate:g}", *(part for pair in ALL.items() for part in _speedups(found, pair, rate))) for rate in LOADS]
    yield TextTable("By what is accepted", ("req/s", *header), rows)


def _beside(found: Found, pair: tuple[str, str], rate: float) -> Iterator[str]:
    drafting, base = (Cell(arm, rate) for arm in pair)
    yield f"{marked(found[base])} {marked(found[drafting])}"
    yield f"{found[base].e2el_ms / 1000:.2f} {found[drafting].e2el_ms / 1000:.2f}"
    yield times(gain(found, drafting, base))


def _speedups(found: Found, pair: tuple[str, str], rate: float) -> Iterator[str]:
    arm, without = pair
    for cell in (Cell(arm, rate), published(arm, rate)):
        yield f"{times(gain(found, cell, Cell(without, rate)))}{'*' if found[cell].overloaded else ''}"


def main() -> None:
    """Prints the tables."""
    show(tables(simulate_all(cells(), simulated)))


if __name__ == "__main__":
    main()
