"""From even traffic to one hot model: total throughput and interactivity, for both models and more of them."""

from functools import partial

import pandas as pd

from plots.paper.skew import plot
from sunsim.figures.figure import Figure
from sunsim.figures.sweeps import Frames, SweepFile
from sunsim.figures.tables import OUTPUT, means

METRICS = (*OUTPUT, "mean_interactivity", "mean_tpot_ms", "p99_tpot_ms")


def by_rate(frames: Frames, sweep: str) -> pd.DataFrame:
    """A row a rate, alpha and arm of one sweep."""
    made = means(frames[sweep], ["rate_rps", "alpha", "arm", "decode_gpus", "gpus"], METRICS)
    made.insert(0, "setting", [f"{rate:g} req/s" for rate in made["rate_rps"]])
    return made


def by_models(frames: Frames) -> pd.DataFrame:
    """A row a number of models, alpha and arm."""
    parts = []
    for number in (4, 8, 16):
        made = means(frames[f"models-{number}"], ["alpha", "arm", "decode_gpus", "gpus"], METRICS)
        made.insert(0, "setting", f"{number} models")
        parts.append(made)
    return pd.concat(parts, ignore_index=True)


def seen(made: pd.DataFrame) -> str:
    """What SUN gains over isolated serving at the highest skew, and how flat it is."""
    said = []
    for setting, rows in made.groupby("setting", sort=False):
        arm = {name: own.set_index("alpha") for name, own in rows.groupby("arm")}
        sun, isolated = arm["sun"], arm["isolated"]
        top = max(rows["alpha"])
        output = sun["output_throughput_window"][top] / isolated["output_throughput_window"][top] - 1
        pace = sun["mean_interactivity"][top] / isolated["mean_interactivity"][top] - 1
        spread = sun["mean_interactivity"].max() / sun["mean_interactivity"].min() - 1
        said.append(
            f"{setting}: at alpha {top:g} SUN has {100 * output:+.0f} % output and {100 * pace:+.0f} % interactivity "
            f"against isolated, its interactivity varies by {100 * spread:.1f} % over alpha"
        )
    return "; ".join(said) + "."


FIGURES = (
    Figure(
        name="zipf",
        title="What does skew do to each way? Llama-3.1-8B",
        sweeps=(SweepFile("zipf"),),
        table=partial(by_rate, sweep="zipf"),
        plot=plot,
        seen=seen,
    ),
    Figure(
        name="qwen",
        title="The same for Qwen3-8B",
        sweeps=(SweepFile("qwen"),),
        table=partial(by_rate, sweep="qwen"),
        plot=plot,
        seen=seen,
    ),
    Figure(
        name="many-models",
        title="Four, eight and sixteen models, one decode GPU a model when isolated",
        sweeps=(SweepFile("models-4"), SweepFile("models-8"), SweepFile("models-16")),
        table=by_models,
        plot=plot,
        seen=seen,
    ),
)
