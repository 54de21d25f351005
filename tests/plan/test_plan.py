"""`sunsim plan`, from the file to the folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.blocks import ROOT
from sunsim.plan import lab as lab_module
from sunsim.plan.bench import Bench
from sunsim.plan.run import load
from sunsim.points.outcome import Outcome
from sunsim.scenario import load_scenario
from tests.plan.brute import fewest, holds
from tests.plan.small import PLAN, SCENARIO, invoke, write_plan

Done = tuple[Path, dict[str, Any], str]

FILES = [
    "isolated.yaml",
    "manifest.json",
    "plan.html",
    "plan.json",
    "plan.md",
    "points",
    "scenario.resolved.yaml",
    "sun.yaml",
]
SHIPPED = ROOT / "scenarios" / "plan-zipf.yaml"
SUNSIM = "from sunsim.cli import app; app()"


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_it_leaves_a_plan_in_every_form(done: Done) -> None:
    out, content, stdout = done
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert stdout.endswith(
        f"Files: {out}/ (plan.html, plan.json, plan.md, scenario.resolved.yaml, isolated.yaml, sun.yaml, points/)\n"
    )
    sentence = next(line for line in stdout.splitlines() if "meet" in line and "SLO with" in line)
    assert sentence.split(";")[0] in (out / "plan.md").read_text().replace("\n", " ")
    assert sentence.split(";")[0] in (out / "plan.html").read_text()
    assert load_scenario(out / "scenario.resolved.yaml").name == "small"
    assert content["command"] == f"sunsim plan {out.parent}/small.yaml"


@pytest.mark.parametrize("arm", [0, 1])
def test_the_pools_are_the_smallest_that_a_search_of_all_sizes_finds(done: Done, arm: int) -> None:
    out, content, _ = done
    check_by_brute_force(out.parent / "small.yaml", content, arm)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The plan of the shipped scenario."""
    out = tmp_path_factory.mktemp("shipped") / "out"
    assert invoke("plan", SHIPPED, "--out", out, "--quiet", "--set", "plan.sensitivity=false") == (0, "", "")
    content: dict[str, Any] = json.loads((out / "plan.json").read_text())
    return content


@pytest.mark.benchmark
@pytest.mark.parametrize("arm", range(4))
def test_the_shipped_plan_is_what_a_search_of_all_sizes_finds(shipped: dict[str, Any], arm: int) -> None:
    """Takes many minutes: all ways to spread all numbers of GPUs up to the planned one."""
    check_by_brute_force(SHIPPED, shipped, arm)


def check_by_brute_force(file: Path, content: dict[str, Any], arm: int) -> None:
    scenario = load(file, (), None).scenario
    bench = Bench(scenario, scenario.arms[arm], [])
    workers = content["arms"][bench.arm.name]["workers"]
    planned = {r: workers[r.stage] if r.model is None else workers[r.stage][r.model] for r in bench.roles}
    assert holds(scenario, bench, planned)
    assert sum(fewest(scenario, bench.arm).values()) == sum(planned.values())


def test_one_gpu_less_fails_and_says_what_breaks(done: Done) -> None:
    _, content, _ = done
    for arm in content["arms"].values():
        assert arm["reason"] == "found"
        assert arm["passes"]
        assert arm["not_monotone"] == []
        for less in arm["one_less"]:
            assert not less["passes"]
            assert less["slo"] in {"TTFT", "TPOT"}
            assert less["share"] < content["attainment"]


def test_the_knee_is_bracketed_and_not_below_the_planned_rate(done: Done) -> None:
    _, content, _ = done
    for arm in content["arms"].values():
        rates = arm["rates"]
        assert rates["reason"] == "found"
        assert 1 <= rates["passes"] < rates["fails"] <= 1.02 * rates["passes"]


def test_harder_conditions_never_need_less_and_easier_ones_never_more(done: Done) -> None:
    _, content, _ = done
    for arm in content["arms"].values():
        needed = {name: found["gpus"]["all"] for name, found in arm["variants"].items()}
        planned = arm["gpus"]["all"]
        assert needed["rate -20 %"] <= needed["rate -10 %"] <= planned <= needed["rate +10 %"] <= needed["rate +20 %"]
        assert needed["outputs -20 %"] <= planned <= needed["outputs +20 %"]


def test_costs_are_price_times_gpus(done: Done) -> None:
    _, content, _ = done
    for arm in content["arms"].values():
        assert arm["cost"]["per_hour"] == 2 * arm["gpus"]["all"]
        per_second = arm["figures"]["output_throughput_window"]["mean"]
        assert arm["cost"]["per_million_output_tokens"] == pytest.approx(
            arm["cost"]["per_hour"] / 3600 / per_second * 1e6
        )


@pytest.mark.usefixtures("pictures")
def test_again_it_is_there_at_once_with_the_same_bytes(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _, stdout = done
    before = bytes_of(out)
    monkeypatch.setattr(lab_module, "run_local", lambda *_: pytest.fail("a point ran again"))
    assert invoke("plan", out.parent / "small.yaml", "--out", out)[1] == stdout
    assert bytes_of(out) == before
    assert invoke("plan", out.parent / "small.yaml", "--out", out, "--json")[1] == (out / "plan.json").read_text()
    assert invoke("plan", out.parent / "small.yaml", "--out", out, "--quiet") == (0, "", "")


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(tmp_path: Path) -> None:
    file, out = write_plan(tmp_path, PLAN, SCENARIO.replace("duration_s: 3", "duration_s: 20")), tmp_path / "out"
    command = [sys.executable, "-c", SUNSIM, "plan", str(file), "--out", str(out), "--jobs", "1"]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    until = time.monotonic() + 60
    while not out.exists() or len(list((out / "points").glob("[!.]*.json"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.endswith("more points are kept, the same command goes on from there\n")


def test_a_spent_budget_is_said(tmp_path: Path) -> None:
    file = write_plan(tmp_path, "plan: {seeds: 2, budget: {points: 6}}\n")
    code, stdout, _ = invoke("plan", file, "--out", tmp_path / "out")
    assert code == 3
    assert "isolated: no plan (the budget was spent before a pool was found that passes)." in stdout
    assert len(list((tmp_path / "out" / "points").iterdir())) == 6


def test_no_pool_in_range_is_said(tmp_path: Path) -> None:
    file = write_plan(tmp_path, "plan: {seeds: 1, max_decode_gpus: 2, max_prefill_gpus: 2, sensitivity: false}\n")
    code, stdout, _ = invoke("plan", file, "--out", tmp_path / "out", "--set", "slo.tpot_ms=7.2")
    assert code == 3
    assert "no plan (even the largest pools that may be tried fail)" in stdout
    assert "No arm meets the SLO" in stdout
    assert "breaks first" not in stdout
    page = (tmp_path / "out" / "plan.html").read_text()
    assert "breaks first" not in page
    (table,) = re.findall(r"Why no pool passes</h2>.*?</table>", page, re.DOTALL)
    rows = re.findall(r"<tr><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td></tr>", table)
    assert [row[:2] for row in rows] == [
        (name, "even the largest pools that may be tried fail") for name in ("isolated", "sun")
    ]
    assert all(re.fullmatch(r"\d+ prefill \+ \d+ decode", row[2]) for row in rows)
    assert all(re.fullmatch(r"(at most )?[\d.]+ % of m\d's requests", row[3].replace("&#39;", "'")) for row in rows)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("slo.tpot_ms=6", "the TPOT limit of 6.00 ms: the fastest decode step alone takes 7.0"),
        ("slo.ttft_ms=9", "the TTFT limit of 9.00 ms: the fastest prefill and decode steps alone take "),
    ],
)
def test_a_limit_below_the_fastest_step_is_not_laid_on_the_pools(tmp_path: Path, override: str, said: str) -> None:
    file = write_plan(tmp_path, "plan: {seeds: 1, max_decode_gpus: 2, max_prefill_gpus: 2, sensitivity: false}\n")
    _, stdout, _ = invoke("plan", file, "--out", tmp_path / "out", "--set", override)
    text = " ".join(stdout.split())
    assert "No arm can meet the SLO, however many GPUs it has." in text
    assert f"isolated: no plan (no number of GPUs can meet {said}" in text
    assert "no pass in range in isolated and sun (no number of GPUs can meet a limit)." in text
    assert "largest pools" not in text


@pytest.mark.parametrize(("size", "points"), [("both", 1), ("both", 7), ("none", 1)])
def test_a_budget_that_ends_a_search_is_the_first_thing_said(tmp_path: Path, size: str, points: int) -> None:
    file = write_plan(tmp_path, f"plan: {{seeds: 2, size: {size}, sensitivity: false, budget: {{points: {points}}}}}\n")
    code, stdout, _ = invoke("plan", file, "--out", tmp_path / "out", "--set", "slo={ttft_ms: 5000, tpot_ms: 100}")
    assert code == 3
    assert "No arm" not in stdout
    assert "the largest pools" not in stdout
    assert ": no plan (the budget was spent before a pool was found that passes)." in stdout
    if size == "both" and points == 1:
        said = "The budget ended the search before a pool was found that meets the SLO (isolated and sun)."
        assert stdout.split("\n\n")[1].startswith(said)
        assert (
            "Why the search stopped: budget spent in isolated and sun (before a pool was found that passes)." in stdout
        )


def test_a_failed_simulation_is_one_line_and_exit_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(points: deque[Any], *_: object) -> Iterator[tuple[Any, Outcome]]:
        yield points.popleft(), Outcome([], "KeyError in engine.py:12: 'x'")

    monkeypatch.setattr(lab_module, "run_local", failing)
    code, stdout, stderr = invoke("plan", write_plan(tmp_path), "--out", tmp_path / "out")
    assert (code, stdout, stderr) == (1, "", "a simulation failed: KeyError in engine.py:12: 'x'\n")


ONE_STAGE = """\
[{name: front, prefill: {profile: profile.json, policy: isolated, workers: 2}},
 {name: back, decode: {profile: profile.json, policy: shared, workers: 1}},
 {name: odd, prefill: {profile: profile.json, policy: shared, workers: 1},
  decode: {profile: profile.json, policy: isolated, workers: 2}}]
"""


def test_arms_of_one_stage_and_shared_prefill_can_be_planned(tmp_path: Path) -> None:
    file = write_plan(tmp_path, "plan: {seeds: 1, sensitivity: false}\n")
    code, _, _ = invoke("plan", file, "--out", tmp_path / "out", "--set", f"arms={ONE_STAGE}", "--jobs", 2)
    assert code == 0
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert {name: list(arm["gpus"]) for name, arm in content["arms"].items()} == {
        "front": ["prefill", "all"],
        "back": ["decode", "all"],
        "odd": ["prefill", "decode", "all"],
    }
    for arm in content["arms"].values():
        assert all(not less["passes"] for less in arm["one_less"])


def test_pools_as_given_only_get_their_highest_rate(tmp_path: Path) -> None:
    file = write_plan(tmp_path, "plan: {seeds: 1, size: none}\n")
    code, _, _ = invoke("plan", file, "--out", tmp_path / "out", "--set", "arms.sun.decode.workers=2")
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert content["arms"]["sun"]["gpus"] == {"prefill": 2, "decode": 2, "all": 4}
    rates = {name: arm["rates"] for name, arm in content["arms"].items()}
    assert all(rate["reason"] == "found" for rate in rates.values())
    assert code == (0 if all(rate["passes"] >= 1 for rate in rates.values()) else 3)
    assert all(arm["not_monotone"] == [] for arm in content["arms"].values())
    assert "as given" in (tmp_path / "out" / "plan.md").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "small.yaml: has no plan block, must have one such as plan: {attainment: 0.95, seeds: 3}\n"),
        ("plan: {attainment: 1.5}\n", "small.yaml:18: plan.attainment is 1.5, must be at most 1\n"),
        ("plan: {sizes: both}\n", "small.yaml:18: unknown key plan.sizes, did you mean size?\n"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_plan(tmp_path, text)
    assert invoke("plan", "small.yaml") == (2, "", said)


def test_an_arm_without_a_pool_to_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    profile = "h100-80gb/llama-3.1-8b-bf16"
    head = "name: x\nmodels: {count: 2}\nslo: {ttft_ms: 500}\n"
    head += "workload: {kind: synthetic, duration_s: 3, arrivals: {kind: poisson, rate_rps: 5}, lengths: {kind: azure-conv}}\n"
    both = f"arms:\n  - name: a\n    colocated: {{profile: {profile}, policy: isolated, workers: 2}}\n"
    (tmp_path / "colocated.yaml").write_text(f"{head}{both}plan: {{seeds: 1, size: decode}}\n")
    said = "colocated.yaml:8: plan.size is decode, but arms.a is colocated: must be both, or the arm left out\n"
    assert invoke("plan", "colocated.yaml") == (2, "", said)
    only = f"arms:\n  - name: a\n    decode: {{profile: {profile}, policy: isolated, workers: 2}}\n"
    (tmp_path / "decode.yaml").write_text(f"{head}{only}plan: {{seeds: 1, size: prefill}}\n")
    said = "decode.yaml:8: plan.size is prefill, but arms.a has no prefill pool: must be both, or the arm left out\n"
    assert invoke("plan", "decode.yaml") == (2, "", said)


def test_without_a_limit_on_waiting_there_is_nothing_to_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_plan(tmp_path, PLAN, SCENARIO.replace("ttft_ms: 300, ", ""))
    said = "small.yaml:9: slo.ttft_ms is missing, must be given to plan, or e2el_ms: without a limit on waiting any pool would do\n"
    assert invoke("plan", "small.yaml") == (2, "", said)


def test_run_and_check_tell_of_the_plan(tmp_path: Path) -> None:
    file = write_plan(tmp_path)
    code, stdout, _ = invoke("check", file)
    assert code == 0
    assert stdout.endswith("; plan: sizes all pools of 2 arms, 2 seeds each\n")
    assert invoke("run", file, "--out", tmp_path / "run")[2].endswith("goes by its plan block.\n")


def test_what_was_judged_to_its_end_is_not_simulated_again_for_the_curve(done: Done) -> None:
    folder, content, _ = done
    kept = [json.loads(path.read_text()) for path in (folder / "points").iterdir()]
    planned = [point["scenario"] for point in kept if point["probe"]["look_closer"]]
    assert len(planned) == 2
    again = [
        point
        for point in kept
        if point["scenario"] in planned and point["probe"]["allowed"] is None and not point["probe"]["look_closer"]
    ]
    assert all(point["probe"]["conditions"]["rate"] != 1 for point in again)
    for arm in content["arms"].values():
        assert [point["rate"] for point in arm["curve"]] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
