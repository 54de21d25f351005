"""A sweep's points, and what is refused before any of them runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.scenario import Synthetic, load_scenario, resolved
from sunsim.sweep.grid import load_grid, short_names
from sunsim.workload.blocks import Poisson
from tests.sweep.small import SCENARIO, SWEEP, write_sweep

RATE = "workload.arrivals.rate_rps"
LENGTH = "workload.lengths.output_tokens"
FIRST = SCENARIO.count("\n") + 1


def test_every_value_with_every_other_and_every_seed(tmp_path: Path) -> None:
    grid = load_grid(write_sweep(tmp_path))
    assert [tuple(made.values.values()) for made in grid.combinations] == [(10, 5), (10, 30), (20.5, 5), (20.5, 30)]
    points = list(grid.points())
    assert [(point.combination, point.seed) for point in points] == [(c, s) for c in range(4) for s in (3, 4, 5, 6)]
    workload = points[-1].scenario.workload
    assert isinstance(workload, Synthetic)
    assert isinstance(workload.arrivals, Poisson)
    assert workload.arrivals.rate_rps == 20.5
    assert points[-1].scenario.seed == 6
    assert grid.size == 16


def test_zip_takes_values_together(tmp_path: Path) -> None:
    grid = load_grid(write_sweep(tmp_path), ["sweep.combine=zip", "sweep.seeds=[8, 1]"])
    assert [tuple(made.values.values()) for made in grid.combinations] == [(10, 5), (20.5, 30)]
    assert grid.seeds == (8, 1)


def test_seeds_alone_are_a_sweep(tmp_path: Path) -> None:
    grid = load_grid(write_sweep(tmp_path, "sweep: {seeds: 2}\n"), seed=11)
    assert [point.seed for point in grid.points()] == [11, 12]
    assert len(list(load_grid(write_sweep(tmp_path, ""), ["sweep.seeds=3"]).points())) == 3


def test_a_sweep_may_put_in_whole_blocks_and_name_arms(tmp_path: Path) -> None:
    sweep = (
        "sweep: {over: {arms.sun.decode.workers: [1, 3], models.popularity: [{kind: uniform}, {kind: zipf, alpha: 2}]}}"
    )
    grid = load_grid(write_sweep(tmp_path, sweep))
    scenario = grid.combinations[-1].scenario
    assert scenario
    assert scenario.arms[1].decode
    assert scenario.arms[1].decode.workers == 3
    assert scenario.model_shares == (0.8, 0.2)
    first = grid.combinations[0].scenario
    assert first
    assert first.model_shares == (0.5, 0.5)


def test_without_the_block_nothing_else_changes(tmp_path: Path) -> None:
    with_sweep = load_scenario(write_sweep(tmp_path))
    assert with_sweep == load_scenario(write_sweep(tmp_path, ""))
    assert "sweep" not in resolved(with_sweep)


def test_a_combination_that_does_not_go_together_leaves_the_others(tmp_path: Path) -> None:
    sweep = "sweep: {over: {models.count: [2, 4], arms.isolated.decode.workers: [2, 4]}}"
    grid = load_grid(write_sweep(tmp_path, sweep))
    faults = [str(made.fault) for made in grid.combinations if made.fault]
    assert len(faults) == 1
    assert "arms.isolated.decode.workers is 2, must be at least 4" in faults[0]
    assert (grid.size, len(list(grid.points()))) == (4, 3)


@pytest.mark.parametrize(
    ("right", "wrong", "line", "message"),
    [
        ("[10, 20.5]", "[10, -1]", 3, f"{RATE} is -1, must be above 0"),
        ("[10, 20.5]", "10", 3, f"sweep.over.{RATE} is 10, must be a list"),
        ("[10, 20.5]", "[]", 3, f"sweep.over.{RATE} is an empty list, must be a list with at least one entry"),
        ("[10, 20.5]", "[10, 10]", 3, "sweep.over: 10 is there twice, must be there once"),
        ("rate_rps:", "rate:", 3, "unknown key workload.arrivals.rate, did you mean rate_rps?"),
        (
            LENGTH,
            "arms.moon.decode.workers",
            4,
            "arms.moon: no such entry, must be a number below 2 or one of isolated",
        ),
        (LENGTH, "seed", 4, "sweep.over.seed must be given as sweep.seeds"),
        (LENGTH, "name", 4, "sweep.over.name must be left out: it is not simulated"),
        ("seeds: 4", "seeds: 0", 1, "sweep.seeds is 0, must be at least 1"),
        ("seeds: 4", "seeds: [1, 1]", 1, "sweep.seeds: 1 is given twice, each must be there once"),
        ("seeds: 4", "seeds: many", 1, "sweep.seeds is 'many', must be a whole number"),
        ("seeds: 4", "seed: 4", 1, "unknown key sweep.seed, did you mean seeds?"),
        ("seeds: 4", "combine: all", 1, "sweep.combine is 'all', must be one of product, zip"),
        ("over:", "combine: zip\n  over:\n    models.count: [1]", 5, f"sweep.over.{RATE} has 2 values, must have 1 as"),
    ],
)
def test_a_wrong_sweep_is_refused_at_its_line(tmp_path: Path, right: str, wrong: str, line: int, message: str) -> None:
    text = SWEEP.replace(right, wrong, 1)
    assert text != SWEEP
    path = write_sweep(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_grid(path)
    assert caught.value.message.startswith(message)
    assert str(caught.value).startswith(f"{path}:{FIRST + line}: ")
    assert "\n" not in str(caught.value)


def test_a_fault_that_stands_elsewhere_tells_the_swept_values(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, "sweep: {over: {models.count: [2, 5]}}")
    with pytest.raises(
        InputError, match=r"workers is 2, must be at least 5: .* \(swept: models.count = 5\)$"
    ) as caught:
        load_grid(path)
    assert caught.value.line == 11


def test_too_many_points_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r":13: sweep has 1,220,000 points, must have at most 1,000,000$"):
        load_grid(write_sweep(tmp_path, SWEEP.replace("[5, 30]", str(list(range(1, 62)))).replace("4", "10000")))


def test_options_and_sweep_may_not_contradict(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    with pytest.raises(InputError, match=rf"^--set: {RATE} is swept, must be left alone"):
        load_grid(path, [f"{RATE}=3"])
    with pytest.raises(InputError, match=r"small.yaml: has no sweep block, must have one such as sweep: "):
        load_grid(write_sweep(tmp_path, ""))


def test_short_names_tell_paths_apart() -> None:
    paths = ["arms.a.decode.workers", "arms.b.decode.workers", "workload.arrivals.rate_rps"]
    assert list(short_names(paths).values()) == ["a.decode.workers", "b.decode.workers", "rate_rps"]


@pytest.mark.parametrize("sweep", ["sweep: {seeds: 2}\n", "sweep: {over: {slo.tpot_ms: [20, 30]}}\n"])
def test_a_trace_that_cannot_be_read_is_refused_before_any_point(tmp_path: Path, sweep: str) -> None:
    path = write_sweep(tmp_path, sweep)
    (tmp_path / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,5,1\n0,5,none\n")
    workload = "workload={kind: trace, format: csv, path: trace.csv, models: popularity}"
    with pytest.raises(InputError, match=r"trace\.csv:3: output_tokens is 'none'"):
        load_grid(path, [workload])
