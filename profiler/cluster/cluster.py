"""`cluster`: the arms of scenarios on live engines, one a GPU, each engine started once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler import profile_file
from profiler.cluster import transfer_points, worker
from profiler.cluster.beside import measure_beside
from profiler.cluster.handle import Main, WorkerError, WorkerHandle
from profiler.cluster.messages import Measure, Measured, Up
from profiler.cluster.plan import run_sha256
from profiler.cluster.play import Play, Run
from profiler.cluster.run_files import save
from profiler.cluster.worker import visible_gpus
from profiler.measure import Subject, set_up
from profiler.progress import Progress
from profiler.replay import SETTLE_S
from profiler.run_file import SCHEMA_VERSION, is_kept
from profiler.start import EngineStartError
from profiler.streams import StreamError
from sunsim.scenario import resolved

START_TIMEOUT_S = 600

PROFILE_SHARE = 0.6
"""Of the budget, after which the profile begins no further phase: runs that need all GPUs wait for it."""
LAST_PROFILE_SHARE = 0.95
"""The same where no run waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOrder:
    """What to play and where to put it.

    profile: to be measured on one of the GPUs, beside the first runs; None measures none.
    transfers: file of the KV link's points, to be measured first; None measures none.
    """

    subject: Subject
    runs: Sequence[Run]
    gpus: int
    out: Path
    budget_s: float | None = None
    profile: Path | None = None
    transfers: Path | None = None
    main: Main = worker.main


@dataclass(slots=True)
class ClusterOutcome:
    """Names of the runs by what became of them."""

    played: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run_facts(fresh: dict[str, Any], run: Run) -> dict[str, Any]:
    """What a run's metadata state before it is played; `fresh` is the engines' set-up."""
    same = ("gpu", "card", "host", "versions", "model", "variant", "weights", "quick", "engine_args")
    alone = run.scenario.with_arms([run.arm])
    return {
        "schema_version": SCHEMA_VERSION,
        "stream": run.name,
        "csv_sha256": run_sha256(run),
        "role": "cluster",
        "arm": run.arm.name,
        "scenario": resolved(alone),
    } | {key: fresh[key] for key in same}


class _Free:
    """The workers that no run has; one that has failed does not come back."""

    def __init__(self, workers: Sequence[WorkerHandle]) -> None:
        self._all = workers
        self._free = list(workers)
        self._changed = asyncio.Condition()

    async def take(self, number: int) -> list[WorkerHandle]:
        """So many, as soon as they are free; raises WorkerError if not so many are left."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._free) >= number or self._left() < number)
            if self._left() < number:
                msg = f"{number} workers are needed, {self._left()} are left"
                raise WorkerError(msg)
            taken, self._free = self._free[:number], self._free[number:]
            return taken

    async def give_back(self, workers: Sequence[WorkerHandle]) -> None:
        async with self._changed:
            well = [each for each in workers if not each.failed.done()]
            self._free = sorted([*self._free, *well], key=lambda each: each.gpu)
            self._changed.notify_all()

    def _left(self) -> int:
        return sum(not each.failed.done() for each in self._all)


def _lasts_s(run: Run) -> float:
    """A guess from below: arrivals and the shortest drain."""
    return run.last_s + SETTLE_S


async def _play_all(
    order: ClusterOrder,
    wanted: Mapping[Run, dict[str, Any]],
    workers: Sequence[WorkerHandle],
    up: Up,
    progress: Progress,
) -> ClusterOutcome:
    """Those wanted, each with the facts given, in order; several at a time where there are GPUs for them."""
    outcome = ClusterOutcome()
    free = _Free(workers)

    async def play(run: Run, taken: list[WorkerHandle]) -> None:
        facts = wanted[run] | up.facts | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        playing = Play(run, taken, up.vocabulary)
        try:
            await playing.serve()
            # In a thread: another run may be waiting for this one's attention.
            progress.say(await asyncio.to_thread(save, order.out, playing, facts))
            outcome.played.append(run.name)
        except Exception as error:  # noqa: BLE001  # one run's mishap must not cost the others the engines
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            outcome.failed.append(run.name)
            progress.say(f"{run.name}: failed: {type(error).__name__} {error}".strip())
        finally:
            await free.give_back(taken)

    async def measure(path: Path, taken: list[WorkerHandle], share: float) -> None:
        try:
            budget_s = None if order.budget_s is None else share * order.budget_s
            taken[0].send(Measure(path, budget_s))
            measured = await taken[0].next(Measured)
            missing = {name: why for name, why in measured.phases.items() if why is not None}
            progress.say(f"{path}: {len(measured.phases) - len(missing)} phases")
            outcome.failed += [f"{path}, {name}" for name, why in missing.items() if why.startswith("failed")]
        except WorkerError as error:
            outcome.failed.append(str(path))
            progress.say(f"{path}: failed: {error}")
        finally:
            await free.give_back(taken)

    # Beside runs that leave a GPU free; after them if none does, so that they do not wait for it.
    beside = any(run.gpus < order.gpus for run in wanted)
    async with asyncio.TaskGroup() as group:
        if order.profile is not None and beside:
            group.create_task(measure(order.profile, await free.take(1), PROFILE_SHARE))
        for run in wanted:
            try:
                taken = await free.take(run.gpus)
            except WorkerError as error:
                outcome.failed.append(run.name)
                progress.say(f"{run.name}: failed: {error}")
                continue
            if order.budget_s is not None and progress.elapsed_s + _lasts_s(run) > order.budget_s:
                outcome.left_out.append(run.name)
                progress.say(f"{run.name}: left out, would end after the budget")
                await free.give_back(taken)
                continue
            group.create_task(play(run, taken))
        if order.profile is not None and not beside:
            group.create_task(measure(order.profile, await free.take(1), LAST_PROFILE_SHARE))
    return outcome


async def _all_up(workers: Sequence[WorkerHandle]) -> list[Up]:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return await asyncio.gather(*(each.next(Up) for each in workers))
    except (WorkerError, TimeoutError) as error:
        msg = f"the engines did not start: {str(error) or 'no word from them'}"
        raise EngineStartError(msg) from error


async def _measure_link(order: ClusterOrder, workers: Sequence[WorkerHandle], up: Up, progress: Progress) -> list[str]:
    """Alone, then beside other things to do; what failed. That costs the runs nothing but the engines it ends."""
    if order.transfers is None or order.transfers.exists():
        return []
    source, target, *_ = workers
    try:
        points = {"transfer_points": await transfer_points.measure(source, target, progress)}
        points["beside_points"] = await measure_beside(source, target, progress)
        transfer_points.write(order.transfers, points, order.subject, up.facts)
    except (WorkerError, TimeoutError) as error:
        progress.say(f"{order.transfers}: failed: {type(error).__name__} {error}".strip())
        return [str(order.transfers)]
    return []


async def cluster(order: ClusterOrder, progress: Progress) -> ClusterOutcome:
    """All runs.

    Raises OtherSetupError if a run or profile that is there is of another set-up, StreamError for a link that these
    engines don't have, ValueError for fewer visible GPUs, and EngineStartError if an engine does not start.
    """
    visible_gpus(order.gpus)
    if order.transfers is not None and (order.gpus < 2 or order.subject.settings.kv_connector != "TimedNixlConnector"):
        msg = "--transfers: needs at least two GPUs, and arms with prefill workers, whose engines move KV"
        raise StreamError(msg)
    fresh = set_up(order.subject)
    if order.profile is not None:
        profile_file.start_or_resume(order.profile, fresh)
    facts = {run: run_facts(fresh, run) for run in order.runs}
    done = [run.name for run in order.runs if is_kept(order.out, run.name, facts[run])]
    for name in done:
        progress.say(f"{name}: kept, it has been played")
    wanted = {run: facts[run] for run in order.runs if run.name not in done}
    if not wanted and order.transfers is None and order.profile is None:
        return ClusterOutcome(kept=done)
    logs = order.subject.log_dir or order.out / "logs"
    workers = [
        WorkerHandle(replace(order.subject, log_dir=logs / f"worker-{gpu}"), gpu, order.main)
        for gpu in range(order.gpus)
    ]
    try:
        ups = await _all_up(workers)
        progress.say(f"{len(workers)} engines up")
        link_failed = await _measure_link(order, workers, ups[0], progress)
        outcome = await _play_all(order, wanted, workers, ups[0], progress)
    finally:
        await asyncio.gather(*(each.stop() for each in workers))
    outcome.kept = done
    outcome.failed += link_failed
    return outcome
