"""The claims, on made-up grids whose verdicts are known."""

from __future__ import annotations

import json

import pandas as pd

from sunsim.figures.claims import GRID, Finding, findings
from sunsim.figures.claims_files import claims_report, to_json
from sunsim.report.markdown import to_markdown
from tests.figures.small import Arms, grid

AS_CLAIMED: Arms = {
    "sun-2": {"output_throughput_per_decode_gpu": 2.0, "output_throughput_per_gpu": 1.3, "mean_tpot_ms": 1.04},
    "sun-3": {"output_throughput_per_decode_gpu": 4.0, "mean_tpot_ms": 1.3},
    "sun-4": {"output_throughput_window": 1.3, "mean_interactivity": 1.45},
    "qsun-4": {"mean_tpot_ms": 0.6},
    "qsun-2": {"mean_tpot_ms": 0.54},
}


def found(frame: pd.DataFrame) -> list[Finding]:
    return [finding for finding in findings(dict.fromkeys(GRID.values(), frame)) if finding.first_token == "decode"]


def test_a_grid_as_claimed() -> None:
    per_decode, per_gpu, half, output, pace, both, flat, cut, speed = found(grid(AS_CLAIMED))
    for finding in (per_decode, half, output, pace, both, flat):
        assert finding.region.verdict == "reproduced in the whole region"
    # Three give four times as much, but not at this TPOT.
    assert per_decode.best["shared_gpus"] == 2
    assert per_decode.best["output_throughput_per_decode_gpu"] == 2.0
    assert per_gpu.region.verdict == "not reproduced"
    assert cut.region.verdict == "reproduced in this region: decode GPUs 2"
    assert speed.region.verdict == "reproduced in the whole region"


def test_nothing_is_gained() -> None:
    names = [finding.region.verdict for finding in found(grid({}))]
    per_decode, per_gpu, half, output, pace, both, flat, cut, speed = names
    assert {per_decode, per_gpu, output, pace, both, cut, speed} == {"not reproduced"}
    assert {half, flat} == {"reproduced in the whole region"}


def test_an_overloaded_pool_carries_nothing() -> None:
    arms = {name: dict(values) | {"overloaded": name in {"sun-2", "sun-3"}} for name, values in AS_CLAIMED.items()}
    per_decode, _, half, *_ = found(grid(arms))
    assert per_decode.region.held == half.region.held == 0
    assert per_decode.best["shared_gpus"] == 4


def test_files_state_every_finding() -> None:
    findings_ = findings(dict.fromkeys(GRID.values(), grid(AS_CLAIMED)))
    entries = json.loads(to_json(findings_, ["made up"], []))["claims"]
    assert [entry["verdict"] for entry in entries] == [finding.region.verdict for finding in findings_]
    text = to_markdown(claims_report(findings_, ["made up"], grid({}).head(0), []))
    for finding in findings_:
        assert f"| {finding.claim} | {finding.reading} | {finding.first_token} |" in text
