"""Where profiles and requests come from, as far as it is known, and what of a trace is left out."""

from pathlib import Path
from typing import Any

from sunsim.latency.profile import Profile
from sunsim.report.format import count, listed
from sunsim.workload.traces.select import Selection


def vllm_version(profile: Profile) -> str | None:
    """The vLLM that was measured."""
    return profile.data.versions.get("vllm")


def day(profile: Profile) -> str | None:
    """The day of the measurement, YYYY-MM-DD."""
    return profile.data.date[:10] or None


def origin(profile: Profile) -> str:
    """Card, vLLM version and day in one phrase; says when it was but a quick measurement, or none."""
    if estimated := profile.data.estimated:
        return f"{profile.data.card}, from {estimated.source} ({estimated.source_origin})"
    version = vllm_version(profile)
    quick = "quick measurement, few points" if profile.data.quick else None
    return ", ".join(filter(None, (profile.data.card, f"vLLM {version}" if version else None, day(profile), quick)))


def estimate_facts(name: str, profile: Profile) -> list[str]:
    """What an estimated profile was made from, and how far off such estimates were; none of a measured one."""
    made = profile.data.estimated
    if not made:
        return []
    other = f", with another {listed(made.changed)}" if made.changed else ""
    card = profile.data.card.removesuffix(" (estimated)")
    what = f"{name}, not measured: {card}, from {made.source} ({made.source_origin}){other}"
    off = [
        f"{errors.typical_percent:g} % on {stage} steps (in the worst case these were {errors.slower_percent:g} % slower)"
        for stage, errors in (("decode", made.decode), ("prefill", made.prefill))
    ]
    off.append(f"{made.blocks_percent:g} % on KV blocks")
    known = []
    if made.judged:
        added_up = ", added up over the changes" if len(made.judged) > 1 else ""
        known = [
            f"estimates of measured profiles with another {listed(made.judged)} were off by {listed(off)}{added_up}"
        ]
    unknown = [f"what no measurement tells the error of: {listed(made.unknown)}"] if made.unknown else []
    return [what, *known, *unknown]


def measured_range(profile: Profile) -> str:
    """What steps were measured, in one phrase; empty without any."""
    if profile.data.estimated:
        return ""
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


def left_out(selection: Selection) -> str:
    """``without 15 of its 100 requests: 10 outside the window, 5 without an output token``; empty if all are used.

    A reason that holds for all of them has no number.
    """
    missing = selection.in_file - len(selection.rows)
    if not missing:
        return ""
    outside = {"outside the window": selection.outside_window} if selection.outside_window else {}
    reasons = {**outside, **selection.dropped}
    told = [f"{count(number)} {reason}" for reason, number in reasons.items()] if len(reasons) > 1 else [*reasons]
    return f"without {count(missing)} of its {count(selection.in_file)} requests: {', '.join(told)}"


def provenance(path: Path, name: str, selection: Selection) -> dict[str, Any]:
    """Where requests came from, and what happened to the others; `name` is the format's."""
    return {
        "file": path.name,
        "format": name,
        "requests_in_file": selection.in_file,
        "outside_window": selection.outside_window,
        "dropped": dict(selection.dropped),
        "out_of_order": selection.rows.out_of_order,
    }
