"""`replay`: request streams in real time against one real engine, and what it did to each request and in each step."""

import asyncio
import contextlib
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profiler import profile_file, run_file
from profiler.client import LEAD_S, serve
from profiler.engine import Engine, count_preemptions, undisturbed
from profiler.measure import (
    Order,
    Subject,
    missing_phases,
    note_phase,
    run_phases,
    set_up,
    started,
    state_engine,
    warm,
)
from profiler.phases.base import Phase
from profiler.progress import Progress
from profiler.recording import RequestStamps, Step
from profiler.settings import EngineSettings, SpeculativeSettings
from profiler.streams import Stream, StreamError
from sunsim.workload.acceptance import are_rates

SETTLE_S = 2.0
SETTLE_TIMEOUT_S = 30.0
LONGEST_PHASE_S = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOrder(Subject):
    """What to replay and where to put it.

    profile: is measured first, in the same engine start.
    """

    streams: Sequence[Stream]
    out: Path
    profile: Path | None = None
    budget_s: float | None = None


@dataclass(slots=True)
class Outcome:
    """Names of the streams by what became of them."""

    replayed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Played:
    """A stream's requests in its order, and its steps; `start_s` on their clock.

    client_cpu_share: processor time of the client over the stream's duration.
    """

    start_s: float
    stamps: list[RequestStamps]
    steps: list[Step]
    client_cpu_share: float


def limit_tokens(settings: EngineSettings) -> int:
    """Most tokens a request may have; raises StreamError if the engine would not even start."""
    blocks = settings.num_gpu_blocks_override
    if blocks is None:
        return settings.max_model_len
    # Of vLLM's default size; the engine keeps one block for itself.
    needed = -(-settings.max_model_len // 16) + 1
    if blocks < needed:
        msg = f"--num-gpu-blocks-override: is {blocks}, must be at least {needed}, to hold one request of full length"
        raise StreamError(msg)
    return settings.max_model_len


def checked_roles(streams: list[Stream], settings: EngineSettings) -> list[Stream]:
    """The streams; raises StreamError for one that a worker with such settings cannot serve as it is meant."""
    for stream in streams:
        if stream.rounds and stream.role != "colocated":
            msg = f"{stream.name}: has role {stream.role}, must be colocated, as it has rounds of conversations"
            raise StreamError(msg)
        if stream.rounds and not settings.enable_prefix_caching:
            msg = f"{stream.name}: has rounds of conversations, must be with --enable-prefix-caching"
            raise StreamError(msg)
        if stream.role != "colocated" and settings.kv_connector is None:
            msg = f"{stream.name}: has role {stream.role}, must be colocated with --ordinary"
            raise StreamError(msg)
    return streams


def with_rates(
    streams: list[Stream], rates: tuple[float, ...] | None, speculative: SpeculativeSettings | None
) -> list[Stream]:
    """The streams, those that name no acceptance rates of their own with these.

    Raises StreamError where rates are missing, or are there for an engine without drafts.
    """
    found = [replace(stream, acceptance_rates=stream.acceptance_rates or rates) for stream in streams]
    for stream in found:
        own = stream.acceptance_rates
        if own is None and speculative is None:
            continue
        if speculative is None:
            msg = f"{stream.name}: has acceptance rates, must be with --speculative"
            raise StreamError(msg)
        drafts = speculative.num_speculative_tokens
        if own is None:
            msg = f"{stream.name}: has no acceptance rates, must have {drafts}: --synthetic-acceptance-rates"
            raise StreamError(msg)
        if len(own) != drafts or not are_rates(own):
            msg = f"{stream.name}: acceptance rates are {', '.join(map(str, own))}, must be {drafts} from 0 to 1 that do not rise"
            raise StreamError(msg)
    return found


def measure_budget_s(order: ReplayOrder, streams: Sequence[Stream]) -> float | None:
    """Seconds after the start at which no further phase may begin, so that the streams still fit; None without limit."""
    if order.budget_s is None:
        return None
    for_streams_s = sum(LEAD_S + stream.expected_s() + SETTLE_S for stream in streams)
    return max(0.0, order.budget_s - LONGEST_PHASE_S - for_streams_s)


def fits(stream: Stream, elapsed_s: float, budget_s: float | None) -> bool:
    """Whether a stream begun now would end within the budget."""
    return budget_s is None or elapsed_s + LEAD_S + stream.expected_s() + SETTLE_S <= budget_s


def run_facts(fresh: dict[str, Any], stream: Stream) -> dict[str, Any]:
    """What a run's metadata state before the engine is up; acceptance rates are the run's own, not its engine's."""
    same = ("gpu", "card", "host", "versions", "model", "variant", "weights", "quick", "engine_args")
    stated = {
        "schema_version": run_file.SCHEMA_VERSION,
        "stream": stream.name,
        "csv_sha256": stream.csv_sha256,
        "role": stream.role,
    } | {key: fresh[key] for key in same}
    if stream.acceptance_rates is None:
        return stated
    drafts = fresh["engine_args"]["speculative_config"]
    return stated | {"speculative_config": drafts | {"synthetic_acceptance_rates": list(stream.acceptance_rates)}}


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C would. Not to be entered before the engine is up.

    A process forked meanwhile would report its own signals to this one's event loop.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def play(engine: Engine, stream: Stream) -> Played:
    """One stream on an idle engine, which is idle again afterwards."""
    if stream.acceptance_rates is not None:
        await engine.set_acceptance_rates(stream.acceptance_rates)
    if stream.rounds:
        await engine.forget()
    engine.drain_steps()
    with undisturbed():
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        start_s, stamps = await serve(engine, stream)
        ended_s, cpu_s = time.monotonic(), time.process_time() - began_cpu_s
    await asyncio.wait_for(engine.settle(), SETTLE_TIMEOUT_S)
    # Not those of the request that settles it.
    steps = [step for step in engine.drain_steps() if step.scheduled_s < ended_s]
    note_phase(engine, f"replay {stream.name}", began_s)
    return Played(start_s, stamps, steps, cpu_s / (ended_s - began_s))


def by_own_id(preemptions: Counter[str]) -> dict[str, int]:
    """Counts by the id that we gave; vLLM has appended a hyphen and eight characters to each."""
    return {identifier.rpartition("-")[0]: count for identifier, count in preemptions.items()}


def save(order: ReplayOrder, stream: Stream, played: Played, facts: dict[str, Any], preemptions: dict[str, int]) -> str:
    """Writes a stream's files; one line about how it went."""
    columns = run_file.request_columns(stream, played.stamps, played.start_s, preemptions)
    drafts = stream.acceptance_rates is not None
    went = run_file.summary(columns, played.steps) | {"client_cpu_share": round(played.client_cpu_share, 3)}
    if drafts:
        went |= run_file.draft_counts(played.steps)
    steps = run_file.step_columns(played.steps, played.start_s, drafts=drafts)
    run_file.write(order.out, stream.name, columns, steps, facts | went)
    lag_ms, tpot_ms = went["submit_lag_ms"], went["mean_tpot_ms"]
    tpot = "no TPOT" if tpot_ms is None else f"mean TPOT {tpot_ms:.2f} ms"
    cached = f", {went['cached_share']:.1%} of their prompts cached" if "cached_share" in went else ""
    length = went.get("mean_acceptance_length")
    accepted = "" if length is None else f", mean acceptance length {length:.3f}"
    preempted = f", {went['preemptions']} preemptions" if went["preemptions"] else ""
    return (
        f"{stream.name} ({stream.role}): {went['requests']} requests in {went['duration_s']:.1f} s, {tpot}, "
        f"submit lag p99 {lag_ms['p99']:.1f} ms, max {lag_ms['max']:.1f} ms{cached}{accepted}{preempted}"
    )


async def replay_all(
    engine: Engine, order: ReplayOrder, wanted: dict[str, dict[str, Any]], progress: Progress, outcome: Outcome
) -> None:
    """Those wanted, each with the facts given, while the budget lasts; one that goes wrong is named and skipped."""
    preemptions = count_preemptions()
    for stream in order.streams:
        if stream.name not in wanted:
            continue
        if not fits(stream, progress.elapsed_s, order.budget_s):
            outcome.left_out.append(stream.name)
            progress.say(f"{stream.name}: left out, would take {stream.expected_s():.0f} s and end after the budget")
            continue
        facts = wanted[stream.name] | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            played = await play(engine, stream)
            progress.say(save(order, stream, played, facts, by_own_id(preemptions)))
            outcome.replayed.append(stream.name)
        except Exception as error:  # noqa: BLE001  # one stream's mishap must not cost the others an engine start
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            outcome.failed.append(stream.name)
            progress.say(f"{stream.name}: failed: {type(error).__name__} {error}".strip())
            await asyncio.wait_for(engine.settle(), SETTLE_TIMEOUT_S)


def profile_to_measure(
    order: ReplayOrder, fresh: dict[str, Any], streams: Sequence[Stream]
) -> tuple[Order, dict[str, Any], list[Phase]] | None:
    """How to measure the profile asked for, what it has, and which phases it lacks; None if it lacks nothing."""
    if order.profile is None:
        return None
    profile = profile_file.start_or_resume(order.profile, fresh)
    phases = missing_phases(profile, order)
    shared = {name: getattr(order, name) for name in Subject.__dataclass_fields__}
    budget_s = measure_budget_s(order, streams)
    return (Order(**shared, out=order.profile, budget_s=budget_s), profile, phases) if phases else None


async def replay(order: ReplayOrder, progress: Progress) -> Outcome:
    """All streams, in one engine start; raises OtherSetupError if a file that is there is of another set-up."""
    if find_spec("pyarrow") is None:
        msg = "pyarrow is not installed, and the results are parquet files"
        raise StreamError(msg)
    fresh = set_up(order)
    facts = {stream.name: run_facts(fresh, stream) for stream in order.streams}
    outcome = Outcome(kept=[name for name in facts if run_file.is_kept(order.out, name, facts[name])])
    for name in outcome.kept:
        progress.say(f"{name}: kept, it has been replayed")
    wanted = {name: stated for name, stated in facts.items() if name not in outcome.kept}
    to_play = [stream for stream in order.streams if stream.name in wanted]
    to_measure = profile_to_measure(order, fresh, to_play)
    if not wanted and not to_measure:
        return outcome
    if to_measure and to_measure[0].budget_s is not None:
        progress.say(f"the last of {len(to_measure[2])} phases may begin at {to_measure[0].budget_s:.0f} s")
    async with started(order, fresh, progress) as engine:
        with ended_by_sigterm():
            up = {
                "engine_start": uuid.uuid4().hex,
                "num_gpu_blocks": engine.num_gpu_blocks,
                "block_size": engine.block_size,
                "profile": None,
            }
            if to_measure:
                await state_engine(engine, to_measure[1], to_measure[0])
            up["warm_up"] = await warm(engine, order, progress)
            if to_measure:
                measure_order, profile, phases = to_measure
                profile["warm_up"] = up["warm_up"]
                await run_phases(engine, phases, profile, measure_order, progress)
                up["profile"] = {
                    "file": measure_order.out.name,
                    "sha256": run_file.file_sha256(measure_order.out),
                    "phases_of_this_start": [p.name for p in phases if profile_file.measured(profile, p.name)],
                }
            await replay_all(engine, order, {n: stated | up for n, stated in wanted.items()}, progress, outcome)
    return outcome
