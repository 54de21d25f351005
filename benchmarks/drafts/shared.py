"""A drafter that all models share against one a model: ``python -m benchmarks.drafts.shared``.

A decode GPU of one model may have a drafter trained for that model. Shared decode GPUs have one for all, which may guess worse,
above all the texts of models it has seen little of. Serves ``scenarios/speculative.yaml`` with a shared drafter whose
acceptance rates are a share of those of the models' own, for all models or for all but the hottest, and finds the share at
which what drafts add is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import pandas as pd

from benchmarks.drafts.cells import DRAFTS, PLAIN, Cell, Figures, simulated
from benchmarks.drafts.steps import RATES
from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from sunsim.report.format import times
from sunsim.report.text_table import TextTable

LOADS = (10, 80, 160, 240)
"""Requests a second."""
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
"""Of the acceptance rates of a model's own drafter."""
OWN, SHARED = "isolated-mtp", ("sun-mtp", "qsun-mtp")
COLD = ("m2", "m3", "m4")
WHO = {"all": "all models", "cold": "all but the hottest"}
"""Whose drafts a shared drafter guesses worse."""

Found = Mapping[Cell, Figures]


def scaled(share: float, rates: Sequence[float] = RATES[:DRAFTS]) -> list[float]:
    """So much of each acceptance rate."""
    return [round(share * rate, 4) for rate in rates]


def worse(arm: str, rate: float, share: float, who: str) -> Cell:
    """An arm with drafts whose acceptance rates are so much of what they were, for those of `WHO`."""
    if share == 1:
        return Cell(arm, rate)
    path = f"arms.{arm}.decode.speculative_config"
    if who == "all":
        return Cell(arm, rate, (f"{path}.synthetic_acceptance_rates={scaled(share)}",))
    own = ", ".join(f"{name}: {{synthetic_acceptance_rates: {scaled(share)}}}" for name in COLD)
    return Cell(arm, rate, (f"{path}.models={{{own}}}",))


def cells() -> list[Cell]:
    """All of them, the longest first."""
    found = []
    for rate in reversed(LOADS):
        found += [Cell(arm, rate) for arm in (OWN, *PLAIN.values(), *SHARED)]
        found += [worse(arm, rate, share, who) for arm in SHARED for who in WHO for share in SHARES]
    return list(dict.fromkeys(found))


def crossing(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """The share at which a figure falls to `level`, on straight lines between points from the largest share down.

    None where it stays above, or begins below.
    """
    for (above, high), (below, low) in pairwise(points):
        if high >= level > low:
            return above + (below - above) * (high - level) / (high - low)
    return None


def speedups(found: Found, arm: str, rate: float, who: str) -> list[tuple[float, float]]:
    """Of each share, the mean TPOT without drafts over that with them."""
    base = found[Cell(PLAIN[arm], rate)]
    return [(share, base.tpot_ms / found[worse(arm, rate, share, who)].tpot_ms) for share in SHARES]


def tables(found: Found) -> Iterator[str | TextTable]:
    """What a worse drafter gives, and the shares at which its gain is gone."""
    yield (
        "Shared decode GPUs with one drafter whose acceptance rates are a share of 0.75/0.55/0.40, those of a drafter of a "
        "model's own (assumed). Speed-up: mean TPOT of the same arm without drafts over that with them. Gone at: the share at "
        "which drafts add nothing. As isolated-mtp at: the share at which its TPOT is that of isolated GPUs whose drafters "
        "are their own. -: at none of these shares."
    )
    header = ("", "req/s", *(f"{100 * share:.0f} %" for share in SHARES), "gone at", "as isolated-\nmtp at")
    for who, said in WHO.items():
        rows = [_row(found, arm, rate, who) for arm in SHARED for rate in LOADS]
        yield TextTable(f"Worse for {said}", header, rows)


def _row(found: Found, arm: str, rate: float, who: str) -> tuple[str, ...]:
    points = speedups(found, arm, rate, who)
    known = dict(points)
    own, base = found[Cell(OWN, rate)], found[Cell(PLAIN[arm], rate)]
    shares = (crossing(points, 1.0), crossing(points, base.tpot_ms / own.tpot_ms))
    return (arm, f"{rate:g}", *(times(known[share]) for share in SHARES), *map(_share, shares))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def frame(found: Found) -> pd.DataFrame:
    """A row an arm, rate and share, worse for all models: `arm`, `rate`, `share`, `speedup`."""
    rows = [
        {"arm": arm, "rate": rate, "share": share, "speedup": speedup}
        for arm in SHARED
        for rate in LOADS
        for share, speedup in speedups(found, arm, rate, "all")
    ]
    return pd.DataFrame(rows)


def main() -> None:
    """Prints the tables."""
    show(tables(simulate_all(cells(), simulated)))


if __name__ == "__main__":
    main()
