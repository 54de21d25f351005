"""What the host adds to a worker's steps: launches that the GPU does not hide, pauses, and stalls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import PS_PER_MS, to_ps
from sunsim.latency.measured import FirstTokenPoint, HostStalls, IdleStart, ProfileData

HIDDEN_MS = 2.0
"""A step that outlasts its own launch by more than this was waiting for the GPU, not for the host."""

BAND = 16
"""Batch sizes whose ways out count together: the profiler's own bands."""

PAUSE_MS = 1.0
"""vLLM's engine sleeps so long after an output with no step behind it, before it looks for requests: `time.sleep(0.001)`
in ``EngineCoreProc._process_engine_step`` (vllm/v1/engine/core.py, vLLM 0.24), if requests are there. So it is the least
that those wait who came meanwhile; 1.5 to 1.9 were seen."""


def split_by_lengths(points: list[IdleStart]) -> tuple[list[IdleStart], list[IdleStart]]:
    """Launches of the same prompts over and over, and those that serving sees: of ever other prompts, where measured."""
    even = [point for point in points if point.lengths == "uniform"]
    traffic = [point for point in points if point.lengths == "traffic"]
    return even, [point for point in even if not (traffic and point.chunk_tokens)] + traffic


class Launch:
    """How long the host takes to decide and launch a step, in ms; always zero without any `idle_starts` in the profile.

    Steps of few tokens run as captured graphs, whose launch was seen to grow a little with the tokens; longer ones are
    launched kernel by kernel, in a time that does not depend on the tokens and spreads widely, by a fifth and more:
    single ones are those recorded, one after the other, over and over.
    """

    def __init__(self, points: list[IdleStart], largest_graph: int) -> None:
        """`largest_graph`: the most tokens that a captured graph is for."""
        prompts = [point for point in points if point.chunk_tokens]
        decodes = [point for point in points if not point.chunk_tokens]
        graphs = sorted(
            (point for point in prompts if point.chunk_tokens <= largest_graph), key=lambda point: point.chunk_tokens
        )
        eager = [point for point in prompts if point.chunk_tokens > largest_graph]
        self._largest_graph = largest_graph
        self._decode_ms = _mean(decodes)
        self._eager_ms = _mean(eager)
        self._graph_tokens = [point.chunk_tokens for point in graphs]
        self._graph_ms = [point.launch_ms_mean for point in graphs]
        self._shares = _shares(eager)

    def ms(self, tokens: int) -> float:
        """The mean for a step with prompts that computes so many tokens; 0 tokens: a decode step."""
        kind = self._kind(tokens)
        if kind == "graph":
            return float(np.interp(tokens, self._graph_tokens, self._graph_ms))
        return self._eager_ms if kind == "eager" else self._decode_ms

    def single_ms(self, tokens: int, nth: int) -> float:
        """That of the worker's launch number `nth`."""
        share = self._shares[nth % len(self._shares)] if self._kind(tokens) == "eager" else 1.0
        return self.ms(tokens) * share

    def _kind(self, tokens: int) -> str:
        if not tokens:
            return "decode"
        return "graph" if tokens <= self._largest_graph and self._graph_ms else "eager"


def _mean(points: list[IdleStart]) -> float:
    """Of the launches, each counted once, in milliseconds; 0 without any."""
    launches = [point.launch_ms_mean for point in points]
    counts = [len(point.launch_ms) or point.steps for point in points]
    return float(np.average(launches, weights=counts)) if points else 0.0


def _shares(points: list[IdleStart]) -> list[float]:
    """Single launches as shares of what is usual for their tokens, 1 in the mean; just 1 where none was recorded."""
    shares = [ms / point.launch_ms_mean for point in points for ms in point.launch_ms if point.launch_ms_mean]
    return [share / float(np.mean(shares)) for share in shares] if any(shares) else [1.0]


def lead_ms(points: list[IdleStart], busy_ms: Callable[[IdleStart], float]) -> float:
    """From the decision to compute a step until the GPU can begin it: the median over those that the GPU kept waiting.

    Args:
        points: steps begun on an idle worker.
        busy_ms: what such a step takes on a busy worker, in milliseconds.
    """
    waited = [point for point in points if point.step_ms_median > point.launch_ms_mean + HIDDEN_MS]
    leads = [point.step_ms_median - busy_ms(point) for point in waited]
    return max(0.0, float(np.median(leads))) if leads else 0.0


def tail_ms(points: list[IdleStart]) -> float:
    """From the end of a launch until the output is there at the earliest: the median over those that waited for no GPU.

    Args:
        points: steps with prompts, begun on an idle worker.
    """
    tails = [point.step_ms_mean - point.launch_ms_mean for point in points]
    launched = [tail for tail in tails if tail <= HIDDEN_MS]
    return max(0.0, float(np.median(launched))) if launched else 0.0


def pause_ms(data: ProfileData) -> float:
    """From an output with no step behind it until requests that wait for it are looked at.

    vLLM's own sleep where it was not measured; zero in a profile that says nothing of what a host takes.
    """
    if data.pauses:
        return float(np.median([pause.pause_ms_median for pause in data.pauses]))
    return PAUSE_MS if data.idle_starts else 0.0


@dataclass(frozen=True, slots=True)
class Delay:
    """``start_ms + per_ms * amount``, on beyond the amounts measured too: the slope is through all of them.

    Where they show no slope, the delay is flat up to the most measured and then proportional to the amount.
    """

    start_ms: float
    per_ms: float
    most: int

    @classmethod
    def through(cls, points: list[tuple[int, float]]) -> Delay:
        """The line of least squares through amounts and milliseconds, neither part negative; no delay without points."""
        if len({amount for amount, _ in points}) < 2:
            return cls(points[0][1] if points else 0.0, 0.0, points[0][0] if points else 1)
        amount, delay_ms = np.array(points, dtype=np.float64).T
        slope, intercept = np.polyfit(amount, delay_ms, 1)
        most = int(amount.max())
        is_rounding = slope * most * PS_PER_MS < 1  # less than a picosecond in all
        return cls(max(0.0, float(intercept)), 0.0 if is_rounding else float(slope), most)

    def ms(self, amount: int) -> float:
        """For at least 1."""
        if self.per_ms or amount <= self.most:
            return self.start_ms + self.per_ms * amount
        return self.start_ms * amount / self.most


@dataclass(frozen=True, slots=True)
class WayOut:
    """From a token of a decoding worker to the client, by how many requests decode: lines through what was measured.

    Attributes:
        batch, delay_ms: the knots, batches ascending from 0, an idle worker's, milliseconds never falling.
        per_ms: milliseconds a request beyond them: the slope through all of them. The way out itself is gone once.
    """

    batch: NDArray[np.float64]
    delay_ms: NDArray[np.float64]
    per_ms: float

    @classmethod
    def through(cls, idle_ms: float, points: list[FirstTokenPoint]) -> WayOut:
        """Of points in traffic, those of a band of `BAND` batch sizes together, each request counted once."""
        bands: dict[int, list[FirstTokenPoint]] = defaultdict(list)
        for point in points:
            bands[point.batch // BAND].append(point)
        knots = [(0.0, idle_ms)]
        for _, found in sorted(bands.items()):
            rows = [(point.batch, point.first_token_to_client_ms.median) for point in found]
            knots.append(tuple(np.average(rows, axis=0, weights=[point.requests for point in found]).tolist()))
        batch, delay_ms = np.array(knots).T
        above_ms = np.maximum(delay_ms - idle_ms, 0.0)
        per_ms = float(batch @ above_ms / (batch @ batch)) if batch.any() else 0.0
        return cls(batch, np.maximum.accumulate(idle_ms + above_ms), per_ms)

    def ps(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """Picoseconds, for each batch."""
        beyond = np.maximum(batch - self.batch[-1], 0.0)
        delay_ms = np.interp(batch, self.batch, self.delay_ms) + self.per_ms * beyond
        found: NDArray[np.int64] = np.rint(delay_ms * PS_PER_MS).astype(np.int64)
        return found


def endless_stalls(records: list[HostStalls], offset: float) -> Iterator[tuple[int, int]]:
    """(moment, length) of host stalls in picoseconds: those recorded, one record after the other, over and over.

    Args:
        records: as a profile has them; nothing comes of none.
        offset: where in the records time 0 lies, as a share of their length, from 0 to 1.
    """
    ends_s = [0.0, *accumulate(record.observed_s for record in records)]
    events = [
        (to_ps(begin_s + at_s), round(extra_ms * PS_PER_MS))
        for begin_s, record in zip(ends_s, records, strict=False)
        for at_s, extra_ms in record.stalls
    ]
    length_ps = to_ps(ends_s[-1])
    round_begin_ps = -round(offset * length_ps)
    while events:
        for at_ps, extra_ps in events:
            if round_begin_ps + at_ps >= 0:
                yield round_begin_ps + at_ps, extra_ps
        round_begin_ps += length_ps
