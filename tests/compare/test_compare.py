"""`sunsim compare`: what differs between folders of results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.compare.differences import differences, told
from sunsim.compare.folders import Folder, read_folders
from sunsim.compare.report import comparison
from sunsim.errors import InputError
from sunsim.result import results
from tests.plan.small import PLAN, invoke, write_plan

SMALL = ("--quiet", "--set", "workload.duration_s=2")
JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module", autouse=True)
def without_pictures() -> Iterator[None]:
    """Drawing takes longer than all else here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sunsim.pictures.draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs: `again` is `base` once more, the others differ from it as their names say."""
    folder = tmp_path_factory.mktemp("runs")
    scenario = write_plan(folder, plan="")
    changes: dict[str, list[object]] = {
        "base": [],
        "again": [],
        "more": ["--set", "arms.sun.decode.workers=2"],
        "seed": ["--seed", 4],
        "busy": ["--set", "workload.arrivals.rate_rps=200"],
        "other": [
            "--set",
            "models.popularity.alpha=2",
            "--set",
            "workload.lengths={kind: fixed, prompt_tokens: 9, output_tokens: 9}",
            "--set",
            "slo.ttft_ms=200",
        ],
        "limits": ["--set", "slo.tpot_ms=0.01"],
        "strict": ["--set", "arms.sun.decode.workers=2", "--set", "slo.ttft_ms=20"],
        "one": ["--set", "arms=[{name: sun, decode: {profile: profile.json, policy: shared, workers: 1}}]"],
    }
    for name, options in changes.items():
        assert invoke("run", scenario, "--out", folder / name, *SMALL, *options)[0] == 0
    return folder


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    scenario = write_plan(folder, plan=PLAN.replace("seeds: 2", "seeds: 1").replace("8", "4"))
    for name, rate in {"slow": 20, "fast": 100, "flood": 1000}.items():
        rate_is = f"workload.arrivals.rate_rps={rate}"
        assert invoke("plan", scenario, "--out", folder / name, *SMALL, "--set", rate_is)[0] in {0, 3}
    return folder


def compared(folder: Path, *names: str) -> dict[str, Any]:
    code, stdout, stderr = invoke("compare", *(folder / name for name in names), "--json")
    assert (code, stderr) == (0, "")
    found: dict[str, Any] = json.loads(stdout)
    return found


def test_the_same_run_twice_differs_in_nothing(runs: Path) -> None:
    code, stdout, _ = invoke("compare", runs / "base", runs / "again")
    assert (code, stdout) == (0, "- Nothing differs: base and again have the same input and the same outcome.\n")
    found = compared(runs, "base", "again")
    assert found["input"] == []
    assert found["outcome"] == {"isolated": [], "sun": []}


def test_one_key_and_what_came_of_it(runs: Path) -> None:
    found = compared(runs, "base", "more")
    assert found["input"] == [{"path": "arms.sun.decode.workers", "values": [1, 2]}]
    assert found["outcome"]["isolated"] == []
    summaries = [json.loads((runs / name / "summary.json").read_text())["arms"]["sun"] for name in ("base", "more")]
    assert {"path": "gpus", "values": [3, 4]} in found["outcome"]["sun"]
    tpot = {"path": "mean_tpot_ms", "values": [summary["mean_tpot_ms"] for summary in summaries]}
    assert tpot in found["outcome"]["sun"]
    assert found["sentences"][0].startswith("sun in more carries the same load as sun in base with 4 GPUs instead of 3")
    assert "All figures of isolated are the same." in found["sentences"]


def test_tables_have_a_column_a_folder_and_only_what_differs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = invoke("compare", runs / "base", runs / "more", runs / "base")[1].splitlines()
    assert ["base", "more", "base"] in [line.split() for line in lines]
    assert ["all", "GPUs", "3", "4", "1.33x", "3", "1.00x"] in [line.split() for line in lines]
    assert "isolated" not in lines
    monkeypatch.setenv("COLUMNS", "40")
    stacked = invoke("compare", runs / "base", runs / "more", runs / "base")[1].splitlines()
    assert max(map(len, stacked)) <= 40
    assert sum("TPOT mean ms" in line for line in stacked) > 1


def test_seeds_that_differ_are_said_to_bring_chance(runs: Path) -> None:
    said = compared(runs, "base", "seed")["sentences"]
    assert any("chance" in sentence for sentence in said)
    assert not any("chance" in sentence for sentence in compared(runs, "base", "more")["sentences"])


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("busy", "workload.arrivals.rate_rps"),
        (
            "other",
            "models.popularity.alpha, workload.lengths.kind, workload.lengths.prompt.median_tokens and 7 more places (below)",
        ),
    ],
)
def test_runs_of_other_traffic_are_not_set_against_each_other(runs: Path, name: str, keys: str) -> None:
    first, *said = compared(runs, "base", name)["sentences"]
    assert first == f"The traffic differs ({keys}), so output and latency do not compare."
    assert not any("GPU" in sentence for sentence in said)
    slo = "The SLO differs (slo.ttft_ms), so goodput and attainment do not compare."
    assert (slo in said) == (name == "other")
    assert not any("do not compare" in sentence for sentence in compared(runs, "base", "seed")["sentences"])
    assert len(said) == (name == "other")  # what differs is not said twice
    table = invoke("compare", runs / "base", runs / name)[1].partition(
        "\nOutcome, without ratios, as the traffic differs\n"
    )[2]
    assert "TPOT mean ms" in table
    assert not re.search(r"\d[.]\d\dx", table)


def test_of_other_limits_only_what_hangs_on_them_has_no_ratio(runs: Path) -> None:
    lines = invoke("compare", runs / "base", runs / "strict")[1].splitlines()
    assert "Outcome, goodput and SLO met without ratios, as the SLO differs" in lines
    cells = {line.strip().partition("  ")[0]: line for line in lines if line.startswith("  ")}
    assert cells["all GPUs"].endswith("1.33x")
    assert "x" not in cells["goodput req/s"]


def test_of_other_limits_alone_no_arm_is_set_against_itself(runs: Path) -> None:
    found = compared(runs, "base", "limits")
    assert [each["path"] for each in found["input"]] == ["slo.tpot_ms"]
    assert any(found["outcome"].values())
    assert found["sentences"] == ["The SLO differs (slo.tpot_ms), so goodput and attainment do not compare."]


def test_other_base_models_are_told_of_arms_whose_own_has_changed(runs: Path) -> None:
    def serving(folder: Folder, **models: str) -> Folder:
        return replace(folder, document=folder.document | {"base_models": models})

    one, two = read_folders([runs / "base", runs / "seed"])
    both = serving(one, isolated="small", sun="large"), serving(two, isolated="small", sun="large")
    assert not any("same base model" in said for said in comparison(both)["sentences"])
    found = comparison([both[0], serving(two, isolated="small", sun="other")])["sentences"]
    assert any("same base model: large in sun in base and other in sun in seed;" in said for said in found)


def test_a_wide_table_of_the_input_is_told_in_lines(runs: Path, tmp_path: Path) -> None:
    trace = tmp_path / f"{'requests' * 8}.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,9,9\n1,9,9\n")
    workload = f"workload={{kind: trace, format: csv, path: {trace}}}"
    out = tmp_path / "traced"
    assert invoke("run", runs / "small.yaml", "--out", out, "--quiet", "--set", workload)[0] == 0
    first, second, third = (
        "/".join(path.parts[len(tmp_path.parent.parts) :]) for path in (out, runs / "one", runs / "base")
    )
    told = invoke("compare", out, runs / "one", runs / "base")[1].partition("\nInput\n")[2].partition("\n\n")[0]
    assert f"workload.path: {trace} in {first}; - in {second} and {third}" in told.splitlines()
    assert f"workload.arrivals.kind: - in {first}; poisson in {second} and {third}" in told.splitlines()
    assert "{" not in told
    assert "arms.isolated:" not in told  # which is in the sentences


def test_arms_of_one_folder_only_are_named(runs: Path) -> None:
    found = compared(runs, "base", "one")
    assert found["arms"] == {"isolated": ["base"], "sun": ["base", "one"]}
    assert "Only in base: isolated." in found["sentences"]
    assert "isolated" not in found["outcome"]


def test_folders_of_one_arm_each_are_compared_by_it(runs: Path, tmp_path: Path) -> None:
    for name in ("sun", "moon"):
        arm = f"arms=[{{name: {name}, decode: {{profile: profile.json, policy: shared, workers: 1}}}}]"
        assert invoke("run", runs / "small.yaml", "--out", tmp_path / name, *SMALL, "--set", arm)[0] == 0
    folders = read_folders([tmp_path / "sun", tmp_path / "moon"])
    assert [[*folder.arms] for folder in folders] == [["sun / moon"]] * 2
    code, stdout, _ = invoke("compare", tmp_path / "sun", tmp_path / "moon")
    assert code == 0
    assert "Only in" not in stdout
    assert "differs in the input" not in stdout  # but for the names


def test_a_profile_of_the_same_name_with_another_content_is_input(runs: Path, tmp_path: Path) -> None:
    scenario = write_plan(tmp_path, plan="")
    profile = tmp_path / "profile.json"
    outs = [tmp_path / "before", tmp_path / "after"]
    assert invoke("run", scenario, "--out", outs[0], *SMALL)[0] == 0
    profile.write_text(profile.read_text() + "\n")
    assert invoke("run", scenario, "--out", outs[1], *SMALL)[0] == 0
    found = compared(tmp_path, "before", "after")
    assert [each["path"] for each in found["input"]] == [f"SHA-256 of {profile}"]
    assert found["sentences"][0] == "The outcome is the same."


def test_plans_say_how_many_gpus_each_arm_needs(plans: Path) -> None:
    found = compared(plans, "slow", "fast")
    assert found["input"] == [{"path": "workload.arrivals.rate_rps", "values": [20.0, 100.0]}]
    documents = [json.loads((plans / name / "plan.json").read_text()) for name in ("slow", "fast")]
    needs = [document["arms"]["sun"]["gpus"]["all"] for document in documents]
    assert needs[0] != needs[1]
    assert f"sun needs {needs[0]} GPUs in slow and {needs[1]} GPUs in fast." in found["sentences"]
    (said, *_) = (sentence for sentence in compared(plans, "fast", "flood")["sentences"] if sentence.startswith("sun "))
    assert said.endswith(" GPUs in fast, and has no plan in flood.")
    table = invoke("compare", plans / "slow", plans / "fast")[1]
    assert ["all", "GPUs", *map(str, needs)] in [line.split() for line in table.splitlines()]


def test_plans_without_an_arm_in_common_are_not_said_to_need_as_much(plans: Path) -> None:
    def keeping(folder: Folder, arm: str) -> Folder:
        return replace(folder, document=folder.document | {"arms": {arm: folder.arms[arm]}})

    one, two = read_folders([plans / "slow", plans / "slow"])
    said = "Every arm needs as many GPUs in all of the plans that have it."
    assert said not in comparison([keeping(one, "isolated"), keeping(two, "sun")])["sentences"]
    assert said in comparison([one, keeping(two, "sun")])["sentences"]


def test_what_cannot_be_compared(runs: Path, plans: Path, tmp_path: Path) -> None:
    def refused(*folders: Path) -> str:
        code, stdout, stderr = invoke("compare", *folders)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1)
        return stderr

    assert "must be at least two" in refused(runs / "base")
    assert f"{plans / 'slow'}: holds a plan, must hold a run" in refused(runs / "base", plans / "slow")
    assert "has no manifest.json, so holds no results" in refused(runs / "base", tmp_path)
    assert "is no folder, must be one that sunsim run or plan has left" in refused(runs / "base", tmp_path / "nowhere")


def test_results_without_their_manifest_are_told_from_none(runs: Path, plans: Path, tmp_path: Path) -> None:
    def refused(folder: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_folders([folder, folder])
        return str(caught.value)

    for whole, verb, document in (runs / "base", "run", "summary.json"), (plans / "slow", "plan", "plan.json"):
        folder = tmp_path / verb
        copytree(whole, folder)
        left = f"must be as sunsim {verb} has left it beside {document}: give its command again"
        (folder / "manifest.json").write_text("{")
        assert refused(folder) == f"{folder / 'manifest.json'}: is damaged, {left}"
        (folder / "manifest.json").unlink()
        assert refused(folder) == f"{folder / 'manifest.json'}: is missing, {left}"
    for file in (path for path in folder.iterdir() if path.is_file()):
        file.unlink()
    assert refused(folder).startswith(
        f"{folder}: holds points/ alone, of a plan or a sweep that was not finished: give its"
    )
    (folder / "summary.json").write_text("{}")  # as a sweep has it
    assert refused(folder) == (
        f"{folder}: has no manifest.json, so holds no results, must be one that sunsim run or plan has left"
    )


def other(folder: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A run's folder again, with another summary, as another version might have left it."""
    content = json.loads((folder / "summary.json").read_text())
    change(content)
    with results(out).writing() as place:
        for name in ("requests.parquet", "scenario.resolved.yaml"):
            (place / name).write_bytes((folder / name).read_bytes())
        (place / "summary.json").write_text(json.dumps(content))
    return out


def test_another_outcome_of_the_same_input_is_the_code_s(runs: Path, tmp_path: Path) -> None:
    faster = other(runs / "base", tmp_path / "faster", lambda content: content["arms"]["sun"].update(mean_tpot_ms=1.0))
    stdout = invoke("compare", runs / "base", faster)[1]
    assert "- Nothing in the input differs, so sunsim's own code has changed.\n" in stdout
    newer = other(runs / "base", tmp_path / "newer", lambda content: content.update(sunsim_version="9.9"))
    assert "What differs in the input: sunsim's version." in invoke("compare", runs / "base", newer)[1]


def test_results_of_a_version_without_a_figure_are_refused_in_a_line(runs: Path, tmp_path: Path) -> None:
    older = other(runs / "base", tmp_path / "older", lambda content: content["arms"]["sun"].pop("overloaded"))
    code, stdout, stderr = invoke("compare", runs / "base", older)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("compare: a folder lacks 'overloaded', must be of this version of sunsim")


@pytest.mark.parametrize("name", ["summary.json", "requests.parquet"])
def test_a_damaged_folder_is_refused(runs: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken"
    copytree(runs / "base", broken)
    (broken / name).write_text("{}")
    with pytest.raises(InputError, match=rf"is damaged \({name} changed since it was written\)"):
        read_folders([runs / "base", broken])


def test_of_elastic_pools_their_sizes_must_be_whole_too(runs: Path, tmp_path: Path) -> None:
    elastic = tmp_path / "elastic"
    scaling = "{min: 1, max: 2}, scaling: {kind: utilisation, interval_s: 1, start_s: 1}"
    arm = f"arms=[{{name: sun, decode: {{profile: profile.json, policy: shared, workers: {scaling}}}}}]"
    assert invoke("run", runs / "small.yaml", "--out", elastic, *SMALL, "--set", arm) == (0, "", "")
    assert read_folders([elastic, elastic])
    (elastic / "pools.parquet").unlink()
    with pytest.raises(InputError, match=r"is damaged \(pools.parquet changed since it was written\)"):
        read_folders([elastic, runs / "base"])


@given(JSON)
def test_equal_documents_differ_nowhere(document: Any) -> None:
    assert list(differences([document, json.loads(json.dumps(document))])) == []


@given(JSON, JSON)
def test_every_difference_is_one_and_unequal_documents_have_some(one: Any, other: Any) -> None:
    found = list(differences([one, other]))
    assert all(each.values[0] != each.values[1] for each in found)
    assert bool(found) == (one != other)


def test_entries_of_lists_go_by_their_names() -> None:
    one = {"arms": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]}
    other = {"arms": [{"name": "b", "n": 3}, {"name": "a", "n": 1}]}
    assert [(each.path, each.values) for each in differences([one, other])] == [("arms.b.n", (2, 3))]


def test_blocks_with_no_key_in_common_are_one_place_and_a_missing_one_is_told_key_by_key() -> None:
    one = {"workers": {"m1": 1, "m2": 2}, "scaling": {"kind": "schedule", "start": {"s": 3}}}
    other = {"workers": {"sql": 3}}
    found = list(differences([one, other]))
    assert [(each.path, each.values) for each in found] == [
        ("workers", (one["workers"], other["workers"])),
        ("scaling", (one["scaling"], None)),
    ]
    assert [(each.path, each.values) for each in told(found)[1:]] == [
        ("scaling.kind", ("schedule", None)),
        ("scaling.start.s", (3, None)),
    ]
