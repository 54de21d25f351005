"""What a decode will do, step by step, until its end: how far it gets, and which KV blocks that takes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.sequence import Sequence

Ints = NDArray[np.int64]


class Before(NamedTuple):
    """A decode in the step before its plan begins: its context, that in the step before, its drafts and its KV blocks."""

    context: int
    earlier: int
    k: int
    blocks: int


class Plan:
    """One decode from a step on, with the same number of drafts in every step but the one in which it enters.

    vLLM schedules a step before the output of the last one is out, so who ends in a burst of several tokens, which could
    have been one, is computed once more: as a ghost, which emits nothing. For the same reason it has blocks for as many
    tokens as two steps may bring.

    Attributes:
        first: the step.
        last: emits its last token.
        at_last: tokens known before that.
        gone: the last step that computes it: `last`, or the one after where it is a ghost.
        k: drafts in a step.
        enters: 1 if it enters in `first`, which then has no drafts and emits one token; else 0.
        left: tokens to come from `first` on.
        contexts: known tokens before the steps from `first` to `last` + 1, int64; the last burst is not cut.
        bursts: tokens from these steps but the last, int64.
        blocks: KV blocks that it has in the steps from `first` to `gone`, int64.
        more: of them, those that it takes in the step.
        counted: steps of it that `Counts` has.
        order: of those that end in one step, the one with the least is the first to.
        one_before, two_before: tokens known one step before `first`, and two; of one that enters all that are known.
    """

    __slots__ = (
        "at_last",
        "blocks",
        "bursts",
        "contexts",
        "counted",
        "enters",
        "first",
        "gone",
        "k",
        "last",
        "left",
        "more",
        "one_before",
        "order",
        "sequence",
        "two_before",
    )

    def __init__(
        self,
        sequence: Sequence,
        step: int,
        known: int,
        left: int,
        before: Before | None,
        k: int,
        drafts: Drafts,
        block_size: int,
    ) -> None:
        """Plans a decode from `step` on.

        Args:
            known: tokens known before it.
            left: tokens to come; none, or fewer, for a ghost.
            before: None if it enters in `step`.
        """
        self.sequence = sequence
        self.first = step
        self.k = k
        self.enters = enters = 0 if before else 1
        self.left = left
        self.counted = 0
        self.order = 0
        contexts = _contexts(sequence, known, left, enters, k, drafts)
        steps = contexts.size - 1
        self.contexts: Ints = contexts
        self.bursts: Ints = contexts[1:] - contexts[:-1]
        self.last = last = step + steps - 1
        self.at_last = before.context if before and not steps else int(contexts[-2])
        # Only a last burst that might have been cut leaves it open whether the next step computes it.
        self.gone = gone = last + 1 if left - self.at_last + known > 1 else last
        n = gone - step
        # Room for what two steps may bring and for what is drafted then, rounded up to blocks; it never gets less.
        self.blocks: Ints = np.empty(n + 1, np.int64)
        blocks = self.blocks
        np.add(contexts[:n], 2 * k + drafts.lookahead + block_size, out=blocks[1:])
        self.one_before = self.two_before = known
        if before:
            self.one_before, self.two_before = before.context, before.earlier
            held = before.blocks
            blocks[0] = before.context + before.k + k + drafts.lookahead + block_size
        else:
            held = sequence.blocks
            blocks[0] = 0
            blocks[1:2] -= k
        most = drafts.max_model_len + block_size - 1
        if int(blocks[-1]) > most:
            np.minimum(blocks, most, out=blocks)
        blocks //= block_size
        least = max(held, int(blocks[0]))
        if int(blocks[min(n, 1)]) < least:
            np.maximum(blocks, least, out=blocks)
        blocks[0] = least
        self.more: Ints = np.empty_like(blocks)
        self.more[0] = least - held
        np.subtract(blocks[1:], blocks[:-1], out=self.more[1:])

    def before(self, step: int) -> Before:
        """It in the step before `step`, which is after its first one."""
        i = step - 1 - self.first
        k = 0 if i < self.enters else self.k
        return Before(int(self.contexts[i]), self.out(step - 1), k, int(self.blocks[i]))

    def held(self, step: int) -> int:
        """KV blocks that it has before it takes any for `step`, from its first to the one it is gone after."""
        i = step - self.first
        return int(self.blocks[i] - self.more[i])

    def known(self, step: int) -> int:
        """Tokens known before a step, from its first to the one after its last."""
        return int(self.contexts[step - self.first])

    def out(self, step: int) -> int:
        """Tokens that are out when a step is decided, not before the last step before `first`."""
        i = step - 1 - self.first
        if i >= 0:
            return int(self.contexts[i])
        return self.one_before if i == -1 else self.two_before

    def left_at(self, step: int) -> int:
        """Tokens to come from such a step on; fewer than none where the last burst was cut."""
        return self.left + int(self.contexts[0]) - self.known(step)


def _contexts(sequence: Sequence, known: int, left: int, enters: int, k: int, drafts: Drafts) -> Ints:
    """`Plan.contexts` of a decode with `left` tokens to come."""
    to_draw = left - enters
    if not k or to_draw <= 0:
        return np.arange(known, known + max(left, 0) + 1)
    known += enters
    ends = drafts.acceptance.ends(sequence.request, sequence.model, sequence.drafts, known, to_draw, k)
    contexts = np.empty(ends.size + 1 + enters, np.int64)
    contexts[0] = known - enters
    contexts[enters] = known
    np.add(ends, known, out=contexts[enters + 1 :])
    return contexts
