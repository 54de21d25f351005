"""The workers of one stage of an arm, and who gets a model's next request."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sunsim.clock import to_ps
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.events import DECODE, PREFILL
from sunsim.cluster.load_report import Reporter
from sunsim.cluster.routes import SHARED, Routes
from sunsim.cluster.worker import Worker
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile, cached_profile, find_profile
from sunsim.roles import Module, Role, Stage
from sunsim.workload.mix import length_mix
from sunsim.workload.streams import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sunsim.cluster.engine import Engine, Outcome
    from sunsim.cluster.events import Clock
    from sunsim.latency.attention import LengthMix
    from sunsim.latency.steps import StepTimes
    from sunsim.records import WorkerRecord
    from sunsim.scenario import Pool as PoolBlock
    from sunsim.scenario import Scenario

    MakeEngine = Callable[[EngineConfig, StepTimes, Iterator[tuple[int, int]]], Engine]


def read_profile(path: Path, mix: LengthMix, adapters: int = 0) -> tuple[Profile, LatencyModel]:
    """A profile and its step times for requests of a mix, and for a worker of so many adapters if it is one of these."""
    profile, stat = cached_profile(path), path.stat()
    adapters = adapters if profile.adapters else 0
    return profile, _times_once(path, stat.st_mtime_ns, stat.st_size, mix, adapters)


@lru_cache(maxsize=64)
def _times_once(
    path: Path,
    mtime_ns: int,  # noqa: ARG001 - the file's state
    size: int,  # noqa: ARG001
    mix: LengthMix,
    adapters: int,
) -> LatencyModel:
    """Every arm of a scenario uses the same few profiles, and the model's tables are filled as they are used."""
    return LatencyModel(cached_profile(path), mix, adapters)


def _unseen(worker: Worker) -> None:
    """Its router hears of this with the next report."""


class Pool:
    """Workers built from a loaded scenario's pool block.

    Attributes:
        workers: by slot.
        times: the workers' step times and front-end delays.
        kv_bytes_per_token: bytes that one token's KV cache takes.
    """

    def __init__(
        self,
        env: Clock,
        stage: Literal["prefill", "decode", "colocated"],
        block: PoolBlock,
        scenario: Scenario,
        *,
        feeds_decode: bool,
        make_engine: MakeEngine,
        on_outcome: Callable[[Worker, Outcome], None],
    ) -> None:
        served = len(scenario.model_names) if block.policy == "shared" else 1
        profile, self.times = read_profile(find_profile(block.profile, Path()), length_mix(scenario), served)
        config = EngineConfig(
            max_num_seqs=block.max_num_seqs or profile.max_num_seqs,
            max_num_batched_tokens=block.max_num_batched_tokens or profile.max_num_batched_tokens,
            num_gpu_blocks=block.num_gpu_blocks or profile.num_gpu_blocks,
            block_size=profile.block_size,
            recompute=_module(stage, block.policy, adapters=profile.adapters) is not None,
            one_model_a_step=stage == "prefill" and not profile.adapters,
            pin_finished=stage == "prefill" and feeds_decode,
            defer_block_free=stage == "decode",
        )
        self.kv_bytes_per_token = profile.kv_bytes_per_token
        self.workers: list[Worker] = []
        self._records: list[Callable[[], WorkerRecord]] = []
        module = _module(stage, block.policy, adapters=profile.adapters)
        first_priority = PREFILL if stage == "prefill" else DECODE
        self._reporters: list[Reporter] = []
        self._routes = Routes(stage, block, scenario)
        report = block.load_report
        for slot, (name, group) in enumerate(zip(self._routes.names, self._routes.groups, strict=True)):
            # A slot sees the same stalls in every arm, whatever its group.
            offset = float(stream(scenario.seed, f"stalls/{stage}/{slot}").random())
            engine = make_engine(config, self.times, self.times.stalls(offset))
            eased = self._routes.eased(slot)
            worker = Worker(env, name, slot, first_priority + slot, engine, on_outcome, _unseen if report else eased)
            if report:
                every_ps, delay_ps = to_ps(report.every_ms / 1000), to_ps(report.delay_ms / 1000)
                self._reporters.append(Reporter(env, worker, every_ps, delay_ps, eased))
            self.workers.append(worker)
            role = Role(Stage(stage), None if group == SHARED else group, module)
            self._records.append(partial(worker.record, role))
        self._routes.watch([reporter.seen for reporter in self._reporters] or self.workers)

    def route(self, model: int, tokens: int) -> Worker:
        """The worker that gets the next request of this model, which has so many tokens."""
        slot = self._routes.pick(model)
        if self._reporters:
            self._reporters[slot].send(tokens)
        return self.workers[slot]

    @property
    def worker_names(self) -> list[str]:
        """Their names, by slot."""
        return [worker.name for worker in self.workers]

    def records(self) -> list[WorkerRecord]:
        """What each worker has done so far."""
        return [record() for record in self._records]


def _module(stage: str, policy: str, *, adapters: bool) -> Module:
    if adapters:
        return Module.ADAPTER
    return Module.SHARED if stage == "decode" and policy == "shared" else Module.OWN
