"""The workers of one stage of a loaded scenario's arm: what their block says, with every name looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.drafts import TokenTimes
from sunsim.latency.model import LatencyModel, latency_model
from sunsim.latency.profile import Profile, load_named
from sunsim.latency.steps import DecodeSteps
from sunsim.roles import Module, Role, Stage
from sunsim.scenario.drafts import Drafting, drafting_of
from sunsim.scenario.pools import Convertible, DecodeBlock, LoadReport, PoolBlock
from sunsim.scenario.scaling import Bounds
from sunsim.workload.traces.use import TokenLimit

OPTIONS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "num_gpu_blocks")
"""Of a worker, under vLLM's names; a profile has those that it was measured with."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The workers of one stage of an arm.

    Attributes:
        block: as the completed document has it.
        roles: number of workers in each role, in the order of their slots; of an elastic pool the most that there may be.
        profile_name: a shipped profile's name, or an absolute path.
        profile: what was measured; of a pool with drafts the one whose room its workers have, not that of this name.
        router: how a request is given to one of the workers that may take it.
        load_report: None where the router sees its workers' loads as they are.
        drafting: several tokens a step; None: one.
        max_num_seqs, max_num_batched_tokens, max_model_len, num_gpu_blocks: of one worker.
    """

    block: PoolBlock
    stage: Stage
    roles: Mapping[Role, int]
    profile_name: str
    profile: Profile
    router: str
    load_report: LoadReport | None
    drafting: Drafting | None
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    num_gpu_blocks: int
    _adapters: Callable[[], tuple[float, ...]] | None
    _mix: Callable[[], LengthMix]

    @property
    def workers(self) -> int | dict[str, int] | Bounds | dict[str, Bounds]:
        """As the document has them: one number if shared, else one a model; of an elastic pool bounds instead."""
        return self.block.workers

    @property
    def elastic(self) -> bool:
        """Whether it grows and shrinks."""
        return self.block.scaling is not None

    def bounds(self, role: Role) -> Bounds:
        """How few and how many workers a role may have; of a fixed pool both are its number."""
        workers = self.block.workers
        own = workers[role.model] if isinstance(workers, dict) and role.model else workers
        return own if isinstance(own, Bounds) else Bounds(min=self.roles[role], max=self.roles[role])

    @property
    def convertible(self) -> Convertible | None:
        """Which of its workers take whole requests now and then, and how; None: none do."""
        return self.block.convertible if isinstance(self.block, DecodeBlock) else None

    @property
    def all_convertible(self) -> bool:
        """Whether each of its workers may be one of these: of an elastic pool the first to serve are."""
        convertible = self.convertible
        return convertible is not None and (self.elastic or convertible.workers >= max(self.roles.values()))

    @property
    def shared(self) -> bool:
        """Whether its workers serve all models; else each model has its own."""
        return self.block.policy == "shared"

    @property
    def module(self) -> Module:
        """Whose weights its workers compute with."""
        return next(iter(self.roles)).module

    @property
    def mean_prompt(self) -> float:
        """Prompt tokens of a request of the scenario on average, by its law or in its trace."""
        return fmean(self._mix().prompt_tokens)

    @property
    def mean_output(self) -> float:
        """Output tokens of a request of the scenario on average, by its law or in its trace."""
        return fmean(self._mix().output_tokens)

    @property
    def card(self) -> str:
        """What its GPUs are, as profiles and prices name it."""
        return self.profile.data.gpu

    @property
    def gpus(self) -> int:
        """Those of the workers of all roles; of an elastic pool the most."""
        return sum(self.roles.values()) * self.profile.gpus

    @property
    def measured_as(self) -> str:
        """The name of `profile` in `profiles`."""
        return self.profile.name if self.drafting else self.profile_name

    @property
    def profiles(self) -> dict[str, Profile]:
        """All that its steps rest on, by the name that the document has for them, or their own."""
        if not self.drafting:
            return {self.profile_name: self.profile}
        used = self.drafting.family.used(self.drafting.config.numbers)
        return {profile.name if k else self.profile_name: profile for k, profile in used.items()}

    @cached_property
    def times(self) -> LatencyModel:
        """Step times and front-end delays, for the lengths that meet in the scenario's batches; see `Drafting` for others."""
        return latency_model(self.profile, self._mix(), self._adapters() if self._adapters else None)

    @property
    def token_times(self) -> DecodeSteps:
        """What a token of each request in a batch takes in the mean: a step, or, with drafts, the part of it that a token is."""
        if not (drafting := self.drafting):
            return self.times
        tokens = drafting.tokens_a_step(self.mean_prompt + self.mean_output / 2)
        return TokenTimes(drafting.times, tokens, drafting.config.by_batch(self.max_num_seqs))

    def with_workers(self, sizes: Mapping[Role, int]) -> Pool:
        """The same fixed pool with other numbers of workers in some roles."""
        roles = {role: sizes.get(role, workers) for role, workers in self.roles.items()}
        if roles == self.roles:
            return self
        workers = {role.model: number for role, number in roles.items()}
        update: dict[str, object] = {"workers": workers.get(None, workers)}
        if self.convertible:
            convertible = min(self.convertible.workers, max(roles.values()))
            update["convertible"] = self.convertible.model_copy(update={"workers": convertible})
        block = self.block.model_copy(update=update)
        return replace(self, block=block, roles=roles)

    def limits(self, place: str) -> Iterator[TokenLimit]:
        """On the tokens of a request; `place` is the pool's, in dotted words.

        A prefill worker holds the prompt and makes one token; a decode worker holds prompt and output. The last token
        never enters the KV cache, and vLLM keeps one block to itself: ``(num_gpu_blocks - 1) * block_size + 1`` fit.
        With drafts those of two steps, one under way and one composed, are within `max_model_len` too, and within the blocks
        beside what the drafter has ahead.
        """
        prompt_only = self.stage is Stage.PREFILL
        ahead, beside = 0, ""
        if self.drafting:
            ahead, beside = 2 * self.drafting.config.num_speculative_tokens, ", less the drafts of two steps"
        yield TokenLimit(self.max_model_len - ahead, prompt_only, f"max_model_len of {place}{beside}")
        blocks, size = self.num_gpu_blocks, self.profile.block_size
        if self.convertible and self.convertible.num_gpu_blocks:
            blocks = min(blocks, self.convertible.num_gpu_blocks)
        ahead += self.drafting.lookahead if self.drafting else 0
        reason = f"num_gpu_blocks of {place} ({blocks} blocks of {size} tokens){beside}"
        yield TokenLimit((blocks - 1) * size + 1 - ahead, prompt_only, reason)


def resolve_pool(
    block: PoolBlock,
    stage: Stage,
    models: Sequence[str],
    shares: Callable[[], tuple[float, ...]],
    mix: Callable[[], LengthMix],
    module: Module,
) -> Pool:
    """The workers of a stage, which compute with a module's weights unless they have adapters; see `resolve_arm`.

    Raises:
        InputError: a profile is no longer what was checked.
    """
    try:
        profile = load_named(block.profile)
    except OSError as error:
        message = "cannot be read any more, must stay where it is while it is simulated with"
        raise InputError(message, block.profile) from error
    drafting = drafting_of(block, profile, lambda: dict(zip(models, shares(), strict=True)), mix)
    if drafting:
        profile = drafting.family.limiting
    shared = block.policy == "shared"
    if profile.adapters:
        module = Module.ADAPTER
    return Pool(
        block=block,
        stage=stage,
        roles=_roles(block, stage, module),
        profile_name=block.profile,
        profile=profile,
        router=block.router,
        load_report=block.load_report,
        drafting=drafting,
        **{option: getattr(block, option) for option in OPTIONS},
        _adapters=(shares if shared else lambda: (1.0,)) if profile.adapters else None,
        _mix=mix,
    )


def _roles(block: PoolBlock, stage: Stage, module: Module) -> dict[Role, int]:
    given = block.workers
    workers = given if isinstance(given, dict) else {None: given}
    appends = isinstance(block, DecodeBlock) and block.append_prefill != "remote"
    most = {model: each.max if isinstance(each, Bounds) else each for model, each in workers.items()}
    return {Role(stage, model, module, appends): number for model, number in most.items()}
