"""Figures made of a few short runs, and made-up rows of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, TypeAlias

import pandas as pd

from sunsim.figures.figure import Figure
from sunsim.figures.left_out import FIGURES
from sunsim.figures.registry import FIGURES as ALL
from sunsim.figures.sweeps import SweepFile

Arms: TypeAlias = "Mapping[str, Mapping[str, float]]"

BANDWIDTHS = [50, 400]
SWEEP = f"sweep={{seeds: 2, over: {{transfer.bandwidth_gbit_s: {BANDWIDTHS}}}}}"
SHORT = SweepFile("transfer", overrides=("workload.duration_s=6", "measure.warmup_s=1", SWEEP))


def short_figures() -> tuple[Figure, ...]:
    """One figure of a short sweep, and one of profiles alone."""
    transfer = next(each for each in FIGURES if each.name == "transfer")
    roofline = next(each for each in ALL if each.name == "roofline")
    return replace(transfer, sweeps=(SHORT,)), roofline


def grid(arms: Arms) -> pd.DataFrame:
    """A grid's rows: every arm has these metrics, 1 where nothing is said, in every setting and with both seeds."""
    names = ("isolated", "sun-4", "sun-2", "sun-3", "qsun-4", "qsun-2")
    rows: list[dict[str, Any]] = [
        {
            "alpha": alpha,
            "output_tokens": output,
            "rate_rps": rate,
            "seed": seed,
            "arm": arm,
            "overloaded": False,
            "gpus": 10,
            "output_throughput_window": 1.0,
            "output_throughput_per_decode_gpu": 1.0,
            "output_throughput_per_gpu": 1.0,
            "mean_tpot_ms": 1.0,
            "mean_interactivity": 1.0,
        }
        | dict(arms.get(arm, {}))
        for alpha, output, rate, seed, arm in product((0, 3), (128, 256), (10, 20), (1, 2), names)
    ]
    return pd.DataFrame(rows)
