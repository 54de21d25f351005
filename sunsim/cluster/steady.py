"""The decodes of a worker that go on unchanged from step to step, and the time that steps of them take."""

from heapq import heappop, heappush
from math import isqrt

from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.latency.steps import Outside, StepTimes


class SteadyDecodes:
    """A batch of sequences that each emit one token a step until their last.

    A sequence's context at step ``s`` is ``offset + s``, so nothing has to be counted while steps go by.

    Attributes:
        batch: how many sequences.
        offset: the sum of their offsets.
        k: drafts of each in the next step; here none, see `sunsim.cluster.drafting`.
        next_end: the step after which the batch next shrinks by itself, if it is not empty. It may be early, where a
            sequence left before its end.
        base_ps, growth_ps: step ``s`` of this batch takes ``base_ps + s * growth_ps``, from the step that was looked up
            until before `line_end`.
        line_end: 0 if nothing has been looked up for this batch.
        outside: what takes these steps out of the range of the measurements, if anything does.
    """

    __slots__ = (
        "_ends",
        "_order",
        "_times",
        "base_ps",
        "batch",
        "growth_ps",
        "k",
        "line_end",
        "next_end",
        "offset",
        "outside",
    )

    def __init__(self, times: StepTimes) -> None:
        self._times = times
        self.batch = 0
        self.offset = 0
        self.k = 0
        self.next_end = UNSET
        self.base_ps = 0
        self.growth_ps = 0
        self.line_end = 0
        self.outside: Outside | None = None
        self._ends: list[tuple[int, int, Sequence]] = []  # heap by last_step
        self._order = 0

    def context(self, step: int) -> int:
        """Tokens of them all at a step."""
        return self.offset + self.batch * step

    def join(self, sequence: Sequence, step: int) -> None:
        """Adds a sequence that emits at `step`, the next one."""
        sequence.offset = offset = sequence.known_tokens - step
        sequence.last_step = last = step + sequence.outputs_left - 1
        self.batch += 1
        self.offset += offset
        self.line_end = 0
        self._order = order = self._order + 1
        ends = self._ends
        heappush(ends, (last, order, sequence))
        self.next_end = ends[0][0]

    def leave(self, sequence: Sequence) -> None:
        """Takes a sequence out before the next step. Its entry among the ends is dropped when met."""
        offset = sequence.offset
        self.batch -= 1
        self.offset -= offset
        self.line_end = 0

    def pop_ended(self, step: int) -> list[Sequence]:
        """Takes out the sequences that emitted their last token in the step before the next one, `step`."""
        ended: list[Sequence] = []
        ends = self._ends
        while ends and (ends[0][0] < step or ends[0][2].last_step != ends[0][0]):
            last, _, sequence = heappop(ends)
            if sequence.last_step == last:
                self.leave(sequence)
                ended.append(sequence)
        self.next_end = ends[0][0] if ends else UNSET
        return ended

    def look_up(self, step: int) -> None:
        """Learns the times of the steps from `step` on."""
        batch, offset = self.batch, self.offset
        base_ps, slope_ps, limit_tokens, self.outside = self._times.decode_line(batch, offset + batch * step)
        self.base_ps = base_ps + slope_ps * offset
        self.growth_ps = slope_ps * batch
        self.line_end = -((offset - limit_tokens) // batch)

    def span_ps(self, step: int, n: int) -> int:
        """Time of the `n` steps from `step` on."""
        span = 0
        while n:
            if step >= self.line_end:
                self.look_up(step)
            on_line = min(n, self.line_end - step)
            span += span_of(self.base_ps + self.growth_ps * step, self.growth_ps, on_line)
            step += on_line
            n -= on_line
        self.line_end = 0  # what was looked up last is not for the next step
        return span


def span_of(first_ps: int, growth_ps: int, n: int) -> int:
    """Time of `n` steps, the first of which takes `first_ps` and each other `growth_ps` longer than the one before."""
    return n * first_ps + growth_ps * (n * (n - 1) // 2)


def steps_until(first_ps: int, growth_ps: int, span_ps: int) -> int:
    """The fewest such steps, at least one, that take `span_ps` or longer."""
    if first_ps >= span_ps:
        return 1
    n = -(-span_ps // first_ps)  # enough, and mostly not one too many
    if growth_ps and span_of(first_ps, growth_ps, n - 1) >= span_ps:
        linear = 2 * first_ps - growth_ps  # the root of growth * n^2 + linear * n = 2 * span, rounded up
        n = (isqrt(linear * linear + 8 * growth_ps * span_ps) - linear) // (2 * growth_ps)
        while span_of(first_ps, growth_ps, n) < span_ps:
            n += 1
    return n
