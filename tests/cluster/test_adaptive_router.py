"""What the routers that ask the latency model expect of each worker, by hand, and whom they pick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from sunsim.cluster.adaptive_router import ADAPTIVE_ROUTERS, AdaptiveRouter, LeastHarm, LeastPredictedTpot
from sunsim.cluster.engine import Engine
from sunsim.cluster.predict import DecodeForecast, predicted_wait_ps, prompt_ps
from sunsim.cluster.promises import Outputs, Promises
from sunsim.cluster.router import Asked, LeastPromisedTokens
from sunsim.cluster.sequence import KV, Sequence
from sunsim.cluster.worker import Worker as SimulatedWorker
from sunsim.workload.predictor import predicted_outputs
from tests.cluster.worlds import Steps, config, given, play, pool, scenario, serve, write_profile

STEPS = Steps(1000, decode=10, context=1, token=7)
ROOMY = DecodeForecast(STEPS, max_num_seqs=100, kv_tokens=100_000, mean_prompt=50, mean_output=20)


@dataclass
class Worker:
    """A load."""

    num_requests: int = 0
    num_tokens: int = 0
    promised_tokens: int = 0


def asked(prompt_tokens: int, output_tokens: int) -> Asked:
    return Asked(0, lambda _: 0, prompt_tokens, output_tokens)


def tpot(worker: Worker, request: Asked, forecast: DecodeForecast = ROOMY) -> float:
    return LeastPredictedTpot(forecast).cost_ps(worker, request)


def harm(worker: Worker, request: Asked, forecast: DecodeForecast = ROOMY) -> float:
    return LeastHarm(forecast).cost_ps(worker, request)


def test_alone_a_request_takes_steps_of_its_own_mean_context() -> None:
    # A prompt of 50 and half of 20 outputs.
    assert tpot(Worker(), asked(50, 20)) == 1000 + 10 + 60
    # Its first step.
    assert harm(Worker(), asked(50, 20)) == 20 * (1000 + 10 + 50)


def test_those_that_stay_as_long_are_beside_it_throughout() -> None:
    # Two with 100 tokens owe 20 each: on average both are there, with 100 tokens and half of 40.
    there = Worker(2, 100, 140)
    assert tpot(there, asked(50, 20)) == 1000 + 30 + 120 + 60
    # A step takes 1120 now and 60 more with it, in each of two times 20 steps, and it takes 20 itself.
    assert harm(there, asked(50, 20)) == 40 * 60 + 20 * 1180


def test_those_that_end_sooner_are_beside_it_for_a_part_of_its_life() -> None:
    # They owe 40 tokens, one a step of its 40: one request with half of their 120 tokens.
    there = Worker(2, 100, 140)
    assert tpot(there, asked(50, 40)) == 1000 + 20 + 60 + 70
    assert harm(there, asked(50, 40)) == 40 * 60 + 40 * 1180


def test_whoever_should_have_ended_still_has_a_token_to_come() -> None:
    assert tpot(Worker(2, 100, 90), asked(50, 2)) == tpot(Worker(2, 100, 102), asked(50, 2))


@drawn(number=st.integers(1, 8), prompt_tokens=st.integers(1, 99), output_tokens=st.integers(2, 60))
def test_the_prediction_comes_true_where_all_come_and_go_together(
    number: int, prompt_tokens: int, output_tokens: int
) -> None:
    requests = [given(output_tokens, prompt_tokens) for _ in range(number)]
    play(Engine(config(), STEPS), [(0, request) for request in requests])
    took = requests[0].last_ps / output_tokens
    there = Worker(number - 1, (number - 1) * prompt_tokens, (number - 1) * (prompt_tokens + output_tokens))
    # A step reads what was there before it: half a token a request less than on average over its end.
    assert abs(tpot(there, asked(prompt_tokens, output_tokens)) - took) <= number / 2 + 1


def test_those_without_a_place_wait_and_do_not_slow_the_batch() -> None:
    two = DecodeForecast(STEPS, max_num_seqs=2, kv_tokens=100_000, mean_prompt=50, mean_output=20)
    full, fuller = Worker(2, 100, 140), Worker(5, 250, 350)
    # Three of 180 tokens in all, of which two run.
    assert tpot(full, asked(50, 20), two) == 1000 + 20 + 120
    assert tpot(fuller, asked(50, 20), two) == 1000 + 20 + 120
    # One too many: a place comes free every 20 / 2 steps of 1120.
    assert two.place_ps(3, 150) == 10 * 1120
    # One with a place is preferred to a full one, however slow it is, and of full ones the one where a place comes free first.
    idle = Worker(1, 5000, 9000)
    for router in (LeastPredictedTpot(two), LeastHarm(two)):
        assert tpot(idle, asked(50, 20), two) > tpot(full, asked(50, 20), two)
        assert router.pick([full, idle, fuller], asked(50, 20)) == 1
        assert router.pick([fuller, full], asked(50, 20)) == 1


def test_kv_blocks_bound_the_batch_as_places_do() -> None:
    scarce = DecodeForecast(STEPS, max_num_seqs=100, kv_tokens=120, mean_prompt=50, mean_output=20)
    assert scarce.running(3, 180) == 2
    assert scarce.step_ps(3, 180) == 1000 + 20 + 120
    assert scarce.running(3, 120) == 3


def test_a_worker_that_computes_prompts_keeps_its_decodes_waiting_meanwhile() -> None:
    colocated = DecodeForecast(STEPS, 100, 100_000, 50, 20, prompt_budget=32)
    # Two decodes leave 30 tokens a step: 30 and 20, at 7 a token.
    assert colocated.prompt_beside_ps(2, 100, 50) == 7 * 50
    assert harm(Worker(2, 100, 140), asked(50, 20), colocated) == 40 * 60 + 20 * 1180 + 3 * 350


def test_a_prompt_is_computed_in_steps_of_the_budget() -> None:
    assert prompt_ps(STEPS, 50, 32) == 2 * 1000 + 7 * 50
    assert predicted_wait_ps(5_000, 20_000.0) == 250 * 10**9


@pytest.mark.parametrize("kind", ADAPTIVE_ROUTERS)
def test_equals_take_turns_and_the_shorter_queue_goes_first(kind: str) -> None:
    router: AdaptiveRouter = ADAPTIVE_ROUTERS[kind](ROOMY)
    assert [router.pick([Worker(), Worker(), Worker()], asked(5, 5)) for _ in range(4)] == [0, 1, 2, 0]


def test_they_differ_where_the_best_for_one_is_not_the_best_for_all() -> None:
    # Eight short requests or a long one, all of which stay for as long as the request.
    many, one = Worker(8, 80, 240), Worker(1, 900, 1200)
    request, steps = asked(10, 16), DecodeForecast(Steps(1000, decode=100, context=1), 100, 100_000, 50, 20)
    assert (tpot(many, request, steps), tpot(one, request, steps)) == (1900 + 80 + 64 + 18, 1200 + 908 + 18)
    # It adds 110 a step, for eight requests or for one.
    assert (harm(many, request, steps), harm(one, request, steps)) == (16 * (8 * 110 + 1990), 16 * (110 + 2110))
    assert LeastPredictedTpot(steps).pick([one, many], request) == 1
    assert LeastHarm(steps).pick([one, many], request) == 0


def test_least_tokens_with_outputs_counts_what_is_to_come() -> None:
    assert LeastPromisedTokens().pick([Worker(1, 10, 500), Worker(9, 90, 300)]) == 1


def test_promises_are_kept_by_request_or_by_the_mean() -> None:
    request, other = Sequence(0, 0, 10, 30, KV.GIVEN), Sequence(1, 0, 20, 5, KV.GIVEN)
    single = Promises(Outputs([30, 5], single=True))
    single.add(request)
    single.add(other)
    assert single.tokens(2, 33) == 10 + 30 + 20 + 5
    single.drop([request])
    assert single.tokens(1, 21) == 25
    assert single.tokens(1, 27) == 27
    mean = Promises(Outputs([8, 8], single=False))
    mean.add(request)
    assert mean.tokens(1, 17) == 17 + 8


def test_predictions_are_right_as_often_as_stated_and_else_are_other_requests_lengths() -> None:
    outputs = np.arange(1, 20_001, dtype=np.int32)
    known = {accuracy: predicted_outputs(outputs, accuracy, 3) for accuracy in (0.0, 0.6, 0.85, 1.0)}
    assert (known[1.0] == outputs).all()
    assert (known[0.0] == outputs).mean() < 0.001
    assert (known[0.85] == outputs).mean() == pytest.approx(0.85, abs=4 * np.sqrt(0.85 * 0.15 / 20_000))
    assert ((known[0.6] == outputs) <= (known[0.85] == outputs)).all()
    wrong = known[0.85] != outputs
    assert np.isin(known[0.85], outputs).all()
    assert known[0.85][wrong].mean() == pytest.approx(10_000, rel=0.06)
    assert (predicted_outputs(outputs, 0.85, 4) != known[0.85]).any()


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return write_profile(tmp_path)


def test_nothing_is_promised_when_all_have_ended(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SimulatedWorker] = []
    begin = SimulatedWorker.__init__

    def noted(self: SimulatedWorker, *args: object) -> None:
        begin(self, *args)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(SimulatedWorker, "__init__", noted)
    decode = pool(profile, workers=2, router="least-harm", output_lengths={"known": "exact"}, max_num_seqs=3)
    serve(scenario(["a"], {"decode": decode}), [(i * 10**9, 0, 5 + i, 1 + i % 7) for i in range(40)])
    assert [worker.promised_tokens for worker in made] == [0, 0]


@pytest.mark.parametrize(("known", "second"), [("exact", "1"), ("none", "0")])
def test_what_is_known_of_outputs_decides_where_loads_do_not(known: str, second: str, profile: Path) -> None:
    # A long request with a short prompt is on one worker, a short one with a longer prompt on the other.
    decode = pool(profile, workers=2, router="least-tokens", output_lengths={"known": known})
    rows = [(0, 0, 10, 400), (1, 0, 40, 20), (2, 0, 5, 5)]
    result = serve(scenario(["a"], {"decode": decode}), rows)
    assert [name.rpartition("/")[2] for name in result.rows["decode_worker"]] == ["0", "1", second]
