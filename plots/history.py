"""What later rounds cost: a row a figure, a column a length of answers, a line an arm, over the number of rounds."""

from pathlib import Path

import pandas as pd

from plots.style import entries, figure, looks

ROWS = {
    "prefill_ms": "prefill GPU time\na session (ms)",
    "moved_gb": "KV moved\na session (GB)",
    "ttft_ms": "TTFT of later\nrounds (ms)",
    "tpot_ms": "TPOT (ms)",
}
OPEN = {"prefill_ms": "closed_ms", "moved_gb": "closed_gb", "tpot_ms": "closed_tpot_ms"}
"""Figures that have a closed form, drawn as hollow marks."""


def plot_history(points: pd.DataFrame, path: Path) -> None:
    """Draw the figure.

    Args:
        points: columns `rounds`, `output_tokens`, `arm`, and those of `ROWS` and `OPEN`.
    """
    look = looks(points["arm"].unique())
    lengths = points["output_tokens"].unique()
    with figure(path, 8.2) as fig:
        grid = fig.subplots(len(ROWS), len(lengths), sharex=True, squeeze=False)
        for length, column in zip(lengths, grid.T, strict=True):
            own = points[points["output_tokens"] == length]
            for name, axes in zip(ROWS, column, strict=True):
                for arm, rows in own.groupby("arm", sort=False):
                    colour, marker, dash = look[str(arm)]
                    axes.plot(
                        rows["rounds"], rows[name], marker=marker, ms=4, color=colour, linestyle=dash, label=str(arm)
                    )
                    if name in OPEN:
                        axes.plot(
                            rows["rounds"],
                            rows[OPEN[name]],
                            marker,
                            ms=8,
                            color=colour,
                            fillstyle="none",
                            clip_on=False,
                        )
                axes.margins(y=0.1)
                axes.set_ylim(bottom=0)
            column[0].set_title(f"{length:,} output tokens")
            column[-1].set_xlabel("rounds of a session")
            column[-1].set_xticks(sorted(points["rounds"].unique()))
        for label, axes in zip(ROWS.values(), grid[:, 0], strict=True):
            axes.set_ylabel(label)
        handles = entries(grid.flat)
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
