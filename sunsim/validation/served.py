"""What one worker did with each request of a stream, real or simulated: the same arrays for both."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sunsim.metrics.rows import Floats, Requests, Window

Ints = npt.NDArray[np.int64]

LEAST_SATURATED_S = 2.0
"""Seconds that a queue must last without a break: shorter ones come and go below saturation too."""

NEGLIGIBLE_MS = 1.0


@dataclass(frozen=True, slots=True)
class Served:
    """Requests in the order of their submission; times in seconds since the start of the stream, float64[n].

    Attributes:
        submit_s: the client hands the request over.
        queued_s, scheduled_s: the engine gets it, and first schedules it.
        first_token_s, last_token_s: the engine has them, and at `client_...` the client.
        prompt_tokens, output_tokens, preemptions: int64[n].
    """

    prompt_tokens: Ints
    output_tokens: Ints
    submit_s: Floats
    queued_s: Floats
    scheduled_s: Floats
    first_token_s: Floats
    last_token_s: Floats
    client_first_token_s: Floats
    client_last_token_s: Floats
    preemptions: Ints

    def __len__(self) -> int:
        return len(self.submit_s)

    @property
    def tpot_ms(self) -> Floats:
        """Time per output token at the engine: (last - first token) / (output tokens - 1) (vLLM); NaN for one token."""
        gaps = np.where(self.output_tokens > 1, self.output_tokens - 1, np.nan)
        return (self.last_token_s - self.first_token_s) / gaps * 1000

    @property
    def ttft_ms(self) -> Floats:
        """Time to first token: first token at the client - submission (vLLM)."""
        return (self.client_first_token_s - self.submit_s) * 1000

    @property
    def engine_ttft_ms(self) -> Floats:
        """First token at the engine - submission: TTFT without the way back."""
        return (self.first_token_s - self.submit_s) * 1000

    @property
    def queueing_ms(self) -> Floats:
        """First scheduled - queued: steps that a request had to sit out for want of a place or of KV blocks.

        The rest of the step in which it comes is before: the engine looks for new requests between steps.
        """
        return (self.scheduled_s - self.queued_s) * 1000

    @property
    def e2el_ms(self) -> Floats:
        """End-to-end latency: last token at the client - submission (vLLM)."""
        return (self.client_last_token_s - self.submit_s) * 1000

    @property
    def duration_s(self) -> float:
        """First submission to last token (vLLM's benchmark duration): the drain is included."""
        return float(self.last_token_s.max() - self.submit_s.min())

    @property
    def submissions(self) -> Window:
        """From the first submission to the last: the ramp-up is in, the drain is not."""
        return Window(float(self.submit_s.min()), float(self.submit_s.max()))

    def to_client(self) -> "Served":
        """As the client saw it: its stamps in the place of the engine's, and nothing of queues and preemptions."""
        return replace(
            self,
            queued_s=self.submit_s,
            scheduled_s=self.submit_s,
            first_token_s=self.client_first_token_s,
            last_token_s=self.client_last_token_s,
            preemptions=np.zeros_like(self.preemptions),
        )

    def requests(self) -> Requests:
        """The same for the functions of `sunsim.metrics`, by the engine's clock."""
        absent = np.full(len(self), np.nan)
        return Requests(
            arrival_s=self.submit_s,
            prompt_tokens=self.prompt_tokens.astype(np.float64),
            output_tokens=self.output_tokens.astype(np.float64),
            prefill_start_s=absent,
            prefill_end_s=absent,
            transfer_start_s=absent,
            transfer_end_s=absent,
            decode_scheduled_s=self.scheduled_s,
            decode_first_token_s=self.first_token_s,
            first_token_s=self.first_token_s,
            last_token_s=self.last_token_s,
            preemptions=self.preemptions.astype(np.float64),
            finished=np.ones(len(self), dtype=np.bool_),
            shed=np.zeros(len(self), dtype=np.bool_),
            emitting_until_s=self.last_token_s,
        )

    @property
    def waits(self) -> bool:
        """Whether more than one in a hundred had to queue for a millisecond: below that it is the scheduler's own time."""
        return bool(np.quantile(self.queueing_ms, 0.99) >= NEGLIGIBLE_MS)

    def saturated(self) -> Window | None:
        """The longest stretch in which somebody was held back for want of a place or of KV blocks; None without one.

        Budget and chance make requests sit out a step now and then, so a wait counts only from where it exceeds the
        usual time from scheduling to first token, which is two steps or so.
        """
        usual_s = float(np.median(self.first_token_s - self.scheduled_s))
        begin_s = self.queued_s + usual_s
        held = begin_s < self.scheduled_s
        order = np.argsort(begin_s[held], kind="stable")
        begin_s, end_s = begin_s[held][order], np.maximum.accumulate(self.scheduled_s[held][order])
        if not len(begin_s):
            return None
        breaks = np.flatnonzero(begin_s[1:] > end_s[:-1]) + 1
        starts, ends = begin_s[np.concatenate([[0], breaks])], end_s[np.concatenate([breaks - 1, [-1]])]
        longest = int(np.argmax(ends - starts))
        window = Window(float(starts[longest]), float(ends[longest]))
        return window if window.length_s >= LEAST_SATURATED_S else None
