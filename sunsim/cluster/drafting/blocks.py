"""The KV blocks of a worker that drafts: there must be some for drafts that may be accepted, and to draft the next ones.

What its decodes take is in `BurstDecodes.timeline`, and written down when they stop.
"""

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.drafting.bursts import BurstDecodes
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.kv_blocks import KVBlocks
from sunsim.cluster.prefix_cache import Block, CachingBlocks
from sunsim.cluster.sequence import KV, Sequence

COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class BurstBlocks(KVBlocks):
    """As `KVBlocks`, of a worker that drafts."""

    __slots__ = ("_after", "_bursts")

    def __init__(self, config: EngineConfig, bursts: BurstDecodes) -> None:
        super().__init__(config.num_gpu_blocks, config.block_size)
        self._bursts = bursts
        self._after = 0  # `later`, from the next decision on

    def begin(self, sequence: Sequence, most: int) -> bool:
        """As `KVBlocks.admit`, for a step that takes so many of its tokens at most; there must be room to draft then."""
        if -(-_needed(sequence, 0, most, self._bursts) // self.size) > self.unused:
            return False
        sequence.computed_tokens = _held(sequence)
        if sequence.kv is PULL:
            super().grow(sequence, sequence.known_tokens)
        return True

    def can_grow(self, sequence: Sequence, tokens: int) -> bool:
        """Whether there is room for so many of its tokens in all, and to draft more."""
        return super().can_grow(sequence, self._bursts.room(tokens))

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Gives a request the blocks that it lacks for so many tokens in all, and what there are to draft more."""
        there = (sequence.blocks + self.unused) * self.size
        super().grow(sequence, min(self._bursts.room(tokens), there))

    def free_after(self, sequence: Sequence) -> None:
        """A finished ghost's blocks come free with the decision after the next one, when its last step is done."""
        self._after += sequence.blocks
        sequence.blocks = 0

    def release_later(self) -> None:
        """As `KVBlocks.release_later`; what was to come free after that is next."""
        self.unused += self.later
        self.later, self._after = self._after, 0

    def join(self, sequence: Sequence) -> None:
        """A request decodes from now on; its plan says what it takes."""

    def leave(self, sequence: Sequence, step: int) -> None:
        """It does not go on after `step`; its plan says what it has."""

    def decide(self, step: int) -> bool:
        """As `KVBlocks.decide`."""
        self.release_later()
        return self.take(self._bursts.takes(step))

    def grow_over(self, step: int, n: int) -> None:
        """Gives the decodes what they take at the `n` steps from `step`; it must be there."""
        self.unused -= self._bursts.takes_over(step, n)

    def lasting(self, step: int, n: int) -> int:
        """For how many of the `n` steps from `step` there are blocks."""
        return self._bursts.lasting(step, n, self.unused)


class CachingBurstBlocks(CachingBlocks):
    """As `CachingBlocks` and `BurstBlocks`. A block has a key once all its tokens are out: before, one may be a rejected draft."""

    __slots__ = ("_after_chains", "_bursts")

    def __init__(self, config: EngineConfig, bursts: BurstDecodes, keys: BlockKeys) -> None:
        super().__init__(config, keys)
        self._bursts = bursts
        self._after_chains: list[tuple[int, list[Block]]] = []

    def begin(self, sequence: Sequence, most: int) -> bool:
        """As `BurstBlocks.begin`; what is found is held from now on."""
        found = self._look_up(sequence)
        return self._begin(sequence, found, _needed(sequence, len(found) * self.size, most, self._bursts))

    def can_grow(self, sequence: Sequence, tokens: int) -> bool:
        """As `BurstBlocks.can_grow`."""
        return super().can_grow(sequence, self._bursts.room(tokens))

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """As `BurstBlocks.grow`, for tokens that are known and in the step that is composed."""
        there = (sequence.blocks + self.unused) * self.size
        self._hold(sequence, min(self._bursts.room(tokens), there))
        super().grow(sequence, tokens)

    def free(self, sequence: Sequence) -> None:
        """As `CachingBlocks.free`."""
        super().free(sequence)
        self._decoding.pop(sequence, None)

    def free_later(self, sequence: Sequence) -> None:
        """As `CachingBlocks.free_later`."""
        self.later += sequence.blocks
        super().free_later(sequence)

    def free_after(self, sequence: Sequence) -> None:
        """As `BurstBlocks.free_after`; until then they can be found."""
        self._end(sequence)
        del self._decoding[sequence]
        blocks = self._chains.pop(sequence).blocks
        self._after_chains.append((sequence.blocks - len(blocks), blocks))
        sequence.blocks = 0

    def forget(self) -> None:
        """As `KVBlocks.forget`."""
        self.release_later()
        super().forget()
        self.later = 0

    def join(self, sequence: Sequence) -> None:
        """A request decodes from now on; its plan says what it takes."""
        self._decoding[sequence] = self._chains[sequence]

    def leave(self, sequence: Sequence, step: int) -> None:
        """It does not go on after `step`; its plan says what it has."""
        self._fill(sequence, self._decoding.pop(sequence), self._bursts.out_tokens(sequence, step + 1) - 1)

    def decide(self, step: int) -> bool:
        """As `KVBlocks.decide`."""
        self.release_later()
        self._step = step
        return self.take(self._bursts.takes(step))

    def grow_over(self, step: int, n: int) -> None:
        """As `BurstBlocks.grow_over`."""
        self._step = step + n - 1
        self.unused -= self._bursts.takes_over(step, n)

    def lasting(self, step: int, n: int) -> int:
        """As `BurstBlocks.lasting`."""
        return self._bursts.lasting(step, n, self.unused)

    def _fill_decodes(self) -> None:
        for sequence, chain in self._decoding.items():
            self._fill(sequence, chain, self._bursts.out_tokens(sequence, self._step))

    def release_later(self) -> None:
        """As `BurstBlocks.release_later`."""
        self._release_later()
        self._later_chains, self._after_chains = self._after_chains, []
        self.later = sum([plain + len(blocks) for plain, blocks in self._later_chains])


def _needed(sequence: Sequence, hits: int, most: int, bursts: BurstDecodes) -> int:
    """Tokens for which a waiting request needs blocks to begin.

    What is pulled has no room for drafts yet.

    Args:
        hits: of its tokens, those that are found.
        most: that its first step may take.
    """
    known = sequence.known_tokens
    if sequence.kv is PULL and (hits < sequence.held_tokens or not sequence.computes_prompt):
        return known
    return max(known, bursts.room(min(known, max(hits, _held(sequence)) + most)))


def _held(sequence: Sequence) -> int:
    """Tokens of a waiting request that are not to be computed, whatever is found here."""
    return 0 if sequence.kv is COMPUTE else min(sequence.held_tokens, sequence.known_tokens - 1)
