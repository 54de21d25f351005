"""What the steps of a vLLM worker that drafts consist of."""

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.composed import Composed
from sunsim.cluster.drafting.blocks import BurstBlocks
from sunsim.cluster.drafting.bursts import BurstDecodes
from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.scheduler import Scheduler
from sunsim.cluster.sequence import Sequence
from sunsim.latency.steps import DraftStepTimes


class BurstScheduler(Scheduler):
    """As `Scheduler`; decodes are `BurstDecodes`.

    Who enters a step does so without drafts, so it is a chunk, even of one token, in a step of a kind of its own. Whose KV
    has come by others has blocks for that alone, and waits where there are none to draft with; so does everybody behind it.
    """

    def __init__(self, config: EngineConfig, times: DraftStepTimes, drafts: Drafts, keys: BlockKeys | None) -> None:
        super().__init__(config, times, None)
        self.bursts = bursts = BurstDecodes(times, drafts, config.block_size)
        self.steady = bursts
        self.caches = config.enable_prefix_caching and keys is not None
        self.blocks = self.burst_blocks = BurstBlocks(config, bursts, keys if self.caches else None)
        self._chunks_only = True

    def num_tokens(self, k: int) -> int:
        """As `Scheduler.num_tokens`."""
        return super().num_tokens(k) - self.bursts.ghost_tokens

    def count_drafts(self, k: int) -> DraftCounts:
        """As `Scheduler.count_drafts`; sequences here count theirs, too, then."""
        return self.bursts.count_drafts(k + 1)

    def drop_ended(self, k: int) -> None:
        """As `Scheduler.drop_ended`; ghosts go on for another step."""
        for sequence in self.bursts.pop_ended(k + 1):
            if not self.bursts.has_ghost(sequence):
                self.blocks.leave(sequence, k)
            self.finishing.append(sequence)
            self._finishing_tokens += sequence.known_tokens

    def _free(self, sequence: Sequence) -> None:
        # A step in flight may write to a ghost's blocks.
        if self.config.defer_block_free and self.bursts.has_ghost(sequence):
            self.burst_blocks.free_after(sequence)
        else:
            self.blocks.free(sequence)

    def _admit(self, sequence: Sequence, composed: Composed) -> bool:
        """As `Scheduler._admit`; there must be room to draft beyond what the step computes."""
        sequence.computed_tokens = 0
        return self.burst_blocks.begin(sequence, composed.room_for(sequence))

    def _make_room(self, step: int, composed: Composed, outcome: Outcome) -> None:
        composed.preempted = True
        for sequence in list(self.running):
            if sequence not in self.running:
                return
            if sequence is self.partial:
                continue
            while not self.burst_blocks.take(self.bursts.takes_of(sequence, step)):
                victim = self.running.popitem()[0]
                self._preempt(victim, step, outcome)
                if victim is sequence:
                    return

    def _has_room(self, sequence: Sequence, composed: Composed) -> bool:
        # If all that have come waited for one another, nobody would ever go on; vLLM does not.
        tokens = sequence.computed_tokens + composed.room_for(sequence)
        return not (self.running or self.blocks.later) or self.blocks.can_grow(sequence, tokens)

    def _stop(self, sequence: Sequence, step: int) -> None:
        self.blocks.leave(sequence, step - 1)
        self.bursts.stop(sequence, step)

    def _stop_ended(self, sequence: Sequence, step: int) -> None:
        if self.bursts.has_ghost(sequence):
            self.blocks.leave(sequence, step - 1)
            self.bursts.stop_ghost(sequence, step)
