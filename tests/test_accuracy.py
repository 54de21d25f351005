"""Accuracy files: how they are read, what an arm's way of serving is called in them, and the mean over tasks."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from sunsim.accuracy.measured import AccuracyRow, list_accuracy, load_accuracy, mean_over
from sunsim.errors import InputError
from sunsim.inputs import files, sha256
from sunsim.latency.profile import profiles_root
from sunsim.scenario import load_scenario, resolved
from tests.accuracy_files import SHARES, accuracy_document, write_accuracy
from tests.synthetic import synthetic_profile

ISOLATED = {"policy": "isolated", "workers": 2}
SHARED = {"policy": "shared", "workers": 1}
OWN = {"profile": "bf16.json", **ISOLATED}


def scenario(folder: Path, *arms: dict[str, Any]) -> dict[str, Any]:
    """A scenario of these arms, which all name one accuracy file where they say nothing else, with profiles of all variants."""
    for variant in ("bf16", "awq", "fp8", "lora-r16"):
        (folder / f"{variant}.json").write_text(json.dumps(synthetic_profile() | {"variant": variant}))
    return {
        "name": "small",
        "models": {"count": 2},
        "workload": {
            "kind": "synthetic",
            "requests": 12,
            "arrivals": {"kind": "poisson", "rate_rps": 20},
            "lengths": {"kind": "fixed", "prompt_tokens": 200, "output_tokens": 20},
        },
        "arms": [{"name": f"arm-{i}", "accuracy": "accuracy.json", **arm} for i, arm in enumerate(arms)],
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an accuracy file, in which relative paths start."""
    monkeypatch.chdir(tmp_path)
    write_accuracy(tmp_path / "accuracy.json")
    return tmp_path


@pytest.mark.parametrize(
    ("arm", "method"),
    [
        ({"prefill": OWN, "decode": OWN}, "full"),
        ({"colocated": OWN}, "full"),
        ({"decode": OWN}, "full"),
        ({"prefill": OWN, "decode": OWN | SHARED}, "prefill-only"),
        ({"prefill": OWN | SHARED, "decode": OWN | SHARED}, "prefill-only"),
        ({"prefill": OWN, "decode": {"profile": "awq.json", **SHARED}}, "prefill-only-int4-tuned"),
        ({"prefill": OWN, "decode": {"profile": "awq.json", **ISOLATED}}, "full-int4"),
        ({"colocated": {"profile": "lora-r16.json", **SHARED}}, "lora"),
        ({"prefill": {"profile": "lora-r16.json", **SHARED}, "decode": {"profile": "lora-r16.json", **SHARED}}, "lora"),
        # What the experiment does not measure: fp8, quantized prefill, one prefill module for all, nobody who answers.
        ({"prefill": OWN, "decode": {"profile": "fp8.json", **SHARED}}, None),
        ({"prefill": {"profile": "awq.json", **ISOLATED}, "decode": {"profile": "awq.json", **SHARED}}, None),
        ({"colocated": {"profile": "awq.json", **ISOLATED}}, None),
        ({"prefill": OWN | SHARED | {"module": "shared"}, "decode": OWN}, None),
        ({"prefill": OWN | SHARED | {"module": "shared"}, "decode": OWN | SHARED}, None),
        ({"prefill": OWN}, None),
        ({"prefill": OWN, "decode": {"profile": "lora-r16.json", **SHARED}}, None),
    ],
)
def test_the_way_of_serving_says_the_method(here: Path, arm: dict[str, Any], method: str | None) -> None:
    (found,) = load_scenario(scenario(here, arm)).arms
    assert found.accuracy
    assert found.accuracy.method == method
    assert found.accuracy.tasks == ("sums", "calls")
    if method is None:
        assert found.accuracy.exact_match is None
    else:
        assert found.accuracy.exact_match
        assert found.accuracy.exact_match.mean == pytest.approx(SHARES[method])


def test_without_a_row_of_tuning_with_the_quantized_decoder_the_one_without_counts(here: Path) -> None:
    shares = {method: share for method, share in SHARES.items() if method != "prefill-only-int4-tuned"}
    (here / "accuracy.json").write_text(json.dumps(accuracy_document(shares)))
    arm = {"prefill": OWN, "decode": {"profile": "awq.json", **SHARED}}
    (found,) = load_scenario(scenario(here, arm)).arms
    assert found.accuracy
    assert found.accuracy.method == "prefill-only-int4"


def test_a_method_that_lacks_a_task_is_known_on_the_others(here: Path) -> None:
    document = accuracy_document()
    document["rows"] = [row for row in document["rows"] if (row["method"], row["task"]) != ("full", "calls")]
    (here / "accuracy.json").write_text(json.dumps(document))
    every, one = load_scenario(
        scenario(here, {"colocated": OWN}, {"colocated": OWN, "accuracy": {"file": "accuracy.json", "tasks": ["sums"]}})
    ).arms
    assert every.accuracy
    assert every.accuracy.exact_match is None
    assert one.accuracy
    assert one.accuracy.exact_match
    assert one.accuracy.exact_match.requests == 30_000


def test_a_resolved_scenario_loads_anywhere_as_it_was(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = (
        {"colocated": OWN},
        {"prefill": OWN},
        {"decode": OWN, "accuracy": {"file": "accuracy.json", "method": "base"}},
    )
    loaded = load_scenario(scenario(here, *arms))
    (here / "resolved.yaml").write_text(resolved(loaded))
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    again = load_scenario(here / "resolved.yaml")
    assert again == loaded
    assert [arm.accuracy.method for arm in again.arms if arm.accuracy] == ["full", None, "base"]


def test_its_hash_is_among_the_inputs(here: Path) -> None:
    loaded = load_scenario(scenario(here, {"colocated": OWN}))
    path = here / "accuracy.json"
    assert files(loaded)[str(path)] == path
    assert load_accuracy(path).sha256 == sha256(path)
    assert str(path) not in files(load_scenario(scenario(here, {"colocated": OWN, "accuracy": None})))


def test_a_file_that_has_changed_meanwhile_is_refused(here: Path) -> None:
    changed, gone = load_scenario(scenario(here, {"colocated": OWN})), load_scenario(scenario(here, {"colocated": OWN}))
    (here / "accuracy.json").write_text(json.dumps(accuracy_document({"base": 0.1})))
    with pytest.raises(InputError, match=r"accuracy\.json: has no full on sums, calls any more, must stay as it is"):
        _ = changed.arms[0].accuracy
    (here / "accuracy.json").unlink()
    with pytest.raises(InputError, match=r"accuracy\.json: cannot be read any more, must stay where it is"):
        _ = gone.arms[0].accuracy


def row(task: str, share: float, low: float, high: float, requests: int = 100) -> AccuracyRow:
    return AccuracyRow(method="full", task=task, exact_match=share, low=low, high=high, requests=requests)


def test_the_mean_of_one_task_is_its_row() -> None:
    found = mean_over([row("a", 0.5, 0.4, 0.7)], seeds=3)
    assert (found.mean, found.low, found.high, found.requests) == pytest.approx((0.5, 0.4, 0.7, 100))


def test_deviations_of_tasks_add_up_by_their_squares() -> None:
    found = mean_over([row("a", 0.5, 0.47, 0.6), row("b", 0.9, 0.86, 0.9, 50)], seeds=3)
    assert (found.mean, found.requests) == (0.7, 150)
    assert found.low == pytest.approx(0.7 - sqrt(0.03**2 + 0.04**2) / 2)
    assert found.high == pytest.approx(0.7 + 0.1 / 2)


YAML = """\
name: small
models: {count: 2}
workload: {kind: synthetic, requests: 12, arrivals: {kind: poisson, rate_rps: 20}, lengths: {kind: azure-conv}}
arms:
- name: sun
  accuracy: accuracy.json
  decode: {profile: bf16.json, policy: shared, workers: 1}
"""

METHODS = ", ".join(SHARES)
SHIPPED = ", ".join(list_accuracy()) or "none is shipped"


@pytest.mark.parametrize(
    ("given", "line", "message"),
    [
        (
            "no.json",
            6,
            f"arms.sun.accuracy is 'no.json', must be a .json file or one of the shipped accuracy files: {SHIPPED}",
        ),
        (
            "{tasks: [sums], file: h100-80gb/no}",
            6,
            f"arms.sun.accuracy.file is 'h100-80gb/no', must be a .json file or one of the shipped accuracy files: {SHIPPED}",
        ),
        (
            "{file: accuracy.json, method: magic}",
            6,
            f"arms.sun.accuracy.method is 'magic', must be one that accuracy.json has on all of these tasks: {METHODS}",
        ),
        (
            "\n    file: accuracy.json\n    tasks: [sums, x]",
            8,
            "arms.sun.accuracy.tasks.1 is 'x', must be one of sums, calls",
        ),
        (
            "{file: accuracy.json, tasks: [sums, sums]}",
            6,
            "arms.sun.accuracy.tasks.1 is 'sums' again, must be there once",
        ),
        ("{method: full}", 6, "arms.sun.accuracy.file is missing, must be given"),
        (
            "{file: accuracy.json, tasks: []}",
            6,
            "arms.sun.accuracy.tasks is an empty list, must be a list with at least one entry",
        ),
        ("{file: accuracy.json, task: x}", 6, "unknown key arms.sun.accuracy.task, did you mean tasks?"),
        ("5", 6, "arms.sun.accuracy is 5, must be a mapping"),
        ("[accuracy.json]", 6, "arms.sun.accuracy is a list, must be a mapping"),
        ("''", 6, "arms.sun.accuracy is '', must be at least one character"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(here: Path, given: str, line: int, message: str) -> None:
    scenario(here)
    path = here / "small.yaml"
    path.write_text(YAML.replace("accuracy: accuracy.json", f"accuracy: {given}"))
    with pytest.raises(InputError) as error:
        load_scenario(path)
    assert str(error.value) == f"{path}:{line}: {message}"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2, must be 1"),
        ({"parameters": "many"}, "parameters is 'many', must be a valid integer"),
        ({"tasks": [], "rows": []}, "has no tasks, must have at least one"),
        ({"rows": []}, "has no rows, must have at least one"),
        ({"tasks": ["sums"]}, "rows have the task calls, must be one of tasks"),
        ({"tasks": ["sums", "calls", "sums"]}, "tasks have sums twice, must have it once"),
        ({"rows": accuracy_document()["rows"][:1] * 2}, "rows have base on sums twice, must have it once"),
        (
            {"rows": [accuracy_document()["rows"][0] | {"high": 0.05}]},
            "rows.0: exact_match is 0.1, must be from low (0.07) to high (0.05)",
        ),
        (
            {"rows": [accuracy_document()["rows"][0] | {"exact_match": 90}]},
            "rows.0.exact_match is 90, must be less than or equal to 1",
        ),
        ({"model": "a\nb"}, "model is 'a\\nb', must be one line without control characters"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write_accuracy(tmp_path / "accuracy.json", **changed)
    with pytest.raises(InputError) as error:
        load_accuracy(path)
    assert str(error.value) == f"{path}: not an accuracy file of schema version 1: {message}"


def test_keys_beyond_these_are_kept(tmp_path: Path) -> None:
    path = write_accuracy(tmp_path / "accuracy.json", curves=[{"steps": [1, 2]}])
    assert load_accuracy(path).data.model_dump()["curves"] == [{"steps": [1, 2]}]


@pytest.mark.parametrize("name", list_accuracy())
def test_shipped_files_have_every_method_on_every_task(name: str) -> None:
    found = load_accuracy(profiles_root() / f"{name}.json")
    assert set(SHARES) <= set(found.methods(found.data.tasks))
