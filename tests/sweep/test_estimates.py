"""Means over seeds, paired differences, the table's columns and the picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from sunsim.points.estimate import Estimate, estimate
from sunsim.report.format import number
from sunsim.report.markdown import to_markdown
from sunsim.sweep.estimates import HEADLINES, estimates, plain
from sunsim.sweep.grid import Combination, Grid, load_grid
from sunsim.sweep.picture import draw
from sunsim.sweep.report import sentences, sweep_report
from sunsim.sweep.result import _column
from tests.sweep.small import write_sweep
from tests.synthetic import synthetic_profile

SLOW, FAST = (10.0, 12.0, 17.0), (9.0, 11.5, 15.5)


def row(arm: str, tpot_ms: float | None, *, overloaded: bool = False) -> dict[str, Any]:
    """An arm's figures, all the same number."""
    flags = {"overloaded": overloaded, "window_too_short": False, "decode_wait_in_tpot": False, "window_requests": 100}
    inside = {"outside_measured_share_prefill": None, "outside_measured_share_decode": 0.0}
    return {"arm": arm} | flags | inside | dict.fromkeys(HEADLINES, tpot_ms)


def grid_of(tmp_path: Path, sweep: str) -> Grid:
    return load_grid(write_sweep(tmp_path, sweep))


def test_the_interval_is_student_s() -> None:
    made = estimate(SLOW)
    assert made
    low, high = stats.t.interval(0.95, 2, loc=13, scale=stats.sem(SLOW))
    assert (made.mean - (made.half_width or 0), made.mean + (made.half_width or 0)) == pytest.approx((low, high))
    assert estimate([3.0]) == Estimate(3.0, None, 1)
    assert estimate([]) is None


def test_about_95_of_100_intervals_hold_the_mean() -> None:
    rng = np.random.default_rng(1)
    made = [estimate(rng.normal(5, 2, 4).tolist()) for _ in range(2000)]
    held = np.mean([abs(each.mean - 5) <= (each.half_width or 0) for each in made if each])
    assert held == pytest.approx(0.95, abs=0.015)


SKEWED: dict[str, Any] = {
    "lognormal 0.4": lambda rng, shape: rng.lognormal(0, 0.4, shape) / np.exp(0.08),
    "lognormal 0.7": lambda rng, shape: rng.lognormal(0, 0.7, shape) / np.exp(0.245),
    "exponential": lambda rng, shape: rng.exponential(1, shape),
}
"""Draws with a mean of 1."""


@pytest.mark.parametrize("seeds", [3, 4, 5])
@pytest.mark.parametrize("law", SKEWED)
def test_about_95_of_100_intervals_hold_the_mean_of_what_has_a_long_tail(law: str, seeds: int) -> None:
    draws = SKEWED[law](np.random.default_rng(seeds), (2000, seeds))
    held = [
        abs(made.mean - 1) <= (made.half_width or 0)
        for each in draws
        if (made := estimate(each.tolist(), "p99_ttft_ms"))
    ]
    assert np.mean(held) >= 0.935


@pytest.mark.parametrize("seeds", [3, 4, 5])
@pytest.mark.parametrize("misses", [0.1, 0.3, 1.0, 3.0, 10.0, 50.0])
@pytest.mark.parametrize("bursts", [False, True])
def test_about_95_of_100_intervals_hold_a_share_and_a_difference_of_shares(
    seeds: int, misses: float, bursts: bool
) -> None:
    """So many of 500 requests miss in the mean with each seed; with bursts some seeds have most of them."""
    rng = np.random.default_rng(seeds)
    times = rng.exponential(1, (2000, seeds)) if bursts else 1.0
    share, other = (1 - rng.poisson(mean, (2000, seeds)) / 500 for mean in (misses * times, 0.3 * misses))
    for values, truth in ((share, 1 - misses / 500), (other - share, 0.7 * misses / 500)):
        made = [estimate(each.tolist(), "slo_attainment", 500 * seeds) for each in values]
        held = np.mean([abs(one.mean - truth) <= (one.half_width or 0) for one in made if one])
        # A burst that none of the seeds has is beyond what they can tell.
        assert held >= (0.92 if bursts else 0.94)


def test_equal_shares_are_not_certain_to_be_those_of_other_seeds() -> None:
    for share in (0.0, 1.0):
        made = estimate([share] * 3, "slo_attainment", 3000)
        assert made
        assert (made.mean, made.sign) == (share, int(share))
        assert 3000 * (made.half_width or 0) == pytest.approx(-np.log(0.025), 0.01)


def test_differences_are_those_of_the_same_seed(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "sweep: {seeds: 3}")
    rows = {
        (0, seed): [row("isolated", slow), row("sun", fast)]
        for seed, slow, fast in zip(grid.seeds, SLOW, FAST, strict=True)
    }
    isolated, sun = estimates(grid, rows)[0]
    assert isolated.differences == {}
    assert sun.differences["mean_tpot_ms"] == estimate([-1.0, -0.5, -1.5])
    assert sun.differences["slo_attainment"] == estimate([-1.0, -0.5, -1.5], "slo_attainment", 300)
    said = sentences(grid, {0: [isolated, sun]})
    assert "- sun against isolated: mean TPOT lower" not in said
    assert "SLO met, which are not normal, that of 99 %, and for SLO met 3.7 requests more)." in said[1]
    rows.pop((0, grid.seeds[1]))
    fewer = estimates(grid, rows)[0][1].differences["mean_tpot_ms"]
    assert fewer
    assert (fewer.mean, fewer.seeds) == (-1.25, 2)


def test_an_arm_that_drafts_is_compared_with_the_same_without_drafts(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "sweep: {seeds: 3}")
    rows = {
        (0, seed): [row("isolated", 9.0), row("sun", slow), row("sun-mtp", fast) | {"without_drafts": "sun"}]
        for seed, slow, fast in zip(grid.seeds, SLOW, FAST, strict=True)
    }
    arms = estimates(grid, rows)[0]
    assert [of_arm.without_drafts for of_arm in arms] == [None, None, "sun"]
    assert arms[2].speed_up == estimate([slow / fast for slow, fast in zip(SLOW, FAST, strict=True)])
    assert arms[1].speed_up is None
    assert plain(arms[2])["without_drafts"] == "sun"
    assert "without_drafts" not in plain(arms[1])
    faster = "sun-mtp against sun, the same without drafts: tokens come {} times as fast (mean TPOT)"
    made = arms[2].speed_up
    assert made
    assert f"{faster.format(number(made.mean))}." in sentences(grid, {0: arms})
    swapped = {
        key: [first, fast | {"arm": "sun"}, slow | {"arm": "sun-mtp", "without_drafts": "sun"}]
        for key, (first, slow, fast) in rows.items()
    }
    slower = estimates(grid, swapped)[0]
    assert slower[2].speed_up
    said = f"{faster.format(number(slower[2].speed_up.mean))}, slower."
    assert said in sentences(grid, {0: slower})


def test_what_hangs_on_the_run_s_length_is_not_compared(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "sweep: {seeds: 2}")
    rows = {(0, seed): [row("isolated", 9.0, overloaded=seed == 4), row("sun", 8.0)] for seed in grid.seeds}
    isolated, sun = estimates(grid, rows)[0]
    assert isolated.overloaded
    assert sun.differences["p99_ttft_ms"] is None
    assert sun.differences["mean_tpot_ms"] == Estimate(-1.0, 0.0, 2)
    assert any("Overloaded with at least one seed (isolated)" in text for text in sentences(grid, {0: [isolated, sun]}))


@pytest.mark.parametrize(
    ("values", "kind", "held"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1, 2.5, None], pa.float64(), [1.0, 2.5, None]),
        ([None], pa.float64(), [None]),
        ([True, False], pa.bool_(), [True, False]),
        (["a", None], pa.string(), ["a", None]),
        ([1, "a"], pa.string(), ["1", '"a"']),
        ([{"b": 1, "a": [2]}], pa.string(), ['{"a": [2], "b": 1}']),
        ([2**64], pa.string(), ["18446744073709551616"]),
    ],
)
def test_columns_hold_whatever_was_swept(values: Sequence[Any], kind: pa.DataType, held: list[Any]) -> None:
    made = _column(values)
    assert (made.type, made.to_pylist()) == (kind, held)


@pytest.mark.parametrize(
    "sweep",
    [
        "{seeds: 2}",
        "{over: {first_token: [decode, prefill]}}",
        "{over: {models.count: [1, 2], models.popularity: [{kind: uniform}, {kind: zipf, alpha: 1}]}}",
        "{combine: zip, over: {workload.requests: [9, 9], models.count: [1, 2]}}",
        "{combine: zip, over: {workload.requests: [9, 9], first_token: [decode, prefill]}}",
        "{over: {workload.requests: [1, 2], seed_of_rows: [1, 2, 3, 4, 5, 6]}}",
    ],
)
def test_whatever_is_swept_is_drawn_into_equal_bytes(tmp_path: Path, sweep: str) -> None:
    if "seed_of_rows" in sweep:
        # More settings than rows: the paths need not mean anything here.
        combinations = tuple(Combination({"a": a, "b": b}, None) for a in (1, 2) for b in range(6))
        grid = Grid(grid_of(tmp_path, "sweep: {seeds: 2}").scenario, ("a", "b"), "product", (3, 4), combinations)
    else:
        grid = grid_of(tmp_path, f"sweep: {sweep}")
    rows = {
        (index, seed): [row("isolated", 9.0 + index + seed), row("sun", 500.0), row("none", None)]
        for index in range(len(grid.combinations))
        for seed in grid.seeds
    }
    pictures = [tmp_path / "first.png", tmp_path / "second.png"]
    for picture in pictures:
        draw(picture, grid, estimates(grid, rows))
    first, second = (picture.read_bytes() for picture in pictures)
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_what_a_sweep_says_of_one_arm_and_of_other_base_models(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "sweep: {seeds: 2}")
    rows = {(0, seed): [row("isolated", 9.0 + seed), row("sun", 8.0)] for seed in grid.seeds}
    both = " ".join(sentences(grid, estimates(grid, rows)))
    assert "a difference has an interval of its own" in both
    assert "base model" not in both
    (tmp_path / "qwen.json").write_text(json.dumps(synthetic_profile(model="qwen3-8b")))
    other = load_grid(tmp_path / "small.yaml", ["arms.sun.decode.profile=qwen.json"])
    said = sentences(other, estimates(other, rows))[1]
    assert said.startswith("The arms do not serve the same base model: llama-3.1-8b in isolated and qwen3-8b in sun; ")
    alone = load_grid(
        tmp_path / "small.yaml", ["arms=[{name: sun, decode: {profile: profile.json, policy: shared, workers: 1}}]"]
    )
    said = " ".join(sentences(alone, estimates(alone, {key: of[1:] for key, of in rows.items()})))
    assert "a difference has" not in said


def test_the_gpus_of_arms_that_do_not_do_the_same_work_are_not_compared(tmp_path: Path) -> None:
    grid_of(tmp_path, "sweep: {seeds: 2}")
    pool = "{profile: profile.json, policy: isolated, workers: 2}"
    grid = load_grid(
        tmp_path / "small.yaml",
        [f"arms=[{{name: sun, decode: {pool}}}, {{name: both, prefill: {pool}, decode: {pool}}}]"],
    )
    rows = {(0, seed): [row("sun", 9.0 + seed), row("both", 8.0)] for seed in grid.seeds}
    differences = estimates(grid, rows)[0][1].differences
    assert differences["output_throughput_per_gpu"] is None
    assert differences["output_throughput_per_decode_gpu"]
    assert differences["mean_tpot_ms"]


def test_steps_that_were_not_measured_are_told_of_the_worst_first(tmp_path: Path) -> None:
    def told(sweep: str, *shares: Sequence[tuple[float | None, float]]) -> str:
        """`shares`: by combination and arm those of prefill and of decode, the same with each seed but for a hundredth."""
        names = ("outside_measured_share_prefill", "outside_measured_share_decode")
        arms = ("isolated", "sun", "half")
        rows = {
            (index, seed): [
                row(arm, 10.0) | {names[0]: prefill, names[1]: decode and decode + (0.01, -0.01)[seed]}
                for arm, (prefill, decode) in zip(arms, of_arms, strict=False)
            ]
            for index, of_arms in enumerate(shares)
            for seed in range(2)
        }
        grid = grid_of(tmp_path, sweep)
        return sentences(grid, estimates(grid, rows))[-1]

    over = "sweep: {seeds: [0, 1], over: {workload.arrivals.rate_rps: [10, 20]}}"
    assert told(over, [(None, 0.0)], [(None, 0.0)]) == "Every step is inside the measured range."
    assert told(over, [(0.04, 0.1), (0.04, 0.0)], [(0.02, 0.3), (0.02, 0.0)]) == (
        "Outside the measured range, the worst first: 30.0 % of decode steps in isolated at rate_rps 20 (some in all 2 "
        "combinations); 4.0 % of prefill steps in isolated and sun at rate_rps 10 (some in all 2 combinations)."
    )
    assert told(over, [(None, 0.0)], [(None, 0.2)]) == (
        "Outside the measured range, the worst first: 20.0 % of decode steps in isolated at rate_rps 20 (some in 1 of 2 "
        "combinations)."
    )
    assert told("sweep: {seeds: [0, 1]}", [(0.5, 0.6), (0.7, 0.8), (0.3, 0.9)]) == (
        "Outside the measured range, the worst first: 90.0 % of decode steps in half; 80.0 % of decode steps in sun; "
        "70.0 % of prefill steps in sun; 60.0 % of decode steps in isolated; 2 smaller shares, in sweep.parquet."
    )


@pytest.mark.parametrize(("shares", "shown", "said"), [((1.0, 0.9), "95.0", 1), ((0.92, 0.9), "91.0 ±", 0)])
def test_an_interval_wider_than_all_shares_is_not_shown(
    tmp_path: Path, shares: tuple[float, float], shown: str, said: int
) -> None:
    grid = grid_of(tmp_path, "sweep: {seeds: 2}\n")
    of_seeds = {
        seed: row("isolated", 10.0) | {"slo_attainment": share} for seed, share in zip(grid.seeds, shares, strict=True)
    }
    found = estimates(grid, {(0, seed): [of_seed] for seed, of_seed in of_seeds.items()})
    text = to_markdown(sweep_report(grid, found, 2))
    header, _, cells = [line.split("|") for line in text.splitlines() if line.startswith("|")][:3]
    cell = cells[next(i for i, head in enumerate(header) if "SLO met" in head)].strip()
    assert cell == shown if said else cell.startswith(shown)
    assert text.count("A share without ± has an interval wider than 100 points") == said
