"""A closed loop: so many requests at a time, and the next one arrives when one has its last token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import build_requests, load_scenario
from tests.cluster.drawn import PROFILE, Drawn, clusters
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import Host, Hosted, Steps, pool, scenario, serve, write_profile

SHIPPED = Path(__file__).parents[2] / "scenarios" / "closed-loop.yaml"
PS = 1e-12
US = 10**6
SAME = ["request_id", "model", "prompt_tokens", "output_tokens"]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile whose tokens take 2 ms to the client, and 4 ms more for each request that decodes beside."""
    points = [
        {
            "where": where,
            "batch": batch,
            "prompt_tokens": 100,
            "submit_to_queued_ms": {"median": 0.5},
            "queued_to_scheduled_ms": {"median": 0.5},
            "first_token_to_client_ms": {"median": out_ms},
        }
        for where, batch, out_ms in (("idle", 0, 2.0), ("traffic", 10, 42.0))
    ]
    return write_profile(tmp_path_factory.mktemp("fronted"), **PROFILE, first_token_points=points)


def ends_s(rows: pd.DataFrame) -> NDArray[np.float64]:
    return np.sort(rows["last_token_s"].to_numpy())


def assert_closed(rows: pd.DataFrame, concurrency: int) -> None:
    """So many arrive at 0, and each of the others at the very picosecond at which one has ended."""
    arrivals_s = rows["arrival_s"].to_numpy()
    number = len(rows)
    assert (arrivals_s[:concurrency] == 0).all()
    np.testing.assert_array_equal(arrivals_s[concurrency:], ends_s(rows)[: max(0, number - concurrency)])


def test_one_client_and_one_worker_take_turns(tmp_path: Path) -> None:
    world = scenario(["m"], {"decode": pool(write_profile(tmp_path))})
    rows = serve(world, [(0, 0, 8, 3)] * 4, lambda _: Hosted(Steps(10 * US), Host()), concurrency=1).rows
    # Three steps of 10 us each; the front end takes the picosecond that it takes at least.
    whole = 30e-6 + PS
    assert rows["arrival_s"].tolist() == pytest.approx([0, whole, 2 * whole, 3 * whole], rel=0, abs=PS / 10)
    assert rows["last_token_s"].tolist() == pytest.approx([i * whole for i in (1, 2, 3, 4)], rel=0, abs=PS / 10)
    assert_closed(rows, 1)


def test_as_many_clients_as_places_share_every_step(tmp_path: Path) -> None:
    world = scenario(["m"], {"decode": pool(write_profile(tmp_path), max_num_seqs=4)})
    rows = serve(world, [(0, 0, 8, 5)] * 12, lambda _: Hosted(Steps(10 * US), Host()), concurrency=4).rows
    # All four end together, come together a picosecond later, and nothing is in flight then.
    rounds = (rows["last_token_s"] / (50e-6 + PS)).round(9)
    assert rounds.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert_closed(rows, 4)


SCARCE = {"policy": "shared", "workers": 1, "max_num_seqs": 2, "max_num_batched_tokens": 17, "num_gpu_blocks": 19}
TWO_DECISIONS_AT_ONCE = Drawn(
    ["m0"], {"colocated": SCARCE}, {}, [(0, 0, 1, 1), (0, 0, 18, 20), (0, 0, 14, 20), (0, 0, 1, 1), (0, 0, 1, 1)]
)
"""One is preempted, and the other ends with nothing in flight: what is left of the prompt's budget comes in a step of its own."""


@given(drawn=clusters(), concurrency=st.integers(1, 8), delays=st.booleans())
@example(drawn=TWO_DECISIONS_AT_ONCE, concurrency=3, delays=True)
@settings(deadline=None, max_examples=120)
def test_in_any_cluster_one_comes_when_one_ends(
    drawn: Drawn, concurrency: int, delays: bool, profile: Path, fronted: Path
) -> None:
    world = drawn.scenario(fronted if delays else profile)
    leaping = serve(world, drawn.rows, drawn.host.over, concurrency=concurrency)
    stepping = serve(world, drawn.rows, drawn.host.over, StepwiseEngine, concurrency)
    pd.testing.assert_frame_equal(leaping.rows, stepping.rows, check_exact=True)
    assert leaping.workers == stepping.workers
    assert set(leaping.rows["outcome"]) == {"finished"}
    assert list(leaping.rows["request_id"]) == list(range(len(drawn.rows)))
    assert_closed(leaping.rows, concurrency)


@given(drawn=clusters(), concurrency=st.integers(1, 8), share=st.floats(0.01, 1.2))
@settings(deadline=None, max_examples=60)
def test_a_loop_stopped_early_has_only_the_requests_that_came(
    drawn: Drawn, concurrency: int, share: float, profile: Path
) -> None:
    whole = serve(drawn.scenario(profile), drawn.rows, drawn.host.over, concurrency=concurrency).rows
    limit_s = share * float(whole["last_token_s"].max())
    early = drawn.scenario(profile, stop={"when": "time", "limit_s": limit_s})
    rows = serve(early, drawn.rows, drawn.host.over, concurrency=concurrency).rows
    came = whole[whole["arrival_s"] < rows["arrival_s"].max()]
    assert len(came) < len(rows) <= len(whole)
    assert (rows["arrival_s"] < limit_s).all()
    pd.testing.assert_frame_equal(rows[SAME], whole.iloc[: len(rows)][SAME])
    assert (rows["outcome"] == "unfinished").sum() <= concurrency


def test_every_arm_serves_the_same_requests_at_times_of_its_own() -> None:
    world = load_scenario(SHIPPED, ["workload.requests=300"])
    requests = build_requests(world)
    one, other = (simulate_arm(world, arm, requests).rows for arm in world.arms)
    pd.testing.assert_frame_equal(one[SAME], other[SAME])
    assert not one["arrival_s"].equals(other["arrival_s"])
    for rows in (one, other):
        assert_closed(rows, 96)
        # Little's law: the time that requests are there, over the time in which none is missing, is their number.
        full_s = ends_s(rows)[-96]
        there_s = np.minimum(rows["last_token_s"], full_s) - np.minimum(rows["arrival_s"], full_s)
        assert there_s.sum() / full_s == pytest.approx(96, rel=1e-12)


def test_a_last_token_is_at_its_client_no_sooner_than_the_first(fronted: Path) -> None:
    world = scenario(["m"], {"decode": pool(fronted)})
    # The first tokens of four wait for one another on their way out, the second token of one would overtake its first.
    rows = serve(world, [(0, 0, 8, outputs) for outputs in (2, 1, 1, 1, 1)], concurrency=4).rows
    assert rows["last_token_s"][0] == rows["first_token_s"][0]
    assert_closed(rows, 4)
    alone = serve(world, [(0, 0, 8, 2)] * 2, concurrency=1).rows
    assert alone["last_token_s"][0] > alone["first_token_s"][0]
