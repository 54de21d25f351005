"""Which workers a stage has, and who gets a model's next request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sunsim.cluster.router import make_router
from sunsim.workload.streams import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sunsim.cluster.router import Load, Router
    from sunsim.scenario import Pool

SHARED = "*"


class Routes:
    """The workers of a pool block by slot, and a router for each group of them; a live cluster uses it as it is.

    Attributes:
        names: of the workers, by slot.
        groups: what each worker serves, by slot: one model, or ``*`` for all.
    """

    def __init__(self, block: Pool, seed: int, models: Sequence[str]) -> None:
        sizes = {role.serves: size for role, size in block.roles.items()}
        stage = block.stage
        self.names: list[str] = []
        self.groups: list[str] = []
        self._first: dict[str, int] = {}
        self._routers: dict[str, Router] = {}
        self._routes: list[tuple[Router, int, Sequence[Load]]] = []
        self._model_groups = [name if name in sizes else SHARED for name in models]
        for group, size in sizes.items():
            rng = partial(stream, seed, f"router/{stage}/{group}")
            self._routers[group] = make_router(block.router, rng)
            self._first[group] = len(self.names)
            folder = "shared" if group == SHARED else group
            self.names += [f"{stage}/{folder}/{i}" for i in range(size)]
            self.groups += [group] * size

    def watch(self, loads: Sequence[Load]) -> None:
        """To be called once, before the first pick: the workers' loads, by slot."""
        members = {group: [loads[slot] for slot, of in enumerate(self.groups) if of == group] for group in self._first}
        self._routes = [(self._routers[group], self._first[group], members[group]) for group in self._model_groups]

    def pick(self, model: int) -> int:
        """Slot of the worker that gets the next request of the model with this index."""
        router, first, members = self._routes[model]
        return first + router.pick(members)

    def eased(self, slot: int) -> Callable[[Load], None]:
        """What to call with the load of a slot whenever that may have fallen."""
        group = self.groups[slot]
        return partial(self._routers[group].eased, slot - self._first[group])
