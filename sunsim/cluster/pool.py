"""The workers of one stage of an arm, and who gets a model's next request."""

from collections import abc
from collections.abc import Callable
from collections.abc import Sequence as Slots
from dataclasses import replace
from typing import ClassVar

from sunsim.clock import to_ps
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.events import DECODE, PREFILL, Clock
from sunsim.cluster.load_report import Reporter
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.promises import Outputs, Promises
from sunsim.cluster.router import Asked, Load
from sunsim.cluster.routes import Routes
from sunsim.cluster.sequence import UNSET, Sequence
from sunsim.cluster.worker import Worker
from sunsim.latency.steps import WorkerTimes, takes_drafts
from sunsim.latency.two_passes import DraftTwoPasses, TwoPasses
from sunsim.records import WorkerRecord
from sunsim.roles import Module, Stage
from sunsim.scenario import Arm, Scenario
from sunsim.scenario import Pool as Loaded
from sunsim.scenario.pools import AFFINE
from sunsim.workload.acceptance import Acceptance
from sunsim.workload.streams import stream


def _unseen(worker: Worker) -> None:
    """Its router hears of this with the next report."""


class Pool:
    """Workers as a loaded scenario has them.

    Attributes:
        workers: by slot.
        loads: of them, as routers know them.
        times: the workers' step times and front-end delays.
        engine: what drives a worker; tests put the step-by-step twin in its place.
        worker: what has an engine.
    """

    engine: ClassVar[type[Engine]] = Engine
    worker: ClassVar[type[Worker]] = Worker

    def __init__(
        self,
        env: Clock,
        block: Loaded,
        scenario: Scenario,
        *,
        arm: Arm,
        keys: BlockKeys | None,
        outputs: Outputs | None,
        times_on: Callable[[WorkerTimes], WorkerTimes],
        on_outcome: Callable[[Worker, Outcome], None],
    ) -> None:
        stage, profile = block.stage, block.profile
        self.times = block.times
        self._gpus = profile.gpus
        self.workers: list[Worker] = []
        first_priority = PREFILL if stage is Stage.PREFILL else DECODE
        self._reporters: list[Reporter] = []
        self._models = scenario.model_names
        self._outputs = outputs
        self._affine = block.router in AFFINE
        self._routes = self._make_routes(block, scenario)
        report = block.load_report
        appends = stage is Stage.DECODE and arm.prefills_on_decode
        outfit = _outfit(block, arm, times_on, _drafts(block, scenario), prompts=appends)
        converting = _converting(block, arm, times_on) if block.convertible else outfit
        for slot, name in enumerate(self._routes.names):
            # A slot sees the same stalls in every arm, whatever its group.
            offset = float(stream(scenario.seed, f"stalls/{stage}/{slot}").random())
            config, times = converting if self._may_convert(slot, block) else outfit
            engine = self.engine(config, times, times.stalls(offset), keys)
            eased = self._routes.eased(slot)
            priority, hears = first_priority + slot, _unseen if report else eased
            promises = Promises(outputs) if outputs else None
            worker = self.worker(env, name, slot, priority, engine, on_outcome, hears, promises)
            if report:
                every_ps, delay_ps = to_ps(report.every_ms / 1000), to_ps(report.delay_ms / 1000)
                self._reporters.append(Reporter(env, worker, every_ps, delay_ps, eased, promises=outputs is not None))
            self.workers.append(worker)
        self.loads: abc.Sequence[Load] = [reporter.seen for reporter in self._reporters] or self.workers
        self._routes.watch(self.loads)

    def pick(self, sequence: Sequence, session: int | None = None) -> int:
        """Slot of the worker that the router gives a request to, a round of a session if that is known; see `send`."""
        asked = None
        if self._outputs:
            asked = Asked(UNSET, lambda _slot: 0, sequence.known_tokens, self._outputs.left(sequence))
        elif self._affine and session is not None:
            asked = Asked(session, lambda slot: self.workers[slot].cached_tokens(sequence))
        return self._routes.pick(sequence.model, asked)

    def send(self, slot: int, sequence: Sequence) -> Worker:
        """The worker of this slot, as whoever sends it a request knows it from now on."""
        if self._reporters:
            promised_tokens = self._outputs.promised(sequence) if self._outputs else 0
            self._reporters[slot].send(sequence.known_tokens, promised_tokens)
        return self.workers[slot]

    def serves(self, slot: int, model: int) -> bool:
        """Whether the worker of this slot takes requests of the model with this index."""
        return self._routes.roles[slot].model in (None, self._models[model])

    def serving(self, model: int) -> tuple[Slots[int], Slots[Load]]:
        """Slots of the workers that take requests of the model with this index now, in order, and their loads as seen."""
        return self._routes.serving(model)

    def _may_convert(self, slot: int, block: Loaded) -> bool:
        """Whether the worker of this slot may take whole requests: of an elastic pool any may."""
        convertible = block.convertible
        return convertible is not None and (block.elastic or self._routes.index(slot) < convertible.workers)

    def _make_routes(self, block: Loaded, scenario: Scenario) -> Routes:
        return Routes(block, scenario.seed, scenario.model_names)

    @property
    def worker_names(self) -> list[str]:
        """Their names, by slot."""
        return [worker.name for worker in self.workers]

    def records(self) -> list[WorkerRecord]:
        """What each worker has done so far."""
        return [worker.record(role, self._gpus) for worker, role in zip(self.workers, self._routes.roles, strict=True)]


def _outfit(
    block: Loaded, arm: Arm, times_on: Callable[[WorkerTimes], WorkerTimes], drafts: Drafts | None, *, prompts: bool
) -> tuple[EngineConfig, WorkerTimes]:
    """What the workers of a pool are made with; with `prompts` they compute prompts although they decode."""
    stage, apart = block.stage, arm.prefill if prompts and arm.modules_differ else None
    prompts_by = apart or block
    config = EngineConfig(
        max_num_seqs=block.max_num_seqs,
        max_num_batched_tokens=block.max_num_batched_tokens,
        num_gpu_blocks=block.num_gpu_blocks,
        block_size=block.profile.block_size,
        recompute=prompts or all(role.recomputes for role in block.roles),
        one_model_a_step=prompts_by.stage is Stage.PREFILL and prompts_by.module is Module.OWN,
        pin_finished=stage is Stage.PREFILL and arm.decode is not None,
        defer_block_free=stage is Stage.DECODE or (stage is Stage.PREFILL and arm.keeps_history),
        enable_prefix_caching=block.block.enable_prefix_caching,
        reuse_answers=arm.keeps_history or not arm.modules_differ,
        drafts=drafts,
        use_eagle=arm.use_eagle,
    )
    times = times_on(block.drafting.times if block.drafting else block.times)
    if not apart:
        return config, times
    prompts_on = times_on(apart.times)
    return config, DraftTwoPasses(times, prompts_on) if takes_drafts(times) else TwoPasses(times, prompts_on)


def _drafts(block: Loaded, scenario: Scenario) -> Drafts | None:
    """How the workers of a pool draft."""
    drafting = block.drafting
    if drafting is None:
        return None
    config = drafting.config
    return Drafts(
        num_speculative_tokens=config.num_speculative_tokens,
        acceptance=Acceptance(
            scenario.seed, drafting.rates(scenario.model_names), expected=config.acceptance == "expected"
        ),
        lookahead=drafting.lookahead,
        by_batch=config.by_batch(block.max_num_seqs),
        max_model_len=block.max_model_len,
    )


def _converting(
    block: Loaded, arm: Arm, times_on: Callable[[WorkerTimes], WorkerTimes]
) -> tuple[EngineConfig, WorkerTimes]:
    """What workers are made with that may take whole requests."""
    config, times = _outfit(block, arm, times_on, None, prompts=True)
    convertible = block.convertible
    assert convertible
    assert convertible.num_gpu_blocks
    assert isinstance(convertible.max_chunk_tokens, int)
    blocks, chunk = convertible.num_gpu_blocks, convertible.max_chunk_tokens
    return replace(config, num_gpu_blocks=blocks, max_prefill_chunk_tokens=chunk), times
