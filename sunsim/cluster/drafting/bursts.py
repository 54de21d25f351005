"""The decodes of a worker that drafts, and the time that steps of them take."""

from bisect import bisect_left
from heapq import heappop, heappush
from itertools import accumulate

import numpy as np

from sunsim.cluster.drafting.counts import Counts, DraftCounts
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.drafting.plan import Plan
from sunsim.cluster.drafting.timeline import Timeline
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.cluster.steady import SteadyDecodes
from sunsim.latency.steps import DraftStepTimes, Outside


class BurstDecodes(SteadyDecodes):
    """A batch of decodes that each emit a burst of tokens a step until their last.

    Everybody's bursts are known when it enters, and added up by the number of the step. So nothing has to be counted while
    steps go by, here either; the times of the steps until the batch next changes are summed when they are first asked for.

    `scheduled` follows the launch of every step.

    Attributes:
        ghost_tokens: context of the ghosts in the last step.
        timeline: what its context grows by and its KV blocks, by step.
    """

    __slots__ = (
        "_at",
        "_block_size",
        "_counts",
        "_draft_times",
        "_drafts",
        "_entering",
        "_ghosts",
        "_limits",
        "_plans",
        "_spans",
        "_start",
        "_until",
        "ghost_tokens",
        "timeline",
    )

    def __init__(self, times: DraftStepTimes, drafts: Drafts, block_size: int) -> None:
        super().__init__(times)
        self._draft_times = times
        self._drafts = drafts
        self._block_size = block_size
        self.k = drafts.num_speculative_tokens
        self.ghost_tokens = 0
        self.timeline = Timeline()
        self._counts = Counts(drafts.num_speculative_tokens)
        self._plans: dict[Sequence, Plan] = {}
        self._ghosts: dict[Sequence, Plan] = {}
        self._entering: list[Sequence] = []  # into the step that is composed
        self._at = 0  # `offset` is the context at this step
        # Sums of step times from `_start` on, until before `_until`, and where what was not measured of them changes.
        self._start = 0
        self._until = 0
        self._spans: list[int] = []
        self._limits: list[tuple[int, Outside | None]] = []

    def context(self, step: int) -> int:
        """Known tokens of the decodes at a step, not before the last one that was asked for."""
        if step > self._at:
            if self.batch:
                self.offset += self.timeline.growth(self._at, step)
            self._at = step
        return self.offset

    def out_tokens(self, sequence: Sequence, step: int) -> int:
        """Tokens of one that are out when `step`, the last one that was decided or the next, is; all known if it enters."""
        plan = self._plans.get(sequence) or self._ghosts.get(sequence)
        return plan.out(step) if plan else sequence.known_tokens

    def room(self, tokens: int) -> int:
        """Tokens for which whoever computes up to so many must have blocks, so as to draft more."""
        return min(tokens + self._drafts.lookahead, self._drafts.max_model_len)

    def takes(self, step: int) -> int:
        """KV blocks that all take at the next step, `step`."""
        return int(self.timeline.takes(step, 1)[0]) if self.batch else 0

    def takes_over(self, step: int, n: int) -> int:
        """KV blocks that they take at the `n` steps from `step` on."""
        return int(np.add.reduce(self.timeline.takes(step, n)))

    def lasting(self, step: int, n: int, blocks: int) -> int:
        """For how many of the `n` steps from `step` on so many KV blocks suffice."""
        drafts = self._drafts
        most = drafts.num_speculative_tokens + 1  # tokens of one in a step
        if blocks >= self.batch * (1 + ((n + 2) * most + drafts.lookahead) // self._block_size):
            return n
        takes = self.timeline.takes(step, n)
        if int(np.add.reduce(takes)) <= blocks:
            return n
        return int(takes.cumsum().searchsorted(blocks, side="right"))

    def takes_of(self, sequence: Sequence, step: int) -> int:
        """KV blocks that one takes at the next step, `step`."""
        plan = self._plans.get(sequence) or self._ghosts.get(sequence)
        return int(plan.more[step - plan.first]) if plan else 0

    def join(self, sequence: Sequence, step: int) -> None:
        """Adds a sequence that enters the step that is composed, `step`, and has its blocks for that."""
        self.context(step)
        self.offset += sequence.known_tokens
        self.batch += 1
        self._entering.append(sequence)

    def scheduled(self, step: int, requests: int) -> None:
        """`step` has been launched with so many requests; that decides how many drafts the next one has."""
        by_batch = self._drafts.by_batch
        if by_batch and (k := by_batch[requests]) != self.k:
            self.k = k
            self._plan_anew(step + 1)
        if self._entering:
            for sequence in self._entering:
                known, left = sequence.known_tokens, sequence.outputs_left
                self._order += 1
                plan = Plan(sequence, step, known, left, None, self.k, self._drafts, self._block_size)
                self._add(plan, self._order)
            self._entering.clear()
            self._changes()
            self._find_next_end()
        if not self.settled:
            self.next_end = step  # the step after the next one has other drafts

    @property
    def settled(self) -> bool:
        """Whether all steps until the batch changes have the same number of drafts."""
        return self._drafts.by_batch is None or self._drafts.by_batch[self.batch] == self.k

    def stop(self, sequence: Sequence, step: int) -> None:
        """Takes a decode out before the next step, `step`, and says what it knows then, what is left, and its blocks."""
        self.context(step)
        plan = self._plans.pop(sequence)
        self._counts.count(plan, step)
        self.timeline.remove(plan, step)
        sequence.known_tokens = known = plan.known(step)
        sequence.outputs_left = plan.left_at(step)
        sequence.blocks = plan.held(step)
        self.offset -= known
        self.batch -= 1
        self._find_next_end()
        self._changes()

    def has_ghost(self, sequence: Sequence) -> bool:
        """Whether one that has ended is a ghost in the last step, or the one that is composed."""
        return sequence in self._ghosts

    def stop_ghost(self, sequence: Sequence, step: int) -> None:
        """Takes a ghost out of the next step, and says its blocks."""
        plan = self._ghosts.pop(sequence)
        self.timeline.remove(plan, step)
        sequence.blocks = plan.held(step)
        self.ghost_tokens -= plan.known(step)
        self._take_out(plan)

    def pop_ended(self, step: int) -> list[Sequence]:
        """Takes out the ghosts of the step before the next one, `step`, and the sequences that emitted their last token in it.

        Of these, ghosts stay in the batch for another step. `Sequence.blocks` counts what they take for it, and
        `Sequence.known_tokens` what was known when they made their last token.
        """
        self.context(step)
        for ghost in self._ghosts.values():
            self._take_out(ghost)
        self._ghosts.clear()
        self.ghost_tokens = 0
        ended: list[Sequence] = []
        ends = self._ends
        while ends and ends[0][0] < step:
            last, order, sequence = heappop(ends)
            plan = self._plans.get(sequence)
            # One that was preempted may have had other drafts before, and would have ended in the same step then.
            if plan is None or plan.last != last or plan.order != order:
                continue
            del self._plans[sequence]
            self._counts.count(plan, step)
            sequence.known_tokens = plan.at_last
            sequence.blocks = int(plan.blocks[-1])
            ended.append(sequence)
            if plan.gone == step:
                self._ghosts[sequence] = plan
                self.ghost_tokens += plan.known(step)
            else:
                self._take_out(plan)
        self._find_next_end()
        self._changes()
        return ended

    def look_up(self, step: int) -> None:
        """Learns the time of a step."""
        if not self._start <= step < self._until:
            self._sum_up(step)
        self.base_ps = self._spans[step - self._start + 1] - self._spans[step - self._start]
        self.line_end = step + 1
        self.outside = next(outside for limit, outside in self._limits if step < limit)

    def span_ps(self, step: int, n: int) -> int:
        """Time of the `n` steps from `step` on, none of which is after `next_end`."""
        if not self._start <= step < self._until:
            self._sum_up(step)
        return self._spans[step - self._start + n] - self._spans[step - self._start]

    def steps_until(self, step: int, span_ps: int) -> int:
        """The fewest steps from `step` on, at least one, that take `span_ps` or longer, if `next_end` is not before."""
        if not self._start <= step < self._until:
            self._sum_up(step)
        spans, i = self._spans, step - self._start
        return max(1, bisect_left(spans, spans[i] + span_ps, i) - i)

    def outside_of(self, step: int, n: int) -> list[tuple[Outside, int]]:
        """What took the `n` steps from `step` on, whose times were summed, out of the measurements, and how many."""
        found: list[tuple[Outside, int]] = []
        for limit, outside in self._limits:
            if outside and limit > step and n > 0:
                found.append((outside, min(n, limit - step)))
            if limit > step:
                n -= limit - step
                step = limit
        return found

    def count_drafts(self, step: int) -> DraftCounts:
        """What the drafts of all steps before `step` came to; sequences count theirs, too, then."""
        for plan in self._plans.values():
            self._counts.count(plan, step)
        return self._counts.so_far()

    def _sum_up(self, step: int) -> None:
        """Sums the times of the steps from the next one, `step`, to the end of the next that ends."""
        n = max(self.next_end - step, 0) + 1
        grows = self.timeline.grows(step, step + n - 1).tolist()
        context = self.offset + self.timeline.growth(self._at, step) if step > self._at else self.offset
        contexts = list(accumulate(grows, initial=context))
        spans, span_ps = [0], 0
        self._limits = []
        done = 0
        while done < n:
            base_ps, slope_ps, limit_tokens, outside = self._draft_times.decode_line_k(
                self.batch, contexts[done], self.k
            )
            end = n if contexts[-1] < limit_tokens else bisect_left(contexts, limit_tokens)
            for context in contexts[done:end]:
                span_ps += base_ps + slope_ps * context
                spans.append(span_ps)
            self._limits.append((step + end, outside))
            done = end
        self._spans = spans
        self._start, self._until = step, step + n

    def _plan_anew(self, step: int) -> None:
        """Everybody has another number of drafts from the next step, `step`, on."""
        for sequence, old in list(self._plans.items()):
            if old.gone < step:
                continue
            self._counts.count(old, step)
            self.timeline.remove(old, step)
            known, left = old.known(step), old.left_at(step)
            plan = Plan(sequence, step, known, left, old.before(step), self.k, self._drafts, self._block_size)
            self._add(plan, old.order)
        self._find_next_end()
        self._changes()

    def _add(self, plan: Plan, order: int) -> None:
        sequence = plan.sequence
        plan.order = order
        self.timeline.add(plan, self._at)
        self._plans[sequence] = plan
        sequence.last_step = plan.last
        heappush(self._ends, (plan.last, order, sequence))

    def _take_out(self, plan: Plan) -> None:
        """Its context is not counted any more."""
        self.offset -= int(plan.contexts[-1])
        self.batch -= 1
        self._changes()

    def _find_next_end(self) -> None:
        ends = self._ends
        while ends:
            plan = self._plans.get(ends[0][2])
            if plan and plan.last == ends[0][0]:
                break
            heappop(ends)
        self.next_end = ends[0][0] if ends else UNSET
        for ghost in self._ghosts.values():
            self.next_end = ghost.gone

    def _changes(self) -> None:
        """Times that were looked up do not hold any more."""
        self.line_end = self._until = 0
