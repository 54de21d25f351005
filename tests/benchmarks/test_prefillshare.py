"""A closed loop of sessions keeps its clients busy, and what prefill caches hold has a closed form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.sessions.prefillshare import (
    EACH,
    RAMP_S,
    SCENARIO,
    Point,
    closed_loop,
    crossing,
    drawn,
    knee,
)
from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import Scenario, load_scenario
from sunsim.scenario.blocks import StopAtTime
from sunsim.workload.sessions import UNKNOWN

ROUNDS, CLIENTS = 16, 4


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario(SCENARIO)


def test_clients_begin_apart_and_go_through_their_sessions(scenario: Scenario) -> None:
    requests = closed_loop(drawn(scenario, EACH * CLIENTS), CLIENTS)
    sessions = requests.sessions
    assert sessions
    begins = np.flatnonzero(sessions.previous == UNKNOWN)
    assert sessions.round[begins].tolist() == [0, 4, 8, 12]
    assert requests.arrival_ps[begins].tolist() == [to_ps(RAMP_S * part) for part in (0, 0.25, 0.5, 0.75)]
    follower = {int(previous): i for i, previous in enumerate(sessions.previous) if previous != UNKNOWN}
    assert len(follower) == len(requests) - CLIENTS  # each waits for one of its own
    for client, i in enumerate(begins.tolist()):
        ways = [i]
        while ways[-1] in follower:
            ways.append(follower[ways[-1]])
        assert len(ways) == EACH * ROUNDS - 4 * client
        assert {int(sessions.session[way]) % CLIENTS for way in ways} == {client}
        for one, next_ in pairwise(ways):
            assert sessions.round[next_] == (sessions.round[one] + 1) % ROUNDS
            if sessions.round[next_]:
                assert requests.model[next_] == (requests.model[one] + 1) % 4


def test_what_few_sessions_find_is_the_closed_form(scenario: Scenario) -> None:
    stopped = scenario.changed(stop=StopAtTime(limit_s=90.0))
    for arm in stopped.arms[:2]:
        rows = simulate_arm(stopped, arm, closed_loop(drawn(stopped, EACH * CLIENTS), CLIENTS)).rows
        warm = rows[rows["session"] >= CLIENTS]
        assert set(warm["round"]) == set(range(ROUNDS))
        whole = warm.groupby("session").filter(lambda of: len(of) == ROUNDS)
        assert whole["cached_tokens"].sum() / whole["prompt_tokens"].sum() == pytest.approx(knee(stopped, arm).before)


def test_a_shared_module_holds_as_many_more_sessions_as_there_are_models(scenario: Scenario) -> None:
    own, shared, sun, both = (knee(scenario, arm) for arm in scenario.arms)
    assert shared.sessions == pytest.approx(4 * own.sessions)
    # 52,478 blocks of 16 tokens but for 2,000 of the system prompt; 7,850 - 2,000 tokens of a session in the mean.
    assert own.sessions == pytest.approx((52_478 * 16 - 2000) / (8.5 * 600 + 7.5 * 100))
    assert (sun, both) == (own, shared)


def test_a_share_is_crossed_on_a_line() -> None:
    points = [Point(sessions, "a", share, 1, 1, 0) for sessions, share in ((10, 0.9), (20, 0.8), (40, 0.2))]
    assert crossing(points, 0.5) == pytest.approx(30)
    assert crossing(points, 0.1) is None
