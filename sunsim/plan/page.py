"""A plan as one HTML file that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plots.plan import goodput, gpu_bars, of_models, over_time, pareto
from sunsim.plan.sentences import caveats, heading, verdict
from sunsim.plan.tables import curve, models, overview, points, sensitivity, slos, workers
from sunsim.report.page import render
from sunsim.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

LATENCIES = {
    "p99_tpot_ms": ("TPOT p99 (ms)", "tpot_ms"),
    "mean_tpot_ms": ("TPOT mean (ms)", None),
    "p99_ttft_ms": ("TTFT p99 (ms)", "ttft_ms"),
    "mean_ttft_ms": ("TTFT mean (ms)", None),
}
"""Label, and the limit to draw: what holds for a share of requests says little about a mean."""

SERIES = {
    "batch_fullest": ("batch of the fullest decode worker", 1.0),
    "batch_mean": ("batch, mean of decode workers", 1.0),
    "kv_fullest": ("KV in use, fullest decode worker (%)", 100.0),
    "prefill_waiting": ("requests waiting for prefill", 1.0),
    "decode_waiting": ("requests waiting for decode", 1.0),
}


def page(plan: Mapping[str, Any], scenario: str) -> str:
    """The whole document; `scenario` is the resolved one."""
    arms = {name: arm for name, arm in plan["arms"].items() if arm["gpus"] and arm["portrait"] and arm["curve"]}
    window_s = (plan["window"]["start_s"], plan["window"]["end_s"])
    return render(
        "plan.html.j2",
        title=f"{plan['scenario']}: capacity plan",
        heading=heading(plan),
        verdict=verdict(plan),
        missed=not all(arm["passes"] for arm in plan["arms"].values()),
        overview=overview(plan),
        bars=gpu_bars(arms) if arms else None,
        slos=slos(plan),
        curves=[] if plan["window"]["too_short"] or not arms else [goodput(arms, plan["rate_rps"]), pareto(arms)],
        curve=curve(plan),
        models=models(plan),
        by_model=[
            of_models(arms, plan["models"], tag, label, plan["slo"].get(limit))
            for tag, (label, limit) in LATENCIES.items()
        ]
        if arms
        else [],
        over_time=[
            svg for tag, (label, times) in SERIES.items() if (svg := over_time(arms, tag, label, window_s, times))
        ],
        workers=workers(plan),
        sensitivity=sensitivity(plan),
        caveats=caveats(plan),
        points=points(plan),
        command=plan["command"],
        scenario=scenario,
        version=__version__,
        hashes="; ".join(f"{name} {sha256[:12]}" for name, sha256 in plan["profiles"].items()),
        simulations=plan["simulations"],
    )
