"""The conversations in a run: which of its requests follow which, and what their prompts have in common."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from sunsim.clock import to_ps
from sunsim.errors import InputError
from sunsim.validation.record import check_columns, numbers
from sunsim.validation.served import Ints, Served
from sunsim.workload.sessions import UNKNOWN, Segments, Sessions

NUMBERS = ("round", "think_s", "prefix_tokens", "cached_tokens")
TEXTS = ("session", "prefix")


@dataclass(frozen=True, slots=True)
class Rounds:
    """The requests of a run as rounds of sessions.

    `cached_tokens`: of each prompt, those that the engine had in its cache, int64[n].
    """

    sessions: Sessions
    cached_tokens: Ints


def read_rounds(path: Path, table: pa.Table, order: Ints, served: Served) -> Rounds | None:
    """The rounds of a run, request by request; None if it has none.

    Args:
        path: of the run.
        table: its rows.
        order: in which `served` has them, int64[n].
        served: the requests.

    Raises:
        InputError: a column is missing, or a round does not follow the one before it.
    """
    if "round" not in table.column_names:
        return None
    columns = numbers(path, table, NUMBERS)
    number, prefix_tokens, cached_tokens = (
        columns[name].astype(np.int64)[order] for name in ("round", "prefix_tokens", "cached_tokens")
    )
    check_columns(path, table, TEXTS)
    session, prefix = ([table[name].to_pylist()[i] for i in order] for name in TEXTS)
    last: dict[object, int] = {}
    previous = []
    for i, (name, of_name) in enumerate(zip(session, number.tolist(), strict=True)):
        before = last.get(name, UNKNOWN)
        expected = 0 if before == UNKNOWN else int(number[before]) + 1
        if of_name != expected:
            message = f"round is {of_name} of session {name} after the rounds before it, must be {expected}"
            raise InputError(message, path)
        if before != UNKNOWN and served.prompt_tokens[i] <= served.prompt_tokens[before] + served.output_tokens[before]:
            message = (
                f"round {of_name} of session {name} has a prompt that cannot hold the round before, must be longer"
            )
            raise InputError(message, path)
        previous.append(before)
        last[name] = i
    prefixes = list(zip(prefix, prefix_tokens.tolist(), strict=True))
    prompt, answer, segments = _texts(served, previous, prefixes)
    numbered = {name: i for i, name in enumerate(dict.fromkeys(session))}
    sessions = Sessions(
        session=np.array([numbered[name] for name in session], dtype=np.int32),
        round=number.astype(np.int32),
        previous=np.array(previous, dtype=np.int32),
        think_ps=np.where(np.array(previous) == UNKNOWN, 0, to_ps(columns["think_s"][order])),
        prompt=prompt,
        answer=answer,
        segments=segments,
    )
    return Rounds(sessions, cached_tokens)


def _texts(
    served: Served, previous: list[int], prefixes: list[tuple[object, int]]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]], np.ndarray[tuple[int], np.dtype[np.int32]], Segments]:
    """The segments of all prompts and answers: a prefix, if any, and in turn what is asked and what is answered."""
    size = len(served)
    roots = {prefix: i for i, prefix in enumerate(dict.fromkeys(each for each in prefixes if each[1]))}
    prompt = len(roots) + 2 * np.arange(size, dtype=np.int32)
    answer = prompt + np.int32(1)
    parent = np.full(len(roots) + 2 * size, UNKNOWN, dtype=np.int32)
    parent[prompt] = [
        roots.get(prefix, UNKNOWN) if before == UNKNOWN else answer[before]
        for before, prefix in zip(previous, prefixes, strict=True)
    ]
    parent[answer] = prompt
    end = np.zeros(len(parent), dtype=np.int64)
    end[: len(roots)] = [tokens for _, tokens in roots]
    end[prompt] = served.prompt_tokens
    end[answer] = served.prompt_tokens + served.output_tokens
    return prompt, answer, Segments(parent, end)
