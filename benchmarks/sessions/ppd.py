"""PPD's published comparison, simulated: ``python -m benchmarks.sessions.ppd [SEEDS]``.

Where the second turn of a conversation is best computed, on a prefill worker or where its history is, over loads, rates
and ways to place four GPUs; and what a prompt that is computed among 200 decodes costs them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.on_all_cores import simulate_all
from benchmarks.sessions.cells import (
    BY_CHANCE,
    COMPARED,
    RATES,
    REPLICAS,
    SPLITS,
    Cell,
    Figures,
    cells,
    simulate_apart,
    simulate_cell,
)
from benchmarks.sessions.interference import interference_tables
from benchmarks.show import show
from sunsim.report.text_table import TextTable

HIGH_RATE = 8
"""PPD does not say what a high rate is; assumed: from so many conversations a second on."""
NEAR = 0.02
"""Of the best."""
PUBLISHED_CHANGE = {"1P3D": -73.3, "2P2D": -56.2, "3P1D": -24.9}
"""Second-turn TTFT of local against remote, %, "at long context and high rate"."""
PUBLISHED_APART = 92.2
"""Cells in which the best TTFT and the best TPOT need different configurations, %, of 17."""
PUBLISHED_WINS = {"4R": (63.3, None), "remote": (None, 38.3), "local": (None, None)}
"""Cells in which a kind of configuration has the best TTFT and the best TPOT, %, of 17; as far as they are named."""
PUBLISHED_CELLS: dict[tuple[str, float], tuple[Figures | None, Figures]] = {
    ("1P3D", 1): (Figures(137.1, 8.26), Figures(51.8, 8.38)),
    ("1P3D", 4): (Figures(153.5, 9.21), Figures(77.5, 9.28)),
    ("2P2D", 1): (Figures(150.9, 8.17), Figures(74.1, 8.28)),
    ("2P2D", 4): (Figures(152.9, 9.88), Figures(91.1, 9.87)),
    ("3P1D", 1): (None, Figures(73.0, 8.45)),
    ("3P1D", 4): (None, Figures(86.1, 10.98)),
}
"""Second turns of load large, mid_bal by split and rate, remote and local. From ``ppd/results/comprehensive`` in
github.com/freelulul/vllm-ppd at eae8a1d; every request of its 3P1D, remote, had timed out."""
NOTE = (
    "Two-turn conversations on four H100, Llama-3.1-8B bf16: 18 loads at 10 rates, each for 10 s, the second turn at once "
    "after the first one's last token. Rates are of conversations, as in PPD's script, which hands them out whole. Change: "
    "mean TTFT of second turns, local against remote, mean over the cells, %. Remote, whole: the prompt's KV goes to decode "
    "whole, as PPD's connector sends it; lacking: only what decode lacks. Auto: Dynamo's rule against remote, whole."
)
Found = Mapping[Cell, Mapping[str, Figures]]


def change(found: Found, arm: str, against: str, which: Callable[[Cell], bool]) -> float:
    """Mean change of TTFT of an arm against another over such cells, %."""
    ratios = [of[arm].ttft_ms / of[against].ttft_ms for cell, of in found.items() if which(cell)]
    return 100 * (float(np.mean(ratios)) - 1)


def change_table(found: Found) -> TextTable:
    """Local against remote by split, beside the published figures."""

    def high(cell: Cell) -> bool:
        return cell.first == "large" and cell.rate >= HIGH_RATE

    rows = []
    for split in SPLITS:
        whole, lacking, local, auto = (f"{split}-{way}" for way in ("whole", "remote", "local", "auto"))
        pairs = ((local, whole), (local, lacking), (auto, whole))
        parts = [f"{change(found, *pair, which):+.1f}" for which in (high, lambda _: True) for pair in pairs]
        rows.append((split, f"{PUBLISHED_CHANGE[split]:+.1f}", *parts))
    kinds = ("whole", "lacking", "auto")
    headers = [f"{where},\n{kind}" for where in ("large, high", "all cells") for kind in kinds]
    title = f"Change of second-turn TTFT; published and large, high: 1,024 -> 1,024 first, from {HIGH_RATE}/s on"
    return TextTable(title, ("split", "published", *headers), rows)


def rate_table(found: Found) -> TextTable:
    """Local against remote, whole, by rate, after a large first turn."""
    rows = []
    for rate in RATES:
        parts = [
            change(found, f"{split}-local", f"{split}-whole", lambda cell: (cell.first, cell.rate) == ("large", rate))  # noqa: B023
            for split in SPLITS
        ]
        rows.append((f"{rate:g}", *(f"{part:+.1f}" for part in parts)))
    return TextTable("The same by rate, large, whole", ("conversations/s", *SPLITS), rows)


def cell_table(found: Found) -> TextTable:
    """One load of which the published repository once had single results."""
    rows = []
    for (split, rate), (remote, local) in PUBLISHED_CELLS.items():
        of = mean_figures(
            [arms for cell, arms in found.items() if (cell.first, cell.second, cell.rate) == ("large", "mid_bal", rate)]
        )
        row = [f"{split} at {rate:g}/s"]
        for published, simulated in ((remote, of[f"{split}-whole"]), (local, of[f"{split}-local"])):
            row += [f"{published.ttft_ms:.0f}" if published else "failed", f"{simulated.ttft_ms:.0f}"]
            row += [f"{published.tpot_ms:.1f}" if published else "failed", f"{simulated.tpot_ms:.1f}"]
        rows.append(tuple(row))
    headers = [
        f"{where}\n{what}\n{whose}"
        for where in ("remote", "local")
        for what in ("TTFT", "TPOT")
        for whose in ("publ.", "simul.")
    ]
    return TextTable("Single cells: large, mid_bal, second turns, ms", ("", *headers), rows)


def mean_figures(arms: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Means by arm."""
    return {name: Figures(*np.mean([of[name] for of in arms], axis=0).tolist()) for name in arms[0]}


def kind_of(arm: str) -> str:
    """``4R``, ``remote`` or ``local``."""
    return arm if arm == REPLICAS else "remote" if arm.endswith("whole") else "local"


def apart(of: Mapping[str, Figures], near: float) -> bool:
    """Whether no arm is so near to the best TTFT and the best TPOT."""
    best = [min(column) for column in zip(*of.values(), strict=True)]
    return not any(
        all(mine <= (1 + near) * least for mine, least in zip(arm, best, strict=True)) for arm in of.values()
    )


def best_table(found: Found, own: Found) -> TextTable:
    """What has the best TTFT and the best TPOT, where all configurations have the same arrivals and where each has its own."""
    same = [{arm: of[arm] for arm in COMPARED} for of in found.values()]
    apart_too = [{arm: of[arm] for arm in COMPARED} for of in own.values()]
    by_chance = [of | {REPLICAS: whole[BY_CHANCE]} for of, whole in zip(apart_too, own.values(), strict=True)]
    columns = (same, apart_too, by_chance)
    rows: list[tuple[str, ...]] = []
    for label, near, published in (
        ("no configuration is best in both", 0.0, f"{PUBLISHED_APART}"),
        (f"none is within {100 * NEAR:g} % of the best in both", NEAR, ""),
    ):
        shares = [100 * np.mean([apart(of, near) for of in compared]) for compared in columns]
        rows.append((label, published, *(f"{share:.1f}" for share in shares)))
    for index, what in enumerate(Figures._fields):
        for kind, wins in PUBLISHED_WINS.items():
            published = "" if wins[index] is None else f"{wins[index]}"
            shares = [100 * np.mean([winner(of, index) == kind for of in compared]) for compared in columns]
            rows.append((f"best {what[:4].upper()}: {kind}", published, *(f"{share:.1f}" for share in shares)))
    title = f"Cells, %; published: 17 configurations, simulated: {len(COMPARED)}"
    return TextTable(title, ("", "published", "same\narrivals", "arrivals\nof its own", "and 4R\nby chance"), rows)


def winner(of: Mapping[str, Figures], index: int) -> str:
    """Of what kind the arm is that has the least of a figure."""
    return kind_of(min(of, key=lambda arm: of[arm][index]))


def main() -> None:
    """Prints the tables; a number on the command line is how many seeds each cell has, 1 if there is none."""
    seeds = sys.argv[1] if len(sys.argv) > 1 else "1"
    if not seeds.isdecimal() or seeds == "0":
        sys.exit("usage: python -m benchmarks.sessions.ppd [SEEDS]")
    work = cells(int(seeds))
    try:
        found, own = simulate_all(work, simulate_cell), simulate_all(work, simulate_apart)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    tables = [change_table(found), rate_table(found), cell_table(found), best_table(found, own)]
    show([NOTE, *tables, *interference_tables()])


if __name__ == "__main__":
    main()
