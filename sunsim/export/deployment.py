"""The workers of an arm as plain data: what each target's module makes files of."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sunsim.document.source import show
from sunsim.errors import InputError
from sunsim.export.options import Drafting, Option, drafting_of, engine_options, served_adapters
from sunsim.files import own_name
from sunsim.report.format import count, counted, together
from sunsim.report.origin import vllm_version
from sunsim.roles import Module, Role, Stage
from sunsim.scenario import Arm, Pool, Scenario

AWQ = "awq"
BASE, SHARED = "base", "shared"
"""What the weights that adapters sit on are called, and those of a decode module that models share."""
GPUS_A_HOST = 8


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers that are alike.

    Attributes:
        count: how many.
        gpus: of one of them.
        weights: what they load, by the name that placeholders have for it: ``m1``, ``base``, ``shared-awq``.
        weight_bytes: of these, as they lie on the card.
        names: that requests may ask for.
        adapters: of these names, those that are adapters on `weights`.
        measured_adapters: so many were on the GPU when step times and the room for KV were measured.
        options: of ``vllm serve``, but for the model, its names, the port and drafts.
        profile: name of the one that they were simulated with.
        vllm: its version; None if it does not say.
        kv_tokens: that fit into the KV cache of one.
        router: how a request is given to one of them, as simulated.
        drafting: several tokens a step; prefill workers have the drafter whose KV they send. None: one.
    """

    stage: Stage
    count: int
    gpus: int
    weights: str
    weight_bytes: int
    names: tuple[str, ...]
    adapters: tuple[str, ...]
    measured_adapters: int
    options: tuple[Option, ...]
    profile: str
    vllm: str | None
    kv_tokens: int
    router: str
    drafting: Drafting | None = None

    @property
    def title(self) -> str:
        """In one line, for comments."""
        more = len(self.adapters) - self.measured_adapters
        less = f", less the room of {counted(more, 'adapter')} not measured" if more > 0 else ""
        drafts = f", {self.drafting.accepted}" if self.drafting and self.stage is not Stage.PREFILL else ""
        return f"{self.profile}, router {self.router}, KV cache of {count(self.kv_tokens)} tokens{less}{drafts}"


@dataclass(frozen=True, slots=True)
class Part:
    """What is deployed together, under one name: the workers of a model, or of all."""

    name: str
    workers: tuple[Workers, ...]

    @property
    def disaggregated(self) -> bool:
        """Whether it prefills and decodes, on different workers."""
        return len(self.workers) > 1


@dataclass(frozen=True, slots=True)
class Deployment:
    """An arm; `crossing`: its requests go from workers of one model to such that serve other weights to all models."""

    scenario: str
    arm: str
    parts: tuple[Part, ...]
    crossing: bool

    @property
    def workers(self) -> tuple[Workers, ...]:
        return tuple(workers for part in self.parts for workers in part.workers)

    @property
    def gpus(self) -> int:
        return sum(workers.count * workers.gpus for workers in self.workers)


def deployment(scenario: Scenario, arm: Arm) -> Deployment:
    """What an arm consists of.

    Raises:
        InputError: no server can do what the arm does, whatever it is told.
    """
    _refuse(arm)
    pools = arm.pools()
    for pool in pools.values():
        _refuse_names(scenario.model_names, adapters=pool.profile.adapters)
    crossing = Stage.DECODE in pools and pools[Stage.DECODE].module is Module.SHARED
    connector = _connector(arm, crossing=crossing) if len(pools) > 1 else ()
    shared = own_name(SHARED, scenario.model_names)
    of_part = together(
        (role.model or shared, _workers(scenario, arm, pool, role, number, connector))
        for pool in pools.values()
        for role, number in pool.roles.items()
    )
    return Deployment(
        scenario=scenario.name,
        arm=arm.name,
        parts=tuple(Part(name, tuple(workers)) for name, workers in of_part.items()),
        crossing=crossing,
    )


def _refuse(arm: Arm) -> None:
    where = f"arms.{arm.name}"
    pools = arm.pools()
    if set(pools) not in ({Stage.COLOCATED}, {Stage.PREFILL, Stage.DECODE}):
        (only,) = pools
        message = f"{where} has a {only} pool only, must have prefill and decode, or colocated, to be deployed"
        raise InputError(message)
    if arm.block.admission:
        message = f"{where}.admission refuses requests, must be left out to be deployed: vLLM takes every one"
        raise InputError(message)
    for stage, pool in pools.items():
        if pool.elastic:
            message = f"{where}.{stage} grows and shrinks, must have a number of workers to be deployed"
            raise InputError(message)
        if (gpus := pool.profile.gpus) > GPUS_A_HOST:
            message = f"{where}.{stage} has workers of {gpus} GPUs, must be of at most {GPUS_A_HOST}, those of one host"
            raise InputError(message)
    if Stage.COLOCATED in pools:
        return
    prefill, decode = pools[Stage.PREFILL], pools[Stage.DECODE]
    _refuse_rounds(arm, where)
    if prefill.shared and prefill.module is not Module.ADAPTER:
        message = f"{where}.prefill has the weights of all models on each worker, must be isolated to be deployed"
        message = f"{message}: vLLM serves one model a process"
        raise InputError(message)
    if prefill.shared != decode.shared and (prefill.shared or decode.module is not Module.SHARED):
        message = f"{where}.prefill is {prefill.block.policy} and decode {decode.block.policy}, must both be the same"
        message = f"{message} to be deployed: one deployment's workers serve the same models"
        raise InputError(message)


def _refuse_rounds(arm: Arm, where: str) -> None:
    """What is done with rounds of sessions here and by no server."""
    prefill, decode = arm.block.prefill, arm.block.decode
    assert prefill
    assert decode
    crossing = decode.enable_prefix_caching and arm.modules_differ
    apart = "a deployment computes every prompt on its prefill workers"
    unlike = {
        "prefill.module": (
            "shared",
            "own",
            "vLLM takes no KV of another model's prefill worker",
            prefill.module == "shared",
        ),
        "decode.append_prefill": (decode.append_prefill, "remote", apart, decode.append_prefill != "remote"),
        "decode.convertible": ("given", "left out", apart, decode.convertible is not None),
        "decode.history": ("keep", "rebuild", "vLLM's prefill workers pull no KV", decode.history == "keep"),
        "decode.enable_prefix_caching": (
            "true",
            "false",
            "a block's hash does not tell of which model its KV is",
            crossing,
        ),
    }
    for key, (stated, must, why, is_unlike) in unlike.items():
        if is_unlike:
            message = f"{where}.{key} is {stated}, must be {must} to be deployed: {why}"
            raise InputError(message)


def _refuse_names(models: Iterable[str], *, adapters: bool) -> None:
    """vLLM takes what begins with a dash for an option, and parts a name from an adapter's path at the sign between."""
    for name in models:
        if name.startswith("-") or (adapters and {"=", ","} & set(name)):
            without = ", and have no = and no comma" if adapters else ""
            message = f"the model {show(name)} is no name to vllm serve, must not begin with a dash{without}"
            raise InputError(message)


def _workers(scenario: Scenario, arm: Arm, pool: Pool, role: Role, number: int, connector: Sequence[Option]) -> Workers:
    names = tuple(scenario.model_names) if role.model is None else (role.model,)
    adapters = names if pool.profile.adapters else ()
    return Workers(
        stage=pool.stage,
        count=number,
        gpus=pool.profile.gpus,
        weights=_weights(pool, role, scenario.model_names),
        weight_bytes=pool.profile.weight_bytes,
        names=names,
        adapters=adapters,
        measured_adapters=pool.profile.data.engine_args.max_loras,
        options=(*engine_options(pool), *served_adapters(pool.profile, len(adapters)), *connector),
        drafting=_drafting(scenario, arm, pool, role),
        profile=pool.profile.name,
        # Those of an estimate are of the profile that it was made from.
        vllm=None if pool.profile.data.estimated else vllm_version(pool.profile),
        kv_tokens=pool.num_gpu_blocks * pool.profile.block_size,
        router=pool.router,
    )


def _drafting(scenario: Scenario, arm: Arm, pool: Pool, role: Role) -> Drafting | None:
    """Of workers that decode their own; of prefill workers, where it has a KV cache, that of the decode workers they send to."""
    if pool.stage is not Stage.PREFILL or not arm.decode:
        return drafting_of(pool, _weights(pool, role, scenario.model_names))
    to = next((own for own in arm.decode.roles if own.model in (None, role.model)), role)
    drafting = drafting_of(arm.decode, _weights(arm.decode, to, scenario.model_names))
    return drafting if drafting and drafting.drafter else None


def _weights(pool: Pool, role: Role, models: Collection[str]) -> str:
    """A quantization that vLLM makes of the published weights needs none of its own."""
    name = BASE if pool.profile.adapters else role.model or SHARED
    name = f"{name}-{AWQ}" if pool.profile.data.variant == AWQ else name
    return name if name == role.model else own_name(name, models)


def _connector(arm: Arm, *, crossing: bool) -> tuple[Option, ...]:
    """The connector's handshake compares the path of the model, among other things, so it is told not to where
    prefill and decode load other weights."""
    config: dict[str, object] = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
    loaded = {(pool.profile.adapters, pool.profile.data.variant == AWQ) for pool in arm.pools().values()}
    if crossing or len(loaded) > 1:
        config["kv_connector_extra_config"] = {"enforce_handshake_compat": False}
    return (("--kv-transfer-config", json.dumps(config)),)
