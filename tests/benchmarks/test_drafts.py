"""What drafts cost and must give: closed forms of steps, of published acceptance, and of where a gain is gone."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.drafts import beside, by_batch, load, published, shared, steps
from benchmarks.drafts.cells import PLAIN, Cell, Figures
from benchmarks.drafts.published import rates_through
from docs.blocks import DOCS, PLACES, block
from plots.drafts import plot_drafts
from sunsim.errors import InputError
from tests.synthetic import write_family


@pytest.fixture
def family(tmp_path: Path) -> str:
    """Steps of ``7 + K + 0.02 B (K + 1) + 4.125e-5 C`` ms with K drafts, and ``7 + 0.02 B + 4e-5 C`` without."""
    return str(write_family(tmp_path, 1, 3, 5))


@pytest.mark.parametrize(("batch", "context", "drafts"), [(1, 1024, 3), (64, 1024, 1), (16, 4096, 5), (33, 1024, 3)])
def test_a_step_costs_what_was_measured(family: str, batch: int, context: int, drafts: int) -> None:
    found = steps.cost(steps.times_of(family, context), batch, context, drafts)
    plain_ms = 7 + 0.02 * batch + 4e-5 * batch * context
    drafts_ms = 7 + drafts + 0.02 * batch * (drafts + 1) + 4.125e-5 * batch * context
    assert [found.plain_ms, found.drafts_ms] == pytest.approx([plain_ms, drafts_ms], rel=2e-3)
    assert found.speedup([0.5] * drafts) == pytest.approx((1 + 0.5 * drafts) * found.plain_ms / found.drafts_ms)


def test_drafts_pay_while_the_length_is_above_the_cost(family: str) -> None:
    """Batches of short contexts: the cost of three drafts rises from 1.44 to 2.37."""
    times = steps.times_of(family, 128)
    found = [steps.cost(times, batch, 128, 3) for batch in (1, 8, 64, 256)]
    assert all(one.cost < other.cost for one, other in pairwise(found))
    for each in found:
        assert each.speedup([each.cost - 1, 0, 0]) == pytest.approx(1)
    assert steps.loss_from(found, [found[2].cost - 0.999, 0, 0]) == 256
    assert steps.loss_from(found, [found[0].cost - 1.01, 0, 0]) == 1
    assert steps.loss_from(found, [1, 1, 1]) is None


def test_without_steps_with_drafts_it_is_said(tmp_path: Path) -> None:
    path = write_family(tmp_path)
    with pytest.raises(InputError, match=r"has no profile with drafts beside it"):
        steps.times_of(str(path), 1024)


def test_the_best_number_of_drafts_falls_with_the_batch(family: str) -> None:
    ranges = steps.best_by_batch(family, 1024, (0.6, 0.3, 0.1, 0.0, 0.0))
    assert (ranges[0][0], ranges[-1][1]) == (1, steps.BATCHES[-1])
    assert all(after[0] == before[1] + 1 and after[2] < before[2] for before, after in pairwise(ranges))
    assert ranges[0][2] > 0


def test_rates_give_the_lengths_that_they_were_made_of() -> None:
    for lengths in ({2: 1.89, 4: 2.08}, {1: 1.8, 2: 2.2}, {7: 2.77}, {3: 2.0}):
        rates = rates_through(lengths, 8)
        for drafts, length in lengths.items():
            assert steps.length(rates, drafts) == pytest.approx(length)
        factors = [after / before for before, after in pairwise(rates)]
        assert factors == pytest.approx([factors[0]] * len(factors))
    assert rates_through({3: 2.0}, 1)[0] == pytest.approx(rates_through({3: 2.0}, 2)[1] ** 0.5)
    with pytest.raises(ValueError, match="must be of a number and its double"):
        rates_through({2: 1.5, 3: 1.6}, 4)


def test_published_speed_ups_of_one_request_come_out_within_a_tenth() -> None:
    """Another card, another vLLM, and acceptance lengths of another pull request: the floor is not known."""
    rates, times = (
        rates_through(published.EAGLE_LENGTHS, 7),
        steps.times_of(published.PROFILE, published.SINGLE_CONTEXT),
    )
    for point in published.SINGLE[2:]:
        found = steps.cost(times, 1, published.SINGLE_CONTEXT, point.drafts).speedup(rates)
        assert found == pytest.approx(point.speedup, rel=0.1), point


def test_at_full_batches_drafts_turn_into_a_loss_where_contexts_are_short() -> None:
    """Gemma's sign: what a drafter of length 2 gives falls with the batch, and rises with the context."""
    for profile in steps.PROFILES.values():
        found = [steps.cost(steps.times_of(profile, context), 256, context, 3) for context in (400, 900, 4096)]
        speedups = [each.speedup([1.0, 0.0, 0.0]) for each in found]
        assert speedups == sorted(speedups)
        assert speedups[0] < 1 < speedups[-1]
        assert speedups[0] < steps.cost(steps.times_of(profile, 400), 1, 400, 3).speedup([1.0, 0.0, 0.0])


def test_where_a_gain_is_gone() -> None:
    points = [(1.0, 2.0), (0.5, 1.5), (0.0, 0.5)]
    assert shared.crossing(points, 1.0) == pytest.approx(0.25)
    assert shared.crossing(points, 1.75) == pytest.approx(0.75)
    assert shared.crossing(points, 0.4) is None
    assert shared.crossing(points, 2.5) is None


def figures(tpot_ms: float, *, overloaded: bool = False) -> Figures:
    return Figures(tpot_ms, 2 * tpot_ms, 500.0, 5.0, 2.0, 8.0, 0.0, overloaded)


def test_gains_are_those_of_the_same_arm_without_drafts() -> None:
    found = {
        Cell(arm, rate): figures((3 if arm in PLAIN else 6) + rate / 40, overloaded=arm == "isolated" and rate > 100)
        for arm in (*PLAIN, *PLAIN.values())
        for rate in load.RATES
    }
    assert load.gain(found, Cell("sun-mtp", 40), Cell("sun", 40)) == 7 / 4
    rows = load.frame(found)
    assert rows["overloaded"].equals((rows["arm"] == "isolated-mtp") & (rows["rate"] > 100))
    assert rows["speedup"].tolist() == [(6 + rate / 40) / (3 + rate / 40) for rate in rows["rate"]]


def test_the_sustained_rate_lies_where_the_limit_is_reached() -> None:
    found = {Cell("sun", rate): figures(2 + rate / 40) for rate in load.RATES}
    assert load.sustained(found, "sun") == pytest.approx(40 * (load.LIMIT_MS / 2 - 2))
    assert load.sustained({cell: figures(1) for cell in found}, "sun") is None


def test_the_law_of_latency_finds_its_own_numbers() -> None:
    """And explains less of what is none."""
    rates = (10, 40, 80, 160)
    found = load.law([(rate, 1.5 / (1 - rate / 200)) for rate in rates])
    assert found == pytest.approx((1.5, 200, 1))
    assert load.law([(rate, 1 + (rate > 100)) for rate in rates]).r2 < 1


def test_every_cell_is_named_once_and_changes_only_its_arm() -> None:
    every = shared.cells()
    assert len(set(every)) == len(every)
    assert {cell.arm for cell in every} == {*PLAIN, *PLAIN.values()}
    assert all(change.startswith(f"arms.{cell.arm}.") for cell in every for change in cell.changes)


def test_equal_data_give_equal_pictures(tmp_path: Path) -> None:
    by_load = pd.DataFrame(
        {"rate": [10, 40] * 2, "arm": ["isolated-mtp"] * 2 + ["sun-mtp"] * 2, "speedup": [2, 1, 2, 1.5]}
    ).assign(overloaded=[False, True, False, False])
    by_batch = pd.DataFrame(
        [
            {"batch": batch, "context": context, "drafts": drafts, "speedup": 2.5 / batch**0.2}
            for batch in (1, 16, 256)
            for context in (400, 4096)
            for drafts in (1, 3)
        ]
    )
    worse = pd.DataFrame({"arm": "sun-mtp", "rate": [10, 10], "share": [1.0, 0.0], "speedup": [2.0, 0.8]})
    for name in ("first.png", "second.png"):
        plot_drafts(by_load, by_batch, worse, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")


def test_ratios_that_the_page_speaks_of_are_those_of_its_tables() -> None:
    page = (DOCS / "speculative.md").read_text(encoding="utf-8")
    tables = "".join(block(page, name) for name, place in PLACES.items() if place.name == "speculative.md")
    prose = re.sub(r"(?s)<!-- begin: .*?<!-- end: ", "", page)
    spoken = set(re.findall(r"\d\.\dx", prose))
    assert len(spoken) > 5
    assert spoken <= {f"{float(ratio):.1f}x" for ratio in re.findall(r"(\d\.\d\d)x", tables)}


def test_the_answer_of_the_page_is_that_of_its_tables() -> None:
    """Speed-ups by load at both acceptances, and the requests that are carried."""
    page = (DOCS / "speculative.md").read_text(encoding="utf-8")
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    (_, _, *loads), *rows = (row[:6] for row in found[:9])
    lines = [line.split() for line in block(page, "drafts-beside").split("By what is accepted")[1].splitlines()]
    by_load = {line[0]: line[1:] for line in lines if len(line) == 9}
    said = [[by_load[load.split()[0]][column] for load in loads] for column in range(8)]
    assert [row[2:] for row in rows] == said
    carried = re.findall(r"^(\w+) +(\d+) +(\d+) +\d\.\d\dx$", block(page, "drafts-load"), re.MULTILINE)
    assert [(row[0].split()[0].lower(), *row[6].split(" → ")) for row in found[1:7:2]] == carried


def test_choosing_by_the_batch_is_never_as_fast_as_simulated() -> None:
    """Measured beside the model: without a graph of the whole step, and without drafts a loss at every batch."""
    rows = by_batch.found()
    assert all(each.measured_ms > each.fixed_ms for each in rows)
    assert all(each.against_none < 1 for each in rows if not each.drafts)
    first = rows[0]
    assert (first.batch, first.drafts) == (1, 3)
    assert first.measured_token_ms == pytest.approx(first.measured_ms / 2.7)


def test_published_acceptance_is_less_than_the_pages() -> None:
    assert beside.PUBLISHED == (0.65, 0.42, 0.28)
    every = beside.cells()
    assert len(set(every)) == len(every) == 3 * len(beside.ALL) * len(beside.LOADS)
    found = {cell: figures(4 if cell.changes else 3 if cell.arm in beside.ALL else 6) for cell in every}
    *_, by_acceptance = (each for each in beside.tables(found) if not isinstance(each, str))
    assert all(row[1:3] == ("2.00x", "1.50x") for row in by_acceptance.rows)
