"""From a scenario with a `sweep` block to its result, and the verb `sweep`."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sunsim.metrics import to_json
from sunsim.points.keep import Run, keep_all
from sunsim.points.local import cores, run_local
from sunsim.points.point import outcome_of
from sunsim.points.store import POINTS, Store
from sunsim.report.format import count
from sunsim.report.terminal import say
from sunsim.sweep.grid import Grid, load_grid, written
from sunsim.sweep.report import sweep_report
from sunsim.sweep.result import SUMMARY, SweepResult, results
from sunsim.version import tell_of_slow_loop
from sunsim.visible import visible

LOST = "its kept file was lost or damaged meanwhile, the same command simulates it again"

MOST_FAULTS = 20
"""Reasons that are printed; the others are in `summary.json`."""


def sweep(
    file: Path,
    out: Path | None,
    overrides: Sequence[str],
    seed: int | None,
    *,
    jobs: int | None,
    executor: Literal["local", "ray"],
    address: str,
    as_json: bool,
    quiet: bool,
) -> bool:
    """`sunsim.sweep`, saved in `out` or else in `results/<name>-sweep`, and printed; whether every point has its figures."""
    run = executed(executor, jobs, address)
    grid = load_grid(file, overrides, seed)
    out = out or Path("results") / f"{grid.scenario.name}-sweep"
    tell_of_slow_loop(quiet=quiet)
    result = simulated(grid, out, run, show_progress=not quiet)
    _report_faults(result.failed, grid.size)
    names = [f"{POINTS}/", *result.save(out)]
    if as_json:
        sys.stdout.write(to_json(result.summary))
    elif not quiet:
        place = f"{out}/ ({', '.join(sorted(names))})" if result.rows else ""
        say(sweep_report(grid, result.estimates, len(result.rows)).blocks, place=place)
    return not result.failed


def simulated(grid: Grid, folder: Path, run: Run, *, show_progress: bool) -> SweepResult:
    """Simulates the points that `folder` does not keep yet.

    Raises:
        InputError: the folder or the cluster cannot be used, or a file was changed while it was simulated with.
        KeyboardInterrupt: stopped by the user; says how to go on.
    """
    store = Store(results(folder).folder)
    points = list(grid.points())
    try:
        faults = keep_all(points, store, run, show_progress=show_progress)
    except KeyboardInterrupt:
        kept = sum(store.rows(point) is not None for point in points)
        message = (
            f"interrupted: {count(kept)} of {count(grid.size)} points are kept, the same command goes on from there"
        )
        raise KeyboardInterrupt(message) from None
    rows = {(point.combination, point.seed): found for point in points if (found := store.rows(point))}
    reasons = {(point.combination, point.seed): LOST for point in points}
    reasons |= {(point.combination, point.seed): fault for point, fault in faults}
    failed = [
        {"values": dict(combination.values), "seed": seed, "reason": str(combination.fault or reasons[index, seed])}
        for index, combination in enumerate(grid.combinations)
        for seed in grid.seeds
        if (index, seed) not in rows
    ]
    files: dict[str, str] = {}
    for scenario in grid.scenarios:
        files |= store.inputs.sha256(scenario)
    return SweepResult(grid, rows, failed, files)


def check(file: Path, overrides: Sequence[str], seed: int | None) -> str:
    """Says in one line what a sweep holds.

    Raises:
        InputError: something in it is wrong.
    """
    grid = load_grid(file, overrides, seed)
    text = f"sweep: {count(grid.size)} points, {count(len(grid.combinations))} combinations of values with each seed"
    left_out = sum(combination.fault is not None for combination in grid.combinations)
    return f"{text}; {count(left_out)} combinations are invalid and will fail" if left_out else text


def executed(name: Literal["local", "ray"], jobs: int | None, address: str) -> Run:
    """How points are simulated: in `jobs` processes here, or on the Ray cluster at `address`.

    Raises:
        InputError: Ray is not installed.
    """
    if name == "local":
        return partial(run_local, jobs=jobs or cores(), work=outcome_of)
    from sunsim.points.ray_cluster import require_ray, run_ray  # noqa: PLC0415 - it is optional

    require_ray()
    return partial(run_ray, jobs=jobs, address=address)


def _report_faults(failed: Sequence[Mapping[str, Any]], points: int) -> None:
    """On stderr: each reason once for all seeds that have it."""
    if not failed:
        return
    seeds: dict[tuple[str, str], list[int]] = {}
    for entry in failed:
        values = ", ".join(f"{path} = {written(value)}" for path, value in entry["values"].items())
        seeds.setdefault((values, entry["reason"]), []).append(entry["seed"])
    lines = [f"{count(len(failed))} of {count(points)} points failed:"]
    for (values, reason), of in list(seeds.items())[:MOST_FAULTS]:
        listed = ", ".join(map(str, of[:5])) + (", ..." if len(of) > 5 else "")
        lines.append(f"- {values}{', ' if values else ''}seed {listed}: {reason}")
    if len(seeds) > MOST_FAULTS:
        lines.append(f"- and {count(len(seeds) - MOST_FAULTS)} more, in {SUMMARY}")
    sys.stderr.write("\n".join(map(visible, lines)) + "\n")
