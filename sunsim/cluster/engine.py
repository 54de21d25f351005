"""One vLLM worker: its scheduler, its KV blocks and its GPU, without a clock of its own.

The worker takes steps back to back, and scheduling runs one step ahead: step ``k + 1`` is composed when the output of
step ``k - 1`` is out, which is when step ``k`` starts, or later if the launch of step ``k`` takes longer. If nothing was
in flight before step ``k``, step ``k + 1`` is composed as soon as step ``k`` is launched. `Pipeline` keeps these times.

Between two changes of the batch nothing has to be decided and the time of every step is known, so the engine leaps:
`Engine.next_wake` says when the next decision falls due and `Engine.wake` takes it. Steps in between cost nothing,
tokens never do. ``tests/cluster/stepwise.py`` does the same step by step and token by token; both must agree in every
decision and every picosecond.

The rules are those of vLLM's V1 scheduler with async scheduling: running requests first, in order of admission; then,
unless somebody was preempted, waiting ones, first come first served, while there are places, token budget and KV blocks
for all that is known of the request. When a running request finds no block, the last admitted ones are preempted until
it has one, and start over. A worker that receives KV from others gives a preempted request's blocks back only when the
step in flight is done, so there everybody from the last admitted to the one without a block is preempted. A finished
request's place and blocks come free when its last token is out, so they idle for a step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sunsim.cluster.draft import Draft
from sunsim.cluster.pipeline import Pipeline
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.cluster.steady import SteadyDecodes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sunsim.latency.steps import StepTimes


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """A worker's options, under vLLM's names.

    Attributes:
        recompute: a preempted request is prefilled again on this worker; otherwise its prompt's KV comes back the way
            it came and only what was generated is computed again.
        one_model_a_step: a step never mixes prompts of different models.
        pin_finished: a finished request keeps its KV blocks until `Engine.release`.
        defer_block_free: a preempted request's blocks come free with the next decision, as vLLM does it on workers
            that receive KV through a connector.
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    block_size: int = 16
    recompute: bool = True
    one_model_a_step: bool = False
    pin_finished: bool = False
    defer_block_free: bool = False


@dataclass(slots=True)
class Outcome:
    """What a decision brought: requests done, transfers to start, requests sent back for their prompt's KV."""

    finished: list[Sequence] = field(default_factory=list)
    loads: list[Sequence] = field(default_factory=list)
    evicted: list[Sequence] = field(default_factory=list)


class Engine:
    """A worker. Drive it with `submit`, `loaded`, `release`, and call `wake` at each `next_wake`.

    A call at time ``t`` comes after the wakes due before ``t``, and before the wake due at ``t``.

    Args:
        config: the worker's options.
        times: of steps and of their launches.
        stalls: pairs of a moment and the time by which the step on the GPU at that moment gets longer, both in
            picoseconds, in rising order of the moments; there may be no end to them.
    """

    def __init__(self, config: EngineConfig, times: StepTimes, stalls: Iterable[tuple[int, int]] = ()) -> None:
        self.config = config
        self.waiting: deque[Sequence] = deque()
        self.running: dict[Sequence, None] = {}  # in order of admission
        self.free_blocks = config.num_gpu_blocks - 1  # vLLM keeps block 0 to itself
        self._deferred_blocks = 0  # preempted requests' blocks, free from the next decision on
        self.preemptions = 0
        self._pipeline = Pipeline(times, stalls)
        self._steady = SteadyDecodes(times, config.block_size)
        self._k = 0  # the last step composed
        self._decide = False  # something waits for the next decision
        self._beginning: list[Sequence] = []  # their first token is in step k
        self._finishing: list[Sequence] = []  # their last token is out when the next decision falls due
        self._partial: Sequence | None = None  # its prompt is computed in part; always the last of running
        self._loading = 0  # requests whose KV is on its way or here but not taken; they hold a place
        self._ready: list[Sequence] = []  # of these, the ones whose KV is here
        self._queued_tokens = 0
        self._finishing_tokens = 0

    @property
    def steps(self) -> int:
        """Steps that computed something."""
        return self._pipeline.steps

    @property
    def busy_ps(self) -> int:
        """The time of these steps on the GPU, stalls included, in picoseconds."""
        return self._pipeline.busy_ps

    @property
    def outside(self) -> dict[str, int]:
        """Steps outside the range of the measurements, by kind."""
        return self._pipeline.outside

    @property
    def num_tokens(self) -> int:
        """Tokens of the requests here, generated ones included, as the scheduler last counted them."""
        partial = self._partial.known_tokens if self._partial else 0
        decoding = self._steady.context - self._steady.batch
        return self._queued_tokens + decoding + self._finishing_tokens + partial

    def submit(self, now_ps: int, sequence: Sequence, *, first: bool = False) -> None:
        """A request arrives; `first` puts it at the head of the queue."""
        self.advance(now_ps)
        if first:
            self.waiting.appendleft(sequence)
        else:
            self.waiting.append(sequence)
        self._queued_tokens += sequence.known_tokens
        self._decide = True

    def loaded(self, now_ps: int, sequence: Sequence) -> None:
        """The KV of a request that `wake` named in `Outcome.loads` is here."""
        self.advance(now_ps)
        self._ready.append(sequence)
        self._decide = True

    def release(self, now_ps: int, sequence: Sequence) -> None:
        """A finished request's pinned KV blocks come free."""
        self.advance(now_ps)
        self.free_blocks += sequence.blocks
        self._decide = self._decide or bool(self.waiting)

    def next_wake(self) -> int | None:
        """When the next decision that can change anything falls due; None if not before something arrives."""
        if self._decide or self._finishing or self._partial:
            return self._pipeline.due_ps
        last = self._steady.next_end()
        if last == UNSET:
            return None
        # The decision that finds no block for step s falls due when the output of step s - 2 is out.
        short = self._steady.first_step_short(self._k + 1, last + 1, self.free_blocks)
        step = min(last, short - 2)
        if step < self._k:
            return self._pipeline.due_ps
        return self._pipeline.out_after_ps(self._steady, step - self._k)

    def advance(self, now_ps: int) -> None:
        """Composes the steps that were due before `now_ps`; nothing changes in them but decodes that end."""
        steady, pipeline = self._steady, self._pipeline
        while pipeline.due_ps < now_ps:
            self._beginning.clear()  # no launch here holds their token up
            self._drop_ended()
            if steady.batch:
                n = pipeline.leap(steady, 1 if self._finishing else steady.next_end() - self._k, now_ps)
                self.free_blocks -= steady.blocks_needed_over(self._k + 1, n)
                self._k += n
            else:
                pipeline.rest(0 if self._finishing else now_ps)
                self._k += 1

    def wake(self, now_ps: int) -> Outcome:
        """Takes the decision due at `now_ps`: requests end, the next step is composed."""
        self.advance(now_ps)
        outcome = Outcome()
        if self._finishing:
            self._finish(now_ps, outcome)
        self._compose(now_ps, outcome)
        return outcome

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)

    def _drop_ended(self) -> None:
        """Takes decodes whose last token is in step k out of the steady batch."""
        ended = self._steady.pop_ended(self._k + 1)
        if ended:
            self._finishing += ended
            self._finishing_tokens += sum(sequence.offset + self._k for sequence in ended)

    def _finish(self, now_ps: int, outcome: Outcome) -> None:
        for sequence in self._finishing:
            sequence.last_ps = now_ps
            if sequence.last_step != UNSET:  # else it was preempted with its last token under way
                del self.running[sequence]
                sequence.blocks = self._blocks_for(sequence.offset + sequence.last_step)
                if not self.config.pin_finished:
                    self.free_blocks += sequence.blocks
        outcome.finished = self._finishing
        self._finishing = []
        self._finishing_tokens = 0

    def _compose(self, now_ps: int, outcome: Outcome) -> None:
        """Composes step k + 1 and makes it step k."""
        self._drop_ended()
        self.free_blocks += self._deferred_blocks
        self._deferred_blocks = 0
        step = self._k + 1
        draft = Draft(self.config.max_num_batched_tokens - self._steady.batch)
        self._grow_blocks(step, draft, outcome)
        if self._partial:
            self._continue_partial(step, draft, outcome)
        if not draft.preempted:
            if self._ready:
                self._take_ready(now_ps, draft)
            if self.waiting:
                self._take_waiting(now_ps, draft, outcome)
        # Budget or model may have cut the step short; the rest may fit into the next one.
        cut_short = draft.chunks or (self.config.one_model_a_step and draft.model != UNSET)
        self._decide = draft.preempted or bool(cut_short and (self.waiting or self._ready))
        self._launch(step, draft)

    def _launch(self, step: int, draft: Draft) -> None:
        """Launches step k + 1 as drafted and stamps the requests in it."""
        steady, pipeline = self._steady, self._pipeline
        start_ps = pipeline.launch(steady.batch + draft.joining, steady.context + draft.joining_tokens, draft.chunks)
        for sequence in draft.entering:
            sequence.started_ps = start_ps
        for sequence in self._beginning:  # the launch may have held up their token
            sequence.first_ps = pipeline.due_ps
        self._beginning.clear()
        steady.context += steady.batch
        for sequence in draft.emitting:
            if sequence.first_ps == UNSET:
                sequence.first_ps = pipeline.out_ps
                self._beginning.append(sequence)
            steady.join(sequence, step)
        self._k = step

    def _grow_blocks(self, step: int, draft: Draft, outcome: Outcome) -> None:
        """Gives the steady decodes the blocks that they need at `step`, in order, preempting the last admitted."""
        needed = self._steady.blocks_needed(step)
        if needed <= self.free_blocks:
            self.free_blocks -= needed
            return
        draft.preempted = True
        for sequence in list(self.running):
            if sequence not in self.running:
                return
            needs_block = (sequence.offset + step - 1) % self.config.block_size == 0
            if sequence is self._partial or sequence.last_step == self._k or not needs_block:
                continue
            while not self.free_blocks:
                victim = self.running.popitem()[0]
                self._preempt(victim, step, outcome)
                if victim is sequence:
                    return
            self.free_blocks -= 1

    def _continue_partial(self, step: int, draft: Draft, outcome: Outcome) -> None:
        sequence = self._partial
        if sequence is None or draft.budget <= 0:
            return
        if self._blocks_to_add(sequence, draft.budget) <= self.free_blocks:
            self._take_tokens(sequence, draft)
        else:
            self.running.popitem()
            self._preempt(sequence, step, outcome)
            draft.preempted = True

    def _preempt(self, sequence: Sequence, step: int, outcome: Outcome) -> None:
        self.preemptions += 1
        sequence.preemptions += 1
        if sequence is self._partial:
            self._partial = None
            self._take_back(sequence.blocks)
        else:
            self._take_back(self._blocks_for(sequence.offset + step - 1))
            last, sequence.last_step = sequence.last_step, UNSET
            if last == self._k:  # its last token is under way: nothing is left to do over
                return
            sequence.known_tokens = sequence.offset + step
            sequence.outputs_left = last - step + 1
            self._steady.leave(sequence, step)
        sequence.blocks = 0
        if self.config.recompute:
            sequence.kv = KV.COMPUTE
        if sequence.kv is KV.PULL:
            outcome.evicted.append(sequence)
        else:
            self.waiting.appendleft(sequence)
            self._queued_tokens += sequence.known_tokens

    def _take_back(self, blocks: int) -> None:
        if self.config.defer_block_free:
            self._deferred_blocks += blocks
        else:
            self.free_blocks += blocks

    def _take_ready(self, now_ps: int, draft: Draft) -> None:
        """Takes requests whose KV has come into the step."""
        taken = 0
        for sequence in self._ready:
            if draft.budget <= 0:
                break
            taken += 1
            self._enter(sequence, now_ps, draft)
        self._loading -= taken
        del self._ready[:taken]

    def _take_waiting(self, now_ps: int, draft: Draft, outcome: Outcome) -> None:
        """Takes waiting requests, in order, into the step or onto the link."""
        places = self.config.max_num_seqs - len(self.running) - self._loading
        while self.waiting and draft.budget > 0 and places > 0:
            sequence = self.waiting[0]
            if self.config.one_model_a_step and draft.model not in (UNSET, sequence.model):
                return
            blocks = self._blocks_for(sequence.known_tokens)
            if blocks > self.free_blocks:
                return
            self.waiting.popleft()
            places -= 1
            from_elsewhere = min(sequence.prompt_tokens, sequence.known_tokens - 1)
            sequence.computed_tokens = 0 if sequence.kv is KV.COMPUTE else from_elsewhere
            if sequence.kv is KV.PULL:
                self.free_blocks -= blocks
                sequence.blocks = blocks
                self._loading += 1
                outcome.loads.append(sequence)
            else:
                self._enter(sequence, now_ps, draft)

    def _enter(self, sequence: Sequence, now_ps: int, draft: Draft) -> None:
        self._queued_tokens -= sequence.known_tokens
        self.running[sequence] = None
        if sequence.scheduled_ps == UNSET:
            sequence.scheduled_ps = now_ps
            draft.entering.append(sequence)
        self._take_tokens(sequence, draft)

    def _blocks_to_add(self, sequence: Sequence, budget: int) -> int:
        tokens = min(sequence.known_tokens, sequence.computed_tokens + budget)
        return max(0, self._blocks_for(tokens) - sequence.blocks)

    def _take_tokens(self, sequence: Sequence, draft: Draft) -> None:
        blocks = self._blocks_to_add(sequence, draft.budget)
        self.free_blocks -= blocks
        sequence.blocks += blocks
        self._partial = None if draft.take(sequence) else sequence
