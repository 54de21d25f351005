"""`measure`: one engine start, one profile."""

import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler import facts, grid, profile_file, shapes
from profiler.engine import Engine, EngineSettings, running_engine, write_model
from profiler.phases.base import PHASE_TIMEOUT_S, Phase
from profiler.progress import Progress

LOG_TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure and where to put it."""

    model: str
    variant: shapes.Variant
    out: Path
    gpu_name: str = "h100-80gb"
    weights: Path | None = None
    quick: bool = False
    budget_s: float | None = None
    log_dir: Path | None = None
    settings: EngineSettings = field(default_factory=EngineSettings)


def set_up(order: Order) -> dict[str, Any]:
    """What a profile states before the engine is up; two runs that agree in it may share a file."""
    config = shapes.load_config(order.model, order.variant)
    card = facts.card()
    return {
        "schema_version": profile_file.SCHEMA_VERSION,
        "gpu": order.gpu_name,
        "card": card["name"],
        "memory_bandwidth_gb_s": facts.memory_bandwidth_gb_s(card["name"]),
        "copy_bandwidth_gb_s": None,
        "host": facts.host() | {"gpu_memory_mib": card["memory_mib"]},
        "versions": facts.versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": order.model if (shapes.MODELS / f"{order.model}.json").exists() else Path(order.model).stem,
        "variant": order.variant,
        "weights": order.weights.name if order.weights else "dummy",
        "quick": order.quick,
        "model_config": config,
        "engine_args": order.settings.recorded(),
        "kv_bytes_per_token": shapes.kv_bytes_per_token(config),
    }


async def engine_facts(engine: Engine, engine_log: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What only the running engine knows."""
    header = engine.step_log.header
    loaded = await engine.worker_call("profiler_weight_bytes")
    total = loaded["total"] if loaded else shapes.weight_bytes(config)
    embedding = loaded["embedding"] if loaded else shapes.embedding_bytes(config)
    copy_gb_s = await engine.worker_call("profiler_copy_bandwidth_gb_s")
    return {
        "copy_bandwidth_gb_s": round(copy_gb_s, 1) if copy_gb_s else None,
        "num_gpu_blocks": engine.num_gpu_blocks,
        "block_size": engine.block_size,
        "cudagraph_capture_sizes": engine.capture_sizes,
        "cudagraph_mode": header.get("cudagraph_mode"),
        "resolved": header,
        "kernels": facts.kernels(engine_log.read_text(errors="replace")),
        "weight_bytes": total,
        "weight_bytes_from": "parameters" if loaded else "shapes",
        "streamed_weight_bytes": total if config.get("tie_word_embeddings") else total - embedding,
    }


async def warm(engine: Engine, order: Order, progress: Progress) -> None:
    """Failing to warm up costs the first points some accuracy, and is said."""
    try:
        await asyncio.wait_for(grid.warm_up(engine, is_quick=order.quick), PHASE_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001  # the phases say themselves what they cannot do
        progress.say(f"warm-up failed: {type(error).__name__} {error}")
    else:
        progress.say("warm")
    await asyncio.wait_for(engine.settle(), 30)
    engine.drain_steps()


async def run_phase(engine: Engine, phase: Phase, profile: dict[str, Any], order: Order, progress: Progress) -> None:
    """Measures one phase and writes the profile; a phase that goes wrong is named and skipped."""
    begin_s, began_s = progress.elapsed_s, time.monotonic()
    try:
        points = await asyncio.wait_for(phase.measure(engine), PHASE_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001  # one phase's mishap must not cost the others an engine start
        profile["phases"][phase.name] = f"failed: {type(error).__name__} {error}".strip()
        profile_file.write(order.out, profile)
        progress.say(f"{phase.name}: {profile['phases'][phase.name]}")
        await asyncio.wait_for(engine.settle(), 30)
        engine.drain_steps()
    else:
        profile_file.add_phase(profile, phase.name, progress.elapsed_s - begin_s, points)
        counts = ", ".join(f"{len(found)} {name}" for name, found in points.items() if found)
        progress.say(f"{phase.name}: {progress.elapsed_s - begin_s:.1f} s, {counts}")
    profile_file.write(order.out, profile)
    # Beside the step log, whose times are of the same clock: enough to derive all points anew.
    with (engine.step_log.path.parent / "phases.jsonl").open("a") as file:
        file.write(json.dumps({"phase": phase.name, "begin_s": began_s, "end_s": time.monotonic()}) + "\n")


async def run_phases(
    engine: Engine, phases: list[Phase], profile: dict[str, Any], order: Order, progress: Progress
) -> None:
    """Those not yet in the profile, while the budget lasts."""
    for phase in phases:
        if profile_file.measured(profile, phase.name):
            continue
        if order.budget_s is not None and progress.elapsed_s >= order.budget_s:
            profile["phases"][phase.name] = f"left out: the budget of {order.budget_s:.0f} s was used up"
            progress.say(f"{phase.name}: left out")
            continue
        await run_phase(engine, phase, profile, order, progress)
    profile_file.write(order.out, profile)


async def measure(order: Order, progress: Progress) -> dict[str, Any]:
    """The profile, also on disk at `order.out`; raises OtherSetupError if the file there is of another set-up."""
    fresh = set_up(order)
    profile = profile_file.start_or_resume(order.out, fresh)
    phases = grid.quick() if order.quick else grid.full()
    missing = [phase.name for phase in phases if not profile_file.measured(profile, phase.name)]
    if not missing:
        progress.say(f"{order.out}: complete")
        return profile
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sunsim-profiler-")))
        logs = order.log_dir or scratch
        logs.mkdir(parents=True, exist_ok=True)
        for stale in ("steps.jsonl", "engine.log", "phases.jsonl"):
            (logs / stale).unlink(missing_ok=True)
        model = order.weights or write_model(scratch / fresh["model"], fresh["model_config"])
        progress.say(f"starting the engine for {len(missing)} phases, log in {logs}")
        try:
            async with running_engine(
                order.settings, model, dummy_weights=order.weights is None, log_directory=logs
            ) as engine:
                progress.say(f"engine up: {engine.num_gpu_blocks} blocks of {engine.block_size} tokens")
                profile |= await engine_facts(engine, logs / "engine.log", fresh["model_config"])
                profile_file.write(order.out, profile)
                await warm(engine, order, progress)
                await run_phases(engine, phases, profile, order, progress)
        except BaseException:
            log = logs / "engine.log"
            if log.exists():
                tail = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
                progress.say("the engine's last words:\n" + "\n".join(tail))
            raise
    return profile
