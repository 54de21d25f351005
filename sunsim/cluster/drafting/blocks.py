"""The KV blocks of a worker that drafts: there must be some for drafts that may be accepted, and to draft the next ones."""

import numpy as np

from sunsim.cluster.drafting.bursts import BurstDecodes
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.kv_blocks import KVBlocks
from sunsim.cluster.sequence import KV, Sequence

COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class BurstBlocks(KVBlocks):
    """As `KVBlocks`; what the decodes take is in `BurstDecodes.timeline`, and written down when they stop."""

    __slots__ = ("_after", "_bursts", "_drafts")

    def __init__(self, number: int, size: int, bursts: BurstDecodes, drafts: Drafts) -> None:
        super().__init__(number, size)
        self._bursts = bursts
        self._drafts = drafts
        self._after = 0  # `later`, from the next decision on

    def admit(self, sequence: Sequence) -> bool:
        """As `KVBlocks.admit`; what is pulled has no room for drafts yet."""
        known = sequence.known_tokens
        if -(-known // self.size) > self.unused:
            return False
        sequence.computed_tokens = 0 if sequence.kv is COMPUTE else min(sequence.held_tokens, known - 1)
        if sequence.kv is PULL:
            super().grow(sequence, known)
        return True

    def can_grow(self, sequence: Sequence, tokens: int) -> bool:
        """Whether there is room for so many of its tokens in all, and to draft more."""
        return super().can_grow(sequence, self._with_drafts(tokens))

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Gives a request the blocks that it lacks for so many tokens in all, and what there are to draft more."""
        there = (sequence.blocks + self.unused) * self.size
        super().grow(sequence, min(self._with_drafts(tokens), there))

    def free_after(self, sequence: Sequence) -> None:
        """A finished ghost's blocks come free with the decision after the next one, when its last step is done."""
        self._after += sequence.blocks
        sequence.blocks = 0

    def join(self, sequence: Sequence) -> None:
        """A request decodes from now on; its plan says what it takes."""

    def decide(self, step: int) -> bool:
        """As `KVBlocks.decide`."""
        self.unused += self.later
        self.later, self._after = self._after, 0
        needed = int(self._bursts.timeline.takes(step, 1)[0]) if self._bursts.batch else 0
        return self.take(needed)

    def take(self, blocks: int) -> bool:
        """Gives decodes so many blocks; False, and none, if there are fewer."""
        if blocks > self.unused:
            return False
        self.unused -= blocks
        return True

    def grow_over(self, step: int, n: int) -> None:
        """Gives the decodes what they take at the `n` steps from `step`; it must be there."""
        self.unused -= int(np.add.reduce(self._bursts.timeline.takes(step, n)))

    def lasting(self, step: int, n: int) -> int:
        """For how many of the `n` steps from `step` there are blocks."""
        drafts = self._drafts
        most = drafts.num_speculative_tokens + 1  # tokens of one in a step
        if self.unused >= self._bursts.batch * (1 + ((n + 2) * most + drafts.lookahead) // self.size):
            return n
        takes = self._bursts.timeline.takes(step, n)
        if int(np.add.reduce(takes)) <= self.unused:
            return n
        return int(takes.cumsum().searchsorted(self.unused, side="right"))

    def _with_drafts(self, tokens: int) -> int:
        return min(tokens + self._drafts.lookahead, self._drafts.max_model_len)
