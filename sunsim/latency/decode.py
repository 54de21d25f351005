"""Decode step times of a profile: for each batch size a line over the total context.

Steady batches of even lengths say where the lines begin: over the batch size they are a staircase, since batches are
padded to captured sizes and matrix kernels have tiles. Where the attention kernel is known its part is taken off there,
and put back for the lengths that meet in the batches at hand (`sunsim.latency.attention`). Serving, where requests come
and go, differs from that by a little more, which the profile's own traffic says (`sunsim.latency.traffic`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import PS_PER_MS
from sunsim.latency.adapters import AdapterCost, at_random, in_turn
from sunsim.latency.attention import AttentionKernel, Grid, LengthMix, blocks, even_spans, mixed_blocks
from sunsim.latency.measured import DecodePoint, ServedLengths
from sunsim.latency.steady import Floats, StepLine, steady_lines, steady_points
from sunsim.latency.steps import DecodeLine, Outside
from sunsim.latency.traffic import TrafficFit

NEIGHBOURS = 1 / 10
"""Share of a batch size within which contexts seen with another one count as seen with it."""
SAMPLES, SWEEP_SAMPLES = 20, 6
ALONE = 3.5
"""As `sunsim.latency.attention.blocks` takes it, where no traffic says: found on an H100."""
TRIED = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""For the traffic to choose from; 1 is no faster alone than beside all others."""
FOREVER = 2**62
LEAST_MS = 1e-3
"""No step is shorter, whatever a profile says: as no measured one may be."""


class Attention(NamedTuple):
    """Attention taken off steady steps: `blocks` with this `alone`, milliseconds a block, and the rest by batch size."""

    alone: float
    block_ms: float
    rest_ms: dict[int, float]


class DecodeTimes:
    """Step times by batch size and total context.

    Between two measured batch sizes that are padded to the same captured CUDA graph a step takes as long as with the
    measured one. A larger batch than any measured takes as many times as long as it is larger than the largest, at the
    same context a request; its attention is that of its own lengths where the kernel is known. Beyond the measured
    contexts a token of context never takes less than the card's memory takes to read its KV.

    Attributes:
        batches: measured at several contexts, ascending.
        adapter_cost: what LoRA adapters cost.
        traffic: how serving differs, if that is known.
    """

    def __init__(
        self,
        points: list[DecodePoint],
        graph_sizes: list[int],
        kernel: AttentionKernel | None = None,
        mix: LengthMix | None = None,
        traffic: TrafficFit | None = None,
        read_ms: float = 0.0,
        otherwise: Outside | None = None,
        shares: Sequence[float] | None = None,
        max_loras: int = 0,
    ) -> None:
        """What the steps are made from.

        Args:
            points: measured.
            graph_sizes: batch sizes with a captured graph of their own.
            kernel: of attention, if it is known.
            mix: whose lengths meet in the batches; None for batches of even lengths.
            traffic: how serving differs, as `fit` says; None if that is not known.
            read_ms: what the card's memory takes at least to read a token's KV.
            otherwise: what steps lack whose batch and context were measured.
            shares: of the requests that use each LoRA adapter; None for those of the profile, in turn.
            max_loras: adapters that were measured; 0 for a profile without.
        """
        self._graph_sizes = sorted(graph_sizes)
        self._otherwise = otherwise
        self._read_ms = read_ms
        self._kernel = kernel
        self._mix = mix
        self._steady = steady_lines(points)
        self.batches = sorted(self._steady)
        self._spans = self._even_spans(points)
        self._least_ms = min((line.base_ms for line in self._steady.values()), default=0.0)
        self._least_context = min((line.from_tokens / b for b, line in self._steady.items()), default=0.0)
        self._served = [point for point in points if point.lengths == "traffic"]
        self._served_to = _served_to(self._served)
        self.traffic = traffic
        self._attention = self._attention_apart(self.traffic.alone if self.traffic else ALONE)
        rest_ms = self._attention.rest_ms or {batch: line.base_ms for batch, line in self._steady.items()}
        self.adapter_cost = AdapterCost.of(rest_ms, max_loras)
        self._distinct = at_random(shares) if shares else in_turn(max_loras, mix.output_tokens) if mix else None
        self._lines: dict[int, tuple[DecodeLine, DecodeLine, DecodeLine]] = {}

    def line(self, batch: int, context_tokens: int) -> DecodeLine:
        """The line that holds for `batch` decodes (at least one) whose contexts add up to `context_tokens`."""
        below, inside, above = self._lines.get(batch) or self._make_lines(batch)
        if context_tokens < below.limit_tokens:
            return below
        return inside if context_tokens < inside.limit_tokens else above

    def token_ms(self, batch: int) -> float:
        """Milliseconds that a token of context adds to a step of `batch` decodes."""
        return self._step_line(batch)[1]

    def steady(self, batch: int) -> StepLine:
        """The line of a steady batch of even lengths."""
        factor = self._times_largest(batch)
        lines = [(self._steady[size], share) for size, share in self._parts(batch)]
        return StepLine(
            sum(line.base_ms * share for line, share in lines) * factor,
            sum(line.token_ms * share for line, share in lines),
            min(line.from_tokens for line, _ in lines),
            min(line.to_tokens for line, _ in lines) * factor,
        )

    def _even_spans(self, points: list[DecodePoint]) -> dict[int, tuple[Floats, NDArray[np.int64]]]:
        """Step times of each batch size in milliseconds, and the spans of its batches; none if the kernel is not known."""
        if not self._kernel:
            return {}
        return {
            batch: (step_ms, even_spans(self._kernel, batch, tuple(contexts.tolist())))
            for batch, (contexts, step_ms) in steady_points(points).items()
        }

    def _attention_apart(self, alone: float) -> Attention:
        """Taken off the steady steps.

        A block takes the slope of measured times over blocks, batch sizes kept apart. What remains is the work that does
        not depend on the context; where it seems to, what was taken off is a little wrong for even lengths, which is
        averaged out, by squared relative errors.
        """
        found = {batch: (step_ms, blocks(spans, alone)) for batch, (step_ms, spans) in self._spans.items()}
        above = sum(float((each - each.mean()) @ step_ms) for step_ms, each in found.values())
        below = sum(float(((each - each.mean()) ** 2).sum()) for _, each in found.values())
        block_ms = max(0.0, above / below) if below else 0.0
        rest_ms = {
            batch: max(0.0, float(np.average(step_ms - block_ms * each, weights=each**-2.0)))
            for batch, (step_ms, each) in found.items()
        }
        return Attention(alone, block_ms, rest_ms)

    def uncorrected_ms(
        self,
        batch: NDArray[np.int64],
        context_tokens: Floats,
        mixes: tuple[LengthMix, ...],
        mix: NDArray[np.int64],
        alone: float,
    ) -> Floats:
        """Milliseconds of steps of traffic as traffic does not correct them yet, float64[n].

        Args:
            batch, context_tokens: of each step, [n].
            mixes: that batches come from, and `mix`, which of them each step's does, int64[n].
            alone: to take attention off steady steps with.
        """
        attention = self._attention_apart(alone)
        sizes, at = np.unique(batch, return_inverse=True)
        lines = [self._mixed(size, mixes, attention, SWEEP_SAMPLES, Grid.COARSE) for size in sizes.tolist()]
        if self.adapter_cost.each_ms:
            turns = [in_turn(self.adapter_cost.measured, mix.output_tokens) for mix in mixes]
            for size, line in zip(sizes.tolist(), lines, strict=True):
                line[:, 0] += [self.adapter_cost.more_ms(size, distinct) for distinct in turns]
        ends = np.stack(lines)[at, mix]
        said_ms: Floats = ends[:, 0] + ends[:, 1] * context_tokens
        return said_ms

    def fit(self, served: Iterable[ServedLengths]) -> TrafficFit | None:
        """How the sweeps of traffic differ from batches of their requests; nothing of sweeps whose lengths are unknown.

        Args:
            served: lengths of the requests in the sweeps.
        """
        mixes = {each.traffic: LengthMix(tuple(each.prompt_tokens), tuple(each.output_tokens)) for each in served}
        known = [point for point in self._served if point.traffic in mixes]
        if not known:
            return None
        at = {name: i for i, name in enumerate(mixes)}
        batch = np.array([point.batch for point in known])
        context_tokens = np.array([point.context_tokens for point in known])
        mix = np.array([at[point.traffic or ""] for point in known])
        order = tuple(mixes.values())
        tried = TRIED if self._kernel else (ALONE,)
        said_ms = {alone: self.uncorrected_ms(batch, context_tokens, order, mix, alone) for alone in tried}
        return TrafficFit.of(known, said_ms)

    def _mixed(
        self, batch: int, mixes: tuple[LengthMix, ...], attention: Attention, samples: int, grid: Grid
    ) -> Floats:
        """Milliseconds of a step at no context, and a token of it, for batches of each mix; float64[mixes, 2]."""
        if not self._kernel:
            return np.array([self.steady(batch)[:2]] * len(mixes))
        rest_ms = sum(attention.rest_ms[size] * share for size, share in self._parts(batch))
        lines = attention.block_ms * mixed_blocks(self._kernel, mixes, batch, attention.alone, samples, grid)
        lines[:, 0] += rest_ms * self._times_largest(batch)
        return lines

    def _step_line(self, batch: int) -> tuple[float, float]:
        """Milliseconds of a step at no context, and a token of it."""
        if self._mix:
            base_ms, token_ms = self._mixed(batch, (self._mix,), self._attention, SAMPLES, Grid.FINE)[0].tolist()
            base_ms += self.adapter_cost.more_ms(batch, self._distinct) if self._distinct else 0.0
        else:
            base_ms, token_ms, *_ = self.steady(batch)
        if self.traffic and self._mix:
            base_ms += self.traffic.more_ms(batch)
            token_ms += self.traffic.token_ms
        return max(base_ms, self._least_ms, LEAST_MS), max(token_ms, 0.0)

    def _make_lines(self, batch: int) -> tuple[DecodeLine, DecodeLine, DecodeLine]:
        """Integer lines below, inside and above the measured contexts, which meet.

        They are one line, but that of a batch larger than any measured is flat below, so that it emits no more a second
        than was seen. Where nothing says what context costs, it costs nothing up to the one that was measured, and a
        step of more takes proportionally longer.
        """
        low, high = self._measured(batch)
        base_ms, token_ms = self._step_line(batch)
        slope_ps = round(token_ms * PS_PER_MS)
        base_ps = max(1, round(base_ms * PS_PER_MS))
        beyond_ps = max(slope_ps or -(-base_ps // high), round(self._read_ms * PS_PER_MS))
        is_measured = self.batches[0] <= batch <= self.batches[-1]
        outside: Outside = "context" if is_measured else "batch"
        self._lines[batch] = (
            DecodeLine(base_ps, slope_ps, low, outside)
            if batch <= self.batches[-1]
            else DecodeLine(base_ps + slope_ps * low, 0, low, outside),
            DecodeLine(base_ps, slope_ps, high + 1, self._otherwise if is_measured else outside),
            DecodeLine(base_ps - (beyond_ps - slope_ps) * high, beyond_ps, FOREVER, outside),
        )
        return self._lines[batch]

    def _measured(self, batch: int) -> tuple[int, int]:
        """Least and most total context that was measured with the batch sizes that `batch` is interpolated from.

        The least is that of any batch size, a request: step time was seen to be linear down to there.
        """
        served = [most for size, most in self._served_to.items() if abs(size - batch) <= batch * NEIGHBOURS]
        return max(1, int(self._least_context * batch)), round(max(self.steady(batch).to_tokens, *served, 0.0))

    def _times_largest(self, batch: int) -> float:
        """How many times as large as the largest batch measured; 1 for one that is not larger."""
        return max(1.0, batch / self.batches[-1])

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


def _served_to(traffic: list[DecodePoint]) -> dict[int, float]:
    """Most total context seen under traffic, by batch size."""
    most: dict[int, float] = {}
    for point in traffic:
        most[point.batch] = max(point.context_tokens, most.get(point.batch, 0.0))
    return most
