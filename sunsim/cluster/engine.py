"""One vLLM worker: its scheduler, without a clock of its own.

The worker takes steps back to back, and scheduling runs one step ahead: step ``k + 1`` is composed when the output of
step ``k - 1`` is out, which is when step ``k`` starts, or later if the launch of step ``k`` takes longer. If nothing was
in flight before step ``k``, step ``k + 1`` is composed as soon as step ``k`` is launched. An output with no step behind it
is followed by a pause before anything is composed. `Pipeline` keeps these times.

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

from collections import deque
from collections.abc import Iterable

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.draft import Draft
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.kv_blocks import KVBlocks
from sunsim.cluster.outcome import NOBODY, Outcome
from sunsim.cluster.pipeline import Pipeline
from sunsim.cluster.prefix_cache import CachingBlocks
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.cluster.steady import SteadyDecodes
from sunsim.latency.steps import Chunk, Outside, StepTimes

COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class Engine:
    """A worker. Drive it with `submit`, `loaded`, `release`, and call `wake` at each `next_wake`.

    A call at time ``t`` comes after the wakes due before ``t``, and before the wake due at ``t``.

    Args:
        config: the worker's options.
        times: of steps and of their launches.
        stalls: pairs of a moment and the time by which the step on the GPU at that moment gets longer, both in
            picoseconds, in rising order of the moments; there may be no end to them.
        keys: by which blocks are found again, if the worker caches prefixes; without, it does not.
    """

    def __init__(
        self,
        config: EngineConfig,
        times: StepTimes,
        stalls: Iterable[tuple[int, int]] = (),
        keys: BlockKeys | None = None,
    ) -> None:
        self.config = config
        self.waiting: deque[Sequence] = deque()
        self.running: dict[Sequence, None] = {}  # in order of admission
        self.blocks = KVBlocks(config.num_gpu_blocks, config.block_size)
        if config.enable_prefix_caching and keys:
            self.blocks = CachingBlocks(config, keys)
        self._caches = isinstance(self.blocks, CachingBlocks)
        self._may_find = False  # the first that waits lacks blocks, and may find ones that running decodes fill
        self.preemptions = 0
        self._pipeline = Pipeline(times, stalls)
        self._pause_ps = times.pause_ps
        self._take_in_ps = times.take_in_ps
        self._steady = SteadyDecodes(times)
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
        return self._k - self._pipeline.rests

    @property
    def due_ps(self) -> int:
        """When the output of the last step but one is out, and the next step is composed."""
        return self._pipeline.due_ps

    @property
    def busy_ps(self) -> int:
        """The time of these steps on the GPU, stalls included, in picoseconds."""
        return self._pipeline.busy_ps

    @property
    def outside(self) -> dict[Outside, int]:
        """Steps outside the range of the measurements, by what took them out."""
        return self._pipeline.outside

    @property
    def queries(self) -> int:
        """Tokens that were looked for in the prefix cache."""
        return self.blocks.queries

    @property
    def hits(self) -> int:
        """Of these, the ones found."""
        return self.blocks.hits

    @property
    def num_tokens(self) -> int:
        """Tokens of the requests here, generated ones included, as the scheduler last counted them."""
        partial = self._partial.known_tokens if self._partial else 0
        decoding = self._steady.offset + self._steady.batch * self._k
        return self._queued_tokens + decoding + self._finishing_tokens + partial

    @property
    def free_blocks(self) -> int:
        """KV blocks that nobody holds; what is cached in them does not matter."""
        return self.blocks.unused

    def cached_tokens(self, sequence: Sequence) -> int:
        """Of a request that may be elsewhere, the tokens that would be found here if it were admitted now."""
        return self.blocks.cached_tokens(sequence)

    def forget(self) -> None:
        """Nothing of what it has computed is found again; it must have no requests."""
        self.blocks.forget()

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
        self.blocks.unpin(sequence)
        self._decide = self._decide or bool(self.waiting)

    def next_wake(self) -> int | None:
        """When the next decision that can change anything falls due; None if not before something arrives."""
        if self._decide or self._finishing or self._partial or (self._may_find and self._steady.batch):
            return self._pipeline.due_ps
        steady, k = self._steady, self._k
        if not steady.batch:
            return None
        n = steady.next_end - k
        if (lasting := self.blocks.lasting(k + 1, n + 1)) <= n:
            if not lasting:
                return self._pipeline.due_ps
            # The decision that finds no block for a step falls due when the output of the last but one is out.
            n = lasting - 1
        return self._pipeline.out_after_ps(steady, k + 1, n)

    def advance(self, now_ps: int) -> None:
        """Composes the steps that were due before `now_ps`; nothing changes in them but decodes that end."""
        pipeline = self._pipeline
        if pipeline.due_ps >= now_ps:
            return
        self._beginning.clear()  # no launch here holds their token up
        steady, k = self._steady, self._k
        while pipeline.due_ps < now_ps:
            if steady.next_end <= k:
                self._drop_ended(k)
            if steady.batch:
                n = pipeline.leap(steady, k + 1, 1 if self._finishing else steady.next_end - k, now_ps)
                self.blocks.grow_over(k + 1, n)
                k += n
            else:
                pipeline.rest(0 if self._finishing else now_ps)
                k += 1
        self._k = k

    def wake(self, now_ps: int) -> Outcome:
        """Takes the decision due at `now_ps`: requests end, the next step is composed."""
        if self._pipeline.due_ps < now_ps:
            self.advance(now_ps)
        outcome = Outcome()
        if self._finishing:
            self._finish(now_ps, outcome)
            if self._pause_ps and not self._pipeline.in_flight:
                self._pipeline.rest(now_ps + self._pause_ps)
                self._k += 1
                self._decide = self._decide or bool(self.waiting)  # there are places now
                return outcome
        self._compose(now_ps, outcome)
        return outcome

    def _drop_ended(self, k: int) -> None:
        """Takes decodes whose last token is in step `k` out of the steady batch."""
        for sequence in self._steady.pop_ended(k + 1):
            self.blocks.leave(sequence, k)
            self._finishing.append(sequence)
            self._finishing_tokens += sequence.offset + k

    def _finish(self, now_ps: int, outcome: Outcome) -> None:
        for sequence in self._finishing:
            sequence.last_ps = now_ps
            if sequence.last_step != UNSET:  # else it was preempted with its last token under way
                del self.running[sequence]
                if self.config.pin_finished:
                    self.blocks.pin(sequence)
                else:
                    self.blocks.free(sequence)
        outcome.finished = self._finishing
        self._finishing = []
        self._finishing_tokens = 0

    def _compose(self, now_ps: int, outcome: Outcome) -> None:
        """Composes step k + 1 and makes it step k."""
        steady, step = self._steady, self._k + 1
        if steady.next_end < step:
            self._drop_ended(self._k)
        enough = self.blocks.decide(step)
        if not enough or self.waiting or self._ready or self._partial:
            self._draft(now_ps, step, outcome, enough=enough)
        else:
            self._decide = False
            self._pipeline.launch_decodes(steady, step)
            if self._beginning:
                self._stamp_beginning(NOBODY)
        self._k = step

    def _draft(self, now_ps: int, step: int, outcome: Outcome, *, enough: bool) -> None:
        """Composes and launches a step in which the batch may change, or has not `enough` KV blocks."""
        draft = Draft(self.config.max_num_batched_tokens - self._steady.batch)
        outcome.entered, outcome.loads, outcome.evicted = draft.entering, [], []
        self._may_find = False
        if not enough:
            self._make_room(step, draft, outcome)
        if self._partial:
            self._continue_partial(step, draft, outcome)
        if draft.preempted:
            self._decide = True
        else:
            self._take_ready(now_ps, step, draft)
            self._take_waiting(now_ps, step, draft, outcome)
            # Budget or model may have cut the step short; the rest may fit into the next one.
            cut_short = draft.chunks or draft.model != UNSET
            self._decide = bool(cut_short and (self.waiting or self._ready))
        if draft.taken_in or outcome.loads:
            busy_ps = sum([sequence.post_ps for sequence in outcome.loads]) + self._take_in_ps(draft.taken_in)
            if busy_ps:
                self._pipeline.hold(busy_ps)
        self._launch(step, draft)

    def _launch(self, step: int, draft: Draft) -> None:
        """Launches step k + 1 as drafted and stamps the requests in it."""
        steady, pipeline = self._steady, self._pipeline
        if draft.chunks:
            decodes = steady.batch - draft.ends_prompts
            context = steady.offset + steady.batch * step - draft.ends_prompts_tokens
            start_ps = pipeline.launch(decodes, context, draft.chunks)
        else:
            start_ps = pipeline.launch_decodes(steady, step)
        for sequence in draft.entering:
            sequence.started_ps = start_ps
        self._stamp_beginning(draft.emitting)

    def _stamp_beginning(self, emitting: list[Sequence]) -> None:
        """Stamps first tokens: those of step k, which the launch may have held up, and those of step k + 1."""
        if self._beginning:
            for sequence in self._beginning:
                sequence.first_ps = self._pipeline.due_ps
            self._beginning = []
        for sequence in emitting:
            if sequence.first_ps == UNSET:
                sequence.first_ps = self._pipeline.out_ps
                self._beginning.append(sequence)

    def _make_room(self, step: int, draft: Draft, outcome: Outcome) -> None:
        """Gives the steady decodes the blocks that they need at `step`, in order, preempting the last admitted."""
        draft.preempted = True
        blocks = self.blocks
        for sequence in list(self.running):
            if sequence not in self.running:
                return
            if sequence is self._partial or sequence.last_step == self._k or not blocks.grows(sequence, step):
                continue
            while not blocks.grow_one():
                victim = self.running.popitem()[0]
                self._preempt(victim, step, outcome)
                if victim is sequence:
                    return

    def _continue_partial(self, step: int, draft: Draft, outcome: Outcome) -> None:
        sequence = self._partial
        if sequence is None or draft.budget <= 0:
            return
        tokens = min(sequence.known_tokens, sequence.computed_tokens + draft.budget)
        if self.blocks.can_grow(sequence, tokens):
            self._take_tokens(sequence, step, draft)
        else:
            self.running.popitem()
            self._preempt(sequence, step, outcome)
            draft.preempted = True

    def _preempt(self, sequence: Sequence, step: int, outcome: Outcome) -> None:
        self.preemptions += 1
        sequence.preemptions += 1
        if sequence is self._partial:
            self._partial = None
            self._take_back(sequence)
        else:
            last, sequence.last_step = sequence.last_step, UNSET
            if last == self._k:  # its last token is under way: nothing is left to do over
                self._take_back(sequence)
                return
            sequence.known_tokens = sequence.offset + step
            sequence.outputs_left = last - step + 1
            self._steady.leave(sequence)
            self.blocks.leave(sequence, step - 1)
            self._take_back(sequence)
        if self.config.recompute:
            sequence.kv = COMPUTE
        if sequence.kv is PULL:
            outcome.evicted.append(sequence)
        else:
            self.waiting.appendleft(sequence)
            self._queued_tokens += sequence.known_tokens

    def _take_back(self, sequence: Sequence) -> None:
        if self.config.defer_block_free:
            self.blocks.free_later(sequence)
        else:
            self.blocks.free(sequence)

    def _take_ready(self, now_ps: int, step: int, draft: Draft) -> None:
        """Takes requests whose KV has come into the step."""
        taken = 0
        for sequence in self._ready:
            if draft.budget <= 0 or (draft.model not in (UNSET, sequence.model) and sequence.computes_prompt):
                break
            taken += 1
            self._enter(sequence, now_ps, step, draft)
        self._loading -= taken
        del self._ready[:taken]

    def _take_waiting(self, now_ps: int, step: int, draft: Draft, outcome: Outcome) -> None:
        """Takes waiting requests, in order, into the step or onto the link."""
        waiting = self.waiting
        places = self.config.max_num_seqs - len(self.running) - self._loading
        while waiting and draft.budget > 0 and places > 0:
            sequence = waiting[0]
            if draft.model not in (UNSET, sequence.model) and sequence.computes_prompt:
                return
            if sequence.held_now and sequence.kv is PULL:
                sequence.held_tokens = sequence.held_now()
            if not self.blocks.admit(sequence):
                self._may_find = self._caches
                return
            waiting.popleft()
            places -= 1
            if sequence.pulls:
                self._loading += 1
                outcome.loads.append(sequence)
            else:
                self._enter(sequence, now_ps, step, draft)

    def _enter(self, sequence: Sequence, now_ps: int, step: int, draft: Draft) -> None:
        self._queued_tokens -= sequence.known_tokens
        self.running[sequence] = None
        if sequence.scheduled_ps == UNSET:
            sequence.scheduled_ps = now_ps
            draft.entering.append(sequence)
            if not sequence.computes_prompt:
                draft.taken_in += sequence.prompt_tokens
        self._take_tokens(sequence, step, draft)

    def _take_tokens(self, sequence: Sequence, step: int, draft: Draft) -> None:
        """Schedules what is not computed of a sequence, as far as the budget goes; all of it makes the next token."""
        known, before = sequence.known_tokens, sequence.computed_tokens
        tokens = min(known - before, draft.budget)
        computed = before + tokens
        self.blocks.grow(sequence, computed)
        draft.budget -= tokens
        if self.config.one_model_a_step and sequence.computes_prompt:
            draft.model = sequence.model
        sequence.computed_tokens = computed
        chunk = known - before > 1
        if chunk:
            draft.chunks.append(Chunk(tokens, before))
        if computed < known:
            self._partial = sequence
            return
        self._partial = None
        if chunk:
            draft.ends_prompts += 1
            draft.ends_prompts_tokens += known
        draft.emitting.append(sequence)
        self._steady.join(sequence, step)
        self.blocks.join(sequence)
