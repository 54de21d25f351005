"""What the prompts of Mooncake's and Bailian's traces have in common: hashes of their blocks of tokens, and chats."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunsim.errors import InputError
from sunsim.workload.sessions import UNKNOWN, Segments, Sessions
from sunsim.workload.texts import merged
from sunsim.workload.traces.json_lines import keys_of, shown
from sunsim.workload.traces.rows import TraceRows
from sunsim.workload.traces.text import read_text

BLOCK_TOKENS = {"bailian": 16, "mooncake": 512}
"""Tokens that a hash stands for, by format; the last one of a prompt may stand for fewer."""

HASHES, CHAT, PARENT = "hash_ids", "chat_id", "parent_chat_id"


@lru_cache(maxsize=2)
def hashed_sessions(rows: TraceRows, path: Path, block_tokens: int) -> Sessions:
    """What requests of a trace have in common, all of which arrive when the trace says.

    Prompts have the blocks in common of which all hashes up to there are the same. An answer is a text of its own, of
    which later prompts' hashes do not tell that they hold it. Chats are sessions where the trace says which request
    follows which.

    Args:
        rows: those that are used, of this file.
        path: of the trace, which is read again: hashes are not kept where nothing asks for them.
        block_tokens: that each hash stands for.

    Raises:
        InputError: hashes or chats of a line are wrong, or the file can no longer be read.
    """
    wanted = {line: row for row, line in enumerate(rows.line.tolist())}
    told: list[dict[str, Any]] = [{} for _ in wanted]
    for number, written in enumerate(read_text(path), 1):
        row = wanted.get(number)
        if row is not None:
            found = keys_of(written) or {}
            told[row] = {key: found[key] for key in (HASHES, CHAT, PARENT) if key in found}
    session, turn = _chats(told, rows, path)
    segments, prompt = _tree(told, rows, path, block_tokens)
    size = len(rows)
    answer = len(segments) + np.arange(size, dtype=np.int32)
    return Sessions(
        session=session,
        round=turn,
        previous=np.full(size, UNKNOWN, np.int32),
        think_ps=np.zeros(size, np.int64),
        prompt=prompt,
        answer=answer,
        segments=Segments(
            np.concatenate([segments.parent, prompt]),
            np.concatenate([segments.end, rows.prompt_tokens + rows.output_tokens]),
        ),
    )


def _tree(
    told: Sequence[dict[str, Any]], rows: TraceRows, path: Path, block_tokens: int
) -> tuple[Segments, NDArray[np.int32]]:
    """Segments of all prompts, and those that the prompts end with, int32[n]."""
    # By the segment before, the hash, and where the block ends: a part of a block is not the beginning of the whole.
    known: dict[tuple[int, int, int], int] = {}
    parent: list[int] = []
    end: list[int] = []
    prompt = np.empty(len(rows), np.int32)
    for row, tokens in enumerate(rows.prompt_tokens.tolist()):
        at = UNKNOWN
        for number, block in enumerate(_hashes(told[row], tokens, block_tokens, path, int(rows.line[row])), 1):
            key = (at, block, min(number * block_tokens, tokens))
            at = known.setdefault(key, len(end))
            if at == len(end):
                parent.append(key[0])
                end.append(key[2])
        if at == UNKNOWN:
            parent.append(UNKNOWN)
            end.append(tokens)
            at = len(end) - 1
        prompt[row] = at
    return merged(Segments(np.array(parent, np.int32), np.array(end, np.int64)), prompt)


def _hashes(told: dict[str, Any], tokens: int, block_tokens: int, path: Path, line: int) -> Iterable[int]:
    """Of a prompt's blocks; none where the line has none."""
    if HASHES not in told:
        return ()
    found = told[HASHES]
    if not isinstance(found, list) or not all(isinstance(block, int) for block in found):
        message = f"{HASHES} is {shown(found)}, must be a list of whole numbers"
        raise InputError(message, path, line)
    blocks = -(-tokens // block_tokens)
    if len(found) != blocks:
        message = (
            f"the length of {HASHES} is {len(found)}, must be {blocks}: one for each {block_tokens} tokens of {tokens}"
        )
        raise InputError(message, path, line)
    return found


def _chats(told: Sequence[dict[str, Any]], rows: TraceRows, path: Path) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Session and round of each request, int32[n]; one whose parent is not among those before begins a session."""
    row_of: dict[Any, int] = {}
    session, turn = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    sessions = 0
    for row, line in enumerate(told):
        for key in (CHAT, PARENT):
            if not isinstance(line.get(key, 0), int | str):
                message = f"{key} is {shown(line[key])}, must be a number or a name"
                raise InputError(message, path, int(rows.line[row]))
        before = row_of.get(line.get(PARENT, UNKNOWN))
        if before is None:
            session[row] = sessions
            sessions += 1
        else:
            session[row], turn[row] = session[before], turn[before] + 1
        if CHAT in line:
            row_of[line[CHAT]] = row
    return session, turn
