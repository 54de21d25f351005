"""Step times from a profile.

Decode: `sunsim.latency.decode`. Between two measured batch sizes that are padded to the same captured CUDA graph a step
takes as long as with the measured one; the graph sizes make it a staircase. Attention comes on top where its kernel is
known.

Prefill: a step's time is a piecewise linear function of its new tokens plus a term in the (query, key) pairs that
attention visits, fitted together to the measured points, and set right by the steps of traffic, as is that of a step that
mixes decodes and prompts (`sunsim.latency.chunked`). Such a step is never shorter than its decodes alone;
``pytest -rA tests/latency/test_model_lines.py -k mixed`` prints how far even prompts alone are off.

Beyond what was measured nothing gets cheaper: `sunsim.latency.curves.PrefillCurve` and `sunsim.latency.decode` say what
is assumed there. Every step says what of it was not measured, if anything.

In a profile with drafts a decode is of a request that computes several tokens: one request and its attention, which reads
the request's KV once, but several tokens of everything that goes by tokens.

What the host adds is kept apart (`sunsim.latency.host`): the simulated worker decides when it shows.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import PS_PER_MS
from sunsim.latency.arrivals import reading_ms
from sunsim.latency.attention import LengthMix, kernel_of
from sunsim.latency.chunked import ChunkedTimes
from sunsim.latency.curves import PrefillCurve
from sunsim.latency.decode import DecodeTimes
from sunsim.latency.host import Delay, Launch, WayOut, endless_stalls, lead_ms, pause_ms, split_by_lengths, tail_ms
from sunsim.latency.profile import Profile
from sunsim.latency.steps import Chunk, DecodeLine, Outside
from sunsim.latency.traffic import TrafficFit


class LatencyModel:
    """Step times of one profile, for simulation (`StepTimes`, picoseconds) and for people (milliseconds).

    Attributes:
        chunked: times of steps with prompts.
        adapter_cost: what LoRA adapters cost a decode step.
        traffic: how serving differs from what steady steps say; None if the profile does not say.
        prefill_out_ps: from the token of a prefill worker to the client: the mean over traffic's requests, and an idle
            worker's where there was none.
        pause_ps: from an output with no step behind it until the host looks for requests.
    """

    def __init__(
        self,
        profile: Profile,
        mix: LengthMix | None = None,
        adapters: tuple[float, ...] | None = None,
        plain: "LatencyModel | None" = None,
    ) -> None:
        """The model of a profile for one use of it.

        Args:
            profile: measured.
            mix: the requests whose lengths meet in decode batches; None for batches of even lengths.
            adapters: share of the requests that use each of those that a worker serves; None for those measured, in turn.
            plain: for a profile with drafts, the model of that without, if there is one.
        """
        data = profile.data
        self._width = width = 1 + profile.drafts
        sizes = data.cudagraph_capture_sizes
        self._otherwise: Outside | None = (
            "adapters" if adapters and len(adapters) > data.engine_args.max_loras else None
        )
        read_ms = data.kv_bytes_per_token / (data.memory_bandwidth_gb_s * 1e6) if data.memory_bandwidth_gb_s else 0.0
        self.traffic = traffic_fit(profile)
        self._decode = DecodeTimes(
            data.decode_points,
            graphs_of_requests(profile),
            kernel_of(data),
            mix,
            self.traffic,
            read_ms,
            self._otherwise,
            adapters,
            loras_of(profile),
        )
        self.adapter_cost = self._decode.adapter_cost
        even_starts, served_starts = split_by_lengths(data.idle_starts)
        largest_graph = max(sizes, default=0)
        self._even = PrefillCurve.fit(data.prefill_points)
        if even_starts and self._decode.batches:
            self._even = self._even.on_gpu(
                Launch(even_starts, largest_graph).ms,
                lambda tokens: self._decode.steady(-(-tokens // width)).ms(tokens),
                self._decode.batches[-1] * width,
            )
        self._launch = Launch(served_starts, largest_graph)
        decodes = [point for point in even_starts if not point.chunk_tokens and self._decode.batches]
        chunks = [point for point in even_starts if point.chunk_tokens > largest_graph and data.prefill_points]
        self._decode_lead_ms = lead_ms(decodes, lambda p: self._decode.steady(p.batch).ms(p.context_tokens))
        self._chunk_lead_ms = lead_ms(chunks, lambda p: self._even.step_ms(p.chunk_tokens, _pairs(p.chunk_tokens, 0)))
        self._chunk_tail_ms = tail_ms([point for point in even_starts if point.chunk_tokens])
        self.pause_ps = round(pause_ms(data) * PS_PER_MS)
        self.chunked: ChunkedTimes = ChunkedTimes(
            self._even,
            self._decode,
            data.prefill_points,
            data.mixed_points,
            self._launch,
            self._chunk_lead_ms,
            width,
            plain.chunked.beside if plain else None,
        )
        self._reading_ms = reading_ms(data.arrival_points, self._decode_lead_ms)
        self._host_stalls = data.host_stalls
        idle = [p for p in data.first_token_points if p.where == "idle"]
        self._in = Delay.through(
            [(p.prompt_tokens, p.submit_to_queued_ms.median + p.queued_to_scheduled_ms.median) for p in idle]
        )
        out_ms = float(np.median([p.first_token_to_client_ms.median for p in idle])) if idle else 0.0
        self._out = WayOut.through(out_ms, [p for p in data.first_token_points if p.where == "traffic"])
        prompts = [p for p in data.first_token_points if p.where == "prefill"]
        if prompts:
            delays_ms = [p.first_token_to_client_ms.median for p in prompts]
            out_ms = float(np.average(delays_ms, weights=[p.requests for p in prompts]))
        self.prefill_out_ps = round(out_ms * PS_PER_MS)

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        """The line that holds for `batch` decodes (at least one) whose contexts add up to `context_tokens`."""
        return self._decode.line(batch, context_tokens)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        """Time of a step of `batch` decodes and at least one prefill chunk, and what of it was not measured."""
        return self._chunked(batch, context_tokens, batch * self._width, chunks)

    def step_with_drafts(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        """Like `chunked_step`, but chunks of one token are requests that enter with their prompt's KV there.

        They compute no drafts, so the step has no CUDA graph of its whole. It takes as long as one of decodes that have them,
        which is how profiles count them.
        """
        prompts = [chunk for chunk in chunks if chunk.tokens > 1]
        entering = [before + 1 for tokens, before in chunks if tokens == 1]
        decodes, context_tokens = batch + len(entering), context_tokens + sum(entering)
        if prompts:
            return self._chunked(decodes, context_tokens, batch * self._width + len(entering), prompts)
        base_ps, slope_ps, _, outside = self._decode.line(decodes, context_tokens)
        return base_ps + slope_ps * context_tokens, outside

    def _chunked(self, batch: int, context_tokens: int, tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        """Of a step of prompts and decodes that compute so many tokens."""
        pairs, longest = 0, 0
        for new, before in chunks:
            tokens += new
            pairs += _pairs(new, before)
            longest = max(longest, new + before)
        step_ms = self.chunked.ms(batch, context_tokens, tokens, pairs)
        outside = self._even.outside(tokens, pairs, longest) or self._otherwise
        if batch:
            outside = self._decode.line(batch, context_tokens).outside or outside
        return max(1, round(step_ms * PS_PER_MS)), outside

    def launch_ps(self, tokens: int, nth: int) -> int:
        """The host's time to launch a step that computes so many tokens, its `nth`; 0 tokens: decodes alone."""
        return round(self._launch.single_ms(tokens, nth) * PS_PER_MS)

    def lead_ps(self, tokens: int) -> int:
        """From the decision for such a step until a free GPU can start it."""
        return round((self._chunk_lead_ms if tokens else self._decode_lead_ms) * PS_PER_MS)

    def tail_ps(self, tokens: int) -> int:
        """From the end of such a step's launch until its output is there at the earliest."""
        return round(self._chunk_tail_ms * PS_PER_MS) if tokens else 0

    def take_in_ps(self, prompt_tokens: int) -> int:
        """How long the host is kept from deciding by requests whose KV has come from elsewhere; of so many tokens."""
        return round(self._reading_ms * prompt_tokens * PS_PER_MS)

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        """When the host stalls and for how long, in picoseconds; `offset` in [0, 1) tells workers apart."""
        return endless_stalls(self._host_stalls, offset)

    def frontend_in_ps(self, prompt_tokens: int) -> int:
        """From a request's submission until an idle worker's scheduler has it: a line through the measured medians."""
        return round(self._in.ms(prompt_tokens) * PS_PER_MS)

    def out_ps(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """From a token of a decoding worker to the client, where so many requests decode: it hands them out in turn."""
        return self._out.ps(batch)

    def decode_step_ms(self, batch: int, context_tokens: int) -> float:
        """Time of a decode step in milliseconds."""
        line = self.decode_line(batch, context_tokens)
        return (line.base_ps + line.slope_ps * context_tokens) / PS_PER_MS

    def prefill_step_ms(self, prompt_tokens: int, prompts: int = 1) -> float:
        """Time in milliseconds of a step that prefills `prompts` prompts of `prompt_tokens` each."""
        return self.chunked_step(0, 0, [Chunk(prompt_tokens, 0)] * prompts)[0] / PS_PER_MS


@lru_cache(maxsize=64)
def traffic_fit(profile: Profile) -> TrafficFit | None:
    """How serving differs from what the profile's steady steps say; None if it does not say."""
    data = profile.data
    times = DecodeTimes(data.decode_points, graphs_of_requests(profile), kernel_of(data), max_loras=loras_of(profile))
    return times.fit(data.served_lengths)


def graphs_of_requests(profile: Profile) -> list[int]:
    """How many requests that decode each captured CUDA graph is for; 0 where it has not the tokens of one."""
    return [tokens // (1 + profile.drafts) for tokens in profile.data.cudagraph_capture_sizes]


def loras_of(profile: Profile) -> int:
    """Adapters that a profile was measured with."""
    return profile.data.engine_args.max_loras if profile.adapters else 0


@lru_cache(maxsize=64)
def latency_model(
    profile: Profile, mix: LengthMix, adapters: tuple[float, ...] | None, plain: LatencyModel | None = None
) -> LatencyModel:
    """The one model of a profile for one use of it: its tables are filled as they are used."""
    return LatencyModel(profile, mix, adapters, plain)


def _pairs(new: int, before: int) -> int:
    """(query, key) pairs that attention visits for so many new tokens of a prompt, and those computed before."""
    return new * before + new * (new + 1) // 2
