"""Exports of models with names that a shell, YAML, a file system or vLLM could take for something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.export.arms import write
from tests.export.test_export import commands, documents, options
from tests.plan.small import invoke

STRANGE = ("*", "$(touch pwned)", "`touch pwned`", "#", "shared", "base", "\u2028x: [", "\u754c" * 200)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ways"))


def named(scenario: Path, names: tuple[str, ...], out: Path) -> Path:
    """The scenario of other models, each as many workers."""
    content = YAML(typ="safe").load(scenario.read_text())
    content["models"] = [{"name": name, "weight": 1} for name in names]
    for arm in content["arms"]:
        for pool in arm.values():
            if isinstance(pool, dict) and pool["policy"] == "isolated":
                pool["workers"] = len(names)
    path = scenario.with_name(f"{out.name}.yaml")
    YAML().dump(content, path)
    return path


@pytest.mark.parametrize("arm", ["colocated", "sun", "lora"])
def test_strange_names_stay_names(scenario: Path, tmp_path: Path, arm: str) -> None:
    path = named(scenario, STRANGE, tmp_path)
    found = commands(path, arm, tmp_path / "out", 2 if arm == "sun" else 1)
    assert not list(tmp_path.rglob("pwned"))
    asked = [set(options(each[4:])["--served-model-name"]) for each in found.values() if arm != "lora"]
    if arm == "lora":
        (worker, _) = found.values()
        adapters = {each.partition("=")[0] for each in options(worker[4:])["--lora-modules"]}
        assert adapters == set(STRANGE)
    else:
        assert all({name} in asked for name in STRANGE)
        assert len(found) == len(STRANGE) + (3 if arm == "sun" else 0)
    for number, target in enumerate(("llm-d", "dynamo")):
        contents = documents(path, arm, target, tmp_path / str(number))
        assert len(contents) == {"colocated": 8, "sun": 9, "lora": 1}[arm]


def test_a_model_called_shared_has_weights_of_its_own(scenario: Path, tmp_path: Path) -> None:
    found = commands(named(scenario, ("shared", "base"), tmp_path), "sun", tmp_path / "out")
    weights = {log.rpartition("-")[0]: lines[3] for log, lines in found.items()}
    assert len(set(weights.values())) == len(weights) == 3


@pytest.mark.parametrize(
    ("arm", "name", "said"),
    [
        ("colocated", "-x", "the model '-x' is no name to vllm serve, must not begin with a dash"),
        ("lora", "a=b", "the model 'a=b' is no name to vllm serve, must not begin with a dash, and have no ="),
        ("lora", "a,b", "the model 'a,b' is no name"),
    ],
)
def test_names_that_vllm_cannot_be_given_are_refused(
    scenario: Path, tmp_path: Path, arm: str, name: str, said: str
) -> None:
    path = named(scenario, (name, "law"), tmp_path)
    code, _, stderr = invoke("export", path, "--arm", arm, "--to", "vllm", "--out", tmp_path / "out")
    assert code == 2
    assert said in stderr
    assert stderr.count("\n") == 1


def test_a_pool_that_grows_and_shrinks_is_refused(scenario: Path, tmp_path: Path) -> None:
    content = YAML(typ="safe").load(scenario.read_text())
    (arm,) = (arm for arm in content["arms"] if arm["name"] == "sun")
    arm["decode"] |= {"workers": {"min": 1, "max": 2}, "scaling": {"kind": "kv-usage"}}
    path = scenario.with_name("elastic.yaml")
    YAML().dump(content, path)
    code, _, stderr = invoke("export", path, "--arm", "sun", "--to", "vllm", "--out", tmp_path / "out")
    assert code == 2
    assert "arms.sun.decode grows and shrinks, must have a number of workers to be deployed" in stderr
    assert stderr.count("\n") == 1


def test_a_worker_of_more_gpus_than_a_host_has_is_refused(scenario: Path, tmp_path: Path) -> None:
    two = json.loads(scenario.with_name("tp2.json").read_text())
    two["engine_args"]["tensor_parallel_size"] = 16
    (tmp_path / "tp2.json").write_text(json.dumps(two))
    for path in scenario.parent.glob("*.json"):
        if path.name != "tp2.json":
            (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "ways.yaml").write_text(scenario.read_text())
    code, _, stderr = invoke("export", tmp_path / "ways.yaml", "--arm", "two-gpus", "--to", "vllm")
    assert code == 2
    assert "arms.two-gpus.colocated has workers of 16 GPUs, must be of at most 8" in stderr


def test_what_vllm_does_not_refuse_is_not_deployed(scenario: Path) -> None:
    text = scenario.read_text().replace("arms:\n", "slo: {tpot_ms: 25}\narms:\n", 1)
    path = scenario.with_name("shed.yaml")
    path.write_text(text.replace("- name: sun\n", "- name: sun\n  admission: {kind: shed}\n"))
    code, _, stderr = invoke("export", path, "--arm", "sun", "--to", "vllm")
    assert code == 2
    assert "arms.sun.admission refuses requests, must be left out to be deployed: vLLM takes every one" in stderr
