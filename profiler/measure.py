"""`measure`: one engine start, one profile."""

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler import facts, grid, profile_file, shapes
from profiler.adapters import adapter_bytes, write_adapter
from profiler.engine import Engine
from profiler.engine_log import last_error
from profiler.phases.base import PHASE_TIMEOUT_S, Phase
from profiler.power import PowerMeter, nvml_watts
from profiler.progress import Progress
from profiler.settings import EngineSettings
from profiler.start import require_vllm, running_engine, write_drafter, write_model
from sunsim.estimate.shapes import embedding_bytes, kv_bytes_per_token, weight_bytes

WARM_UP_TIMEOUT_S = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Which engine to start, and where its log goes.

    settings: get the quantization that the variant asks of the engine.
    """

    model: str
    variant: shapes.Variant
    gpu_name: str = "h100-80gb"
    weights: Path | None = None
    quick: bool = False
    log_dir: Path | None = None
    settings: EngineSettings = field(default_factory=EngineSettings)

    def __post_init__(self) -> None:
        quantized = replace(self.settings, quantization=shapes.QUANTIZATION.get(self.variant))
        object.__setattr__(self, "settings", quantized)

    @property
    def served_variant(self) -> str:
        """The weights' variant, with LoRA adapters theirs: `lora-r16` on bf16 weights, `awq-lora-r16` on others."""
        if self.settings.lora is None:
            return self.variant
        return "-".join([*([] if self.variant == "bf16" else [self.variant]), self.settings.lora.variant])


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Subject):
    """What to measure and where to put it; `power`: the card's too."""

    out: Path
    power: bool = False
    budget_s: float | None = None


def set_up(order: Subject) -> dict[str, Any]:
    """What a profile states before the engine is up; two runs that agree in it may share a file.

    KV and weights are those of each GPU, KV as vLLM counts it in blocks; adapters are whole.

    Raises ValueError for a length or a number of GPUs that the model is not made for.
    """
    settings = order.settings
    config = shapes.load_config(order.model, order.variant)
    shapes.check(config, max_model_len=settings.max_model_len, tensor_parallel_size=settings.tensor_parallel_size)
    card = facts.card()
    lora = settings.lora
    # A drafter's layer has KV of its own, in the same blocks.
    layers = config["num_hidden_layers"] + bool(settings.speculative and settings.speculative.has_drafter)
    with_drafter = config | {"num_hidden_layers": layers}
    return {
        "schema_version": profile_file.SCHEMA_VERSION,
        "gpu": order.gpu_name,
        "card": card["name"],
        "memory_bandwidth_gb_s": facts.memory_bandwidth_gb_s(card["name"]),
        "copy_bandwidth_gb_s": None,
        "processors": None,
        "host": facts.host() | {"gpu_memory_mib": card["memory_mib"]},
        "versions": facts.versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": order.model if (shapes.MODELS / f"{order.model}.json").exists() else Path(order.model).stem,
        "variant": order.served_variant,
        "weights": order.weights.name if order.weights else "dummy",
        "quick": order.quick,
        "model_config": config,
        "engine_args": settings.recorded(),
        "kv_bytes_per_token": kv_bytes_per_token(with_drafter, settings.kv_cache_dtype, settings.tensor_parallel_size),
    } | ({"adapter_bytes": adapter_bytes(config, lora.max_lora_rank)} if lora else {})


async def engine_facts(engine: Engine, engine_log: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What only the running engine knows."""
    header, settings = engine.step_log.header, engine.settings
    loaded = await engine.worker_call("profiler_weight_bytes") or {
        "total": weight_bytes(config, settings.quantization) // settings.tensor_parallel_size,
        "embedding": embedding_bytes(config) // settings.tensor_parallel_size,
        "from": "shapes",
    }
    total = loaded["total"]
    copy_gb_s = await engine.worker_call("profiler_copy_bandwidth_gb_s")
    return {
        "copy_bandwidth_gb_s": round(copy_gb_s, 1) if copy_gb_s else None,
        "processors": await engine.worker_call("profiler_processors"),
        "num_gpu_blocks": engine.num_gpu_blocks,
        "block_size": engine.block_size,
        "cudagraph_capture_sizes": engine.capture_sizes,
        "cudagraph_mode": header.get("cudagraph_mode"),
        "resolved": header,
        "kernels": facts.kernels(engine_log.read_text(errors="replace")),
        "weight_bytes": total,
        **({"drafter_weight_bytes": loaded["drafter"]} if loaded.get("drafter") else {}),
        "weight_bytes_from": loaded.get("from", "parameters"),
        "streamed_weight_bytes": total if config.get("tie_word_embeddings") else total - loaded["embedding"],
    }


async def warm(engine: Engine, order: Subject, progress: Progress) -> dict[str, Any]:
    """How the warm-up went, as a profile states it. Failing to warm up costs the first points some accuracy, and is said."""
    begin_s = progress.elapsed_s
    try:
        went = await asyncio.wait_for(grid.warm_up(engine, is_quick=order.quick), WARM_UP_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001  # the phases say themselves what they cannot do
        went = {"failed": f"{type(error).__name__} {error}".strip()}
        progress.say(f"warm-up failed: {went['failed']}")
    else:
        progress.say("warm" if went.get("steady", True) else "warm, but steps do not yet take the same time again")
    await asyncio.wait_for(engine.settle(), 30)
    engine.drain_steps()
    return {"seconds": round(progress.elapsed_s - begin_s, 2)} | went


def note_phase(engine: Engine, name: str, began_s: float) -> None:
    """Says beside the step log, whose clock is the same, which steps were whose: enough to derive all anew."""
    with (engine.step_log.path.parent / "phases.jsonl").open("a") as file:
        file.write(json.dumps({"phase": name, "begin_s": began_s, "end_s": time.monotonic()}) + "\n")


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
    note_phase(engine, phase.name, began_s)


async def run_phases(
    engine: Engine, phases: list[Phase], profile: dict[str, Any], order: Order, progress: Progress
) -> None:
    """Those given, while the budget lasts."""
    for phase in phases:
        if order.budget_s is not None and progress.elapsed_s >= order.budget_s:
            profile["phases"][phase.name] = f"left out: the budget of {order.budget_s:.0f} s was used up"
            progress.say(f"{phase.name}: left out")
            continue
        await run_phase(engine, phase, profile, order, progress)
    profile_file.write(order.out, profile)


@contextlib.asynccontextmanager
async def started(subject: Subject, fresh: dict[str, Any], progress: Progress) -> AsyncIterator[Engine]:
    """The subject's engine, up until the end of the block. If anything goes wrong there, its own last error is said.

    fresh: the subject's set-up.

    Raises EngineStartError if it does not start.
    """
    require_vllm()
    with tempfile.TemporaryDirectory(prefix="sunsim-profiler-") as directory:
        scratch = Path(directory)
        logs = subject.log_dir or Path(tempfile.mkdtemp(prefix="sunsim-engine-"))
        logs.mkdir(parents=True, exist_ok=True)
        for stale in ("steps.jsonl", "engine.log", "phases.jsonl"):
            (logs / stale).unlink(missing_ok=True)
        model = subject.weights or write_model(scratch / fresh["model"], fresh["model_config"])
        lora, speculative = subject.settings.lora, subject.settings.speculative
        drafter = (
            write_drafter(scratch / "drafter", fresh["model_config"])
            if speculative and speculative.has_drafter
            else None
        )
        adapter = write_adapter(scratch / "adapter", fresh["model_config"], lora.max_lora_rank) if lora else None
        progress.say(f"starting the engine, log in {logs}")
        async with running_engine(
            subject.settings,
            model,
            dummy_weights=subject.weights is None,
            log_directory=logs,
            adapter=adapter,
            drafter=drafter,
        ) as engine:
            progress.say(f"engine up: {engine.num_gpu_blocks} blocks of {engine.block_size} tokens")
            try:
                yield engine
            except Exception:
                log = logs / "engine.log"
                said = last_error(log.read_text(errors="replace"))
                progress.say(f"the engine's log is {log}" + (f", its last error: {said}" if said else ""))
                raise
    # It is kept where something went wrong.
    if subject.log_dir is None:
        shutil.rmtree(logs, ignore_errors=True)


def missing_phases(profile: dict[str, Any], subject: Subject) -> list[Phase]:
    """Those that a profile of it still lacks."""
    phases = (grid.quick if subject.quick else grid.full)(subject.settings)
    return [phase for phase in phases if not profile_file.measured(profile, phase.name)]


async def state_engine(engine: Engine, profile: dict[str, Any], order: Order) -> None:
    """Adds to the profile on disk what only the running engine knows."""
    profile |= await engine_facts(engine, engine.step_log.path.parent / "engine.log", profile["model_config"])
    profile_file.write(order.out, profile)


async def measure(order: Order, progress: Progress) -> dict[str, Any]:
    """The profile, also on disk at `order.out`; raises OtherSetupError if the file there is of another set-up.

    Raises ValueError where power is asked for and cannot be read.
    """
    fresh = set_up(order)
    profile = profile_file.start_or_resume(order.out, fresh)
    phases = missing_phases(profile, order)
    if not phases:
        progress.say(f"{order.out}: complete")
        return profile
    progress.say(f"{len(phases)} phases to measure")
    watts = nvml_watts() if order.power else None
    async with started(order, fresh, progress) as engine:
        await state_engine(engine, profile, order)
        profile["warm_up"] = await warm(engine, order, progress)
        with PowerMeter(watts) if watts else contextlib.nullcontext() as engine.power:
            if engine.power:
                profile["idle_power_w"] = await engine.power.idle_power_w()
            await run_phases(engine, phases, profile, order, progress)
    return profile
