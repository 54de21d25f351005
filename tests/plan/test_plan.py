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
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from docs.refresh import ROOT
from sunsim.plan import lab as lab_module
from sunsim.plan.bench import Bench
from sunsim.plan.caveats import caveats
from sunsim.plan.conclusion import conclusion
from sunsim.plan.run import load
from sunsim.plan.tables import overview
from sunsim.plan.variants import TYPICAL
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
    scenario = load(file, (), None)
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


def test_the_error_of_a_profile_of_ones_own_is_not_known(done: Done) -> None:
    _, content, stdout = done
    assert content["profile_errors"] == content["left_out_errors"] == []
    said = " ".join(stdout.split())
    assert "Never compared with a real run: prefill and decode workers of sun's card, model and variant." in said
    (name,) = content["profiles"]
    unseen = "On traffic of a shape that the model was not fitted to"
    assert f"{unseen}: decode steps of {name} not judged; prefill steps of {name} not judged." in stdout


def test_a_plan_says_how_far_off_its_profiles_are_on_traffic_of_other_shapes(done: Done) -> None:
    content = deepcopy(done[1])
    (name,) = content["profiles"]
    assert content["arms"]["sun"]["profiles"] == {"prefill": name, "decode": name}
    judged = {"stage": "decode", "sweeps": 8, "mean_percent": 1.04, "largest_percent": 1.71}
    content["left_out_errors"] = [{"profile": name, **judged}]
    assert (
        f"On traffic of a shape that the model was not fitted to: decode steps of {name} off by 1.0 % in the mean, 1.7 % at "
        f"most; prefill steps of {name} not judged."
    ) in conclusion(content)
    content["left_out_errors"] = [{"profile": "other.json", **judged}]
    assert any(f": decode steps of {name} not judged;" in each for each in conclusion(content))


@pytest.mark.parametrize(("share", "said"), [(1.0, "All of"), (0.6, "60 % of"), (0.4, None), (None, None)])
def test_a_winner_of_which_hardly_a_step_was_measured_is_an_extrapolation(
    done: Done, share: float | None, said: str | None
) -> None:
    content = deepcopy(done[1])
    for arm in content["arms"].values():
        arm["portrait"]["entry"]["outside_measured_share"] = {"prefill": 0.0, "decode": share}
    sentence = "sun's decode steps are outside the measured range, so its number is an extrapolation."
    assert (f"{said} {sentence}" in conclusion(content)) == (said is not None)
    assert any(sentence in each for each in conclusion(content)) == (said is not None)


def test_a_plan_within_the_error_of_its_profiles_says_so(done: Done) -> None:
    content = deepcopy(done[1])
    error = {"profile": "p", "stage": "decode", "runs": 3, "typical_percent": 2.0, "too_fast_percent": 4.0}
    content["profile_errors"] = [error]
    for arm, needed in (("sun", None), ("isolated", 9)):
        within = needed is not None
        content["arms"][arm]["within_error"] = within
        content["arms"][arm]["variants"][TYPICAL] = {"gpus": {"all": needed or content["arms"][arm]["gpus"]["all"]}}
    said = " ".join(conclusion(content))
    assert "With steps slower by the typical error of its profiles, it still passes." in said
    assert (
        "Within the simulator's error: with steps slower by that of the profiles, isolated would need 9 GPUs." in said
    )


def test_an_arm_whose_real_runs_were_faster_may_need_fewer(done: Done) -> None:
    content = deepcopy(done[1])
    figures = {"mean_tpot_ms": {"mean_percent": 25.0, "worst_percent": 25.0}}
    content["arms"]["sun"]["validated"][0] |= {"runs": 1, "figures": figures}
    said = "sun may need fewer GPUs: mean TPOT of a real run of such workers was 20 % lower than simulated."
    assert said in " ".join(conclusion(content))
    figures["mean_tpot_ms"] = {"mean_percent": 25.0, "worst_percent": -25.0}
    assert "may need fewer" not in " ".join(conclusion(content))


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


def of_stages(done: Done, **gpus: tuple[int, int]) -> dict[str, Any]:
    """The plan with arms of so many prefill and decode GPUs; without any of a stage they lack it."""
    content = deepcopy(done[1])
    arm = content["arms"]["sun"]
    content["arms"] = {}
    for name, (prefill, decode) in gpus.items():
        has = {stage: size for stage, size in (("prefill", prefill), ("decode", decode)) if size}
        own = {"cards": dict.fromkeys(has, "test-gpu"), "cost": None}
        content["arms"][name] = arm | {"stages": list(has), "gpus": has | {"all": prefill + decode}} | own
    return content


def test_arms_with_as_many_gpus_are_each_given_their_own(done: Done) -> None:
    said = conclusion(of_stages(done, a=(3, 1), b=(2, 2), c=(2, 3)))[0]
    assert said.startswith("a meets the SLO with 4 GPUs (3 prefill + 1 decode) and b meets the SLO with 4 GPUs (2 ")
    assert "c needs 5 GPUs (2 prefill + 3 decode)" in said
    assert conclusion(of_stages(done, a=(2, 3), b=(1, 3)))[0].endswith("20 % fewer (none of them for decode).")


def test_arms_of_one_stage_are_no_rivals_of_whole_ones(done: Done) -> None:
    said = conclusion(of_stages(done, whole=(3, 3), back=(0, 2)))
    assert said[0] == "whole meets the SLO with 6 GPUs (3 prefill + 3 decode)."
    assert said[1] == "back meets the SLO with 2 decode GPUs."
    assert any("breaks first in whole" in sentence for sentence in said)


def test_other_base_models_are_said_first_of_the_caveats(done: Done) -> None:
    content = deepcopy(done[1])
    assert content["base_models"] == {"isolated": "llama-3.1-8b", "sun": "llama-3.1-8b"}
    content["base_models"]["sun"] = "qwen3-8b"
    assert caveats(content)[0].startswith(
        "The arms do not serve the same base model: llama-3.1-8b in isolated and qwen3-8b"
    )


def test_a_rate_that_a_budget_left_open_is_a_lower_bound(done: Done) -> None:
    content = deepcopy(done[1])
    for arm in content["arms"].values():
        arm["rates"] |= {"passes": 1.25, "fails": 1.5, "reason": "budget spent"}
    assert any("1.25 times this rate" in text and "at least; the budget" in text for text in conclusion(content))
    assert [row[-2] for row in overview(content).rows] == ["1.25x or more"] * 2


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
