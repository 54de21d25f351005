"""When a scheduler hears of KV that has come over a link, told from the launches that its host is busy with."""

from __future__ import annotations

from sunsim.cluster.sequence import Sequence
from sunsim.latency.transfer import HostTimes
from tests.cluster.jobs import Job


class PlainPulls:
    """Transfers of one worker.

    Attributes:
        loading: requests whose KV is on its way, or there and not taken; they hold a place.
        ready: of these, the ones that the scheduler knows to be there.
        seen: how many more decisions until the scheduler hears of one.
    """

    def __init__(self) -> None:
        self.loading: list[Job] = []
        self.ready: list[Job] = []
        self.seen: list[tuple[int, Job]] = []
        self._moving = 0  # transfers begun and not there
        self._looked = 0  # when the last step was launched, but for its decodes where it began no transfers
        self._begun = False  # it did

    def come(self, now: int, job: Job, decodes: int, host: HostTimes) -> None:
        """Its KV is there while a step with so many decodes is in flight."""
        looked = self._looked if self._begun else self._looked + host.launched_ps(decodes)
        self.seen.append((1 if now <= looked else 2, job))

    def arrived(self) -> None:
        self._moving -= 1

    def hear(self, decisions: int) -> None:
        """So many decisions have gone by since."""
        self.seen = [(left - decisions, job) for left, job in self.seen]
        self.ready += [job for left, job in self.seen if left < 0]
        self.seen = [(left, job) for left, job in self.seen if left >= 0]

    def rest(self, now: int) -> None:
        """An empty step, by whose end the scheduler has heard of all KV that is there."""
        self.hear(3)
        self._looked, self._begun = now, False

    def begin(self, now: int, loads: list[Sequence], decodes: int, taken_in_ps: int) -> int:
        """Begins transfers, and takes in what has come by others, before a step is launched behind so many decodes.

        Gives for how long that keeps the host.
        """
        host = loads[0].pulling.host if loads and loads[0].pulling else None
        lead = 0
        if host:
            lead = host.launched_ps(decodes) if decodes else host.begin_ps
        held = lead + taken_in_ps
        for sequence in loads:
            if sequence.pulling:
                posts = sequence.pulling.posts_ps(sequence.moved_tokens, beside=self._moving > 0)
                sequence.post_ps = posts + lead
                held += posts
                lead = 0
            self._moving += 1
        self._begun = host is not None
        self._looked = now + held
        return held

    @property
    def begun(self) -> bool:
        """Whether the last step was launched after transfers were begun."""
        return self._begun
