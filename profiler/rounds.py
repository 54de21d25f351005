"""Rounds of conversations in a stream: which request follows which, and what their prompts have in common.

A csv that has a column `session` is read as the simulator reads it (docs/traces.md).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sunsim.workload.sessions import UNKNOWN
from sunsim.workload.traces.formats import read_trace

SESSION = "session"
LEAST_ID = 1000
"""Ids below may mean something to a model."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """By request; the rounds of a session stand one after the other.

    line: of the csv.
    session, number: a session, and which of its rounds it is, both from 0.
    think_s: from the last token of the round before, at the client, to this one.
    kept_tokens: how much of that one's prompt and answer it begins with.
    prefix, prefix_tokens: what the session begins with, and how many tokens of it; equal numbers are equal texts, and
        `UNKNOWN` is like no other.
    """

    line: list[int]
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


def read_rounds(path: Path) -> Rounds:
    """Raises InputError where the simulator would."""
    rows = read_trace(path, "csv")
    rounds = rows.rounds
    assert rounds is not None
    number: list[int] = []
    for opens in rounds.opens.tolist():
        number.append(0 if opens else number[-1] + 1)
    prefix = rounds.prefix if rounds.prefix is not None else rows.model
    return Rounds(
        line=rows.line.tolist(),
        session=rounds.session.tolist(),
        number=number,
        think_s=rounds.think_s.tolist(),
        kept_tokens=rounds.kept_tokens.tolist(),
        prefix=[0] * len(rows) if prefix is None else prefix.tolist(),
        prefix_tokens=rounds.prefix_tokens.tolist(),
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
