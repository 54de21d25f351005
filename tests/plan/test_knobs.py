"""What an elastic pool is sized by: values in steps, from the loosest to the tightest, that its policy may have."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.plan.bench import Bench
from sunsim.plan.knobs import STEP, STEPS, knob_of, resized
from sunsim.plan.search import Found, Reason, Sizes, rise
from sunsim.roles import Stage
from sunsim.scenario import Arm, Scenario
from tests.plan.small import loaded
from tests.plan.test_search import P1, P2, Answer, D, answered, judge

POOL = "{profile: profile.json, policy: shared, workers: {min: 1, max: %d}, scaling: {%s}}"
FIXED = "{profile: profile.json, policy: shared, workers: 1}"


def arm_of(folder: Path, scaling: str, stage: str = "decode", most: int = 8) -> tuple[Scenario, Arm]:
    scenario = loaded(folder, f"arms=[{{name: a, {stage}: {POOL % (most, scaling)}}}]")
    return scenario, scenario.arms[0]


@pytest.mark.parametrize(
    ("scaling", "stage", "key", "said", "bound"),
    [
        ("kind: utilisation, target: 0.5", "decode", "target", 0.5, 1.0),
        ("kind: kv-usage", "decode", "target", 0.8, 1.0),
        ("kind: token-velocity", "prefill", "threshold_s", 1.5, None),
        ("kind: token-velocity, signal: rate", "decode", "target", 1.0, 1.0),
        ("kind: request-rate, rps_per_worker: 40", "prefill", "rps_per_worker", 40, None),
        ("kind: oracle, target: 0.7", "prefill", "target", 0.7, None),
    ],
)
def test_values_go_in_even_steps_as_far_as_the_policy_may_have_them(
    tmp_path: Path, scaling: str, stage: str, key: str, said: float, bound: float | None
) -> None:
    _, arm = arm_of(tmp_path, scaling, stage)
    knob = knob_of(arm.pools()[Stage(stage)])
    assert knob
    assert knob.at(knob.given) == {key: said}
    values = [own[key] for own in knob.values]
    assert values == sorted(values, reverse=True)
    furthest = STEP**STEPS
    assert 30 < furthest < 31
    if bound is None:
        assert values[0] == pytest.approx(said * furthest, rel=0.01)
    else:
        assert values[0] <= bound < values[0] * STEP
    assert values[-1] == pytest.approx(said / furthest, rel=0.01)
    assert all(a / b == pytest.approx(STEP, rel=0.01) for a, b in itertools.pairwise(values))


def test_what_a_policy_has_two_of_is_moved_together(tmp_path: Path) -> None:
    scenario = loaded(
        tmp_path,
        "arms=[{name: a, colocated: {profile: profile.json, policy: isolated, workers: {min: 1, max: 4}, scaling: "
        "{kind: token-velocity, threshold_s: 2, target: 0.5}}}]",
    )
    pool = scenario.arms[0].colocated
    assert pool
    knob = knob_of(pool)
    assert knob
    assert knob.at(knob.given) == {"threshold_s": 2, "target": 0.5}
    assert knob.at(knob.given + 1) == pytest.approx({"threshold_s": 2 / STEP, "target": 0.5 / STEP}, rel=0.01)
    # One worker of each model's own, and one number for all.
    bench = Bench(scenario, scenario.arms[0], [])
    assert list(bench.given.values()) == [knob.given]
    assert bench.problems == {None: bench.roles}


def test_only_elastic_pools_that_no_schedule_sizes_have_something_to_turn(tmp_path: Path) -> None:
    schedule = POOL % (4, "kind: schedule, workers: [[0, 2], [1, 3]]")
    scenario = loaded(tmp_path, f"arms=[{{name: a, prefill: {FIXED}, decode: {schedule}}}]")
    arm = scenario.arms[0]
    assert [knob_of(pool) for pool in arm.pools().values()] == [None, None]
    bench = Bench(scenario, arm, [])
    assert [role.stage for role in bench.roles] == ["prefill"]
    assert bench.sized({bench.roles[0]: 3}).decode == arm.decode


def test_an_arm_is_sized_by_both_and_keeps_its_bounds(tmp_path: Path) -> None:
    elastic = POOL % (8, "kind: kv-usage, start_s: 4")
    scenario = loaded(tmp_path, f"arms=[{{name: a, prefill: {FIXED}, decode: {elastic}}}]")
    arm = scenario.arms[0]
    (prefill,) = (role for role in arm.pools()[Stage.PREFILL].roles)
    made = resized(arm, {prefill: 3}, {Stage.DECODE: {"target": 0.6}})
    again = scenario.with_arms([made]).arms[0]
    for each in (made, again):
        assert each.prefill
        assert each.prefill.workers == 3
        assert each.decode
        assert each.decode.elastic
        assert each.decode.workers == arm.decode.workers  # type: ignore[union-attr]
        scaling: Any = each.decode.block.scaling
        assert (scaling.kind, scaling.target, scaling.start_s) == ("kv-usage", 0.6, 4)
    assert arm.decode
    assert arm.decode.block.scaling.target == 0.8  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("decode", "plan", "said"),
    [
        (
            POOL % (4, "kind: schedule, workers: [[0, 2]]"),
            "{size: decode}",
            "plan.size is decode, but of arms.a a schedule says all sizes: must be none, or the arm left out",
        ),
        (
            POOL % (9, "kind: kv-usage"),
            "{max_decode_gpus: 8}",
            "plan.max_decode_gpus is 8, must be at least 9: arms.a.decode.workers may grow to so many",
        ),
    ],
)
def test_an_elastic_pool_that_cannot_be_sized_is_refused(tmp_path: Path, decode: str, plan: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        loaded(tmp_path, f"arms=[{{name: a, prefill: {FIXED}, decode: {decode}}}]", f"plan={plan}")


needs = st.integers(1, 9)


@given(needs, needs, needs, st.integers(0, 4))
def test_rise_finds_the_least_that_all_are_raised_by(p1: int, p2: int, d: int, more: int) -> None:
    # Apart each needs as much as it says, together all need `more` than that.
    low = {P1: p1, P2: p2, D: d}
    limits = {P1: 9, P2: 9, D: 9}

    def answer(sizes: Sizes) -> Answer:
        return Answer(all(sizes[role] >= min(size + more, limits[role]) for role, size in low.items()))

    found, asked = answered(rise(low, judge, limits), answer)
    assert found == Found({role: min(size + more, 9) for role, size in low.items()}, Reason.FOUND)
    assert len(asked) <= 8


def test_rise_says_when_nothing_passes() -> None:
    found, asked = answered(rise({D: 3}, judge, {D: 5}), lambda _: Answer(passes=False))
    assert found == Found(None, Reason.NO_PASS)
    assert [sizes[D] for sizes in asked][-1] == 5
    assert answered(rise({D: 3}, judge, {D: 5}), lambda _: None)[0] == Found(None, Reason.BUDGET)
