"""The Python interface: what it gives, and that its page in docs/ is true."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sunsim
import sunsim.arms
from docs.blocks import DOCS, PLACES, block
from docs.columns import columns
from sunsim.points.local import KILLED
from sunsim.points.outcome import Outcome
from sunsim.records import REQUEST_COLUMNS, WORKER_COLUMNS
from sunsim.result import REQUESTS, SUMMARY
from sunsim.scenario import Scenario
from tests.files.quick import be_quick, written
from tests.plan.small import invoke, write_plan
from tests.sweep.small import SCENARIO, write_sweep


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """Twelve requests, two arms."""
    return sunsim.load(write_sweep(tmp_path, "sweep: {seeds: 2}\n"))


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "python.md", None, 0)
    assert len(examples.examples) > 10
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    failed = doctest.DocTestRunner().run(examples, out=said.append)
    assert not failed.failed, "".join(said)
    for name, table in columns().items():
        page = PLACES[name].read_text(encoding="utf-8")
        assert block(page, name) == table, "run python -m docs.refresh columns"


def test_importing_it_takes_nothing_heavy_along() -> None:
    code = (
        "import sys, sunsim; print([name for name in ('numpy', 'pandas', 'pydantic', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_its_names_are_functions_whatever_was_imported_first() -> None:
    code = (
        "import sunsim.sweep.run, sunsim.plan.run, sunsim.simulate, sunsim\n"
        "print([callable(getattr(sunsim, name)) for name in sunsim.__all__ if name != '__version__'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([True] * 8)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = sunsim.simulat


def test_a_result_has_the_content_of_the_files(scenario: Scenario, tmp_path: Path) -> None:
    result = sunsim.simulate(scenario)
    assert invoke("run", tmp_path / "small.yaml", "--out", tmp_path / "run", "--quiet")[0] == 0
    names = result.save(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*names, "manifest.json"}
    for name in names:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
    pd.testing.assert_frame_equal(result.requests, pd.read_parquet(tmp_path / "run" / REQUESTS))
    assert list(result.requests.columns) == [column.name for column in REQUEST_COLUMNS]
    assert list(result.workers.columns) == ["arm", "worker", *(column.name for column in WORKER_COLUMNS)]
    assert result.workers.groupby("arm")["requests"].sum().to_dict() == {"isolated": 12, "sun": 12}
    assert list(result.table().index) == ["isolated", "sun"]
    assert "<table" in result._repr_html_()
    assert "isolated" in repr(result)


def test_what_was_saved_is_read_again(scenario: Scenario, tmp_path: Path) -> None:
    result = sunsim.simulate(scenario, seed=9)
    result.save(tmp_path / "one")
    again = sunsim.read(tmp_path / "one")
    pd.testing.assert_frame_equal(again.requests, result.requests)
    pd.testing.assert_frame_equal(again.workers, result.workers)
    assert (again.summary, again.scenario) == (result.summary, result.scenario)
    assert again.summary["seed"] == 9
    for name in again.save(tmp_path / "two"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_what_is_no_scenario_is_one_line(scenario: Scenario) -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: sunsim.load(None), "scenario: is of type NoneType, must be a scenario's file"),  # type: ignore[arg-type]
        (lambda: sunsim.plan(scenario), "scenario: is of type Scenario, must be a scenario's file"),  # type: ignore[arg-type]
        (lambda: sunsim.simulate("a.yaml"), "scenario: is of type str, must be what sunsim.load returns"),  # type: ignore[arg-type]
        (lambda: sunsim.simulate(scenario, seed=-1), "seed: is -1, must be a whole number from 0 to"),
    ]
    for call, said in wrong:
        with pytest.raises(sunsim.InputError) as caught:
            call()
        assert str(caught.value).startswith(said)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"arms": 3}'])
def test_a_folder_of_something_else_is_one_line(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    be_quick(monkeypatch)
    sunsim.simulate(scenario).save(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    if content is None:
        (tmp_path / "out" / REQUESTS).write_text("no parquet")
    else:
        (tmp_path / "out" / SUMMARY).write_text(content)
    with pytest.raises(sunsim.InputError) as told:
        sunsim.read(tmp_path / "out")
    assert str(told.value).startswith(f"{tmp_path / 'out'}: cannot be read (")
    assert "\n" not in str(told.value)


def test_what_was_changed_since_is_not_read(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_quick(monkeypatch)
    sunsim.simulate(scenario).save(tmp_path / "out")
    with (tmp_path / "out" / REQUESTS).open("r+b") as file:
        file.write(b"PAR2")
    with pytest.raises(sunsim.InputError, match=r"is damaged \(requests.parquet changed since it was written\)"):
        sunsim.read(tmp_path / "out")


def test_arms_beside_one_another_give_the_same(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sunsim.simulate(scenario)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", written)
    monkeypatch.setattr(sunsim.arms, "MANY", 0)
    monkeypatch.setattr(sunsim.arms, "simulate_arm", lambda *_: pytest.fail("an arm was simulated here"))
    found = sunsim.simulate(scenario, jobs=2)
    assert found.summary == expected.summary
    for name, result in (("expected", expected), ("found", found)):
        result.save(tmp_path / name)
    assert (tmp_path / "found" / REQUESTS).read_bytes() == (tmp_path / "expected" / REQUESTS).read_bytes()


def all_killed(tasks: list[Any], *_: object) -> Iterator[tuple[Any, Outcome]]:
    """Stands in for processes."""
    for task in tasks:
        yield task, Outcome([], KILLED)


def test_an_arm_that_fails_in_its_process_fails_as_if_there_had_been_none(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sunsim.arms, "MANY", 0)
    monkeypatch.setattr(sunsim.arms, "run_local", all_killed)

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sunsim.arms, "simulate_arm", broken)
    with pytest.raises(ZeroDivisionError):
        sunsim.simulate(scenario, jobs=2)


def test_a_sweep_has_the_content_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)
    file = write_sweep(tmp_path, "sweep: {seeds: 2}\n", SCENARIO)
    swept = sunsim.sweep(file)
    assert invoke("sweep", file, "--out", tmp_path / "out", "--quiet")[0] == 0
    pd.testing.assert_frame_equal(swept.points, pd.read_parquet(tmp_path / "out" / "sweep.parquet"))
    assert len(swept.points) == 2 * 2
    assert swept.table()["mean_tpot_ms"].tolist() == pytest.approx(
        swept.points.groupby("arm")["mean_tpot_ms"].mean().tolist()
    )
    assert "<table" in swept._repr_html_()
    assert repr(swept).startswith("small: 2 points, 0 failed\n")
    for name in swept.save(tmp_path / "saved"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_plan_has_the_content_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_quick(monkeypatch)
    file = write_plan(tmp_path, "plan: {seeds: 1, max_prefill_gpus: 4, max_decode_gpus: 4, sensitivity: false}\n")
    planned = sunsim.plan(file, tmp_path / "points")
    assert invoke("plan", file, "--out", tmp_path / "out", "--quiet")[0] in {0, 3}
    for name in planned.save(tmp_path / "saved"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert list(planned.table().index) == ["isolated", "sun"]
    assert "<table" in planned._repr_html_()
    assert repr(planned).startswith("small\n")
