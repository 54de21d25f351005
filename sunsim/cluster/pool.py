"""The workers of one stage of an arm, and who gets a model's next request."""

from collections.abc import Callable
from typing import ClassVar

from sunsim.clock import to_ps
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.events import DECODE, PREFILL, Clock
from sunsim.cluster.load_report import Reporter
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.routes import Routes
from sunsim.cluster.worker import Worker
from sunsim.latency.steps import WorkerTimes
from sunsim.records import WorkerRecord
from sunsim.roles import Module, Stage
from sunsim.scenario import Pool as Loaded
from sunsim.scenario import Scenario
from sunsim.workload.streams import stream


def _unseen(worker: Worker) -> None:
    """Its router hears of this with the next report."""


class Pool:
    """Workers as a loaded scenario has them.

    Attributes:
        workers: by slot.
        times: the workers' step times and front-end delays.
        kv_bytes_per_token: bytes that one token's KV cache takes, on all GPUs of a worker.
        engine: what drives a worker; tests put the step-by-step twin in its place.
    """

    engine: ClassVar[type[Engine]] = Engine

    def __init__(
        self,
        env: Clock,
        block: Loaded,
        scenario: Scenario,
        *,
        feeds_decode: bool,
        times_on: Callable[[WorkerTimes], WorkerTimes],
        on_outcome: Callable[[Worker, Outcome], None],
    ) -> None:
        stage, profile = block.stage, block.profile
        self.times = block.times
        config = EngineConfig(
            max_num_seqs=block.max_num_seqs,
            max_num_batched_tokens=block.max_num_batched_tokens,
            num_gpu_blocks=block.num_gpu_blocks,
            block_size=profile.block_size,
            recompute=all(role.recomputes for role in block.roles),
            one_model_a_step=stage is Stage.PREFILL and block.module is not Module.ADAPTER,
            pin_finished=stage is Stage.PREFILL and feeds_decode,
            defer_block_free=stage is Stage.DECODE,
        )
        self.kv_bytes_per_token = profile.kv_bytes_per_token_of_all
        self._gpus = profile.gpus
        self.workers: list[Worker] = []
        first_priority = PREFILL if stage is Stage.PREFILL else DECODE
        self._reporters: list[Reporter] = []
        self._routes = Routes(block, scenario.seed, scenario.model_names)
        report = block.load_report
        times = times_on(self.times)
        for slot, name in enumerate(self._routes.names):
            # A slot sees the same stalls in every arm, whatever its group.
            offset = float(stream(scenario.seed, f"stalls/{stage}/{slot}").random())
            engine = self.engine(config, times, times.stalls(offset))
            eased = self._routes.eased(slot)
            worker = Worker(env, name, slot, first_priority + slot, engine, on_outcome, _unseen if report else eased)
            if report:
                every_ps, delay_ps = to_ps(report.every_ms / 1000), to_ps(report.delay_ms / 1000)
                self._reporters.append(Reporter(env, worker, every_ps, delay_ps, eased))
            self.workers.append(worker)
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
        return [worker.record(role, self._gpus) for worker, role in zip(self.workers, self._routes.roles, strict=True)]
