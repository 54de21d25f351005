"""Drawn conversations: how many rounds they have, what is said in each, and how long a user thinks in between."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy  # whose parts load when they are used
from numpy.typing import NDArray

from sunsim.clock import MAX_S, to_ps
from sunsim.latency.attention import LengthMix
from sunsim.workload.blocks import Conversations, Rounds
from sunsim.workload.lengths import MIX_SEED, draw_tokens
from sunsim.workload.requests import Draws, Requests, draw_arrivals_s
from sunsim.workload.texts import chained
from sunsim.workload.traces.use import TokenLimit

MIX_SESSIONS = 2000
MIX_ROUNDS = 200_000


class DrawnRounds(NamedTuple):
    """Rounds of sessions one after the other, the rounds of one together.

    Attributes:
        session: from 0, int32[n].
        round: within its session, from 0, int32[n].
        think_s: after the round before, float64[n].
        prompt_tokens: of the whole prompt, int64[n].
        output_tokens: int32[n].
        unfit: how many more there would be, if they fitted into the workers.
    """

    session: NDArray[np.int32]
    round: NDArray[np.int32]
    think_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int32]
    unfit: int


def draw_conversations(workload: Conversations, draws: Draws, limits: Sequence[TokenLimit]) -> Requests:
    """Draws the rounds of all sessions; a session ends before a round that would be beyond one of the `limits`.

    Arrivals, models, numbers of rounds, times to think, new tokens and answers each have a stream of random numbers of
    their own, with one draw a session or a round, whatever fits.

    Raises:
        InputError: there would be no session, or one later than a scenario may last; without a file.
    """
    begin_s = draw_arrivals_s(workload.arrivals, draws.seed, workload.duration_s, None)
    first = draws.of_models(begin_s)
    rounds = draw_rounds(workload, begin_s.size, draws, limits)
    opens = rounds.round == 0
    model = first[rounds.session]
    root = None
    root_tokens = np.zeros(0, np.int64)
    if workload.system_prompt_tokens:
        root = np.zeros(model.size, np.int64) if workload.take_turns else model.astype(np.int64)
        root_tokens = np.full(1 if workload.take_turns else len(draws.models), workload.system_prompt_tokens)
    if workload.take_turns:
        model = (model + rounds.round) % np.int32(len(draws.models))
    texts = chained(
        rounds.prompt_tokens,
        rounds.output_tokens,
        to_ps(rounds.think_s),
        opens,
        root=root,
        root_tokens=root_tokens,
    )
    return Requests(
        np.where(opens, to_ps(begin_s)[rounds.session], 0),
        model,
        rounds.prompt_tokens.astype(np.int32),
        rounds.output_tokens,
        draws.models,
        sessions=replace(texts, unfit=rounds.unfit),
    )


def draw_rounds(workload: Conversations, sessions: int, draws: Draws, limits: Sequence[TokenLimit]) -> DrawnRounds:
    """The rounds of so many sessions that are within all `limits`."""
    number = draw_numbers(workload.rounds, draws.uniform("rounds", sessions))
    size = int(number.sum())
    session = np.repeat(np.arange(sessions, dtype=np.int32), number)
    opening = np.repeat(np.cumsum(number) - number, number)
    user = draw_tokens(workload.user, draws.uniform("user_tokens", size))
    output = draw_tokens(workload.output, draws.uniform("output_tokens", size))
    think_s = -workload.think_s.mean * np.log1p(-draws.uniform("think", size))
    said = np.concatenate([[0], np.cumsum(user.astype(np.int64) + output)])
    prompt = workload.system_prompt_tokens + said[:-1] - said[opening] + user
    # Every round needs more room than the one before it, so that what fits is the beginning of a session.
    fits = np.ones(size, np.bool_)
    for limit in limits:
        fits &= limit.needed(prompt, output) <= limit.tokens
    rounds = (np.arange(size) - opening).astype(np.int32)
    think_s = np.minimum(think_s, MAX_S)
    unfit = size - int(fits.sum())
    return DrawnRounds(session[fits], rounds[fits], think_s[fits], prompt[fits], output[fits], unfit)


def going_on(rounds: Rounds) -> float:
    """The share of sessions that go on after each round, q, until `max` of them ends all.

    The mean number of rounds is then ``1 + q + q**2 + ... + q**(max - 1)``; without `max` it is ``1 / (1 - q)``.
    """
    mean, most = rounds.mean, rounds.max
    if most is None or mean < 1 + 1e-9:  # so near 1 a cut does nothing
        return 1 - 1 / mean
    if mean == most:
        return 1.0
    # In terms of 1 - q, which may be tiny.
    ends = scipy.optimize.brentq(lambda p: -np.expm1(most * np.log1p(-p)) / p - mean, 1e-300, 1 - 1e-15, xtol=1e-18)
    return 1 - float(ends)


def draw_numbers(rounds: Rounds, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rounds of each session, int64[n], from draws in [0, 1), float64[n]: ``P(more than k) = q**k``, see `going_on`."""
    share = going_on(rounds)
    if share in (0, 1):
        return np.full(uniform.size, 1 if share == 0 else rounds.max, np.int64)
    number: NDArray[np.int64] = 1 + np.floor(np.log1p(-uniform) / np.log(share)).astype(np.int64)
    return number if rounds.max is None else np.minimum(number, rounds.max)


def turn_shares(workload: Conversations, shares: Sequence[float]) -> tuple[float, ...]:
    """Expected share of the requests of each model, of sessions that begin with a model by `shares`, if all rounds fit."""
    if not workload.take_turns:
        return tuple(shares)
    models, more = len(shares), going_on(workload.rounds)
    # Of the rounds 0 to max - 1, which are there with probability more**round, those that come so long after the first.
    later = np.arange(models)
    most = workload.rounds.max
    times = np.full(models, np.inf) if most is None else np.ceil(np.maximum(most - later, 0) / models)
    held = times
    if 0 < more < 1:  # else one round, or all there may be; by expm1, as it may be next to 1
        held = more**later * np.expm1(models * times * np.log(more)) / np.expm1(models * np.log(more))
    elif more == 0:
        held = np.where(later == 0, 1.0, 0.0)
    found = sum(np.roll(np.asarray(shares), step) * weight for step, weight in enumerate(held / held.sum()))
    return tuple(np.asarray(found).tolist())


@lru_cache(maxsize=8)
def session_mix(workload: Conversations, limits: tuple[TokenLimit, ...]) -> LengthMix:
    """The lengths that meet in batches: of the law, not of a seed's requests, so that seeds share a step-time model."""
    sessions = max(1, min(MIX_SESSIONS, int(MIX_ROUNDS / workload.rounds.mean)))
    rounds = draw_rounds(workload, sessions, Draws(MIX_SEED, (), ()), limits)
    return LengthMix.of(rounds.prompt_tokens, rounds.output_tokens)
