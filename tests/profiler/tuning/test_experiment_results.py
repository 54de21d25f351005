"""From the results of tunings to accuracy files and what is printed of them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from profiler.progress import Progress
from profiler.tuning.experiment.experiment import (
    ORDER_FILE,
    experiment,
    gpu_minutes,
    keep_order,
    pretrain_seconds,
    text_of,
    write_results,
)
from profiler.tuning.experiment.order import METHODS, QUICK, TUNINGS, WHOLE, Order, jobs_of
from profiler.tuning.experiment.results import best_rate
from profiler.tuning.experiment.tasks import TASKS
from sunsim.errors import InputError

ORDER = Order(("30m",), ("call-format", "math-words"))
SHARES = dict.fromkeys(METHODS, 0.5) | {"base": 0.0, "full": 1.0}


def tuned(folder: Path, task: str, seed: int, method: str) -> None:
    """A tuning's result, of ten requests with two tokens each, of which all or none are in their place."""
    answers = {}
    for row in TUNINGS[method]:
        exact = [int(i < 10 * SHARES[row]) for i in range(10)]
        answers[row] = {"exact": exact, "matched": [2 * right for right in exact], "wanted": [2] * 10}
    curve = [[10, 1.0 + seed, 2.0], [20, 0.5, 1.0]]
    content = {"seconds": 1.0, "learning_rate": 1e-3, "curve": curve, "answers": answers}
    (folder / "done").mkdir(exist_ok=True)
    (folder / "done" / f"30m-{task}-{seed}-{method}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment that ended early: two whole seeds of one task, one of the other, and a beginning."""
    for method in TUNINGS:
        tuned(tmp_path, "call-format", 0, method)
        tuned(tmp_path, "call-format", 1, method)
        tuned(tmp_path, "math-words", 0, method)
    tuned(tmp_path, "math-words", 1, "lora")
    done = {
        "parameters": 31_600_000, "steps": 100, "tokens": 2e6, "seconds": 30.0, "device": "cuda:0",
        "exact_match": {"math_problem": 0.9, "list_program": 0.8, "tool_call": 1.0, "repeated": 0.7}, "curve": [[20, 1.0]],
    }  # fmt: skip
    (tmp_path / "done" / "pretrain-30m.json").write_text(json.dumps(done))
    for rate, loss in ((1e-4, 0.2), (3e-4, 0.1)):
        tried = {"learning_rate": rate, "validation_loss": loss}
        (tmp_path / "done" / f"rate-30m-full-{rate:g}.json").write_text(json.dumps(tried))
    return tmp_path


def test_the_accuracy_file_has_whole_seeds_only(folder: Path) -> None:
    found = write_results(folder, ORDER, 1.5, "the command")["30m"]
    assert found == json.loads((folder / "accuracy-30m.json").read_text())
    assert (found["schema_version"], found["model"], found["parameters"]) == (1, "synthetic-30m", 31_600_000)
    assert (found["command"], found["gpu_minutes"], found["seeds"]) == ("the command", 1.5, 1)
    assert found["tasks"] == ["call-format", "math-words"]
    assert [(row["task"], row["method"]) for row in found["rows"]] == [(t, m) for t in ORDER.tasks for m in METHODS]
    for row in found["rows"]:
        assert row["exact_match"] == row["token_accuracy"] == SHARES[row["method"]]
        assert row["low"] <= row["exact_match"] <= row["high"]
        assert row["requests"] == (20 if row["task"] == "call-format" else 10)
        assert set(row["exact_match_by_seed"]) == ({"0", "1"} if row["task"] == "call-format" else {"0"})
        assert row["kind"] == ("writing" if row["task"] == "call-format" else "understanding")


def test_the_learning_rate_is_the_one_with_the_lowest_loss(folder: Path) -> None:
    assert best_rate(folder, ORDER, "30m", "full") == 3e-4
    assert best_rate(folder, ORDER, "30m", "lora") is None
    tuning = write_results(folder, ORDER, 1.5, "")["30m"]["tuning"]
    assert tuning["learning_rates"]["full"] == 3e-4
    assert tuning["validation_losses"]["full"] == {"0.0001": 0.2, "0.0003": 0.1}


def test_a_try_has_one_rate_and_looks_for_none(tmp_path: Path) -> None:
    tried = replace(QUICK, sizes=("30m",))
    assert [(job.kind, job.after) for job in jobs_of(tried)] == [
        ("pretrain", ()),
        *[("tuning", ("pretrain-30m",))] * len(TUNINGS),
    ]
    assert {method: best_rate(tmp_path, tried, "30m", method) for method in tried.rates} == {
        "full": 3e-4,
        "prefill-only": 1e-3,
        "lora": 3e-3,
    }


def test_curves_are_means_over_seeds(folder: Path) -> None:
    curves = write_results(folder, ORDER, 1.5, "")["30m"]["curves"]
    assert {(curve["task"], curve["method"]) for curve in curves} == {
        (task, m) for task in ORDER.tasks for m in TUNINGS
    }
    two, one = curves[0], curves[-1]
    assert two["steps"] == [10, 20]
    assert two["training_loss"] == [1.5, 0.5]
    assert one["training_loss"] == [1.0, 0.5]
    assert two["validation_loss"] == [2.0, 1.0]


def test_all_records_are_in_one_file(folder: Path) -> None:
    write_results(folder, ORDER, 1.5, "")
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert len(records) == 3 * len(METHODS) + 1
    assert {record["method"] for record in records if "curve" in record} == set(TUNINGS)


def test_what_is_printed(folder: Path) -> None:
    text = text_of(write_results(folder, ORDER, 1.5, ""))
    assert text.startswith("**31.6 million parameters**")
    assert "word problems 90.0 %, list programs 80.0 %, tool calls 100.0 %, repetitions 70.0 %" in text
    assert "| full | 100.0 % (" in text
    assert "| SUN: prefill-only tuning is comparable to full tuning | not decided | +50.0 (one seed)" in text
    assert "its 95 % interval over requests of one seed, which says little" in text


def test_a_model_that_knows_nothing_is_not_said_to_do_what_it_was_trained_on(folder: Path) -> None:
    file = folder / "done" / "pretrain-30m.json"
    done = json.loads(file.read_text())
    done["exact_match"] = dict.fromkeys(done["exact_match"], 0.0)
    file.write_text(json.dumps(done))
    for result in (folder / "done").glob("30m-*.json"):
        result.write_text(re.sub(r'"exact": \[[01, ]*\]', f'"exact": {[0] * 10}', result.read_text()))
    text = text_of(write_results(folder, ORDER, 1.5, ""))
    assert "right answers to unseen prompts of that kind: none yet." in text
    assert (
        "No verdict: full tuning gained less than 10 points on every task. That all works is shown, and no more."
        in text
    )
    assert "claim" not in text


@pytest.mark.parametrize(("seeds", "more"), [(1, ""), (4, " and 72 more")])
def test_what_is_not_done_is_named_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seeds: int, more: str
) -> None:
    monkeypatch.setattr("profiler.tuning.experiment.experiment.Runner.run", lambda _: None)
    monkeypatch.setattr("profiler.tuning.experiment.experiment.Runner._started", lambda *_: None)
    monkeypatch.setattr("profiler.tuning.experiment.experiment.Runner.stop", lambda _: None)
    (tmp_path / "corpus.npz").touch()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "pretrain-tiny.json").write_text("{}")
    order = replace(QUICK, tasks=tuple(TASKS)[: 2 if seeds == 1 else 5], seeds=seeds)
    experiment(order, tmp_path, budget_s=10, devices=["cpu"], per_device=1, command="", progress=Progress())
    tunings = [job.name for job in jobs_of(order)[1:]]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"not done: {', '.join(tunings[:8])}{more}; the same command goes on there")


def test_nothing_whole_is_said_to_be_so(tmp_path: Path) -> None:
    tuned(tmp_path, "call-format", 0, "lora")
    assert text_of(write_results(tmp_path, ORDER, 0.1, "")) == "**synthetic-30m**: no task has all its methods yet.\n"


def test_a_directory_has_one_experiment(tmp_path: Path) -> None:
    keep_order(ORDER, tmp_path)
    keep_order(ORDER, tmp_path)
    other = replace(ORDER, tasks=("call-format",))
    with pytest.raises(InputError, match=rf"{ORDER_FILE}: is of an experiment with other settings"):
        keep_order(other, tmp_path)


def test_gpu_minutes_of_tries_add_up(tmp_path: Path) -> None:
    assert gpu_minutes(tmp_path, 60, 2) == 2
    assert gpu_minutes(tmp_path, 30, 2) == 3


def test_pre_training_leaves_most_of_the_budget_on_any_number_of_gpus() -> None:
    sizes = WHOLE.sizes
    for gpus in (1, 2, 8):
        seconds = pretrain_seconds(sizes, 1000, gpus)
        assert set(seconds) == set(sizes)
        assert sum(seconds.values()) <= 0.4 * 1000 * gpus
        assert max(seconds.values()) <= 0.4 * 1000
