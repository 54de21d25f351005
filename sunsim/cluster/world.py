"""The cluster of one arm while it runs: who hands requests to whom."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sunsim.cluster.admission import Admission
from sunsim.cluster.arrivals import ClosedLoop, Decoding, LaterRounds, begin_arrivals
from sunsim.cluster.convert import Converting
from sunsim.cluster.drafted import Drafted
from sunsim.cluster.events import REPORT, Alarm, Clock
from sunsim.cluster.journey import Course, Journeys
from sunsim.cluster.link import KVLink
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.pool import Pool
from sunsim.cluster.promises import Outputs
from sunsim.cluster.pulling import Pulling
from sunsim.cluster.rounds import Rounds, keys_of
from sunsim.cluster.scaling.pool import ElasticPool
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.cluster.worker import Worker
from sunsim.latency.steps import WorkerTimes
from sunsim.scenario import Arm, Scenario
from sunsim.scenario import Pool as Loaded
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
        if arm.drafts:
            self.journeys.drafted = Drafted(len(requests))
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
        self._link = KVLink(self.env, scenario.link)

        def pool(block: Loaded, on_outcome: Callable[[Worker, Outcome], None]) -> Pool:
            kind = ElasticPool if block.elastic else Pool
            return kind(
                self.env,
                block,
                scenario,
                arm=arm,
                keys=keys_of(block, arm, requests),
                outputs=Outputs.of(block, requests, scenario.seed),
                times_on=times_on,
                on_outcome=on_outcome,
            )

        last = arm.colocated or arm.decode
        self.prefill = pool(arm.prefill, self._on_prefill) if arm.prefill else None
        self.decode = pool(last, self._on_decode) if last else None
        self.elastic: list[ElasticPool] = []
        for made, block in ((self.prefill, arm.prefill), (self.decode, last)):
            if block and isinstance(made, ElasticPool):
                made.begin(self.env, block, scenario, requests)
                self.elastic.append(made)
        self._admission: Admission | None = None
        if arm.block.admission:
            emits = self.emitted_before_decode > 0
            self._admission = Admission(scenario, arm, self.prefill, self.decode, emits=emits)
            self.journeys.shed = bytearray(len(requests))
        self._kv_bytes = arm.kv_bytes_per_token if self.prefill else 0
        self._pulling = Pulling(scenario.link, self._kv_bytes) if any(scenario.link.posting_ps) else None
        self.clients = begin_arrivals(self.env, requests, self._frontend_in_ps, self._arrive)
        self._decoding: list[tuple[Decoding, Alarm]] = []  # by slot, where somebody waits for an end
        if self.clients and self.decode:
            self._decoding = [self._begin_decoding(self.clients, self.decode) for _ in self.decode.workers]
        self._converting: Converting | None = None
        if arm.decode and arm.decode.convertible and self.prefill and self.decode:
            self._converting = Converting(arm, self.prefill, self.decode)
        self.rounds: Rounds | None = None
        # Whether a decode worker computes its prompt though others prefill, by request; empty where none does.
        self.local = bytearray(len(requests) if requests.sessions or self._converting else 0)
        if requests.sessions:
            now_ps = lambda: self.env.now_ps
            self.rounds = Rounds(requests, requests.sessions, scenario, arm, self.arrival_ps, self.local, now_ps)

    @property
    def course(self) -> Course:
        """What the requests pass, and when their tokens reach the client."""
        return Course(
            has_decode=self.decode is not None,
            emitted_before_decode=self.emitted_before_decode,
            prefill_out_ps=self.prefill.times.prefill_out_ps if self.prefill else 0,
            decode_out_ps=self.decode.times.out_ps if self.decode else np.zeros_like,
            local=np.frombuffer(self.local, dtype=np.bool_) if self.local else None,
        )

    @property
    def arrival_ps(self) -> NDArray[np.int64]:
        """When requests arrive, int64[n]; of one that waits for another, once the run has said."""
        return self.clients.arrival_ps if self.clients else self._requests.arrival_ps

    def came(self, limit_ps: int | None) -> slice | NDArray[np.intp]:
        """Which requests there are: all, but of those that wait for others the ones that came before the end of the run."""
        return self.clients.came(limit_ps) if self.clients else slice(None)

    def _begin_decoding(self, clients: ClosedLoop | LaterRounds, pool: Pool) -> tuple[Decoding, Alarm]:
        """What is noted of one worker for clients, and what tells them of ends when all else of a moment has happened."""
        decoding = Decoding(pool.times.out_ps)

        def tell() -> None:
            for i, out_ps in decoding.take_ended(self.env.now_ps):
                clients.ended(i, out_ps)

        return decoding, Alarm(self.env, REPORT, tell)

    def _frontend_in_ps(self, prompt_tokens: int) -> int:
        first = self.prefill or self.decode
        assert first
        return first.times.frontend_in_ps(prompt_tokens)

    def _arrive(self, i: int) -> None:
        """Request `i` comes to its first stage."""
        if not self.prefill:
            self._send_to_decode(i, arrives=True)
        elif not (self.local and self._compute_on_decode(i)):
            self._send_to_prefill(i, self.prefill, arrives=True)
        if self._progress and self._arrived % PROGRESS_EVERY == 0:
            self._progress(self._arrived / len(self._requests))
        self._arrived += 1

    def _sheds(self, sequence: Sequence, pool: Pool, slot: int) -> bool:
        """Whether a request that comes, and would go to the worker of this slot, is refused."""
        i, shed = sequence.request, self.journeys.shed
        if self._admission is None or shed is None:
            return False
        if self._admission.admits(sequence, pool.loads[slot], self.env.now_ps - int(self.arrival_ps[i])):
            return False
        shed[i] = 1
        if self.clients:
            self.clients.shed(i)
        return True

    def _send_to_prefill(self, i: int, pool: Pool, *, arrives: bool = False) -> None:
        journeys, rounds = self.journeys, self.rounds
        sequence = Sequence(i, self._models[i], self._prompts[i], 1, KV.COMPUTE)
        slot = pool.pick(sequence, rounds.session[i] if rounds else None)
        if arrives and self._admission and self._sheds(sequence, pool, slot):
            return
        worker = pool.send(slot, sequence)
        if rounds and self.decode and (source := rounds.has_history(sequence, self.decode)):
            sequence.kv, sequence.pulling = KV.PULL, self._pulling
            sequence.held_tokens, sequence.held_now = 0, partial(source.cached_tokens, sequence)
        journeys.prefill[i] = sequence
        journeys.source[i] = worker.slot
        if journeys.prefill_worker[i] == UNSET:
            journeys.prefill_worker[i] = worker.slot
        worker.submit(sequence)

    def _send_to_decode(self, i: int, *, arrives: bool = False) -> None:
        assert self.decode
        emitted = self.emitted_before_decode
        sequence = Sequence(i, self._models[i], self._prompts[i], self._outputs[i] - emitted, self._decode_kv)
        sequence.known_tokens += emitted
        sequence.pulling = self._pulling
        slot = self.decode.pick(sequence, self.rounds.session[i] if self.rounds else None)
        if arrives and self._admission and self._sheds(sequence, self.decode, slot):
            return
        self._submit_to_decode(sequence, self.decode.send(slot, sequence))

    def _submit_to_decode(self, sequence: Sequence, worker: Worker) -> None:
        self.journeys.decode[sequence.request] = sequence
        self.journeys.decode_worker[sequence.request] = worker.slot
        if self.rounds:
            self.rounds.goes_to(sequence, worker)
        worker.submit(sequence)

    def _compute_on_decode(self, i: int) -> bool:
        """Gives a request to the decode worker that is to compute its prompt, if one is."""
        if not self.decode:
            return False
        sequence = Sequence(i, self._models[i], self._prompts[i], self._outputs[i], KV.COMPUTE)
        worker = None
        if self._converting:
            worker = self._converting.worker_for(sequence, self.env.now_ps)
        elif self.rounds:
            worker = self.rounds.appends_at(sequence, self.decode)
        if worker is None:
            return False
        self.local[i] = 1
        self._submit_to_decode(sequence, self.decode.send(worker.slot, sequence))
        return True

    def _on_prefill(self, worker: Worker, outcome: Outcome) -> None:
        journeys = self.journeys
        if self.rounds:
            self.rounds.on_prefill(outcome, journeys.decode, emits=self.emitted_before_decode > 0)
            self._load(worker, outcome, self._pull_history)
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
            if self.clients and self.prefill:
                self.clients.ended(i, self.prefill.times.prefill_out_ps)

    def _hand_over(self, i: int, prefill: Pool, decode: Pool) -> None:
        """The prefill worker's answer goes out, and the request on to the decode stage."""
        delay = prefill.times.prefill_out_ps + decode.times.frontend_in_ps(self._prompts[i])
        if delay:
            self.env.after(delay, partial(self._send_to_decode, i))
        else:
            self._send_to_decode(i)

    def _on_decode(self, worker: Worker, outcome: Outcome) -> None:
        if self.rounds:
            self.rounds.on_decode(worker, outcome, self.emitted_before_decode)
        if self._decoding:
            decoding, alarm = self._decoding[worker.slot]
            decoding.note(self.env.now_ps, outcome)
            if outcome.finished:
                alarm.set(self.env.now_ps)
        for sequence in outcome.finished:
            self.journeys.note_decode(sequence)
        self._load(worker, outcome, self._pull)
        for sequence in outcome.evicted:
            assert self.prefill
            self._send_to_prefill(sequence.request, self.prefill)

    def _load(self, worker: Worker, outcome: Outcome, pull: Callable[[Worker, Sequence, int], None]) -> None:
        """Begins to pull the KV that a worker asks for, one after the other."""
        posted_ps = 0
        for sequence in outcome.loads:
            posted_ps += sequence.post_ps
            if self.rounds:
                self.rounds.moved[sequence.request] += sequence.moved_tokens
            pull(worker, sequence, posted_ps)

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

        self._link.start(source.name, worker.name, sequence.moved_tokens * self._kv_bytes, arrived, after_ps)

    def _pull_history(self, worker: Worker, sequence: Sequence, after_ps: int) -> None:
        """A prefill worker gets what a decode worker has of a prompt; that is not held there meanwhile."""
        assert self.decode
        assert self.rounds
        source = self.decode.workers[self.rounds.history_from[sequence.request]]
        self.rounds.pulled[sequence.request] += sequence.moved_tokens
        num_bytes = sequence.moved_tokens * self._kv_bytes
        self._link.start(source.name, worker.name, num_bytes, partial(worker.loaded, sequence), after_ps)
