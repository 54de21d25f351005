"""A loaded scenario: what its document says, with every name looked up. All of sunsim works with this."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sunsim.latency.model import LatencyModel, latency_model
from sunsim.latency.profile import Profile, find_profile, load_profile
from sunsim.latency.transfer import LinkTimes, MeasuredTransfers, load_transfers, measured_link, steady_link
from sunsim.roles import Module, Role, Stage
from sunsim.workload.blocks import Synthetic, Trace
from sunsim.workload.mix import length_mix
from sunsim.workload.traces.use import TokenLimit, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sunsim.latency.attention import LengthMix
    from sunsim.scenario.blocks import (
        ArmBlock,
        Document,
        LoadReport,
        Measure,
        Planning,
        PoolBlock,
        Slo,
        StopAtTime,
        StopWhenFinished,
        Sweep,
        Transfer,
    )
    from sunsim.workload.traces.select import Selection

OPTIONS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "num_gpu_blocks")


@dataclass(frozen=True, eq=False)
class Pool:
    """The workers of one stage of an arm.

    Attributes:
        block: as the completed document has it.
        roles: number of workers in each role, in the order of their slots.
        profile: their step times as measured, and more.
        router: how a request is given to one of the workers that may take it.
        load_report: None where the router sees its workers' loads as they are.
        max_num_seqs, max_num_batched_tokens, max_model_len, num_gpu_blocks: of one worker, under vLLM's names.
    """

    block: PoolBlock
    stage: Stage
    roles: Mapping[Role, int]
    profile: Profile
    router: str
    load_report: LoadReport | None
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    num_gpu_blocks: int
    _adapters: int
    _mix: Callable[[], LengthMix]

    @property
    def profile_name(self) -> str:
        """A shipped profile's name, or an absolute path."""
        return self.block.profile

    @property
    def workers(self) -> int | dict[str, int]:
        """As the document has them: one number if shared, else one a model."""
        return self.block.workers

    @property
    def shared(self) -> bool:
        """Whether its workers serve all models; else each model has its own."""
        return self.block.policy == "shared"

    @property
    def module(self) -> Module:
        """Whose weights its workers compute with."""
        return next(iter(self.roles)).module

    @property
    def gpus(self) -> int:
        """Workers of all roles; each has one GPU."""
        return sum(self.roles.values())

    @cached_property
    def times(self) -> LatencyModel:
        """Step times and front-end delays, for the lengths that meet in the scenario's batches."""
        return latency_model(self.profile, self._mix(), self._adapters)

    def with_workers(self, workers: int | Mapping[str, int]) -> Pool:
        """The same with other numbers of workers."""
        block = self.block.model_copy(update={"workers": workers if isinstance(workers, int) else dict(workers)})
        return replace(self, block=block, roles=_roles(block, self.stage, self.module))


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to serve the requests.

    Attributes:
        block: as the completed document has it.
    """

    block: ArmBlock
    _pools: Mapping[Stage, Pool]

    @property
    def name(self) -> str:
        return self.block.name

    def pools(self) -> Mapping[Stage, Pool]:
        """The pools that the arm has, prefill first."""
        return self._pools

    @property
    def prefill(self) -> Pool | None:
        return self._pools.get(Stage.PREFILL)

    @property
    def decode(self) -> Pool | None:
        return self._pools.get(Stage.DECODE)

    @property
    def colocated(self) -> Pool | None:
        return self._pools.get(Stage.COLOCATED)

    @property
    def gpus(self) -> int:
        """Workers of all stages."""
        return sum(pool.gpus for pool in self._pools.values())

    def with_workers(self, workers: Mapping[Stage, int | Mapping[str, int]]) -> Arm:
        """The same with so many workers in these stages; see `Pool.with_workers`."""
        pools = dict(self._pools) | {stage: self._pools[stage].with_workers(n) for stage, n in workers.items()}
        blocks = {str(stage): pool.block for stage, pool in pools.items()}
        return Arm(self.block.model_copy(update=blocks), pools)


@dataclass(frozen=True)
class Scenario:
    """What is simulated: a completed document and what its names stand for.

    It goes to other processes as its document, and two of the same document are equal.

    Attributes:
        model_names: in the order of the file; a request's model index points into it.
        model_shares: expected share of the requests of each model; they add up to 1.
        transfers: the measured link; None where the document states a bandwidth and a latency.
        link: how long moving KV takes.
        limits: on a request's tokens, of every pool.
    """

    document: Document
    model_names: tuple[str, ...] = field(init=False, compare=False)
    model_shares: tuple[float, ...] = field(init=False, compare=False)
    arms: tuple[Arm, ...] = field(init=False, compare=False)
    transfers: MeasuredTransfers | None = field(init=False, compare=False)
    link: LinkTimes = field(init=False, compare=False)
    limits: tuple[TokenLimit, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Looks everything up.

        Raises:
            InputError: a profile, or the measured link, is no longer what was checked.
        """
        document, link = self.document, self.document.transfer
        transfers = load_transfers(find_profile(link.measured, Path())) if link.measured else None
        found: dict[str, Any] = {
            "model_names": document.model_names,
            "model_shares": document.model_shares,
            "arms": tuple(_arm(block, len(document.model_names), lambda: self.mix) for block in document.arms),
            "transfers": transfers,
            "link": measured_link(transfers.data) if transfers else steady_link(link.bandwidth_gbit_s, link.latency_ms),
        }
        found["limits"] = tuple(limit for arm in found["arms"] for limit in _limits(arm))
        self.__dict__.update(found)

    def __reduce__(self) -> tuple[type[Scenario], tuple[Document]]:
        return Scenario, (self.document,)

    @property
    def name(self) -> str:
        return self.document.name

    @property
    def seed(self) -> int:
        return self.document.seed

    @property
    def workload(self) -> Synthetic | Trace:
        return self.document.workload

    @property
    def slo(self) -> Slo:
        return self.document.slo

    @property
    def measure(self) -> Measure:
        return self.document.measure

    @property
    def stop(self) -> StopWhenFinished | StopAtTime:
        return self.document.stop

    @property
    def transfer(self) -> Transfer:
        """The link as the document states it."""
        return self.document.transfer

    @property
    def first_token(self) -> str:
        """The stage that emits a request's first token, of an arm with both."""
        return self.document.first_token

    @property
    def sweep(self) -> Sweep | None:
        return self.document.sweep

    @property
    def plan(self) -> Planning | None:
        return self.document.plan

    @property
    def trace(self) -> Selection | None:
        """The requests of its trace; None if they are drawn. Read once for each state of the file.

        Raises:
            InputError: see `trace_of`.
        """
        workload = self.workload
        return self._used(workload) if isinstance(workload, Trace) else None

    @property
    def mix(self) -> LengthMix:
        """The lengths that meet in batches; of drawn requests the same for all seeds."""
        workload = self.workload
        return length_mix(workload.lengths) if isinstance(workload, Synthetic) else self._used(workload).mix

    @property
    def profiles(self) -> dict[str, Profile]:
        """Those of all pools, by the name that the document has for them."""
        found = {pool.profile_name: pool.profile for arm in self.arms for pool in arm.pools().values()}
        return dict(sorted(found.items()))

    def _used(self, workload: Trace) -> Selection:
        return trace_of(workload, self.model_names, self.limits)

    def changed(self, **blocks: Any) -> Scenario:
        """A scenario with other blocks, or another name or seed; they are taken as they are, complete and right."""
        return Scenario(self.document.model_copy(update=blocks))

    def with_arms(self, arms: Iterable[Arm]) -> Scenario:
        """A scenario with these arms, which may be other scenarios'."""
        return self.changed(arms=tuple(arm.block for arm in arms))


def _arm(block: ArmBlock, models: int, mix: Callable[[], LengthMix]) -> Arm:
    return Arm(block, {stage: _pool(pool, stage, models, mix) for stage, pool in block.pools().items()})


def _pool(block: PoolBlock, stage: Stage, models: int, mix: Callable[[], LengthMix]) -> Pool:
    profile = load_profile(find_profile(block.profile, Path()))
    shared = block.policy == "shared"
    adapters = (models if shared else 1) if profile.adapters else 0
    frozen = shared and stage is Stage.DECODE
    module = Module.ADAPTER if adapters else Module.SHARED if frozen else Module.OWN
    return Pool(
        block=block,
        stage=stage,
        roles=_roles(block, stage, module),
        profile=profile,
        router=block.router,
        load_report=block.load_report,
        **{option: getattr(block, option) or getattr(profile, option) for option in OPTIONS},
        _adapters=adapters,
        _mix=mix,
    )


def _roles(block: PoolBlock, stage: Stage, module: Module) -> dict[Role, int]:
    if isinstance(block.workers, int):
        return {Role(stage, None, module): block.workers}
    return {Role(stage, model, module): workers for model, workers in block.workers.items()}


def _limits(arm: Arm) -> list[TokenLimit]:
    """A prefill worker holds the prompt and makes one token; a decode worker holds prompt and output. The last token
    never enters the KV cache, and vLLM keeps one block to itself: ``(num_gpu_blocks - 1) * block_size + 1`` tokens fit.
    """
    limits = []
    for stage, pool in arm.pools().items():
        place, prompt_only = f"arms.{arm.name}.{stage}", stage is Stage.PREFILL
        limits.append(TokenLimit(pool.max_model_len, prompt_only, f"max_model_len of {place}"))
        blocks, size = pool.num_gpu_blocks, pool.profile.block_size
        reason = f"num_gpu_blocks of {place} ({blocks} blocks of {size} tokens)"
        limits.append(TokenLimit((blocks - 1) * size + 1, prompt_only, reason))
    return limits
