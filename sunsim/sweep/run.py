"""The verb `sweep`: from a scenario with a `sweep` block to a folder of results."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sunsim.folder import Results
from sunsim.metrics import to_json
from sunsim.points.local import cores, run_local
from sunsim.points.point import outcome_of
from sunsim.points.progress import progress
from sunsim.points.store import POINTS, Store
from sunsim.report.format import count
from sunsim.report.terminal import say
from sunsim.sweep.estimates import estimates
from sunsim.sweep.plan import load_plan, written
from sunsim.sweep.report import sweep_report
from sunsim.sweep.results import PICTURE, SUMMARY, TABLE, summary, write_table
from sunsim.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from sunsim.points.point import Outcome
    from sunsim.sweep.estimates import Rows
    from sunsim.sweep.plan import Plan, Point

    Run = Callable[[Sequence[Point]], Generator[tuple[Point, Outcome], None, None]]

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
    """Simulates the points that are not kept yet, and makes table, summary and picture of all.

    Args:
        file: a scenario with a `sweep` block.
        out: the folder; `results/<name>-sweep` if None.
        overrides: `path=value` each.
        seed: replaces the scenario's.
        jobs: processes, or points that a cluster gets at once; None for all cores.
        executor: where the points are simulated.
        address: of the Ray cluster.
        as_json: print the summary as JSON instead of a table.
        quiet: no progress and no table.

    Returns:
        Whether every point has its figures.

    Raises:
        InputError: the scenario, the folder or the cluster cannot be used.
        KeyboardInterrupt: stopped by the user; says how to go on.
    """
    run = _executor(executor, jobs, address)
    plan = load_plan(file, overrides, seed)
    out = out or Path("results") / f"{plan.scenario.name}-sweep"
    results = Results(out, "sweep", (POINTS,))
    store = Store(results.folder)
    points = list(plan.points())
    try:
        pending = [point for point in points if store.rows(point) is None]
        faults = _simulate(pending, store, run, show_progress=not quiet)
    except KeyboardInterrupt:
        kept = sum(store.rows(point) is not None for point in points)
        message = (
            f"interrupted: {count(kept)} of {count(plan.size)} points are kept, the same command goes on from there"
        )
        raise KeyboardInterrupt(message) from None
    store.tell_damage()
    rows = _collected(points, store, faults)
    failed = _failed(plan, faults)
    _report_faults(failed, plan.size)
    made = estimates(plan, rows)
    content = to_json(summary(plan, made, failed, store.inputs))
    with results.writing() as folder:
        (folder / SUMMARY).write_text(content, encoding="utf-8")
        if rows:
            from sunsim.sweep.picture import draw  # noqa: PLC0415 - bad input need not wait for matplotlib

            write_table(folder / TABLE, plan, rows, store.inputs)
            draw(folder / PICTURE, plan, made)
    names = [f"{POINTS}/", SUMMARY, *([TABLE, PICTURE] if rows else [])]
    if as_json:
        sys.stdout.write(content)
    elif not quiet:
        place = f"{out}/ ({', '.join(sorted(names))})" if rows else ""
        say(sweep_report(plan, made, len(rows)).blocks, place=place)
    return not failed


def _collected(points: Sequence[Point], store: Store, faults: dict[tuple[int, int], str]) -> Rows:
    """The rows of all points by combination and seed; one that has none has a fault."""
    rows = {}
    for point in points:
        at = (point.combination, point.seed)
        found = store.rows(point)
        if found:
            rows[at] = found
        else:
            faults.setdefault(at, "its kept file was lost or damaged meanwhile, the same command simulates it again")
    return rows


def check(file: Path, overrides: Sequence[str], seed: int | None) -> str:
    """Says in one line what a sweep holds.

    Raises:
        InputError: something in it is wrong.
    """
    plan = load_plan(file, overrides, seed)
    text = f"sweep: {count(plan.size)} points, {count(len(plan.combinations))} combinations of values with each seed"
    left_out = sum(combination.fault is not None for combination in plan.combinations)
    return f"{text}; {count(left_out)} combinations are invalid and will fail" if left_out else text


def _executor(name: Literal["local", "ray"], jobs: int | None, address: str) -> Run:
    if name == "local":
        return partial(run_local, jobs=jobs or cores(), work=outcome_of)
    from sunsim.points.ray_cluster import require_ray, run_ray  # noqa: PLC0415 - it is optional

    require_ray()
    return partial(run_ray, jobs=jobs, address=address)


def _simulate(pending: Sequence[Point], store: Store, run: Run, *, show_progress: bool) -> dict[tuple[int, int], str]:
    """Keeps the points as they end; returns why some failed, by combination and seed."""
    faults: dict[tuple[int, int], str] = {}
    if not pending:
        return faults
    with closing(run(pending)) as ended, progress(len(pending), wanted=show_progress) as advance:
        for point, outcome in ended:
            if outcome.fault is None:
                store.keep(point, outcome.rows)
            else:
                faults[point.combination, point.seed] = outcome.fault
            advance(len(faults))
    return faults


def _failed(plan: Plan, faults: dict[tuple[int, int], str]) -> list[dict[str, Any]]:
    """An entry a failed point: its values, its seed and the reason."""
    failed = []
    for index, combination in enumerate(plan.combinations):
        for seed in plan.seeds:
            reason = str(combination.fault) if combination.fault else faults.get((index, seed))
            if reason:
                failed.append({"values": dict(combination.values), "seed": seed, "reason": reason})
    return failed


def _report_faults(failed: Sequence[dict[str, Any]], points: int) -> None:
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
