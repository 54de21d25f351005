"""The workers of one stage of an arm, and who gets a model's next request."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sunsim.cluster.engine import Engine, EngineConfig
from sunsim.cluster.events import DECODE, PREFILL
from sunsim.cluster.router import make_router
from sunsim.cluster.worker import Worker, WorkerRow
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile, find_profile, load_profile
from sunsim.workload.streams import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sunsim.cluster.engine import Outcome
    from sunsim.cluster.events import Clock
    from sunsim.latency.steps import StepTimes
    from sunsim.scenario import Pool as PoolBlock
    from sunsim.scenario import Scenario

    MakeEngine = Callable[[EngineConfig, StepTimes, Iterator[tuple[int, int]]], Engine]

SHARED = "*"


def _read(path: Path) -> tuple[Profile, LatencyModel]:
    stat = path.stat()
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _read_once(path: Path, mtime_ns: int, size: int) -> tuple[Profile, LatencyModel]:  # noqa: ARG001 - the file's state
    """Every arm of a scenario reads the same few profiles, and the model's tables are filled as they are used."""
    profile = load_profile(path)
    return profile, LatencyModel(profile)


class Pool:
    """Workers built from a loaded scenario's pool block.

    Attributes:
        times: the workers' step times and front-end delays.
        kv_bytes_per_token: bytes that one token's KV cache takes.
    """

    def __init__(
        self,
        env: Clock,
        stage: Literal["prefill", "decode"],
        block: PoolBlock,
        scenario: Scenario,
        *,
        feeds_decode: bool,
        make_engine: MakeEngine,
        on_outcome: Callable[[Worker, Outcome], None],
    ) -> None:
        profile, self.times = _read(find_profile(block.profile, Path()))
        config = EngineConfig(
            max_num_seqs=block.max_num_seqs or profile.max_num_seqs,
            max_num_batched_tokens=block.max_num_batched_tokens or profile.max_num_batched_tokens,
            num_gpu_blocks=block.num_gpu_blocks or profile.num_gpu_blocks,
            block_size=profile.block_size,
            # A shared decode module cannot prefill for a task: the KV of a preempted prompt comes from elsewhere.
            recompute=stage == "prefill" or block.policy == "isolated",
            one_model_a_step=stage == "prefill",
            pin_finished=stage == "prefill" and feeds_decode,
            defer_block_free=stage == "decode",
        )
        self.kv_bytes_per_token = profile.kv_bytes_per_token
        self._stage = stage
        self._workers: dict[str, list[Worker]] = {}
        routers = {}
        first_priority = PREFILL if stage == "prefill" else DECODE
        slots = count()  # one a worker, whatever its group: a slot sees the same stalls in every arm

        def make_worker(name: str) -> Worker:
            slot = next(slots)
            offset = float(stream(scenario.seed, f"stalls/{stage}/{slot}").random())
            engine = make_engine(config, self.times, self.times.stalls(offset))
            return Worker(env, name, first_priority + slot, engine, on_outcome)

        groups = block.workers if isinstance(block.workers, dict) else {SHARED: block.workers}
        for group, number in groups.items():
            folder = "shared" if group == SHARED else group
            self._workers[group] = [make_worker(f"{stage}/{folder}/{i}") for i in range(number)]
            routers[group] = make_router(block.router, partial(stream, scenario.seed, f"router/{stage}/{group}"))
        by_model = [name if name in groups else SHARED for name in scenario.model_names]
        self._routes = [(routers[group], self._workers[group]) for group in by_model]

    def route(self, model: int) -> Worker:
        """The worker that gets the next request of this model."""
        router, workers = self._routes[model]
        return workers[router.pick(workers)]

    def rows(self) -> list[WorkerRow]:
        """What each worker has done so far."""
        return [worker.row(self._stage, group) for group, workers in self._workers.items() for worker in workers]
