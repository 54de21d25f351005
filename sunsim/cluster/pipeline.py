"""The host and the GPU of one worker: when its steps are launched, when they run and when their outputs are out."""

from collections.abc import Iterable

from sunsim.cluster.stalls import Stalls
from sunsim.cluster.steady import SteadyDecodes, span_of, steps_until
from sunsim.latency.steps import OUTSIDE, Chunk, StepTimes


class Pipeline:
    """Two steps in flight, one on the GPU and one launched behind it, without anything that is in them.

    The host's one thread takes the decision for a step, launches the step, and looks at the output of the step before
    when that is there and the launch is over. So a long launch holds up that output and the next decision; the GPU goes
    on meanwhile, but cannot be done before the launch is. If nothing was in flight, there is no output to wait for, and the
    next decision follows the launch. A launch takes time for a step with chunks and for any step with nothing in flight
    before it; that of decodes behind another step is hidden.

    Step ``k`` is the last one launched; it may be empty.

    Attributes:
        due_ps: when the next decision falls due: the output of step ``k - 1`` is out, if there was one.
        decided_ps: when that for step ``k`` was taken, or later, if the host was held before it launched.
        out_ps: when the output of step ``k`` is out, unless the launch of the step after it holds it up. Never before
            `due_ps`. It may lie after the step's end on the GPU, but the GPU cannot start another step in between.
        in_flight: whether step ``k`` computes something.
        rests: how many of the steps were empty.
        outside: steps outside the range of the measurements, by what took them out.
    """

    __slots__ = (
        "_held",
        "_idle_ps",
        "_launched",
        "_launches",
        "_stalls",
        "_times",
        "decided_ps",
        "due_ps",
        "in_flight",
        "out_ps",
        "outside",
        "rests",
    )

    def __init__(self, times: StepTimes, stalls: Iterable[tuple[int, int]]) -> None:
        self._times = times
        self._stalls = Stalls(stalls)
        self.due_ps = 0
        self.decided_ps = 0
        self.out_ps = 0
        self.in_flight = False
        self.rests = 0
        self._launches = 0
        self._held = False  # the host was, before the next launch
        self._launched = False  # and has launched it at the end of that
        self._idle_ps = 0  # of the time until `out_ps`, that in which the GPU did not compute
        self.outside = dict.fromkeys(OUTSIDE, 0)

    @property
    def busy_ps(self) -> int:
        """The time of the steps on the GPU, stalls included."""
        return self.out_ps - self._idle_ps

    def launch(self, step: int, batch: int, context: int, chunks: list[Chunk]) -> int:  # noqa: ARG002
        """Launches a step with prefill chunks, composed at `due_ps`; gives the moment at which the GPU starts it.

        Args:
            step: its number.
            batch: its decodes.
            context: their tokens in all.
            chunks: its prefill chunks.
        """
        duration_ps, outside = self._times.chunked_step(batch, context, chunks)
        start_ps = self._launch_shown(batch + sum(chunk.tokens for chunk in chunks), duration_ps)
        if outside:
            self.outside[outside] += 1
        return start_ps

    def launch_decodes(self, steady: SteadyDecodes, step: int) -> int:
        """Launches a step of the steady decodes alone, composed at `due_ps`, an empty one if there are none."""
        if not steady.batch:
            self.rest(0)
            return self.out_ps
        if step >= steady.line_end:
            steady.look_up(step)
        if steady.outside:
            self.outside[steady.outside] += 1
        start_ps = due_ps = self.out_ps
        duration_ps = steady.base_ps + steady.growth_ps * step
        if not self.in_flight:
            return self._launch_shown(0, duration_ps)
        self.decided_ps = self.due_ps
        if self._held:
            start_ps = max(due_ps, self.due_ps + (0 if self._launched else self._times.lead_ps(0)))
            self._idle_ps += start_ps - due_ps
            self._held = False
        end_ps = start_ps + duration_ps
        if self._stalls.next_ps < end_ps:
            end_ps = self._stalls.take(start_ps, end_ps)
        self.due_ps = due_ps
        self.out_ps = end_ps
        return start_ps

    def hold(self, busy_ps: int, *, launched: bool = False) -> None:
        """The host does something else for so long before it launches what it has decided at `due_ps`.

        Args:
            launched: the launch of a step of decodes behind another one is in that time.
        """
        self._held = True
        self._launched = launched
        self.due_ps += busy_ps
        if self.due_ps > self.out_ps:
            self._idle_ps += self.due_ps - self.out_ps
            self.out_ps = self.due_ps

    def rest(self, until_ps: int) -> None:
        """An empty step, behind the one in flight or at `until_ps`."""
        out_ps = max(self.out_ps, until_ps)
        self._idle_ps += out_ps - self.out_ps
        self.decided_ps = self.due_ps
        self.due_ps = self.out_ps = out_ps
        self.in_flight = False
        self._held = False
        self.rests += 1

    def leap(self, steady: SteadyDecodes, step: int, most: int, now_ps: int) -> int:
        """Launches up to `most` steps of the steady decodes alone, from `step` on, while they fall due before `now_ps`.

        Gives how many, at least one. They are fewer where the line of their times or a stall ends; go on from there.
        """
        if step >= steady.line_end:
            steady.look_up(step)
        decided_ps, before_ps, growth_ps = self.due_ps, self.out_ps, steady.growth_ps
        first_ps = steady.base_ps + growth_ps * step
        n = 1
        if most > 1 and before_ps < now_ps:
            n = min(most, steady.line_end - step, 1 + steps_until(first_ps, growth_ps, now_ps - before_ps))
        due_ps = before_ps if n == 1 else before_ps + span_of(first_ps, growth_ps, n - 1)
        end_ps = due_ps + first_ps + growth_ps * (n - 1)
        if self._stalls.next_ps < end_ps:
            n = min(n, steps_until(first_ps, growth_ps, self._stalls.next_ps + 1 - before_ps))
            due_ps = before_ps + span_of(first_ps, growth_ps, n - 1)
            end_ps = self._stalls.take(before_ps, due_ps + first_ps + growth_ps * (n - 1))
        if n > 1:
            decided_ps = before_ps + span_of(first_ps, growth_ps, n - 2)
        self.decided_ps = decided_ps
        self.due_ps = due_ps
        self.out_ps = end_ps
        if steady.outside:
            self.outside[steady.outside] += n
        return n

    def out_after_ps(self, steady: SteadyDecodes, step: int, n: int) -> int:
        """When the output of the last of `n` steps from `step` on is out if only steady decodes follow."""
        if step + n <= steady.line_end:
            growth_ps = steady.growth_ps
            out_ps = self.out_ps + n * (steady.base_ps + growth_ps * step) + growth_ps * (n * (n - 1) // 2)
        else:
            out_ps = self.out_ps + steady.span_ps(step, n)
        return out_ps if out_ps <= self._stalls.next_ps else self._stalls.foresee(self.out_ps, out_ps)

    def _launch_shown(self, tokens: int, duration_ps: int) -> int:
        """Launches a step of `duration_ps` whose launch takes time; gives the moment at which the GPU starts it."""
        times = self._times
        self.decided_ps = self.due_ps
        start_ps = max(self.out_ps, self.due_ps + times.lead_ps(tokens))
        launched_ps = self.due_ps + times.launch_ps(tokens, self._launches)
        self._launches += 1
        due_ps = max(self.out_ps, launched_ps)
        end_ps = start_ps + duration_ps
        if self._stalls.next_ps < end_ps:
            end_ps = self._stalls.take(start_ps, end_ps)
        out_ps = max(end_ps, launched_ps + times.tail_ps(tokens))
        self._idle_ps += out_ps - self.out_ps - (end_ps - start_ps)
        self.due_ps = due_ps
        self.out_ps = out_ps
        self.in_flight = True
        self._held = False
        return start_ps
