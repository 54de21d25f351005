"""Rates over the time in which requests arrive, in every verb: bursts, traces that begin late, and overload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sunsim.errors import InputError
from sunsim.measured import requests_of, window_of
from sunsim.metrics import Window
from sunsim.records import ArmResult
from sunsim.report.format import number
from sunsim.scenario import load_scenario
from tests.metrics.synthetic import table
from tests.plan.small import invoke
from tests.synthetic import synthetic_profile

TRACE = "{kind: trace, format: csv, path: trace.csv}"
SCENARIO = """\
name: windows
models: {{count: 1}}
workload: {workload}
slo: {{ttft_ms: 2000, tpot_ms: 25}}
arms:
- name: split
  prefill: {{profile: profile.json, policy: isolated, workers: 1}}
  decode: {{profile: profile.json, policy: shared, workers: 1}}
- name: decode-only
  decode: {{profile: profile.json, policy: shared, workers: 1}}
{rest}
"""
PLAN = "plan: {seeds: 1, sensitivity: false, max_prefill_gpus: 32, max_decode_gpus: 32}"
SWEEP = "sweep: {over: {workload.rate_scale: [1.0, 1.0e-4]}}"
EVERY_TENTH = [i / 10 for i in range(150)]
BURST = [0.0] * 100


def write(folder: Path, arrivals_s: list[float], rest: str = "", workload: str = TRACE) -> Path:
    """A scenario over requests of 1,000 and 51 tokens at these arrivals, on workers whose every step is known."""
    folder.mkdir(exist_ok=True)
    (folder / "profile.json").write_text(json.dumps(synthetic_profile()))
    lines = ["arrival_s,prompt_tokens,output_tokens", *(f"{arrival_s!r},1000,51" for arrival_s in arrivals_s)]
    (folder / "trace.csv").write_text("\n".join(lines) + "\n")
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO.format(workload=workload, rest=rest))
    return path


def ran(path: Path, *overrides: str) -> tuple[dict[str, Any], pd.DataFrame, str]:
    """Summary, rows and what was printed."""
    sets = [part for override in overrides for part in ("--set", override)]
    code, out, err = invoke("run", path, "--out", path.parent / "out", *sets)
    assert (code, err) == (0, "")
    summary = json.loads((path.parent / "out" / "summary.json").read_text())
    return summary, pd.read_parquet(path.parent / "out" / "requests.parquet"), " ".join(out.split())


def test_a_trace_that_begins_late_gives_the_figures_of_one_that_begins_at_once(tmp_path: Path) -> None:
    (now, _, _), (late, rows, _) = (
        ran(write(tmp_path / name, [offset_s + at for at in EVERY_TENTH]), "measure.warmup_s=5")
        for name, offset_s in (("now", 0.0), ("late", 100_000.0))
    )
    assert late["window"] == {"start_s": 100_005, "end_s": 100_014.9, "too_short": False}
    assert rows["arrival_s"].min() == 100_000.0
    for name, entry in now["arms"].items():
        figures = {key: value for key, value in entry.items() if isinstance(value, float)}
        assert {key: late["arms"][name][key] for key in figures} == pytest.approx(figures, rel=1e-6)
        assert entry["window_requests"] == late["arms"][name]["window_requests"]
        assert entry["output_throughput_window"] == pytest.approx(510, rel=0.05)


def test_a_plan_of_a_trace_that_begins_late_names_its_rate(tmp_path: Path) -> None:
    path = write(tmp_path, [100_000 + at for at in EVERY_TENTH], PLAN)
    code, out, _ = invoke("plan", path, "--out", tmp_path / "out", "--jobs", "1", "--json", "--set", "plan.size=none")
    assert code == 0
    assert json.loads(out)["rate_rps"] == pytest.approx(10, rel=0.01)
    # All of the first page's pictures begin with the trace.
    over_time = json.loads(out)["arms"]["split"]["portrait"]["over_time"]
    assert over_time["time_s"][0] == 100_000


@pytest.mark.parametrize("arrivals_s", [BURST, [*BURST, 0.001]])
def test_a_window_shorter_than_a_request_tells_no_rates_and_says_so(tmp_path: Path, arrivals_s: list[float]) -> None:
    summary, rows, out = ran(write(tmp_path, arrivals_s))
    assert summary["window"]["too_short"] is True
    for name, entry in summary["arms"].items():
        for tag in ("output_throughput_window", "output_throughput_per_gpu", "request_goodput"):
            assert entry[tag] is None
        own = rows[rows["arm"] == name]
        assert entry["request_throughput"] == pytest.approx(len(own) / own["last_token_s"].max())
        rates = f"{number(entry['request_throughput'])} requests/s and {number(entry['output_throughput'])} tokens/s"
        assert f"{name} {rates}" in out
    assert "in less time than one takes" in out
    assert "x the output of" not in out


def test_a_queue_does_not_make_a_window_too_short(tmp_path: Path) -> None:
    """Requests that wait for longer than the window lasts take no longer themselves."""
    summary, _, out = ran(write(tmp_path, [i / 500 for i in range(2000)]))
    entry = summary["arms"]["split"]
    assert entry["median_e2el_ms"] > 4000
    assert summary["window"]["too_short"] is False
    assert "in less time than one takes" not in out


def test_a_sweep_says_where_windows_are_too_short(tmp_path: Path) -> None:
    path = write(tmp_path, [i / 1e5 for i in range(100)], SWEEP)
    code, out, err = invoke("sweep", path, "--out", tmp_path / "out", "--jobs", "1")
    assert (code, err) == (0, "")
    assert "In 1 of 2 combinations requests arrive in less time than one takes" in " ".join(out.split())
    table = pd.read_parquet(tmp_path / "out" / "sweep.parquet")
    assert table["window_too_short"].tolist() == [True, True, False, False]
    assert table["request_goodput"].isna().tolist() == [True, True, False, False]


def test_a_plan_of_a_burst_names_no_rate(tmp_path: Path) -> None:
    code, out, _ = invoke("plan", write(tmp_path, [*BURST, 0.001], PLAN), "--out", tmp_path / "out", "--jobs", "1")
    said = " ".join(out.split())
    assert code == 0
    assert said.startswith("windows: 101 requests within 1.00 ms, 1 model")
    assert "requests arrive in less time than one takes" in said
    assert "requests/s" not in said


@pytest.mark.parametrize(
    ("verb", "arrivals_s", "override", "line", "message"),
    [
        ("plan", BURST, None, 3, "all 100 requests arrive at once, must arrive over some time to plan for their rate"),
        ("run", BURST, "measure.warmup_s=3", None, "measure.warmup_s is 3, must be 0, as all requests arrive at once"),
        ("run", [7.0, 9.0], "measure.warmup_s=2", None, "is 2 after the first arrival at 7 s, must be below 2, where"),
        (
            "check",
            [0.0, 9.0],
            "measure.warmup_s=9",
            None,
            "measure.warmup_s is 9, must be below 9, where measuring ends",
        ),
        (
            "run",
            [7.0, 9.0],
            "stop={when: time, limit_s: 5}",
            None,
            "stop.limit_s is 5, must be above 7, when the first",
        ),
    ],
)
def test_what_leaves_nothing_to_measure_is_refused(
    tmp_path: Path, verb: str, arrivals_s: list[float], override: str | None, line: int | None, message: str
) -> None:
    path = write(tmp_path, arrivals_s, PLAN)
    code, _, err = invoke(verb, path, *(("--set", override) if override else ()))
    assert code == 2
    assert err.startswith(f"{path}:{line}: " if line else "--set: ")
    assert message in err
    assert err.count("\n") == 1


def test_goodput_of_an_overloaded_arm_is_what_it_completes(tmp_path: Path) -> None:
    lengths = "{kind: fixed, prompt_tokens: 1000, output_tokens: 2}"
    workload = f"{{kind: synthetic, duration_s: 30, arrivals: {{kind: constant, rate_rps: 100}}, lengths: {lengths}}}"
    summary, rows, _ = ran(write(tmp_path, BURST, workload=workload), "slo={tpot_ms: 25}")
    entry = summary["arms"]["split"]
    assert entry["overloaded"]
    assert entry["slo_attainment"] == 1
    own = rows[rows["arm"] == "split"]
    completed = ((own["last_token_s"] >= 0) & (own["last_token_s"] < summary["window"]["end_s"])).sum()
    assert entry["request_goodput"] == completed / summary["window"]["end_s"]
    assert entry["request_goodput"] <= entry["request_throughput"] < 60


def test_a_closed_loop_is_measured_until_no_more_arrive_at_one_of_its_arms(tmp_path: Path) -> None:
    workload = "{kind: synthetic, requests: 9, arrivals: {kind: closed, concurrency: 2}, lengths: {kind: azure-conv}}"
    path = write(tmp_path, BURST, workload=workload)
    scenario = load_scenario(path, ["measure.warmup_s=1.5"])
    requests = requests_of(scenario)
    ends_s = {"split": 9.0, "decode-only": 7.0}
    arms = [
        ArmResult(table(*({"arrival_s": at_s} for at_s in (0.0, end_s)), arm=name), [])
        for name, end_s in ends_s.items()
    ]
    assert window_of(scenario, requests, arms) == Window(1.5, 7.0)
    late = load_scenario(path, ["measure.warmup_s=8"])
    with pytest.raises(InputError, match=r"^measure.warmup_s is 8, must be below 7, where measuring ends$"):
        window_of(late, requests, arms)
    assert "9 requests, 2 at a time, for 1 model;" in invoke("check", path)[1]
