"""The KV blocks of a worker that drafts: there must be some for drafts that may be accepted, and to draft the next ones.

What its decodes take is in `BurstDecodes.timeline`, and written down when they stop.
"""

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.drafting.bursts import BurstDecodes
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.prefix_cache import Block, CachingBlocks
from sunsim.cluster.sequence import KV, Sequence

COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class NoKeys(BlockKeys):
    """Of texts of which nothing is found again."""

    def __init__(self) -> None:
        """There is nothing to know of them."""

    def of(self, request: int, tokens: int) -> list[int]:  # noqa: ARG002
        """None."""
        return []


class BurstBlocks(CachingBlocks):
    """As `CachingBlocks`. A block has a key once all its tokens are out: before, one may be a rejected draft.

    Args:
        keys: of all requests' blocks; None: nothing is found again.
    """

    __slots__ = ("_after_chains", "_bursts")

    def __init__(self, config: EngineConfig, bursts: BurstDecodes, keys: BlockKeys | None) -> None:
        super().__init__(config, keys or NoKeys())
        self._bursts = bursts
        self._after_chains: list[tuple[int, list[Block]]] = []

    def begin(self, sequence: Sequence, most: int) -> bool:
        """As `admit`, for a step that takes so many of its tokens at most; there must be room to draft then."""
        found = self._look_up(sequence)
        return self._begin(sequence, found, self._needed(sequence, len(found) * self.size, most))

    def _needed(self, sequence: Sequence, hits: int, most: int) -> int:
        """Tokens for which a waiting request needs blocks to begin, of which there are `hits`.

        What is pulled has no room for drafts yet.
        """
        known = sequence.known_tokens
        if sequence.kv is PULL and (hits < sequence.held_tokens or not sequence.computes_prompt):
            return known
        held = 0 if sequence.kv is COMPUTE else min(sequence.held_tokens, known - 1)
        return max(known, self._bursts.room(min(known, max(hits, held) + most)))

    def can_grow(self, sequence: Sequence, tokens: int) -> bool:
        """Whether there is room for so many of its tokens in all, and to draft more."""
        return super().can_grow(sequence, self._bursts.room(tokens))

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Gives a request the blocks that it lacks for so many tokens in all, and what there are to draft more."""
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
        """A finished ghost's blocks come free with the decision after the next one, when its last step is done.

        Until then they can be found.
        """
        self._end(sequence)
        self._decoding.pop(sequence, None)
        blocks = self._chains.pop(sequence).blocks
        self._after_chains.append((sequence.blocks - len(blocks), blocks))
        sequence.blocks = 0

    def release_later(self) -> None:
        """As `KVBlocks.release_later`; what was to come free after that is next."""
        self._release_later()
        self._later_chains, self._after_chains = self._after_chains, []
        self.later = sum([plain + len(blocks) for plain, blocks in self._later_chains])

    def forget(self) -> None:
        """As `KVBlocks.forget`."""
        self.release_later()
        super().forget()
        self.later = 0

    def join(self, sequence: Sequence) -> None:
        """A request decodes from now on; its plan says what it takes."""
        chain = self._chains[sequence]
        if chain.keys:  # else there is nothing to fill
            self._decoding[sequence] = chain

    def leave(self, sequence: Sequence, step: int) -> None:
        """It does not go on after `step`; its plan says what it has."""
        chain = self._decoding.pop(sequence, None)
        if chain:
            self._fill(sequence, chain, self._bursts.out_tokens(sequence, step + 1) - 1)

    def decide(self, step: int) -> bool:
        """As `KVBlocks.decide`."""
        self.release_later()
        self._step = step
        return self.take(self._bursts.takes(step))

    def grow_over(self, step: int, n: int) -> None:
        """Gives the decodes what they take at the `n` steps from `step`; it must be there."""
        self._step = step + n - 1
        self.unused -= self._bursts.takes_over(step, n)

    def lasting(self, step: int, n: int) -> int:
        """For how many of the `n` steps from `step` there are blocks."""
        return self._bursts.lasting(step, n, self.unused)

    def _fill_decodes(self) -> None:
        for sequence, chain in self._decoding.items():
            self._fill(sequence, chain, self._bursts.out_tokens(sequence, self._step))
