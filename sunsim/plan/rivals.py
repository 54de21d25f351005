"""The ways to serve models of one base that the shipped profiles of a card allow."""

from collections.abc import Iterator
from typing import Any

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile, list_profiles, load_named

Pools = dict[str, tuple[str, str]]
"""By stage the name of a profile, and a policy."""
MOST_WORKERS = 16
GROWING: dict[str, Any] = {
    "workers": {"min": 1, "max": MOST_WORKERS},
    "scaling": {"kind": "token-velocity", "signal": "rate", "start_s": 85},
}
"""Of an elastic pool, of each model's own where these are apart. The rate is measured against what a worker does within the
TPOT limit, which a plan has."""
BUSY_REQUESTS, BUSY_TOKENS = 128, 1024
"""Of a decode step by which quantized decoders are compared."""


def most_measured(models: int) -> str:
    """The profile with the largest weights of the card and base model that most shipped profiles are of; of equals the first.

    Adapters count where as many as there are `models` were measured.
    """
    shipped = [each for each in _shipped() if not each.adapters or each.data.engine_args.max_loras >= models]
    plain = [profile for profile in shipped if not profile.adapters]
    most = max(plain, key=lambda one: sum(_alike(one, other) for other in shipped))
    return max((each for each in plain if _alike(most, each)), key=lambda each: each.weight_bytes).name


def rivals(base: Profile, name: str, models: int, *, sessions: bool, elastic: bool = False) -> list[dict[str, Any]]:
    """Arms as a scenario has them, with the fewest workers each.

    Args:
        base: the profile that says which card and which model; all pools are of it but for quantized decoders, whose
            weights are smaller, and adapters, whose base's are as large.
        name: that the scenario has for it.
        models: number of them.
        sessions: requests are rounds of some, so that workers have prefix caches and keep the sessions that they had.
        elastic: each way once more, with pools that grow and shrink.
    """
    workers = {"isolated": models, "shared": 1}
    ways = list(_ways(base, name, models))
    caches = {"router": "session-affinity", "enable_prefix_caching": True} if sessions else {}

    def arm(way: str, pools: Pools, *, grows: bool) -> dict[str, Any]:
        return {"name": f"{way}-elastic" if grows else way} | {
            stage: {"profile": profile, "policy": policy}
            | (GROWING if grows else {"workers": workers[policy]})
            | caches
            for stage, (profile, policy) in pools.items()
        }

    return [arm(*each, grows=grows) for grows in (False, True)[: 1 + elastic] for each in ways]


def absent(base: Profile, models: int) -> list[str]:
    """Ways for which no profile of the card and base model is shipped, as people call them."""
    smaller, adapted = _kin(base)
    of_shared = {"LoRA adapters": adapted, "a quantized shared decoder": smaller}
    return [way for way, profiles in of_shared.items() if models > 1 and not profiles]


def _ways(base: Profile, name: str, models: int) -> Iterator[tuple[str, Pools]]:
    """First those in which each model has its own GPUs, then those in which several share some: adapters as many as were
    measured, if they can be; the quickest quantized decoder.
    """
    yield "colocated", {"colocated": (name, "isolated")}
    yield "isolated", {"prefill": (name, "isolated"), "decode": (name, "isolated")}
    if models == 1:
        return
    smaller, adapted = _kin(base)
    if adapted:
        adapters = max(
            adapted, key=lambda each: (min(models, each.data.engine_args.max_loras), each.num_gpu_blocks)
        ).name
        yield "lora-colocated", {"colocated": (adapters, "shared")}
        yield "lora", {"prefill": (adapters, "shared"), "decode": (adapters, "shared")}
    yield "sun", {"prefill": (name, "isolated"), "decode": (name, "shared")}
    if smaller:
        yield "qsun", {"prefill": (name, "isolated"), "decode": (min(smaller, key=_busy_step_ms).name, "shared")}


def _kin(base: Profile) -> tuple[list[Profile], list[Profile]]:
    """Shipped profiles of its card, model and GPUs a worker: those with smaller weights, and those with adapters on weights as large."""
    alike = [profile for profile in _shipped() if _alike(base, profile)]
    smaller = [each for each in alike if not each.adapters and each.weight_bytes < base.weight_bytes]
    return smaller, [each for each in alike if each.adapters and each.weight_bytes == base.weight_bytes]


def _busy_step_ms(profile: Profile) -> float:
    """Of half the places that workers mostly have, with a thousand tokens each: small weights alone make no quick decoder."""
    return LatencyModel(profile).decode_step_ms(BUSY_REQUESTS, BUSY_REQUESTS * BUSY_TOKENS)


def _shipped() -> list[Profile]:
    return [load_named(name) for name in list_profiles()]


def _alike(one: Profile, other: Profile) -> bool:
    """Whether two are of one card, as many of them a worker, and one base model."""
    return (one.data.gpu, one.gpus, one.data.model) == (other.data.gpu, other.gpus, other.data.model)
