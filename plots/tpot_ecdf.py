"""How time per output token is spread over the requests of each arm."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from plots.style import MUTED, figure, in_legend, legend_columns, log_axis, looks

SAMPLES = 2001
LEAST_SPAN = 0.02
"""Of the largest value, on the TPOT axes."""


def plot_tpot_ecdf(tpot_ms: Mapping[str, npt.NDArray[np.float64]], path: Path, slo_ms: Sequence[float] = ()) -> None:
    """Draw the share of requests up to each TPOT, and the slowest tenth on a scale of its own.

    `tpot_ms` holds an array for each arm of the scenario; arms without any are left out. `slo_ms`: the limits, ascending;
    several where models have their own.
    """
    arms = {name: np.sort(values[~np.isnan(values)]) for name, values in tpot_ms.items()}
    arms = {name: values for name, values in arms.items() if len(values)}
    look = looks(tpot_ms)
    with figure(path, 4.0) as fig:
        left, right = fig.subplots(1, 2)
        for name, values in arms.items():
            line = {"color": look[name].colour, "linestyle": look[name].dash, "label": in_legend(name)}
            # A hundred thousand steps draw no better than two thousand quantiles, only slower.
            share = np.linspace(0, 1, SAMPLES)
            left.plot(np.quantile(values, share), share * 100, **line)
            # Below ten requests a quantile is one request's luck.
            slowest = np.geomspace(1, max(1e-3, min(1.0, 10 / len(values))), SAMPLES)
            right.plot(np.quantile(values, 1 - slowest), slowest * 100, **line)
        for limit_ms in slo_ms:
            several = f" to {slo_ms[-1]:g} ms, by model" if len(slo_ms) > 1 else " ms"
            label = f"SLO {limit_ms:g}{several}" if limit_ms == slo_ms[0] else None
            for axes in (left, right):
                axes.axvline(limit_ms, color=MUTED, linestyle=":", label=label)
        left.set_title("Share of requests up to a TPOT")
        left.set_ylabel("requests (%)")
        right.set_title("Share of requests above a TPOT")
        right.set_ylabel("requests above (%), log scale")
        log_axis(right, "y")
        for axes in (left, right):
            axes.set_xlabel("TPOT (ms)")
            low, high = axes.get_xlim()
            # Equal values differ in the last digits of a float, which must not fill the picture.
            spare = max(0.0, LEAST_SPAN * high - (high - low)) / 2
            axes.set_xlim(low - spare, high + spare)
        if arms:
            handles, labels = left.get_legend_handles_labels()
            fig.legend(handles, labels, loc="outside lower center", ncols=legend_columns(labels))
