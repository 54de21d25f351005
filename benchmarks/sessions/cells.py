"""The cells of PPD's published setting (2603.13358): two turns, nine second ones, ten rates, and ways to place four GPUs."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import load_scenario
from sunsim.scenario.requests import build_requests

DURATION_S = 10.0
"""For so long conversations begin."""
RATES = (0.5, 1, 2, 4, 6, 8, 10, 12, 16, 20)
"""Conversations a second."""
SPLITS = ("1P3D", "2P2D", "3P1D")
"""GPUs that prefill and that decode."""
REPLICAS = "4R"
BY_CHANCE = "4R-by-chance"
PROFILE = "h100-80gb/llama-3.1-8b-bf16"
POOL = {
    "profile": PROFILE,
    "policy": "isolated",
    "router": "session-affinity",
    "max_model_len": 8192,
}
TRANSFER = {"measured": "h100-80gb/links/nixl-nvlink"}


class Turn(NamedTuple):
    """New tokens, and tokens of the answer."""

    user: int
    output: int


FIRST = {"small": Turn(128, 128), "large": Turn(1024, 1024)}
SECOND = {
    "tiny": Turn(16, 32),
    "short_gen": Turn(32, 256),
    "long_gen": Turn(32, 512),
    "very_long_gen": Turn(64, 1024),
    "small_bal": Turn(64, 64),
    "mid_bal": Turn(128, 128),
    "mid_paste": Turn(256, 64),
    "big_paste": Turn(512, 64),
    "huge_paste": Turn(1024, 32),
}


class Way(NamedTuple):
    """How the second turn's prompt is computed: `append_prefill`, and whether decode workers find what they have."""

    append: str
    cached: bool = True


WAYS = {
    "whole": Way("remote", cached=False),
    "remote": Way("remote"),
    "local": Way("local"),
    "auto": Way("auto"),
}
"""``whole`` is PPD's remote: prefill finds what it has, but a prompt's KV goes to decode whole; `remote` sends what lacks."""
COMPARED = (REPLICAS, *(f"{split}-{way}" for split in SPLITS for way in ("whole", "local")))
"""Of PPD's 17 configurations those that are neither mixtures of others nor have replicas beside them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A load at a rate; `seed` is of the arrivals."""

    first: str
    second: str
    rate: float
    seed: int = 0


class Figures(NamedTuple):
    """Means over second turns, in milliseconds."""

    ttft_ms: float
    tpot_ms: float


def cells(seeds: int) -> list[Cell]:
    """All of them, the longest first."""
    return [
        Cell(first, second, rate, seed)
        for rate in reversed(RATES)
        for first in reversed(FIRST)
        for second in SECOND
        for seed in range(seeds)
    ]


def arrivals_s(cell: Cell) -> NDArray[np.float64]:
    """Of conversations, Poisson, seconds; one at the beginning where there would be none."""
    rng = np.random.default_rng(cell.seed)
    drawn = np.cumsum(rng.exponential(1 / cell.rate, 10 + int(4 * cell.rate * DURATION_S)))
    held: NDArray[np.float64] = drawn[drawn < DURATION_S]
    return held if held.size else np.zeros(1)


def rows_of(cell: Cell, models: int = 1) -> list[dict[str, Any]]:
    """The requests as sunsim's csv has them: the second turn follows the last token of the first at once.

    Args:
        models: of which each conversation has one by chance.
    """
    first, second = FIRST[cell.first], SECOND[cell.second]
    prompt = first.user + first.output + second.user
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng((cell.seed, models))
    for number, arrival_s in enumerate(arrivals_s(cell)):
        session = {"session": number, "model": f"m{rng.integers(models) + 1}"}
        opening = {
            "round": 0,
            "arrival_s": f"{arrival_s:.6f}",
            "prompt_tokens": first.user,
            "output_tokens": first.output,
        }
        following = {"round": 1, "think_s": 0, "prompt_tokens": prompt, "output_tokens": second.output}
        rows += [session | opening, session | following]
    return rows


def arms() -> list[dict[str, Any]]:
    """Every split in every way, named ``SPLIT WAY``, and four workers that do both."""
    found: list[dict[str, Any]] = []
    for split in SPLITS:
        prefill, decode = int(split[0]), int(split[2])
        for name, way in WAYS.items():
            stages = {
                "prefill": POOL | {"workers": prefill, "enable_prefix_caching": True},
                "decode": POOL | {"workers": decode, "enable_prefix_caching": way.cached, "append_prefill": way.append},
            }
            found.append({"name": f"{split}-{name}", **stages})
    return [*found, {"name": REPLICAS, "colocated": POOL | {"workers": 4, "enable_prefix_caching": True}}]


def simulated(
    rows: Sequence[dict[str, Any]], arms: Iterable[dict[str, Any]], models: int = 1
) -> dict[str, pd.DataFrame]:
    """What each arm did to the requests of such rows: the frame of its requests, by the arm's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            names = list(dict.fromkeys(name for row in rows for name in row))
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        workload = {"kind": "trace", "format": "csv", "path": str(path)}
        document = {"name": "ppd", "models": {"count": models}, "workload": workload, "transfer": TRANSFER}
        scenario = load_scenario(document | {"arms": [*arms]})
        requests = build_requests(scenario)
        return {arm.name: simulate_arm(scenario, arm, requests).rows for arm in scenario.arms}


def simulate_cell(cell: Cell) -> dict[str, Figures]:
    """Figures of a cell's second turns, by arm; every arm has the same arrivals."""
    return {name: figures(rows) for name, rows in simulated(rows_of(cell), arms()).items()}


def simulate_apart(cell: Cell) -> dict[str, Figures]:
    """The same of `COMPARED`, each with arrivals of its own: PPD's script draws them anew for each configuration.

    `BY_CHANCE` is `REPLICAS` where a conversation's worker is drawn, as PPD's proxy takes it by a hash: four names of the
    model, with a worker each.
    """
    found: dict[str, Figures] = {}
    for number, arm in enumerate(arm for arm in arms() if arm["name"] in COMPARED):
        own = replace(cell, seed=(1 + cell.seed) * 100 + number)
        found |= {name: figures(rows) for name, rows in simulated(rows_of(own), [arm]).items()}
        if arm["name"] == REPLICAS:
            found[BY_CHANCE] = figures(simulated(rows_of(own, 4), [arm], 4)[REPLICAS])
    return found


def figures(rows: pd.DataFrame) -> Figures:
    """Of the second turns among an arm's requests."""
    turns = rows[rows["round"] == 1]
    ttft_s = turns["first_token_s"] - turns["arrival_s"]
    tpot_s = (turns["last_token_s"] - turns["first_token_s"]) / (turns["output_tokens"] - 1)
    return Figures(1000 * float(ttft_s.mean()), 1000 * float(tpot_s.mean()))
