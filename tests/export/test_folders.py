"""What `sunsim export` takes an arm from, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.folder import Results
from sunsim.plan.scenarios import scenario_files
from tests.export.arms import SCENARIO, write
from tests.plan.small import PLAN, invoke, write_plan

Done = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The folder of a plan, and its content."""
    folder = tmp_path_factory.mktemp("plan")
    file = write_plan(folder, PLAN.replace("seeds: 2", "seeds: 1"))
    assert invoke("plan", file, "--out", folder / "out", "--jobs", 1, "--quiet")[0] == 0
    return folder / "out", json.loads((folder / "out" / "plan.json").read_text())


def refused(*arguments: object) -> str:
    """The one line on stderr of a command that exits with 2."""
    code, stdout, stderr = invoke("export", *arguments)
    assert (code, stdout) == (2, "")
    assert stderr.count("\n") == 1
    return stderr


def test_a_plans_arm_has_the_pools_found(done: Done, tmp_path: Path) -> None:
    out, content = done
    code, stdout, _ = invoke("export", out, "--arm", "isolated", "--to", "dynamo", "--out", tmp_path / "out")
    assert code == 0
    assert stdout.startswith(f"isolated, {content['arms']['isolated']['gpus']['all']} GPUs: {tmp_path}/out/ (m1.yaml")


def test_a_runs_arm_is_as_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path)
    assert invoke("run", file, "--out", "ran", "--quiet", "--set", "arms.colocated.colocated.workers=7")[0] == 0
    code, stdout, _ = invoke("export", "ran", "--arm", "colocated", "--to", "vllm")
    assert (code, stdout) == (0, "colocated, 7 GPUs: results/ran-colocated-vllm/ (serve.sh)\n")
    assert (tmp_path / "results/ran-colocated-vllm/serve.sh").read_text().count('vllm serve "$') == 7


def test_an_unknown_arm(done: Done, tmp_path: Path) -> None:
    out, _ = done
    told = refused(out, "--arm", "moon", "--to", "vllm", "--out", tmp_path / "out")
    assert told == f"{out}: has no arm 'moon', must be one of isolated, sun\n"
    told = refused(write(tmp_path), "--arm", "moon", "--to", "vllm", "--out", tmp_path / "out")
    assert "has no arm 'moon', must be one of isolated, isolated-awq, sun" in told


def test_an_arm_that_failed(done: Done, tmp_path: Path) -> None:
    out, content = done
    failed = {**content, "arms": {**content["arms"], "sun": {**content["arms"]["sun"], "passes": False}}}
    (tmp_path / "manifest.json").write_text((out / "manifest.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps(failed))
    told = refused(tmp_path, "--arm", "sun", "--to", "vllm", "--out", tmp_path / "out")
    assert "the arm 'sun' did not meet the SLO in this plan" in told
    assert "must be one that passed: isolated" in told


def test_an_arm_called_as_another_file_of_the_plan(done: Done, tmp_path: Path) -> None:
    out, content = done
    for name in ("scenario", "scenario.resolved"):
        renamed = {**content, "arms": {name: content["arms"]["isolated"]}}
        file = scenario_files(renamed)[name]
        assert file == f"{name}-2.yaml"
        (tmp_path / "manifest.json").write_text((out / "manifest.json").read_text())
        (tmp_path / "plan.json").write_text(json.dumps(renamed))
        (tmp_path / file).write_text((out / "isolated.yaml").read_text().replace("name: isolated", f"name: {name}"))
        code, stdout, _ = invoke("export", tmp_path, "--arm", name, "--to", "vllm", "--out", tmp_path / f"out-{name}")
        assert code == 0
        assert stdout.startswith(f"{name}, ")


@pytest.mark.parametrize("text", ["[]", '{"arms": []}', '{"arms": {"sun": 3}}', "{"])
def test_a_damaged_plan(done: Done, tmp_path: Path, text: str) -> None:
    out, _ = done
    (tmp_path / "manifest.json").write_text((out / "manifest.json").read_text())
    (tmp_path / "plan.json").write_text(text)
    assert "plan.json: cannot be read" in refused(tmp_path, "--arm", "sun", "--to", "vllm", "--out", tmp_path / "out")


def test_a_folder_without_a_manifest_is_told_what_is_missing_and_what_would_be_right(tmp_path: Path) -> None:
    arguments = (tmp_path, "--arm", "sun", "--to", "vllm", "--out", tmp_path / "out")
    told = (
        f"{tmp_path}: has no manifest.json, so holds no results, must be a folder that sunsim run or plan has left, or"
    )
    assert refused(*arguments) == f"{told} a scenario's file\n"
    file = write(tmp_path)
    assert refused(*arguments) == f"{told} a scenario's file such as {file}\n"
    (tmp_path / "summary.json").write_text("{}")
    assert refused(*arguments).startswith(
        f"{tmp_path / 'manifest.json'}: is missing, must be as sunsim run has left it"
    )


def test_a_sweep_is_no_folder_with_an_arm_to_export(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    with Results(sweep, "sweep").writing() as place:
        (place / "summary.json").write_text("{}")
    told = refused(sweep, "--arm", "sun", "--to", "vllm", "--out", tmp_path / "out")
    assert told.startswith(f"{sweep}: holds results of sunsim sweep, must be a folder that sunsim run or plan has left")


@pytest.mark.parametrize(
    ("arm", "why"),
    [
        ("{decode: {profile: bf16.json, policy: shared, workers: 1}}", "has a decode pool only"),
        (
            "{prefill: {profile: bf16.json, policy: shared, workers: 1}, decode: {profile: bf16.json, policy: shared, workers: 1}}",
            "has the weights of all models on each worker",
        ),
        (
            "{prefill: {profile: lora-r16.json, policy: shared, workers: 1}, decode: {profile: lora-r16.json, policy: isolated, workers: 2}}",
            "prefill is shared and decode isolated",
        ),
    ],
)
def test_what_no_server_can_do(tmp_path: Path, arm: str, why: str) -> None:
    file = write(tmp_path)
    file.write_text(f"{SCENARIO}- {{name: odd, {arm.removeprefix('{')}\n")
    assert why in refused(file, "--arm", "odd", "--to", "llm-d", "--out", tmp_path / "out")
