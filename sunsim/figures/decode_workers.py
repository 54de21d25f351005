"""How many decode GPUs each way of serving needs."""

import pandas as pd

from plots.paper.decode_workers import plot
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames, SweepFile
from sunsim.figures.tables import means

METRICS = ("output_throughput_per_decode_gpu", "output_throughput_per_gpu", "mean_tpot_ms", "p99_ttft_ms")


def table(frames: Frames) -> pd.DataFrame:
    """A row a way of serving, number of decode GPUs, output length and rate."""
    frame = frames["decode-workers"].assign(way=lambda rows: rows["arm"].str.rpartition("-")[0])
    return means(frame, ["output_tokens", "rate_rps", "way", "arm", "decode_gpus", "gpus"], METRICS)


def seen(made: pd.DataFrame) -> str:
    """The fewest GPUs that keep TPOT near the smallest isolated pool's."""
    base = made[made["way"] == "isolated"].sort_values("decode_gpus").groupby(["output_tokens", "rate_rps"]).first()
    shared = made[(made["way"] == "sun") & ~made["overloaded"]].set_index(["output_tokens", "rate_rps"])
    near = shared[shared["mean_tpot_ms"] <= 1.05 * base["mean_tpot_ms"].reindex(shared.index)]
    fewest = near.groupby(level=[0, 1], sort=False)["decode_gpus"].min().reset_index()
    told = ", ".join(
        f"{row['decode_gpus']} at {row['rate_rps']:g} req/s of {row['output_tokens']}" for _, row in fewest.iterrows()
    )
    gpus = int(base["decode_gpus"].iloc[0])
    crowded = [row for row in base.reset_index().to_dict("records") if row["overloaded"]]
    over = ", ".join(f"{row['rate_rps']:g} req/s of {row['output_tokens']}" for row in crowded)
    return (
        f"Shared decode GPUs that keep mean TPOT within 5 % of that of {gpus} isolated ones, or better it, without an "
        f"overload (rate and output tokens): {told or 'none'}."
        + (f" The isolated ones are overloaded themselves at {over}." if over else "")
    )


FIGURE = Figure(
    name="decode-workers",
    title="How many decode GPUs does each way need?",
    sweeps=(SweepFile("decode-workers"),),
    table=table,
    plot=plot,
    seen=seen,
)
