"""What the table of an experiment is said to show."""

import math
from typing import Any

import pytest

from sunsim.accuracy.verdict import CLAIMS, Shares, loss_of, table, verdict

SUN, FULL_PREFILL = CLAIMS[0], CLAIMS[-1]


def document(**tasks: tuple[list[float], list[float]]) -> dict[str, Any]:
    """An accuracy file: for each task, what full tuning and every other method reached, by seed; the base model none."""
    rows = [
        {
            "method": method,
            "task": task,
            "kind": "writing" if task == "loses" else "understanding",
            "requests": 3000,
            "exact_match_by_seed": dict(
                enumerate([0.0] * len(full) if method == "base" else full if method == "full" else own)
            ),
        }
        for task, (full, own) in tasks.items()
        for method in {"base", "full", *(c.method for c in CLAIMS), *(c.against for c in CLAIMS)}
    ]
    return {"tasks": list(tasks), "rows": rows}


def test_the_interval_over_seeds_is_student_s() -> None:
    loss = loss_of([(Shares({"0": 0.5, "1": 0.6, "2": 0.7}, 10**9), Shares({"0": 0.6, "1": 0.8, "2": 1.0}, 10**9))])
    # Differences of 10, 20 and 30 points: 20 in the mean, a deviation of 10, t of two degrees of freedom.
    assert loss.mean == pytest.approx(20)
    assert loss.half == pytest.approx(4.30265 * 10 / math.sqrt(3))


def test_equal_losses_of_all_seeds_are_no_certainty() -> None:
    shares = Shares({"0": 0.5, "1": 0.5, "2": 0.5}, 96)
    loss = loss_of([(shares, shares)])
    # 50 of 100 with two more of each outcome: a variance of a quarter over 100, of both methods.
    assert loss.mean == 0
    assert loss.half == pytest.approx(100 * 1.959964 * math.sqrt(2 * 0.25 / 100))


def test_only_seeds_that_both_have_are_compared() -> None:
    loss = loss_of([(Shares({"1": 0.5, "2": 0.5}, 200), Shares({"0": 1.0, "1": 0.6, "2": 0.6}, 300))])
    assert loss.mean == pytest.approx(10)


def test_the_requests_of_other_seeds_make_nothing_surer() -> None:
    own = Shares({"0": 0.5, "1": 0.5, "2": 0.5}, 300)
    further = Shares({**own.by_seed, "3": 0.5, "4": 0.9}, 500)
    assert loss_of([(own, further)]) == loss_of([(own, own)])


def test_tasks_without_a_seed_in_common_decide_nothing() -> None:
    found = document(one=([0.9] * 3, [0.9] * 3), two=([0.9] * 3, [0.9] * 3))
    for row in found["rows"][len(found["rows"]) // 2 :]:
        row["exact_match_by_seed"] = {seed + 3: share for seed, share in row["exact_match_by_seed"].items()}
    assert verdict(found, SUN) == "not decided"
    assert table(found).splitlines()[2].endswith("| not decided | no seed in common | no seed in common | none |")


@pytest.mark.parametrize(
    ("full", "own", "said"),
    [
        ([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], "supported"),
        ([0.9, 0.9, 0.9], [0.5, 0.5, 0.5], "not supported"),
        ([0.9, 0.9, 0.9], [0.9, 0.86, 0.82], "not decided"),
        ([0.05, 0.05, 0.05], [0.0, 0.0, 0.0], "not tested"),
    ],
)
def test_verdict_on_one_task(full: list[float], own: list[float], said: str) -> None:
    found = document(one=(full, own))
    assert verdict(found, SUN) == said
    opposite = {"supported": "not supported", "not supported": "supported"}
    assert verdict(found, FULL_PREFILL) == opposite.get(said, said)


def test_tasks_that_disagree_make_it_depend_on_the_task() -> None:
    found = document(keeps=([0.9] * 3, [0.9] * 3), loses=([0.9] * 3, [0.5] * 3))
    assert verdict(found, SUN) == "depends on the task"
    heads, _, line, *_ = table(found).splitlines()
    assert heads == "| claim | verdict | all tasks | understanding | writing | surely more than 3 |"
    assert line.startswith("| SUN: prefill-only tuning is comparable to full tuning | depends on the task | +20.0 (+1")
    assert " | +0.0 (-1." in line
    assert line.count("+40.0 (+37.9 ") == 2
    assert "| loses +40.0 (" in line


def test_the_mean_decides_where_no_task_is_surely_worse() -> None:
    found = document(one=([0.9] * 3, [0.88, 0.84, 0.82]), two=([0.9] * 3, [0.82, 0.84, 0.88]))
    assert verdict(found, SUN) == "not supported"


def test_where_every_task_is_surely_worse_the_table_says_all() -> None:
    assert table(document(one=([0.9] * 3, [0.5] * 3), two=([0.9] * 3, [0.4] * 3))).splitlines()[2].endswith("| all |")


@pytest.mark.parametrize(("seeds", "said"), [(1, "one seed"), (2, "two seeds")])
@pytest.mark.parametrize("own", [0.9, 0.2])
def test_fewer_than_three_seeds_decide_nothing_whatever_they_say(seeds: int, said: str, own: float) -> None:
    found = document(one=([0.9] * seeds, [own] * seeds), two=([0.9] * seeds, [own] * seeds))
    assert verdict(found, SUN) == verdict(found, FULL_PREFILL) == "not decided"
    lost = f"+{100 * (0.9 - own):.1f} ({said})"
    line = table(found).splitlines()[2]
    assert line == f"| {SUN.text} | not decided | {lost} | {lost} | none |"


def test_the_task_with_the_fewest_seeds_counts() -> None:
    found = document(one=([0.9] * 3, [0.2] * 3), two=([0.9] * 2, [0.2] * 2))
    assert verdict(found, SUN) == "not decided"
    # What is said of the task that has three is still said.
    assert "| one +70.0 (" in table(found)
