"""Drawn sessions: what hangs on which draw, how rounds follow each other, and where a session ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sunsim.clock import to_s
from sunsim.errors import InputError
from sunsim.report.basis import basis
from sunsim.run import check
from sunsim.scenario import build_requests, load_scenario, resolved
from sunsim.workload.blocks import Constant, Conversations, FixedTokens, Rounds, Think
from sunsim.workload.conversations import draw_numbers, going_on, turn_shares
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Segments, Sessions
from tests.scenario_files import write_scenario

SESSIONS = """\
name: talk
seed: 3
models: {count: 3, popularity: {kind: zipf, alpha: 1.0}}
workload:
  kind: sessions
  duration_s: 400
  arrivals: {kind: poisson, rate_rps: 1}
  rounds: {mean: 3, max: 12}
  think_s: {mean: 10}
  system_prompt_tokens: 50
  user: {kind: lognormal, median_tokens: 20, sigma: 0.8, max_tokens: 200}
  output: {kind: fixed, tokens: 30}
arms:
  - name: sun
    decode: {profile: tiny.json, policy: shared, workers: 1}
"""
TURNS = "workload.take_turns=true"


def drawn(folder: Path, *overrides: str, seed: int | None = None) -> Requests:
    return build_requests(load_scenario(write_scenario(folder, SESSIONS), overrides, seed))


def sessions_of(requests: Requests) -> Sessions:
    assert requests.sessions
    return requests.sessions


def path_of(segments: Segments, segment: int) -> list[int]:
    """The segments that a text consists of, the first one first."""
    found = []
    while segment != UNKNOWN:
        found.append(segment)
        assert segments.parent[segment] < segment
        segment = int(segments.parent[segment])
    return found[::-1]


def test_a_later_prompt_is_all_that_was_said_and_something_new(tmp_path: Path) -> None:
    requests = drawn(tmp_path)
    told = sessions_of(requests)
    assert told.round.max() > 5
    for i in range(len(requests)):
        prompt, answer = path_of(told.segments, told.prompt[i]), path_of(told.segments, told.answer[i])
        assert answer == [*prompt, told.answer[i]]
        assert told.segments.end[told.prompt[i]] == requests.prompt_tokens[i]
        assert told.segments.end[told.answer[i]] == requests.prompt_tokens[i] + requests.output_tokens[i]
        assert (np.diff(told.segments.end[answer]) > 0).all()
        if told.round[i]:
            assert told.previous[i] == i - 1
            assert (told.session[i], told.round[i]) == (told.session[i - 1], told.round[i - 1] + 1)
            assert prompt[:-1] == path_of(told.segments, told.answer[i - 1])
            assert requests.arrival_ps[i] == 0
        else:
            assert (told.previous[i], told.think_ps[i]) == (UNKNOWN, 0)
            # The system prompt is a text of the model's own.
            assert prompt[0] == requests.model[i]
            assert told.segments.end[prompt[0]] == 50


def test_sessions_stand_in_order_of_their_first_arrival(tmp_path: Path) -> None:
    requests = drawn(tmp_path)
    told = sessions_of(requests)
    first = told.round == 0
    assert (np.diff(requests.arrival_ps[first]) >= 0).all()
    assert told.session[first].tolist() == list(range(first.sum()))
    assert to_s(requests.arrival_ps).max() < 400


def test_some_requests_still_follow_each_other(tmp_path: Path) -> None:
    requests = drawn(tmp_path)
    told = sessions_of(requests)
    own = told.session % 3 == 1
    kept, some = requests.where(own), sessions_of(requests.where(own))
    assert np.array_equal(kept.prompt_tokens, requests.prompt_tokens[own])
    follows = np.flatnonzero(some.previous != UNKNOWN)
    assert np.array_equal(some.previous != UNKNOWN, told.previous[own] != UNKNOWN)
    assert np.array_equal(np.flatnonzero(own)[some.previous[follows]], told.previous[own][follows])
    assert some.segments is told.segments


def test_a_session_stays_with_its_model_or_takes_turns(tmp_path: Path) -> None:
    stays, turns = drawn(tmp_path), drawn(tmp_path, TURNS)
    told = sessions_of(stays)
    opener = np.flatnonzero(told.round == 0)[told.session]
    assert (stays.model == stays.model[opener]).all()
    assert (turns.model == (stays.model[opener] + told.round) % 3).all()
    assert np.array_equal(stays.prompt_tokens, turns.prompt_tokens)
    # Agents that take turns begin with one text.
    shared = sessions_of(turns)
    assert {path_of(shared.segments, segment)[0] for segment in shared.prompt} == {0}


def test_without_a_system_prompt_sessions_have_nothing_in_common(tmp_path: Path) -> None:
    told = sessions_of(drawn(tmp_path, "workload.system_prompt_tokens=0"))
    roots = {path_of(told.segments, segment)[0] for segment in told.prompt}
    assert len(roots) == told.session.max() + 1


SAME: list[tuple[str, set[str]]] = [
    ("models.count=5", {"arrival_ps", "prompt_tokens", "output_tokens", "think_ps", "round"}),
    ("workload.think_s.mean=20", {"arrival_ps", "prompt_tokens", "output_tokens", "model", "round"}),
    ("workload.output.tokens=31", {"arrival_ps", "model", "think_ps", "round"}),
    ("workload.user={kind: fixed, tokens: 9}", {"arrival_ps", "output_tokens", "model", "think_ps", "round"}),
]


@pytest.mark.parametrize(("override", "same"), SAME, ids=[override for override, _ in SAME])
def test_what_is_changed_changes_no_other_draw(tmp_path: Path, override: str, same: set[str]) -> None:
    before, after = columns(drawn(tmp_path)), columns(drawn(tmp_path, override))
    assert {name for name, column in before.items() if np.array_equal(column, after[name])} == same


def columns(requests: Requests) -> dict[str, NDArray[np.integer]]:
    of_requests = {name: getattr(requests, name) for name in ("arrival_ps", "model", "prompt_tokens", "output_tokens")}
    return of_requests | {name: getattr(sessions_of(requests), name) for name in ("think_ps", "round")}


def test_a_longer_run_begins_like_the_shorter_one(tmp_path: Path) -> None:
    short, long = columns(drawn(tmp_path)), columns(drawn(tmp_path, "workload.duration_s=800"))
    for name, column in short.items():
        assert np.array_equal(column, long[name][: column.size])


def test_a_session_ends_before_a_round_that_fits_into_no_worker(tmp_path: Path) -> None:
    whole = drawn(tmp_path)
    short = "arms.sun.decode.max_model_len=340"
    cut = drawn(tmp_path, short)
    told, every = sessions_of(cut), sessions_of(whole)
    fits = whole.prompt_tokens + whole.output_tokens <= 340
    assert 0 < told.unfit == (~fits).sum()
    assert every.unfit == 0
    for name, column in columns(whole).items():
        assert np.array_equal(column[fits], columns(cut)[name])
    # All sessions are there: the first round of each fits.
    assert (told.round == 0).sum() == (every.round == 0).sum()
    said = f"{told.unfit} rounds left out that fit into no worker: their sessions end before them"
    assert check(tmp_path / "scenario.yaml", [short], None).endswith(f"; {said}")
    scenario = load_scenario(tmp_path / "scenario.yaml", [short])
    assert said in basis(scenario, cut)["assumed"]
    assert said not in basis(scenario)["assumed"]


def test_the_smallest_worker_of_any_arm_ends_sessions_of_all(tmp_path: Path) -> None:
    more = "arms=[{name: a, decode: {profile: tiny.json, policy: shared, workers: 1, max_model_len: %s}}, "
    more += "{name: b, prefill: {profile: tiny.json, policy: shared, workers: 1, max_model_len: %s}}]"
    cut = drawn(tmp_path, more % (340, 9999))
    assert (cut.prompt_tokens + cut.output_tokens).max() <= 340
    # A prefill worker holds the prompt and makes one token.
    by_prompt = drawn(tmp_path, more % (9999, 340))
    assert by_prompt.prompt_tokens.max() <= 339
    assert (by_prompt.prompt_tokens + by_prompt.output_tokens).max() > 340


def test_the_check_says_how_many_sessions_there_are(tmp_path: Path) -> None:
    requests = drawn(tmp_path)
    said = check(tmp_path / "scenario.yaml", (), None)
    assert f"{len(requests):,} requests of {sessions_of(requests).session.max() + 1} sessions in " in said


def test_step_times_are_of_the_law_and_not_of_a_seed(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, SESSIONS)
    one, two = load_scenario(path, seed=1), load_scenario(path, seed=2)
    assert one.mix is two.mix
    assert np.mean(one.mix.output_tokens) == 30
    tight = load_scenario(path, ["arms.sun.decode.max_model_len=340"])
    assert (np.array(tight.mix.prompt_tokens) + 30).max() <= 340


def test_a_resolved_scenario_of_sessions_loads_again(tmp_path: Path) -> None:
    scenario = load_scenario(write_scenario(tmp_path, SESSIONS), [TURNS])
    again = tmp_path / "again.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario


@st.composite
def numbers_of_rounds(draw: st.DrawFn) -> Rounds:
    most = draw(st.none() | st.integers(1, 60))
    return Rounds(mean=draw(st.floats(1, most or 50)), max=most)


@given(numbers_of_rounds())
@example(Rounds(mean=5, max=5))
@example(Rounds(mean=4.999_999_9, max=5))
@example(Rounds(mean=3, max=10**8))
@example(Rounds(mean=1.0000000000000002, max=2))
def test_rounds_are_geometric_and_cut_with_their_mean(rounds: Rounds) -> None:
    # Evenly spaced draws: what is counted is the law itself, to one in so many.
    found = draw_numbers(rounds, (np.arange(20_000) + 0.5) / 20_000)
    assert found.min() >= 1
    assert rounds.max is None or found.max() <= rounds.max
    assert found.mean() == pytest.approx(rounds.mean, rel=1e-2)
    for k in (1, 2, 5, 30):
        expected = 0 if rounds.max is not None and k >= rounds.max else going_on(rounds) ** k
        assert np.mean(found > k) == pytest.approx(expected, abs=1e-4)


@given(rounds=numbers_of_rounds(), weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=6))
@example(rounds=Rounds(mean=5, max=5), weights=[1.0, 2.0, 1.0])
def test_shares_of_models_that_take_turns(rounds: Rounds, weights: list[float]) -> None:
    shares = np.array(weights) / sum(weights)
    workload = Conversations(
        duration_s=1.0,
        arrivals=Constant(rate_rps=1.0),
        rounds=rounds,
        think_s=Think(mean=1.0),
        user=FixedTokens(tokens=1),
        output=FixedTokens(tokens=1),
        take_turns=True,
    )
    expected = np.zeros(len(weights))
    for k in range(rounds.max or 2000):
        expected += np.roll(shares, k) * going_on(rounds) ** k
    assert turn_shares(workload, shares.tolist()) == pytest.approx(expected / expected.sum())


# (what the workload says, the line, the message)
WRONG = [
    ("arrivals: {kind: closed, concurrency: 3}", "7: workload.arrivals.kind is 'closed', must be one of poisson, "),
    ("rounds: {mean: 0.5}", "8: workload.rounds.mean is 0.5, must be at least 1"),
    ("rounds: {mean: 3, max: 0}", "8: workload.rounds.max is 0, must be at least 1"),
    ("rounds: {mean: 3, max: 2}", "8: workload.rounds: max is 2, must be at least mean (3)"),
    ("think_s: {mean: -1}", "9: workload.think_s.mean is -1, must be at least 0"),
    ("think_s: 10", "9: workload.think_s is 10, must be a mapping"),
    ("system_prompt_tokens: -1", "10: workload.system_prompt_tokens is -1, must be at least 0"),
    ("user: {tokens: 3}", "11: workload.user.kind is missing, must be one of fixed, lognormal"),
    (
        "user: {kind: fixed, tokens: 20000}",
        "11: workload can draw a first round of 20080 tokens (prompt + output), must be at most 16384: max_model_len of ",
    ),
    ("output: {kind: fixed, token: 3}", "12: unknown key workload.output.token, did you mean tokens?"),
    (
        "arrivals: {kind: poisson, rate_rps: 1e6}",
        "7: workload.arrivals.rate_rps is 1e+06, must bring at most 100,000,000 ",
    ),
]


@pytest.mark.parametrize(("line", "message"), WRONG, ids=[line for line, _ in WRONG])
def test_what_is_wrong_is_refused_at_its_line(tmp_path: Path, line: str, message: str) -> None:
    key = line.partition(":")[0]
    lines = [f"  {line}" if old.startswith(f"  {key}:") else old for old in SESSIONS.splitlines()]
    path = write_scenario(tmp_path, "\n".join(lines))
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}:{message}")


def test_there_must_be_a_session(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"scenario talk: workload\.arrivals.rate_rps is 1e-09, must be high enough for"
    ):
        drawn(tmp_path, "workload.arrivals.rate_rps=1e-9")
