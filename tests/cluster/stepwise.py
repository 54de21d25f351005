"""The worker of `sunsim.cluster.engine`, step by step and request by request: slow, plain, and without any leap.

Its rules are those of vLLM's ``Scheduler`` and ``AsyncScheduler``, and `Job` has the numbers that they keep.
"""

from __future__ import annotations

from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.latency.steps import Chunk
from tests.cluster.jobs import Job, Out, Step
from tests.cluster.plain_step import PlainStep
from tests.cluster.plain_worker import PlainWorker

Taken = list[tuple[Job, int]]
"""Who is in a step, and how many tokens are computed of each."""


class StepwiseEngine(PlainWorker):
    """Same interface and same rules as `Engine`; wakes at every step."""

    def _rouse(self, now: int) -> None:
        if self.idle:
            self.pipeline.due = max(self.pipeline.due, now)
            self.idle = False

    def submit(self, now: int, sequence: Sequence, *, first: bool = False) -> None:
        self._rouse(now)
        job = self.jobs.get(sequence)
        if job is None:
            job = Job(sequence, sequence.outputs_left, sequence.known_tokens)
            self.jobs[sequence] = job
        self.waiting.insert(0 if first else len(self.waiting), job)

    def loaded(self, now: int, sequence: Sequence) -> None:
        job = self.jobs[sequence]
        self.pulls.arrived()
        host = sequence.pulling.host if sequence.pulling else None
        last = self.pipeline.in_flight[-1] if self.pipeline.in_flight else None
        rests = self.pipeline.due <= now
        self._rouse(now)
        if not host:
            self.pulls.ready.append(job)
        elif not last or last.empty:
            if rests:
                self._rest(now, host.admit_ps)
            else:
                self.pulls.hear(3)
            self.pulls.ready.append(job)
        else:
            self.pulls.come(now, job, len(last.emitting), host)

    def _rest(self, now: int, lasts: int) -> None:
        self.pulls.rest(now)
        self.pipeline.due = now + lasts

    def release(self, now: int, sequence: Sequence) -> None:
        self._rouse(now)
        self.blocks.unpin(sequence)

    def advance(self, now: int) -> None:
        """Nothing to catch up with: no step is ever skipped."""

    def next_wake(self) -> int | None:
        return None if self.idle else self.pipeline.due

    def wake(self, now: int) -> Outcome:
        outcome = Outcome()
        outcome.finished, outcome.loads, outcome.evicted = [], [], []
        self.blocks.give_back_deferred()
        if len(self.pipeline.in_flight) == 2:
            self._emit(self.pipeline.in_flight.pop(0), now, outcome)
        if outcome.finished and self.times.pause_ps and self.pipeline.idle:
            self._rest(now, self.times.pause_ps)
            return outcome
        self._compose(now, outcome)
        return outcome

    def _emit(self, step: Step, now: int, outcome: Outcome) -> None:
        for out in step.emitting:
            job = out.job
            if job.done:
                continue  # nothing of it was left to make
            rejected = out.drafts - out.accepted
            if not job.preempted:
                job.computed -= rejected
            burst = min(1 + out.accepted, job.outputs - job.emitted)
            job.placeholders -= rejected + burst
            job.known += burst
            job.emitted += burst
            if job in self.running:
                self.blocks.name_full(job, job.computed - job.placeholders)
            if job.sequence.first_ps == UNSET:
                job.sequence.first_ps = now
            if job.emitted == job.outputs:
                self._finish(job, now, outcome)

    def _finish(self, job: Job, now: int, outcome: Outcome) -> None:
        job.done = True
        job.sequence.last_ps = now
        outcome.finished.append(job.sequence)
        del self.jobs[job.sequence]
        if job not in self.running:
            self.waiting.remove(job)
            return
        self.running.remove(job)
        if self.config.pin_finished:
            self.blocks.pinned[job.sequence] = job.blocks
        elif self.config.defer_block_free and self._in_flight(job):
            self.blocks.deferred.append(job.blocks)  # that step may write to them
        else:
            self.blocks.give_back(job.blocks)

    def _in_flight(self, job: Job) -> bool:
        return any(job is out.job for step in self.pipeline.in_flight for out in step.emitting)

    def _preempt(self, job: Job, outcome: Outcome) -> None:
        self.preemptions += 1
        job.sequence.preemptions += 1
        if self.config.defer_block_free:
            self.blocks.deferred.append(job.blocks)
        else:
            self.blocks.give_back(job.blocks)
        job.blocks, job.computed, job.drafts = [], 0, 0
        job.preempted = True
        if self.config.recompute:
            job.sequence.kv = KV.COMPUTE
        if job.sequence.kv is KV.PULL and job.made < job.outputs:
            outcome.evicted.append(job.sequence)
        else:
            self.waiting.insert(0, job)

    def _compose(self, now: int, outcome: Outcome) -> None:
        self.pulls.hear(1)
        beside = self.pulls.loading or any(not job.computing and not job.ends for job in self.running)
        prompts = self.config.max_prefill_chunk_tokens if beside else None
        step = PlainStep(self.config.max_num_batched_tokens, prompts, self.config.one_model_a_step)
        preempted = self._go_on(step, outcome)
        entering = [] if preempted else self._admit(now, step, outcome)
        outcome.entered = [job.sequence for job in entering]
        taken_in = sum(job.sequence.prompt_tokens for job in entering if not job.sequence.computes_prompt)
        alone = any(self._is_chunk(job) for job, _ in step.taken) or self.pipeline.idle
        decodes = 0 if alone else len(step.taken)
        held = self.pulls.begin(now, outcome.loads, decodes, self.times.take_in_ps(taken_in))
        start = self._launch(now + held, step.taken, held=held > 0, launched=self.pulls.begun and decodes > 0)
        for job in entering:
            job.sequence.started_ps = start

    def _go_on(self, step: PlainStep, outcome: Outcome) -> bool:
        """Takes those that run into the step; gives whether some of them had to go."""
        preempted = False
        for job in list(self.running):
            if job not in self.running or job.ends or step.budget == 0:
                continue
            tokens = step.most(job)
            while self.blocks.more(job, job.computed + tokens) > self.free_blocks:
                victim = self.running.pop()
                self._preempt(victim, outcome)
                preempted = True
                if victim is job:
                    return True
            self._take(job, step)
        return preempted

    def _is_chunk(self, job: Job) -> bool:
        """Whether what a step computes of it is not a decode like the others: who enters has no drafts beside theirs."""
        return job.computing if self.drafts else job.left > 1

    def _take(self, job: Job, step: PlainStep) -> None:
        tokens = step.most(job)
        self.blocks.allocate(job, job.computed + tokens)
        self.blocks.name_full(job, job.computed + tokens)
        step.take(job, tokens)

    def _admit(self, now: int, step: PlainStep, outcome: Outcome) -> list[Job]:
        entering: list[Job] = []
        ready, loading = self.pulls.ready, self.pulls.loading

        def enter(job: Job) -> None:
            if job.sequence.scheduled_ps == UNSET:
                job.sequence.scheduled_ps = now
                entering.append(job)
            self.running.insert(len(self.running) - len(step.cut()), job)
            self._take(job, step)

        while ready and step.budget > 0 and not step.waits(ready[0]) and not step.cuts(ready[0]):
            more = self.blocks.more(ready[0], ready[0].computed + step.most(ready[0]))
            if more > self.free_blocks and (self.running or self.blocks.deferred):
                # Whoever is behind it waits, too; where no block will come it makes do with what there is.
                return entering
            job = ready.pop(0)
            loading.remove(job)
            enter(job)
        passed: list[Job] = []
        while self.waiting and step.budget > 0 and len(self.running) + len(loading) < self.config.max_num_seqs:
            job = self.waiting[0]
            if step.waits(job) or (passed and job.sequence.computes_prompt):
                if step.prompts is None:
                    break
                passed.append(self.waiting.pop(0))
                continue
            pulls = job.sequence.kv is KV.PULL
            if not pulls and step.cuts(job):
                break
            if job.sequence.held_now and pulls:
                job.sequence.held_tokens = job.sequence.held_now()
            found = self.blocks.find(job.sequence.request, job.known)
            sequence, hits = job.sequence, len(found) * self.config.block_size
            whole = sequence.held_tokens == sequence.prompt_tokens
            loads = pulls and (whole or hits < sequence.held_tokens)
            # The first step of one that loads is yet to come.
            least = job.known if loads else self._least(job, step, hits)
            if self.blocks.lacking(found, least) > self.free_blocks:
                break
            self.waiting.pop(0)
            self._take_found(job, found)
            if loads:
                self.blocks.allocate_known(job)
                loading.append(job)
                outcome.loads.append(sequence)
            else:
                enter(job)
        self.waiting[:0] = passed
        return entering

    def _least(self, job: Job, step: PlainStep, hits: int) -> int:
        """Tokens for which there must be room before it enters: all that is known, and its first step's."""
        there = max(hits, self.blocks.held(job))
        most = step.budget if step.prompts is None or not job.prompt else min(step.budget, step.prompts)
        return max(job.known, self.blocks.room(min(job.known, there + most)))

    def _take_found(self, job: Job, found: list[int]) -> None:
        self.blocks.take_found(job, found)

    def _launch(self, now: int, taken: Taken, *, held: bool, launched: bool) -> int:
        decodes = [job for job, _ in taken if not self._is_chunk(job)]
        chunks = [Chunk(tokens, job.computed) for job, tokens in taken if self._is_chunk(job)]
        k = self.drafts.k if self.drafts else 0
        start, free = self.pipeline.launch(now, decodes, chunks, k, held=held, launched=launched)
        self.pipeline.follow(self._schedule(taken), free, empty=not taken)
        if self.drafts:
            self.drafts.composed(len(taken))
        self.idle = not self.pipeline.in_flight and not self.pulls.seen
        return start

    def _schedule(self, taken: Taken) -> list[Out]:
        emitting = []
        for job, tokens in taken:
            job.computed += tokens
            if job.computed < job.known + job.placeholders:
                continue
            out = self.drafts.make(job, len(taken)) if self.drafts else Out(job, 0, 0)
            job.placeholders += 1 + out.drafts
            if job.made < job.outputs:
                job.burst = 1 + out.accepted
                job.made += job.burst
            job.preempted, job.begun = False, True
            emitting.append(out)
        return emitting
