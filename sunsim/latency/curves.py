"""The curve through measured prefill steps: time over tokens and attended pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.host import HIDDEN_MS
from sunsim.latency.measured import PrefillPoint
from sunsim.latency.steps import Outside


def rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle between the running maximum and, from the other end, the running minimum."""
    return (np.maximum.accumulate(values) + np.minimum.accumulate(values[::-1])[::-1]) / 2


@dataclass(frozen=True, slots=True)
class PrefillCurve:
    """``step_ms = curve(new tokens) + pair_ms * attended pairs``; knots in tokens, ascending, values in milliseconds.

    Below the least step measured the curve is flat. Beyond the largest, ``curve(tokens) = tokens * beyond_ms``: twice
    the tokens take twice as long. This assumes that the largest step keeps the card as busy as any larger one would, so
    that matrix products go on at the rate reached there: their operations grow with the tokens, and reading the weights
    no longer shows (the roofline model, Williams, Waterman and Patterson 2009, https://doi.org/10.1145/1498765.1498785:
    at 8,192 tokens a step is far on its flat side). The pairs go on at what was fitted to the measured steps.

    Attributes:
        beyond_ms: milliseconds a token of larger steps: what the largest measured step took of a token without its
            pairs, and never less than the best measured step took with them.
        most_pairs, longest: the most pairs of a measured step, and of tokens of a prompt in it with those before them.
    """

    tokens: NDArray[np.float64]
    token_ms: NDArray[np.float64]
    pair_ms: float
    beyond_ms: float
    most_pairs: float
    longest: float
    _known: dict[int, float] = field(default_factory=dict, init=False, repr=False)  # without pairs, as asked for

    @classmethod
    def fit(cls, points: list[PrefillPoint]) -> PrefillCurve | NoPrefill:
        """Least squares of relative errors over back-to-back steps of even lengths, the knots at every token count.

        The time of a step that started on an idle worker holds the launch that others hide, so it is left out where
        there is another of the same tokens.
        """
        points = [point for point in points if point.lengths == "uniform"]
        if not points:
            return NoPrefill()
        busy = [point for point in points if not point.idle_start]
        counted = {point.new_tokens for point in busy}
        used = busy + [point for point in points if point.new_tokens not in counted]
        tokens = np.array(sorted({point.new_tokens for point in used}), dtype=np.float64)
        column = {count: i for i, count in enumerate(tokens)}
        rows = np.zeros((len(used), tokens.size + 1))
        for row, point in zip(rows, used, strict=True):
            row[column[point.new_tokens]] = 1.0
            row[-1] = point.attended_pairs * 1e-6
        step_ms = np.array([point.step_ms_median for point in used])
        solution = np.linalg.lstsq(rows / step_ms[:, None], np.ones(len(used)), rcond=None)[0]
        token_ms = rising(np.maximum(solution[:-1], 0.0))
        return cls(
            tokens,
            token_ms,
            max(0.0, float(solution[-1])) * 1e-6,
            beyond_ms=max(float(token_ms[-1] / tokens[-1]), min(p.step_ms_median / p.new_tokens for p in points)),
            most_pairs=max(point.attended_pairs for point in points),
            longest=max(_longest(point) for point in points),
        )

    def on_gpu(
        self, launch_ms: Callable[[int], float], decode_ms: Callable[[int], float], largest_batch: int
    ) -> PrefillCurve:
        """The same without what the host takes: steps of few tokens were launched slower than computed.

        Their time on the GPU is that of a decode step of as many tokens, up to the largest batch measured, and follows
        a line from there to the shortest step that the GPU kept waiting; never more than was measured.

        Args:
            launch_ms: the host's time to launch so many tokens.
            decode_ms: time of a decode step of so many requests with hardly any context.
            largest_batch: the most that it holds for.
        """
        batches = [*(tokens for tokens in self.tokens.astype(int).tolist() if tokens <= largest_batch), largest_batch]
        known = {float(batch): decode_ms(batch) for batch in batches}
        known |= {
            tokens: step_ms
            for tokens, step_ms in zip(self.tokens.tolist(), self.token_ms.tolist(), strict=True)
            if tokens > largest_batch and step_ms > launch_ms(int(tokens)) + HIDDEN_MS
        }
        at = sorted(known)
        bound = np.interp(self.tokens, at, [known[tokens] for tokens in at], right=np.inf)
        return replace(self, token_ms=rising(np.minimum(self.token_ms, bound)))

    def step_ms(self, tokens: int, pairs: float) -> float:
        """Step time in milliseconds."""
        token_ms = self._known.get(tokens)
        if token_ms is None:
            is_beyond = tokens > self.tokens[-1]
            token_ms = tokens * self.beyond_ms if is_beyond else float(np.interp(tokens, self.tokens, self.token_ms))
            self._known[tokens] = token_ms
        return token_ms + self.pair_ms * pairs

    def outside(self, tokens: int, pairs: int, longest: int) -> Outside | None:
        """What takes a step of so many tokens and attended pairs out of what was measured; `longest`: of a prompt."""
        if not self.tokens[0] <= tokens <= self.tokens[-1]:
            return "tokens"
        return "pairs" if pairs > self.most_pairs or longest > self.longest else None


def _longest(point: PrefillPoint) -> float:
    """Tokens of one of a step's prompts, those computed before included."""
    return point.attended_pairs / point.new_tokens + (point.new_tokens / point.prompts - 1) / 2


class NoPrefill:
    """The curve of a profile that measured no prefill step."""

    def on_gpu(self, *_: object) -> NoPrefill:
        """Still none."""
        return self

    def step_ms(self, tokens: int, pairs: float) -> float:
        """Never: raises ValueError."""
        message = f"the profile has no prefill_points, so no step of {tokens} tokens ({pairs} pairs) can be timed"
        raise ValueError(message)

    def outside(self, *_: object) -> Outside:
        """Everything is."""
        return "tokens"
