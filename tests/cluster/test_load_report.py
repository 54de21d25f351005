"""What a router knows of workers that report their load now and then, and where it sends requests for want of more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.cluster.load_report import SeenLoad
from tests.cluster.worlds import pool, scenario, serve, write_profile

SECOND = 10**12


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return write_profile(tmp_path)


def test_what_was_sent_since_the_report_is_added_to_it() -> None:
    seen = SeenLoad()
    for tokens in (10, 20, 40):
        seen.send(tokens)
    assert (seen.num_requests, seen.num_tokens) == (3, 70)
    seen.report(received=2, num_requests=1, num_tokens=25)
    assert (seen.num_requests, seen.num_tokens) == (2, 65)
    seen.report(received=3, num_requests=2, num_tokens=70)
    assert (seen.num_requests, seen.num_tokens) == (2, 70)


@given(tokens=st.lists(st.integers(1, 99), max_size=20), received=st.integers(0, 20))
def test_the_load_is_what_is_there_and_what_is_on_its_way(tokens: list[int], received: int) -> None:
    seen, received = SeenLoad(), min(received, len(tokens))
    for each in tokens:
        seen.send(each)
    seen.report(received, received, sum(tokens[:received]))
    assert (seen.num_requests, seen.num_tokens) == (len(tokens), sum(tokens))


def workers(profile: Path, **options: object) -> list[str]:
    """Where four requests go: two at the start, then, when only the second of these can have ended, two more."""
    decode = pool(profile, policy="shared", workers=2, router="least-requests", **options)
    rows = [(0, 0, 10, 500), (1, 0, 10, 1), (2 * SECOND, 0, 10, 1), (2 * SECOND + 1, 0, 10, 1)]
    result = serve(scenario(["a"], {"decode": decode}), rows)
    assert result.rows["last_token_s"][0] > 2 > result.rows["last_token_s"][1]
    return [name.rpartition("/")[2] for name in result.rows["decode_worker"]]


def test_a_router_that_sees_the_load_sends_a_request_to_the_free_worker(profile: Path) -> None:
    assert workers(profile) == ["0", "1", "1", "0"]


def test_one_that_has_had_a_report_meanwhile_does_too(profile: Path) -> None:
    assert workers(profile, load_report={"every_ms": 1000.0, "delay_ms": 999.0}) == ["0", "1", "1", "0"]


@pytest.mark.parametrize("report", [{"every_ms": 2001.0}, {"every_ms": 1500.0, "delay_ms": 501.0}])
def test_one_whose_report_is_still_to_come_takes_turns(report: dict[str, float], profile: Path) -> None:
    assert workers(profile, load_report=report) == ["0", "1", "0", "1"]


def test_reports_end_with_the_requests(profile: Path) -> None:
    decode = pool(profile, policy="shared", workers=2, load_report={"every_ms": 1.0})
    result = serve(scenario(["a"], {"decode": decode}), [(0, 0, 10, 5)])
    assert result.rows["outcome"].tolist() == ["finished"]
