"""What a vLLM worker's steps consist of: who waits, who runs, who gets blocks, and who loses them.

The rules are those of vLLM's V1 scheduler with async scheduling: running requests first, in order of admission; then,
unless somebody was preempted, waiting ones, first come first served, while there are places, token budget and KV blocks
for all that is known of the request. When a running request finds no block, the last admitted ones are preempted until
it has one, and start over. A worker that receives KV from others gives a preempted request's blocks back only when the
step in flight is done, so there everybody from the last admitted to the one without a block is preempted. A finished
request's place and blocks come free when its last token is out, so they idle for a step.
"""

from collections import deque

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.composed import FULL, Composed
from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.kv_blocks import KVBlocks
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.prefix_cache import CachingBlocks
from sunsim.cluster.sequence import KV, UNSET, Sequence
from sunsim.cluster.steady import SteadyDecodes
from sunsim.latency.steps import Chunk, StepTimes

COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class Scheduler:
    """Composes steps; `Engine` says when.

    Attributes:
        running: in order of admission, but for `partial`.
        decide: something waits for the next decision.
        caches: blocks may be found again.
        may_find: the first that waits lacks blocks, and may find ones that running decodes fill.
        finishing: their last token is out when the next decision falls due.
        partial: its prompt is computed in part; always the last of running.
        ready: requests whose KV has come, and who have a place.
    """

    def __init__(self, config: EngineConfig, times: StepTimes, keys: BlockKeys | None) -> None:
        self.config = config
        self.waiting: deque[Sequence] = deque()
        self.running: dict[Sequence, None] = {}
        self.blocks = KVBlocks(config.num_gpu_blocks, config.block_size)
        if config.enable_prefix_caching and keys:
            self.blocks = CachingBlocks(config, keys)
        self.steady = SteadyDecodes(times)
        self.decide = False
        self.may_find = False
        self.finishing: list[Sequence] = []
        self.partial: Sequence | None = None
        self.ready: list[Sequence] = []
        self.preemptions = 0
        self._max_tokens = config.max_num_batched_tokens
        self._max_chunk = config.max_prefill_chunk_tokens
        self._limits_prompts = config.one_model_a_step or self._max_chunk is not None
        self.caches = isinstance(self.blocks, CachingBlocks)
        self._chunks_only = False  # who enters with one token is a chunk, too
        self._loading = 0  # requests whose KV is on its way or here but not taken; they hold a place
        self._queued_tokens = 0
        self._finishing_tokens = 0

    def num_tokens(self, k: int) -> int:
        """Tokens of the requests here when step `k` was the last one composed."""
        partial = self.partial.known_tokens if self.partial else 0
        return self._queued_tokens + self.steady.context(k) + self._finishing_tokens + partial

    def count_drafts(self, k: int) -> DraftCounts | None:  # noqa: ARG002
        """What the drafts of the steps up to `k` came to, where decodes have some."""
        return None

    def submit(self, sequence: Sequence, *, first: bool) -> None:
        """A request arrives; `first` puts it at the head of the queue."""
        if first:
            self.waiting.appendleft(sequence)
        else:
            self.waiting.append(sequence)
        self._queued_tokens += sequence.known_tokens
        self.decide = True

    def drop_ended(self, k: int) -> None:
        """Takes decodes whose last token is in step `k` out of the steady batch."""
        for sequence in self.steady.pop_ended(k + 1):
            self.blocks.leave(sequence, k)
            self.finishing.append(sequence)
            self._finishing_tokens += sequence.offset + k

    def finish(self, now_ps: int, outcome: Outcome) -> None:
        """The last tokens of those that are `finishing` are out."""
        for sequence in self.finishing:
            sequence.last_ps = now_ps
            if sequence.last_step != UNSET:  # else it was preempted with its last token under way
                del self.running[sequence]
                if self.config.pin_finished:
                    self.blocks.pin(sequence)
                else:
                    self._free(sequence)
        outcome.finished = self.finishing
        self.finishing = []
        self._finishing_tokens = 0

    def _free(self, sequence: Sequence) -> None:
        """Nothing needs the blocks of a finished request."""
        self.blocks.free(sequence)

    def compose(self, now_ps: int, step: int, outcome: Outcome, *, enough: bool) -> Composed:
        """Composes a step in which the batch may change, or has not `enough` KV blocks."""
        batch = self.steady.batch
        composed = Composed(self._max_tokens - batch * (self.steady.k + 1))
        if self._max_chunk is not None and (batch or self._loading):
            composed.prompts_budget = self._max_chunk
        outcome.entered, outcome.loads, outcome.evicted = composed.entering, [], []
        self.may_find = False
        if not enough:
            self._make_room(step, composed, outcome)
        if self.partial:
            self._continue_partial(step, composed, outcome)
        if composed.preempted:
            self.decide = True
        else:
            if (not self.ready or self._take_ready(now_ps, step, composed)) and self.waiting:
                self._take_waiting(now_ps, step, composed, outcome)
            # A budget or the model may have cut the step short; the rest may fit into the next one.
            cut_short = composed.chunks or composed.model != UNSET
            self.decide = bool(cut_short and (self.waiting or self.ready))
        return composed

    def _make_room(self, step: int, composed: Composed, outcome: Outcome) -> None:
        """Gives the steady decodes the blocks that they need at `step`, in order, preempting the last admitted."""
        composed.preempted = True
        blocks = self.blocks
        for sequence in list(self.running):
            if sequence not in self.running:
                return
            if sequence is self.partial or sequence.last_step == step - 1 or not blocks.grows(sequence, step):
                continue
            while not blocks.take(1):
                victim = self.running.popitem()[0]
                self._preempt(victim, step, outcome)
                if victim is sequence:
                    return

    def _continue_partial(self, step: int, composed: Composed, outcome: Outcome) -> None:
        sequence = self.partial
        if sequence is None or composed.budget <= 0:
            return
        tokens = sequence.computed_tokens + composed.room_for(sequence)
        if self.blocks.can_grow(sequence, tokens):
            self._take_tokens(sequence, step, composed)
        else:
            self.running.popitem()
            self._preempt(sequence, step, outcome)
            composed.preempted = True

    def _preempt(self, sequence: Sequence, step: int, outcome: Outcome) -> None:
        self.preemptions += 1
        sequence.preemptions += 1
        if sequence is self.partial:
            self.partial = None
            self._take_back(sequence)
        else:
            if sequence.last_step == step - 1:  # its last token is under way: nothing is left to do over
                self._stop_ended(sequence, step)
                sequence.last_step = UNSET
                self._take_back(sequence)
                return
            self._stop(sequence, step)
            sequence.last_step = UNSET
            self._take_back(sequence)
        if self.config.recompute:
            sequence.kv = COMPUTE
        if sequence.kv is PULL:
            outcome.evicted.append(sequence)
        else:
            self.waiting.appendleft(sequence)
            self._queued_tokens += sequence.known_tokens

    def _stop(self, sequence: Sequence, step: int) -> None:
        """A decode does not go on at `step`; says what is known of it and what is left."""
        sequence.known_tokens = sequence.offset + step
        sequence.outputs_left = sequence.last_step - step + 1
        self.steady.leave(sequence)
        self.blocks.leave(sequence, step - 1)

    def _stop_ended(self, sequence: Sequence, step: int) -> None:
        """One whose last token came in the step before is not in `step`."""

    def _take_back(self, sequence: Sequence) -> None:
        if self.config.defer_block_free:
            self.blocks.free_later(sequence)
        else:
            self.blocks.free(sequence)

    def _take_ready(self, now_ps: int, step: int, composed: Composed) -> bool:
        """Takes requests whose KV has come into the step; gives False if one of them has not got the blocks."""
        taken, enough = 0, True
        for sequence in self.ready:
            if composed.budget <= 0 or (composed.model not in (UNSET, sequence.model) and sequence.computes_prompt):
                break
            if self.partial and self._is_cut(sequence, composed):
                break
            if not self._has_room(sequence, composed):
                enough = False
                break
            taken += 1
            self._enter(sequence, now_ps, step, composed)
        self._loading -= taken
        del self.ready[:taken]
        return enough

    def _has_room(self, sequence: Sequence, composed: Composed) -> bool:  # noqa: ARG002
        """Whether a request whose KV has come can enter; it holds the blocks for all that is known of it."""
        return True

    def _take_waiting(self, now_ps: int, step: int, composed: Composed, outcome: Outcome) -> None:
        """Takes waiting requests, in order, into the step or onto the link."""
        waiting = self.waiting
        places = self.config.max_num_seqs - len(self.running) - self._loading
        passed: list[Sequence] = []
        while waiting and composed.budget > 0 and places > 0:
            sequence = waiting[0]
            if composed.model not in (UNSET, sequence.model) and sequence.computes_prompt:
                if composed.prompts_budget is None:
                    return
                composed.model = FULL  # no other prompt goes first
                passed.append(waiting.popleft())
                continue
            if sequence.held_now and sequence.kv is PULL:
                sequence.held_tokens = sequence.held_now()
            if self.partial and not sequence.pulls and self._is_cut(sequence, composed):
                break
            if not self._admit(sequence, composed):
                self.may_find = self.caches
                break
            waiting.popleft()
            places -= 1
            if sequence.pulls:
                self._loading += 1
                outcome.loads.append(sequence)
            else:
                self._enter(sequence, now_ps, step, composed)
        if passed:
            waiting.extendleft(reversed(passed))

    def _admit(self, sequence: Sequence, composed: Composed) -> bool:  # noqa: ARG002
        """Begins with a waiting request, or gives False if there are not the blocks."""
        return self.blocks.admit(sequence)

    def _is_cut(self, sequence: Sequence, composed: Composed) -> bool:
        """Whether a step has no room for all that a request has made whose prompt is there.

        It waits then where a prompt is under way: one request at a time is computed in part.
        """
        return not sequence.computes_prompt and sequence.known_tokens - sequence.prompt_tokens >= composed.budget

    def _enter(self, sequence: Sequence, now_ps: int, step: int, composed: Composed) -> None:
        self._queued_tokens -= sequence.known_tokens
        self.running[sequence] = None
        if self.partial:  # stays the last
            self.running[self.partial] = self.running.pop(self.partial)
        if sequence.scheduled_ps == UNSET:
            sequence.scheduled_ps = now_ps
            composed.entering.append(sequence)
            if not sequence.computes_prompt:
                composed.taken_in += sequence.prompt_tokens
        self._take_tokens(sequence, step, composed)

    def _take_tokens(self, sequence: Sequence, step: int, composed: Composed) -> None:
        """Schedules what is not computed of a sequence, as far as the budget goes; all of it makes the next token."""
        known, before = sequence.known_tokens, sequence.computed_tokens
        chunk = known - before > 1 or self._chunks_only
        tokens = composed.room_for(sequence) if chunk else 1
        computed = before + tokens
        self.blocks.grow(sequence, computed)
        composed.budget -= tokens
        if self._limits_prompts and sequence.computes_prompt:
            if self.config.one_model_a_step:
                composed.model = sequence.model
            if composed.prompts_budget is not None:
                composed.prompts_budget -= tokens
                if not composed.prompts_budget:
                    composed.model = FULL
        sequence.computed_tokens = computed
        if chunk:
            composed.chunks.append(Chunk(tokens, before))
        if computed < known:
            self.partial = sequence
            return
        if sequence is self.partial:
            self.partial = None
        if chunk:
            composed.ends_prompts += 1
            composed.ends_prompts_tokens += known
        composed.emitting.append(sequence)
        self.steady.join(sequence, step)
        self.blocks.join(sequence)
