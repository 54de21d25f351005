"""TokenScale's published comparison of autoscalers (2512.03416), simulated:
``python -m benchmarks.elastic.tokenscale [--conv CSV --code CSV]``.

Four loads, four ways to size prefill and decode pools, and TokenScale's parts one by one. Without files of the Azure
traces their loads are drawn: with the lengths of these traces, and bursts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.elastic.cells import gpus_held
from benchmarks.on_all_cores import simulate_all
from benchmarks.show import show
from sunsim.clock import to_s
from sunsim.cluster.scaling.make import freed_a_second, prompts_a_second
from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import requests_of, window_of
from sunsim.report.text_table import TextTable
from sunsim.scenario import Scenario, load_scenario
from sunsim.workload.traces.formats import read_trace

PROFILE = "h100-80gb/llama-3.1-8b-bf16"
DURATION_S = 900
WARM_UP_S = 60
NEEDED = 2.0
"""Workers of the stage that needs more, that a load keeps busy in the mean. Assumed, as the rates are not known."""
SLO = {"ttft_ms": 400, "tpot_ms": 100}
"""What the policies know. A request is judged by the limit of its prompt."""
TTFT_MS = ((512, 250), (2_048, 400), (10**9, 2_000))
"""Limits of short, medium and long prompts, with the tokens up to which they count as such: where that is, is assumed."""
MOST = 8
"""Workers of each stage: two hosts of eight GPUs."""
COMMON = {"interval_s": 1.0, "cooldown_s": 60.0, "start_s": 6.5}
"""Of all policies. A new instance takes 3 to 10 s there; the others are assumed."""
HEADROOM = 0.7
"""Of the requests that a worker can do at best: what a policy by request rate gives it. Assumed."""
PREFILL, DECODE = "prefill", "decode"
Block = dict[str, Any]
LENGTHS: dict[str, Block] = {
    "Azure conversation": {"kind": "azure-conv"},
    "Azure code": {"kind": "azure-code"},
    "BurstGPT-like": {
        "kind": "lognormal",
        "prompt": {"median_tokens": 350, "sigma": 1.1, "max_tokens": 4_000},
        "output": {"median_tokens": 200, "sigma": 0.9, "max_tokens": 2_000},
    },
}
"""The last assumed, in the size of what BurstGPT's paper says."""
MIXED = "mixed"
BURSTINESS = 0.5
BURSTS = {"every_s": 75, "length_s": 15, "factor": 4}
"""Drawn arrivals: gamma gaps, and quarters of a minute of four times the rate."""
VELOCITY: Block = {"kind": "token-velocity", "signal": "rate"}
ABLATION = ("DistServe", "+ prefill scaler", "+ decode scaler", "TokenScale")
PUBLISHED = {
    "DistServe": ("87", "80", "78"),
    "+ prefill scaler": ("91", "", ""),
    "+ decode scaler": ("", "99", "about 90"),
    "TokenScale": ("94", "", ""),
}
"""Of its ablation: TTFT, TPOT and both met, %; on A100s."""
COMPARED = ("AIBrix", "BlitzScale", "DistServe", "TokenScale")


class Way(NamedTuple):
    """What a scenario says of the sizes of both stages, and how many decode workers take prompts."""

    prefill: Block
    decode: Block
    convertible: int = 0


class Figures(NamedTuple):
    """Shares of requests that are in time, and GPUs held in the mean."""

    met: float
    ttft: float
    tpot: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A load, and how its pools are sized."""

    load: str
    way: str
    traces: tuple[tuple[str, Path], ...] = ()


def ways(prefill_rps: float, decode_rps: float) -> dict[str, Way]:
    """By name.

    Args:
        prefill_rps, decode_rps: requests of the load's mean that a worker does a second at best.
    """
    rate = {PREFILL: prefill_rps, DECODE: decode_rps}
    by_rate: dict[str, Block] = {
        stage: {"kind": "request-rate", "rps_per_worker": HEADROOM * rps} for stage, rps in rate.items()
    }
    at_once = {stage: block | {"start_s": 0.0} for stage, block in by_rate.items()}
    return {
        "AIBrix": Way({"kind": "utilisation", "target": 0.7}, {"kind": "kv-usage", "target": 0.7}),
        "BlitzScale": Way(at_once[PREFILL], at_once[DECODE]),
        "DistServe": Way(by_rate[PREFILL], by_rate[DECODE]),
        "+ prefill scaler": Way(VELOCITY | {"target": HEADROOM}, by_rate[DECODE]),
        "+ decode scaler": Way(VELOCITY | {"target": HEADROOM}, VELOCITY | {"target": HEADROOM}),
        "TokenScale": Way(VELOCITY | {"target": HEADROOM}, VELOCITY | {"target": HEADROOM}, convertible=1),
    }


def document(requests: Path, way: Way | None) -> dict[str, Any]:
    """The scenario of a csv of requests."""
    pool: dict[str, Any] = {"profile": PROFILE, "policy": "isolated", "workers": 1}
    arm: dict[str, Any] = {"name": "pools", PREFILL: dict(pool), DECODE: dict(pool)}
    if way:
        for stage, scaling in ((PREFILL, way.prefill), (DECODE, way.decode)):
            arm[stage] |= {"workers": {"min": 1, "max": MOST}, "scaling": {**COMMON, "initial": 2, **scaling}}
        if way.convertible:
            arm[DECODE]["convertible"] = {"workers": way.convertible}
    return {
        "name": "tokenscale",
        "models": {"count": 1},
        "workload": {"kind": "trace", "format": "csv", "path": str(requests)},
        "slo": SLO,
        "measure": {"warmup_s": WARM_UP_S},
        "first_token": "prefill",
        "arms": [arm],
    }


def drawn(lengths: Block, rate_rps: float, seed: int) -> pd.DataFrame:
    """Requests of a load as sunsim's csv has them."""
    arrivals = {"kind": "gamma", "burstiness": BURSTINESS, "rate_rps": rate_rps, "bursts": BURSTS}
    workload = {"kind": "synthetic", "duration_s": DURATION_S, "arrivals": arrivals, "lengths": lengths}
    pool = {"profile": PROFILE, "policy": "isolated", "workers": 1}
    arms = [{"name": "pools", "colocated": pool}]
    requests = requests_of(
        load_scenario({"name": "drawn", "seed": seed, "models": {"count": 1}, "workload": workload, "arms": arms})
    )
    columns = {"prompt_tokens": requests.prompt_tokens, "output_tokens": requests.output_tokens}
    return pd.DataFrame({"arrival_s": to_s(requests.arrival_ps), **columns})


def traced(path: Path, rate_rps: float) -> pd.DataFrame:
    """Requests of an Azure trace, compressed to this mean rate, up to the end of the run."""
    rows = read_trace(path, "azure")
    columns = {"prompt_tokens": rows.prompt_tokens, "output_tokens": rows.output_tokens}
    frame = pd.DataFrame({"arrival_s": rows.arrival_s - rows.arrival_s[0], **columns})
    frame["arrival_s"] *= len(frame) / rate_rps / frame["arrival_s"].iloc[-1]
    return frame.loc[frame["arrival_s"] < DURATION_S]


def requests_in(cell: Cell) -> pd.DataFrame:
    """Of a load; mixed are all three at equal rates, with the mean of what each needs."""
    parts = [name for name in LENGTHS if cell.load in (name, MIXED)]
    traces, rate_rps = dict(cell.traces), sum(map(rate_of, parts)) / len(parts) ** 2
    frames = [
        traced(traces[name], rate_rps) if name in traces else drawn(LENGTHS[name], rate_rps, seed)
        for seed, name in enumerate(parts)
    ]
    ends_s = min(frame["arrival_s"].iloc[-1] for frame in frames)
    together = pd.concat(frames).sort_values("arrival_s", kind="stable")
    requests: pd.DataFrame = together.loc[together["arrival_s"] <= ends_s]
    return requests


def rate_of(load: str) -> float:
    """Requests a second of a load that keep as many workers busy as are wanted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.csv"
        drawn(LENGTHS[load], 10.0, 0).to_csv(path, index=False)
        return NEEDED * min(at_best(load_scenario(document(path, None))))


def simulated(cell: Cell) -> Figures:
    """One way on one load."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.csv"
        requests_in(cell).to_csv(path, index=False)
        probe = load_scenario(document(path, None))
        scenario = load_scenario(document(path, ways(*at_best(probe))[cell.way]))
        return figures(scenario)


def at_best(scenario: Scenario) -> tuple[float, float]:
    """Requests a second that a prefill and a decode worker do of the scenario's mean request."""
    arm, mix = scenario.arms[0], scenario.mix
    prompt, output = (sum(tokens) / len(tokens) for tokens in (mix.prompt_tokens, mix.output_tokens))
    assert arm.prefill
    assert arm.decode
    (role,) = arm.decode.roles
    return prompts_a_second(arm.prefill) / prompt, freed_a_second(arm.decode, role, scenario) / (prompt + output)


def figures(scenario: Scenario) -> Figures:
    """Of the scenario's only arm."""
    requests = requests_of(scenario)
    (arm,) = scenario.arms
    result = simulate_arm(scenario, arm, requests)
    window = window_of(scenario, requests, [result])
    rows = result.rows[window.holds(result.rows["arrival_s"].to_numpy())]
    ttft_ms = 1000 * (rows["first_token_s"] - rows["arrival_s"])
    limit_ms = pd.Series(TTFT_MS[-1][1], rows.index)
    for tokens, ms in reversed(TTFT_MS):
        limit_ms = limit_ms.mask(rows["prompt_tokens"] <= tokens, ms)
    gaps = (rows["output_tokens"] - 1).clip(lower=1)
    in_time = ttft_ms <= limit_ms
    even = 1000 * (rows["last_token_s"] - rows["first_token_s"]) / gaps <= SLO["tpot_ms"]
    gpus = float(gpus_held(arm, result).mean(window).sum())
    return Figures(float((in_time & even).mean()), float(in_time.mean()), float(even.mean()), gpus)


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--conv", type=Path, help="csv of the Azure 2023 conversation trace")
    parser.add_argument("--code", type=Path, help="csv of the Azure 2023 code trace")
    given = parser.parse_args(arguments)
    traces = tuple(
        (name, path.resolve())
        for name, path in (("Azure conversation", given.conv), ("Azure code", given.code))
        if path is not None
    )
    cells = [Cell(load, way, traces) for load in (*LENGTHS, MIXED) for way in dict.fromkeys((*COMPARED, *ABLATION))]
    found = {(cell.load, cell.way): figures for cell, figures in simulate_all(cells, simulated).items()}
    show([compared(found), ablation(found)])
    return 0


def compared(found: Mapping[tuple[str, str], Figures]) -> TextTable:
    """Loads by ways: requests in time, and GPUs."""
    rows = []
    for load in (*LENGTHS, MIXED):
        own = [found[load, way] for way in COMPARED]
        rows.append((load, *(f"{100 * one.met:.1f} %, {one.gpus:.1f}" for one in own)))
    return TextTable("Requests in time, TTFT and TPOT, and GPUs held in the mean", ("", *COMPARED), rows)


def ablation(found: Mapping[tuple[str, str], Figures]) -> TextTable:
    """Means over the loads beside the published figures."""
    rows = []
    for way in ABLATION:
        own = [found[load, way] for load in (*LENGTHS, MIXED)]
        met, ttft, tpot, gpus = (sum(values) / len(own) for values in zip(*own, strict=True))
        shares = zip(PUBLISHED[way], (ttft, tpot, met), strict=True)
        rows.append((way, *(cell for told, share in shares for cell in (told, f"{100 * share:.1f}")), f"{gpus:.1f}"))
    headers = [f"{what}\n{whose}" for what in ("TTFT met", "TPOT met", "both") for whose in ("publ.", "simul.")]
    title = "TokenScale's parts one by one, mean over the loads, %"
    return TextTable(title, ("", *headers, "GPUs"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
