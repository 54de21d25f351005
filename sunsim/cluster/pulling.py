"""What pulling a prompt's KV costs the worker that gets it."""

from dataclasses import dataclass

from sunsim.latency.transfer import HostTimes, LinkTimes


@dataclass(frozen=True, slots=True)
class Pulling:
    """A link whose transfers the receiving worker's host begins; `kv_bytes` are those of a token."""

    times: LinkTimes
    kv_bytes: int

    @property
    def host(self) -> HostTimes | None:
        """What else its host adds, if that was measured."""
        return self.times.host

    def posts_ps(self, tokens: int, *, beside: bool) -> int:
        """How long the host is busy with beginning to pull so many tokens, `beside` others that move."""
        return self.times.posts_ps(tokens * self.kv_bytes, beside=beside)
