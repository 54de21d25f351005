"""Decode step times of a profile as lines over the total context, for any batch size."""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import PS_PER_MS
from sunsim.latency.attention import BLOCK_TOKENS, AttentionKernel, LengthMix, even_contexts, mixed_blocks
from sunsim.latency.curves import DecodeCurve, decode_curves, rising
from sunsim.latency.limits import Limits
from sunsim.latency.measured import DecodePoint
from sunsim.latency.steps import DecodeLine, Outside

NEIGHBOURS = 1 / 10
"""Share of a batch size within which contexts seen with another one count as seen with it."""


class DecodeTimes:
    """Step times, interpolated between measured ones where they are smooth.

    Where the attention kernel is known, its part is: so much a block, and so many blocks as
    `sunsim.latency.attention` says for the lengths at hand. What remains of the measured times hardly depends on
    anything, and is interpolated. Otherwise the times are interpolated as they are, and lengths taken as even.

    A larger batch than any measured takes as many times as long as it is larger than the largest, at the same context a
    request; its attention is that of its own lengths where the kernel is known. What bounds all steps that were not
    measured is `sunsim.latency.limits.Limits`.

    Attributes:
        batches: measured at several contexts, ascending.
        context_ms: milliseconds that a token of context adds: the median slope over the batches measured.
        block_ms: milliseconds a block of attention; 0 where the kernel is not known.
    """

    def __init__(
        self,
        points: list[DecodePoint],
        graph_sizes: list[int],
        kernel: AttentionKernel | None,
        mix: LengthMix | None,
        read_ms: float = 0.0,
        otherwise: Outside | None = None,
    ) -> None:
        """What the steps are made from.

        Args:
            points: measured.
            graph_sizes: batch sizes with a captured graph of their own.
            kernel: of attention, if it is known.
            mix: None for batches of even lengths.
            read_ms: what the card's memory takes at least to read a token's KV.
            otherwise: what steps lack whose batch and context were measured.
        """
        self._graph_sizes = sorted(graph_sizes)
        self._otherwise = otherwise
        self._kernel = kernel
        self._mix = mix
        measured = decode_curves(points)
        self.batches = sorted(measured)
        self.context_ms = _context_ms(measured)
        self.block_ms = _block_ms(measured, kernel) if kernel else 0.0
        self._curves = {batch: self._without_attention(batch, curve) for batch, curve in measured.items()}
        self._measured_to = {batch: curve.context_tokens[-1] for batch, curve in measured.items()}
        self._served_to = _served_to(points)
        self._least_context = min((c.context_tokens[0] / b for b, c in measured.items()), default=0.0)
        self._limits = Limits.of(measured, self.context_ms, read_ms)
        self._lines: dict[int, tuple[list[int], list[DecodeLine]]] = {}

    def line(self, batch: int, context_tokens: int) -> DecodeLine:
        """The line that holds for `batch` decodes (at least one) whose contexts add up to `context_tokens`."""
        limits, lines = self._lines.get(batch) or self._make_lines(batch)
        return lines[bisect_right(limits, context_tokens)]

    def rest_ms(self, batch: int) -> float:
        """Milliseconds of a step of a mix that are not attention."""
        return float(sum(share * curve.step_ms[0] for curve, share in self._rest(batch)))

    def even_ms(self, batch: int, context_tokens: float) -> float:
        """Milliseconds of a step of even lengths; beyond the measured contexts the curves' ends go on."""
        at = np.array([float(context_tokens)])
        rest = sum(share * curve.at(at)[0] for curve, share in self._rest(batch))
        return float(rest) + self._even_attention_ms(batch, context_tokens)

    def _even_attention_ms(self, batch: int, context_tokens: float) -> float:
        return self.block_ms * self._kernel.blocks(even_contexts(batch, context_tokens)) if self._kernel else 0.0

    def _without_attention(self, batch: int, curve: DecodeCurve) -> DecodeCurve:
        """What remains of measured times.

        It is the work that does not depend on the context. Where it seems to, what was taken off is a little wrong for
        even lengths: right for them if they are asked for, else averaged out, by squared relative errors.
        """
        if not self._kernel:
            return curve
        contexts = curve.context_tokens
        blocks = np.array([self._kernel.blocks(even_contexts(batch, context)) for context in contexts])
        rest_ms = curve.step_ms - self.block_ms * blocks
        if self._mix:
            return DecodeCurve(contexts[:1], np.array([np.average(rest_ms, weights=blocks**-2.0)]))
        ends = np.concatenate([contexts[:1] / 2, contexts, contexts[-1:] * 2])
        return DecodeCurve(ends, np.concatenate([rest_ms[:1], rest_ms, rest_ms[-1:]]))

    def _attention(self, batch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Total contexts, ascending, and milliseconds of attention there; empty where the kernel is not known."""
        if not self._kernel:
            return np.empty(0), np.empty(0)
        if self._mix:
            curve = mixed_blocks(self._kernel, self._mix, batch)
            return curve.context_tokens, curve.blocks * self.block_ms
        measured = [curve.context_tokens for curve, _ in self._rest(batch)]
        # Blocks go up in steps, which two contexts close to one another would take for a slope.
        contexts = measured[0] if batch in self._curves else _apart(np.concatenate(measured), BLOCK_TOKENS * batch)
        return contexts, np.array([self._even_attention_ms(batch, context) for context in contexts])

    def _make_lines(self, batch: int) -> tuple[list[int], list[DecodeLine]]:
        """Step times of `batch` as integer lines, one a piece, and the contexts at which all but the last end.

        Below the measured contexts the first piece goes on, within the limits of what was not measured. That counts as
        measured down to the least context a request that any batch size was measured with, since step time was seen to
        be linear there. Above them the last piece would go on with a slope between two points, so the limits say how.
        """
        curves = self._rest(batch)
        contexts, attention_ms = self._attention(batch)
        knots = np.unique(np.concatenate([*(curve.context_tokens for curve, _ in curves), contexts]).round())
        step_ms = sum((share * curve.at(knots) for curve, share in curves), np.zeros(knots.shape))
        if contexts.size:
            step_ms = rising(step_ms + DecodeCurve(contexts, attention_ms).at(knots))
        if knots.size == 1:  # nothing tells what context costs up to the one that was measured
            knots, step_ms = np.append(knots, knots * 2), np.append(step_ms, step_ms)
        made = self._pieces(batch, knots, step_ms)
        self._lines[batch] = [line.limit_tokens for line in made[:-1]], made
        return self._lines[batch]

    def _pieces(self, batch: int, knots: NDArray[np.float64], step_ms: NDArray[np.float64]) -> list[DecodeLine]:
        low, high = self._measured(batch)
        is_batch_measured = self.batches[0] <= batch <= self.batches[-1]
        limits = [limit for limit in (round(knot) + 1 for knot in knots[1:-1]) if limit <= high]
        limits = sorted({low, high + 1, *limits})
        made: list[DecodeLine] = []
        for start, limit in zip([0, *limits[:-1]], limits, strict=True):
            piece = int(np.clip(np.searchsorted(knots, start) - 1, 0, knots.size - 2))
            line = DecodeLine(*_line(knots, step_ms, piece), limit, self._otherwise)
            if is_batch_measured and low <= start <= high:
                made.append(line)
                continue
            line = line._replace(outside="context" if is_batch_measured else "batch")
            made.append(line if start < low else self._limits.above(line, batch, start, made[-1]))
        first = limits.index(low)
        made.append(self._limits.beyond(made[-1], batch, made[min(first + 1, len(made) - 1)], low))
        for i in range(first, -1, -1):
            made[i] = self._limits.below(made[i], batch, made[i - 1].limit_tokens if i else 0, made[i + 1])
        return made

    def _measured(self, batch: int) -> tuple[int, int]:
        """Least and most total context that was measured with the batch sizes that `batch` is interpolated from."""
        steady = min(self._measured_to[b] for b, _ in self._parts(batch)) * self._times_largest(batch)
        served = (most for b, most in self._served_to.items() if abs(b - batch) <= batch * NEIGHBOURS)
        return max(1, int(self._least_context * batch)), round(max(steady, max(served, default=0.0)))

    def _times_largest(self, batch: int) -> float:
        """How many times as large as the largest batch measured; 1 for one that is not larger."""
        return max(1.0, batch / self.batches[-1])

    def _rest(self, batch: int) -> list[tuple[DecodeCurve, float]]:
        """Curves without attention that a batch size is interpolated from, with their shares."""
        factor = self._times_largest(batch)
        return [(self._curves[b].of_more(factor), share) for b, share in self._parts(batch)]

    def _parts(self, batch: int) -> list[tuple[int, float]]:
        """Measured batch sizes that `batch` is interpolated from, with their shares."""
        measured = self.batches
        i = bisect_left(measured, batch)
        if i < len(measured) and measured[i] == batch:
            return [(batch, 1.0)]
        if i == 0:
            return [(measured[0], 1.0)]
        if i == len(measured):
            return [(measured[-1], 1.0)]
        below, above = measured[i - 1], measured[i]
        graph = self._graph(batch)
        if self._graph(above) == graph != self._graph(below):
            return [(above, 1.0)]
        if self._graph(below) == graph != self._graph(above):
            return [(below, 1.0)]
        share = (batch - below) / (above - below)
        return [(below, 1.0 - share), (above, share)]

    def _graph(self, batch: int) -> int:
        """The captured CUDA graph size that `batch` is padded to; a batch beyond them is its own size."""
        i = bisect_left(self._graph_sizes, batch)
        return self._graph_sizes[i] if i < len(self._graph_sizes) else batch


def _apart(contexts: NDArray[np.float64], least_tokens: int) -> NDArray[np.float64]:
    """Whole contexts, ascending, without those that follow another one closely: rounding would bend the line there."""
    whole = np.unique(contexts.round())
    return whole[np.diff(whole, prepend=-np.inf) >= least_tokens]


def _line(knots: NDArray[np.float64], step_ms: NDArray[np.float64], i: int) -> tuple[int, int]:
    """Base and slope in whole picoseconds of the piece from knot `i` to the next."""
    slope_ps = max(0, round((step_ms[i + 1] - step_ms[i]) * PS_PER_MS / (knots[i + 1] - knots[i])))
    return max(1, round(step_ms[i] * PS_PER_MS - slope_ps * knots[i])), slope_ps


def _context_ms(curves: dict[int, DecodeCurve]) -> float:
    slopes = [
        (curve.step_ms[-1] - curve.step_ms[0]) / (curve.context_tokens[-1] - curve.context_tokens[0])
        for curve in curves.values()
        if curve.context_tokens.size > 1
    ]
    return float(np.median(slopes)) if slopes else 0.0


def _block_ms(curves: dict[int, DecodeCurve], kernel: AttentionKernel) -> float:
    """Milliseconds a block of attention: the slope of measured times over blocks, batch sizes kept apart."""
    above = below = 0.0
    for batch, curve in curves.items():
        blocks = np.array([kernel.blocks(even_contexts(batch, context)) for context in curve.context_tokens])
        apart = blocks - blocks.mean()
        above += float(apart @ curve.step_ms)
        below += float(apart @ apart)
    return above / below if below else 0.0


def _served_to(points: list[DecodePoint]) -> dict[int, float]:
    """Most total context seen under traffic, by batch size."""
    most: dict[int, float] = {}
    for point in points:
        if point.lengths == "traffic":
            most[point.batch] = max(point.context_tokens, most.get(point.batch, 0.0))
    return most
