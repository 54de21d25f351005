"""Options of `vllm serve` that a scenario and its profiles fix; nothing of these is left to vLLM's own defaults."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sunsim.latency.profile import Profile
from sunsim.scenario import Pool

Option = tuple[str, ...]
"""An option and its values."""

VALUES = ("gpu_memory_utilization", "dtype", "kv_cache_dtype", "quantization")
SWITCHES = ("enable_chunked_prefill", "async_scheduling")


def engine_options(pool: Pool) -> tuple[Option, ...]:
    """The worker's own as the scenario has them, all others as the profile was measured with."""
    measured = _measured(pool.profile)
    options = [
        _option(name, getattr(pool, name)) for name in ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
    ]
    options += [_option(name, measured[name]) for name in VALUES if measured.get(name) is not None]
    options.append(_switch("enable_prefix_caching", on=pool.block.enable_prefix_caching))
    options += [_switch(name, on=measured[name]) for name in SWITCHES if measured.get(name) is not None]
    if pool.profile.gpus > 1:
        options.append(_option("tensor_parallel_size", pool.profile.gpus))
    if pool.num_gpu_blocks != pool.profile.num_gpu_blocks:
        options.append(_option("num_gpu_blocks_override", pool.num_gpu_blocks))
    return tuple(options)


def served_adapters(profile: Profile, adapters: int) -> tuple[Option, ...]:
    """LoRA, with all adapters on the GPU at a time, as simulated; none without adapters."""
    if not adapters:
        return ()
    measured = _measured(profile)
    options = [("--enable-lora",), _option("max_loras", adapters), _option("max_cpu_loras", adapters)]
    if rank := measured.get("max_lora_rank"):
        options.append(_option("max_lora_rank", rank))
    if modules := measured.get("lora_target_modules"):
        options.append(("--lora-target-modules", *modules))
    return tuple(options)


@dataclass(frozen=True, slots=True)
class Drafting:
    """Speculative decoding of a worker.

    Attributes:
        config: vLLM's ``--speculative-config``, but for the drafter.
        drafter: the weights that the drafter is made for, by the name that placeholders have for them; None: it needs none.
        accepted: how many drafts were taken to be accepted, in words; what real texts have is another matter.
    """

    config: Mapping[str, object]
    drafter: str | None
    accepted: str

    def value(self, model: str) -> str:
        """Of the option, with a drafter at this place."""
        return json.dumps({**self.config, **({"model": model} if self.drafter else {})})


def drafting_of(pool: Pool, weights: str) -> Drafting | None:
    """What the workers of a pool that decodes `weights` draft with; None: nothing."""
    if not pool.drafting:
        return None
    config = pool.drafting.config
    drafts = config.num_speculative_tokens
    stated: dict[str, object] = {"method": config.method, "num_speculative_tokens": drafts}
    if ranges := config.num_speculative_tokens_per_batch_size:
        stated["num_speculative_tokens_per_batch_size"] = ranges
    rates = ", ".join(f"{rate:.3g}" for rate in config.rates(drafts))
    return Drafting(stated, weights if pool.drafting.lookahead else None, f"acceptance rates {rates} simulated")


def _measured(profile: Profile) -> dict[str, Any]:
    return profile.data.engine_args.model_dump()


def _option(name: str, value: object) -> Option:
    return (_flag(name), str(value))


def _switch(name: str, *, on: bool) -> Option:
    return (_flag(name) if on else _flag(f"no_{name}"),)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
