"""Where a profile comes from, as far as it says so."""

from sunsim.latency.profile import Profile
from sunsim.report.format import count


def vllm_version(profile: Profile) -> str | None:
    """The vLLM that was measured."""
    return profile.data.versions.get("vllm")


def day(profile: Profile) -> str | None:
    """The day of the measurement, YYYY-MM-DD."""
    return profile.data.date[:10] or None


def origin(profile: Profile) -> str:
    """Card, vLLM version and day in one phrase; says when it was but a quick measurement."""
    version = vllm_version(profile)
    quick = "quick measurement, few points" if profile.data.quick else None
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
