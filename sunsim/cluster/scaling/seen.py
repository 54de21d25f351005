"""What an autoscaler sees of a pool, and what a policy makes of it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool as its autoscaler sees it; what happens on workers that drain is not its concern any more.

    Attributes:
        now_s: since the start.
        interval_s: since it looked last.
        running: requests in the batches of the ready workers.
        kv_usage: of each ready worker, the share of its KV blocks in use (vLLM's ``kv_cache_usage_perc``).
        busy_s: of each ready worker, the time of its steps in the interval; those launched ahead count with it.
        requests, prompt_tokens, output_tokens: that came to the pool in the interval; output tokens are those still to
            be made, as if they were known.
        prompt_tokens_in_flight: of requests that the ready workers have and whose prompt they have not computed yet,
            but for those that they have found in their prefix caches.
    """

    now_s: float
    interval_s: float
    running: int
    kv_usage: tuple[float, ...]
    busy_s: tuple[float, ...]
    requests: int
    prompt_tokens: int
    output_tokens: int
    prompt_tokens_in_flight: int


class Policy(Protocol):
    """Says how many workers a pool should have."""

    def wanted(self, seen: Seen) -> int:
        """Workers that are to serve; may lie outside what the pool may have."""
