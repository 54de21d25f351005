"""One arm of a scenario, simulated: requests in, one row a request and one a worker out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sunsim.clock import to_ps
from sunsim.cluster.engine import Engine
from sunsim.cluster.events import TRANSFER, Alarm, Clock
from sunsim.cluster.journey import Course, Journey, request_rows
from sunsim.cluster.link import KVLink
from sunsim.cluster.pool import Pool
from sunsim.cluster.sequence import KV, UNSET, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import pandas as pd
    from simpy.events import Event

    from sunsim.cluster.engine import Outcome
    from sunsim.cluster.pool import MakeEngine
    from sunsim.cluster.worker import Worker, WorkerRow
    from sunsim.scenario import Arm, Scenario
    from sunsim.workload.requests import Requests

PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True, eq=False)
class ArmResult:
    """Rows of an arm: `rows` has the columns of the results contract, `workers` one entry a worker."""

    rows: pd.DataFrame
    workers: list[WorkerRow]


def simulate(
    scenario: Scenario,
    arm: Arm,
    requests: Requests,
    progress: Callable[[float], None] | None = None,
    make_engine: MakeEngine = Engine,
) -> ArmResult:
    """Serves `requests` with the pools of `arm`, one of the loaded `scenario`'s.

    Args:
        progress: called now and then with the share of requests that have arrived.
        make_engine: makes a worker's engine; the step-by-step twin in tests.
    """
    run = _Run(scenario, arm, requests, progress, make_engine)
    stop = scenario.stop
    limit_ps = to_ps(stop.limit_s) if stop.when == "time" else None
    run.env.process(run.arrivals())
    run.env.run(until=limit_ps)
    pools = [pool for pool in (run.prefill, run.decode) if pool]
    course = Course(
        has_decode=run.decode is not None,
        emitted_before_decode=run.emitted_before_decode,
        prefill_out_ps=run.prefill.times.frontend_out_ps if run.prefill else 0,
        decode_out_ps=run.decode.times.frontend_out_ps if run.decode else 0,
    )
    rows = request_rows(arm.name, requests, run.journeys, course, limit_ps)
    return ArmResult(rows, [row for pool in pools for row in pool.rows()])


class _Run:
    """The cluster of one arm while it runs."""

    def __init__(
        self,
        scenario: Scenario,
        arm: Arm,
        requests: Requests,
        progress: Callable[[float], None] | None,
        make_engine: MakeEngine,
    ) -> None:
        self.env = Clock()
        self.journeys = [Journey() for _ in range(len(requests))]
        self._requests = requests
        self._progress = progress
        self._models = requests.model.tolist()
        self._prompts = requests.prompt_tokens.tolist()
        self._outputs = requests.output_tokens.tolist()
        # With first_token: prefill, a request comes to its decode worker with one token out.
        self.emitted_before_decode = int(arm.prefill is not None and scenario.first_token == "prefill")
        link = scenario.transfer
        self._link = KVLink(self.env, link.bandwidth_gbit_s, to_ps(link.latency_ms / 1000))
        self.prefill = arm.prefill and Pool(
            self.env,
            "prefill",
            arm.prefill,
            scenario,
            feeds_decode=arm.decode is not None,
            make_engine=make_engine,
            on_outcome=self._on_prefill,
        )
        self.decode = arm.decode and Pool(
            self.env,
            "decode",
            arm.decode,
            scenario,
            feeds_decode=False,
            make_engine=make_engine,
            on_outcome=self._on_decode,
        )

    def arrivals(self) -> Generator[Event, Any, None]:
        """The process that brings in the requests, each once the front end of its first stage is through with it."""
        first = self.prefill or self.decode
        assert first
        through = [
            arrival + first.times.frontend_in_ps(prompt)
            for arrival, prompt in zip(self._requests.arrival_ps.tolist(), self._prompts, strict=True)
        ]
        now = 0
        for n, i in enumerate(sorted(range(len(through)), key=through.__getitem__)):
            if through[i] > now:
                yield self.env.timeout(through[i] - now)
                now = through[i]
            if self.prefill:
                self._send_to_prefill(i, self.prefill)
            else:
                self._send_to_decode(i)
            if self._progress and n % PROGRESS_EVERY == 0:
                self._progress(n / len(through))

    def _send_to_prefill(self, i: int, pool: Pool) -> None:
        journey = self.journeys[i]
        worker = pool.route(self._models[i])
        sequence = Sequence(i, self._models[i], self._prompts[i], 1, KV.COMPUTE)
        journey.prefill = sequence
        journey.source = worker
        if journey.prefill_worker is None:
            journey.prefill_worker = worker
        worker.submit(sequence)

    def _send_to_decode(self, i: int) -> None:
        assert self.decode
        journey = self.journeys[i]
        kv = KV.PULL if self.prefill else KV.GIVEN
        outputs = self._outputs[i] - self.emitted_before_decode
        sequence = Sequence(i, self._models[i], self._prompts[i], outputs, kv)
        sequence.known_tokens += self.emitted_before_decode
        worker = self.decode.route(self._models[i])
        journey.decode = sequence
        journey.decode_worker = worker
        worker.submit(sequence)

    def _on_prefill(self, worker: Worker, outcome: Outcome) -> None:
        for sequence in outcome.finished:
            i = sequence.request
            journey = self.journeys[i]
            journey.preemptions += sequence.preemptions
            if journey.decode and journey.decode_worker:
                journey.decode_worker.resubmit(journey.decode)
                continue
            journey.prefill_start_ps = sequence.started_ps
            journey.prefill_end_ps = sequence.last_ps
            if not self.decode or not self.prefill:
                continue
            if self._outputs[i] > self.emitted_before_decode:
                self._hand_over(i, self.prefill, self.decode)
            else:
                worker.release(sequence)

    def _hand_over(self, i: int, prefill: Pool, decode: Pool) -> None:
        """The prefill worker's answer goes out, and the request on to the decode stage."""
        delay = prefill.times.frontend_out_ps + decode.times.frontend_in_ps(self._prompts[i])
        if delay:
            Alarm(self.env, TRANSFER, partial(self._send_to_decode, i)).set(self.env.now_ps + delay)
        else:
            self._send_to_decode(i)

    def _on_decode(self, worker: Worker, outcome: Outcome) -> None:
        for sequence in outcome.loads:
            self._pull(worker, sequence)
        for sequence in outcome.evicted:
            assert self.prefill
            self._send_to_prefill(sequence.request, self.prefill)

    def _pull(self, worker: Worker, sequence: Sequence) -> None:
        journey = self.journeys[sequence.request]
        source, prefilled = journey.source, journey.prefill
        assert self.prefill
        assert source
        assert prefilled
        if journey.transfer_start_ps == UNSET:
            journey.transfer_start_ps = self.env.now_ps

        def arrived() -> None:
            if journey.transfer_end_ps == UNSET:
                journey.transfer_end_ps = self.env.now_ps
            source.release(prefilled)
            worker.loaded(sequence)

        self._link.start(source.name, worker.name, sequence.prompt_tokens * self.prefill.kv_bytes_per_token, arrived)
