"""What the paper leaves out: prefill under skew, the KV link, who emits the first token, and other ways to serve."""

import pandas as pd

from plots.paper import left_out
from sunsim.figures.figure import Figure
from sunsim.figures.pareto import most_at
from sunsim.figures.sweeps import Frames, SweepFile
from sunsim.figures.tables import OUTPUT, means

METRICS = (*OUTPUT, "mean_interactivity", "mean_tpot_ms", "p99_tpot_ms", "mean_ttft_ms", "p99_ttft_ms")


def prefill_table(frames: Frames) -> pd.DataFrame:
    """A row an alpha, way of serving and number of prefill GPUs."""
    frame = frames["prefill"]
    frame = frame.assign(
        way=frame["arm"].str.rpartition("-")[0],
        prefill_gpus=frame["gpus"] - frame["decode_gpus"],
    )
    return means(frame, ["alpha", "way", "prefill_gpus", "arm"], (*METRICS, "busiest_prefill_utilisation"))


def prefill_seen(made: pd.DataFrame) -> str:
    """Whether sharing decode helps while prefill is the bottleneck."""
    top = made["alpha"].max()
    at = made[made["alpha"] == top].set_index(["way", "prefill_gpus"])
    told = [
        f"with {gpus} prefill GPUs SUN's output is {at['output_throughput_window'][('sun', gpus)] / own:.2f}x isolated's"
        f" and its p99 TTFT {at['p99_ttft_ms'][('sun', gpus)]:,.0f} ms"
        for gpus, own in at["output_throughput_window"]["isolated"].items()
    ]
    return f"At alpha {top:g}, {'; '.join(told)}."


def transfer_table(frames: Frames) -> pd.DataFrame:
    """A row a bandwidth and arm."""
    return means(frames["transfer"], ["bandwidth_gbit_s", "arm", "decode_gpus", "gpus"], METRICS)


def transfer_seen(made: pd.DataFrame) -> str:
    """From which bandwidth on TTFT hardly changes."""
    said = []
    for arm, rows in made.groupby("arm", sort=False):
        best = rows["mean_ttft_ms"].min()
        enough = rows[rows["mean_ttft_ms"] <= 1.1 * best]["bandwidth_gbit_s"].min()
        said.append(f"{arm} {enough:g} Gbit/s")
    return f"Bandwidth from which mean TTFT is within 10 % of its best: {', '.join(said)}."


def first_token_table(frames: Frames) -> pd.DataFrame:
    """A row a convention, rate and arm."""
    return means(frames["first-token"], ["first_token", "rate_rps", "arm", "decode_gpus", "gpus"], METRICS)


def first_token_seen(made: pd.DataFrame) -> str:
    """How far the conventions are apart at the least and the greatest load."""
    said = []
    for rate in (made["rate_rps"].min(), made["rate_rps"].max()):
        at = made[made["rate_rps"] == rate].set_index(["arm", "first_token"])
        told = ", ".join(
            f"{arm} {at['mean_tpot_ms'][(arm, 'prefill')] / at['mean_tpot_ms'][(arm, 'decode')]:.2f}x"
            for arm in at.index.unique("arm")
        )
        said.append(f"{told} at {rate:g} req/s")
    return f"Mean TPOT when prefill emits the first token, over that when decode does: {'; '.join(said)}."


def rivals_table(frames: Frames) -> pd.DataFrame:
    """A row a rate and arm."""
    both = pd.concat([frames["rivals"], frames["rivals-lora"]], ignore_index=True)
    return means(both, ["rate_rps", "arm", "decode_gpus", "gpus"], METRICS)


def rivals_seen(made: pd.DataFrame) -> str:
    """What each carries at one interactivity."""
    told = ", ".join(f"{arm} {most:,.0f}" for arm, most in most_at(made, 60.0, "output_throughput_per_gpu").items())
    return f"Most output per GPU simulated at 60 tok/s/user or more, not overloaded (tok/s): {told}."


FIGURES = (
    Figure(
        name="prefill",
        title="Prefill stays with its model: when is it the bottleneck?",
        sweeps=(SweepFile("prefill"),),
        table=prefill_table,
        plot=left_out.prefill,
        seen=prefill_seen,
    ),
    Figure(
        name="transfer",
        title="How fast must the KV link be?",
        sweeps=(SweepFile("transfer"),),
        table=transfer_table,
        plot=left_out.transfer,
        seen=transfer_seen,
    ),
    Figure(
        name="first-token",
        title="Who emits the first token, decode or prefill?",
        sweeps=(SweepFile("first-token"),),
        table=first_token_table,
        plot=left_out.first_token,
        seen=first_token_seen,
    ),
    Figure(
        name="rivals",
        title="The same ten GPUs used in other ways",
        sweeps=(SweepFile("rivals"), SweepFile("rivals-lora")),
        table=rivals_table,
        plot=left_out.rivals,
        seen=rivals_seen,
    ),
)
