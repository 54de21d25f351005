"""The worker of `sunsim.cluster.engine`, step by step and request by request: slow, plain, and without any leap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.latency.steps import OUTSIDE, Chunk, Outside, StepTimes
from tests.cluster.plain_blocks import Keys, PlainBlocks


@dataclass(eq=False)
class _Job:
    sequence: Sequence
    outputs: int
    known: int  # prompt and scheduled outputs
    computed: int = 0
    scheduled: int = 0
    emitted: int = 0
    blocks: list[int] = field(default_factory=list)
    preempted: bool = False

    @property
    def computing(self) -> bool:
        """Whether it has tokens to compute before it makes its next one."""
        return self.preempted or not self.scheduled

    @property
    def prompt(self) -> bool:
        """Whether these are of its prompt, too."""
        return self.computing and self.sequence.computes_prompt


@dataclass
class _Step:
    end: int  # on the GPU
    emitting: list[_Job]
    empty: bool


class StepwiseEngine:
    """Same interface and same rules as `Engine`; wakes at every step."""

    def __init__(
        self,
        config: EngineConfig,
        times: StepTimes,
        stalls: Iterable[tuple[int, int]] = (),
        keys: Keys | None = None,
    ) -> None:
        self.config = config
        self.times = times
        self.waiting: list[_Job] = []
        self.running: list[_Job] = []
        self.loading: list[_Job] = []
        self.ready: list[_Job] = []
        self.moving = 0  # transfers begun and not there
        self.seen: list[tuple[int, _Job]] = []  # how many more decisions until the scheduler hears of it
        self.looked = 0  # when the last step was launched, but for its decodes where it began no transfers
        self.pulled = False  # it did
        self.jobs: dict[Sequence, _Job] = {}
        self.in_flight: list[_Step] = []  # launched, and the host has not seen their outputs
        self.stalls = iter(stalls)
        self.stall = next(self.stalls, None)
        caching = keys if config.enable_prefix_caching else None
        self.blocks = PlainBlocks(config.num_gpu_blocks, config.block_size, caching)
        self.deferred: list[list[int]] = []
        self.pinned: dict[Sequence, list[int]] = {}
        self.queries = 0
        self.hits = 0
        self.due = 0
        self.gpu_free = 0
        self.idle = True
        self.steps = 0
        self.launches = 0
        self.busy_ps = 0
        self.preemptions = 0
        self.outside: dict[Outside, int] = dict.fromkeys(OUTSIDE, 0)

    @property
    def free_blocks(self) -> int:
        return len(self.blocks.free)

    @property
    def pins(self) -> bool:
        return bool(self.pinned)

    @property
    def num_tokens(self) -> int:
        known = 0
        for job in self.waiting + self.loading + self.running:
            all_scheduled = job.scheduled == job.outputs
            computing = job.computed < job.known - 1 or job.computing
            known += job.known if computing and not all_scheduled else job.known - 1
        return known

    def _rouse(self, now: int) -> None:
        if self.idle:
            self.due = max(self.due, now)
            self.idle = False

    def submit(self, now: int, sequence: Sequence, *, first: bool = False) -> None:
        self._rouse(now)
        job = self.jobs.get(sequence)
        if job is None:
            job = _Job(sequence, sequence.outputs_left, sequence.known_tokens)
            self.jobs[sequence] = job
        self.waiting.insert(0 if first else len(self.waiting), job)

    def loaded(self, now: int, sequence: Sequence) -> None:
        job = self.jobs[sequence]
        self.moving -= 1
        host = sequence.pulling.host if sequence.pulling else None
        last = self.in_flight[-1] if self.in_flight else None
        if not host:
            self._rouse(now)
            self.ready.append(job)
        elif not last or last.empty:
            rests = self.due <= now
            self._rouse(now)
            if rests:
                self._rest(now, host.admit_ps)
            else:
                self._hear(3)
            self.ready.append(job)
        else:
            self._rouse(now)
            decodes = len(last.emitting)
            looked = self.looked if self.pulled else self.looked + host.launched_ps(decodes)
            self.seen.append((1 if now <= looked else 2, job))

    def _rest(self, now: int, lasts: int) -> None:
        self._hear(3)
        self.looked, self.pulled = now, False
        self.due = now + lasts

    def _hear(self, decisions: int) -> None:
        """So many decisions have gone by since."""
        self.seen = [(left - decisions, job) for left, job in self.seen]
        self.ready += [job for left, job in self.seen if left < 0]
        self.seen = [(left, job) for left, job in self.seen if left >= 0]

    def release(self, now: int, sequence: Sequence) -> None:
        self._rouse(now)
        self._give_back_deferred()
        self.blocks.give_back(self.pinned.pop(sequence))

    def cached_tokens(self, sequence: Sequence) -> int:
        return len(self.blocks.find(sequence.request, sequence.known_tokens)) * self.config.block_size

    def forget(self) -> None:
        self._give_back_deferred()
        self.blocks.forget()

    def advance(self, now: int) -> None:
        """Nothing to catch up with: no step is ever skipped."""

    def next_wake(self) -> int | None:
        return None if self.idle else self.due

    def wake(self, now: int) -> Outcome:
        outcome = Outcome()
        outcome.finished, outcome.loads, outcome.evicted = [], [], []
        self._give_back_deferred()
        if len(self.in_flight) == 2:
            self._emit(self.in_flight.pop(0), now, outcome)
        if outcome.finished and self.times.pause_ps and all(step.empty for step in self.in_flight):
            self._rest(now, self.times.pause_ps)
            return outcome
        self._compose(now, outcome)
        return outcome

    def _give_back_deferred(self) -> None:
        for blocks in self.deferred:
            self.blocks.give_back(blocks)
        self.deferred.clear()

    def _name(self, job: _Job, tokens: int) -> None:
        """Its full blocks can be found; of its tokens, those still to come out have no name yet."""
        tokens = min(tokens, job.known - (job.scheduled - job.emitted))
        if not self.config.reuse_answers:
            tokens = min(tokens, job.sequence.prompt_tokens)
        self.blocks.name(job.blocks, job.sequence.request, tokens)

    def _emit(self, step: _Step, now: int, outcome: Outcome) -> None:
        for job in step.emitting:
            job.emitted += 1
            if self.blocks.keys and job in self.running:
                self._name(job, job.computed - (job.scheduled - job.emitted))
            if job.sequence.first_ps == UNSET:
                job.sequence.first_ps = now
            if job.emitted < job.outputs:
                continue
            job.sequence.last_ps = now
            outcome.finished.append(job.sequence)
            del self.jobs[job.sequence]
            if job in self.running:
                self.running.remove(job)
                if self.config.pin_finished:
                    self.pinned[job.sequence] = job.blocks
                else:
                    self.blocks.give_back(job.blocks)
            else:
                self.waiting.remove(job)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)

    def _preempt(self, job: _Job, outcome: Outcome) -> None:
        self.preemptions += 1
        job.sequence.preemptions += 1
        if self.config.defer_block_free:
            self.deferred.append(job.blocks)
        else:
            self.blocks.give_back(job.blocks)
        job.blocks, job.computed = [], 0
        job.preempted = True
        if self.config.recompute:
            job.sequence.kv = KV.COMPUTE
        if job.sequence.kv is KV.PULL and job.scheduled < job.outputs:
            outcome.evicted.append(job.sequence)
        else:
            self.waiting.insert(0, job)

    def _compose(self, now: int, outcome: Outcome) -> None:
        self._hear(1)
        taken: list[tuple[_Job, int]] = []
        budget = self.config.max_num_batched_tokens
        beside = self.loading or any(not job.computing and job.scheduled < job.outputs for job in self.running)
        prompts = self.config.max_prefill_chunk_tokens if beside else None
        preempted = False
        entering: list[_Job] = []
        for job in list(self.running):
            if job not in self.running or job.scheduled == job.outputs or budget == 0:
                continue
            tokens = self._most(job, budget, prompts)
            while self._blocks(job.computed + tokens) - len(job.blocks) > self.free_blocks:
                victim = self.running.pop()
                self._preempt(victim, outcome)
                preempted = True
                if victim is job:
                    break
            if job not in self.running:
                break
            self._allocate(job, tokens)
            budget -= tokens
            prompts = self._left(job, prompts, tokens)
            taken.append((job, tokens))
        if not preempted:
            entering = self._admit(now, budget, prompts, taken, outcome)
        outcome.entered = [job.sequence for job in entering]
        taken_in = sum(job.sequence.prompt_tokens for job in entering if not job.sequence.computes_prompt)
        host = outcome.loads[0].pulling.host if outcome.loads and outcome.loads[0].pulling else None
        alone = any(job.known - job.computed > 1 for job, _ in taken) or all(step.empty for step in self.in_flight)
        decodes = 0 if alone else len(taken)
        lead = 0
        if host:
            lead = host.launched_ps(decodes) if decodes else host.begin_ps
        held = lead + self.times.take_in_ps(taken_in)
        for sequence in outcome.loads:
            if sequence.pulling:
                posts = sequence.pulling.posts_ps(sequence.moved_tokens, beside=self.moving > 0)
                sequence.post_ps = posts + lead
                held += posts
                lead = 0
            self.moving += 1
        self.pulled = host is not None
        self.looked = now + held
        start = self._launch(now + held, taken, held=held > 0, launched=self.pulled and decodes > 0)
        for job in entering:
            job.sequence.started_ps = start

    def _most(self, job: _Job, budget: int, prompts: int | None) -> int:
        """Tokens of it that a step may take, with so much left, and of prompts maybe less."""
        most = budget if prompts is None or not job.prompt else min(budget, prompts)
        return min(job.known - job.computed, most)

    def _left(self, job: _Job, prompts: int | None, tokens: int) -> int | None:
        return prompts if prompts is None or not job.prompt else prompts - tokens

    def _allocate(self, job: _Job, tokens: int) -> None:
        self._take_blocks(job, job.computed + tokens)
        if self.blocks.keys:
            self._name(job, job.computed + tokens)

    def _take_blocks(self, job: _Job, tokens: int) -> None:
        if (more := self._blocks(tokens) - len(job.blocks)) > 0:
            job.blocks += self.blocks.take(more)

    def _admit(
        self, now: int, budget: int, prompts: int | None, taken: list[tuple[_Job, int]], outcome: Outcome
    ) -> list[_Job]:
        entering: list[_Job] = []

        def enter(job: _Job) -> None:
            nonlocal budget, prompts
            if job.sequence.scheduled_ps == UNSET:
                job.sequence.scheduled_ps = now
                entering.append(job)
            tokens = self._most(job, budget, prompts)
            self._allocate(job, tokens)
            # A prompt of which something is left stays the last.
            cut = [other for other, some in taken if other.computed + some < other.known]
            self.running.insert(len(self.running) - len(cut), job)
            taken.append((job, tokens))
            budget -= tokens
            prompts = self._left(job, prompts, tokens)

        def mixes(job: _Job) -> bool:
            others = {j.sequence.model for j, _ in taken if j.prompt}
            own = {job.sequence.model} if job.sequence.computes_prompt else others
            return self.config.one_model_a_step and bool(others - own)

        def waits(job: _Job) -> bool:
            return mixes(job) or (prompts == 0 and job.sequence.computes_prompt)

        def is_cut(job: _Job) -> bool:
            under_way = any(other.computed + some < other.known for other, some in taken)
            made = job.known - job.sequence.prompt_tokens
            return under_way and not job.sequence.computes_prompt and made + 1 > budget

        while self.ready and budget > 0 and not waits(self.ready[0]) and not is_cut(self.ready[0]):
            job = self.ready.pop(0)
            self.loading.remove(job)
            enter(job)
        passed: list[_Job] = []
        while self.waiting and budget > 0 and len(self.running) + len(self.loading) < self.config.max_num_seqs:
            job = self.waiting[0]
            if waits(job) or (passed and job.sequence.computes_prompt):
                if prompts is None:
                    break
                passed.append(self.waiting.pop(0))
                continue
            pulls = job.sequence.kv is KV.PULL
            if not pulls and is_cut(job):
                break
            found = self.blocks.find(job.sequence.request, job.known)
            if self.blocks.lacking(found, job.known) > self.free_blocks:
                break
            self.waiting.pop(0)
            sequence, hits = job.sequence, len(found) * self.config.block_size
            if sequence.held_now and sequence.kv is KV.PULL:
                sequence.held_tokens = sequence.held_now()
            self._take_found(job, found)
            whole = sequence.held_tokens == sequence.prompt_tokens
            if sequence.kv is KV.PULL and (whole or hits < sequence.held_tokens):
                self._take_blocks(job, job.known)
                self.loading.append(job)
                outcome.loads.append(job.sequence)
            else:
                enter(job)
        self.waiting[:0] = passed
        return entering

    def _take_found(self, job: _Job, found: list[int]) -> None:
        self.blocks.touch(found)
        job.blocks = found
        hits, sequence = len(found) * self.config.block_size, job.sequence
        there = 0 if sequence.kv is KV.COMPUTE else min(sequence.held_tokens, job.known - 1)
        job.computed = max(hits, there)
        if not job.preempted:
            sequence.cached_tokens = min(hits, sequence.prompt_tokens)
            if self.blocks.keys:
                self.queries += job.known
                self.hits += hits
        if sequence.kv is KV.PULL:
            sequence.cached_tokens = min(hits, sequence.prompt_tokens)

    def _launch(self, now: int, taken: list[tuple[_Job, int]], *, held: bool, launched: bool) -> int:
        singles = [job for job, _ in taken if job.known - job.computed == 1]
        chunks = [Chunk(tokens, job.computed) for job, tokens in taken if job.known - job.computed > 1]
        context = sum(job.known for job in singles)
        idle = all(step.empty for step in self.in_flight)
        duration = 0
        outside: Outside | None = None
        if chunks:
            duration, outside = self.times.chunked_step(len(singles), context, chunks)
        elif singles:
            line = self.times.decode_line(len(singles), context)
            duration, outside = line.base_ps + line.slope_ps * context, line.outside
        if outside:
            self.outside[outside] += 1
        free = ready = earliest = now
        if chunks or (singles and idle):
            tokens = sum(tokens for _, tokens in taken) if chunks else 0
            free += self.times.launch_ps(tokens, self.launches)
            ready += self.times.lead_ps(tokens)
            earliest = free + self.times.tail_ps(tokens)
            self.launches += 1
        elif singles and held and not launched:
            ready += self.times.lead_ps(0)
        start = max(self.gpu_free, ready)
        if taken:
            end = self._end(start, duration)
            self.gpu_free = max(end, earliest)
            self.steps += 1
            self.busy_ps += end - start
        if taken or not idle:
            self.in_flight.append(_Step(self.gpu_free, self._schedule(taken), not taken))
        else:
            self.in_flight.clear()
            self.idle = not self.seen
        older = self.in_flight[0].end if len(self.in_flight) == 2 else 0
        self.due = max(free, older)
        return start

    def _end(self, start: int, duration: int) -> int:
        end = start + duration
        while self.stall and self.stall[0] < end:
            at, extra = self.stall
            if at >= start:
                end += extra
            self.stall = next(self.stalls, None)
        return end

    def _schedule(self, taken: list[tuple[_Job, int]]) -> list[_Job]:
        emitting = []
        for job, tokens in taken:
            job.computed += tokens
            if job.computed == job.known:
                job.known += 1
                job.scheduled += 1
                job.preempted = False
                emitting.append(job)
        return emitting
