"""What an elastic pool is sized by: the number of its policy that trades GPUs against waiting, in steps to be counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from sunsim.plan.search import Sizes
from sunsim.roles import Stage
from sunsim.scenario import Arm, Pool
from sunsim.scenario.scaling import Scaling

STEP = 1.1
"""From one value that is tried to the next."""
STEPS = 36
"""As many to either side of what the scenario says: up to about thirty times, and down to a thirtieth."""
KEYS = ("threshold_s", "target", "rps_per_worker")
"""Of a policy's block: the more, the fewer workers. Where it has several they are moved together."""

Values = Mapping[str, float]
"""By key of a policy's block."""


@dataclass(frozen=True, slots=True)
class Knob:
    """The values that are tried of a pool's policy.

    Attributes:
        kind: of the policy.
        values: from the loosest, which holds the fewest GPUs, to the tightest.
        given: place of what the scenario says among them, from 1.
    """

    kind: str
    values: tuple[Values, ...]
    given: int

    def at(self, place: int) -> Values:
        """The values of a place, from 1."""
        return self.values[place - 1]


def knob_of(pool: Pool) -> Knob | None:
    """That of a pool; None where there is nothing to turn: of a fixed pool, and where a schedule says the sizes."""
    scaling = pool.block.scaling
    given = {key: value for key in KEYS if (value := getattr(scaling, key, None)) is not None}
    if scaling is None or not given:
        return None
    looser = list(_beside(scaling, given, STEP))
    tighter = list(_beside(scaling, given, 1 / STEP))
    return Knob(scaling.kind, (*reversed(looser), given, *tighter), len(looser) + 1)


def _beside(scaling: Scaling, given: Values, step: float) -> Iterator[Values]:
    """Values further and further from what is given, as long as the policy may have them."""
    for n in range(1, STEPS + 1):
        # Three digits, so that what is printed is what was simulated.
        values = {key: float(f"{value * step**n:.3g}") for key, value in given.items()}
        try:
            type(scaling).model_validate(scaling.model_dump() | values)
        except ValidationError:
            return
        yield values


def resized(arm: Arm, sizes: Sizes, values: Mapping[Stage, Values]) -> Arm:
    """The arm with other numbers of workers in its fixed pools, and other values in its elastic ones' policies."""
    pools = {}
    for stage, pool in arm.pools().items():
        scaling = pool.block.scaling
        if scaling is None:
            pools[str(stage)] = pool.with_workers(sizes)
        elif stage in values:
            block = pool.block.model_copy(update={"scaling": scaling.model_copy(update=dict(values[stage]))})
            pools[str(stage)] = replace(pool, block=block)
    blocks = {stage: pool.block for stage, pool in pools.items()}
    return replace(arm, block=arm.block.model_copy(update=blocks), **pools)
