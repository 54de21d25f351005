"""The arms of a plan that pass, as scenarios."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.plan.knobs import resized
from sunsim.plan.result import PlanResult
from sunsim.scenario import load_scenario
from tests.plan.small import SCENARIO, invoke, write_plan

Done = tuple[Path, dict[str, Any], str]


@pytest.mark.parametrize("arm", ["isolated", "sun"])
def test_an_arm_that_passes_is_a_scenario_with_the_pools_found(done: Done, arm: str) -> None:
    out, content, _ = done
    whole, own = load_scenario(out / "scenario.resolved.yaml"), load_scenario(out / f"{arm}.yaml")
    (only,) = own.arms
    assert {stage: pool.workers for stage, pool in only.pools().items()} == content["arms"][arm]["workers"]
    planned = next(each for each in whole.arms if each.name == arm)
    sizes = {role: workers for pool in only.pools().values() for role, workers in pool.roles.items()}
    assert own == whole.changed(name=f"small-{arm}", arms=(resized(planned, sizes, {}).block,))


def test_it_runs_as_it_is_wherever_it_lies(done: Done, tmp_path: Path) -> None:
    out, content, stdout = done
    assert f"`sunsim run {out}/sun.yaml`" in " ".join(stdout.split())
    (tmp_path / "moved.yaml").write_text((out / "sun.yaml").read_text())
    code, _, _ = invoke("run", tmp_path / "moved.yaml", "--out", tmp_path / "run", "--quiet")
    assert code == 0
    ran = json.loads((tmp_path / "run" / "summary.json").read_text())["arms"]
    assert {name: entry["gpus"] for name, entry in ran.items()} == {"sun": content["arms"]["sun"]["gpus"]["all"]}


def test_an_arm_that_fails_leaves_none(tmp_path: Path) -> None:
    impossible = SCENARIO.replace("slo: {ttft_ms: 300, tpot_ms: 8}", "slo: {ttft_ms: 300, tpot_ms: 1}")
    code, stdout, _ = invoke("plan", write_plan(tmp_path, scenario=impossible), "--out", tmp_path / "out", "--jobs", 1)
    assert code == 3
    assert "sunsim export" not in stdout
    names = {path.name for path in (tmp_path / "out").glob("*.yaml")}
    assert names == {"scenario.resolved.yaml"}


def test_files_are_named_apart(done: Done) -> None:
    out, content, _ = done
    found = content["arms"]["sun"]
    arms = {"a/b": found, "a-b": found, "scenario.resolved": found, "none": {**found, "passes": False}}
    plan = PlanResult({**content, "arms": arms}, (out / "scenario.resolved.yaml").read_text())
    assert plan.arms == {"a/b": "a-b.yaml", "a-b": "a-b-2.yaml", "scenario.resolved": "scenario.resolved-2.yaml"}
