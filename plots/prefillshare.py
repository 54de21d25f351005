"""What agents' sessions find in prefill caches, and what they get, by the number of sessions."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from plots.style import entries, figure, log_axis, looks

PANELS = {
    "cached_share": "prompt tokens found in cache",
    "p95_s": "p95, arrival to last token (s)",
    "output_tokens_s": "output tokens/s",
}


def plot_prefillshare(points: pd.DataFrame, full_at: Mapping[str, float], path: Path) -> None:
    """Draw a panel a figure, in it a line an arm.

    Args:
        points: columns `sessions`, `arm` and those of `PANELS`.
        full_at: by arm, the number of sessions whose contexts fill its prefill caches.
    """
    look = looks(full_at)
    with figure(path, 3.3) as fig:
        panels = dict(zip(PANELS, fig.subplots(1, len(PANELS)), strict=True))
        for column, axes in panels.items():
            for arm, rows in points.groupby("arm"):
                colour, marker, dash = look[str(arm)]
                axes.plot(
                    rows["sessions"], rows[column], marker=marker, ms=4, color=colour, linestyle=dash, label=str(arm)
                )
            axes.set_title(PANELS[column])
            axes.set_xlabel("sessions at a time")
            log_axis(axes, "x")
            axes.set_ylim(bottom=0)
        for arm, sessions in full_at.items():
            panels["cached_share"].axvline(sessions, color=look[arm].colour, linestyle=":", linewidth=1)
        panels["cached_share"].yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        handles = entries(panels.values())
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
