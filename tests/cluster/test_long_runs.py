"""Runs of months: every request of them finishes as it would on the first day, and none is left behind in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sunsim.clock import MAX_S, PS_PER_S
from sunsim.errors import InputError
from sunsim.scenario import Scenario
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import pool, scenario, serve, write_profile

DAY_PS = 86_400 * PS_PER_S
LAST_PS = int(MAX_S) * PS_PER_S


def split(tmp_path: Path) -> Scenario:
    profile = write_profile(tmp_path)
    return scenario(["a"], {"prefill": pool(profile), "decode": pool(profile)})


@pytest.mark.parametrize("first_ps", [0, 61 * DAY_PS, 99 * DAY_PS])
def test_requests_finish_as_fast_after_months_as_at_once(tmp_path: Path, first_ps: int) -> None:
    world = split(tmp_path)
    rows = [(i * PS_PER_S // 10, 0, 1000, 101) for i in range(5)]
    late = [(0, 0, 1000, 101), *((first_ps + DAY_PS // 2 + at, 0, 1000, 101) for at, *_ in rows)]
    once, months = serve(world, rows).rows, serve(world, late).rows.iloc[1:]
    assert (months["outcome"] == "finished").all()
    for column in ("prefill_end_s", "transfer_end_s", "first_token_s", "last_token_s"):
        # Seconds of 15 digits are no finer than that after months.
        took, taken = ((frame[column] - frame["arrival_s"]).to_numpy() for frame in (months, once))
        np.testing.assert_allclose(took, taken, rtol=0, atol=4e-9)


def test_the_step_by_step_twin_agrees_at_the_end_of_the_longest_run(tmp_path: Path) -> None:
    world = split(tmp_path)
    rows = [(LAST_PS - (4 - i) * PS_PER_S, 0, 1000, 101) for i in range(5)]
    assert serve(world, rows).rows.equals(serve(world, rows, engine=StepwiseEngine).rows)


def test_what_has_not_finished_where_the_clock_ends_is_refused(tmp_path: Path) -> None:
    profile = write_profile(tmp_path)
    # A link so slow that the prompts' KV is on its way for weeks.
    world = scenario(["a"], {"prefill": pool(profile), "decode": pool(profile)}, transfer={"bandwidth_gbit_s": 0.001})
    with pytest.raises(InputError, match=r"^scenario test: arm has not finished after 9\.1584e\+06 s, where the clock"):
        serve(world, [(LAST_PS, 0, 8000, 2)] * 100)
