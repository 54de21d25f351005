"""What joining requests add to a decode step: ``python -m benchmarks.joins``.

Recorded decode steps of committed runs against the time that the model gives a batch of their size and context, apart
for steps that nobody joins, nor joined before, and for the others. The simulator does not know of joins.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from sunsim.latency.attention import LengthMix
from sunsim.latency.model import LatencyModel
from sunsim.report.terminal import plain
from sunsim.report.text_table import TextTable
from sunsim.validation.folders import Campaign, committed_campaigns
from sunsim.validation.worker import profile_of
from sunsim.validation.worker_run import read_run

RUNS = ("sun2-w0", "saturated", "long")
STALL = 1.5
"""Steps that take so many times what the model says are the host's stalls."""


def row(campaign: Campaign, name: str) -> tuple[str, ...]:
    """One run: how much longer its steps are than the model's, with joins and without."""
    path = campaign.runs[name]
    run = read_run(path)
    mix = LengthMix.of(run.served.prompt_tokens, run.served.output_tokens)
    model = LatencyModel(profile_of(run, str(campaign.profile)), mix)
    steps = pd.read_parquet(path.with_name(f"{name}.steps.parquet"))
    steps = steps[(steps["chunk_tokens"] == 0) & (steps["requests"] > 0)].reset_index(drop=True)
    batches = zip(steps["requests"].tolist(), steps["context_tokens"].tolist(), strict=True)
    expected_ms = np.array([model.decode_step_ms(batch, context) for batch, context in batches])
    extra_ms = steps["step_s"].to_numpy(np.float64) * 1000 - expected_ms
    joins = ((steps["joined"] > 0) | (steps["joined"].shift(1, fill_value=0) > 0)).to_numpy()
    usual = extra_ms < (STALL - 1) * expected_ms
    return (
        campaign.name,
        name,
        f"{len(steps):,}",
        f"{100 * joins.mean():.0f} %",
        f"{expected_ms[usual].mean():.1f}",
        *(f"{np.median(extra_ms[usual & which]):+.2f}" for which in (~joins, joins)),
        f"{100 * extra_ms[usual].sum() / expected_ms[usual].sum():+.1f} %",
    )


def main() -> None:
    """Prints the table."""
    campaigns = [each for each in committed_campaigns() if set(RUNS) <= each.runs.keys()]
    headers = (
        "campaign",
        "run",
        "decode\nsteps",
        "of them at or\nafter a join",
        "model\nms",
        "longer by, ms:\nothers",
        "at or after\na join",
        "all",
    )
    rows = [row(campaign, name) for campaign in campaigns for name in RUNS]
    title = "Recorded decode steps against the model: medians, stalls left out"
    sys.stdout.write(plain([TextTable(title, headers, rows, left=2)], 120))


if __name__ == "__main__":
    main()
