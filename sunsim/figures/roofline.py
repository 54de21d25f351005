"""Why a quantized decoder helps small batches only: a decode step's time, split by what the GPU must read."""

from collections.abc import Sequence

import pandas as pd

from plots.paper.roofline import plot
from sunsim.figures.captions import Caption
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames
from sunsim.latency.profile import Profile, load_named
from sunsim.report.format import listed
from sunsim.report.origin import origin
from sunsim.sweep.grid import Grid

MODEL = "h100-80gb/llama-3.1-8b"
VARIANTS = ("bf16", "awq")
BATCHES = (1, 4, 16, 32, 64, 128, 192, 256)
CONTEXTS = (1100, 4400)
"""Tokens a request, near enough: not every batch was measured at the same."""
NEAR = 0.25


def table(frames: Frames) -> pd.DataFrame:  # noqa: ARG001 - profiles alone
    """A row a variant, context and batch: the measured step and its parts, in milliseconds.

    Weights and KV take their bytes over the copy bandwidth measured on the same card; the rest is what remains of the
    measured step: matrix products beyond reading, attention slower than a copy, launches, sampling.
    """
    return pd.DataFrame([row for profile in _profiles() for length in CONTEXTS for row in _rows(profile, length)])


def _profiles() -> list[Profile]:
    return [load_named(f"{MODEL}-{variant}") for variant in VARIANTS]


def _rows(profile: Profile, length: int) -> list[dict[str, object]]:
    data = profile.data
    bytes_per_ms = bandwidth_gb_s(profile) * 1e6
    rows = []
    for batch in BATCHES:
        near = [
            point
            for point in data.decode_points
            if point.batch == batch
            and point.lengths == "uniform"
            and abs(point.context_tokens / batch - length) <= NEAR * length
        ]
        if not near:
            continue
        point = min(near, key=lambda p: (abs(p.context_tokens / batch - length), p.run))
        weights_ms = data.streamed_weight_bytes / bytes_per_ms
        kv_ms = data.kv_bytes_per_token * point.context_tokens / bytes_per_ms
        rows.append(
            {
                "variant": data.variant,
                "context_each": length,
                "batch": batch,
                "context_tokens": point.context_tokens,
                "weights_ms": weights_ms,
                "kv_ms": kv_ms,
                "rest_ms": point.step_ms_median - weights_ms - kv_ms,
                "step_ms": point.step_ms_median,
                "step_ms_p10": point.step_ms_p10,
                "step_ms_p90": point.step_ms_p90,
                "copy_bandwidth_gb_s": bandwidth_gb_s(profile),
            }
        )
    return rows


def bandwidth_gb_s(profile: Profile) -> float:
    """The measured copy bandwidth; the card's own where a profile has none."""
    value = profile.data.copy_bandwidth_gb_s or profile.data.memory_bandwidth_gb_s
    assert value
    return value


def seen(made: pd.DataFrame) -> str:
    """What share the weights have, and what AWQ makes of the step."""
    said = []
    for length, rows in made.groupby("context_each"):
        step = rows.set_index(["variant", "batch"])
        both = sorted(set(step.loc["bf16"].index) & set(step.loc["awq"].index))
        told = ", ".join(
            f"{batch}: weights {100 * step['weights_ms'][('bf16', batch)] / step['step_ms'][('bf16', batch)]:.0f} %, "
            f"AWQ step {step['step_ms'][('awq', batch)] / step['step_ms'][('bf16', batch)]:.2f}x"
            for batch in (both[0], both[len(both) // 2], both[-1])
        )
        said.append(f"at about {length:,} tokens each, by batch size, {told}")
    short = made[made["context_each"] == min(CONTEXTS)]
    rest = ", ".join(
        f"{variant} {rows['rest_ms'].iloc[0]:.1f} to {rows['rest_ms'].iloc[-1]:.1f} ms"
        for variant, rows in short.groupby("variant", sort=False)
    )
    return (
        f"Reading the weights is what AWQ saves: {'; '.join(said)}. Larger batches read the same weights for more "
        f"tokens, and KV grows with them; so does the rest, from the smallest batch to the largest: {rest}."
    )


def caption(seen: str, plans: Sequence[Grid]) -> Caption:  # noqa: ARG001 - profiles alone
    """That of the profiles."""
    told = listed([f"{profile.name} ({origin(profile)})" for profile in _profiles()])
    derived = "weights and KV derived: their bytes over that bandwidth; rest: what remains of the measured step"
    measured = [f"step times and copy bandwidth of {told}", derived]
    return Caption(seen, measured, simulated=[], chosen=["which batch sizes and context lengths are shown"])


FIGURE = Figure(
    name="roofline",
    title="Where a decode step's time goes, bf16 and AWQ",
    sweeps=(),
    table=table,
    plot=plot,
    seen=seen,
    caption=caption,
)
