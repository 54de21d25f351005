"""From the rows of points to the tables of figures: means over seeds with their intervals, and ratios of arms."""

from collections.abc import Sequence

import pandas as pd

from sunsim.points.estimate import estimate

HALF_WIDTH = "_half_width_95"
OUTPUT = ("output_throughput_window", "output_throughput_per_decode_gpu", "output_throughput_per_gpu")
"""In all, and what a GPU carries."""


def means(frame: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """A row for each setting in `by`, in the order of `frame`.

    The columns are `by`, `seeds`, `overloaded` (with at least one seed), and each metric's mean over the seeds with half
    the width of its 95 % interval; what no seed has is missing, and with one seed the interval is.
    """
    groups = frame.groupby(list(by), sort=False, dropna=False)
    rows = []
    for key, group in groups:
        row = dict(zip(by, key, strict=True))
        row |= {"seeds": len(group), "overloaded": bool(group["overloaded"].any())}
        for metric in metrics:
            made = estimate(group[metric].dropna().tolist(), metric)
            row[metric] = made.mean if made else None
            row[metric + HALF_WIDTH] = made.half_width if made else None
        rows.append(row)
    return pd.DataFrame(rows)


def ratios(frame: pd.DataFrame, arm: str, base: str, by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """The metrics of `arm` over those of `base`, each seed's over the same seed's; a row a setting and seed.

    Args:
        frame: a row a point and arm.
        by: the swept values.

    Returns:
        The columns `by`, `seed`, `overloaded` (the arm), `base_overloaded` and the ratios under the metrics' names.
    """
    keys = [*by, "seed"]
    own = frame[frame["arm"] == arm].set_index(keys)
    other = frame[frame["arm"] == base].set_index(keys).loc[own.index]
    made = pd.DataFrame({"overloaded": own["overloaded"], "base_overloaded": other["overloaded"]})
    for metric in metrics:
        made[metric] = own[metric] / other[metric]
    return made.reset_index()
