"""Small clusters for tests: step times to add up by hand, scenarios without files, and a driver for one engine."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.pool import Pool
from sunsim.cluster.sequence import KV, Sequence
from sunsim.cluster.simulation import as_they_are, simulate_arm
from sunsim.latency.steps import Chunk, DecodeLine, Outside, StepTimes, WorkerTimes
from sunsim.latency.transfer import HostTimes
from sunsim.records import ArmResult
from sunsim.scenario import Scenario
from sunsim.scenario.blocks import Document
from sunsim.workload.requests import Requests
from tests.cluster.stepwise import StepwiseEngine
from tests.synthetic import synthetic_profile

Row = tuple[int, int, int, int]
"""Arrival in picoseconds, index of the model, prompt tokens, output tokens."""
TimesOn = Callable[[WorkerTimes], WorkerTimes]
"""What the workers' step times become."""


@dataclass(frozen=True)
class Steps:
    """A step takes so many picoseconds, more for each decode, each token of their contexts and each prompt token.

    Attributes:
        launch, graph_launch: the host's time to launch a step with chunks, and one without; the GPU can start the step
            after `lead`, and a step with chunks is done `tail` after its launch at the earliest.
        pause_ps: from an output with no step behind it until the host looks for requests.
        reading: the host's time to read a token of a prompt whose KV has come from elsewhere.
    """

    base: int
    decode: int = 0
    context: int = 0
    token: int = 0
    launch: int = 0
    graph_launch: int = 0
    lead: int = 0
    tail: int = 0
    pause_ps: int = 0
    reading: int = 0

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:  # noqa: ARG002
        return DecodeLine(self.base + self.decode * batch, self.context, 2**62, outside=None)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        tokens = sum(chunk.tokens for chunk in chunks)
        return self.base + self.decode * batch + self.context * context_tokens + self.token * tokens, None

    def launch_ps(self, tokens: int, nth: int) -> int:  # noqa: ARG002
        return self.launch if tokens else self.graph_launch

    def lead_ps(self, tokens: int) -> int:  # noqa: ARG002
        return self.lead

    def tail_ps(self, tokens: int) -> int:
        return self.tail if tokens else 0

    def take_in_ps(self, prompt_tokens: int) -> int:
        return self.reading * prompt_tokens


@dataclass(frozen=True)
class Doubled:
    """Steps and stalls that take twice as long."""

    times: WorkerTimes

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        base, slope, limit, outside = self.times.decode_line(batch, context_tokens)
        return DecodeLine(2 * base, 2 * slope, limit, outside)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        duration, outside = self.times.chunked_step(batch, context_tokens, chunks)
        return 2 * duration, outside

    @property
    def pause_ps(self) -> int:
        return 2 * self.times.pause_ps

    def launch_ps(self, tokens: int, nth: int) -> int:
        return 2 * self.times.launch_ps(tokens, nth)

    def lead_ps(self, tokens: int) -> int:
        return 2 * self.times.lead_ps(tokens)

    def tail_ps(self, tokens: int) -> int:
        return 2 * self.times.tail_ps(tokens)

    def take_in_ps(self, prompt_tokens: int) -> int:
        return 2 * self.times.take_in_ps(prompt_tokens)

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        return ((2 * at, 2 * extra) for at, extra in self.times.stalls(offset))


@dataclass(frozen=True)
class Host:
    """A host that takes its time; see `Steps` for what it does. Every so often it stalls, for always the same time."""

    launch: int = 0
    graph_launch: int = 0
    lead: int = 0
    tail: int = 0
    pause: int = 0
    reading: int = 0
    every: int = 1
    stall: int = 0

    def over(self, times: WorkerTimes) -> WorkerTimes:
        """The times of the same steps on this host."""
        return Hosted(times, self)


@dataclass(frozen=True)
class Hosted:
    """Step times with the launches and stalls of a host."""

    times: StepTimes
    host: Host

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        return self.times.decode_line(batch, context_tokens)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        return self.times.chunked_step(batch, context_tokens, chunks)

    @property
    def pause_ps(self) -> int:
        return self.host.pause

    def launch_ps(self, tokens: int, nth: int) -> int:
        return self.host.launch + nth % 3 if tokens else self.host.graph_launch

    def lead_ps(self, tokens: int) -> int:  # noqa: ARG002
        return self.host.lead

    def tail_ps(self, tokens: int) -> int:
        return self.host.tail if tokens else 0

    def take_in_ps(self, prompt_tokens: int) -> int:
        return self.host.reading * prompt_tokens

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:  # noqa: ARG002
        every, stall = self.host.every, self.host.stall
        return ((at, stall) for at in count(every, every)) if stall else iter(())


def config(**options: Any) -> EngineConfig:
    """Options of a worker on which nothing is scarce, but for `options`."""
    roomy: dict[str, Any] = {"max_num_seqs": 64, "max_num_batched_tokens": 4096, "num_gpu_blocks": 10_000}
    return EngineConfig(**(roomy | options))


def given(output_tokens: int, prompt_tokens: int = 1) -> Sequence:
    """A request whose prompt's KV is there."""
    return Sequence(0, 0, prompt_tokens, output_tokens, KV.GIVEN)


def prompt(prompt_tokens: int, output_tokens: int = 1) -> Sequence:
    """A request whose prompt the worker computes."""
    return Sequence(0, 0, prompt_tokens, output_tokens, KV.COMPUTE)


def pulled(prompt_tokens: int, output_tokens: int) -> Sequence:
    """A request whose prompt's KV comes over the link."""
    return Sequence(0, 0, prompt_tokens, output_tokens, KV.PULL)


def stamps(sequence: Sequence) -> tuple[int, int, int, int]:
    """When a request was scheduled, started, and gave its first token and its last."""
    return sequence.scheduled_ps, sequence.started_ps, sequence.first_ps, sequence.last_ps


@dataclass
class Neighbours:
    """What the rest of a cluster takes, in picoseconds: a transfer, the way back to prefill, fetching pinned KV."""

    transfer: int = 0
    way_back: int = 0
    fetch: int = 0


def play(engine: Engine, arrivals: list[tuple[int, Sequence]], rest: Neighbours | None = None) -> list[tuple[int, int]]:
    """Runs an engine to its end; gives the moments at which the number of requests was seen to change, and by what."""
    rest = rest or Neighbours()
    order = count()
    events = [(at, next(order), "submit", sequence) for at, sequence in arrivals]
    heapq.heapify(events)
    changes: list[tuple[int, int]] = []
    while True:
        due = engine.next_wake()
        if events and (due is None or events[0][0] <= due):
            now, _, kind, sequence = heapq.heappop(events)
            if kind == "loaded":
                engine.loaded(now, sequence)
            elif kind == "fetched":
                engine.release(now, sequence)
            else:
                engine.submit(now, sequence, first=kind == "back")
            if kind == "submit":
                changes.append((now, 1))
            continue
        if due is None:
            return changes
        outcome = engine.wake(due)
        changes += [(due, -1)] * len(outcome.finished)
        follow = [("loaded", rest.transfer, outcome.loads), ("back", rest.way_back, outcome.evicted)]
        if engine.config.pin_finished:
            follow.append(("fetched", rest.fetch, outcome.finished))
        for kind, delay, sequences in follow:
            for sequence in sequences:
                heapq.heappush(events, (due + delay, next(order), kind, sequence))


def write_profile(folder: Path, **changes: Any) -> Path:
    """The synthetic profile with `changes` as a file."""
    path = folder / "profile.json"
    path.write_text(json.dumps(synthetic_profile(**changes)))
    return path


def posting(posts_ps: Callable[[int], int], host: HostTimes | None = None) -> Any:
    """In place of `Pulling`: posting so many tokens takes that, beside others or not."""

    def posts(tokens: int, *, beside: bool) -> int:  # as `Pulling` is asked
        return posts_ps(tokens)

    return SimpleNamespace(posts_ps=posts, host=host)


def write_link(path: Path, *, beside: bool = False) -> Path:
    """A measured link: a prompt of one to forty tokens, of a million bytes each, is posted and moved in a step or so.

    beside: with what was measured beside decodes, and with transfers four at a time.
    """
    if not path.exists():
        points: list[dict[str, Any]] = [
            {"bytes": size, "concurrent": 1, "post_ms_median": post_ms, "transfer_ms_median": ms}
            for size, post_ms, ms in ((1_000_000, 0.5, 1.5), (10_000_000, 4.0, 6.0), (40_000_000, 15.0, 21.0))
        ]
        content: dict[str, Any] = {"schema_version": 1, "card": "a card", "date": "2026-01-01"}
        if beside:
            points.append({"bytes": 10_000_000, "concurrent": 4, "post_ms_median": 5.0, "transfer_ms_median": 20.0})
            content["beside_points"] = [
                {"decode_requests": n, "lead_ms_median": lead_ms, "begin_ms_median": 0.7, "admit_ms_median": 3.0}
                for n, lead_ms in ((0, None), (10, 2.0), (110, 4.0))
            ]
        content["transfer_points"] = points
        path.write_text(json.dumps(content))
    return path


def pool(profile: Path, **options: Any) -> dict[str, Any]:
    """A complete pool block, shared and of one worker unless `options` say otherwise."""
    complete = {
        "profile": str(profile),
        "policy": "shared",
        "workers": 1,
        "max_num_seqs": 64,
        "max_num_batched_tokens": 4096,
        "max_model_len": 8192,
        "num_gpu_blocks": 10_000,
    }
    return complete | options


def scenario(models: list[str], pools: dict[str, dict[str, Any]], **blocks: Any) -> Scenario:
    """A scenario of one arm with these complete `pools`; its workload is never drawn."""
    lengths = {"kind": "fixed", "prompt_tokens": 1, "output_tokens": 1}
    document = {
        "name": "test",
        "models": [{"name": name, "weight": 1.0} for name in models],
        "workload": {
            "kind": "synthetic",
            "requests": 1,
            "arrivals": {"kind": "poisson", "rate_rps": 1.0},
            "lengths": lengths,
        },
        "arms": [{"name": "arm", **pools}],
    }
    return Scenario(Document.model_validate(document | blocks))


@contextmanager
def driven_by(engine: type[Engine | StepwiseEngine]) -> Generator[None]:
    """Every worker that is made meanwhile has an engine of this kind."""
    with patch.object(Pool, "engine", engine):
        yield


def serve(
    world: Scenario,
    rows: list[Row],
    times_on: TimesOn = as_they_are,
    engine: type[Engine | StepwiseEngine] = Engine,
    concurrency: int | None = None,
) -> ArmResult:
    """Simulates the only arm of `world` over requests in order of arrival; of a closed loop, if its `concurrency` is given."""
    with driven_by(engine):
        return simulate_arm(world, world.arms[0], requests_of(world, rows, concurrency), times_on=times_on)


def requests_of(world: Scenario, rows: list[Row], concurrency: int | None = None) -> Requests:
    """The requests of a scenario's models, in order of arrival."""
    arrival, model, prompt, output = (np.array(column) for column in zip(*rows, strict=True))
    return Requests(
        arrival.astype(np.int64),
        model.astype(np.int32),
        prompt.astype(np.int32),
        output.astype(np.int32),
        world.model_names,
        concurrency,
    )
