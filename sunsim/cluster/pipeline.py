"""The host and the GPU of one worker: when its steps are launched, when they run and when their outputs are out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sunsim.cluster.stalls import Stalls
from sunsim.cluster.steady import SteadyDecodes, span_of, steps_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sunsim.latency.steps import Chunk, StepTimes


class Pipeline:
    """Two steps in flight, one on the GPU and one launched behind it, without anything that is in them.

    The host's one thread takes the decision for a step, launches the step, and looks at the output of the step before
    when that is there and the launch is over. So a long launch holds up that output and the next decision; the GPU goes
    on meanwhile. If nothing was in flight, there is no output to wait for, and the next decision follows the launch. A
    launch takes time for a step with chunks and for any step with nothing in flight before it; that of decodes behind
    another step is hidden.

    Step ``k`` is the last one launched; it may be empty.

    Attributes:
        due_ps: when the next decision falls due: the output of step ``k - 1`` is out, if there was one.
        out_ps: when the output of step ``k`` is out, unless the launch of the step after it holds it up. Never before
            `due_ps`. It may lie after the step's end on the GPU, but the GPU cannot start another step in between.
        in_flight: whether step ``k`` computes something.
        steps, busy_ps: steps that computed something, and their time on the GPU, stalls included.
        outside: steps outside the range of the measurements, by kind.
    """

    __slots__ = ("_stalls", "_times", "busy_ps", "due_ps", "in_flight", "out_ps", "outside", "steps")

    def __init__(self, times: StepTimes, stalls: Iterable[tuple[int, int]]) -> None:
        self._times = times
        self._stalls = Stalls(stalls)
        self.due_ps = 0
        self.out_ps = 0
        self.in_flight = False
        self.steps = 0
        self.busy_ps = 0
        self.outside = {"decode": 0, "chunk": 0}

    def launch(self, batch: int, context: int, chunks: list[Chunk]) -> int:
        """Launches the step composed at `due_ps`; gives the moment at which the GPU starts it.

        Args:
            batch: its decodes.
            context: their tokens in all.
            chunks: its prefill chunks; with no decodes either, the step is empty.
        """
        if chunks:
            duration_ps, measured = self._times.chunked_step(batch, context, chunks)
        elif batch:
            line = self._times.decode_line(batch, context)
            duration_ps, measured = line.base_ps + line.slope_ps * context, line.measured
        else:
            self.rest(0)
            return self.out_ps
        start_ps = due_ps = self.out_ps
        if chunks or not self.in_flight:
            tokens = sum(chunk.tokens for chunk in chunks)
            start_ps = max(start_ps, self.due_ps + self._times.lead_ps(tokens))
            due_ps = max(due_ps, self.due_ps + self._times.launch_ps(tokens))
        end_ps = start_ps + duration_ps
        if self._stalls.next_ps < end_ps:
            end_ps = self._stalls.take(start_ps, end_ps)
        self.due_ps = due_ps
        self.out_ps = max(end_ps, due_ps)
        self.in_flight = True
        self.steps += 1
        self.busy_ps += end_ps - start_ps
        if not measured:
            self.outside["chunk" if chunks else "decode"] += 1
        return start_ps

    def rest(self, until_ps: int) -> None:
        """An empty step, behind the one in flight or at `until_ps`."""
        self.due_ps = self.out_ps = max(self.out_ps, until_ps)
        self.in_flight = False

    def leap(self, steady: SteadyDecodes, most: int, now_ps: int) -> int:
        """Launches up to `most` steps of the steady decodes alone, while they fall due before `now_ps`.

        Gives how many, at least one. They are fewer where the line of their times or a stall ends; go on from there.
        """
        batch, context, before_ps = steady.batch, steady.context, self.out_ps
        line, n = steady.line(most, context)
        if n > 1:
            n = 1 if before_ps >= now_ps else min(n, 1 + steps_until(line, batch, context, now_ps - before_ps))
        end_ps = before_ps + span_of(line, batch, context, n)
        stall_ps = self._stalls.next_ps
        if stall_ps < end_ps:
            if n > 1:
                n = steps_until(line, batch, context, stall_ps + 1 - before_ps)
            end_ps = self._stalls.take(before_ps, before_ps + span_of(line, batch, context, n))
        self.due_ps = before_ps + span_of(line, batch, context, n - 1)
        self.out_ps = end_ps
        steady.context += batch * n
        self.steps += n
        self.busy_ps += end_ps - before_ps
        if not line.measured:
            self.outside["decode"] += n
        return n

    def out_after_ps(self, steady: SteadyDecodes, n: int) -> int:
        """When the output of step ``k + n`` is out if only steady decodes follow step ``k``."""
        return self._stalls.foresee(self.out_ps, self.out_ps + steady.span_ps(n))
