"""Curves through measured steps: decode time over context, prefill time over tokens and attended pairs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sunsim.latency.profile import DecodePoint, PrefillPoint

HIDDEN_MS = 2.0
"""A step that outlasts its own launch by more than this was waiting for the GPU, not for the host."""

LEAST_CONTEXTS = 2
"""Contexts that a batch size must be measured at for a curve of its own."""


@dataclass(frozen=True, slots=True)
class DecodeCurve:
    """Step time of one batch size over the total context: knots in tokens, ascending, values in milliseconds."""

    context_tokens: NDArray[np.float64]
    step_ms: NDArray[np.float64]

    def at(self, context_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolated step times, the end pieces going on beyond the ends; one shape in, the same out."""
        x, y = self.context_tokens, self.step_ms
        if x.size == 1:
            return np.full(context_tokens.shape, y[0])
        i = np.clip(np.searchsorted(x, context_tokens) - 1, 0, x.size - 2)
        return y[i] + (context_tokens - x[i]) * (y[i + 1] - y[i]) / (x[i + 1] - x[i])


def decode_curves(points: list[DecodePoint]) -> dict[int, DecodeCurve]:
    """A curve for each batch size measured at several contexts with requests of even lengths.

    A point is the mean of its runs' medians. More context never makes a step faster: where noise says so, the values
    are evened out to the middle between the running maximum and the running minimum from the other end.
    """
    by_batch: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        if point.lengths == "uniform":
            by_batch[point.batch][point.context_tokens].append(point.step_ms_median)
    most = max((len(at) for at in by_batch.values()), default=0)
    curves = {}
    for batch, at in by_batch.items():
        if len(at) < min(LEAST_CONTEXTS, most):
            continue
        contexts = sorted(at)
        step_ms = np.array([float(np.mean(at[context])) for context in contexts])
        curves[batch] = DecodeCurve(np.array(contexts, dtype=np.float64), rising(step_ms))
    return curves


def rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle between the running maximum and, from the other end, the running minimum."""
    return (np.maximum.accumulate(values) + np.minimum.accumulate(values[::-1])[::-1]) / 2


@dataclass(frozen=True, slots=True)
class PrefillCurve:
    """``step_ms = curve(new tokens) + pair_ms * attended pairs``; knots in tokens, ascending, values in milliseconds."""

    tokens: NDArray[np.float64]
    token_ms: NDArray[np.float64]
    pair_ms: float

    @classmethod
    def fit(cls, points: list[PrefillPoint]) -> PrefillCurve | NoPrefill:
        """Least squares of relative errors over back-to-back steps, the knots at every token count measured.

        The time of a step that started on an idle worker holds the launch that others hide, so it is left out where
        there is another of the same tokens.
        """
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
        return cls(tokens, rising(solution[:-1]), max(0.0, float(solution[-1])) * 1e-6)

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
        known = {float(tokens): decode_ms(tokens) for tokens in (*self.tokens.astype(int).tolist(), largest_batch)}
        known = {tokens: ms for tokens, ms in known.items() if tokens <= largest_batch}
        for tokens, step_ms in zip(self.tokens.tolist(), self.token_ms.tolist(), strict=True):
            if tokens > largest_batch and step_ms > launch_ms(int(tokens)) + HIDDEN_MS:
                known[tokens] = step_ms
        at = sorted(known)
        bound = np.interp(self.tokens, at, [known[tokens] for tokens in at], right=np.inf)
        return PrefillCurve(self.tokens, rising(np.minimum(self.token_ms, bound)), self.pair_ms)

    def step_ms(self, tokens: int, pairs: int) -> float:
        """Step time in milliseconds; beyond the largest measured step the last piece goes on."""
        x, y = self.tokens, self.token_ms
        if tokens <= x[-1] or x.size == 1:
            base = float(np.interp(tokens, x, y))
        else:
            base = float(y[-1] + (tokens - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2]))
        return base + self.pair_ms * pairs

    def covers(self, tokens: int) -> bool:
        """Whether the steps measured were as small and as large."""
        return bool(self.tokens[0] <= tokens <= self.tokens[-1])


class NoPrefill:
    """The curve of a profile that measured no prefill step."""

    def on_gpu(self, *_: object) -> NoPrefill:
        """Still none."""
        return self

    def step_ms(self, tokens: int, pairs: int) -> float:
        """Never: raises ValueError."""
        message = f"the profile has no prefill_points, so no step of {tokens} tokens ({pairs} pairs) can be timed"
        raise ValueError(message)

    def covers(self, tokens: int) -> bool:  # noqa: ARG002
        """Nothing is covered."""
        return False
