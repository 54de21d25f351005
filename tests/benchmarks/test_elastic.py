"""The day on elastic pools, and the published tests of autoscalers: what is drawn, sought and counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from benchmarks.elastic.cells import Figures, cheapest, served
from benchmarks.elastic.days import DAY, KNOBS, MOST, Day, Knob, Way, schedule
from benchmarks.elastic.llm_d import GROWTH, SHAPES, Shape, scenario_of, simulated
from benchmarks.elastic.tokenscale import (
    COMPARED,
    LENGTHS,
    MIXED,
    Cell,
    at_best,
    document,
    rate_of,
    requests_in,
    traced,
    ways,
)
from sunsim.clock import to_ps
from sunsim.latency.profile import load_named
from sunsim.metrics.rows import Window
from sunsim.scenario import build_requests, load_scenario

PROFILE = "h100-80gb/llama-3.1-8b-bf16"
SMALL = {
    "name": "small",
    "models": {"count": 2},
    "workload": {
        "kind": "synthetic",
        "duration_s": 120,
        "arrivals": {"kind": "poisson", "rate_rps": 2},
        "lengths": {"kind": "fixed", "prompt_tokens": 100, "output_tokens": 20},
    },
    "slo": {"ttft_ms": 1000, "tpot_ms": 30, "worst_window_s": 30},
}


def test_a_day_in_the_file_is_the_one_that_is_varied() -> None:
    written = YAML(typ="safe").load(DAY)
    assert written["workload"]["popularity"] == Day().popularity()
    assert written["models"]["count"] == Day().models


@pytest.mark.parametrize("models", [4, 8])
def test_every_model_is_most_popular_in_turn(models: int) -> None:
    steps = Day(models=models, flip_s=0).popularity()["steps"]
    first = [max(step["weights"], key=step["weights"].__getitem__) for step in steps]
    assert first == [f"m{1 + turn % models}" for turn in range(8)]
    assert {tuple(sorted(step["weights"].values())) for step in steps} == {
        tuple(sorted(round(1 / place, 4) for place in range(1, models + 1)))
    }


def test_in_any_order_the_shares_stay() -> None:
    steps = Day(drawn=True).popularity()["steps"]
    assert {tuple(sorted(step["weights"].values())) for step in steps} == {
        tuple(sorted(round(1 / place, 4) for place in range(1, 9)))
    }
    assert len({tuple(step["weights"].items()) for step in steps}) == 8


@pytest.mark.parametrize("knob", KNOBS.values())
def test_a_knob_goes_from_dear_to_cheap_in_even_notches(knob: Knob) -> None:
    values = knob.values()
    assert values[0] == knob.dearest
    assert knob.cheapest / 1.06 < values[-1] <= knob.cheapest
    assert np.allclose(np.array(values[1:]) / values[:-1], 1.05, rtol=0.01)
    assert all(knob.dearest < begin < knob.cheapest for begin in knob.begin.values())


@given(
    st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1), st.integers(0, size)))
)
def test_the_cheapest_that_keeps_is_found_from_anywhere(drawn: tuple[int, int, int]) -> None:
    size, first, kept = drawn
    asked = []

    def keeps(knob: int) -> bool:
        asked.append(knob)
        return knob < kept

    assert cheapest(range(size), first, keeps) == kept - 1
    assert len(asked) == len(set(asked))


def test_a_fixed_arm_holds_its_gpus_all_the_time() -> None:
    decode = {"profile": PROFILE, "policy": "isolated", "workers": {"m1": 2, "m2": 1}}
    scenario = load_scenario(SMALL | {"arms": [{"name": "fixed", "decode": decode}]})
    requests = build_requests(scenario)
    found = served(scenario, scenario.arms[0], requests, [Window(20, 80), Window(90, 120)])
    inside = int(((requests.arrival_ps >= to_ps(20)) & (requests.arrival_ps <= to_ps(80))).sum())
    inside += int((requests.arrival_ps >= to_ps(90)).sum())
    assert found is not None
    assert found._replace(least="") == Figures(pytest.approx(3 * 90 / 3600), 3, 1.0, 1.0, inside)  # type: ignore[arg-type]


def test_an_elastic_arm_holds_what_its_schedule_says() -> None:
    scaling = {"kind": "schedule", "workers": [[0, 1], [30, 3], [75, 1]], "start_s": 15}
    decode = {"profile": PROFILE, "policy": "shared", "workers": {"min": 1, "max": 4}, "scaling": scaling}
    scenario = load_scenario(SMALL | {"arms": [{"name": "elastic", "decode": decode}]})
    found = served(scenario, scenario.arms[0], build_requests(scenario), [Window(0, 120)])
    assert found
    held_s = 1 * 30 + 3 * 45 + 1 * 45  # and what the two that go need for the requests that they have, under a second
    assert found.gpu_hours == pytest.approx(held_s / 3600, abs=2 / 3600)
    assert found.peak_gpus == 3


def test_a_flood_ends_a_run() -> None:
    workload = SMALL["workload"] | {"arrivals": {"kind": "poisson", "rate_rps": 300}}  # type: ignore[operator]
    decode = {"profile": PROFILE, "policy": "shared", "workers": 1, "max_num_seqs": 1}
    scenario = load_scenario(SMALL | {"workload": workload, "arms": [{"name": "flooded", "decode": decode}]})
    assert served(scenario, scenario.arms[0], build_requests(scenario), [Window(0, 120)]) is None


@pytest.mark.parametrize(("pools", "day"), [("isolated", Day()), ("isolated", Day(models=4)), ("shared", Day())])
def test_a_schedule_has_workers_for_the_rate(pools: str, day: Day) -> None:
    found = schedule(Way(pools, "schedule", day), 1.0)
    parts = list(found.values()) if isinstance(found, dict) else [found]
    noon_s = 14 * 3600
    peak_rps = 12 * 1.8
    at_noon = [[workers for at_s, workers in part if at_s <= noon_s][-1] for part in parts]
    assert peak_rps <= sum(at_noon) < 1.1 * peak_rps + len(parts)
    assert all(1 <= workers <= MOST[pools] for part in parts for _, workers in part)


def test_published_requests_are_those_of_twenty_minutes() -> None:
    for shape in SHAPES.values():
        assert shape.requests == round(1200 * shape.rps)


def test_replicas_grow_as_slowly_as_published() -> None:
    path = load_named(PROFILE).path
    flood = Shape(8192, 2, 6.0, 300)  # 50 s of more than one replica can do, and the next may come after 180 s
    (arm,) = scenario_of(flood, path, 0, 30.0).arms
    assert arm.colocated
    assert arm.colocated.block.scaling
    assert arm.colocated.block.scaling.model_dump().items() >= GROWTH.items()
    assert simulated(flood, path, 0, 30.0).replicas == 2
    assert simulated(flood, path, 0, None).replicas == 1


def test_mixed_is_all_loads_at_equal_rates() -> None:
    mixed, rates = requests_in(Cell(MIXED, "DistServe")), [rate_of(load) for load in LENGTHS]
    assert mixed["arrival_s"].is_monotonic_increasing
    bursts = 1 + (4 - 1) * 15 / 90
    assert len(mixed) / mixed["arrival_s"].iloc[-1] == pytest.approx(bursts * np.mean(rates), rel=0.15)


def test_a_trace_is_compressed_to_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    stamps = pd.date_range("2023-11-16 18:00:00", periods=101, freq="1s").strftime("%Y-%m-%d %H:%M:%S.%f0")
    frame = pd.DataFrame({"TIMESTAMP": stamps, "ContextTokens": 10, "GeneratedTokens": 5})
    frame.to_csv(path, index=False)
    found = traced(path, 10.1)
    assert found["arrival_s"].iloc[-1] == pytest.approx(10.0)


@pytest.fixture
def csv_of_requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.csv"
    pd.DataFrame({"arrival_s": [0.0, 1, 70], "prompt_tokens": 1000, "output_tokens": 200}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", COMPARED)
def test_every_way_can_be_simulated(csv_of_requests: Path, name: str) -> None:
    prefill_rps, decode_rps = at_best(load_scenario(document(csv_of_requests, None)))
    assert 20 < prefill_rps < 60  # about 45,000 prompt tokens a second
    assert decode_rps > 10
    (arm,) = load_scenario(document(csv_of_requests, ways(prefill_rps, decode_rps)[name])).arms
    assert arm.elastic
    assert bool(arm.decode and arm.decode.convertible) == (name == "TokenScale")
