"""The decodes of a worker that go on unchanged from step to step, and the time that steps of them take."""

from __future__ import annotations

from heapq import heappop, heappush
from math import isqrt
from typing import TYPE_CHECKING

from sunsim.cluster.sequence import UNSET, Sequence

if TYPE_CHECKING:
    from sunsim.latency.steps import DecodeLine, StepTimes


class SteadyDecodes:
    """A batch of sequences that each emit one token a step until their last.

    A sequence's context at step ``s`` is ``offset + s``, so it needs another KV block at the steps of one residue.

    Attributes:
        batch: how many sequences.
        context: total context of the next step, in tokens.
    """

    __slots__ = ("_ends", "_grow", "_order", "_times", "batch", "block_size", "context")

    def __init__(self, times: StepTimes, block_size: int) -> None:
        self._times = times
        self.block_size = block_size
        self.batch = 0
        self.context = 0
        self._grow = [0] * block_size  # sequences that need a block at steps of this residue
        self._ends: list[tuple[int, int, Sequence]] = []  # heap by last_step
        self._order = 0

    def join(self, sequence: Sequence, step: int) -> None:
        """Adds a sequence that emits at `step`, the step before the next one, and holds the blocks for it."""
        sequence.offset = sequence.known_tokens - step
        sequence.last_step = step + sequence.outputs_left - 1
        self.batch += 1
        self.context += sequence.known_tokens + 1
        self._grow[(1 - sequence.offset) % self.block_size] += 1
        self._order += 1
        heappush(self._ends, (sequence.last_step, self._order, sequence))

    def leave(self, sequence: Sequence, step: int) -> None:
        """Takes a sequence out before the next step, `step`. Its entry among the ends is dropped when met."""
        self.batch -= 1
        self.context -= sequence.offset + step
        self._grow[(1 - sequence.offset) % self.block_size] -= 1

    def pop_ended(self, step: int) -> list[Sequence]:
        """Takes out the sequences that emitted their last token in the step before the next one, `step`."""
        ended: list[Sequence] = []
        ends = self._ends
        while ends:
            last, _, sequence = ends[0]
            if sequence.last_step == last:
                if last >= step:
                    break
                self.leave(sequence, step)
                ended.append(sequence)
            heappop(ends)
        return ended

    def next_end(self) -> int:
        """The step after which the batch next shrinks by itself; `UNSET` if it is empty."""
        return self._ends[0][0] if self.batch else UNSET

    def blocks_needed(self, step: int) -> int:
        """KV blocks that the batch needs at `step`."""
        return self._grow[step % self.block_size]

    def blocks_needed_over(self, step: int, n: int) -> int:
        """KV blocks that the batch needs at the `n` steps from `step`."""
        rounds, rest = divmod(n, self.block_size)
        needed = rounds * self.batch
        for s in range(step, step + rest):
            needed += self._grow[s % self.block_size]
        return needed

    def first_step_short(self, step: int, last: int, free_blocks: int) -> int:
        """The first step from `step` to `last` for which `free_blocks` don't suffice, or ``last + 1``.

        Counts sequences that end meanwhile as if they went on, so it may be early, never late.
        """
        if free_blocks >= self.batch * ((last - step) // self.block_size + 1):
            return last + 1
        for s in range(step, last + 1):
            free_blocks -= self._grow[s % self.block_size]
            if free_blocks < 0:
                return s
        return last + 1

    def line(self, most: int, context: int) -> tuple[DecodeLine, int]:
        """The line that gives the step time at `context`, and for how many of the next `most` steps it holds."""
        line = self._times.decode_line(self.batch, context)
        return line, min(most, -((context - line.limit_tokens) // self.batch))

    def span_ps(self, n: int) -> int:
        """Time of the next `n` steps."""
        span, context = 0, self.context
        while n:
            line, steps = self.line(n, context)
            span += span_of(line, self.batch, context, steps)
            context += self.batch * steps
            n -= steps
        return span


def span_of(line: DecodeLine, batch: int, context: int, n: int) -> int:
    """Time of `n` steps of `batch` decodes on one line, the first of them at `context` tokens in all."""
    return n * (line.base_ps + line.slope_ps * context) + line.slope_ps * batch * (n * (n - 1) // 2)


def steps_until(line: DecodeLine, batch: int, context: int, span_ps: int) -> int:
    """The fewest such steps, at least one, that take `span_ps` or longer: the root of a quadratic, rounded up."""
    first = line.base_ps + line.slope_ps * context
    if first >= span_ps:
        return 1
    growth = line.slope_ps * batch
    if growth:
        linear = 2 * first - growth  # growth * n^2 + linear * n >= 2 * span
        n = (isqrt(linear * linear + 8 * growth * span_ps) - linear) // (2 * growth)
    else:
        n = span_ps // first
    while span_of(line, batch, context, n) < span_ps:
        n += 1
    return n
