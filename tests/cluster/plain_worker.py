"""What the worker of `tests.cluster.stepwise` has."""

from __future__ import annotations

from collections.abc import Iterable

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.sequence import Sequence
from sunsim.latency.steps import Outside, StepTimes, takes_drafts
from tests.cluster.jobs import Job, JobBlocks
from tests.cluster.plain_blocks import Keys
from tests.cluster.plain_drafts import PlainDrafts
from tests.cluster.plain_pipeline import PlainPipeline
from tests.cluster.plain_pulls import PlainPulls


class PlainWorker:
    """All that a worker has, and what it says of itself, as `Engine` does."""

    def __init__(
        self,
        config: EngineConfig,
        times: StepTimes,
        stalls: Iterable[tuple[int, int]] = (),
        keys: Keys | None = None,
    ) -> None:
        self.config = config
        self.times = times
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.pulls = PlainPulls()
        self.drafts = PlainDrafts(config.drafts) if config.drafts else None
        self.jobs: dict[Sequence, Job] = {}
        draft_times = times if config.drafts and takes_drafts(times) else None
        self.pipeline = PlainPipeline(times, draft_times, stalls)
        self.blocks = JobBlocks(config, keys)
        self.idle = True
        self.preemptions = 0

    @property
    def steps(self) -> int:
        return self.pipeline.steps

    @property
    def busy_ps(self) -> int:
        return self.pipeline.busy_ps

    @property
    def outside(self) -> dict[Outside, int]:
        return self.pipeline.outside

    @property
    def free_blocks(self) -> int:
        return len(self.blocks.free)

    @property
    def pins(self) -> bool:
        return bool(self.blocks.pinned)

    @property
    def queries(self) -> int:
        return self.blocks.queries

    @property
    def hits(self) -> int:
        return self.blocks.hits

    def count_drafts(self) -> DraftCounts | None:
        return self.drafts.counts() if self.drafts else None

    @property
    def num_tokens(self) -> int:
        known = 0
        for job in self.waiting + self.pulls.loading + self.running:
            known += job.on_card if job.computing and job.made < job.outputs else job.on_card - job.burst
        return known

    def cached_tokens(self, sequence: Sequence) -> int:
        return len(self.blocks.find(sequence.request, sequence.known_tokens)) * self.config.block_size

    def forget(self) -> None:
        self.blocks.give_back_deferred()
        self.blocks.forget()
