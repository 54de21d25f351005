"""The arms of a scenario simulated one after the other, or those of a long run beside one another."""

from contextlib import closing
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sunsim.cluster.simulation import simulate_arm
from sunsim.inputs import Inputs
from sunsim.points.local import cores, run_local
from sunsim.points.outcome import Outcome, attempt
from sunsim.records import ArmResult
from sunsim.scenario import Scenario
from sunsim.visible import visible
from sunsim.workload.requests import Requests

Task = tuple[Scenario, Requests, int]
"""A scenario, its requests and the number of an arm."""

MANY = 200_000
"""Requests, all arms' together, from which processes are worth the second in which they start."""


def simulate_arms(
    scenario: Scenario, requests: Requests, jobs: int | None = 1, *, show_progress: bool = False
) -> list[ArmResult]:
    """Simulates every arm; the results do not depend on the number of processes.

    Args:
        jobs: processes for a long run; None for as many as cores.
        show_progress: a bar on stderr, where that is a terminal.

    Raises:
        InputError: an arm does not finish, or a file was changed while it was simulated with.
    """
    inputs = Inputs()
    inputs.sha256(scenario)
    jobs = min(jobs or cores(), len(scenario.arms)) if len(requests) * len(scenario.arms) >= MANY else 1
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    shown = show_progress and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("arms", total=len(scenario.arms))
        found: dict[int, ArmResult] = {}
        if jobs > 1:
            tasks = [(scenario, requests, number) for number in range(len(scenario.arms))]
            with closing(run_local(tasks, jobs, _outcome)) as ended:
                for (_, _, number), outcome in ended:
                    if not outcome.fault:
                        (row,) = outcome.rows
                        found[number] = row["result"]
                    bar.update(task, completed=len(found))
        # One that failed in its process does so here, as if there had been none.
        for number, arm in enumerate(scenario.arms):
            if number not in found:
                progress = partial(_advance, bar, number, arm.name)
                found[number] = simulate_arm(scenario, arm, requests, progress)
    inputs.refuse_changed()
    return [found[number] for number in range(len(scenario.arms))]


def _advance(bar: Progress, done: int, name: str, share: float) -> None:
    bar.update(bar.task_ids[0], completed=done + share, description=visible(name))


def _outcome(task: Task) -> Outcome:
    scenario, requests, number = task
    return attempt(lambda: [{"result": simulate_arm(scenario, scenario.arms[number], requests)}])
