"""Candidates of the step time are judged as they should be: one that is right has no error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.recorded import Start, Steps, sweeps_of
from benchmarks.step_models import CANDIDATES, Candidate, Measured, left_out, unseen
from sunsim.latency.measured import ProfileData
from tests.synthetic import synthetic_profile

SPREAD = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
SWEEPS = "abcd"


@pytest.fixture(scope="module")
def steps() -> Steps:
    """Four sweeps of a profile, whose times are yet to be set; the attention of each `alone` is told apart."""
    draws = np.random.default_rng(3)
    points = [
        {
            "batch": batch,
            "context_tokens": batch * int(draws.integers(200, 4000)),
            "lengths": "traffic",
            "traffic": sweep,
            "steps": 10,
            "joined": int(draws.integers(0, 9)),
            "join_steps": int(draws.integers(0, 6)),
            "after_join_steps": int(draws.integers(0, 6)),
            "longest_tokens": int(draws.integers(4000, 9000)),
            "context_std_tokens": float(draws.uniform(100, 2000)),
            **dict.fromkeys(SPREAD, 1.0),
        }
        for sweep in SWEEPS
        for batch in draws.integers(1, 257, 40).tolist()
    ]
    lengths = [{"traffic": sweep, "prompt_tokens": [1000], "output_tokens": [100]} for sweep in SWEEPS]
    document = synthetic_profile(served_lengths=lengths)
    document["decode_points"] += points
    found = sweeps_of(ProfileData.model_validate(document))
    said_ms = {
        (start, alone): ms * draws.uniform(1, 1 + alone / 100, ms.size) for (start, alone), ms in found.said_ms.items()
    }
    return replace(found, said_ms=said_ms)


def following(candidate: Candidate, steps: Steps) -> Steps:
    """The steps, taking as long as the candidate's formula says with some numbers."""
    rows = steps.columns[list(candidate.numbers)].to_numpy(np.float64)
    numbers = np.linspace(0.5, 1.0, rows.shape[1]) / np.maximum(rows.max(axis=0), 1e-9)
    alone = candidate.tried[len(candidate.tried) // 2]
    return replace(steps, columns=steps.columns.assign(step_ms=steps.said_ms[candidate.start, alone] + rows @ numbers))


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda each: each.name)
def test_steps_that_follow_a_candidates_formula_leave_it_no_error(candidate: Candidate, steps: Steps) -> None:
    right = following(candidate, steps)
    assert left_out(candidate.sweeps(right), right.traffic) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert unseen(candidate, Measured(right, right)) == pytest.approx(dict.fromkeys(SWEEPS, 0.0), abs=1e-9)


def test_a_sweep_that_takes_longer_is_an_error_of_those_who_have_not_seen_it(steps: Steps) -> None:
    candidate = Candidate("as said", Start.STEADY)
    right = following(candidate, steps)
    longer = np.where(right.traffic == "b", 1.25, 1.0)
    slow = replace(right, columns=right.columns.assign(step_ms=right.columns["step_ms"] * longer))
    assert left_out(candidate.sweeps(slow), slow.traffic) == pytest.approx((0.1, 0.1))  # 20 % of one sweep of four
    assert unseen(candidate, Measured(right, slow)) == pytest.approx({"a": 0.0, "b": -0.2, "c": 0.0, "d": 0.0})
