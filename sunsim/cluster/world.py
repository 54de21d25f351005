"""The cluster of one arm while it runs: who hands requests to whom."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from sunsim.cluster.arrivals import ClosedLoop, Decoding, Stream
from sunsim.cluster.events import Clock
from sunsim.cluster.journey import Course, Journeys
from sunsim.cluster.link import KVLink
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.pool import Pool
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.cluster.worker import Worker
from sunsim.latency.steps import WorkerTimes
from sunsim.scenario import Arm, Scenario
from sunsim.workload.requests import Requests

PROGRESS_EVERY = 500


class World:
    """The cluster of one arm while it runs; colocated workers are its decode stage, to which requests come first."""

    def __init__(
        self,
        scenario: Scenario,
        arm: Arm,
        requests: Requests,
        progress: Callable[[float], None] | None,
        times_on: Callable[[WorkerTimes], WorkerTimes],
    ) -> None:
        self.env = Clock()
        self.journeys = Journeys(len(requests))
        self._requests = requests
        self._progress = progress
        self._arrived = 0
        # Views, because their items come as Python's own integers, made when they are asked for.
        self._models = requests.model.data
        self._prompts = requests.prompt_tokens.data
        self._outputs = requests.output_tokens.data
        # With first_token: prefill, a request comes to its decode worker with one token out.
        self.emitted_before_decode = int(arm.prefill is not None and scenario.first_token == "prefill")
        self._decode_kv = KV.COMPUTE if arm.colocated else KV.PULL if arm.prefill else KV.GIVEN
        self._link_times = scenario.link
        self._link = KVLink(self.env, self._link_times)
        self.prefill: Pool | None = None
        if arm.prefill:
            self.prefill = Pool(
                self.env,
                arm.prefill,
                scenario,
                feeds_decode=arm.decode is not None,
                times_on=times_on,
                on_outcome=self._on_prefill,
            )
        self.decode: Pool | None = None
        if last := arm.colocated or arm.decode:
            self.decode = Pool(
                self.env,
                last,
                scenario,
                feeds_decode=False,
                times_on=times_on,
                on_outcome=self._on_decode,
            )
        self._loop: ClosedLoop | None = None
        self._decoding: list[Decoding] = []
        if requests.concurrency:
            self._loop = ClosedLoop(self.env, requests, self._frontend_in_ps, self._arrive)
            self._decoding = [Decoding() for _ in self.decode.workers] if self.decode else []
        else:
            Stream(self.env, self._known_arrivals(), self._arrive)

    @property
    def course(self) -> Course:
        """What the requests pass, and when their tokens reach the client."""
        return Course(
            has_decode=self.decode is not None,
            emitted_before_decode=self.emitted_before_decode,
            prefill_out_ps=self.prefill.times.prefill_out_ps if self.prefill else 0,
            decode_out_ps=self.decode.times.out_ps if self.decode else np.zeros_like,
        )

    @property
    def requests(self) -> Requests:
        """The requests that have come, in a closed loop with the times that the run gave them."""
        loop = self._loop
        if not loop:
            return self._requests
        return replace(self._requests.first(loop.sent), arrival_ps=loop.arrival_ps[: loop.sent])

    def _known_arrivals(self) -> Iterator[tuple[int, int]]:
        """When the front end of the first stage is through with a request, and which one, in order."""
        prompts, which = np.unique(self._requests.prompt_tokens, return_inverse=True)
        frontend_ps = np.array([self._frontend_in_ps(prompt) for prompt in prompts.tolist()], dtype=np.int64)
        through_ps = self._requests.arrival_ps + frontend_ps[which]
        order = np.argsort(through_ps, kind="stable")
        return zip(through_ps[order].data, order.data, strict=True)

    def _frontend_in_ps(self, prompt_tokens: int) -> int:
        first = self.prefill or self.decode
        assert first
        return first.times.frontend_in_ps(prompt_tokens)

    def _arrive(self, i: int) -> None:
        """Request `i` comes to its first stage."""
        if self.prefill:
            self._send_to_prefill(i, self.prefill)
        else:
            self._send_to_decode(i)
        if self._progress and self._arrived % PROGRESS_EVERY == 0:
            self._progress(self._arrived / len(self._requests))
        self._arrived += 1

    def _send_to_prefill(self, i: int, pool: Pool) -> None:
        model, journeys = self._models[i], self.journeys
        sequence = Sequence(i, model, self._prompts[i], 1, KV.COMPUTE)
        worker = pool.route(model, sequence.known_tokens)
        journeys.prefill[i] = sequence
        journeys.source[i] = worker.slot
        if journeys.prefill_worker[i] == UNSET:
            journeys.prefill_worker[i] = worker.slot
        worker.submit(sequence)

    def _send_to_decode(self, i: int) -> None:
        assert self.decode
        model, emitted = self._models[i], self.emitted_before_decode
        sequence = Sequence(i, model, self._prompts[i], self._outputs[i] - emitted, self._decode_kv)
        sequence.known_tokens += emitted
        if self.prefill:
            sequence.post_ps = self._link_times.posts_ps(sequence.prompt_tokens * self.prefill.kv_bytes_per_token)
        worker = self.decode.route(model, sequence.known_tokens)
        self.journeys.decode[i] = sequence
        self.journeys.decode_worker[i] = worker.slot
        worker.submit(sequence)

    def _on_prefill(self, worker: Worker, outcome: Outcome) -> None:
        journeys = self.journeys
        for sequence in outcome.finished:
            i = sequence.request
            journeys.preemptions[i] += sequence.preemptions
            sent_back = journeys.decode[i]
            if sent_back and self.decode:
                self.decode.workers[journeys.decode_worker[i]].resubmit(sent_back)
                continue
            journeys.note_prefill(sequence)
            if self.prefill and self.decode and self._outputs[i] > self.emitted_before_decode:
                self._hand_over(i, self.prefill, self.decode)
                continue
            journeys.prefill[i] = None
            if self.decode:
                worker.release(sequence)
            if self._loop and self.prefill:
                self._loop.ended(i, self.prefill.times.prefill_out_ps)

    def _hand_over(self, i: int, prefill: Pool, decode: Pool) -> None:
        """The prefill worker's answer goes out, and the request on to the decode stage."""
        delay = prefill.times.prefill_out_ps + decode.times.frontend_in_ps(self._prompts[i])
        if delay:
            self.env.after(delay, partial(self._send_to_decode, i))
        else:
            self._send_to_decode(i)

    def _on_decode(self, worker: Worker, outcome: Outcome) -> None:
        if self._loop and self.decode:
            decoding = self._decoding[worker.slot]
            for i, out_ps in decoding.note(self.env.now_ps, outcome, self.decode.times.out_ps):
                self._loop.ended(i, out_ps)
        for sequence in outcome.finished:
            self.journeys.note_decode(sequence)
        posted_ps = 0
        for sequence in outcome.loads:
            posted_ps += sequence.post_ps
            self._pull(worker, sequence, posted_ps)
        for sequence in outcome.evicted:
            assert self.prefill
            self._send_to_prefill(sequence.request, self.prefill)

    def _pull(self, worker: Worker, sequence: Sequence, after_ps: int) -> None:
        i, journeys = sequence.request, self.journeys
        prefilled = journeys.prefill[i]
        assert self.prefill
        assert prefilled
        source = self.prefill.workers[journeys.source[i]]
        if journeys.transfer_start_ps[i] == UNSET:
            journeys.transfer_start_ps[i] = self.env.now_ps

        def arrived() -> None:
            if journeys.transfer_end_ps[i] == UNSET:
                journeys.transfer_end_ps[i] = self.env.now_ps
            journeys.prefill[i] = None
            source.release(prefilled)
            worker.loaded(sequence)

        self._link.start(
            source.name, worker.name, sequence.prompt_tokens * self.prefill.kv_bytes_per_token, arrived, after_ps
        )
