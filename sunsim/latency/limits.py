"""What no decode step beats that was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sunsim.clock import PS_PER_MS
from sunsim.latency.curves import DecodeCurve
from sunsim.latency.steps import DecodeLine, Outside

FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that the measured steps of a profile and the card's memory set to the others.

    No step is shorter than the shortest one measured, none emits more tokens a second than the best one measured, and
    beyond the measured contexts a further token takes no less than it did on the whole of the batch's measured contexts,
    nor in the median over the batches measured, nor less than the card's memory takes to read its KV. The weights are
    read once a step, whatever its context, so the rest of a step does not grow with it.

    Attributes:
        shortest_ps: of the steps measured.
        request_ps: of a step for each of its requests, the least measured.
        token_ps: of a further token of context.
    """

    shortest_ps: int
    request_ps: float
    token_ps: int

    @classmethod
    def of(cls, curves: Mapping[int, DecodeCurve], context_ms: float, read_ms: float) -> Limits:
        """From measured times by batch size, and the milliseconds for a token of context: as measured, and to read it.

        Where the former are zero, since no batch was measured at several contexts, a step of more context takes
        proportionally longer.
        """
        steps = [
            (batch, context, step_ms)
            for batch, curve in curves.items()
            for context, step_ms in zip(curve.context_tokens.tolist(), curve.step_ms.tolist(), strict=True)
        ]
        context_ms = context_ms or min((step_ms / context for _, context, step_ms in steps), default=0.0)
        return cls(
            round(min((step_ms for *_, step_ms in steps), default=0.0) * PS_PER_MS),
            min((step_ms / batch for batch, _, step_ms in steps), default=0.0) * PS_PER_MS,
            round(max(context_ms, read_ms) * PS_PER_MS),
        )

    def below(self, line: DecodeLine, batch: int, start: int, after: DecodeLine) -> DecodeLine:
        """`line`, from `start` up to where the one after it begins, that does not fall below the bounds going down."""
        end_ps = _at(after, line.limit_tokens)
        least_ps = min(end_ps, self._least_ps(batch))
        if _at(line, start) >= least_ps:
            return line
        slope_ps = (end_ps - least_ps) // (line.limit_tokens - start)
        return line._replace(base_ps=end_ps - slope_ps * line.limit_tokens, slope_ps=slope_ps)

    def above(self, line: DecodeLine, batch: int, start: int, before: DecodeLine) -> DecodeLine:
        """`line`, from `start` on, that begins no lower than the one before it ends or the bounds say."""
        begin_ps = max(_at(line, start), _at(before, start), self._least_ps(batch))
        return line._replace(base_ps=begin_ps - line.slope_ps * start)

    def beyond(self, last: DecodeLine, batch: int, first: DecodeLine, low: int) -> DecodeLine:
        """The line of contexts longer than measured, for ever.

        A token takes what it did from `low`, the least context measured, which is on the line `first`, to the most, and
        no less than the bounds say.
        """
        start = last.limit_tokens
        begin_ps = max(_at(last, start), self._least_ps(batch))
        chord_ps = (begin_ps - _at(first, low)) // (start - low) if start > low else 0
        slope_ps = max(self.token_ps, chord_ps)
        outside: Outside = "batch" if last.outside == "batch" else "context"
        return DecodeLine(begin_ps - slope_ps * start, slope_ps, FOREVER, outside)

    def _least_ps(self, batch: int) -> int:
        return max(self.shortest_ps, round(self.request_ps * batch))


def _at(line: DecodeLine, context_tokens: int) -> int:
    return line.base_ps + line.slope_ps * context_tokens
