"""What the prompts and answers of conversations consist of, as pieces of text."""

import numpy as np
from numpy.typing import NDArray

from sunsim.workload.sessions import UNKNOWN, Segments, Sessions


def chained(
    prompt_tokens: NDArray[np.integer],
    output_tokens: NDArray[np.integer],
    think_ps: NDArray[np.int64],
    opens: NDArray[np.bool_],
    kept_tokens: NDArray[np.int64] | None = None,
    root: NDArray[np.int64] | None = None,
    root_tokens: NDArray[np.int64] | None = None,
) -> Sessions:
    """Sessions whose rounds stand one after the other: each prompt begins with what was said in its session before.

    Args:
        prompt_tokens: of whole prompts, int[n].
        output_tokens: int[n].
        think_ps: after the round before, int64[n]; not looked at where there is none.
        opens: whether a session begins, bool[n].
        kept_tokens: how much of what was said before a prompt begins with, less than the prompt has, int64[n]; None: all
            of it. At most what the round before has in prompt and answer. Not looked at where a session begins.
        root: number of the text that a session begins with, and that others may begin with, int64[n], `UNKNOWN` where
            there is none; looked at where a session begins. None: there are none.
        root_tokens: of these texts, each less than a prompt that begins with it has, int64[r].
    """
    size = opens.size
    roots = np.zeros(0, np.int64) if root_tokens is None else root_tokens
    index = np.arange(size, dtype=np.int32)
    prompt = (roots.size + 2 * index).astype(np.int32)
    answer = prompt + np.int32(1)
    parent = np.full(roots.size + 2 * size, UNKNOWN, np.int32)
    parent[prompt] = np.where(opens, UNKNOWN if root is None else root, prompt - 1)
    parent[answer] = prompt
    end = np.concatenate([roots, np.zeros(2 * size, np.int64)])
    end[prompt] = prompt_tokens
    end[answer] = end[prompt] + output_tokens
    starts = np.flatnonzero(opens)
    length = np.diff(np.append(starts, size))
    segments = Segments(parent, end)
    if kept_tokens is not None:
        partly = np.flatnonzero(~opens & (kept_tokens < np.roll(end[answer], 1)))
        if partly.size:
            segments, order = _shortened(segments, prompt, partly, kept_tokens)
            prompt, answer = order[prompt], order[answer]
    return Sessions(
        session=np.repeat(np.arange(starts.size, dtype=np.int32), length),
        round=index - np.repeat(starts, length).astype(np.int32),
        previous=np.where(opens, UNKNOWN, index - 1).astype(np.int32),
        think_ps=np.where(opens, 0, think_ps),
        prompt=prompt,
        answer=answer,
        segments=segments,
    )


def _shortened(
    segments: Segments, prompt: NDArray[np.int32], partly: NDArray[np.int64], kept_tokens: NDArray[np.int64]
) -> tuple[Segments, NDArray[np.int32]]:
    """Segments where the requests `partly` begin with a part only of what their prompts follow, and their new numbers."""
    parent, end = segments.parent.tolist(), segments.end.tolist()
    for i in partly.tolist():
        wanted, at = int(kept_tokens[i]), parent[prompt[i]]
        while at != UNKNOWN and parent[at] != UNKNOWN and end[parent[at]] >= wanted:
            at = parent[at]
        if not wanted:
            at = UNKNOWN
        elif end[at] > wanted:
            # It is parted: its beginning becomes a segment of its own.
            parent.append(parent[at])
            end.append(wanted)
            parent[at] = at = len(end) - 1
        parent[prompt[i]] = at
    # By their ends, as every segment ends after the one before it.
    ends = np.array(end, np.int64)
    by_end = np.argsort(ends, kind="stable")
    order = np.empty(by_end.size, np.int32)
    order[by_end] = np.arange(by_end.size)
    before = np.array(parent, np.int32)[by_end]
    return Segments(np.where(before == UNKNOWN, UNKNOWN, order[before]).astype(np.int32), ends[by_end]), order


def merged(segments: Segments, prompt: NDArray[np.int32]) -> tuple[Segments, NDArray[np.int32]]:
    """The same texts in as few segments as tell them apart, and the segments that prompts end with, int32[n].

    Args:
        segments: of prompts alone.
        prompt: the segments that they end with, int32[n].
    """
    follow = np.bincount(segments.parent[segments.parent != UNKNOWN], minlength=len(segments))
    needed = follow != 1
    needed[prompt] = True
    number = np.cumsum(needed, dtype=np.int32) - np.int32(1)
    above: list[int] = []  # of each segment, the needed one that is nearest before it
    for before in segments.parent.tolist():
        above.append(before if before == UNKNOWN or needed[before] else above[before])
    parent = np.array(above, np.int32)[needed]
    return Segments(np.where(parent == UNKNOWN, UNKNOWN, number[parent]), segments.end[needed]), number[prompt]


def repeated_tokens(sessions: Sessions) -> NDArray[np.int64]:
    """How much of each prompt's beginning an earlier request has in its prompt or answer, in tokens, int64[n].

    A cache that forgets nothing would find so much, if requests came in their order, one when the other is over.
    """
    parent, end = sessions.segments.parent.tolist(), sessions.segments.end.tolist()
    seen = [False] * len(end)
    found = np.zeros(sessions.prompt.size, np.int64)
    for i, (prompt, answer) in enumerate(zip(sessions.prompt.tolist(), sessions.answer.tolist(), strict=True)):
        at = prompt
        while at != UNKNOWN and not seen[at]:
            at = parent[at]
        found[i] = 0 if at == UNKNOWN else end[at]
        at = answer
        while at != UNKNOWN and not seen[at]:
            seen[at] = True
            at = parent[at]
    return found
