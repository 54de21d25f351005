"""What prompts have in common, against texts written out token by token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sunsim.workload.sessions import UNKNOWN, Segments, Sessions
from sunsim.workload.texts import chained, merged, repeated_tokens

Token = tuple[int, int]
"""Who wrote it, and its place in the text."""


class Turn(NamedTuple):
    """A round: whether it begins a session, new tokens beside what it keeps, its answer's, and how much it keeps."""

    opens: bool
    new: int
    answer: int
    kept: float
    prefix: int


TURNS = st.lists(
    st.builds(Turn, st.booleans(), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(UNKNOWN, 1)),
    min_size=1,
    max_size=14,
)
PREFIXES = np.array([3, 5])


def written(turns: list[Turn]) -> tuple[list[list[Token]], list[list[Token]], list[int]]:
    """Prompts and whole texts, and how many tokens each keeps of the one before."""
    prompts: list[list[Token]] = []
    texts: list[list[Token]] = []
    kept = []
    for i, turn in enumerate(turns):
        if i == 0 or turn.opens:
            before = [(-1 - turn.prefix, k) for k in range(PREFIXES[turn.prefix])] if turn.prefix != UNKNOWN else []
            kept.append(0)
        else:
            before = texts[-1][: round(turn.kept * len(texts[-1]))]
            kept.append(len(before))
        prompts.append(before + [(i, k) for k in range(turn.new)])
        texts.append(prompts[-1] + [(i, 100 + k) for k in range(turn.answer)])
    return prompts, texts, kept


def made(turns: list[Turn]) -> Sessions:
    prompts, _, kept = written(turns)
    return chained(
        np.array([len(prompt) for prompt in prompts]),
        np.array([turn.answer for turn in turns]),
        np.zeros(len(turns), np.int64),
        np.array([i == 0 or turn.opens for i, turn in enumerate(turns)]),
        np.array(kept),
        np.array([turn.prefix for turn in turns]),
        PREFIXES,
    )


def path(segments: Segments, at: int) -> list[int]:
    found = []
    while at != UNKNOWN:
        found.append(at)
        at = int(segments.parent[at])
    return found[::-1]


def common(one: list[Token], other: list[Token]) -> int:
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return same


def common_by_segments(segments: Segments, one: int, other: int) -> int:
    shared = set(path(segments, one)) & set(path(segments, other))
    return max((int(segments.end[at]) for at in shared), default=0)


@given(TURNS)
def test_texts_have_in_common_what_their_segments_have(turns: list[Turn]) -> None:
    told = made(turns)
    prompts, texts, _ = written(turns)
    before = told.segments.parent != UNKNOWN
    assert (told.segments.parent < np.arange(len(told.segments))).all()
    assert (told.segments.end[before] > told.segments.end[told.segments.parent[before]]).all()
    for i in range(len(turns)):
        assert told.segments.end[told.prompt[i]] == len(prompts[i])
        assert told.segments.end[told.answer[i]] == len(texts[i])
        assert told.prompt[i] in path(told.segments, told.answer[i])
        for j in range(i):
            assert common_by_segments(told.segments, told.answer[i], told.answer[j]) == common(texts[i], texts[j])


@given(TURNS)
def test_what_repeats_is_the_longest_beginning_that_an_earlier_text_has(turns: list[Turn]) -> None:
    prompts, texts, _ = written(turns)
    expected = [max((common(prompts[i], text) for text in texts[:i]), default=0) for i in range(len(turns))]
    assert repeated_tokens(made(turns)).tolist() == expected


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=10))
def test_merged_segments_tell_the_same_texts_apart_and_are_no_more_than_that_takes(texts: list[list[int]]) -> None:
    known: dict[tuple[int, ...], int] = {}
    parent, end = [], []
    for text in texts:
        for k in range(1, len(text) + 1):
            beginning = tuple(text[:k])
            if beginning not in known:
                parent.append(known.get(beginning[:-1], UNKNOWN))
                end.append(k)
                known[beginning] = len(end) - 1
    prompt = np.array([known[tuple(text)] for text in texts], np.int32)
    segments, ends = merged(Segments(np.array(parent, np.int32), np.array(end, np.int64)), prompt)
    for i, text in enumerate(texts):
        assert segments.end[ends[i]] == len(text)
        for j in range(i):
            expected = common([(token, 0) for token in text], [(token, 0) for token in texts[j]])
            assert common_by_segments(segments, ends[i], ends[j]) == expected
    children = np.bincount(segments.parent[segments.parent != UNKNOWN], minlength=len(segments))
    assert set(np.flatnonzero(children == 1)) <= set(ends.tolist())


def test_without_anything_kept_sessions_hold_all_that_was_said() -> None:
    told = chained(np.array([5, 20, 7]), np.array([2, 3, 4]), np.array([9, 9, 9]), np.array([True, False, True]))
    assert told.segments.parent.tolist() == [UNKNOWN, 0, 1, 2, UNKNOWN, 4]
    assert told.segments.end.tolist() == [5, 7, 20, 23, 7, 11]
    assert (told.session.tolist(), told.round.tolist()) == ([0, 0, 1], [0, 1, 0])
    assert (told.previous.tolist(), told.think_ps.tolist()) == ([UNKNOWN, 0, UNKNOWN], [0, 9, 0])
