"""The verb `split`: the requests that each worker of an arm gets, as streams that one GPU can be given for real.

Streams come from the simulation itself, so a stream holds what the simulated worker was sent, whatever the router. A
router that doesn't look at the workers' state would send a real worker the same; one that does would follow the real
workers' state, so its streams are what the simulation makes of it. `split.json` says which it is.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sunsim.arms import simulate_arms
from sunsim.errors import InputError
from sunsim.files import file_names
from sunsim.folder import MANIFEST, Results
from sunsim.records import ArmResult, WorkerRecord
from sunsim.roles import Stage
from sunsim.run import prepare
from sunsim.scenario import Arm, Scenario
from sunsim.scenario.pools import STATE_BLIND
from sunsim.version import __version__
from sunsim.workload.blocks import Closed, Synthetic

StageName = Literal["decode", "prefill"]

SCHEMA_VERSION = 1
INDEX = "split.json"


def split(
    file: Path, out: Path, overrides: Sequence[str], seed: int | None, stage: StageName | None, *, quiet: bool = False
) -> str:
    """Simulate every arm and write the stream of each of its workers.

    Args:
        file: the scenario.
        out: the folder: ``<arm>/<stage>-<pool>-<i>.csv`` and `split.json`.
        overrides: `path=value` each.
        seed: replaces the scenario's.
        stage: whose workers; None takes decode where an arm has it, else prefill. Arms without it are left out.
        quiet: no progress.

    Returns:
        What was written, in one line.

    Raises:
        InputError: the scenario or the folder cannot be used, its requests are rounds of sessions, or no arm has the stage.
    """
    scenario, requests = prepare(file, overrides, seed)
    if requests.sessions:
        message = "has requests that are rounds of sessions, must have none: what they have in common is not in a worker's stream"
        raise InputError(message, file)
    staged = {arm.name: stage or _last_stage(arm) for arm in scenario.arms}
    arms = [arm for arm in scenario.arms if staged[arm.name] in arm.pools()]
    if not arms:
        wanted = stage or "prefill or decode"
        message = f"no arm has a {wanted} pool, so there is no {wanted} stream to write"
        raise InputError(message, file)
    results = Results(out, "split", (INDEX,))
    index: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "sunsim_version": __version__,
        "scenario": scenario.name,
        "seed": scenario.seed,
        "first_token": scenario.first_token,
        "requests": len(requests),
        "arms": {},
    }
    folders = file_names((arm.name for arm in arms), taken=(INDEX, MANIFEST))
    simulated = simulate_arms(scenario.with_arms(arms), requests, None, show_progress=not quiet)
    with results.writing() as folder:
        for arm, result in zip(arms, simulated, strict=True):
            index["arms"][arm.name] = _write_arm(folder, folders[arm.name], scenario, arm, staged[arm.name], result)
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    written = sum(
        worker["file"] is not None for entry in index["arms"].values() for worker in entry["workers"].values()
    )
    return f"{out}/: {written} streams of {len(arms)} arm{'s' if len(arms) > 1 else ''}, listed in {INDEX}"


def _last_stage(arm: Arm) -> StageName:
    return "decode" if arm.decode else "prefill"


def _write_arm(
    out: Path, folder: str, scenario: Scenario, arm: Arm, stage: StageName, result: ArmResult
) -> dict[str, Any]:
    """The streams of one arm's stage, and its entry in the index."""
    pool = arm.pools()[Stage(stage)]
    rows = stage_rows(scenario, arm, stage, result.rows)
    (out / folder).mkdir(exist_ok=True)
    theirs = [worker for worker in result.workers if worker.role.counted_as == stage]
    names = file_names(worker.name for worker in theirs)
    workers = {}
    for worker in theirs:
        own = rows[rows["worker"] == worker.name].drop(columns="worker")
        # A replay has nothing to do with an empty stream, and a trace without requests is refused anyway.
        file = f"{folder}/{names[worker.name]}.csv" if len(own) else None
        if file:
            own.to_csv(out / file, index=False, float_format="%.6f", lineterminator="\n")
        workers[worker.name] = _worker_entry(worker, file, len(own))
    exact, why = _exactness(scenario, arm, stage, result.workers)
    return {
        "stage": stage,
        "profile": pool.measured_as,
        "policy": "shared" if pool.shared else "isolated",
        "router": pool.router,
        "exact": exact,
        "why": why,
        "requests": len(rows),
        # Cut off by the scenario's stop, or done with prefill's token.
        "not_reached": len(result.rows) - len(rows),
        "max_num_batched_tokens": pool.max_num_batched_tokens,
        "workers": workers,
    }


def _worker_entry(worker: WorkerRecord, file: str | None, requests: int) -> dict[str, Any]:
    return {
        "file": file,
        "requests": requests,
        "model": worker.role.serves,
        "max_num_seqs": worker.max_num_seqs,
        "num_gpu_blocks": worker.num_gpu_blocks,
    }


def stage_rows(scenario: Scenario, arm: Arm, stage: StageName, rows: pd.DataFrame) -> pd.DataFrame:
    """The requests that came to a stage, by arrival there: the columns of a stream, and `worker`.

    A request arrives at its first stage when it arrives at all: the delay of a front end comes on top, from the real
    one where the stream is replayed. It arrives at decode when its prefill has ended. Where prefill emits the first
    token, that token is part of the prompt that decode gets.
    """
    follows = stage == "decode" and arm.prefill is not None
    emitted = int(follows and scenario.first_token == "prefill")
    table = rows[["prompt_tokens", "output_tokens", "model", "request_id"]].copy()
    table.insert(0, "arrival_s", rows["prefill_end_s"] if follows else rows["arrival_s"])
    table["prompt_tokens"] += emitted
    table["output_tokens"] -= emitted
    table["worker"] = rows[f"{stage}_worker"]
    reached = table["worker"].notna() & table["arrival_s"].notna()
    return table[reached].sort_values(["arrival_s", "request_id"], kind="stable")


def _exactness(scenario: Scenario, arm: Arm, stage: StageName, workers: Sequence[WorkerRecord]) -> tuple[bool, str]:
    """Whether a real cluster would get these very streams, and why or why not."""
    pool = arm.pools()[Stage(stage)]
    workload = scenario.workload
    if isinstance(workload, Synthetic) and isinstance(workload.arrivals, Closed):
        return False, "arrivals are the ends of other requests, as simulated"
    if pool.elastic:
        return False, "workers come and go, as simulated"
    if pool.stage is Stage.PREFILL and arm.decode and arm.decode.convertible:
        return False, "requests go elsewhere while prefill is behind, as simulated"
    if stage == "decode" and arm.prefill:
        return False, "arrivals are the ends of prefill, as simulated"
    if stage == "prefill" and any(worker.preemptions and not worker.role.recomputes for worker in workers):
        return False, "requests that decode sent back for their prompt's KV took turns of the router, as simulated"
    if pool.router in STATE_BLIND:
        return True, f"{pool.router} does not look at the workers' state"
    if all(size == 1 for size in pool.roles.values()):
        return True, "each request has one worker to go to"
    return False, f"{pool.router} looks at the workers' state, which is the simulation's"
