"""A pool whose workers come and go."""

from functools import partial
from typing import ClassVar

import pandas as pd

from sunsim.clock import to_s
from sunsim.cluster.events import Clock
from sunsim.cluster.pool import Pool
from sunsim.cluster.routes import ElasticRoutes
from sunsim.cluster.scaling.elastic_worker import ElasticWorker
from sunsim.cluster.scaling.make import make_policy
from sunsim.cluster.scaling.scaler import Scaler
from sunsim.cluster.worker import Worker
from sunsim.records import SIZE_COLUMNS
from sunsim.roles import Role
from sunsim.scenario import Pool as Loaded
from sunsim.scenario import Scenario
from sunsim.workload.requests import Requests


class ElasticPool(Pool):
    """A pool of which only those workers get requests that are ready.

    Attributes:
        scalers: one for each group of workers, from `begin` on.
    """

    worker: ClassVar[type[Worker]] = ElasticWorker
    scalers: dict[Role, Scaler]

    def begin(self, env: Clock, block: Loaded, scenario: Scenario, requests: Requests) -> None:
        """The workers that there are at the start get ready; `requests` are all that will come."""
        scaling, routes = block.block.scaling, self._routes
        assert scaling
        assert isinstance(routes, ElasticRoutes)
        self.scalers = {}
        for role in block.roles:
            workers = [worker for worker in self.workers if routes.roles[worker.slot] == role]
            own = [worker for worker in workers if isinstance(worker, ElasticWorker)]
            policy, at_start = make_policy(scaling, block, role, scenario, requests)
            bounds = block.bounds(role)
            initial = min(max(scaling.initial or at_start, bounds.min), bounds.max)
            self.scalers[role] = Scaler(env, scaling, bounds, own, policy, initial, partial(routes.serve, role.model))

    def sizes(self) -> pd.DataFrame:
        """`records.SIZE_COLUMNS`, so far."""
        rows = [
            (str(role.stage), role.serves, to_s(at_ps), *numbers)
            for role, scaler in self.scalers.items()
            for at_ps, *numbers in scaler.sizes
        ]
        return pd.DataFrame(rows, columns=[column.name for column in SIZE_COLUMNS])

    def _make_routes(self, block: Loaded, scenario: Scenario) -> ElasticRoutes:
        return ElasticRoutes(block, scenario.seed, scenario.model_names)
