"""Where a later round's prompt is computed, by the slack of both sides."""

from __future__ import annotations

from dataclasses import dataclass

from sunsim.cluster.append import WINDOW_PS, Slack
from sunsim.cluster.sequence import KV, Sequence

MS = 10**9
TTFT, TPOT = 100 * MS, 10 * MS


@dataclass
class Worker:
    slot: int

    def cached_tokens(self, sequence: Sequence) -> int:
        raise AssertionError(sequence)


def ended(pace_ps: int, tokens: int) -> Sequence:
    sequence = Sequence(0, 0, 5, tokens, KV.GIVEN)
    sequence.first_ps, sequence.last_ps = 7, 7 + pace_ps * (tokens - 1)
    return sequence


def is_local(slack: Slack, slot: int, now_ps: int) -> bool:
    return slack.is_local(ended(0, 1), Worker(slot), now_ps)


def test_the_side_that_is_further_within_its_limit_gets_the_round() -> None:
    slack = Slack([(TTFT, TPOT)])
    assert is_local(slack, 0, 0)  # nothing has been seen of either
    slack.decoded(0, ended(5 * MS, 9), 9, 0)
    assert not is_local(slack, 0, 1)
    slack.waited(0, 60 * MS, 2)
    assert is_local(slack, 0, 3)
    slack.waited(0, 30 * MS, 4)  # 45 ms in the mean, of 100; the worker takes 5 of 10
    assert not is_local(slack, 0, 5)
    assert is_local(slack, 1, 5)  # another worker, of which nothing has been seen


def test_what_was_seen_long_ago_does_not_count() -> None:
    slack = Slack([(TTFT, TPOT)])
    slack.decoded(0, ended(5 * MS, 9), 9, 0)
    assert not is_local(slack, 0, WINDOW_PS - 1)
    assert is_local(slack, 0, WINDOW_PS)


def test_each_model_has_its_own_limits_and_one_token_no_pace() -> None:
    slack = Slack([(TTFT, TPOT), (2 * TTFT, TPOT)])
    slack.waited(1, 100 * MS, 0)  # half of the second model's limit
    slack.decoded(0, ended(0, 1), 1, 0)
    slack.decoded(0, ended(6 * MS, 2), 2, 0)
    assert not is_local(slack, 0, 1)
    slack.waited(0, 90 * MS, 1)
    assert is_local(slack, 0, 1)
