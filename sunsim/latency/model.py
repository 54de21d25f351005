"""Step times from a profile: interpolation between measured points, nothing else.

Decode: for each batch size measured, the time of a steady batch of even lengths is piecewise linear in the total
context. Between two measured batch sizes that are padded to the same captured CUDA graph it is linear in the batch; the
graph sizes make it a staircase. To this comes what serving adds at that batch size (`sunsim.latency.traffic`).

Prefill: a step's time is a piecewise linear function of its new tokens plus a term in the (query, key) pairs that
attention visits, fitted together to the measured points. A step that mixes decodes and chunks is taken as a prefill
step of all its tokens that also reads the decodes' KV, at the pace of decode steps, and never as shorter than the
decodes alone; ``pytest -rA tests/latency/test_model_lines.py -k mixed`` prints how far that is off.

What the host adds is kept apart (`sunsim.latency.host`): the simulated worker decides when it shows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import numpy as np

from sunsim.latency.curves import DecodeCurve, PrefillCurve, decode_curves, rising
from sunsim.latency.host import Launch, endless_stalls, lead_ms, split_by_lengths
from sunsim.latency.steps import Chunk, DecodeLine
from sunsim.latency.traffic import TrafficExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sunsim.latency.profile import Profile

PS_PER_MS = 10**9
FOREVER = 2**62


class LatencyModel:
    """Step times of one profile, for simulation (`StepTimes`, picoseconds) and for people (milliseconds).

    Attributes:
        frontend_out_ps: from the engine's token to the client, on an idle worker.
    """

    def __init__(self, profile: Profile) -> None:
        data = profile.data
        self._graph_sizes = data.cudagraph_capture_sizes
        self._curves = decode_curves(data.decode_points)
        self._batches = sorted(self._curves)
        self._least_context = min((c.context_tokens[0] / b for b, c in self._curves.items()), default=0.0)
        self._lines: dict[int, tuple[list[int], list[DecodeLine]]] = {}
        self._traffic = TrafficExtra(data.decode_points, self._even_ms)
        self._context_ms = _context_ms(self._curves)
        even_starts, served_starts = split_by_lengths(data.idle_starts)
        largest_graph = max(self._graph_sizes, default=0)
        self._prefill = PrefillCurve.fit(data.prefill_points)
        if even_starts and self._batches:
            self._prefill = self._prefill.on_gpu(
                Launch(even_starts, largest_graph).ms,
                lambda tokens: self._even_ms(tokens, tokens),
                self._batches[-1],
            )
        self._launch = Launch(served_starts, largest_graph)
        decodes = [point for point in even_starts if not point.chunk_tokens]
        chunks = [point for point in even_starts if point.chunk_tokens > largest_graph]
        self._decode_lead_ms = lead_ms(decodes, lambda p: self._even_ms(p.batch, p.context_tokens))
        self._chunk_lead_ms = lead_ms(chunks, lambda p: self._prefill_ms([Chunk(p.chunk_tokens, 0)]))
        self._host_stalls = data.host_stalls
        idle = [p for p in data.first_token_points if p.where == "idle"]
        self._in_ms, self._in_ms_per_token = _frontend_line(
            [(p.prompt_tokens, p.submit_to_queued_ms.median + p.queued_to_scheduled_ms.median) for p in idle]
        )
        out_ms = float(np.median([p.first_token_to_client_ms.median for p in idle])) if idle else 0.0
        self.frontend_out_ps = round(out_ms * PS_PER_MS)

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        """The line that holds for `batch` decodes (at least one) whose contexts add up to `context_tokens`."""
        limits, lines = self._lines.get(batch) or self._make_lines(batch)
        return lines[bisect_right(limits, context_tokens)]

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, bool]:
        """Time of a step of `batch` decodes and at least one prefill chunk, and whether it lies in the measured range."""
        tokens = batch + sum(chunk.tokens for chunk in chunks)
        step_ms = self._prefill_ms(chunks, batch) + self._context_ms * context_tokens
        if batch:
            step_ms = max(step_ms, self.decode_step_ms(batch, context_tokens))
        return max(1, round(step_ms * PS_PER_MS)), self._prefill.covers(tokens)

    def launch_ps(self, chunk_tokens: int) -> int:
        """The host's time to launch a step whose chunks have so many tokens in all; 0 for decodes alone."""
        return round(self._launch.ms(chunk_tokens) * PS_PER_MS)

    def lead_ps(self, chunk_tokens: int) -> int:
        """From the decision for such a step until a free GPU can start it."""
        return round((self._chunk_lead_ms if chunk_tokens else self._decode_lead_ms) * PS_PER_MS)

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        """When the host stalls and for how long, in picoseconds; `offset` in [0, 1) tells workers apart."""
        return endless_stalls(self._host_stalls, offset)

    def frontend_in_ps(self, prompt_tokens: int) -> int:
        """From a request's submission until an idle worker's scheduler has it: a line through the measured medians."""
        return round((self._in_ms + self._in_ms_per_token * prompt_tokens) * PS_PER_MS)

    def decode_step_ms(self, batch: int, context_tokens: int) -> float:
        """Time of a decode step in milliseconds."""
        line = self.decode_line(batch, context_tokens)
        return (line.base_ps + line.slope_ps * context_tokens) / PS_PER_MS

    def prefill_step_ms(self, prompt_tokens: int, prompts: int = 1) -> float:
        """Time in milliseconds of a step that prefills `prompts` prompts of `prompt_tokens` each."""
        return self.chunked_step(0, 0, [Chunk(prompt_tokens, 0)] * prompts)[0] / PS_PER_MS

    def _prefill_ms(self, chunks: list[Chunk], decodes: int = 0) -> float:
        """Milliseconds of a step begun on a busy worker, its decodes counted as tokens without context."""
        pairs = sum(chunk.tokens * chunk.before + chunk.tokens * (chunk.tokens + 1) // 2 for chunk in chunks)
        return self._prefill.step_ms(decodes + sum(chunk.tokens for chunk in chunks), pairs)

    def _even_ms(self, batch: int, context_tokens: float) -> float:
        """Milliseconds of a decode step of even lengths, the curves' ends going on."""
        at = np.array([context_tokens])
        return float(sum(share * self._curves[b].at(at)[0] for b, share in self._parts(batch)))

    def _make_lines(self, batch: int) -> tuple[list[int], list[DecodeLine]]:
        """Step times of `batch` as integer lines, one a piece, and the contexts at which all but the last end.

        The end pieces go on beyond the measured contexts. Below them that counts as measured down to the least context
        a request that any batch size was measured with, since step time was seen to be linear there; above it does not.
        """
        curves = [(self._curves[b], share) for b, share in self._parts(batch)]
        traffic_tokens, extra_ms = self._traffic.at(batch)
        # One more knot far out, so that the even curve's slope alone goes on beyond the traffic's contexts.
        beyond = traffic_tokens[-1:] * 2
        knots = np.concatenate([*(curve.context_tokens for curve, _ in curves), traffic_tokens, beyond])
        knots = np.unique(knots.round())
        high = max(min(curve.context_tokens[-1] for curve, _ in curves), self._traffic.reach(batch))
        step_ms = sum((share * curve.at(knots) for curve, share in curves), np.zeros(knots.shape))
        if extra_ms.size:
            step_ms = rising(step_ms + np.interp(knots, traffic_tokens, extra_ms))
        batch_measured = self._batches[0] <= batch <= self._batches[-1]
        low = int(self._least_context * batch)
        made = []
        if knots.size == 1:
            base_ps = round(step_ms[0] * PS_PER_MS)
            made = [DecodeLine(base_ps, 0, FOREVER, measured=False)]
        else:
            pieces = [_line(knots, step_ms, i) for i in range(knots.size - 1)]
            ends = [round(knot) for knot in knots[1:]]
            if low < round(knots[0]):
                made.append(DecodeLine(*pieces[0], max(low, 1), measured=False))
            for piece, end in zip(pieces, ends, strict=True):
                made.append(DecodeLine(*piece, end + 1, measured=bool(batch_measured and end <= high + 1)))
            made.append(DecodeLine(*pieces[-1], FOREVER, measured=False))
        self._lines[batch] = [line.limit_tokens for line in made[:-1]], made
        return self._lines[batch]

    def _parts(self, batch: int) -> list[tuple[int, float]]:
        """Measured batch sizes that `batch` is interpolated from, with their shares."""
        measured = self._batches
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


def _line(knots: NDArray[np.float64], step_ms: NDArray[np.float64], i: int) -> tuple[int, int]:
    """Base and slope in whole picoseconds of the piece from knot `i` to the next."""
    slope_ps = max(0, round((step_ms[i + 1] - step_ms[i]) * PS_PER_MS / (knots[i + 1] - knots[i])))
    return max(1, round(step_ms[i] * PS_PER_MS - slope_ps * knots[i])), slope_ps


def _context_ms(curves: dict[int, DecodeCurve]) -> float:
    """Milliseconds that a token of decode context adds to a step: the median slope over the batch sizes measured."""
    slopes = [
        (curve.step_ms[-1] - curve.step_ms[0]) / (curve.context_tokens[-1] - curve.context_tokens[0])
        for curve in curves.values()
        if curve.context_tokens.size > 1
    ]
    return float(np.median(slopes)) if slopes else 0.0


def _frontend_line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Intercept and slope, neither negative, of delays in milliseconds over prompt tokens; zero without points."""
    if len({tokens for tokens, _ in points}) < 2:
        return (points[0][1], 0.0) if points else (0.0, 0.0)
    tokens, delay_ms = np.array(points, dtype=np.float64).T
    slope, intercept = np.polyfit(tokens, delay_ms, 1)
    return max(0.0, float(intercept)), max(0.0, float(slope))
