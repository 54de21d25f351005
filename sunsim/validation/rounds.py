"""The conversations in a run: which of its requests follow which, and what their prompts have in common."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from sunsim.clock import to_ps
from sunsim.errors import InputError
from sunsim.validation.record import numbers
from sunsim.validation.served import Ints
from sunsim.workload.sessions import UNKNOWN, Sessions
from sunsim.workload.texts import chained

COUNTS = ("session", "round", "history_tokens", "prefix", "prefix_tokens", "cached_tokens")
"""`history_tokens`: how much of the prompt and answer of the round before a prompt begins with; `prefix`: a number that
stands for what sessions begin with, `UNKNOWN` for nothing that another has; `prefix_tokens`: how much that is."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The requests of a run as rounds of sessions.

    `cached_tokens`: of each prompt, those that the engine had in its cache, int64[n].
    """

    sessions: Sessions
    cached_tokens: Ints


def read_rounds(path: Path, table: pa.Table, order: Ints, prompt_tokens: Ints, output_tokens: Ints) -> Rounds | None:
    """The rounds of a run, request by request; None if it has none.

    Args:
        path: of the run.
        table: its rows.
        order: in which they are wanted, int64[n].
        prompt_tokens, output_tokens: of the requests in that order, int[n].

    Raises:
        InputError: a column is missing, or a round does not follow the one before it.
    """
    if "session" not in table.column_names:
        return None
    columns = {name: values[order] for name, values in numbers(path, table, ("think_s", *COUNTS)).items()}
    count = {name: columns[name].astype(np.int64) for name in COUNTS}
    together = np.lexsort((count["round"], count["session"]))
    _check(path, count["session"][together], count["round"][together], together)
    prefix, prefix_tokens, opens = count["prefix"], count["prefix_tokens"], count["round"] == 0
    begins = opens & (prefix != UNKNOWN) & (prefix_tokens > 0)
    texts, number = np.unique(np.stack([prefix, prefix_tokens])[:, begins], axis=1, return_inverse=True)
    root = np.full(order.size, UNKNOWN, dtype=np.int64)
    root[begins] = number
    sessions = chained(
        prompt_tokens[together],
        output_tokens[together],
        to_ps(columns["think_s"][together]),
        opens[together],
        count["history_tokens"][together],
        root[together],
        texts[1],
    )
    return Rounds(_in_order(sessions, together), count["cached_tokens"])


def _check(path: Path, session: Ints, number: Ints, together: Ints) -> None:
    """Refuses sessions that lack a round, or in which one was submitted before the one that it follows."""
    follows = np.append(False, session[1:] == session[:-1])
    expected = np.where(follows, np.roll(number, 1) + 1, 0)
    faults = {
        "is not after the round before it": number != expected,
        "was submitted before the round that it follows": follows & (together < np.roll(together, 1)),
    }
    for fault, rows in faults.items():
        if rows.any():
            i = int(rows.argmax())
            message = f"round {number[i]} of session {session[i]} {fault}, must follow it"
            raise InputError(message, path)


def _in_order(sessions: Sessions, together: Ints) -> Sessions:
    """The `sessions` of requests taken `together`, in their own order."""
    place = np.argsort(together)
    previous = sessions.previous[place]
    return replace(
        sessions,
        **{name: getattr(sessions, name)[place] for name in ("session", "round", "think_ps", "prompt", "answer")},
        previous=np.where(previous == UNKNOWN, UNKNOWN, together[previous]).astype(np.int32),
    )
