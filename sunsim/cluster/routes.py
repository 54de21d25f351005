"""Which workers a stage has, and who gets a model's next request."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from sunsim.cluster.adaptive_router import ADAPTIVE_ROUTERS
from sunsim.cluster.predict import DecodeForecast
from sunsim.cluster.router import Asked, Load, Router, make_router
from sunsim.roles import Role
from sunsim.scenario import Pool
from sunsim.workload.streams import stream


class _Group:
    """The workers that take the same models' requests now: by slot, and their loads in the same order."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.slots: list[int] = []
        self.members: list[Load] = []

    def take(self, slots: Sequence[int], loads: Sequence[Load]) -> None:
        """These are they from now on; `loads` are those of all slots."""
        self.slots = list(slots)
        self.members = [loads[slot] for slot in slots]


class Routes:
    """The workers of a pool block by slot, and a router for each group of them; a live cluster uses it as it is.

    Attributes:
        names: of the workers, by slot.
        roles: what each worker does, by slot.
    """

    def __init__(self, block: Pool, seed: int, models: Sequence[str]) -> None:
        self.names: list[str] = []
        self.roles: list[Role] = []
        self._first: dict[str | None, int] = {}
        self._groups: dict[str | None, _Group] = {}
        own = {role.model for role in block.roles}
        self._served_by = [name if name in own else None for name in models]
        for role, size in block.roles.items():
            rng = partial(stream, seed, f"router/{role.stage}/{role.serves}")
            self._groups[role.model] = _Group(_router(block, rng))
            self._first[role.model] = len(self.names)
            self.names += [f"{role.folder}/{i}" for i in range(size)]
            self.roles += [role] * size

    def watch(self, loads: Sequence[Load]) -> None:
        """To be called once, before the first pick: the workers' loads, by slot."""
        for of, group in self._groups.items():
            group.take([slot for slot, role in enumerate(self.roles) if role.model == of], loads)

    def pick(self, model: int, asked: Asked | None = None) -> int:
        """Slot of the worker that gets the next request of the model with this index.

        Args:
            asked: what is known of it, its `cached_tokens` by slot.
        """
        group = self._groups[self._served_by[model]]
        slots = group.slots
        if asked:
            cached_tokens = asked.cached_tokens
            asked = asked._replace(cached_tokens=lambda index: cached_tokens(slots[index]))
        return slots[group.router.pick(group.members, asked)]

    def serving(self, model: int) -> tuple[Sequence[int], Sequence[Load]]:
        """Slots of the workers that take requests of the model with this index now, in order, and their loads."""
        group = self._groups[self._served_by[model]]
        return group.slots, group.members

    def index(self, slot: int) -> int:
        """Its number among those of its role."""
        return slot - self._first[self.roles[slot].model]

    def eased(self, slot: int) -> Callable[[Load], None]:
        """What to call with the load of a slot whenever that may have fallen."""
        return partial(self._groups[self.roles[slot].model].router.eased, self.index(slot))


class ElasticRoutes(Routes):
    """The same where workers come and go: only those that serve are picked."""

    def __init__(self, block: Pool, seed: int, models: Sequence[str]) -> None:
        super().__init__(block, seed, models)
        self._loads: Sequence[Load] = ()
        self._index: dict[int, int] = {}  # among those that serve in its group, by slot

    def watch(self, loads: Sequence[Load]) -> None:
        """To be called once, before the first pick: the workers' loads, by slot. None serves yet."""
        self._loads = loads

    def serve(self, of: str | None, slots: Sequence[int]) -> None:
        """From now on these workers, in order, take the requests of a model's own group, or with None of all models."""
        group = self._groups[of]
        before = group.slots
        for slot in before:
            del self._index[slot]
        self._index |= {slot: index for index, slot in enumerate(slots)}
        group.take(slots, self._loads)
        group.router.changed([self._index.get(slot) for slot in before])

    def eased(self, slot: int) -> Callable[[Load], None]:
        """As `Routes.eased`."""
        router = self._groups[self.roles[slot].model].router

        def eased(load: Load) -> None:
            index = self._index.get(slot)
            if index is not None:
                router.eased(index, load)

        return eased


def _router(block: Pool, rng: Callable[[], np.random.Generator]) -> Router:
    if adaptive := ADAPTIVE_ROUTERS.get(block.router):
        return adaptive(DecodeForecast.of(block))
    promised = block.block.output_lengths is not None
    return make_router(block.router, rng, block.block.max_imbalance, promised=promised)
