"""The KV blocks of one worker: who holds how many, and who gets them back when.

A request's blocks are counted here and nowhere else. One that decodes steadily needs another block every so many steps,
so its blocks follow from the number of the step, and are only written down when it stops.

Nobody shares a block here; `CachingBlocks` is for workers that cache prefixes.
"""

from sunsim.cluster.sequence import KV, Sequence

COMPUTE, PULL = KV.COMPUTE, KV.PULL  # an enum's members take long to look up


class KVBlocks:
    """A worker's blocks of `size` tokens each.

    Attributes:
        unused: blocks that nobody holds.
        later: blocks that nobody holds from the next decision on.
        pinned: blocks of finished requests whose KV has not been fetched.
        queries, hits: tokens that were looked for in a prefix cache, and found.
    """

    __slots__ = ("_decodes", "_growing", "hits", "later", "pinned", "queries", "size", "unused")

    def __init__(self, number: int, size: int) -> None:
        self.size = size
        self.unused = number - 1  # vLLM keeps block 0 to itself
        self.pinned = 0
        self.queries = 0
        self.hits = 0
        self.later = 0
        self._decodes = 0
        self._growing = [0] * size  # steady decodes that need a block at the steps of each residue

    def cached_tokens(self, sequence: Sequence) -> int:  # noqa: ARG002
        """Of a request that may be elsewhere, the tokens that would be found here now."""
        return 0

    def forget(self) -> None:
        """Nothing is found here any more; nobody holds a block."""

    def admit(self, sequence: Sequence) -> bool:
        """Begins with a waiting request, or gives False if there is no room for all that is known of it.

        Says what of it need not be computed; if that is pulled, it has its blocks at once.
        """
        known = sequence.known_tokens
        if -(-known // self.size) > self.unused:
            return False
        if sequence.kv is COMPUTE:
            sequence.computed_tokens = 0
        else:
            sequence.computed_tokens = min(sequence.held_tokens, known - 1)
            if sequence.kv is PULL:
                self.grow(sequence, known)
        return True

    def can_grow(self, sequence: Sequence, tokens: int) -> bool:
        """Whether there is room for so many of its tokens in all."""
        return -(-tokens // self.size) - sequence.blocks <= self.unused

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Gives a request the blocks that it lacks for so many tokens in all."""
        more = -(-tokens // self.size) - sequence.blocks
        if more > 0:
            self.unused -= more
            sequence.blocks += more

    def pin(self, sequence: Sequence) -> None:
        """A finished request keeps its blocks until `unpin`."""
        self.pinned += sequence.blocks

    def unpin(self, sequence: Sequence) -> None:
        """A finished request's KV has been fetched."""
        self.pinned -= sequence.blocks
        self.free(sequence)

    def free(self, sequence: Sequence) -> None:
        """A request's blocks can be used again at once."""
        self.unused += sequence.blocks
        sequence.blocks = 0

    def free_later(self, sequence: Sequence) -> None:
        """A request's blocks can be used again from the next decision on."""
        self.later += sequence.blocks
        sequence.blocks = 0

    def release_later(self) -> None:
        """What was to come free with the next decision does now."""
        self.unused += self.later
        self.later = 0

    def join(self, sequence: Sequence) -> None:
        """A request decodes steadily from now on, with blocks for its `Sequence.offset` and the step before its second."""
        self._decodes += 1
        self._growing[(1 - sequence.offset) % self.size] += 1

    def leave(self, sequence: Sequence, step: int) -> None:
        """It has blocks for `step`, and does not go on."""
        self._decodes -= 1
        self._growing[(1 - sequence.offset) % self.size] -= 1
        sequence.blocks = -(-(sequence.offset + step) // self.size)

    def grows(self, sequence: Sequence, step: int) -> bool:
        """Whether a steady decode needs another block at a step."""
        return (sequence.offset + step - 1) % self.size == 0

    def decide(self, step: int) -> bool:
        """The decision for a step: what was to come free later does, and the steady decodes get what they need.

        Gives False, and them nothing, if that is not there.
        """
        if self.later:
            self.unused += self.later
            self.later = 0
        needed = self._growing[step % self.size]
        if needed > self.unused:
            return False
        self.unused -= needed
        return True

    def take(self, blocks: int) -> bool:
        """Gives decodes so many blocks; False, and none, if there are fewer."""
        if blocks > self.unused:
            return False
        self.unused -= blocks
        return True

    def grow_over(self, step: int, n: int) -> None:
        """Gives the steady decodes what they need at the `n` steps from `step`; it must be there."""
        growing, size = self._growing, self.size
        first = step % size
        if n == 1:
            self.unused -= growing[first]
            return
        rounds, rest = divmod(n, size)
        needed = rounds * self._decodes + sum(growing[first : first + rest])
        if first + rest > size:
            needed += sum(growing[: first + rest - size])
        self.unused -= needed

    def lasting(self, step: int, n: int) -> int:
        """For how many of the `n` steps from `step` there are blocks.

        Counts sequences that end meanwhile as if they went on, so it may be fewer than there are, never more.
        """
        unused, growing, size = self.unused, self._growing, self.size
        if unused >= self._decodes * -(-n // size):
            return n
        for s in range(step, step + n):
            unused -= growing[s % size]
            if unused < 0:
                return s - step
        return n
