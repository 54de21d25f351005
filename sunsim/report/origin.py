"""Where a profile comes from, as far as it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.report.format import count

if TYPE_CHECKING:
    from sunsim.latency.profile import Profile


def vllm_version(profile: Profile) -> str | None:
    """The vLLM that was measured."""
    versions = _stated(profile, "versions")
    return versions.get("vllm") if isinstance(versions, dict) else None


def day(profile: Profile) -> str | None:
    """The day of the measurement, YYYY-MM-DD."""
    date = _stated(profile, "date")
    return str(date)[:10] if date else None


def origin(profile: Profile) -> str:
    """Card, vLLM version and day in one phrase; says when it was but a quick measurement."""
    version = vllm_version(profile)
    quick = "quick measurement, few points" if _stated(profile, "quick") else None
    return ", ".join(filter(None, (profile.data.card, f"vLLM {version}" if version else None, day(profile), quick)))


def measured_range(profile: Profile) -> str:
    """What steps were measured, in one phrase; empty without any."""
    decode, prefill = profile.data.decode_points, profile.data.prefill_points
    parts = []
    if decode:
        batches, context = [point.batch for point in decode], max(point.context_tokens for point in decode)
        parts.append(
            f"decode batches of {min(batches)} to {max(batches)}, up to {count(context)} tokens of context in all"
        )
    if prefill:
        tokens = [point.new_tokens for point in prefill]
        parts.append(f"prefill steps of {count(min(tokens))} to {count(max(tokens))} tokens")
    return "; ".join(parts)


def _stated(profile: Profile, key: str) -> Any:
    return (profile.data.model_extra or {}).get(key)
