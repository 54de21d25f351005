"""Rounds of conversations in a stream: which request follows which, and what their prompts have in common.

A csv with columns `session`, `round` (from 0) and `think_s` has them. A round is submitted `think_s` after the client has
the last token of the one before, and has no `arrival_s`; its prompt is that one's, the answer as the engine gave it, and
new tokens. Sessions with one `prefix`, without the column with one `model`, begin with the same `prefix_tokens` tokens.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sunsim.errors import clipped

COLUMNS = ("session", "round", "think_s")
PREFIX_COLUMNS = ("prefix", "prefix_tokens")
LEAST_ID = 1000
"""Ids below may mean something to a model."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """By request.

    session, number: a round's session, and which of its rounds it is, from 0.
    previous: the request that it follows, always an earlier one; None of the first of a session.
    think_s: from that one's last token at the client on.
    prefix: what the session begins with, and how many tokens of it.
    """

    session: list[str] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    previous: list[int | None] = field(default_factory=list)
    think_s: list[float] = field(default_factory=list)
    prefix: list[tuple[str, int]] = field(default_factory=list)

    def columns(self) -> dict[str, list[Any]]:
        """As a csv has them."""
        names, tokens = zip(*self.prefix, strict=True)
        values = (self.session, self.number, self.think_s, list(names), list(tokens))
        return dict(zip((*COLUMNS, *PREFIX_COLUMNS), values, strict=True))

    def followers(self) -> dict[int, int]:
        """The request that follows each that is followed."""
        return {before: i for i, before in enumerate(self.previous) if before is not None}


class RoundReader:
    """Takes the lines of a csv, one by one."""

    def __init__(self) -> None:
        self.rounds = Rounds()
        self._last: dict[str, tuple[int, int, int]] = {}  # of each session: request, round, prompt and output tokens

    def take(self, row: Mapping[str, str]) -> str | None:
        """Takes down the next request, whose tokens are known to be whole numbers; or says what is wrong with it."""
        session, prompt = row["session"].strip(), int(row["prompt_tokens"])
        request, number, tokens = self._last.get(session, (None, -1, 0))
        if _whole(row["round"]) != number + 1:
            return f"round is '{clipped(row['round'])}' of session {clipped(session)}, must be {number + 1}"
        prefix_tokens = _whole(row.get("prefix_tokens") or "0")
        if prefix_tokens is None or prefix_tokens > prompt:
            given = clipped(row["prefix_tokens"])
            return f"prefix_tokens is '{given}', must be a whole number from 0 to the {prompt} prompt_tokens"
        think_s = 0.0
        if request is not None:
            think_s = _number(row["think_s"])
            if not 0 <= think_s < math.inf:
                return f"think_s is '{clipped(row['think_s'])}', must be a number of seconds from 0"
            if row["arrival_s"].strip():
                return f"arrival_s is '{clipped(row['arrival_s'])}', must be empty but in round 0"
            if prompt <= tokens:
                return f"prompt_tokens is {prompt}, must be over the {tokens} of the round before and its answer"
        self._last[session] = (len(self.rounds.previous), number + 1, prompt + int(row["output_tokens"]))
        self.rounds.session.append(session)
        self.rounds.number.append(number + 1)
        self.rounds.previous.append(request)
        self.rounds.think_s.append(think_s)
        self.rounds.prefix.append((row.get("prefix") or row.get("model") or "", prefix_tokens))
        return None


def _whole(text: str) -> int | None:
    """None for what is no whole number from 0."""
    return int(text) if text.strip().isdecimal() else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def new_texts(rounds: Rounds, tokens: Sequence[tuple[int, int]], vocabulary: int) -> list[list[int]]:
    """Token ids that each prompt adds to the round before and its answer; those of a session's first are the whole prompt.

    No two have more in common than a prefix.

    tokens: of each request, prompt and output.
    vocabulary: how many ids there are.
    """
    ids = range(min(LEAST_ID, vocabulary // 2), vocabulary)
    prefixes: dict[tuple[str, int], list[int]] = {}
    texts = []
    for i, (session, before, prefix) in enumerate(zip(rounds.session, rounds.previous, rounds.prefix, strict=True)):
        begin: list[int] = []
        if before is None:
            if prefix not in prefixes:
                prefixes[prefix] = random.Random(f"prefix {prefix}").choices(ids, k=prefix[1])
            begin = prefixes[prefix]
        known = len(begin) if before is None else sum(tokens[before])
        texts.append(begin + random.Random(f"{session} {i}").choices(ids, k=tokens[i][0] - known))
    return texts
