"""Who gets the last points of a budget hangs on nothing but the searches."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sunsim.plan import lab as lab_module
from sunsim.plan.lab import Lab
from sunsim.plan.search import Search
from sunsim.points.local import run_local
from sunsim.points.outcome import Outcome
from sunsim.scenario.blocks import Budget
from tests.plan.small import PLAN, invoke, write_plan

Order = Callable[[int], int]


@dataclass(frozen=True)
class Question:
    """A probe as the lab sees it; its row holds its name."""

    key: str


class Kept:
    """A store with some points from before."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def rows(self, question: Question) -> list[dict[str, Any]]:
        return [{"name": question.key}] if question.key in self.names else []

    def keep(self, question: Question, rows: object) -> None:
        pass


def asking(name: str, rounds: int, at_once: int) -> Search[list[str]]:
    """Asks round after round until it gets no answer; the answers that it got."""
    got: list[str] = []
    for i in range(rounds):
        answers = yield [Question(f"{name}{i}.{j}") for j in range(at_once)]
        got += [answer["name"] for answer in answers if answer]
        if None in answers:
            break
    return got


ORDERS: dict[str, Order] = {
    "first come": lambda _: 0,
    "last come": lambda n: n - 1,
    "middle": lambda n: n // 2,
}


def conducted(
    monkeypatch: pytest.MonkeyPatch, order: Order, points: int | None, kept: list[str]
) -> tuple[dict[str, Any], int]:
    """What three searches find, and how many points they asked for."""

    def local(waiting: deque[Any], *_: object) -> Iterator[tuple[Any, Outcome]]:
        running: list[Any] = []
        while waiting or running:
            while waiting:
                running.append(waiting.popleft())
            question = running.pop(order(len(running)))
            yield question, Outcome([{"name": question.key}], None)

    monkeypatch.setattr(lab_module, "run_local", local)
    lab = Lab(Kept(kept), 2, Budget(points=points))  # type: ignore[arg-type]
    searches = {"a": asking("a", 9, 1), "b": asking("b", 2, 3), "c": asking("c", 5, 2)}
    found = lab.conduct(searches, show_progress=False)
    return found, lab.asked


@pytest.mark.parametrize("points", [1, 4, 7, 13, 20, 24])
@pytest.mark.parametrize(
    "kept", [[], ["a0.0", "a1.0", "a2.0", "c0.0"], [f"c{i}.{j}" for i in range(5) for j in (0, 1)]]
)
def test_a_budget_of_points_is_spent_alike_whatever_comes_first(
    monkeypatch: pytest.MonkeyPatch, points: int, kept: list[str]
) -> None:
    expected = conducted(monkeypatch, ORDERS["first come"], points, [])
    assert expected[1] == points
    for order in ORDERS.values():
        assert conducted(monkeypatch, order, points, kept) == expected


@pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
def test_every_search_ends_where_there_is_no_budget(monkeypatch: pytest.MonkeyPatch, order: Order) -> None:
    found, asked = conducted(monkeypatch, order, None, ["b0.1"])
    assert {name: len(got) for name, got in found.items()} == {"a": 9, "b": 6, "c": 10}
    assert asked == 25


def test_lines_say_how_far_it_is_where_nobody_can_see_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_plan(tmp_path, "plan: {seeds: 1, size: none, sensitivity: false}\n")
    monkeypatch.setattr("sunsim.points.progress.LINE_S", 0.0)
    stderr = invoke("plan", file, "--out", tmp_path / "out")[2]
    asked = json.loads((tmp_path / "out" / "plan.json").read_text())["simulations"]
    lines = [re.fullmatch(r"(\d+) of (\d+) points; ([0-2]) of 2 arms planned", line) for line in stderr.splitlines()]
    said = [tuple(map(int, line.groups())) for line in lines if line]
    assert [ended for ended, _, _ in said] == list(range(1, asked + 1))
    assert all(ended <= known <= asked for ended, known, _ in said)
    assert said[-1] == (asked, asked, 2)
    assert invoke("plan", file, "--out", tmp_path / "quiet", "--quiet")[1:] == ("", "")


def test_the_plan_is_the_same_in_this_process_and_in_two_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_plan(tmp_path, PLAN.replace("seeds: 2", "seeds: 2, budget: {points: 31}"))
    invoke("plan", file, "--out", tmp_path / "here", "--quiet")
    monkeypatch.setattr(lab_module, "run_local", run_local)
    invoke("plan", file, "--out", tmp_path / "there", "--jobs", 2, "--quiet")
    here, there = ((tmp_path / out / "plan.json").read_bytes() for out in ("here", "there"))
    assert here == there
