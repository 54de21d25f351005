"""What later rounds cost by closed form is what a simulation of a few sessions says."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.sessions.history import blocks_left, new_tokens, setting
from sunsim.cluster.simulation import simulate_arm
from sunsim.latency.steps import Chunk
from sunsim.scenario import Arm, Scenario, build_requests
from sunsim.workload.blocks import Constant, Conversations

ROUNDS, ANSWER = 3, 50
ARMS = ("remote-rebuild", "remote-keep", "local-rebuild", "local-keep")


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """Nine sessions a minute apart, so that none meets another."""
    found = setting(ROUNDS, ANSWER)
    assert isinstance(found.workload, Conversations)
    apart = {"arrivals": Constant(rate_rps=1 / 60), "duration_s": 540.0}
    return found.changed(workload=found.workload.model_copy(update=apart))


def arm_of(scenario: Scenario, name: str) -> Arm:
    return next(arm for arm in scenario.arms if arm.name == name)


def last_session(scenario: Scenario, arm: Arm) -> pd.DataFrame:
    """By round; its model's system prompt has been on both of its workers before."""
    rows = simulate_arm(scenario, arm, build_requests(scenario)).rows
    last: pd.DataFrame = rows[rows["session"] == rows["session"].max()]
    return last


def test_answers_are_computed_again_or_kept_and_moved_the_other_way(scenario: Scenario) -> None:
    rebuilt, kept = (new_tokens(scenario, arm_of(scenario, f"remote-{way}"), ROUNDS) for way in ("rebuild", "keep"))
    # Prompts of 700, 950 and 1,200 tokens; full blocks of what was there before: 496, 688 and 944, with answers 736 and 992.
    assert rebuilt.chunks == [Chunk(204, 496), Chunk(262, 688), Chunk(256, 944)]
    assert kept.chunks == [Chunk(204, 496), Chunk(214, 736), Chunk(208, 992)]
    assert rebuilt.moved.tolist() == kept.moved.tolist() == [204, 262, 256]


@pytest.mark.parametrize("name", ARMS)
def test_closed_forms_are_what_is_simulated(name: str, scenario: Scenario) -> None:
    arm = arm_of(scenario, name)
    new, rows = new_tokens(scenario, arm, ROUNDS), last_session(scenario, arm)
    assert rows["moved_tokens"].tolist() == new.moved.tolist()
    assert (rows["appended"] == "local").tolist() == new.local
    # What is pulled from a decode worker to prefill is not in prefill's cache.
    found = new_tokens(scenario, arm_of(scenario, name.replace("remote-keep", "remote-rebuild")), ROUNDS).chunks
    assert rows["cached_tokens"].tolist() == [chunk.before for chunk in found]
    prefilled = rows[rows["appended"] == "remote"]
    took_ms = 1000 * (prefilled["prefill_end_s"] - prefilled["prefill_start_s"]).sum()
    assert took_ms == pytest.approx(new.ms(arm, local=False), rel=0.05)


@pytest.mark.parametrize("way", ["rebuild", "keep"])
def test_prefill_modules_take_room_from_kv(way: str, scenario: Scenario) -> None:
    decode = arm_of(scenario, f"local-{way}").decode
    assert decode
    assert decode.num_gpu_blocks == blocks_left(decode.profile, 2) < decode.profile.num_gpu_blocks
