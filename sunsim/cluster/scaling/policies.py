"""When a pool grows and shrinks: one small class a policy, usable by a simulated and by a live cluster alike.

All but the schedule divide what they see by what a worker is to carry, and round up.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from sunsim.clock import to_ps
from sunsim.cluster.scaling.seen import Policy, Seen

Share = Callable[[Seen], float]
"""How many workers' worth of work there is."""

NOISE = 1e-9
"""Of a quotient, so that ten workers at 0.7 of 0.7 are ten."""


def slots_running(max_num_seqs: int) -> Share:
    """Of the places of decode workers, those that are taken."""
    return lambda seen: seen.running / max_num_seqs


def time_busy(seen: Seen) -> float:
    """Of the time of prefill workers, that in which they computed."""
    return sum(min(1.0, busy_s / seen.interval_s) for busy_s in seen.busy_s)


def blocks_in_use(seen: Seen) -> float:
    """Of the workers' KV blocks, those in use."""
    return sum(seen.kv_usage)


def prompt_rate(velocity: float) -> Share:
    """Prompt tokens that came, over what a worker computes of them in the time."""
    return lambda seen: seen.prompt_tokens / seen.interval_s / velocity


def token_rate(velocity: float) -> Share:
    """Tokens that came and are still to be made, over what a worker frees of them in the time."""
    return lambda seen: (seen.prompt_tokens + seen.output_tokens) / seen.interval_s / velocity


def in_flight(velocity: float) -> Share:
    """Seconds of a worker's work in the prompt tokens that are not computed."""
    return lambda seen: seen.prompt_tokens_in_flight / velocity


def request_rate(seen: Seen) -> float:
    """Requests that came a second."""
    return seen.requests / seen.interval_s


@dataclass(frozen=True, slots=True)
class Ratio:
    """As many workers as bring a measured sum down to `target` each.

    With the workers' mean utilisation this is the Horizontal Pod Autoscaler's ``ceil(workers * utilisation / target)``.
    """

    share: Share
    target: float

    def wanted(self, seen: Seen) -> int:
        """The sum over the target, rounded up."""
        return ceil(self.share(seen) / self.target - NOISE)


@dataclass(frozen=True, slots=True)
class Largest:
    """What the one of several policies that wants most wants."""

    policies: Sequence[Policy]

    def wanted(self, seen: Seen) -> int:
        """The most that is wanted."""
        return max(policy.wanted(seen) for policy in self.policies)


@dataclass(frozen=True, slots=True)
class Schedule:
    """So many workers from a moment on.

    Attributes:
        entries: seconds and workers, in order; the first second is 0.
        period_s: after which it begins again; None: it does not.
    """

    entries: Sequence[tuple[float, int]]
    period_s: float | None = None

    def wanted(self, seen: Seen) -> int:
        """What the last entry says that has begun."""
        return self.at(seen.now_s)

    def at(self, at_s: float) -> int:
        """The same for a moment."""
        at_ps = to_ps(at_s)  # floats would miss an entry at whole periods
        if self.period_s is not None:
            at_ps %= to_ps(self.period_s)
        return self.entries[bisect_right(self.entries, at_ps, key=lambda entry: to_ps(entry[0])) - 1][1]
