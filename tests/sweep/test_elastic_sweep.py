"""A sweep over the knob of an elastic pool: GPU-hours beside what they meet."""

from __future__ import annotations

from pathlib import Path

import pytest

import sunsim
from sunsim.report.terminal import plain
from sunsim.sweep import run as sweep_run
from sunsim.sweep.report import sweep_report
from tests.files.quick import in_this_process
from tests.printed import printed_cells
from tests.sweep.small import SCENARIO, write_sweep

FIXED, _ = SCENARIO.replace("slo: {tpot_ms: 25}", "slo: {tpot_ms: 25WORST}").split("- {name: sun")
ELASTIC = (
    "- name: elastic\n"
    "  decode: {profile: profile.json, policy: shared, workers: {min: 1, max: 3},\n"
    "           scaling: {kind: schedule, workers: [[0, 1]], interval_s: 0.1, start_s: 0.1}}\n"
)
SWEEP = "sweep: {seeds: 2, over: {arms.elastic.decode.scaling.initial: [1, 3]}}\n"


@pytest.mark.parametrize("worst", ["", ", worst_window_s: 0.2"])
def test_gpu_hours_are_swept_and_compared(worst: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fixed GPUs; of an elastic pool one, or three until its first decision lets two go."""
    monkeypatch.setattr(sweep_run, "run_local", in_this_process)
    path = write_sweep(tmp_path, SWEEP, FIXED.replace("WORST", worst) + ELASTIC)
    swept = sunsim.sweep(path, tmp_path / "out")
    found = {(index, seed, row["arm"]): row for (index, seed), rows in swept.rows.items() for row in rows}
    for seed in swept.grid.seeds:
        assert found[0, seed, "elastic"]["mean_gpus"] == 1.0
        assert 1.0 < found[1, seed, "elastic"]["mean_gpus"] < 3.0
        assert found[0, seed, "isolated"]["mean_gpus"] == found[0, seed, "isolated"]["peak_gpus"] == 2.0
    assert "pools" not in swept.points
    printed = plain(sweep_report(swept.grid, swept.estimates, 4).blocks, 200)
    cells = printed_cells(printed)
    assert cells["initial 1", "elastic", "mean GPUs"] == "1.00 ±0.00"
    assert (("initial 1", "elastic", "worst window %") in cells) == bool(worst)
    said = " ".join(printed.split()).split("elastic against isolated over 2 combinations: ")[1]
    clauses = said.split("; ")
    # What is saved stands beside what it costs.
    assert clauses[0].startswith("GPU time ")
    assert clauses[1].startswith("SLO met ")
    assert clauses[2].startswith("SLO met in the worst window ") == bool(worst)
