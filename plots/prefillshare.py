"""What agents' sessions find in prefill caches, and what they get, by the number of sessions."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from plots.style import MUTED, entries, figure, looks

PANELS = {
    "cached_share": "prompt tokens found in cache",
    "p95_s": "p95, arrival to last token (s)",
    "output_tokens_s": "output tokens/s",
}


def plot_prefillshare(points: pd.DataFrame, full_at: Mapping[str, float], path: Path) -> None:
    """Draw a panel a figure, in it a line an arm.

    Args:
        points: columns `sessions`, `arm` and those of `PANELS`, of at most four arms.
        full_at: by arm, the number of sessions whose contexts fill its prefill caches.
    """
    look = looks(full_at)
    with figure(path, 3.3) as fig:
        panels = dict(zip(PANELS, fig.subplots(1, len(PANELS)), strict=True))
        for column, axes in panels.items():
            # Lines of arms that do the same lie on one another: the marks of those below are larger.
            for size, (arm, (colour, marker, dash)) in zip((9, 7, 5, 3), look.items(), strict=False):
                rows = points[points["arm"] == arm]
                axes.plot(
                    rows["sessions"], rows[column], marker=marker, ms=size, color=colour, linestyle=dash, label=arm
                )
            axes.set_title(PANELS[column])
            axes.set_xlabel("sessions at a time")
            axes.yaxis.set_major_formatter("{x:,g}")
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.set_ylim(bottom=0)
        for sessions in set(full_at.values()):
            panels["cached_share"].axvline(sessions, color=MUTED, linestyle=":", zorder=0)
        panels["cached_share"].yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        handles = entries(panels.values())
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
