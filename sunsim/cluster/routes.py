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
        self._routers: dict[str | None, Router] = {}
        self._routes: list[tuple[Router, int, Sequence[Load]]] = []
        own = {role.model for role in block.roles}
        self._served_by = [name if name in own else None for name in models]
        for role, size in block.roles.items():
            rng = partial(stream, seed, f"router/{role.stage}/{role.serves}")
            self._routers[role.model] = _router(block, rng)
            self._first[role.model] = len(self.names)
            self.names += [f"{role.folder}/{i}" for i in range(size)]
            self.roles += [role] * size

    def watch(self, loads: Sequence[Load]) -> None:
        """To be called once, before the first pick: the workers' loads, by slot."""
        members = {of: [loads[slot] for slot, role in enumerate(self.roles) if role.model == of] for of in self._first}
        self._routes = [(self._routers[of], self._first[of], members[of]) for of in self._served_by]

    def pick(self, model: int, asked: Asked | None = None) -> int:
        """Slot of the worker that gets the next request of the model with this index.

        Args:
            asked: what is known of it, its `cached_tokens` by slot.
        """
        router, first, members = self._routes[model]
        if asked and first:
            cached_tokens = asked.cached_tokens
            asked = asked._replace(cached_tokens=lambda index: cached_tokens(first + index))
        return first + router.pick(members, asked)

    def serving(self, model: int) -> tuple[Sequence[int], Sequence[Load]]:
        """Slots of the workers that take requests of the model with this index now, in order, and their loads."""
        _, first, members = self._routes[model]
        return range(first, first + len(members)), members

    def index(self, slot: int) -> int:
        """Its number among those of its role."""
        return slot - self._first[self.roles[slot].model]

    def eased(self, slot: int) -> Callable[[Load], None]:
        """What to call with the load of a slot whenever that may have fallen."""
        return partial(self._routers[self.roles[slot].model].eased, self.index(slot))


class ElasticRoutes(Routes):
    """The same where workers come and go: only those that serve are picked."""

    def __init__(self, block: Pool, seed: int, models: Sequence[str]) -> None:
        super().__init__(block, seed, models)
        self._loads: Sequence[Load] = ()
        self._serving: dict[str | None, list[int]] = {of: [] for of in self._first}
        self._members: dict[str | None, list[Load]] = {of: [] for of in self._first}
        self._index: dict[int, int] = {}  # among those that serve in its group, by slot

    def watch(self, loads: Sequence[Load]) -> None:
        """To be called once, before the first pick: the workers' loads, by slot. None serves yet."""
        self._loads = loads

    def serve(self, of: str | None, slots: Sequence[int]) -> None:
        """From now on these workers, in order, take the requests of a model's own group, or with None of all models."""
        before = self._serving[of]
        for slot in before:
            del self._index[slot]
        self._index |= {slot: index for index, slot in enumerate(slots)}
        self._serving[of] = list(slots)
        self._members[of] = [self._loads[slot] for slot in slots]
        self._routers[of].changed([self._index.get(slot) for slot in before])

    def pick(self, model: int, asked: Asked | None = None) -> int:
        """As `Routes.pick`."""
        of = self._served_by[model]
        slots = self._serving[of]
        if asked:
            cached_tokens = asked.cached_tokens
            asked = asked._replace(cached_tokens=lambda index: cached_tokens(slots[index]))
        return slots[self._routers[of].pick(self._members[of], asked)]

    def serving(self, model: int) -> tuple[Sequence[int], Sequence[Load]]:
        """As `Routes.serving`."""
        of = self._served_by[model]
        return self._serving[of], self._members[of]

    def eased(self, slot: int) -> Callable[[Load], None]:
        """As `Routes.eased`."""
        router = self._routers[self.roles[slot].model]

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
