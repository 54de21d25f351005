"""Parts of a trace laid end to end."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.scenario import build_requests, load_scenario, resolved
from sunsim.workload.changes import Stretch
from sunsim.workload.traces.rows import TraceRows
from sunsim.workload.traces.select import Window, select
from tests.scenario_files import write_trace

COLUMNS = "arrival_s,prompt_tokens,output_tokens\n"
TRACE = COLUMNS + "".join(f"{10 * i},{i + 1},9\n" for i in range(10))
STRETCHES = "workload.stretches=[{start_s: 60, duration_s: 20}, {start_s: 10, duration_s: 30, rate_scale: 2}]"


def rows_at(arrival_s: list[float]) -> TraceRows:
    ones = np.ones(len(arrival_s), np.int64)
    return TraceRows(np.array(sorted(arrival_s)), ones, ones, np.arange(len(arrival_s)) + 2)


@given(
    st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=60),
    st.lists(st.integers(0, 1000), min_size=2, max_size=10, unique=True),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_every_request_of_a_stretch_is_played_once_at_its_place(
    arrival_s: list[float], edges: list[int], rate_scale: float, random: object
) -> None:
    rows = rows_at(arrival_s)
    last = rows.arrival_s[-1]
    stretches = [
        Stretch(start_s=low, duration_s=high - low, rate_scale=rate_scale)
        for low, high in [*pairwise(sorted(edges))][::2]
        if low <= last
    ]
    getattr(random, "shuffle")(stretches)  # noqa: B009 - hypothesis gives its type no name
    played = [
        (line, at_s, stretch)
        for stretch in stretches
        for line, at_s in zip(rows.line, rows.arrival_s, strict=True)
        if stretch.start_s <= at_s < stretch.end_s
    ]
    if not played:
        return
    selection = select(rows, Window(stretches=tuple(stretches), rate_scale=2.0), Path("t.csv"))
    assert selection.rows.line.tolist() == [line for line, _, _ in played]
    begin_s = dict(zip(stretches, np.cumsum([0, *(each.duration_s / rate_scale for each in stretches)]), strict=False))
    expected = [(begin_s[stretch] + (at_s - stretch.start_s) / rate_scale) / 2 for _, at_s, stretch in played]
    assert selection.rows.arrival_s == pytest.approx(np.array(expected), abs=1e-9)
    assert (np.diff(selection.rows.arrival_s) >= 0).all()
    assert selection.outside_window == len(rows) - len(played)


def test_stretches_are_played_in_the_order_given(tmp_path: Path) -> None:
    scenario = load_scenario(write_trace(tmp_path, TRACE), [STRETCHES])
    requests = build_requests(scenario)
    assert requests.prompt_tokens.tolist() == [7, 8, 2, 3, 4]
    assert (requests.arrival_ps / 1e12).tolist() == [0, 10, 20, 25, 30]
    again = tmp_path / "resolved.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario
    first = load_scenario(write_trace(tmp_path, TRACE), [STRETCHES, "workload.requests=3", "workload.rate_scale=10"])
    assert (build_requests(first).arrival_ps / 1e12).tolist() == [0, 1, 2]
    assert first.trace
    assert first.trace.outside_window == 7


def test_what_does_not_fit_is_dropped_from_its_own_place(tmp_path: Path) -> None:
    long = TRACE.replace("\n20,3,9\n", "\n20,99999,9\n").replace("\n70,8,9\n", "\n70,99999,9\n")
    overrides = [STRETCHES, "workload.too_long=drop", "workload.requests=3"]
    requests = build_requests(load_scenario(write_trace(tmp_path, long), overrides))
    assert requests.prompt_tokens.tolist() == [7, 2, 4]
    with pytest.raises(InputError, match=r"trace\.csv:9: the request has 100008 tokens"):
        build_requests(load_scenario(write_trace(tmp_path, long), [STRETCHES]))


def test_a_session_is_played_whole_where_it_begins(tmp_path: Path) -> None:
    rows = ["0,9,9,a,0,", ",30,9,a,1,50", "5,8,9,b,0,", "10,7,9,c,0,", ",40,9,c,1,3", ",60,9,c,2,4", "12,6,9,d,0,"]
    text = "arrival_s,prompt_tokens,output_tokens,session,round,think_s\n" + "\n".join(rows) + "\n"
    stretches = "workload.stretches=[{start_s: 10, duration_s: 9}, {start_s: 0, duration_s: 5}]"
    requests = build_requests(load_scenario(write_trace(tmp_path, text), [stretches]))
    assert requests.sessions
    assert requests.prompt_tokens.tolist() == [7, 40, 60, 6, 9, 30]
    assert requests.sessions.session.tolist() == [0, 0, 0, 1, 2, 2]
    assert (requests.sessions.think_ps / 1e12).tolist() == [0, 3, 4, 0, 0, 50]
    assert (requests.arrival_ps / 1e12).tolist() == [0, 0, 0, 2, 9, 0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["workload.stretches=[]"], "workload.stretches is an empty list, must be a list with at least one entry"),
        (["workload.stretches=[{start_s: 0}]"], "workload.stretches.0.duration_s is missing, must be given"),
        (
            ["workload.stretches=[{start_s: 0, duration_s: 9, rate_scale: 0}]"],
            "workload.stretches.0.rate_scale is 0, must be above 0",
        ),
        (
            [STRETCHES, "workload.start_s=4"],
            "workload: start_s and stretches are given, must be one of them: each stretch has its own",
        ),
        (
            [STRETCHES, "workload.duration_s=4"],
            "workload: duration_s and stretches are given, must be one of them: each stretch has its own",
        ),
        (
            ["workload.stretches=[{start_s: 20, duration_s: 9}, {start_s: 10, duration_s: 10.5}]"],
            "workload: the stretch from 20 s begins before that from 10 s ends (20.5 s), must not overlap: no request is",
        ),
    ],
)
def test_wrong_stretches_are_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(write_trace(tmp_path, TRACE), overrides)
    assert caught.value.message.startswith(message)


def test_a_stretch_behind_the_trace_is_refused_at_its_last_line(tmp_path: Path) -> None:
    scenario = load_scenario(write_trace(tmp_path, TRACE), ["workload.stretches=[{start_s: 90.5, duration_s: 9}]"])
    message = "trace.csv:11: the last request arrives at 90 s, must not be before the stretch from 90.5 s"
    with pytest.raises(InputError, match=message):
        build_requests(scenario)
