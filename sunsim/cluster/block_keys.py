"""What the blocks of a request's text are called, so that equal beginnings of texts have equal names."""

from collections.abc import Sequence

from sunsim.workload.sessions import UNKNOWN, Sessions


class BlockKeys:
    """A number for every full block of every text.

    Two requests share a key where, and only where, their texts are the same up to the block's end; with `by_model` their
    models have to be the same, too. It stands for vLLM's chained hashes of token ids. A block belongs to the segment that
    its last token lies in, and the blocks of a segment are numbered one after the other, so that no token is looked at.

    Args:
        sessions: of the requests.
        block_size: tokens of a block.
        by_model: the model of each request, int[n]; None where the KV is the same for all models.
    """

    def __init__(self, sessions: Sessions, block_size: int, by_model: Sequence[int] | None) -> None:
        segments = sessions.segments
        parent: list[int] = segments.parent.tolist()
        ends: list[int] = segments.end.tolist()
        self._size = block_size
        self._parent = parent
        self._answer: list[int] = sessions.answer.tolist()
        self._blocks: list[int] = [end // block_size for end in ends]  # of a text until the segment's end
        self._first: list[int] = []  # the key that a text's first block would have if all lay in this segment
        keys = 0
        for segment, blocks in enumerate(self._blocks):
            before = 0 if parent[segment] == UNKNOWN else self._blocks[parent[segment]]
            self._first.append(keys - before)
            keys += blocks - before
        self._keys = keys
        self._model = by_model

    def of(self, request: int, tokens: int) -> list[int]:
        """Keys of the full blocks of the first `tokens` tokens of a request's prompt and answer, in order."""
        parent, blocks, first = self._parent, self._blocks, self._first
        until = tokens // self._size
        base = self._keys * self._model[request] if self._model else 0
        pieces: list[list[int]] = []
        segment = self._answer[request]
        while segment != UNKNOWN:
            before = parent[segment]
            begin = 0 if before == UNKNOWN else blocks[before]
            if begin < until:
                own = base + first[segment]
                pieces.append(list(range(own + begin, own + min(blocks[segment], until))))
            segment = before
        keys: list[int] = []
        for piece in reversed(pieces):
            keys += piece
        return keys
