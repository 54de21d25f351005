"""When the steps of a worker that drafts are launched, when they run and when their outputs are out."""

from collections.abc import Iterable

from sunsim.cluster.drafting.bursts import BurstDecodes
from sunsim.cluster.pipeline import Pipeline
from sunsim.cluster.steady import SteadyDecodes
from sunsim.latency.steps import Chunk, DraftStepTimes


class BurstPipeline(Pipeline):
    """As `Pipeline`, for one `BurstDecodes`, which is told of every step."""

    __slots__ = ("_bursts", "_draft_times")

    def __init__(self, times: DraftStepTimes, stalls: Iterable[tuple[int, int]], bursts: BurstDecodes) -> None:
        super().__init__(times, stalls)
        self._draft_times = times
        self._bursts = bursts

    def launch(self, step: int, batch: int, context: int, chunks: list[Chunk]) -> int:
        """As `Pipeline.launch`."""
        k = self._bursts.k
        duration_ps, outside = self._draft_times.chunked_step_k(batch, context, chunks, k)
        tokens = batch * (k + 1)
        for chunk in chunks:
            tokens += chunk.tokens
        # Nothing but requests that enter with one token each is launched as decodes alone are.
        start_ps = self._launch_shown(tokens if batch or tokens > len(chunks) else 0, duration_ps)
        if outside:
            self.outside[outside] += 1
        self._bursts.scheduled(step, batch + len(chunks))
        return start_ps

    def launch_decodes(self, steady: SteadyDecodes, step: int) -> int:
        """As `Pipeline.launch_decodes`."""
        start_ps = super().launch_decodes(steady, step)
        if steady.batch:
            self._bursts.scheduled(step, steady.batch)
        return start_ps

    def leap(self, steady: SteadyDecodes, step: int, most: int, now_ps: int) -> int:
        """As `Pipeline.leap`; not over a change in the number of drafts."""
        bursts, decided_ps, before_ps = self._bursts, self.due_ps, self.out_ps
        n = 1
        if most > 1 and before_ps < now_ps and bursts.settled:
            n = min(most, 1 + bursts.steps_until(step, now_ps - before_ps))
        end_ps = before_ps + bursts.span_ps(step, n)
        if self._stalls.next_ps < end_ps:
            n = min(n, bursts.steps_until(step, self._stalls.next_ps + 1 - before_ps))
            end_ps = self._stalls.take(before_ps, before_ps + bursts.span_ps(step, n))
        if n > 1:
            decided_ps = before_ps + bursts.span_ps(step, n - 2)
        self.decided_ps = decided_ps
        self.due_ps = before_ps + bursts.span_ps(step, n - 1)
        self.out_ps = end_ps
        for outside, steps in bursts.outside_of(step, n):
            self.outside[outside] += steps
        bursts.scheduled(step + n - 1, steady.batch)
        return n
