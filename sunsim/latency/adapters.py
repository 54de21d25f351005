"""What LoRA adapters cost a decode step: more, the more different ones its requests use.

A profile's requests use its `max_loras` adapters in turn, so a steady batch of `b` requests has ``min(b, max_loras)``
different ones. Up to there step time climbs with every request, beyond it hardly does, so the climb is put down to them.
Requests as they come share adapters sooner. How many different ones a batch has follows from how they are chosen:
`at_random` by a scenario's models, `in_turn` where requests were played for a profile or a replay.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Distinct = Callable[[int], float]
"""Expected number of different adapters among so many requests."""


class AdapterCost(NamedTuple):
    """Of a profile.

    Attributes:
        each_ms: milliseconds that one more adapter adds to a decode step.
        measured: how many there were; 0 if it was measured without.
    """

    each_ms: float = 0.0
    measured: int = 0

    @classmethod
    def of(cls, rest_ms: Mapping[int, float], max_loras: int) -> "AdapterCost":
        """What steady steps say: the climb from one request to as many as there were adapters.

        Args:
            rest_ms: of steady steps without what depends on the context, by batch size.
            max_loras: adapters that the requests used in turn.
        """
        sizes = [batch for batch in rest_ms if batch <= max_loras]
        least, most = min(sizes, default=0), max(sizes, default=0)
        climb_ms = (rest_ms[most] - rest_ms[least]) / (most - least) if least < most else 0.0
        return cls(max(0.0, climb_ms), max_loras)

    def more_ms(self, batch: int, distinct: Distinct) -> float:
        """How much longer a step takes than a steady one, which has as many different adapters as it can."""
        return self.each_ms and self.each_ms * (distinct(batch) - min(batch, self.measured))


def at_random(shares: Sequence[float]) -> Distinct:
    """Of requests that use each adapter with its share of all, which add up to 1."""
    return lambda batch: sum(1 - (1 - share) ** batch for share in shares)


def in_turn(count: int, output_tokens: Sequence[int]) -> Distinct:
    """Of requests that use `count` adapters one after the other, and come as fast as keeps the batch.

    The request that came `k` before the last one is still there if its output is longer than what has been emitted
    since, and an adapter is used if any of its requests is.

    Args:
        output_tokens: of requests, any number.
    """
    outputs = np.sort(np.asarray(output_tokens))

    def distinct(batch: int) -> float:
        tokens_between = outputs.mean() / batch
        emitted = (np.arange(int(outputs[-1] / tokens_between) + 1) + 0.5) * tokens_between
        gone = np.searchsorted(outputs, emitted, side="right") / len(outputs)
        of_each = np.append(gone, np.ones(-len(gone) % count)).reshape(-1, count)
        return min(float(batch), float((1 - of_each.prod(axis=0)).sum()))

    return distinct
