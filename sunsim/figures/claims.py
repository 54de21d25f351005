"""The paper's claims, each read in every way that its words allow, against the grid of settings."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sunsim.figures import roofline
from sunsim.figures.regions import Region, region
from sunsim.figures.sweeps import Frames
from sunsim.figures.tables import OUTPUT, ratios

GRID = {"decode": "grid", "prefill": "grid-first-token-prefill"}
"""The sweep of each convention, by who emits the first token."""
FACTORS = ("alpha", "output_tokens", "rate_rps")
HIGH_ALPHA = 3
SHARED = (4, 3, 2)
"""Shared decode GPUs that were simulated beside four isolated ones."""
ISOLATED = 4

# What rounds to the number that the paper states, or is better, counts as reaching it.
TWICE = 1.95
TPOT_WITHIN = 1.05
HELD = 0.98
MORE_OUTPUT = 1.285
MORE_PACE = 1.435
FLAT = 1.05
TPOT_CUT = 0.555
SPEED_UP = 1 / 1.445

METRICS = (*OUTPUT, "mean_tpot_ms", "mean_interactivity")


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim in one reading, with one convention of the first token.

    Attributes:
        claim: what the paper says.
        label: the reading in a few words.
        reading: what is asked of a setting here.
        region: of the grid, where it holds.
        best: the setting that comes nearest, its factors and measures.
        fails: what happens where it does not hold.
    """

    claim: str
    label: str
    reading: str
    first_token: str
    region: Region
    best: Mapping[Hashable, Any]
    fails: str


def findings(frames: Frames) -> list[Finding]:
    """Every claim, in every reading and with both conventions."""
    found = []
    for emitter, name in GRID.items():
        grid = frames[name]
        found += [
            _per_gpu(grid, emitter, "decode GPU", "output_throughput_per_decode_gpu"),
            _per_gpu(grid, emitter, "GPU, prefill included", "output_throughput_per_gpu"),
            _half(grid, emitter),
            *_high_skew(grid, emitter),
            _flat(grid, emitter),
            *_quantized(grid, emitter),
        ]
    return found


def compared(grid: pd.DataFrame, arm: str, base: str, factors: Sequence[str] = FACTORS) -> pd.DataFrame:
    """A row a setting: ratios of `arm` to `base`, means over the seeds, and which of them is overloaded."""
    made = ratios(grid, arm, base, factors, METRICS).groupby(list(factors), sort=False)
    flags = made[["overloaded", "base_overloaded"]].any()
    return pd.concat([made[list(METRICS)].mean(), flags], axis=1).reset_index()


def _finding(
    claim: str,
    label: str,
    reading: str,
    emitter: str,
    settings: pd.DataFrame,
    near: pd.Series,
    fails: str,
    factors: Sequence[str],
) -> Finding:
    """What `settings` say: a row each, with its `factors`, the measures, and whether the claim `holds`.

    `near` is how far each is from the claim, for the best match; missing where it is none.
    """
    best = settings.iloc[int(near.argmin())].to_dict() if near.notna().any() else {}
    return Finding(claim, label, reading, emitter, region(settings, factors), best, fails)


def _per_gpu(grid: pd.DataFrame, emitter: str, name: str, metric: str) -> Finding:
    """The most output per GPU that any shared pool gives at this TPOT."""
    parts = [compared(grid, f"sun-{gpus}", "isolated").assign(shared_gpus=gpus) for gpus in SHARED]
    each = pd.concat(parts, ignore_index=True)
    each["fit"] = (each["mean_tpot_ms"] <= TPOT_WITHIN) & ~each["overloaded"]
    each["per_gpu"] = each[metric]
    each["holds"] = each["fit"] & (each["per_gpu"] >= TWICE)
    order = each.assign(score=each["per_gpu"].where(each["fit"], -np.inf)).sort_values("score", ascending=False)
    settings = order.drop_duplicates(list(FACTORS)).drop(columns="score").sort_index().reset_index(drop=True)
    none = (~settings["fit"]).sum()
    below = settings["fit"] & ~settings["holds"]
    collapsed = settings["holds"] & settings["base_overloaded"]
    fails = (
        f"no simulated pool of {', '.join(map(str, SHARED))} shared decode GPUs keeps TPOT within 5 % without an overload "
        f"in {none} settings; in {below.sum()} the largest that does gives less than {TWICE:g}x. Where it holds, the "
        f"isolated arm is overloaded in {collapsed.sum()} of {settings['holds'].sum()} settings{_bound(grid, name)}"
    )
    return _finding(
        "up to 2.0x throughput per GPU with TPOT within 5 %",
        f"2.0x output per {name}, TPOT within 5 %",
        f"output per {name} at least {TWICE:g}x isolated's, mean TPOT at most {TPOT_WITHIN:g}x, with any of the shared "
        "pools, not overloaded",
        emitter,
        settings,
        _calm(settings, -settings["per_gpu"].where(settings["fit"])),
        fails,
        FACTORS,
    )


def _bound(grid: pd.DataFrame, name: str) -> str:
    """What half the decode GPUs can give at the same output where all GPUs are counted."""
    if name == "decode GPU":
        return ""
    gpus = grid.groupby("arm")["gpus"].first()
    return f". At the same output, half the decode GPUs are {gpus['isolated'] / gpus['sun-2']:.2f}x per GPU here"


def _half(grid: pd.DataFrame, emitter: str) -> Finding:
    settings = compared(grid, "sun-2", "isolated")
    same_output = settings["output_throughput_window"] >= HELD
    same_pace = settings["mean_tpot_ms"] <= TPOT_WITHIN
    settings["holds"] = same_output & same_pace & ~settings["overloaded"]
    slower = settings.loc[~same_pace, "mean_tpot_ms"]
    fails = (
        f"mean TPOT is {slower.min():.2f}x to {slower.max():.2f}x isolated's in {len(slower)} settings; "
        if len(slower)
        else ""
    ) + f"{(~same_output).sum()} lose output and {settings['overloaded'].sum()} are overloaded"
    return _finding(
        "the same throughput with half the decode GPUs",
        "same output, half the decode GPUs, TPOT within 5 %",
        f"two shared decode GPUs against four isolated ones: output at least {HELD:g}x, mean TPOT at most "
        f"{TPOT_WITHIN:g}x, not overloaded",
        emitter,
        settings,
        _calm(settings, settings["mean_tpot_ms"].where(same_output & ~settings["overloaded"])),
        fails,
        FACTORS,
    )


def _high_skew(grid: pd.DataFrame, emitter: str) -> list[Finding]:
    factors = FACTORS[1:]
    settings = compared(grid[grid["alpha"] == HIGH_ALPHA], f"sun-{ISOLATED}", "isolated", factors)
    output, pace = settings["output_throughput_window"], settings["mean_interactivity"]
    distance = ((output - 1.29) ** 2 + (pace - 1.44) ** 2) ** 0.5
    claim = "at Zipf alpha 3.0 up to +29 % throughput and +44 % interactivity"
    equal = "as many shared decode GPUs as isolated ones, so both denominators agree"
    readings = (
        ("alpha 3: +29 % output", f"throughput at least +28.5 %, {equal}", output >= MORE_OUTPUT),
        (
            "alpha 3: +44 % interactivity",
            f"interactivity (mean of 1 / TPOT) at least +43.5 %, {equal}",
            pace >= MORE_PACE,
        ),
        (
            "alpha 3: both in one setting",
            f"both in the same setting, {equal}",
            (output >= MORE_OUTPUT) & (pace >= MORE_PACE),
        ),
    )
    more = output >= MORE_OUTPUT
    fails = (
        f"gains go from {_gain(output.min())} to {_gain(output.max())} in throughput and from {_gain(pace.min())} to "
        f"{_gain(pace.max())} in interactivity; in {(more & settings['base_overloaded']).sum()} of the {more.sum()} "
        "settings with that throughput gain the isolated arm is overloaded"
    )
    return [
        _finding(claim, label, reading, emitter, settings.assign(holds=holds), distance, fails, factors)
        for label, reading, holds in readings
    ]


def _flat(grid: pd.DataFrame, emitter: str) -> Finding:
    factors = FACTORS[1:]
    sun = grid[grid["arm"] == f"sun-{ISOLATED}"].groupby([*FACTORS], sort=False)
    means = sun[["output_throughput_window", "mean_interactivity"]].mean().groupby(list(factors), sort=False)
    spread = (means.max() / means.min()).reset_index()
    worst = spread[["output_throughput_window", "mean_interactivity"]].max(axis=1)
    settings = spread.assign(spread=worst, holds=worst <= FLAT)
    return _finding(
        "SUN's throughput and interactivity near constant over alpha",
        "SUN's output and interactivity flat over alpha",
        f"largest over smallest of each, over all alphas, at most {FLAT:g}",
        emitter,
        settings,
        worst,
        f"the largest spread is {worst.max():.3f}",
        factors,
    )


def _quantized(grid: pd.DataFrame, emitter: str) -> list[Finding]:
    claim, factors = "QSUN 45 % faster than SUN", (*FACTORS, "decode_gpus")
    parts = [compared(grid, f"qsun-{gpus}", f"sun-{gpus}").assign(decode_gpus=gpus) for gpus in (2, 4)]
    settings = pd.concat(parts, ignore_index=True)
    calm = ~(settings["overloaded"] | settings["base_overloaded"])
    ratio = settings["mean_tpot_ms"].where(calm)
    fails = (
        f"TPOT of QSUN over SUN's goes from {ratio.min():.2f} to {ratio.max():.2f} in the {calm.sum()} settings in which "
        f"neither is overloaded. Of single steps, the measured AWQ one takes at least {_least_step():.2f}x "
        "the time of the bf16 one, whatever the batch"
    )
    readings = (
        (
            "QSUN: TPOT 45 % lower",
            f"TPOT of QSUN at most {TPOT_CUT:g}x SUN's, equal GPUs, neither overloaded",
            ratio <= TPOT_CUT,
        ),
        (
            "QSUN: 1.45x as fast",
            f"TPOT of QSUN at most {SPEED_UP:.3f}x SUN's, equal GPUs, neither overloaded",
            ratio <= SPEED_UP,
        ),
    )
    return [
        _finding(claim, label, reading, emitter, settings.assign(holds=holds), ratio, fails, factors)
        for label, reading, holds in readings
    ]


def _least_step() -> float:
    """The least that a measured step of the quantized model takes, over the full one's with the same batch."""
    step = roofline.table({}).set_index(["context_each", "batch", "variant"])["step_ms"].unstack("variant")
    return float((step["awq"] / step["bf16"]).min())


def _calm(settings: pd.DataFrame, near: pd.Series) -> pd.Series:
    """`near` of the settings in which nobody is overloaded, if there are any."""
    calm = near.where(~(settings["overloaded"] | settings["base_overloaded"]))
    return calm if calm.notna().any() else near


def _gain(value: float) -> str:
    return f"{100 * (value - 1):+.0f} %"


def elsewhere(frames: Frames) -> pd.DataFrame:
    """Gains of SUN at the highest skew in the other figures' sweeps, with isolated GPUs also in proportion to traffic."""
    rows = []
    for name in ("zipf", "qwen", "models-4", "models-8", "models-16"):
        frame = frames[name]
        frame = frame[frame["alpha"] == HIGH_ALPHA]
        factors = ["rate_rps"] if "rate_rps" in frame else ["alpha"]
        for base in ("isolated", "isolated-prop"):
            if base in set(frame["arm"]):
                made = compared(frame, "sun", base, factors).assign(sweep=name, base=base)
                rows.append(made[["sweep", "base", *factors, "output_throughput_window", "mean_interactivity"]])
    return pd.concat(rows, ignore_index=True)
