"""Shares of the models against Zipf's closed form; those that change, by the time of arrival, and over a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.scenario import build_requests, load_scenario, resolved
from sunsim.workload.changes import Flips, PopularityStep, PopularitySteps, sooner
from sunsim.workload.requests import Requests
from sunsim.workload.shares import draw_models, draw_models_over, shares_over
from sunsim.workload.streams import stream
from tests.scenario_files import write_scenario

MODELS = ("m1", "m2", "m3")
OWN = (0.5, 0.3, 0.2)
SHARED = ("arms.isolated.prefill=null", "arms.isolated.decode.workers=30", "measure.warmup_s=0")
POPULARITY = "workload.popularity="


def steps(*told: tuple[float, tuple[float, ...]], between: str = "jump") -> PopularitySteps:
    made = [{"at_s": at_s, "weights": dict(zip(MODELS, weights, strict=True))} for at_s, weights in told]
    return PopularitySteps.model_validate({"steps": made, "between": between})


def requests_of(folder: Path, *overrides: str) -> Requests:
    return build_requests(load_scenario(write_scenario(folder), [*SHARED, *overrides]))


@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.0, 3.0])
@pytest.mark.parametrize("count", [2, 4])
def test_zipf_shares(tmp_path: Path, alpha: float, count: int) -> None:
    overrides = [
        f"models.count={count}",
        f"models.popularity.alpha={alpha}",
        "arms.isolated.prefill=null",
    ]
    shares = load_scenario(write_scenario(tmp_path), overrides).model_shares
    ranks = np.arange(1, count + 1)
    assert shares == pytest.approx(ranks**-alpha / (ranks**-alpha).sum())
    drawn = draw_models(shares, (np.arange(100_000) + 0.5) / 100_000)
    assert np.bincount(drawn, minlength=count) / 100_000 == pytest.approx(shares, abs=2e-5)


def test_weights_are_normalised(tmp_path: Path) -> None:
    overrides = [
        "models=[{name: a, weight: 1}, {name: b, weight: 3}]",
        "arms.isolated.prefill=null",
    ]
    scenario = load_scenario(write_scenario(tmp_path), overrides)
    assert scenario.model_names == ("a", "b")
    assert scenario.model_shares == (0.25, 0.75)


def test_shares_move_on_by_one_model_at_each_multiple() -> None:
    shares = shares_over(Flips(every_s=10), MODELS, OWN, 0, 45.0)
    at_s = np.array([0, 9.99, 10, 20, 29, 30, 45])
    expected = [OWN, OWN, (0.2, 0.5, 0.3), (0.3, 0.2, 0.5), (0.3, 0.2, 0.5), OWN, (0.2, 0.5, 0.3)]
    assert shares.at(at_s).tolist() == [list(each) for each in expected]


def test_a_shuffle_is_a_permutation_of_the_stream_called_popularity() -> None:
    short, long = (shares_over(Flips(every_s=10, order="shuffle"), MODELS, OWN, 5, end_s) for end_s in (45.0, 200.0))
    rng = stream(5, "popularity")
    expected = [OWN, *(np.array(OWN)[rng.permutation(3)].tolist() for _ in range(20))]
    assert long.first[:21].tolist() == [list(each) for each in expected]
    assert short.first.tolist() == long.first[: len(short.first)].tolist()
    other = shares_over(Flips(every_s=10, order="shuffle"), MODELS, OWN, 6, 200.0)
    assert other.first.tolist() != long.first.tolist()


def test_steps_hold_until_the_next_one_or_lead_to_it() -> None:
    told = [(10.0, (0.0, 3.0, 1.0)), (30.0, (2.0, 1.0, 1.0))]
    at_s = np.array([0.0, 5.0, 10.0, 15.0, 30.0, 99.0])
    last = [0.5, 0.25, 0.25]
    jump = shares_over(steps(*told), MODELS, OWN, 0, 50.0).at(at_s)
    assert jump.tolist() == [list(OWN), list(OWN), [0, 0.75, 0.25], [0, 0.75, 0.25], last, last]
    linear = shares_over(steps(*told, between="linear"), MODELS, OWN, 0, 99.0).at(at_s)
    between = [[0.25, 0.525, 0.225], [0, 0.75, 0.25], [0.125, 0.625, 0.25]]
    assert linear == pytest.approx(np.array([OWN, *between, last, last]))


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any), min_size=1, max_size=4),
    st.sampled_from(["jump", "linear"]),
    st.lists(st.tuples(st.floats(0, 60), st.floats(0, 1, exclude_max=True)), min_size=1, max_size=60),
)
@settings(deadline=None)
def test_each_request_is_drawn_by_the_shares_at_its_arrival(
    weights: list[list[int]], between: str, arrivals: list[tuple[float, float]]
) -> None:
    changing = steps(*((10.0 * i, (*map(float, each),)) for i, each in enumerate(weights)), between=between)
    arrival_s, uniform = np.array(sorted(arrivals)).T
    shares = shares_over(changing, MODELS, OWN, 0, float(arrival_s[-1]))
    drawn = draw_models_over(shares, arrival_s, uniform)
    one_by_one = [draw_models(shares.at(arrival_s[[i]])[0].tolist(), uniform[[i]])[0] for i in range(arrival_s.size)]
    assert drawn.tolist() == one_by_one
    assert (shares.at(arrival_s)[np.arange(drawn.size), drawn] > 0).all()


def test_no_request_is_for_a_model_without_a_share() -> None:
    # The sum of ten tenths is below 1.
    assert draw_models([0.0, *[0.1] * 10, 0.0], np.array([1 - 2.0**-53])).tolist() == [10]


@pytest.mark.parametrize("order", ["rotate", "shuffle"])
def test_nothing_but_models_changes(tmp_path: Path, order: str) -> None:
    plain = requests_of(tmp_path)
    flips = requests_of(tmp_path, f"{POPULARITY}{{kind: flips, every_s: 30, order: {order}}}")
    for column in ("arrival_ps", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(plain, column), getattr(flips, column))
    early = plain.arrival_ps < 30 * 10**12
    assert np.array_equal(plain.model[early], flips.model[early])
    # The same draws: a segment's models are the plain ones under another name.
    for begin in (30, 60, 90):
        inside = (plain.arrival_ps >= begin * 10**12) & (plain.arrival_ps < (begin + 30) * 10**12)
        assert len({*zip(plain.model[inside].tolist(), flips.model[inside].tolist(), strict=True)}) == 4
        if order == "rotate":
            assert np.array_equal((plain.model[inside] + begin // 30) % 4, flips.model[inside])


@pytest.mark.parametrize(
    "popularity",
    [
        "{kind: flips, every_s: 50}",
        "{kind: steps, steps: [{at_s: 40, weights: {m1: 0, m2: 1, m3: 1, m4: 2}}]}",
        "{kind: steps, between: linear, steps: [{at_s: 90, weights: {m1: 0, m2: 1, m3: 1, m4: 2}}]}",
    ],
)
def test_the_expected_share_is_that_of_many_requests(tmp_path: Path, popularity: str) -> None:
    # Half of the requests come in the first quarter of the run.
    overrides = [
        *SHARED,
        "models.popularity.alpha=1",
        f"{POPULARITY}{popularity}",
        "workload.arrivals={kind: poisson, rate_rps: 2000, curve: {kind: steps, rates: [[0, 3], [30, 1]]}}",
    ]
    scenario = load_scenario(write_scenario(tmp_path), overrides)
    requests = build_requests(scenario)
    counts = np.bincount(requests.model, minlength=4) / len(requests)
    assert scenario.model_shares == pytest.approx(counts, abs=4 * (0.25 / len(requests)) ** 0.5)
    assert sum(scenario.model_shares) == pytest.approx(1, rel=1e-12)


def test_the_expected_share_of_a_shuffle_is_equal_after_the_beginning(tmp_path: Path) -> None:
    overrides = [*SHARED, f"{POPULARITY}{{kind: flips, every_s: 30, order: shuffle}}"]
    scenario = load_scenario(write_scenario(tmp_path), overrides)
    own = np.array(scenario.document.own_shares)
    assert scenario.model_shares == pytest.approx(0.25 * own + 0.75 * 0.25)
    assert load_scenario(write_scenario(tmp_path), overrides, seed=99).model_shares == scenario.model_shares


def test_workers_are_spread_by_the_expected_share(tmp_path: Path) -> None:
    flips = [*SHARED, f"{POPULARITY}{{kind: flips, every_s: 30}}"]
    scenario = load_scenario(write_scenario(tmp_path), [*flips, "arms.isolated.decode.workers=40"])
    decode = scenario.document.arms[0].decode
    assert decode
    assert decode.workers == {"m1": 10, "m2": 10, "m3": 10, "m4": 10}
    again = tmp_path / "resolved.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario


def test_a_session_is_drawn_by_the_shares_at_its_beginning(tmp_path: Path) -> None:
    workload = (
        "workload={kind: sessions, duration_s: 100, rounds: {mean: 3, max: 3}, think_s: {mean: 60}, "
        "user: {kind: fixed, tokens: 9}, output: {kind: fixed, tokens: 9}, arrivals: {kind: constant, rate_rps: 1}, "
        "popularity: {kind: steps, steps: [{at_s: 50, weights: {m1: 0, m2: 0, m3: 0, m4: 1}}]}}"
    )
    requests = requests_of(tmp_path, workload, "models.popularity.alpha=0")
    assert requests.sessions
    begun = np.arange(100).repeat(3)
    assert (requests.model[begun >= 50] == 3).all()
    assert set(requests.model[begun < 50].tolist()) == {0, 1, 2, 3}


TRACE = "arrival_s,prompt_tokens,output_tokens\n0,9,9\n1,9,9\n10,9,9\n30,9,9\n"
TRACED = "workload={kind: trace, format: csv, path: trace.csv, popularity: {kind: flips, every_s: 10}}"
EQUAL = "models.popularity.alpha=0"


def test_a_trace_is_drawn_by_the_time_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text(TRACE)
    overrides = [*SHARED, "models={count: 2, popularity: {kind: zipf, alpha: 20}}", TRACED]
    scenario = load_scenario(write_scenario(tmp_path), overrides)
    assert build_requests(scenario).model.tolist() == [0, 0, 1, 1]
    assert scenario.model_shares == pytest.approx([0.5, 0.5], abs=1e-6)
    faster = load_scenario(write_scenario(tmp_path), [*overrides, "workload.rate_scale=2"])
    assert build_requests(faster).model.tolist() == [0, 0, 0, 1]
    assert faster.model_shares == pytest.approx([0.75, 0.25], abs=1e-6)


def test_a_trace_that_names_models_has_no_popularity(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    (tmp_path / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens,model\n0,9,9,m1\n")
    for models in ("null", "{m1: m2}"):
        with pytest.raises(
            InputError, match=r"popularity is given, must be left out, or workload\.models must be popul"
        ):
            load_scenario(path, [*SHARED, TRACED, f"workload.models={models}"])
    assert load_scenario(path, [*SHARED, TRACED, "workload.models=popularity"]).trace


def test_changes_come_sooner_at_a_higher_rate() -> None:
    assert sooner(Flips(every_s=10), 4) == Flips(every_s=2.5)
    assert sooner(steps((0, OWN), (8, OWN)), 4) == steps((0, OWN), (2, OWN))
    assert hash(PopularityStep(at_s=1, weights={"m1": 1})) == hash(PopularityStep(at_s=1, weights={"m1": 2}))


ALL = "m1: 1, m2: 1, m3: 1, m4: 1"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([f"{POPULARITY}{{}}"], "workload.popularity.kind is missing, must be one of flips, steps"),
        ([f"{POPULARITY}{{kind: zipf}}"], "workload.popularity.kind is 'zipf', must be one of flips, steps"),
        ([f"{POPULARITY}{{kind: flips}}"], "workload.popularity.every_s is missing, must be given"),
        ([f"{POPULARITY}{{kind: flips, every_s: 0}}"], "workload.popularity.every_s is 0, must be above 0"),
        (
            [f"{POPULARITY}{{kind: flips, every_s: 1e-4}}"],
            "workload.popularity.every_s is 0.0001, must be at least 0.00048 for 4 models",
        ),
        (
            [f"{POPULARITY}{{kind: flips, every_s: 9, order: random}}"],
            "workload.popularity.order is 'random', must be one of rotate, shuffle",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: []}}"],
            "workload.popularity.steps is an empty list, must be a list with",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: [{{at_s: 5, weights: {{m1: 1}}}}]}}"],
            "workload.popularity.steps.0.weights lacks m2, m3, m4, must name every model of the scenario",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: [{{at_s: 5, weights: {{{ALL}, m5: 1}}}}]}}"],
            "workload.popularity.steps.0.weights.m5 is no model of the scenario, must be one of m1, m2, m3, m4",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: [{{at_s: 5, weights: {{m1: -1, m2: 1, m3: 1, m4: 1}}}}]}}"],
            "workload.popularity.steps.0.weights.m1 is -1, must be at least 0",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: [{{at_s: 5, weights: {{m1: 0, m2: 0, m3: 0, m4: 0}}}}]}}"],
            "workload.popularity.steps.0.weights are all 0, must have one above 0",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: [{{at_s: 5, weights: {{{ALL}}}}}, {{at_s: 5, weights: {{{ALL}}}}}]}}"],
            "workload.popularity.steps: steps are at 5 s after 5 s, must rise",
        ),
        (
            [f"{POPULARITY}{{kind: steps, steps: [{{at_s: 0, weights: {{{ALL}}}}}]}}"],
            "workload.popularity.steps begin at 0, must begin later, or models must have equal shares of their own",
        ),
        (
            [
                (
                    "workload={kind: synthetic, requests: 9, arrivals: {kind: closed, concurrency: 2}, "
                    "lengths: {kind: azure-conv}, popularity: {kind: flips, every_s: 9}}"
                )
            ],
            "workload.popularity is given, must be left out: when requests of a closed loop come is for the run to say",
        ),
    ],
)
def test_a_wrong_popularity_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(write_scenario(tmp_path), [*SHARED, *overrides])
    assert caught.value.message.startswith(message)


def test_steps_may_begin_at_0_where_models_have_equal_shares(tmp_path: Path) -> None:
    told = f"{POPULARITY}{{kind: steps, steps: [{{at_s: 0, weights: {{m1: 3, m2: 1, m3: 0, m4: 0}}}}]}}"
    scenario = load_scenario(write_scenario(tmp_path), [*SHARED, EQUAL, told])
    assert scenario.model_shares == (0.75, 0.25, 0.0, 0.0)
    assert set(build_requests(scenario).model.tolist()) == {0, 1}
