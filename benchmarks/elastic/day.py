"""A day of more than a million requests on pools of fixed size and on elastic ones, each model's own and shared:
``python -m benchmarks.elastic.day [--plain] [--depends]``.

Every way gets what it needs to keep the same promise to each model, and no more: a fixed pool the fewest workers, an
elastic one the cheapest value of its policy's one knob, notch by notch on the whole day: the next one does not keep it.
With ``--depends`` it is days of workers that start faster, of flips at once, and of other numbers of models. With
``--plain`` the loop is that of the checkout, not compiled.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.elastic.cells import MEAN, WORST, Figures, cheapest, served
from benchmarks.elastic.days import DAY_S, HOUR_S, KNOBS, MOST, POOLS, Day, Way, requests_on, scenario_of
from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from benchmarks.wheel import in_wheel
from sunsim.clock import PS_PER_S, to_s
from sunsim.metrics.rows import Window
from sunsim.points.local import cores
from sunsim.report.text_table import TextTable
from sunsim.workload.requests import Requests

WARM_UP_S = 600
"""Before anything is measured: elastic pools begin at their largest."""
TOKENS_PER_S = 3_000
"""Of a worker within the TPOT limit: where the search for fixed pools begins."""
DEPENDING = "token-velocity"
"""The policy with which other days are tried."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a way needs: its knob, or its workers, and the whole day's figures; `runs` of the day it took."""

    way: Way
    knob: Any
    figures: Figures
    runs: int


def whole(way: Way, knob: Any, requests: Requests) -> Figures | None:
    """Of the whole day, or of some of its requests."""
    scenario = scenario_of(way, knob)
    end_s = float(to_s(requests_on(way.day).arrival_ps[-1]))
    return served(scenario, scenario.arms[0], requests, [Window(WARM_UP_S, end_s)])


def tuned(way: Way) -> Found:
    """The cheapest that keeps the promise."""
    if way.policy == "fixed":
        return _fixed(way)
    knob, seen = KNOBS[way.policy], dict[float, Figures | None]()

    def keeps(value: float) -> bool:
        seen[value] = whole(way, value, requests_on(way.day))
        return _kept(seen[value])

    values = knob.values()
    place = cheapest(values, int(np.searchsorted(values, knob.begin[way.pools])), keeps)
    best = seen[values[place]]
    if place < 0 or best is None:
        message = f"no {knob.name} of {way.policy} keeps the promise"
        raise ValueError(message)
    return Found(way, values[place], best, len(seen))


def _kept(figures: Figures | None) -> bool:
    return figures is not None and figures.kept


def _fixed(way: Way) -> Found:
    """The fewest workers: of each model's own pool those that it needs by itself, and more if the whole is not served."""
    requests = requests_on(way.day)
    if way.pools == "shared":
        workers = _fewest(way, requests)
        found = whole(way, workers, requests)
        assert found
        return Found(way, workers, found, 1)
    one = Way("shared", "fixed", way.day)  # a model's own pool serves nobody else
    own = {name: _fewest(one, requests.where(requests.model == number)) for number, name in enumerate(requests.models)}
    runs = 1
    while not ((found := whole(way, own, requests)) and found.kept):
        assert found
        own[found.least] += 1
        runs += 1
    return Found(way, own, found, runs)


def _fewest(way: Way, requests: Requests) -> int:
    """Workers that keep the promise, sought from what the busiest half hour keeps busy."""
    numbers = range(MOST["shared"], 0, -1)
    tokens = np.bincount((requests.arrival_ps // (1_800 * PS_PER_S)), requests.output_tokens)
    begin = numbers.index(int(np.ceil(1.25 * tokens.max() / 1_800 / TOKENS_PER_S)))

    return numbers[cheapest(numbers, begin, lambda workers: _kept(whole(way, workers, requests)))]


def find(ways: Sequence[Way]) -> list[Found]:
    """What each way needs."""
    return list(simulate_all(ways, tuned).values())


def table(found: list[Found]) -> TextTable:
    """A row a way."""
    first = found[0].figures.gpu_hours
    rows = []
    for one in found:
        own, figures = one.way, one.figures
        prefill = own.day.models * (DAY_S - WARM_UP_S) / HOUR_S
        shown = sum(one.knob.values()) if isinstance(one.knob, dict) else one.knob
        name = "workers" if own.policy == "fixed" else KNOBS[own.policy].name
        rows.append(
            (
                f"{own.pools} {own.policy}",
                f"{name} {shown:g}",
                f"{figures.gpu_hours:,.0f}",
                f"{figures.gpu_hours / first:.2f}x",
                f"{figures.gpu_hours + prefill:,.0f}",
                f"{figures.peak_gpus}",
                f"{100 * figures.mean:.2f} %",
                f"{100 * figures.worst:.1f} %",
            )
        )
    headers = (
        "decode pools",
        "knob",
        "decode\nGPU-hours",
        "",
        "with prefill\nGPU-hours",
        "most\nGPUs",
        "SLO met\nmean",
        "SLO met\nworst 300 s",
    )
    return TextTable("", headers, rows, left=2)


DAYS = {
    "as above": Day(),
    "workers start in 30 s": Day(start_s=30.0),
    "workers start in 5 s": Day(start_s=5.0),
    "flips at once": Day(flip_s=0),
    "flips in any order": Day(drawn=True),
    "in any order, at once": Day(flip_s=0, drawn=True),
    "4 models": Day(models=4),
    "16 models": Day(models=16),
}
"""What the answer may depend on."""


def way_on(day: Day, pools: str, policy: str) -> Way:
    """How fast workers start does not matter to those that are always there."""
    return Way(pools, policy, replace(day, start_s=Day().start_s) if policy == "fixed" else day)


def depends_table(found: list[Found]) -> TextTable:
    """A row a day: decode GPU-hours of fixed and of elastic pools."""
    hours = {one.way: one.figures.gpu_hours for one in found}
    rows = []
    for name, day in DAYS.items():
        own = [hours[way_on(day, pools, policy)] for pools in POOLS for policy in ("fixed", DEPENDING)]
        saved = [f"{100 * (1 - shared / isolated):.0f} %" for isolated, shared in zip(own[:2], own[2:], strict=True)]
        rows.append((name, *(f"{each:,.0f}" for each in own), *saved))
    headers = [f"{pools}\n{size}" for pools in POOLS for size in ("fixed", "elastic")]
    title = f"Decode GPU-hours; elastic: {DEPENDING}"
    return TextTable(title, ("", *headers, "sharing saves\nfixed", "sharing saves\nelastic"), rows)


def main(arguments: list[str]) -> int:
    """The command line."""
    if "--plain" not in arguments:
        return in_wheel("benchmarks.elastic.day", ["--plain", *arguments])
    began = time.monotonic()
    if "--depends" in arguments:
        every = [
            way_on(day, pools, policy) for day in DAYS.values() for pools in POOLS for policy in ("fixed", DEPENDING)
        ]
        show([depends_table(find(list(dict.fromkeys(every))))])
        return 0
    found = find([Way(pools, policy) for pools in POOLS for policy in ("fixed", *KNOBS)])
    note = (
        f"{found[0].figures.requests:,} requests measured. Every way keeps the SLO of at least {100 * MEAN:g} % of each "
        f"model's requests, and of {100 * WORST:g} % in its worst 300 s. It took {time.monotonic() - began:.0f} s on "
        f"{cores()} cores."
    )
    show([table(found), [note]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
