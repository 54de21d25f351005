"""Step times from a profile: interpolation between measured points, nothing else.

Decode: for each batch size measured, the step time is piecewise linear in the total context. Between two measured
batch sizes that are padded to the same captured CUDA graph it is linear in the batch; the graph sizes make it a
staircase. Prefill: a step's time is a piecewise linear function of its new tokens plus a term in the (query, key)
pairs that attention visits, fitted together by non-negative least squares over the measured points. A step that mixes
decodes and chunks is taken as a prefill step of all its tokens that also reads the decodes' KV, as decode steps do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sunsim.latency.steps import Chunk, DecodeLine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sunsim.latency.profile import DecodePoint, PrefillPoint, Profile

PS_PER_MS = 10**9
FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class _Curve:
    """Step time of one batch size over the total context: knots in tokens, values in milliseconds."""

    context_tokens: NDArray[np.float64]
    step_ms: NDArray[np.float64]

    def at(self, context_tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolated step times, the end pieces going on beyond the ends; one shape in, the same out."""
        x, y = self.context_tokens, self.step_ms
        if x.size == 1:
            return np.full(context_tokens.shape, y[0])
        i = np.clip(np.searchsorted(x, context_tokens) - 1, 0, x.size - 2)
        return y[i] + (context_tokens - x[i]) * (y[i + 1] - y[i]) / (x[i + 1] - x[i])


class LatencyModel:
    """Step times of one profile, for simulation (`StepTimes`, picoseconds) and for people (milliseconds)."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._curves = _decode_curves(profile.data.decode_points)
        self._measured_batches = sorted(self._curves)
        self._lines: dict[int, tuple[list[int], list[DecodeLine]]] = {}

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        """The line that holds for `batch` decodes (at least one) whose contexts add up to `context_tokens`."""
        limits, lines = self._lines.get(batch) or self._make_lines(batch)
        return lines[bisect_right(limits, context_tokens)]

    def join_ps(self, joining: int) -> int:  # noqa: ARG002 - no cost of joining is modelled yet
        """What `joining` requests that enter a decode step add to it."""
        return 0

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, bool]:
        """Time of a step of `batch` decodes and at least one prefill chunk, and whether it lies in the measured range."""
        tokens = batch + sum(chunk.tokens for chunk in chunks)
        pairs = sum(chunk.tokens * chunk.before + chunk.tokens * (chunk.tokens + 1) // 2 for chunk in chunks)
        step_ms = self._prefill.step_ms(tokens, pairs) + self._context_slope_ms * context_tokens
        return round(step_ms * PS_PER_MS), self._prefill.covers(tokens)

    def decode_step_ms(self, batch: int, context_tokens: int) -> float:
        """Time of a decode step in milliseconds."""
        line = self.decode_line(batch, context_tokens)
        return (line.base_ps + line.slope_ps * context_tokens) / PS_PER_MS

    def prefill_step_ms(self, prompt_tokens: int, prompts: int = 1) -> float:
        """Time in milliseconds of a step that prefills `prompts` prompts of `prompt_tokens` each."""
        return self.chunked_step(0, 0, [Chunk(prompt_tokens, 0)] * prompts)[0] / PS_PER_MS

    @cached_property
    def _prefill(self) -> _PrefillCurve:
        return _PrefillCurve.fit(self.profile.data.prefill_points)

    @cached_property
    def _context_slope_ms(self) -> float:
        """Milliseconds that a token of decode context adds to a step, at the largest batch measured over contexts."""
        batch = max(b for b, curve in self._curves.items() if curve.context_tokens.size > 1)
        curve = self._curves[batch]
        rise = float(curve.step_ms[-1] - curve.step_ms[0])
        return max(0.0, rise / float(curve.context_tokens[-1] - curve.context_tokens[0]))

    def _make_lines(self, batch: int) -> tuple[list[int], list[DecodeLine]]:
        """The curve of `batch` as integer lines, one a piece, and the contexts at which they end."""
        parts = self._parts(batch)
        knots = np.unique(np.concatenate([self._curves[b].context_tokens for b, _ in parts]))
        low = max(float(self._curves[b].context_tokens[0]) for b, _ in parts)
        high = min(float(self._curves[b].context_tokens[-1]) for b, _ in parts)
        inside = self._measured_batches[0] <= batch <= self._measured_batches[-1]
        if knots.size == 1:
            knots = np.array([knots[0], knots[0] + 1.0])
        step_ms = sum((share * self._curves[b].at(knots) for b, share in parts), np.zeros(knots.shape))
        ends = [round(k) for k in knots]
        lines = []
        for i in range(len(ends) - 1):
            slope_ps = max(0, round((step_ms[i + 1] - step_ms[i]) * PS_PER_MS / (knots[i + 1] - knots[i])))
            base_ps = max(1, round(step_ms[i] * PS_PER_MS - slope_ps * knots[i]))
            lines.append((base_ps, slope_ps))
        # Beyond the first and the last knot the end pieces go on; only what both neighbours measured counts as measured.
        pieces = [(lines[0], ends[0]), *zip(lines, ends[1:], strict=True), (lines[-1], FOREVER)]
        starts = [0, *ends]
        made = [
            DecodeLine(*line, end, measured=inside and low <= start and end <= high + 1)
            for (line, end), start in zip(pieces, starts, strict=True)
        ]
        self._lines[batch] = [line.limit_tokens for line in made[:-1]], made
        return self._lines[batch]

    def _parts(self, batch: int) -> list[tuple[int, float]]:
        """Measured batch sizes that `batch` is interpolated from, with their shares."""
        measured = self._measured_batches
        i = bisect_left(measured, batch)
        if i < len(measured) and measured[i] == batch:
            return [(batch, 1.0)]
        if i == 0:
            return [(measured[0], 1.0)]
        if i == len(measured):
            return [(measured[-1], 1.0)]
        below, above = measured[i - 1], measured[i]
        graph = self._graph(batch)
        if self._graph(below) != graph and self._graph(above) == graph:
            return [(above, 1.0)]
        if self._graph(above) != graph and self._graph(below) == graph:
            return [(below, 1.0)]
        share = (batch - below) / (above - below)
        return [(below, 1.0 - share), (above, share)]

    def _graph(self, batch: int) -> int:
        """The captured CUDA graph size that `batch` is padded to; a batch beyond them is its own size."""
        sizes = self.profile.data.cudagraph_capture_sizes
        i = bisect_left(sizes, batch)
        return sizes[i] if i < len(sizes) else batch


def _decode_curves(points: list[DecodePoint]) -> dict[int, _Curve]:
    """A curve for each batch size measured with uniform lengths; runs of one point are averaged."""
    by_batch: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        if point.lengths == "uniform":
            by_batch[point.batch][point.context_tokens].append(point.step_ms_median)
    return {
        batch: _Curve(np.array(sorted(at)), np.array([float(np.mean(at[context])) for context in sorted(at)]))
        for batch, at in by_batch.items()
    }


@dataclass(frozen=True, slots=True)
class _PrefillCurve:
    """``step_ms = curve(new tokens) + pair_ms * attended pairs``; tokens ascending, int64[n] and float64[n]."""

    tokens: NDArray[np.float64]
    token_ms: NDArray[np.float64]
    pair_ms: float

    @classmethod
    def fit(cls, points: list[PrefillPoint]) -> _PrefillCurve:
        """Non-negative least squares of relative errors, the knots of the curve at every token count measured."""
        from scipy.optimize import nnls  # noqa: PLC0415 - costs half a second, which decode-only runs save

        tokens = np.array(sorted({point.new_tokens for point in points}), dtype=np.float64)
        column = {count: i for i, count in enumerate(tokens)}
        rows = np.zeros((len(points), tokens.size + 1))
        for row, point in zip(rows, points, strict=True):
            row[column[point.new_tokens]] = 1.0
            row[-1] = point.attended_pairs * 1e-6
        step_ms = np.array([point.step_ms_median for point in points])
        solution, _ = nnls(rows / step_ms[:, None], np.ones(len(points)))
        return cls(tokens, solution[:-1], float(solution[-1]) * 1e-6)

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
