"""Steps that compute prompts: the curve of even prompts, set right by the steps that serving had.

Prompts of one length over and over are computed in other times than those that traffic brings: kernels' tiles are filled
otherwise, the card is colder, and decodes beside them read the cache meanwhile. By how much is averaged over the
profile's steps of traffic of about one size, and goes along straight lines from size to size; apart for prompts alone and
for prompts beside decodes. Without steps of traffic, even prompts are all there is.

What even prompts say of decodes beside them is a prefill step of all tokens that also reads the decodes' KV, at the pace
of decode steps.

With drafts a decode takes more than its tokens do in a prompt, since the model says something after each and drafts follow:
`BesideDrafts` learns by how much. What serving takes off prompts beside decodes is then that of the profile without
drafts: traffic with drafts was seen beside many decodes only, where the two cannot be told apart.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import PS_PER_MS
from sunsim.latency.curves import NoPrefill, PrefillCurve
from sunsim.latency.decode import DecodeTimes
from sunsim.latency.host import HIDDEN_MS, Launch
from sunsim.latency.measured import MixedPoint, PrefillPoint

LEAST_STEPS = 5
"""Fewer of a size say more about themselves than about their size."""

Floats = NDArray[np.float64]

FADED = 2**0.25
"""So many times as large or small as an outer knot what it takes off has faded: where its half power of two ends."""


class Seen(NamedTuple):
    """Steps of traffic of about one size: their tokens, what is said of them and what they took (ms), how many, decodes."""

    tokens: int
    said_ms: float
    took_ms: float
    steps: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Correction:
    """``served_ms = said_ms + extra_ms(tokens)``: straight lines between the knots.

    Beyond the outer ones what they add goes on, but what they take off fades. There may be no knots for small steps, as most
    of these wait for their launch and tell nothing of the GPU.

    Attributes:
        tokens, extra_ms: the knots, ascending; none where there was no traffic.
        error: of the steps of traffic behind the knots without it, relative: below 0 if too short is said.
    """

    tokens: Floats
    extra_ms: Floats
    error: float = 0.0
    _known: dict[int, float] = field(default_factory=dict, init=False, repr=False)  # milliseconds, as asked for

    @classmethod
    def of(cls, seen: Iterable[Seen]) -> Correction:
        """A knot for each half power of two that has steps enough: the means over them."""
        sizes: dict[int, list[Seen]] = defaultdict(list)
        for each in seen:
            sizes[round(2 * math.log2(each.tokens))].append(each)
        means = [_means(found) for _, found in sorted(sizes.items())]
        knots = [knot for knot in means if knot[-1] >= LEAST_STEPS]
        columns = np.array(knots, dtype=np.float64).reshape(-1, 4).T
        tokens, said_ms, took_ms, steps = columns
        error = float(steps @ said_ms / (steps @ took_ms)) - 1 if knots else 0.0
        return cls(tokens, took_ms - said_ms, error)

    def ms(self, said_ms: float, tokens: int) -> float:
        """What serving takes: something, whatever is taken off."""
        if not self.tokens.size:
            return said_ms
        extra_ms = self._known.get(tokens)
        if extra_ms is None:
            first, last = self.tokens[0], self.tokens[-1]
            at = [first / FADED, *self.tokens, last * FADED]
            ends_ms = np.maximum(0.0, self.extra_ms[[0, -1]])
            extra_ms = float(np.interp(tokens, at, [ends_ms[0], *self.extra_ms, ends_ms[1]]))
            self._known[tokens] = extra_ms
        return max(said_ms / 2, said_ms + extra_ms)

    def share_ms(self, tokens: int) -> float:
        """What serving adds to steps whose sizes it has not seen as well: below the first knot in proportion to the tokens."""
        return float(np.interp(tokens, [0.0, *self.tokens], [0.0, *self.extra_ms]))


@dataclass(frozen=True, slots=True)
class BesideDrafts:
    """``served_ms = said_ms + prompts.share_ms(tokens) + decode_ms * batch`` of steps with prompts and decodes with drafts.

    Attributes:
        prompts: how serving differs beside decodes without drafts.
        decode_ms: what a decode takes beyond its tokens.
    """

    prompts: Correction
    decode_ms: float

    @classmethod
    def of(cls, seen: Iterable[Seen], prompts: Correction) -> BesideDrafts:
        """A decode's part as fits the steps of traffic best, by least squares; nothing without any."""
        found = list(seen)
        square = sum(each.steps * each.batch**2 for each in found)
        left = sum(
            each.steps * each.batch * (each.took_ms - each.said_ms - prompts.share_ms(each.tokens)) for each in found
        )
        return cls(prompts, left / square if square else 0.0)

    def ms(self, said_ms: float, batch: int, tokens: int) -> float:
        """What serving takes: something, whatever is taken off."""
        return max(said_ms / 2, said_ms + self.prompts.share_ms(tokens) + self.decode_ms * batch)


def _means(seen: Sequence[Seen]) -> tuple[float, ...]:
    """Tokens, what was said and what it took, each step counted once; and the number of steps."""
    steps = np.array([each.steps for each in seen], dtype=np.float64)
    rows = np.array([each[:3] for each in seen], dtype=np.float64)
    return (*(steps @ rows / steps.sum()).tolist(), float(steps.sum()))


class ChunkedTimes:
    """Step times with prompts in them.

    Attributes:
        alone: how serving differs where only prompts are computed; `beside`: where there are decodes too.
        drafting: the latter where decodes have drafts; None without.
    """

    def __init__(
        self,
        even: PrefillCurve | NoPrefill,
        decode: DecodeTimes,
        prefill: Sequence[PrefillPoint],
        mixed: Sequence[MixedPoint],
        launch: Launch,
        lead_ms: float,
        width: int = 1,
        plain: Correction | None = None,
    ) -> None:
        """The curve set right by the steps of traffic among the points, where these waited for the GPU.

        Args:
            even: the curve of even prompts.
            decode: times of decodes alone.
            prefill, mixed: measured.
            launch: of what serving sees.
            lead_ms: from the decision for a step until a free GPU can begin it.
            width: tokens that a decode computes.
            plain: with drafts, how serving differs beside decodes without; None where that is not known.
        """
        self._width = width
        self._even = even
        self._decode = decode
        can_prefill = isinstance(even, PrefillCurve)
        self.alone = Correction.of(self._seen_alone(prefill, launch, lead_ms) if can_prefill else ())
        seen = list(self._seen_beside(mixed, launch)) if can_prefill and decode.batches else []
        self.beside = Correction.of(seen)
        self.drafting = BesideDrafts.of(seen, plain or Correction.of(())) if width > 1 else None

    def ms(self, batch: int, context_tokens: int, tokens: int, pairs: int) -> float:
        """Of a step of so many decodes, with their context, and prompts; `tokens` and `pairs` are those of all."""
        said_ms = self.even_ms(batch, context_tokens, tokens, pairs)
        if not batch:
            return self.alone.ms(said_ms, tokens)
        drafting = self.drafting
        served_ms = drafting.ms(said_ms, batch, tokens) if drafting else self.beside.ms(said_ms, tokens)
        return max(served_ms, self._decode_ms(batch, context_tokens))

    def even_ms(self, batch: int, context_tokens: float, tokens: int, pairs: float) -> float:
        """What even prompts say of such a step."""
        reading_ms = self._decode.token_ms(batch) * context_tokens if batch else 0.0
        return self._even.step_ms(tokens, pairs) + reading_ms

    def _decode_ms(self, batch: int, context_tokens: float) -> float:
        base_ps, slope_ps, _, _ = self._decode.line(batch, round(context_tokens))
        return (base_ps + slope_ps * context_tokens) / PS_PER_MS

    def _seen_alone(self, points: Sequence[PrefillPoint], launch: Launch, lead_ms: float) -> Iterator[Seen]:
        for point in points:
            if point.lengths != "traffic":
                continue
            said_ms = self.even_ms(0, 0, point.new_tokens, point.attended_pairs)
            if not point.idle_start:
                yield Seen(point.new_tokens, said_ms, point.step_ms_mean, point.steps)
            elif _waited(point.step_ms_p10, launch.ms(point.new_tokens)):
                yield Seen(point.new_tokens, said_ms, point.step_ms_mean - lead_ms, point.steps)

    def _seen_beside(self, points: Sequence[MixedPoint], launch: Launch) -> Iterator[Seen]:
        for point in points:
            if point.lengths != "traffic":
                continue
            tokens = point.batch * self._width + point.chunk_tokens
            said_ms = self.even_ms(point.batch, point.context_tokens, tokens, point.pairs)
            before_ms = point.decode_steps_before * self._decode_ms(point.batch, point.context_tokens)
            if not before_ms or _waited(point.step_ms_p10, launch.ms(tokens)):
                yield Seen(tokens, said_ms, point.step_ms_mean - before_ms, point.steps, point.batch)


def _waited(step_ms: float, launch_ms: float) -> bool:
    """Whether steps waited for the GPU, not for their launch."""
    return step_ms > launch_ms + HIDDEN_MS
