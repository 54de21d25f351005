"""`cluster`: the arms of scenarios on live engines, one a GPU, each engine started once."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler import profile_file
from profiler.cluster import transfer_points, worker
from profiler.cluster.beside import measure_beside
from profiler.cluster.handle import Main, WorkerError, WorkerHandle, first_of
from profiler.cluster.messages import Measure, Measured, Up
from profiler.cluster.plan import run_sha256
from profiler.cluster.play import Play, Run
from profiler.cluster.run_files import save
from profiler.cluster.worker import visible_gpus
from profiler.measure import Subject, set_up
from profiler.progress import Progress
from profiler.replay import SETTLE_S
from profiler.run_file import SCHEMA_VERSION, is_kept
from profiler.settings import MOVES_KV
from profiler.start import EngineStartError
from profiler.streams import StreamError
from sunsim.scenario import resolved

START_TIMEOUT_S = 600

PROFILE_SHARE = 0.6
"""Of the budget, after which the profile begins no further phase: runs that need all GPUs wait for it."""
LAST_PROFILE_SHARE = 0.95
"""The same where no run waits for it."""
LEAST_PROFILE_S = 70.0
"""What a profile takes that simulations can use: evenly long decodes, prompts, and prompts as they come in traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOrder:
    """What to play and where to put it.

    profile: to be measured on the last of the GPUs, beside the first runs or after all; None measures none.
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
        self._free = [each for each in workers if not each.failed.done()]
        self._changed = asyncio.Condition()

    async def take(self, number: int, *, last: bool = False) -> list[WorkerHandle]:
        """The first so many, or the last, as soon as they are free; raises WorkerError if not so many are left."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._free) >= number or self._left() < number)
            if self._left() < number:
                msg = f"{number} workers are needed, {self._left()} are left"
                raise WorkerError(msg)
            taken = self._free[-number:] if last else self._free[:number]
            self._free = [each for each in self._free if each not in taken]
            return taken

    async def give_back(self, workers: Sequence[WorkerHandle]) -> None:
        async with self._changed:
            well = [each for each in workers if not each.failed.done()]
            self._free = sorted([*self._free, *well], key=lambda each: each.gpu)
            self._changed.notify_all()

    def _left(self) -> int:
        return sum(not each.failed.done() for each in self._all)


class _Players:
    """Plays runs on the workers that are free, several at a time where there are enough."""

    def __init__(
        self,
        order: ClusterOrder,
        wanted: Mapping[Run, dict[str, Any]],
        workers: Sequence[WorkerHandle],
        up: Up,
        progress: Progress,
    ) -> None:
        self.outcome = ClusterOutcome()
        self._order = order
        self._wanted = wanted
        self._free = _Free(workers)
        self._up = up
        self._progress = progress
        # Beside runs that leave a GPU free; after them if none does, so that they do not wait for it.
        self._beside = any(run.gpus < order.gpus for run in wanted)

    async def all(self) -> None:
        """Those wanted, in order, and the profile; a run that fails is played once more, after the others."""
        async with asyncio.TaskGroup() as group:
            if self._beside:
                group.create_task(self._measure(PROFILE_SHARE))
                # It takes its worker before any run does.
                await asyncio.sleep(0)
            failed = await self._play(list(self._wanted))
            failed = await self._play([run for run in self._wanted if run in failed])
        self.outcome.failed += [run.name for run in self._wanted if run in failed]
        if not self._beside:
            await self._measure(LAST_PROFILE_SHARE)

    async def _play(self, runs: Sequence[Run]) -> list[Run]:
        """Those of them that failed."""
        failed: list[Run] = []
        async with asyncio.TaskGroup() as group:
            for run in runs:
                try:
                    taken = await self._free.take(run.gpus)
                except WorkerError as error:
                    failed.append(run)
                    self._progress.say(f"{run.name}: failed: {error}")
                    continue
                if self._needed_s(run) > self._left_s():
                    self.outcome.left_out.append(run.name)
                    self._progress.say(f"{run.name}: left out, would end after the budget")
                    await self._free.give_back(taken)
                    continue
                group.create_task(self._play_one(run, taken, failed))
        return failed

    def _left_s(self) -> float:
        return math.inf if self._order.budget_s is None else self._order.budget_s - self._progress.elapsed_s

    def _needed_s(self, run: Run) -> float:
        """A guess from below: arrivals and the shortest drain; and the profile, which tells more than a repetition."""
        profile_comes = self._order.profile is not None and not self._beside
        return run.last_s + SETTLE_S + (LEAST_PROFILE_S if profile_comes and run.is_again else 0.0)

    async def _play_one(self, run: Run, taken: list[WorkerHandle], failed: list[Run]) -> None:
        facts = self._wanted[run] | self._up.facts | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        self._progress.say(f"{run.name}: begins, {len(run.requests)} requests in {run.last_s:.0f} s or more")
        try:
            playing = Play(run, taken, self._up.vocabulary)
            await playing.serve(self._left_s())
            # In a thread: another run may be waiting for this one's attention.
            self._progress.say(await asyncio.to_thread(save, self._order.out, playing, facts))
            self.outcome.played.append(run.name)
        except Exception as caught:  # noqa: BLE001  # one run's mishap must not cost the others the engines
            error = first_of(caught)
            failed.append(run)
            self._progress.say(f"{run.name}: failed: {type(error).__name__} {error}".strip())
        finally:
            await self._free.give_back(taken)

    async def _measure(self, share: float) -> None:
        path, budget_s = self._order.profile, self._order.budget_s
        if path is None:
            return
        taken: list[WorkerHandle] = []
        try:
            # It decodes in the runs where KV is moved: a worker that has fetched some takes less time for a step than one that has not.
            taken = await self._free.take(1, last=True)
            taken[0].send(Measure(path, None if budget_s is None else share * budget_s))
            measured = await taken[0].next(Measured)
            missing = {name: why for name, why in measured.phases.items() if why is not None}
            self._progress.say(f"{path}: {len(measured.phases) - len(missing)} phases")
            self.outcome.failed += [f"{path}, {name}" for name, why in missing.items() if why.startswith("failed")]
        except WorkerError as error:
            self.outcome.failed.append(str(path))
            self._progress.say(f"{path}: failed: {error}")
        finally:
            await self._free.give_back(taken)


async def _all_up(workers: Sequence[WorkerHandle]) -> list[Up]:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return await asyncio.gather(*(each.next(Up) for each in workers))
    except (WorkerError, TimeoutError) as error:
        msg = f"the engines did not start: {str(error) or 'no word from them'}"
        raise EngineStartError(msg) from error


async def _introduce(order: ClusterOrder, workers: Sequence[WorkerHandle], progress: Progress) -> None:
    """Where KV is moved; that it fails costs the runs nothing but the engines it ends."""
    if order.subject.settings.kv_connector == MOVES_KV:
        try:
            await transfer_points.introduce(workers)
        except Exception as error:  # noqa: BLE001  # what cannot be moved is the runs' to say
            progress.say(f"the workers do not know each other yet: {type(error).__name__} {error}".strip())


async def _measure_link(order: ClusterOrder, workers: Sequence[WorkerHandle], up: Up, progress: Progress) -> list[str]:
    """Alone, then beside other things to do; what failed. That costs the runs nothing but the engines it ends."""
    if order.transfers is None or order.transfers.exists():
        return []
    source, target, *_ = workers
    try:
        points = {"transfer_points": await transfer_points.measure(source, target, progress)}
        # What comes beside takes longer, and more can go wrong.
        transfer_points.write(order.transfers, points, order.subject, up.facts)
        points["beside_points"] = await measure_beside(source, target, progress)
        transfer_points.write(order.transfers, points, order.subject, up.facts)
    except Exception as error:  # noqa: BLE001  # the runs can do without
        progress.say(f"{order.transfers}: failed: {type(error).__name__} {error}".strip())
        return [str(order.transfers)]
    return []


async def cluster(order: ClusterOrder, progress: Progress) -> ClusterOutcome:
    """All runs.

    Raises OtherSetupError if a run or profile that is there is of another set-up, StreamError for a link that these
    engines don't have, ValueError for fewer visible GPUs, and EngineStartError if an engine does not start.
    """
    visible_gpus(order.gpus)
    if order.transfers is not None and (order.gpus < 2 or order.subject.settings.kv_connector != MOVES_KV):
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
        await _introduce(order, workers, progress)
        link_failed = await _measure_link(order, workers, ups[0], progress)
        players = _Players(order, wanted, workers, ups[0], progress)
        await players.all()
    finally:
        await asyncio.gather(*(each.stop() for each in workers))
    players.outcome.kept = done
    players.outcome.failed += link_failed
    return players.outcome
