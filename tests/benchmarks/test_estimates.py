"""How far off estimates are: counted right, kept current, and no smaller for several changes than what was seen."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.estimate_errors import Errors, Pair, by_kind
from benchmarks.estimates import measured_pairs
from docs.blocks import PLACES, block
from docs.refresh import PARTS
from sunsim.estimate.errors import errors_of, kept
from tests.estimate.models import source


@cache
def pairs() -> list[Pair]:
    return measured_pairs()


def test_errors_are_counted_by_range() -> None:
    errors = Errors([[0.1, -0.1], [-0.2]])
    assert errors.mean == pytest.approx(-0.1)
    assert errors.size == pytest.approx(0.15)
    assert errors.worst == -0.2
    # What took 100 ms was said to take 80.
    assert errors.slower == pytest.approx(0.25)
    assert Errors([[0.1], [0.3]]).slower == 0


def test_every_measured_profile_of_a_base_model_is_estimated_from_every_other() -> None:
    names = {pair.target for pair in pairs()}
    assert len(pairs()) == len(names) * (len(names) - 1)
    assert {"card", "model", "variant"} == {pair.changed[0] for pair in pairs() if len(pair.changed) == 1}


def test_the_kept_errors_are_current() -> None:
    assert kept() == by_kind(pairs()), "run python -m benchmarks.estimates --write"


def test_the_page_is_current() -> None:
    shown = block(PLACES["estimates"].read_text(encoding="utf-8"), "estimates")
    assert shown == PARTS["estimates"]()["estimates"], "run python -m docs.refresh estimates"


def test_errors_of_several_changes_add_up_to_no_less_than_was_seen() -> None:
    """In the mean over the pairs that change the same; so an estimate tells no less than what it may well be off by."""
    seen: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for pair in pairs():
        told = errors_of(source(pair.source), source(pair.target).worker)["decode"]["typical_percent"]
        seen.setdefault(pair.changed, []).append((told, 100 * pair.decode.size))
    for changed, both in seen.items():
        told, found = (sum(each) / len(both) for each in zip(*both, strict=True))
        assert told >= found - 0.1, changed
