"""Whole clusters put together from their workers' runs: figures as defined, and gains on both sides."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from docs.fidelity import check
from sunsim.report.html import to_html
from sunsim.validation.arms import Comparison, together
from sunsim.validation.folders import read_campaign
from sunsim.validation.report import page
from sunsim.validation.result import Validation
from sunsim.validation.worker_run import read_run
from tests.validation.campaigns import ARMS, write_campaign
from tests.validation.runs import invoke, meta


def compared(folder: Path) -> Comparison:
    """A campaign's arms."""
    (found,) = check([read_campaign(folder)])
    assert found.comparison
    return found.comparison


def test_an_engine_as_simulated_has_the_gains_that_are_simulated(tmp_path: Path) -> None:
    found = compared(write_campaign(tmp_path / "c"))
    assert [arm.decode_gpus for arm in found.arms] == [2, 2, 1]
    assert {arm.requests for arm in found.arms} == {400}
    for arm in found.arms:
        assert arm.actual == pytest.approx(arm.simulated)
        assert not arm.overloaded
        assert all(error == pytest.approx(0, abs=1e-6) for error in arm.errors.values() if error is not None)
    assert [(gain.arm, gain.base) for gain in found.gains] == [("shared-2", "isolated"), ("shared-1", "isolated")]
    half = found.gains[1].actual
    assert half["output_throughput_per_decode_gpu_ratio"] == pytest.approx(2, abs=0.05)
    even = found.gains[0].actual
    assert even["output_throughput_per_decode_gpu_ratio"] == pytest.approx(1, abs=0.02)
    change = even["mean_tpot_change_percent"]
    assert change is not None
    assert change < -3


def test_figures_are_those_of_all_requests_of_all_workers(tmp_path: Path) -> None:
    folder = write_campaign(tmp_path / "c")
    found = compared(folder)
    served = together([read_run(folder / f"{name}.parquet").served for name in ARMS["isolated"]])
    assert found.window.start_s == 2
    assert found.window.end_s == served.submit_s.max()
    arm = found.arms[0].actual
    assert arm["mean_tpot_ms"] == pytest.approx(np.nanmean(served.tpot_ms))
    assert arm["median_tpot_ms"] == pytest.approx(np.nanmedian(served.tpot_ms))
    assert arm["p99_queueing_ms"] == pytest.approx(np.quantile(served.queueing_ms, 0.99))
    assert arm["p99_ttft_ms"] == pytest.approx(np.quantile(served.ttft_ms, 0.99))
    emitted = 0
    for first, last, tokens in zip(served.first_token_s, served.last_token_s, served.output_tokens, strict=True):
        times = np.linspace(first, last, tokens)
        emitted += int(((times >= found.window.start_s) & (times < found.window.end_s)).sum())
    rate = emitted / found.window.length_s / 2
    assert arm["output_throughput_per_decode_gpu"] == pytest.approx(rate, rel=1e-3)


def test_a_slower_engine_is_found_on_its_side(tmp_path: Path) -> None:
    found = compared(write_campaign(tmp_path / "c", factor=1.1))
    for arm in found.arms:
        error = arm.error_percent("mean_tpot_ms")
        assert error is not None
        assert -20 < error < -8


def test_waits_of_overloaded_arms_are_not_compared(tmp_path: Path) -> None:
    args = meta()["engine_args"] | {"max_num_seqs": 4}
    found = compared(write_campaign(tmp_path / "c", engine_args=args))
    assert [arm.overloaded for arm in found.arms] == [True, True, True]
    for gain in found.gains:
        assert gain.actual["mean_queueing_change_ms"] is None
        assert gain.simulated["p99_ttft_change_ms"] is None
        assert gain.actual["mean_tpot_change_percent"] is not None


def test_terminal_page_and_json_show_them(tmp_path: Path) -> None:
    folder = write_campaign(tmp_path / "c", factor=1.02)
    code, stdout, _ = invoke(folder)
    assert code == 3
    assert re.search(r"^isolated +actual +2 ", stdout, re.MULTILINE)
    assert re.search(r"^ +error, % ", stdout, re.MULTILINE)
    assert re.search(r"^shared-1 / isolated +actual +(1.9|2.0)\dx ", stdout, re.MULTILINE)
    (found,) = check([read_campaign(folder)])
    assert found.comparison
    validation = Validation(found.results, comparisons=[found.comparison])
    written = to_html(page(validation, {result.name: [] for result in found.results}))
    assert "What sharing gains, for real and simulated" in written
    (entry,) = json.loads(invoke(folder, "--json")[1])["campaigns"]
    assert entry["campaign"] == "c"
    assert entry["window"]["start_s"] == 2
    assert entry["arms"][0]["workers"] == ["iso-m1", "iso-m2"]
    assert entry["gains"][1]["base"] == "isolated"
