"""The arms of a loaded scenario: what their blocks say, with every name looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sunsim.latency.attention import LengthMix
from sunsim.latency.steps import WorkerTimes
from sunsim.latency.two_passes import TwoPasses
from sunsim.roles import Module, Stage
from sunsim.scenario.accuracy import ArmAccuracy, accuracy_of
from sunsim.scenario.blocks import ArmBlock
from sunsim.scenario.worker_pool import Pool, resolve_pool


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to serve the requests; `block` is as the completed document has it."""

    block: ArmBlock
    prefill: Pool | None = None
    decode: Pool | None = None
    colocated: Pool | None = None

    @property
    def name(self) -> str:
        return self.block.name

    def pools(self) -> dict[Stage, Pool]:
        """The pools that the arm has, prefill first."""
        return {stage: pool for stage in Stage if (pool := getattr(self, stage)) is not None}

    @property
    def gpus(self) -> int:
        """Those of all stages."""
        return sum(pool.gpus for pool in self.pools().values())

    @property
    def elastic(self) -> bool:
        """Whether some pool grows and shrinks."""
        return any(pool.elastic for pool in self.pools().values())

    @property
    def drafts(self) -> bool:
        """Whether some workers draft tokens."""
        return any(pool.drafting for pool in self.pools().values())

    @property
    def use_eagle(self) -> bool:
        """Whether its workers have a drafter's KV beside the model's, those that prefill for drafting ones too."""
        return any(pool.drafting.lookahead > 0 for pool in self.pools().values() if pool.drafting)

    @cached_property
    def accuracy(self) -> ArmAccuracy | None:
        """How right its models answer; None where the scenario says nothing of it."""
        return accuracy_of(self.block.accuracy) if self.block.accuracy else None

    @property
    def modules_differ(self) -> bool:
        """Whether prompts' KV is made by another module than the one that decodes."""
        return self.prefill is not None and self.decode is not None and self.decode.module.only_decodes

    @property
    def kv_bytes_per_token(self) -> int:
        """Of the KV that prompts are computed for, on all GPUs of a worker: with drafts the drafter's too, which prefill
        workers make and send as well."""
        drafting = self.decode if self.decode and self.decode.drafting else None
        return (drafting or next(iter(self.pools().values()))).profile.kv_bytes_per_token_of_all

    @property
    def times_with_prompts(self) -> WorkerTimes:
        """Those of a decode worker that computes prompts as well, beside prefill workers."""
        assert self.prefill
        assert self.decode
        return TwoPasses(self.decode.times, self.prefill.times) if self.modules_differ else self.decode.times

    @property
    def prefills_on_decode(self) -> bool:
        """Whether decode workers may compute prompts of later rounds."""
        return self.block.decode is not None and self.block.decode.append_prefill != "remote"

    @property
    def keeps_history(self) -> bool:
        """Whether KV that decoding made goes to prefill workers that lack it."""
        return self.block.decode is not None and self.block.decode.history == "keep"


def resolve_arm(
    block: ArmBlock, models: Sequence[str], shares: Callable[[], tuple[float, ...]], mix: Callable[[], LengthMix]
) -> Arm:
    """An arm of a completed document.

    Args:
        models: of the scenario.
        shares: gives the share of the requests of each model.
        mix: gives the lengths that meet in batches.

    Raises:
        InputError: a profile is no longer what was checked.
    """
    modules = modules_of(block)
    return Arm(
        block,
        **{
            str(stage): resolve_pool(pool, stage, models, shares, mix, modules[stage])
            for stage, pool in block.pools().items()
        },
    )


def modules_of(block: ArmBlock) -> dict[Stage, Module]:
    """Whose weights the workers of each stage compute with, but for adapters."""
    prefill = Module.SHARED if block.prefill and block.prefill.module == "shared" else Module.OWN
    decode = Module.DECODER if prefill is Module.SHARED else Module.OWN
    if block.decode and block.decode.policy == "shared":
        decode = Module.SHARED
    return {Stage.PREFILL: prefill, Stage.DECODE: decode, Stage.COLOCATED: Module.OWN}
