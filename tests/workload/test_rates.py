"""Arrivals at rates that change: against numbers of requests, closed forms and one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sunsim.errors import InputError
from sunsim.inputs import files
from sunsim.scenario import build_requests, load_scenario, resolved
from sunsim.workload.arrivals import draw_along, draw_arrivals
from sunsim.workload.blocks import Arrivals, Constant, Gamma, Poisson, file_of, with_file
from sunsim.workload.changes import Bursts, Curve, Diurnal, RateSteps
from sunsim.workload.lines import Lines
from sunsim.workload.rates import drawn_rate, own_mean, own_rate, rate_of, read_rates
from sunsim.workload.requests import Requests, draw_arrivals_s
from sunsim.workload.streams import stream
from tests.scenario_files import write_scenario

DAY = Diurnal(peak_to_mean=1.8, peak_s=50_400)
STEPS = RateSteps(rates=((0, 5), (100, 0), (150, 20), (400, 1)))
CHI_SQUARE_6 = 22.46
"""What chi-square of 6 degrees of freedom is above once in a thousand times."""
SHARED = ("arms.isolated.prefill=null", "arms.isolated.decode.workers=4", "measure.warmup_s=0")


def completed(arrivals: Arrivals, duration_s: float) -> Arrivals:
    """With the rate of its own curve."""
    assert arrivals.curve
    return arrivals.model_copy(update={"rate_rps": own_mean(own_rate(arrivals.curve, duration_s))})


def requests_of(folder: Path, *overrides: str) -> Requests:
    return build_requests(load_scenario(write_scenario(folder), [*SHARED, *overrides]))


def test_a_day_is_the_cosine_that_it_says() -> None:
    day = own_rate(DAY, 100_000.0)
    time_s = np.linspace(0, 99_999, 1234)
    turn = 2 * np.pi / 86_400
    assert day.at(time_s) == pytest.approx(1 + 0.8 * np.cos(turn * (time_s - 50_400)), abs=2.4e-6)
    exact_s = 100_000 + 0.8 / turn * (np.sin(turn * (100_000 - 50_400)) + np.sin(turn * 50_400))
    assert day.integral[-1] == pytest.approx(exact_s, rel=2e-6)
    assert own_mean(own_rate(Diurnal(peak_to_mean=2, peak_s=3, period_s=10), 30.0)) == pytest.approx(1, rel=1e-12)
    assert own_rate(Diurnal(peak_to_mean=2, peak_s=0, period_s=10), 30.0).first.min() >= 0


@given(
    st.one_of(
        st.builds(Diurnal, peak_to_mean=st.floats(1, 2), peak_s=st.floats(0, 1e5), period_s=st.floats(50, 1e5)),
        st.lists(st.floats(0.001, 50), min_size=1, max_size=6).map(
            lambda rates: RateSteps(rates=tuple((70.0 * i, rate) for i, rate in enumerate(rates)))
        ),
    ),
    st.floats(1, 500),
    st.floats(0.1, 1e4),
)
@settings(deadline=None)
def test_the_rate_is_the_mean_over_the_run(curve: Curve, duration_s: float, rate_rps: float) -> None:
    once, twice = (rate_of(Poisson(rate_rps=times * rate_rps, curve=curve), duration_s) for times in (1, 2))
    assert once.end_s == duration_s
    assert once.integral[-1] == pytest.approx(rate_rps * duration_s, rel=1e-9)
    assert twice.first == pytest.approx(2 * once.first, rel=1e-12)


def test_a_curve_that_stays_draws_as_a_rate_does() -> None:
    flat = RateSteps(rates=((0, 3),))
    for plain in (Poisson(rate_rps=3), Gamma(rate_rps=3, burstiness=0.5), Constant(rate_rps=3)):
        along = draw_arrivals_s(plain.model_copy(update={"curve": flat}), 4, 1000.0, None)
        assert along == pytest.approx(draw_arrivals(plain, stream(4, "arrivals"), 1000.0, None), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_each_step_has_a_poisson_number_of_requests(seed: int) -> None:
    arrivals = completed(Poisson(curve=STEPS), 900.0)
    edges_s = [0, 50, 100, 150, 200, 300, 400, 900]
    counts = np.histogram(draw_arrivals_s(arrivals, seed, 900.0, None), edges_s)[0]
    expected = np.array([250, 250, 0, 1000, 2000, 2000, 500])
    assert counts[2] == 0
    off = ((counts - expected) ** 2 / np.maximum(expected, 1)).sum()
    assert off < CHI_SQUARE_6


@pytest.mark.parametrize(
    ("arrivals", "variation"),
    [(Poisson(curve=DAY, rate_rps=2), 1.0), (Gamma(curve=DAY, rate_rps=2, burstiness=4), 0.5)],
)
def test_gaps_vary_as_they_do_at_a_rate_that_stays(arrivals: Arrivals, variation: float) -> None:
    rate = rate_of(arrivals, 86_400.0)
    times_s = draw_along(arrivals, rate, np.random.default_rng(1), None)
    reached = rate.integral[rate.piece(times_s)] + _within(rate, times_s)
    gaps = np.diff(reached)
    assert gaps.mean() == pytest.approx(1, abs=4 * variation / gaps.size**0.5)
    assert gaps.std() == pytest.approx(variation, rel=0.02)


def _within(rate: Lines, times_s: np.ndarray) -> np.ndarray:
    """The integral from the beginning of each time's piece."""
    piece = rate.piece(times_s)
    return (times_s - rate.edge_s[piece]) * (rate.first[piece] + rate.at(times_s)) / 2


def test_equal_gaps_come_when_whole_numbers_are_expected() -> None:
    arrivals = completed(Constant(curve=RateSteps(rates=((0, 1), (3, 0), (10, 2)))), 12.0)
    assert draw_arrivals_s(arrivals, 0, 12.0, None) == pytest.approx([0, 1, 2, 10, 10.5, 11, 11.5])
    assert draw_arrivals_s(arrivals, 0, 12.0, 4) == pytest.approx([0, 1, 2, 10])


def test_a_longer_run_only_appends_where_a_curve_has_its_own_rates() -> None:
    bursts = Bursts(every_s=30, length_s=10, factor=4)
    short, long = (
        draw_arrivals_s(completed(Poisson(curve=STEPS, bursts=bursts), end_s), 3, end_s, None)
        for end_s in (500.0, 900.0)
    )
    assert short.size < long.size
    assert short == pytest.approx(long[: short.size], rel=1e-12)
    assert long[short.size] >= 500


def test_bursts_are_where_their_stream_says_and_on_top_of_the_mean() -> None:
    bursts = Bursts(every_s=200, length_s=10, factor=5)
    rate = drawn_rate(Poisson(rate_rps=2, bursts=bursts), 2000.0, 11)
    gaps_s = 200 * stream(11, "bursts").standard_exponential(50)
    begin_s = np.cumsum(gaps_s) + 10 * np.arange(50)
    begin_s = begin_s[begin_s < 1990]
    assert begin_s.size > 3
    assert rate.at(begin_s).tolist() == rate.at(begin_s + 9.99).tolist() == [10.0] * begin_s.size
    assert rate.at(begin_s - 0.01).tolist() == rate.at(begin_s + 10.01).tolist() == [2.0] * begin_s.size
    assert rate.integral[-1] == pytest.approx(2 * 2000 + 8 * 10 * begin_s.size, abs=80)


def test_in_the_long_run_bursts_bring_what_they_promise() -> None:
    bursts = Bursts(every_s=9, length_s=1, factor=11)
    rate = drawn_rate(Poisson(rate_rps=1, bursts=bursts), 1e6, 2)
    assert bursts.gain == 2.0
    assert rate.integral[-1] / 1e6 == pytest.approx(2.0, abs=0.02)


def test_a_curve_changes_nothing_but_arrivals(tmp_path: Path) -> None:
    plain = requests_of(tmp_path)
    along = requests_of(
        tmp_path,
        "workload.arrivals.curve={kind: diurnal, peak_to_mean: 1.5, peak_s: 30, period_s: 60}",
        "workload.arrivals.bursts={every_s: 20, length_s: 2, factor: 3}",
    )
    size = min(len(plain), len(along))
    assert not np.array_equal(plain.arrival_ps[:size], along.arrival_ps[:size])
    for column in ("model", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(plain, column)[:size], getattr(along, column)[:size])
    assert len(plain) == pytest.approx(60 * 120, abs=5 * (60 * 120) ** 0.5)
    assert len(along) > 60 * 120 * 1.1


def test_sessions_begin_along_a_curve(tmp_path: Path) -> None:
    workload = (
        "workload={kind: sessions, duration_s: 100, rounds: {mean: 2}, think_s: {mean: 1}, user: {kind: fixed, tokens: 9}, "
        "output: {kind: fixed, tokens: 9}, arrivals: {kind: constant, curve: {kind: steps, rates: [[0, 1], [50, 3]]}}}"
    )
    requests = requests_of(tmp_path, workload)
    assert requests.sessions
    begun_s = requests.arrival_ps[requests.sessions.round == 0] / 1e12
    assert np.histogram(begun_s, [0, 50, 100])[0].tolist() == [50, 150]


def test_a_file_of_rates_is_joined_by_lines_and_found_again(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("note,time_s,rate_rps\na,0,0\nb,60,4\nc,300,4\n")
    scenario = load_scenario(
        write_scenario(tmp_path), [*SHARED, "workload.arrivals={kind: constant, curve: {kind: csv, path: rates.csv}}"]
    )
    (arrivals,) = [scenario.workload.arrivals] if scenario.workload.kind == "synthetic" else []
    assert isinstance(arrivals, Constant)
    assert arrivals.rate_rps == 3.0
    requests = build_requests(scenario)
    # Of the ramp the n-th comes when (t / 60)**2 * 120 is n; then one in 0.25 s.
    assert len(requests) == 360
    assert requests.arrival_ps[30] == 30 * 10**12
    assert requests.arrival_ps[121] == 60_250_000_000_000
    again = tmp_path / "elsewhere" / "resolved.yaml"
    again.parent.mkdir()
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario
    assert resolved(load_scenario(again)) == resolved(scenario)
    assert files(scenario)[str(tmp_path / "rates.csv")] == tmp_path / "rates.csv"
    moved = with_file(scenario.workload, tmp_path / "copy.csv")
    assert file_of(moved) == tmp_path / "copy.csv"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("time_s,rate\n0,1\n", 1, "column rate_rps is missing, must be there once; the columns are time_s, rate"),
        ("time_s,rate_rps,time_s\n0,1,2\n", 1, "column time_s is there twice, must be there once"),
        ("time_s,rate_rps\n0,1\n", None, "has 1 points, must have at least two lines after the column names"),
        ("", 1, "column time_s is missing"),
        ("time_s,rate_rps\n1,1\n2,2\n", 2, "time_s is 1 in the first line, must be 0: when the run begins"),
        ("time_s,rate_rps\n0,1\n2,2\n2,3\n", 4, "time_s is 2 after 2 in the line before, must rise"),
        ("time_s,rate_rps\n0,1\n200,-2\n", 3, "rate_rps is '-2', must be a number from 0 to 1,000,000,000"),
        ("time_s,rate_rps\n0,1\n200,nan\n", 3, "rate_rps is 'nan', must be a number from 0 to 1,000,000,000"),
        ("time_s,rate_rps\n0,1\n200,1_0\n", 3, "rate_rps is '1_0', must be a number from 0 to 1,000,000,000"),
        ("time_s,rate_rps\n0,1\n200,\uff12\n", 3, "rate_rps is '\uff12', must be a number from 0 to 1,000,000,000"),
        ("time_s,rate_rps\n0,1\nnoon,2\n", 3, "time_s is 'noon', must be a number from 0 to 8,640,000"),
        ("time_s,rate_rps\n0,1\n200\n", 3, "the line has 1 values, must have 2"),
        ('time_s,rate_rps\n0,"1\n200,3\n', 2, "a quote opens in the line and is not closed in it"),
        ("time_s,rate_rps\n0,1\n119,2\n", 3, "time_s ends at 119, must go on to workload.duration_s (120)"),
        ("time_s,rate_rps\n0,0\n119,0\n500,0\n", 0, "workload.arrivals.curve has no rate before 120 s, must have one"),
    ],
)
def test_a_wrong_file_of_rates_is_refused_at_its_line(
    tmp_path: Path, text: str, line: int | None, message: str
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_scenario(write_scenario(tmp_path), [*SHARED, "workload.arrivals.curve={kind: csv, path: rates.csv}"])
    place = "--set" if line == 0 else str(path) if line is None else f"{path}:{line}"
    assert str(caught.value).startswith(f"{place}: {message}")


def test_a_file_of_rates_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("time_s,rate_rps\n0,1\n10,1\n")
    assert read_rates(path) is read_rates(path)
    path.write_text("time_s,rate_rps\n0,1\n10,22\n")
    assert read_rates(path).last.tolist() == [22.0]
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_rates(path)


CURVE = "workload.arrivals.curve="


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"{CURVE}{{}}", "workload.arrivals.curve.kind is missing, must be one of diurnal, steps, csv"),
        (f"{CURVE}{{kind: weekly}}", "workload.arrivals.curve.kind is 'weekly', must be one of diurnal, steps, csv"),
        (f"{CURVE}{{kind: diurnal, peak_s: 1}}", "workload.arrivals.curve.peak_to_mean is missing, must be given"),
        (
            f"{CURVE}{{kind: diurnal, peak_s: 1, peak_to_mean: 2.1}}",
            "workload.arrivals.curve.peak_to_mean is 2.1, must be at most 2",
        ),
        (
            f"{CURVE}{{kind: diurnal, peak_s: -1, peak_to_mean: 2}}",
            "workload.arrivals.curve.peak_s is -1, must be at least 0",
        ),
        (
            f"{CURVE}{{kind: diurnal, peak_s: 1, peak_to_mean: 2, period_s: 0.1}}",
            "workload.arrivals.curve.period_s is 0.1, must be at least 0.12: duration_s may have 1,000 of them",
        ),
        (f"{CURVE}{{kind: steps, rates: []}}", "workload.arrivals.curve.rates is an empty list, must be a list with"),
        (f"{CURVE}{{kind: steps, rates: [[0, -1]]}}", "workload.arrivals.curve.rates.0.1 is -1, must be at least 0"),
        (f"{CURVE}{{kind: steps, rates: [[0]]}}", "workload.arrivals.curve.rates.0.1 is missing, must be given"),
        (
            f"{CURVE}{{kind: steps, rates: [[5, 1]]}}",
            "workload.arrivals.curve: the first of rates is at 5 s, must be at 0",
        ),
        (
            f"{CURVE}{{kind: steps, rates: [[0, 1], [9, 1], [9, 2]]}}",
            "workload.arrivals.curve: rates are at 9 s after 9 s, must rise",
        ),
        (
            f"{CURVE}{{kind: steps, rates: [[0, 0], [120, 5]]}}",
            "workload.arrivals.curve has no rate before 120 s, must have one above 0: no request would come",
        ),
        (f"{CURVE}{{kind: csv}}", "workload.arrivals.curve.path is missing, must be given"),
        (f"{CURVE}{{kind: csv, path: none.csv}}", "workload.arrivals.curve.path is 'none.csv', must be a CSV file of"),
        (
            "workload.arrivals={kind: poisson, curve: {kind: diurnal, peak_s: 1, peak_to_mean: 2}}",
            "workload.arrivals.rate_rps is missing, must be given",
        ),
        ("workload.arrivals={kind: poisson}", "workload.arrivals.rate_rps is missing, must be given"),
        (
            "workload.arrivals={kind: closed, concurrency: 4, curve: {kind: steps, rates: [[0, 1]]}}",
            "unknown key workload.arrivals.curve, must be one of kind, concurrency",
        ),
        (
            "workload.arrivals.bursts={every_s: 5, length_s: 1, factor: 0.5}",
            "workload.arrivals.bursts.factor is 0.5, must be at least 1",
        ),
        ("workload.arrivals.bursts={every_s: 5, length_s: 1}", "workload.arrivals.bursts.factor is missing"),
        (
            "workload.arrivals.bursts={every_s: 5, length_s: 0, factor: 2}",
            "workload.arrivals.bursts.length_s is 0, must be above 0",
        ),
        (
            "workload.arrivals.bursts={every_s: 1e-5, length_s: 1e-5, factor: 2}",
            "workload.arrivals.bursts.every_s is 1e-05, must be larger: there would be more than 1,000,000 bursts",
        ),
        (
            "workload.arrivals={kind: poisson, rate_rps: 8e5, bursts: {every_s: 1, length_s: 1, factor: 3}}",
            "workload.arrivals.rate_rps is 800000, must bring at most 100,000,000 requests, not 192,000,000",
        ),
    ],
)
def test_a_wrong_curve_or_burst_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(write_scenario(tmp_path), [*SHARED, override])
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("curve", "said", "rate"),
    [
        ("{kind: steps, rates: [[0, 1e6]]}", "workload.arrivals has 1e+06 requests/s in the mean", ""),
        ("{kind: steps, rates: [[0, 1]]}", "workload.arrivals has 1e+06 requests/s in the mean", ", rate_rps: 1e6"),
        ("{kind: diurnal, peak_s: 1, peak_to_mean: 2}", "workload.arrivals.rate_rps is 1e+06", ", rate_rps: 1e6"),
    ],
)
def test_of_a_curve_with_too_many_requests_its_mean_is_named(tmp_path: Path, curve: str, said: str, rate: str) -> None:
    override = f"workload.arrivals={{kind: poisson, curve: {curve}{rate}}}"
    with pytest.raises(InputError) as caught:
        load_scenario(write_scenario(tmp_path), [*SHARED, override])
    assert caught.value.message == f"{said}, must bring at most 100,000,000 requests, not 120,000,000"


def test_of_a_curve_with_too_few_requests_its_mean_is_named(tmp_path: Path) -> None:
    scenario = load_scenario(
        write_scenario(tmp_path),
        [*SHARED, "workload.arrivals={kind: poisson, curve: {kind: steps, rates: [[0, 1e-6]]}}"],
    )
    said = "workload.arrivals has 1e-06 requests/s in the mean, must be high enough for a request within 120 seconds"
    with pytest.raises(InputError, match=said):
        build_requests(scenario)


@pytest.mark.parametrize("key", ["curve={kind: steps, rates: [[0, 1]]}", "bursts={every_s: 5, length_s: 1, factor: 2}"])
def test_a_rate_that_changes_needs_a_duration(tmp_path: Path, key: str) -> None:
    overrides = [*SHARED, "workload.duration_s=null", "workload.requests=9", f"workload.arrivals.{key}"]
    with pytest.raises(InputError, match=r"workload\.duration_s is missing, must be given where arrivals have "):
        load_scenario(write_scenario(tmp_path), overrides)
