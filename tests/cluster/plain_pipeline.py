"""When a worker's steps are launched, when they run and when their outputs are out, one step at a time."""

from __future__ import annotations

from collections.abc import Iterable

from sunsim.latency.steps import OUTSIDE, Chunk, DraftStepTimes, Outside, StepTimes
from tests.cluster.jobs import Job, Out, Step


class PlainPipeline:
    """One step runs, one is launched behind it.

    Args:
        draft_times: the same times, if the worker drafts.

    Attributes:
        in_flight: launched, and the host has not seen their outputs.
        due: when the next step is composed.
    """

    def __init__(self, times: StepTimes, draft_times: DraftStepTimes | None, stalls: Iterable[tuple[int, int]]) -> None:
        self.times = times
        self.draft_times = draft_times
        self.in_flight: list[Step] = []
        self.due = 0
        self.steps = 0
        self.busy_ps = 0
        self.outside: dict[Outside, int] = dict.fromkeys(OUTSIDE, 0)
        self._stalls = iter(stalls)
        self._stall = next(self._stalls, None)
        self._gpu_free = 0
        self._launches = 0

    @property
    def idle(self) -> bool:
        """Whether nothing computes."""
        return all(step.empty for step in self.in_flight)

    def launch(
        self, now: int, decodes: list[Job], chunks: list[Chunk], k: int, *, held: bool, launched: bool
    ) -> tuple[int, int]:
        """Launches a step, with `k` drafts of each of the `decodes`; gives when it starts and when its launch is over.

        Args:
            held: the host has done something else first.
            launched: and has launched the step in that time.
        """
        free = ready = earliest = now
        if chunks or (decodes and self.idle):
            # With drafts those who enter an idle worker with one token each are chunks, but launched as decodes are.
            enter = bool(self.draft_times) and not decodes and all(chunk.tokens == 1 for chunk in chunks)
            tokens = len(decodes) * (k + 1) + sum(chunk.tokens for chunk in chunks) if chunks and not enter else 0
            free += self.times.launch_ps(tokens, self._launches)
            ready += self.times.lead_ps(tokens)
            earliest = free + self.times.tail_ps(tokens)
            self._launches += 1
        elif decodes and held and not launched:
            ready += self.times.lead_ps(0)
        start = max(self._gpu_free, ready)
        if decodes or chunks:
            end = self._end(start, self._duration(decodes, chunks, k))
            self._gpu_free = max(end, earliest)
            self.steps += 1
            self.busy_ps += end - start
        return start, free

    def follow(self, emitting: list[Out], free: int, *, empty: bool) -> None:
        """The step just launched makes these tokens; the next one is due when its launch and the step before it are over."""
        if not empty or not self.idle:
            self.in_flight.append(Step(self._gpu_free, emitting, empty))
        else:
            self.in_flight.clear()
        older = self.in_flight[0].end if len(self.in_flight) == 2 else 0
        self.due = max(free, older)

    def _duration(self, decodes: list[Job], chunks: list[Chunk], k: int) -> int:
        batch, context = len(decodes), sum(job.on_card for job in decodes)
        if chunks and self.draft_times:
            duration, outside = self.draft_times.chunked_step_k(batch, context, chunks, k)
        elif chunks:
            duration, outside = self.times.chunked_step(batch, context, chunks)
        else:
            times = self.draft_times
            line = times.decode_line_k(batch, context, k) if times else self.times.decode_line(batch, context)
            duration, outside = line.base_ps + line.slope_ps * context, line.outside
        if outside:
            self.outside[outside] += 1
        return duration

    def _end(self, start: int, duration: int) -> int:
        end = start + duration
        while self._stall and self._stall[0] < end:
            at, extra = self._stall
            if at >= start:
                end += extra
            self._stall = next(self._stalls, None)
        return end
