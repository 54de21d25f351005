"""Where adaptive routing pays and where it does not: ``python -m benchmarks.elastic.routers [SEEDS]``.

Decode workers under every router, by load, by how much output lengths differ, by how old what the router knows of its
workers is, and by whether workers are shared. Each seed's requests are the same for all routers, and changes are against
the default router on the same seed's requests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from sunsim.cluster.simulation import simulate_arm
from sunsim.latency.velocity import decode_batch
from sunsim.report.text_table import TextTable
from sunsim.scenario import Pool, Scenario, build_requests, load_scenario

PROFILE = "h100-80gb/llama-3.1-8b-bf16"
WORKERS = 4
DURATION_S, WARM_UP_S = 40.0, 15.0
TPOT_MS, TTFT_MS = 15.0, 200.0
"""The SLO. The load is a share of what the workers emit if each has the most requests that it decodes within this TPOT."""
PROMISED = 0.95
"""Share of the requests that must meet it, of what is called the highest load."""

LENGTHS: dict[str, dict[str, Any]] = {
    "fixed": {"kind": "fixed", "prompt_tokens": 1000, "output_tokens": 200},
    "azure-conv": {"kind": "azure-conv"},
    "heavy": {
        "kind": "lognormal",
        "prompt": {"median_tokens": 600, "sigma": 1.0, "max_tokens": 4000},
        "output": {"median_tokens": 80, "sigma": 1.4, "max_tokens": 2000},
    },
}
LOADS = (0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05)
SHOWN = (0.5, 0.8, 0.95, 1.05)
"""Of these, the ones in tables."""
AGES_MS = (0, 100, 1000)
"""Between a worker's reports of its load; 0: the router sees it as it is."""
KNOWN: dict[str, dict[str, Any]] = {
    "mean": {"known": "none"},
    "85 %": {"known": "predicted", "accuracy": 0.85},
    "exact": {"known": "exact"},
}
DEFAULT = "least-requests"
ROUTERS: dict[str, dict[str, Any]] = {
    DEFAULT: {"router": DEFAULT},
    "round-robin": {"router": "round-robin"},
    "power of two": {"router": "power-of-two-choices"},
    "least-tokens": {"router": "least-tokens"},
    "least-tokens exact": {"router": "least-tokens", "output_lengths": KNOWN["exact"]},
    **{f"tpot {what}": {"router": "least-predicted-tpot", "output_lengths": how} for what, how in KNOWN.items()},
    **{f"harm {what}": {"router": "least-harm", "output_lengths": how} for what, how in KNOWN.items()},
}
"""By a name of three words at most."""
HEADERS = [name.replace(" ", "\n").replace("-", "-\n") for name in ROUTERS]
"""Their words below one another."""
ADMISSION: dict[str, dict[str, Any]] = {
    "all": {},
    **{f"{factor:g}": {"admission": {"kind": "shed", "factor": factor}} for factor in (1.0, 0.95, 0.9)},
}
"""By the factor."""
SHED_LOADS = (0.95, 1.05, 1.2)
NOTE = (
    f"{WORKERS} decode workers, Llama-3.1-8B bf16 on H100, prompts' KV there at arrival, Poisson arrivals for "
    f"{DURATION_S:g} s, measured after {WARM_UP_S:g} s. SLO: TPOT {TPOT_MS:g} ms, TTFT {TTFT_MS:g} ms. Load 1: each worker "
    "decodes the most requests that it can within this TPOT. fixed: 1,000 -> 200 tokens each; heavy: lognormal, median "
    "600 -> 80, sigma 1.0 and 1.4, at most 2,000 out. mean, 85 %, exact: what is known of output lengths. Changes are "
    "against least-requests on the same requests, means over {seeds} seeds; in brackets: not all seeds have the same sign."
)


class Cell(NamedTuple):
    """Requests, and the workers that serve them: one pool, or two models with half of the workers each.

    Attributes:
        admission: it is ways to refuse that are compared, under one router.
    """

    lengths: str
    load: float
    age_ms: int = 0
    shared: bool = True
    admission: bool = False
    seed: int = 0


class Figures(NamedTuple):
    """Of the requests measured: milliseconds, and the shares that met the SLO and that were refused, %."""

    mean_tpot_ms: float
    p99_tpot_ms: float
    p99_ttft_ms: float
    attainment: float
    shed: float


Found = Mapping[Cell, Mapping[str, Figures]]
"""By the name of the router or of the way to refuse."""


def cells(seeds: int) -> list[Cell]:
    """All of them, one length after the other, since a process keeps the last step times."""
    found = []
    for lengths in LENGTHS:
        for seed in range(seeds):
            found += [Cell(lengths, load, seed=seed) for load in LOADS]
            if lengths == "fixed":
                continue
            for load in (0.8, 0.95):
                found += [Cell(lengths, load, age_ms, seed=seed) for age_ms in AGES_MS[1:]]
                found.append(Cell(lengths, load, shared=False, seed=seed))
            found += [Cell(lengths, load, admission=True, seed=seed) for load in SHED_LOADS]
    return found


def most_rps(pool: Pool) -> float:
    """What a pool's workers serve at load 1, requests a second."""
    block_size = pool.profile.block_size
    places, blocks = pool.max_num_seqs, pool.num_gpu_blocks
    prompt, output = pool.mean_prompt, pool.mean_output
    batch = decode_batch(pool.times, prompt, output, places, blocks, block_size, TPOT_MS / 1000)
    step_ms = pool.times.decode_step_ms(batch, round(batch * (prompt + output / 2)))
    return WORKERS * batch / (output * step_ms / 1000)


def arms_of(cell: Cell) -> dict[str, dict[str, Any]]:
    """The arms to be compared, by the name of what makes the difference."""
    pool = {"profile": PROFILE, "policy": "shared" if cell.shared else "isolated", "workers": WORKERS}
    if cell.admission:
        decode = {"decode": pool | {"router": "least-predicted-tpot"}}
        return {name: decode | admission for name, admission in ADMISSION.items()}
    if not cell.age_ms:
        return {name: {"decode": pool | router} for name, router in ROUTERS.items()}
    report = {"load_report": {"every_ms": cell.age_ms}}
    seeing = {name: router for name, router in ROUTERS.items() if name != "round-robin"}
    return {name: {"decode": pool | router | report} for name, router in seeing.items()}


def simulate_cell(cell: Cell) -> dict[str, Figures]:
    """What each arm makes of the cell's requests."""
    arms = arms_of(cell)
    document = {
        "name": "routers",
        "seed": cell.seed,
        "models": {"count": 1 if cell.shared else 2},
        "slo": {"tpot_ms": TPOT_MS, "ttft_ms": TTFT_MS},
        "arms": [{"name": f"a{number}"} | arm for number, arm in enumerate(arms.values())],
    }
    workload = {"kind": "synthetic", "duration_s": DURATION_S, "lengths": LENGTHS[cell.lengths]}

    def at(rate_rps: float) -> Scenario:
        arrivals = {"kind": "poisson", "rate_rps": rate_rps}
        return load_scenario(document | {"workload": workload | {"arrivals": arrivals}})

    decode = at(1.0).arms[0].decode
    assert decode
    scenario = at(cell.load * most_rps(decode))
    requests = build_requests(scenario)
    found = [figures(simulate_arm(scenario, arm, requests).rows) for arm in scenario.arms]
    return dict(zip(arms, found, strict=True))


def figures(rows: pd.DataFrame) -> Figures:
    """Of an arm's requests that came after the warm-up."""
    rows = rows[rows["arrival_s"] >= WARM_UP_S]
    ttft_ms = 1000 * (rows["first_token_s"] - rows["arrival_s"]).to_numpy()
    gaps = rows["output_tokens"].to_numpy() - 1
    took_ms = 1000 * (rows["last_token_s"] - rows["first_token_s"]).to_numpy()
    some = (gaps > 0) & ~np.isnan(took_ms)
    tpot_ms = took_ms[some] / gaps[some]
    met = (ttft_ms <= TTFT_MS) & (took_ms <= TPOT_MS * gaps)
    return Figures(
        float(tpot_ms.mean()),
        float(np.percentile(tpot_ms, 99)),
        float(np.nanpercentile(ttft_ms, 99)),
        100 * float(met.mean()),
        100 * float((rows["outcome"] == "shed").mean()),
    )


def change(found: Sequence[Mapping[str, Figures]], router: str, field: str) -> str:
    """Of a router against the default one, over the seeds: %, or of shares in points."""
    if router not in found[0]:
        return "-"
    pairs = np.array([[getattr(of[name], field) for name in (router, DEFAULT)] for of in found])
    changes = pairs[:, 0] - pairs[:, 1] if field == "attainment" else 100 * (pairs[:, 0] / pairs[:, 1] - 1)
    text = f"{changes.mean():+.1f}"
    if text in {"+0.0", "-0.0"}:
        return "0.0"
    return text if abs(np.sign(changes).sum()) == changes.size else f"({text})"


def table(title: str, found: Found, field: str, rows: Iterable[tuple[str, Callable[[Cell], bool]]]) -> TextTable:
    """A figure by router; each row is a label and which cells it is of."""
    lines = []
    for label, which in rows:
        own = [of for cell, of in found.items() if which(cell)]
        least = np.mean([getattr(of[DEFAULT], field) for of in own])
        lines.append((label, f"{least:.1f}", *(change(own, router, field) for router in ROUTERS if router != DEFAULT)))
    return TextTable(title, ("", *HEADERS), lines)


def highest_load(found: Found, lengths: str, router: str) -> str:
    """The load up to which the promised share of requests meets the SLO, on a straight line between two loads."""
    shares = []
    for load in LOADS:
        own = [of for cell, of in found.items() if cell[:-1] == Cell(lengths, load)[:-1]]
        shares.append(float(np.mean([of[router].attainment for of in own])) / 100)
    if shares[0] < PROMISED:
        return f"< {LOADS[0]:g}"
    for low, high, at_low, at_high in zip(LOADS, LOADS[1:], shares, shares[1:], strict=False):
        if at_high < PROMISED:
            return f"{low + (high - low) * (at_low - PROMISED) / (at_low - at_high):.3f}"
    return f"> {LOADS[-1]:g}"


def load_table(found: Found) -> TextTable:
    """`highest_load` by lengths and router."""
    rows = [(lengths, *(highest_load(found, lengths, router) for router in ROUTERS)) for lengths in LENGTHS]
    return TextTable(f"Highest load at which {PROMISED:.0%} of the requests meet the SLO", ("", *HEADERS), rows)


def longest_waits(found: Found) -> TextTable:
    """The longest p99 TTFT of any cell, by router."""
    rows = []
    for label, within in (("less than 1", True), ("more", False)):
        own = [arms for cell, arms in found.items() if (cell.load < 1) == within and not cell.admission]
        worst = [max(of[name].p99_ttft_ms for of in own if name in of) for name in ROUTERS]
        rows.append((label, *(f"{ms:.0f}" for ms in worst)))
    return TextTable("The longest p99 TTFT of any cell with this load, ms", ("", *HEADERS), rows)


def admission_table(found: Found) -> TextTable:
    """What refusing does, under one router: shares of all requests, and the pace of those let in."""
    factors = [name for name in ADMISSION if name != "all"]
    parts = {"met": ("attainment", ADMISSION), "refused": ("shed", factors), "p99": ("p99_tpot_ms", ADMISSION)}
    rows = []
    for lengths, load in ((lengths, load) for lengths in LENGTHS if lengths != "fixed" for load in SHED_LOADS):
        own = [of for cell, of in found.items() if cell[:-1] == Cell(lengths, load, admission=True)[:-1]]
        means = [np.mean([getattr(of[name], field) for of in own]) for field, names in parts.values() for name in names]
        rows.append((f"{lengths} {load:g}", *(f"{mean:.1f}" for mean in means)))
    headers = [f"{what}\n{name}" for what, (_, names) in parts.items() for name in names]
    title = "Admission by its factor, router tpot mean: requests that meet the SLO, refused ones, %; p99 TPOT of the others, ms"
    return TextTable(title, ("", *headers), rows)


def tables(found: Found) -> list[TextTable | str]:
    """All of them."""

    def of(lengths: str, load: float, age_ms: int = 0, *, shared: bool = True) -> Callable[[Cell], bool]:
        return lambda cell: cell[:-1] == Cell(lengths, load, age_ms, shared)[:-1]

    loads = [(f"{lengths} {load:g}", of(lengths, load)) for lengths in LENGTHS for load in SHOWN]
    skewed = [(lengths, load) for lengths in LENGTHS if lengths != "fixed" for load in (0.8, 0.95)]
    old = [
        (f"{lengths} {load:g}, {f'{age_ms} ms' if age_ms else 'now'}", of(lengths, load, age_ms))
        for lengths, load in skewed
        for age_ms in AGES_MS
    ]
    own = [(f"{lengths} {load:g}", of(lengths, load, shared=False)) for lengths, load in skewed]
    return [
        table("Mean TPOT: least-requests, ms; others, %; by lengths and load", found, "mean_tpot_ms", loads),
        table("p99 TPOT, likewise", found, "p99_tpot_ms", loads),
        table("Requests that meet the SLO: least-requests, %; others, points", found, "attainment", loads),
        load_table(found),
        table("p99 TPOT by how old reports of load are: least-requests, ms; others, %", found, "p99_tpot_ms", old),
        table("Requests that meet the SLO, likewise: %; points", found, "attainment", old),
        table("Two models with two workers each, p99 TPOT: ms; %", found, "p99_tpot_ms", own),
        table("Two models with two workers each, requests that meet the SLO: %; points", found, "attainment", own),
        longest_waits(found),
        admission_table(found),
    ]


def main() -> None:
    """Prints the tables; a number on the command line is how many seeds each cell has, 3 if there is none."""
    seeds = sys.argv[1] if len(sys.argv) > 1 else "3"
    if not seeds.isdecimal() or seeds == "0":
        sys.exit("usage: python -m benchmarks.elastic.routers [SEEDS]")
    try:
        found = simulate_all(cells(int(seeds)), simulate_cell)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    show([NOTE.format(seeds=seeds), *tables(found)])


if __name__ == "__main__":
    main()
