"""Rounds of conversations in a stream: which request follows which, and what their prompts say.

A csv that has a column `session` is read as the simulator reads it (docs/traces.md).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sunsim.clock import to_s
from sunsim.workload.sessions import UNKNOWN, Sessions
from sunsim.workload.texts import history_tokens
from sunsim.workload.traces.formats import read_trace

SESSION = "session"
LEAST_ID = 1000
"""Ids below may mean something to a model."""
TOKEN_S = 0.012
"""A request's own pace, unless its worker is overloaded; expected, to say how long a run takes."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """By request; the rounds of a session stand one after the other.

    session, number: a session, and which of its rounds it is, both from 0.
    think_s: from the last token of the round before, at the client, to this one.
    kept_tokens: how much of that one's prompt and answer it begins with.
    prefix, prefix_tokens: what the session begins with, and how many tokens of it; equal numbers are equal texts, and
        `UNKNOWN` is like no other.
    """

    session: list[int]
    number: list[int]
    think_s: list[float]
    kept_tokens: list[int]
    prefix: list[int]
    prefix_tokens: list[int]

    def previous(self, i: int) -> int | None:
        """The request that request `i` follows; None of the first of a session."""
        return i - 1 if self.number[i] else None

    def next(self, i: int) -> int | None:
        """The request that follows request `i`; None of the last of a session."""
        return i + 1 if i + 1 < len(self.number) and self.number[i + 1] else None

    def arrivals_s(self, first_s: Sequence[float | None], last_token_s: Sequence[float | None]) -> list[float | None]:
        """When each was to come: `first_s` of the first of a session, others after the last token of the one before."""
        found = list(first_s)
        for i, think_s in enumerate(self.think_s):
            before = self.previous(i)
            if before is not None and (ended_s := last_token_s[before]) is not None:
                found[i] = round(ended_s + think_s, 6)
        return found

    def expected_s(self, first_s: Sequence[float | None], output_tokens: Sequence[int]) -> list[float]:
        """When each comes if tokens take `TOKEN_S` and nothing is held up; `first_s` of the first of a session."""
        found: list[float] = []
        for i, at_s in enumerate(first_s):
            before = self.previous(i)
            later_s = 0.0 if before is None else found[before] + output_tokens[before] * TOKEN_S + self.think_s[i]
            found.append(later_s or at_s or 0.0)
        return found

    def columns(self) -> dict[str, list[float]]:
        """As a run has them."""
        return {
            "session": [*self.session],
            "round": [*self.number],
            "think_s": self.think_s,
            "history_tokens": [*self.kept_tokens],
            "prefix": [*self.prefix],
            "prefix_tokens": [*self.prefix_tokens],
        }


def read_rounds(path: Path) -> tuple[Rounds, list[int]]:
    """The rounds of a csv, and the line of each; raises InputError where the simulator would."""
    rows = read_trace(path, "csv")
    rounds = rows.rounds
    assert rounds is not None
    number: list[int] = []
    for opens in rounds.opens.tolist():
        number.append(0 if opens else number[-1] + 1)
    prefix = rounds.prefix if rounds.prefix is not None else rows.model
    found = Rounds(
        session=rounds.session.tolist(),
        number=number,
        think_s=rounds.think_s.tolist(),
        kept_tokens=rounds.kept_tokens.tolist(),
        prefix=[0] * len(rows) if prefix is None else prefix.tolist(),
        prefix_tokens=rounds.prefix_tokens.tolist(),
    )
    return found, rows.line.tolist()


def rounds_of(sessions: Sessions) -> Rounds:
    """The rounds of a scenario's requests; raises ValueError where one does not come after the one that stands before it."""
    number = np.arange(sessions.round.size)
    if (sessions.previous != np.where(sessions.round, number - 1, UNKNOWN)).any():
        msg = "rounds come when a trace says, must each come after the one before"
        raise ValueError(msg)
    begins = sessions.segments.parent[sessions.prompt]
    common = (sessions.round == 0) & (begins != UNKNOWN)
    return Rounds(
        session=sessions.session.tolist(),
        number=sessions.round.tolist(),
        think_s=to_s(sessions.think_ps).tolist(),
        kept_tokens=history_tokens(sessions).tolist(),
        prefix=np.where(common, begins, UNKNOWN).tolist(),
        prefix_tokens=np.where(common, sessions.segments.end[begins], 0).tolist(),
    )


def new_texts(rounds: Rounds, prompt_tokens: Sequence[int], vocabulary: int) -> list[list[int]]:
    """Token ids that each prompt has beyond what it keeps of its session; no two have more than a prefix in common.

    prompt_tokens: of each request.
    vocabulary: how many ids there are.
    """
    ids = range(min(LEAST_ID, vocabulary // 2), vocabulary)
    texts = []
    for i, tokens in enumerate(prompt_tokens):
        opens = not rounds.number[i]
        common = rounds.prefix_tokens[i] if opens and rounds.prefix[i] != UNKNOWN else 0
        # Prefixes of other lengths are other texts, as the simulator takes them.
        begin = random.Random(f"prefix {rounds.prefix[i]} {common}").choices(ids, k=common)
        own = tokens - (common if opens else rounds.kept_tokens[i])
        texts.append(begin + random.Random(f"request {i}").choices(ids, k=own))
    return texts


class Texts:
    """Token ids of the prompts, each whole once the round before it has been answered; and of the answers.

    prompt_tokens, vocabulary: as in `new_texts`.
    """

    def __init__(self, rounds: Rounds, prompt_tokens: Sequence[int], vocabulary: int) -> None:
        self._kept_tokens = rounds.kept_tokens
        self._said = new_texts(rounds, prompt_tokens, vocabulary)

    def prompt(self, i: int) -> list[int]:
        """What request `i` says."""
        return self._said[i]

    def answer(self, i: int, tokens: Sequence[int]) -> None:
        """These are more of the answer to request `i`, which is part of what a next round begins with."""
        self._said[i].extend(tokens)

    def follow(self, i: int) -> None:
        """The request before `i` has been answered: what was said there is what `i` begins with."""
        self._said[i] = self._said[i - 1][: self._kept_tokens[i]] + self._said[i]
