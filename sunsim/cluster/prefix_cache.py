"""The KV blocks of one worker that finds the beginnings of prompts again: vLLM's block pool and its rules.

A full block has a key as soon as the step that computes it is composed, whoever is admitted after that finds it, and it is
shared by counting who holds it. A block that nobody holds any more keeps its key until it is needed: blocks without a key
are taken first, then the ones longest unused, of one request the last ones first. Of blocks with equal keys the one that
has had it longest is found. The last known token is always computed, so a hit never holds it; where a drafter needs hidden
states (`EngineConfig.use_eagle`), the last block that was found is not used either.

Blocks without a key are all alike and only counted, as in `KVBlocks`. Nothing between two decisions looks for a block, so
what steady decodes took away and what they filled is caught up with when somebody does.
"""

from collections import OrderedDict

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.kv_blocks import COMPUTE, PULL, KVBlocks
from sunsim.cluster.sequence import UNSET, Sequence


class Block:
    """A full block that can be found: its key, and how many requests hold it."""

    __slots__ = ("holders", "key")

    def __init__(self, key: int) -> None:
        self.key = key
        self.holders = 1


class Chain:
    """The keys of a request's whole text, and the blocks that it holds of it and that have them, both from its beginning."""

    __slots__ = ("blocks", "keys")

    def __init__(self, keys: list[int]) -> None:
        self.keys = keys
        self.blocks: list[Block] = []


class CachingBlocks(KVBlocks):
    """A worker's blocks where `enable_prefix_caching` is set.

    Args:
        config: the worker's options.
        keys: of all requests' blocks.

    Attributes:
        queries, hits: tokens of requests when they were first admitted, and those of them found: vLLM's
            ``prefix_cache_queries`` and ``prefix_cache_hits``, but vLLM asks again, and counts again, in every step that a
            request at the head of the queue waits for blocks.
    """

    __slots__ = (
        "_caught_up",
        "_chains",
        "_decoding",
        "_found",
        "_keys",
        "_later_chains",
        "_more",
        "_reuse",
        "_step",
        "_unheld",
        "_use_eagle",
    )

    def __init__(self, config: EngineConfig, keys: BlockKeys) -> None:
        super().__init__(config.num_gpu_blocks, config.block_size)
        self._keys = keys
        self._reuse = config.reuse_answers
        self._use_eagle = config.use_eagle
        self._chains: dict[Sequence, Chain] = {}
        self._decoding: dict[Sequence, Chain] = {}  # steadily
        self._step = 0  # the last one that all of these have blocks for
        self._caught_up = 0  # until this step their full blocks have keys
        self._found: dict[int, Block] = {}  # by key; the first that had it
        self._more: dict[int, list[Block]] = {}  # the others, in order
        self._unheld: OrderedDict[Block, None] = OrderedDict()  # the next to be lost first
        self._later_chains: list[tuple[int, list[Block]]] = []

    def cached_tokens(self, sequence: Sequence) -> int:
        """Of a request that may be elsewhere, the tokens that would be found here now."""
        self._catch_up()
        return len(self._find(self._keys.of(sequence.request, sequence.known_tokens - 1))) * self.size

    def forget(self) -> None:
        """As `KVBlocks.forget`."""
        self._release_later()
        self._found.clear()
        self._more.clear()
        self._unheld.clear()

    def admit(self, sequence: Sequence) -> bool:
        """As `KVBlocks.admit`; what is found is held from now on."""
        return self._begin(sequence, self._look_up(sequence), sequence.known_tokens)

    def _look_up(self, sequence: Sequence) -> list[Block]:
        """The blocks that are found of a waiting request."""
        self._catch_up()
        known = sequence.known_tokens
        chain = self._chains.get(sequence)
        if chain is None:
            keys = self._keys.of(sequence.request, known + sequence.outputs_left - 1)
            self._chains[sequence] = chain = Chain(keys)
        return self._find(chain.keys[: (known - 1) // self.size])

    def _begin(self, sequence: Sequence, found: list[Block], tokens: int) -> bool:
        """Begins with a waiting request of which this was found, or gives False if there is no room for so many tokens."""
        unheld = 0
        for block in found:
            if not block.holders:
                unheld += 1
        # What is found but held by nobody saves work, not room.
        if -(-tokens // self.size) - len(found) + unheld > self.unused:
            return False
        self.unused -= unheld
        for block in found:
            if not block.holders:
                del self._unheld[block]
            block.holders += 1
        self._chains[sequence].blocks = found
        sequence.blocks = len(found)
        self._note(sequence, len(found) * self.size)
        return True

    def _note(self, sequence: Sequence, found: int) -> None:
        """Says what of an admitted request need not be computed, of which so many tokens were found here."""
        known = sequence.known_tokens
        if not sequence.preemptions:
            self.queries += known
            self.hits += found
        if not sequence.preemptions or sequence.kv is PULL:
            sequence.cached_tokens = min(found, sequence.prompt_tokens)
        sequence.computed_tokens = found
        if sequence.kv is not COMPUTE:
            sequence.computed_tokens = max(found, min(sequence.held_tokens, known - 1))
            if sequence.pulls:
                self._hold(sequence, known)

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """As `KVBlocks.grow`, for tokens that are known and in the step that is composed."""
        self._catch_up()
        self._hold(sequence, tokens)
        self._fill(sequence, self._chains[sequence], tokens)

    def pin(self, sequence: Sequence) -> None:
        """As `KVBlocks.pin`; pinned blocks can be found."""
        self._end(sequence)
        super().pin(sequence)

    def free(self, sequence: Sequence) -> None:
        """As `KVBlocks.free`; what has a key can be found until it is used again."""
        self._end(sequence)
        self._release_later()
        blocks = self._chains.pop(sequence).blocks
        self._release(sequence.blocks - len(blocks), blocks)
        sequence.blocks = 0

    def free_later(self, sequence: Sequence) -> None:
        """As `KVBlocks.free_later`; until then they can be found."""
        blocks = self._chains.pop(sequence).blocks
        self._later_chains.append((sequence.blocks - len(blocks), blocks))
        sequence.blocks = 0

    def release_later(self) -> None:
        """As `KVBlocks.release_later`."""
        self._release_later()

    def join(self, sequence: Sequence) -> None:
        """As `KVBlocks.join`."""
        super().join(sequence)
        self._decoding[sequence] = self._chains[sequence]

    def leave(self, sequence: Sequence, step: int) -> None:
        """As `KVBlocks.leave`. The token made in the step before is not known yet."""
        super().leave(sequence, step)
        self._fill(sequence, self._decoding.pop(sequence), sequence.offset + step - 1)

    def decide(self, step: int) -> bool:
        """As `KVBlocks.decide`."""
        self._release_later()
        self._step = step
        return super().decide(step)

    def grow_over(self, step: int, n: int) -> None:
        """As `KVBlocks.grow_over`."""
        self._step = step + n - 1
        super().grow_over(step, n)

    def _end(self, sequence: Sequence) -> None:
        """A request that has come to its end has all its tokens but the last, whose KV nobody made, in blocks."""
        if sequence.last_step != UNSET:
            chain = self._chains[sequence]
            self._fill(sequence, chain, len(chain.keys) * self.size)

    def _hold(self, sequence: Sequence, tokens: int) -> None:
        super().grow(sequence, tokens)

    def _fill(self, sequence: Sequence, chain: Chain, tokens: int) -> None:
        """A request's blocks for so many tokens get their keys where they are full."""
        blocks = chain.blocks
        begin = len(blocks)
        if not self._reuse:
            tokens = min(tokens, sequence.prompt_tokens)
        for key in chain.keys[begin : tokens // self.size]:
            block = Block(key)
            blocks.append(block)
            if key in self._found:
                self._more.setdefault(key, []).append(block)
            else:
                self._found[key] = block

    def _find(self, keys: list[int]) -> list[Block]:
        """The blocks with these keys, up to the first that is not there, that may be used."""
        found: list[Block] = []
        for key in keys:
            block = self._found.get(key)
            if block is None:
                break
            found.append(block)
        if self._use_eagle and found:
            found.pop()
        return found

    def _catch_up(self) -> None:
        """Blocks that steady decodes have filled get keys, ones that they took lose them."""
        if self._caught_up < self._step:
            self._caught_up = self._step
            self._fill_decodes()
        self._lose()

    def _fill_decodes(self) -> None:
        for sequence, chain in self._decoding.items():
            self._fill(sequence, chain, sequence.offset + self._step - 1)

    def _lose(self) -> None:
        """Blocks that are used again lose their keys."""
        while len(self._unheld) > self.unused:
            block, _ = self._unheld.popitem(last=False)
            key = block.key
            others = self._more.get(key)
            if others is None:
                del self._found[key]
                continue
            if self._found[key] is block:
                self._found[key] = others.pop(0)
            else:
                others.remove(block)
            if not others:
                del self._more[key]

    def _release_later(self) -> None:
        if self._later_chains:
            for plain, blocks in self._later_chains:
                self._release(plain, blocks)
            self._later_chains.clear()

    def _release(self, plain: int, blocks: list[Block]) -> None:
        """One holder fewer for the blocks, and so many without a key are unused again."""
        self._lose()
        self.unused += plain
        for block in reversed(blocks):
            block.holders -= 1
            if not block.holders:
                self._unheld[block] = None
                self.unused += 1
