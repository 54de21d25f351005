"""What a summary means, in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.report.compare import against
from sunsim.report.format import change, count, listed, milliseconds, number, percent, times

if TYPE_CHECKING:
    from collections.abc import Mapping

    Entry = Mapping[str, Any]
    Arms = Mapping[str, Entry]

SAME = 0.02
"""Loads that differ by less than this share are called the same."""

VERDICTS = 3

REASONS = {
    "batch": "batch size not measured",
    "context": "context of the batch not measured",
    "tokens": "number of prompt tokens not measured",
    "pairs": "longer prompts or more tokens attended to than measured",
    "adapters": "more adapters than measured",
}
"""What takes a step out of the measured range."""


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Verdicts first, then what to know before believing them."""
    arms: Arms = summary["arms"]
    return [
        *verdicts(arms),
        *overload(arms),
        *unfinished(arms),
        *preemptions(arms),
        limits(arms),
        *prefill(arms),
        outside_measured(arms),
        *basis(summary.get("basis", {})),
    ]


def verdicts(arms: Arms) -> list[str]:
    """One sentence for each arm against the first, at most for the three that get most out of a GPU."""
    (base_name, base), *others = arms.items()

    def yield_per_gpu(item: tuple[str, Entry]) -> float:
        rate: float | None = item[1]["output_throughput_per_decode_gpu"] or item[1]["output_throughput_per_gpu"]
        return rate or 0.0

    best = sorted(others, key=yield_per_gpu, reverse=True)[:VERDICTS]
    return [_verdict(name, entry, base_name, base) for name, entry in others if (name, entry) in best]


def _verdict(name: str, entry: Entry, base_name: str, base: Entry) -> str:
    carried = against("output_throughput_window", entry, base)
    if carried is None:
        return f"{name}: nothing to compare with {base_name}."
    load = "the same load as" if abs(carried - 1) < SAME else f"{times(carried)} the output of"
    return f"{name} carries {load} {base_name} {_gpus(entry, base)}{_beyond(entry, base)}{_tpot(entry, base)}."


def _beyond(entry: Entry, base: Entry) -> str:
    """Two arms that carry all they can may carry the same, which is not what was asked of them."""
    if entry["overloaded"] and base["overloaded"]:
        return ", both less than is asked of them"
    return ", less than is asked of it" if entry["overloaded"] else ""


def _gpus(entry: Entry, base: Entry) -> str:
    # A colocated worker prefills too, so beside an arm with prefill workers its decode GPUs say nothing.
    alike = _colocated(entry) == _colocated(base) and entry["decode_gpus"] and base["decode_gpus"]
    key, kind = ("decode_gpus", "decode GPU") if alike else ("gpus", "GPU")
    has, had = entry[key], base[key]
    per = against(
        "output_throughput_per_decode_gpu" if key == "decode_gpus" else "output_throughput_per_gpu", entry, base
    )
    plural = "s" if has != 1 else ""
    if has == had:
        return f"with as many {kind}s ({count(has)})"
    return f"with {count(has)} {kind}{plural} instead of {count(had)} ({times(per)} per {kind})"


def _colocated(entry: Entry) -> bool:
    return any(worker.startswith("colocated/") for worker in entry["workers"])


def _tpot(entry: Entry, base: Entry) -> str:
    parts = [
        f"{name} TPOT {number(entry[tag])} ms against {number(base[tag])} ms ({change(entry[tag], base[tag])})"
        for name, tag in (("mean", "mean_tpot_ms"), ("p99", "p99_tpot_ms"))
        if against(tag, entry, base) is not None
    ]
    return f", {' and '.join(parts)}" if parts else ""


def overload(arms: Arms) -> list[str]:
    """Which arms are overloaded, and by which models where not all are."""
    found = []
    for name, entry in arms.items():
        if not entry["overloaded"]:
            continue
        models = [model for model, own in entry["models"].items() if own["overloaded"]]
        asked = sum(own["requests"] > 0 for own in entry["models"].values())
        found.append(name if len(models) in {0, asked} else f"{name} (by {listed(models)})")
    if not found:
        return []
    in_tpot = any(entry["overloaded"] and entry["decode_wait_in_tpot"] for entry in arms.values())
    what = "TTFT, goodput and TPOT (prefill emits the first token)" if in_tpot else "TTFT and goodput"
    text = f"* Overloaded: {listed(found)}. The queue still grows when arrivals end, so {what} depend on "
    return [text + "the run's length and are not compared."]


def unfinished(arms: Arms) -> list[str]:
    """How many requests the stop cut off."""
    cut = [f"{name} {count(entry['unfinished'])}" for name, entry in arms.items() if entry["unfinished"]]
    text = "their latencies are in no figure, and what they had emitted is estimated, at the finished ones' median TPOT"
    return [f"Unfinished at the stop: {listed(cut)}; {text}."] if cut else []


def preemptions(arms: Arms) -> list[str]:
    """How often requests lost their place for want of KV blocks."""
    lost = [f"{name} {count(entry['preemptions'])}" for name, entry in arms.items() if entry["preemptions"]]
    return [f"Preemptions for want of KV blocks: {listed(lost)}; KV occupancy is not given there."] if lost else []


def limits(arms: Arms) -> str:
    """Which stage holds each arm back; arms of which that is equally true are named together."""
    found: dict[str, list[str]] = {}
    for name, entry in arms.items():
        limit = entry["limiting"]
        where = f" ({limit['worker']}, mean wait {milliseconds(limit['mean_wait_ms'])})" if limit["worker"] else ""
        found.setdefault(f"{limit['stage']}{where}", []).append(name)
    if list(found) == ["none"]:
        return f"No stage limits: the longest mean wait at any worker is {milliseconds(_longest(arms))}."
    return f"Limited by: {'; '.join(f'{stage} in {listed(names)}' for stage, names in found.items())}."


def _longest(arms: Arms) -> float:
    return max(float(entry["limiting"]["mean_wait_ms"]) for entry in arms.values())


def prefill(arms: Arms) -> list[str]:
    """Whether prefill has headroom: no worker of it busy for more than 70 % of the window."""
    heads = {name: entry["prefill_headroom"] for name, entry in arms.items() if entry["prefill_headroom"]}
    if not heads:
        return []
    above = [
        f"{listed(head['above_70_percent'])} in {name}" for name, head in heads.items() if head["above_70_percent"]
    ]
    hottest, head = max(heads.items(), key=lambda item: float(item[1]["utilisation"]))
    busiest = f"busiest: {head['hottest_worker']} in {hottest}, {percent(head['utilisation'])}"
    if above:
        return [f"Prefill workers busy for more than 70 % of the window: {'; '.join(above)} ({busiest})."]
    return [f"No prefill worker is busy for more than 70 % of the window ({busiest})."]


def outside_measured(arms: Arms) -> str:
    """Steps that the profile was not measured for."""
    found: dict[str, list[str]] = {}
    for name, entry in arms.items():
        for stage, share in entry["outside_measured_share"].items():
            if share:
                reasons = listed([REASONS.get(r, r) for r in sorted(entry["outside_measured"][stage])])
                found.setdefault(f"{percent(share, 1)} of {stage} steps ({reasons})", []).append(name)
    texts = [f"{share} in {listed(names)}" for share, names in found.items()]
    return f"Outside the measured range: {'; '.join(texts)}." if texts else "Every step is inside the measured range."


def basis(kinds: Mapping[str, list[str]]) -> list[str]:
    """What the figures rest on; measured, derived and assumed are kept apart."""
    return [f"{kind.capitalize()}: {'; '.join(facts)}." for kind, facts in kinds.items() if facts]
