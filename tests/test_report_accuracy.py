"""What runs, sweeps, plans and claims say of accuracy; and that they say nothing of it where no arm names a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sunsim
from sunsim.accuracy.measured import AccuracyFile, load_accuracy
from sunsim.compare.folders import read_folders
from sunsim.compare.report import comparison
from sunsim.figures.claims_accuracy import accuracy_findings, accuracy_section, entry
from sunsim.report.blocks import Report
from sunsim.report.markdown import to_markdown
from sunsim.report.summary import summary_report
from sunsim.sweep.report import sweep_report
from tests.accuracy_files import SHARES, TASKS, accuracy_document, write_accuracy
from tests.sweep.small import SCENARIO, write_sweep

MEASURED = "made-up-30m (30.2 million parameters) on the mean of 2 tasks (sums, calls), 3 seeds, measured on Test GPU (2026-11-29)"


def named(folder: Path, *arms: str) -> Path:
    """The small scenario, in which these arms name an accuracy file, and a sweep of it over two rates."""
    write_accuracy(folder / "accuracy.json")
    text = SCENARIO
    for arm in arms:
        text = text.replace(f"name: {arm},", f"name: {arm}, accuracy: accuracy.json,")
    return write_sweep(folder, "sweep: {over: {workload.arrivals.rate_rps: [10, 20]}}\n", text)


def test_a_run_has_a_column_beside_its_gpus_and_says_what_it_was_measured_on(tmp_path: Path) -> None:
    result = sunsim.simulate(sunsim.load(named(tmp_path, "sun")))
    report = summary_report(result.summary)
    text = to_markdown(report)
    header, _, isolated, sun = [line.split("|") for line in text.splitlines() if line.startswith("|")][:4]
    column = [" ".join(cell.replace("<br>", " ").split()) for cell in header].index("exact match %")
    assert "GPUs" in header[column - 1]
    assert isolated[column].strip() == "not known"
    # Both tasks are 89 %, from 86 to 93; deviations of two tasks are smaller by the root of two.
    assert sun[column].strip() == "89.0 (86.9 to 91.8)"
    assert f"Exact match, with its 95 % interval, is of {MEASURED}, not your models: prefill-only (sun)." in text
    assert "Accuracy is not known here of isolated." in text
    assert "does not compare" not in text


def test_arms_of_different_tasks_are_said_not_to_compare(tmp_path: Path) -> None:
    file = named(tmp_path, "sun", "isolated")
    overrides = ("arms.sun.accuracy={file: accuracy.json, tasks: [sums]}",)
    text = to_markdown(summary_report(sunsim.simulate(sunsim.load(file, overrides=overrides)).summary))
    assert text.count("Exact match, with its 95 % interval, is of made-up-30m") == 2
    assert text.count("What was measured of different models or tasks does not compare.") == 1
    assert "not known" not in text


def test_a_summary_has_what_was_measured(tmp_path: Path) -> None:
    result = sunsim.simulate(sunsim.load(named(tmp_path, "sun")))
    path = str(tmp_path / "accuracy.json")
    assert result.summary["arms"]["isolated"]["accuracy"] is None
    found = result.summary["arms"]["sun"]["accuracy"]
    assert found == {
        "method": "prefill-only",
        "file": path,
        "exact_match": 0.89,
        "low": pytest.approx(0.89 - 0.03 / 2**0.5),
        "high": pytest.approx(0.89 + 0.04 / 2**0.5),
        "requests": 60_000,
        "seeds": 3,
        "tasks": ["sums", "calls"],
    }
    assert result.summary["accuracy"] == {
        path: {
            "sha256": load_accuracy(tmp_path / "accuracy.json").sha256,
            "model": "made-up-30m",
            "parameters": 30_200_000,
            "seeds": 3,
            "card": "Test GPU",
            "measured": "2026-11-29",
        }
    }
    assert result.table()["exact match"].to_dict() == {
        "isolated": pytest.approx(float("nan"), nan_ok=True),
        "sun": 0.89,
    }
    result.save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == result.summary
    assert comparison(read_folders([tmp_path / "out", tmp_path / "out"]))


@pytest.mark.parametrize(("seeds", "said"), [(1, "89.0, one seed"), (2, "89.0, two seeds")])
def test_few_seeds_have_no_interval(tmp_path: Path, seeds: int, said: str) -> None:
    file = named(tmp_path, "sun")
    document = accuracy_document()
    rows = [
        row | {"exact_match_by_seed": {str(i): row["exact_match"] for i in range(seeds)}} for row in document["rows"]
    ]
    write_accuracy(tmp_path / "accuracy.json", rows=rows, seeds=seeds)
    result = sunsim.simulate(sunsim.load(file))
    text = to_markdown(summary_report(result.summary))
    assert f"| {said} |" in text
    assert "95 % interval, is of" not in text
    assert "Exact match is of made-up-30m" in text
    assert "Fewer than 3 seeds do not tell one method from another." in text
    assert result.summary["arms"]["sun"]["accuracy"]["seeds"] == seeds


def test_nothing_else_changes(tmp_path: Path) -> None:
    plain = sunsim.simulate(sunsim.load(named(tmp_path)))
    assert "accuracy" not in plain.summary
    assert all("accuracy" not in arm for arm in plain.summary["arms"].values())
    assert "ccuracy" not in to_markdown(summary_report(plain.summary))
    assert "accuracy" not in plain.scenario
    told = sunsim.simulate(sunsim.load(named(tmp_path, "sun", "isolated")))
    assert told.requests.equals(plain.requests)
    for arm, entries in plain.summary["arms"].items():
        assert {key: value for key, value in told.summary["arms"][arm].items() if key != "accuracy"} == entries


def test_a_sweep_has_the_column_in_every_combination(tmp_path: Path) -> None:
    found = sunsim.sweep(named(tmp_path, "sun"), jobs=1)
    text = to_markdown(sweep_report(found.grid, found.estimates, len(found.rows)))
    assert text.count("| 89.0 (86.9 to 91.8) |") == text.count("| not known |") == 2
    assert text.count(f"is of {MEASURED}, not your models: prefill-only (sun).") == 1
    for combination in found.summary["combinations"]:
        assert combination["arms"]["isolated"]["accuracy"] is None
        assert combination["arms"]["sun"]["accuracy"]["exact_match"] == 0.89
    assert str(tmp_path / "accuracy.json") in found.files
    shown = found.table().groupby("arm")["exact_match"]
    assert shown.count().to_dict() == {"isolated": 0, "sun": 2}
    assert shown.mean()["sun"] == pytest.approx(0.89)


def test_a_sweep_without_says_nothing(tmp_path: Path) -> None:
    found = sunsim.sweep(named(tmp_path), jobs=1)
    assert "ccuracy" not in to_markdown(sweep_report(found.grid, found.estimates, len(found.rows)))
    assert all("accuracy" not in arm for each in found.summary["combinations"] for arm in each["arms"].values())
    assert "exact_match" not in found.table()


def test_a_sweep_over_tasks_shows_each(tmp_path: Path) -> None:
    sweep = "sweep: {over: {arms.sun.accuracy.tasks: [[sums], [calls]]}}\n"
    file = named(tmp_path, "sun")
    half = {"exact_match": 0.5, "low": 0.5, "high": 0.5}
    rows = [row | (half if row["task"] == "calls" else {}) for row in accuracy_document()["rows"]]
    write_accuracy(tmp_path / "accuracy.json", rows=rows)
    text = file.read_text().replace("accuracy: accuracy.json", "accuracy: {file: accuracy.json}")
    file.write_text(text[: text.index("sweep:")] + sweep)
    found = sunsim.sweep(file, jobs=1)
    said = to_markdown(sweep_report(found.grid, found.estimates, len(found.rows)))
    assert "| 89.0 (86.0 to 93.0) |" in said
    assert "| 50.0 (50.0 to 50.0) |" in said
    assert said.count("Accuracy is not known here of isolated.") == 1


def files(folder: Path, shares: dict[str, float]) -> list[AccuracyFile]:
    path = folder / "shares.json"
    path.write_text(json.dumps(accuracy_document(shares)))
    return [load_accuracy(path)]


def test_claims_as_claimed(tmp_path: Path) -> None:
    given = files(tmp_path, dict(SHARES))
    sun, qsun, mixed = accuracy_findings(given)
    assert (sun.verdict, qsun.verdict, mixed.verdict) == ("supported",) * 3
    assert sun.lost
    assert sun.lost.mean == pytest.approx(1)
    assert set(sun.by_task) == set(TASKS)
    assert entry(mixed)["points_lost"] == {"mean": 70.0, "half_width_95": pytest.approx(0.4, abs=0.1)}
    text = to_markdown(Report("", [accuracy_section(accuracy_findings(given), given)]))
    assert "| SUN: accuracy comparable to full fine-tuning | made-up-30m | +1.0 (+0.7 to +1.3) | supported |" in text
    assert f"{MEASURED}." in text
    assert "| LoRA is comparable to full tuning | not supported |" in text


def test_claims_that_are_wrong(tmp_path: Path) -> None:
    sun, qsun, mixed = accuracy_findings(
        files(tmp_path, dict(SHARES) | {"prefill-only": 0.5, "full-prefill-base-decode": 0.9})
    )
    assert (sun.verdict, qsun.verdict, mixed.verdict) == ("not supported", "supported", "not supported")


def test_claims_on_tasks_without_a_seed_in_common_are_not_decided(tmp_path: Path) -> None:
    document = accuracy_document(SHARES)
    for row in document["rows"]:
        if row["task"] == TASKS[1]:
            row["exact_match_by_seed"] = {f"other {seed}": share for seed, share in row["exact_match_by_seed"].items()}
    path = tmp_path / "shares.json"
    path.write_text(json.dumps(document))
    for each in accuracy_findings([load_accuracy(path)]):
        assert each.verdict == "not decided"
        assert str(each.lost) == "no seed in common"
        assert entry(each)["points_lost"] is None


def test_claims_without_a_file_or_without_their_rows_are_not_measured(tmp_path: Path) -> None:
    assert [each.verdict for each in accuracy_findings([])] == ["not measured"] * 3
    text = to_markdown(Report("", [accuracy_section(accuracy_findings([]), [])]))
    assert text.count("| no accuracy file is shipped | - | not measured |") == 3
    shares = {method: share for method, share in SHARES.items() if method != "prefill-only-int4-tuned"}
    given = files(tmp_path, shares)
    sun, qsun, _ = accuracy_findings(given)
    assert (sun.verdict, qsun.verdict) == ("supported", "not measured")
    assert entry(qsun)["points_lost"] is None
    assert "LoRA" not in to_markdown(Report("", [accuracy_section(accuracy_findings(given), given)]))
