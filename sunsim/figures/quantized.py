"""QSUN against SUN, by load and output length."""

import pandas as pd

from plots.paper.quantized import plot
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames, SweepFile
from sunsim.figures.tables import means, ratios

ALPHA = 2
"""The skew that is shown; with a shared decoder and a least-loaded router it hardly matters."""
POOLS = (4, 2)


def table(frames: Frames) -> pd.DataFrame:
    """A row a number of decode GPUs, output length and rate, with TPOT of QSUN over SUN's."""
    frame = frames["grid"][frames["grid"]["alpha"] == ALPHA]
    by = ["output_tokens", "rate_rps"]
    parts = []
    for gpus in POOLS:
        made = ratios(frame, f"qsun-{gpus}", f"sun-{gpus}", by, ["mean_tpot_ms"])
        made = made.rename(columns={"mean_tpot_ms": "tpot_ratio"}).assign(
            decode_gpus=gpus, overloaded=made["overloaded"] | made["base_overloaded"]
        )
        parts.append(means(made, ["decode_gpus", *by], ["tpot_ratio"]))
    return pd.concat(parts, ignore_index=True)


def seen(made: pd.DataFrame) -> str:
    """Where it is largest and where it vanishes, as long as neither is overloaded."""
    fit = made[~made["overloaded"]]
    least, most = fit.iloc[int(fit["tpot_ratio"].argmin())], fit.iloc[int(fit["tpot_ratio"].argmax())]

    def where(row: pd.Series) -> str:
        load = f"{row['rate_rps']:g} req/s of {row['output_tokens']} output tokens"
        return f"{row['tpot_ratio']:.2f} with {row['decode_gpus']} decode GPUs at {load}"

    return (
        f"TPOT of QSUN over SUN's, at Zipf alpha {ALPHA}, goes from {where(least)} to {where(most)}; the roofline figure "
        "says why. Where one is overloaded, preemptions count too, and QSUN has more room for KV."
    )


FIGURE = Figure(
    name="quantized",
    title="How much faster does a quantized shared decoder make tokens?",
    sweeps=(SweepFile("grid"),),
    table=table,
    plot=plot,
    seen=seen,
)
