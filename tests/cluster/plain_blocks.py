"""vLLM's block pool with its prefix cache, block by block: a list of free ones, and a table of full ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Protocol


class Keys(Protocol):
    def of(self, request: int, tokens: int) -> Sequence[Hashable]: ...


class TextKeys:
    """Chained hashes of token ids.

    Args:
        texts: each request's tokens, prompt and answer.
        models: each request's, or the same for all.
    """

    def __init__(self, texts: list[list[int]], block_size: int, models: list[int]) -> None:
        self.texts = texts
        self.size = block_size
        self.models = models

    def of(self, request: int, tokens: int) -> list[Hashable]:
        text = self.texts[request][:tokens]
        keys: list[Hashable] = []
        chained = hash(("begin", self.models[request]))
        for begin in range(0, len(text) - self.size + 1, self.size):
            chained = hash((chained, *text[begin : begin + self.size]))
            keys.append(chained)
        return keys


class PlainBlocks:
    """Blocks by number; number 0 is vLLM's own. Without keys none is ever found.

    Args:
        drop_last: the last block that is found is not used: a drafter needs the hidden states that computing it leaves.
    """

    def __init__(self, number: int, size: int, keys: Keys | None, *, drop_last: bool) -> None:
        self.size = size
        self.keys = keys
        self.drop_last = drop_last
        self.free = OrderedDict.fromkeys(range(1, number))  # the next to be taken first
        self.holders = [0] * number
        self.key: list[Hashable | None] = [None] * number
        self.table: dict[Hashable, list[int]] = {}

    def find(self, request: int, known: int) -> list[int]:
        """Blocks of the beginning of a text; the last known token's is never among them."""
        found: list[int] = []
        for key in self.keys.of(request, known - 1) if self.keys else ():
            if key not in self.table:
                break
            found.append(self.table[key][0])
        return found[:-1] if self.drop_last else found

    def lacking(self, found: list[int], tokens: int) -> int:
        """How many free blocks it takes to have room for so many tokens."""
        return -(-tokens // self.size) - len(found) + sum(not self.holders[block] for block in found)

    def touch(self, found: list[int]) -> None:
        for block in found:
            if not self.holders[block]:
                del self.free[block]
            self.holders[block] += 1

    def take(self, n: int) -> list[int]:
        taken = [self.free.popitem(last=False)[0] for _ in range(n)]
        for block in taken:
            self.holders[block] = 1
            key = self.key[block]
            if key is not None:
                self.key[block] = None
                self.table[key].remove(block)
                if not self.table[key]:
                    del self.table[key]
        return taken

    def name(self, blocks: list[int], request: int, tokens: int) -> None:
        """The blocks that are full with so many tokens can be found from now on."""
        full = min(tokens // self.size, len(blocks))
        if not full or self.key[blocks[full - 1]] is not None:
            return  # named before, as they are in order
        for block, key in zip(blocks, self.keys.of(request, tokens) if self.keys else (), strict=False):
            if self.key[block] is None:
                self.key[block] = key
                self.table.setdefault(key, []).append(block)

    def give_back(self, blocks: list[int]) -> None:
        for block in blocks:
            self.holders[block] -= 1
        unheld = [block for block in reversed(blocks) if not self.holders[block]]
        for block in unheld:
            self.free[block] = None
        for block in reversed(unheld):
            if self.key[block] is None:
                self.free.move_to_end(block, last=False)

    def forget(self) -> None:
        """Nothing is found any more; nobody holds a block."""
        self.key = [None] * len(self.key)
        self.table.clear()
