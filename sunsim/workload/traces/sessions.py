"""Rounds of sessions put together, whatever the format."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import to_ps
from sunsim.workload.sessions import UNKNOWN, Sessions
from sunsim.workload.texts import chained
from sunsim.workload.traces.rows import Rounds, TraceRows, from_first


def order_of(session: NDArray[np.int64], turn: NDArray[np.int64], arrival_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order in which sessions come by the arrival of their first round, and the rounds of each together, int64[n].

    Rounds come by `turn`, those of one number in the order of the file.

    Args:
        session: of each request, a number from 0, int64[n].
        turn: its round, int64[n].
        arrival_s: of first rounds, float64[n]; not looked at for others.
    """
    within = np.lexsort((turn, session))
    first = within[np.append(np.array([True]), session[within][1:] != session[within][:-1])]
    begin_s, begin_at = np.zeros(int(session.max()) + 1), np.zeros(int(session.max()) + 1, np.int64)
    begin_s[session[first]], begin_at[session[first]] = arrival_s[first], first
    order: NDArray[np.int64] = np.lexsort((turn, begin_at[session], begin_s[session]))
    return order


def together(rows: TraceRows, rounds: Rounds, *, from_zero: bool) -> TraceRows:
    """`rows` that stand in the order of `order_of`, as `rounds`, whose sessions are numbered anew.

    Args:
        from_zero: whether the first session arrives at 0.
    """
    opens = rounds.opens
    number = np.cumsum(opens) - 1
    arrival_s = rows.arrival_s[opens][number]
    whole = replace(rows, arrival_s=arrival_s, rounds=replace(rounds, session=number))
    if not from_zero:
        return whole
    as_filed = arrival_s[opens][np.argsort(rows.line[opens])]
    late = as_filed < np.maximum.accumulate(as_filed)
    return replace(from_first(whole), out_of_order=int(late.sum()))


def sessions_of(rows: TraceRows, rounds: Rounds, model: NDArray[np.integer]) -> Sessions:
    """What the `rounds` of a trace have in common; where it names no prefixes, those of a `model` have one, int[n]."""
    opens = rounds.opens
    prefix = model if rounds.prefix is None else rounds.prefix
    # A prompt's last token is its own; less than the prefix is left where the first rounds of a session are not used.
    begin = np.minimum(rounds.prefix_tokens, rows.prompt_tokens - 1)
    common = opens & (begin > 0) & (prefix != UNKNOWN)
    texts, number = np.unique(np.stack([prefix, begin])[:, common], axis=1, return_inverse=True)
    root = np.full(opens.size, UNKNOWN, np.int64)
    root[common] = number
    said = np.roll(rows.prompt_tokens + rows.output_tokens, 1)
    kept = np.minimum(rounds.kept_tokens, said)
    return chained(rows.prompt_tokens, rows.output_tokens, to_ps(rounds.think_s), opens, kept, root, texts[1])
