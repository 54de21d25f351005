"""The worker of `sunsim.cluster.engine`, step by step and request by request: slow, plain, and without any leap."""

from __future__ import annotations

from dataclasses import dataclass

from sunsim.cluster.engine import EngineConfig, Outcome
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.latency.steps import Chunk, StepTimes


@dataclass(eq=False)
class _Job:
    sequence: Sequence
    outputs: int
    known: int  # prompt and scheduled outputs
    computed: int = 0
    scheduled: int = 0
    emitted: int = 0
    blocks: int = 0
    preempted: bool = False


@dataclass
class _Step:
    end: int
    emitting: list[_Job]


class StepwiseEngine:
    """Same interface and same rules as `Engine`; wakes at every step."""

    def __init__(self, config: EngineConfig, times: StepTimes) -> None:
        self.config = config
        self.times = times
        self.waiting: list[_Job] = []
        self.running: list[_Job] = []
        self.loading: list[_Job] = []
        self.ready: list[_Job] = []
        self.jobs: dict[Sequence, _Job] = {}
        self.in_flight: list[_Step] = []
        self.free_blocks = config.num_gpu_blocks - 1
        self.deferred_blocks = 0
        self.start = 0
        self.end = 0
        self.idle = True
        self.steps = 0
        self.busy_ps = 0
        self.preemptions = 0
        self.outside = {"decode": 0, "chunk": 0}

    @property
    def num_tokens(self) -> int:
        known = 0
        for job in self.waiting + self.loading + self.running:
            all_scheduled = job.scheduled == job.outputs
            computing = job.computed < job.known - 1 or job.preempted or not job.scheduled
            known += job.known if computing and not all_scheduled else job.known - 1
        return known

    def _rouse(self, now: int) -> None:
        if self.idle:
            self.start = self.end = max(self.end, now)
            self.idle = False

    def submit(self, now: int, sequence: Sequence, *, first: bool = False) -> None:
        self._rouse(now)
        job = self.jobs.get(sequence)
        if job is None:
            job = _Job(sequence, sequence.outputs_left, sequence.known_tokens)
            self.jobs[sequence] = job
        self.waiting.insert(0 if first else len(self.waiting), job)

    def loaded(self, now: int, sequence: Sequence) -> None:
        self._rouse(now)
        self.ready.append(self.jobs[sequence])

    def release(self, now: int, sequence: Sequence) -> None:
        self._rouse(now)
        self.free_blocks += sequence.blocks

    def advance(self, now: int) -> None:
        """Nothing to catch up with: no step is ever skipped."""

    def next_wake(self) -> int | None:
        return None if self.idle else self.start

    def wake(self, now: int) -> Outcome:
        outcome = Outcome()
        while self.in_flight and self.in_flight[0].end <= now:
            self._emit(self.in_flight.pop(0), now, outcome)
        self.free_blocks += self.deferred_blocks
        self.deferred_blocks = 0
        self._compose(now, outcome)
        return outcome

    def _emit(self, step: _Step, now: int, outcome: Outcome) -> None:
        for job in step.emitting:
            job.emitted += 1
            if job.emitted < job.outputs:
                continue
            job.sequence.last_ps = now
            outcome.finished.append(job.sequence)
            del self.jobs[job.sequence]
            if job in self.running:
                self.running.remove(job)
                job.sequence.blocks = job.blocks
                if not self.config.pin_finished:
                    self.free_blocks += job.blocks
            else:
                self.waiting.remove(job)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)

    def _preempt(self, job: _Job, outcome: Outcome) -> None:
        self.preemptions += 1
        job.sequence.preemptions += 1
        if self.config.defer_block_free:
            self.deferred_blocks += job.blocks
        else:
            self.free_blocks += job.blocks
        job.blocks = job.computed = 0
        job.preempted = True
        if self.config.recompute:
            job.sequence.kv = KV.COMPUTE
        if job.sequence.kv is KV.PULL and job.scheduled < job.outputs:
            outcome.evicted.append(job.sequence)
        else:
            self.waiting.insert(0, job)

    def _compose(self, now: int, outcome: Outcome) -> None:
        taken: list[tuple[_Job, int]] = []
        budget = self.config.max_num_batched_tokens
        preempted = False
        for job in list(self.running):
            if job not in self.running or job.scheduled == job.outputs or budget == 0:
                continue
            tokens = min(job.known - job.computed, budget)
            while self._blocks(job.computed + tokens) - job.blocks > self.free_blocks:
                victim = self.running.pop()
                self._preempt(victim, outcome)
                preempted = True
                if victim is job:
                    break
            if job not in self.running:
                break
            self._allocate(job, tokens)
            budget -= tokens
            taken.append((job, tokens))
        if not preempted:
            self._admit(now, budget, taken, outcome)
        self._run(taken)

    def _allocate(self, job: _Job, tokens: int) -> None:
        more = max(0, self._blocks(job.computed + tokens) - job.blocks)
        job.blocks += more
        self.free_blocks -= more

    def _admit(self, now: int, budget: int, taken: list[tuple[_Job, int]], outcome: Outcome) -> None:
        def enter(job: _Job) -> int:
            if job.sequence.scheduled_ps == UNSET:
                job.sequence.scheduled_ps = now
                job.sequence.started_ps = self.end
            tokens = min(job.known - job.computed, budget)
            self._allocate(job, tokens)
            self.running.append(job)
            taken.append((job, tokens))
            return tokens

        while self.ready and budget > 0:
            job = self.ready.pop(0)
            self.loading.remove(job)
            budget -= enter(job)
        while self.waiting and budget > 0 and len(self.running) + len(self.loading) < self.config.max_num_seqs:
            job = self.waiting[0]
            others = {j.sequence.model for j, _ in taken}
            if self.config.one_model_a_step and others - {job.sequence.model}:
                break
            if self._blocks(job.known) > self.free_blocks:
                break
            self.waiting.pop(0)
            job.computed = 0 if job.sequence.kv is KV.COMPUTE else min(job.sequence.prompt_tokens, job.known - 1)
            if job.sequence.kv is KV.PULL:
                job.blocks = self._blocks(job.known)
                self.free_blocks -= job.blocks
                self.loading.append(job)
                outcome.loads.append(job.sequence)
            else:
                budget -= enter(job)

    def _run(self, taken: list[tuple[_Job, int]]) -> None:
        singles = [job for job, _ in taken if job.known - job.computed == 1]
        chunks = [Chunk(tokens, job.computed) for job, tokens in taken if job.known - job.computed > 1]
        context = sum(job.known for job in singles)
        duration, measured = 0, True
        if chunks:
            duration, measured = self.times.chunked_step(len(singles), context, chunks)
        elif singles:
            line = self.times.decode_line(len(singles), context)
            duration, measured = line.base_ps + line.slope_ps * context, line.measured
        self.outside["chunk" if chunks else "decode"] += not measured
        emitting = []
        for job, tokens in taken:
            job.computed += tokens
            if job.computed == job.known:
                job.known += 1
                job.scheduled += 1
                job.preempted = False
                emitting.append(job)
                if job.sequence.first_ps == UNSET:
                    job.sequence.first_ps = self.end + duration
        self.start, self.end = self.end, self.end + duration
        if duration:
            self.steps += 1
            self.busy_ps += duration
        if taken:
            self.in_flight.append(_Step(self.end, emitting))
        elif not self.in_flight:
            self.idle = True
