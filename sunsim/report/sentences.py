"""What a summary means, in plain sentences."""

from collections.abc import Mapping

from sunsim.report.accuracy import accuracy_told
from sunsim.report.compare import against, stages, worker_pools
from sunsim.report.drafts import drafts
from sunsim.report.elastic import changes, converted, held, is_elastic, savings, shed
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import change, count, counted, in_arms, listed, milliseconds, number, percent, times, together
from sunsim.report.outside import outside_steps

SAME = 0.02
"""Loads that differ by less than this share are called the same."""
STEADY = 0.95
"""Of the rounds that come in the long run: with fewer the load still grows."""

VERDICTS = 3


def sentences(summary: Entry) -> list[str]:
    """Verdicts first, then what to know before believing them."""
    arms: Arms = summary["arms"]
    return [
        *(savings(arms, summary.get("worst_window_s")) if is_elastic(arms) else verdicts(arms)),
        *changes(arms),
        *drafts(arms),
        *filling(arms),
        *caches(arms),
        *other_models(summary.get("base_models", {})),
        *accuracy_told({name: entry.get("accuracy") for name, entry in arms.items()}, summary.get("accuracy", {})),
        *overload(arms),
        *unfinished(arms),
        *shed(arms),
        *converted(arms),
        *preemptions(arms),
        limits(arms),
        *prefill(arms),
        outside_measured(arms),
        *basis(summary.get("basis", {})),
        *short_window(summary["window"], arms),
    ]


def verdicts(arms: Arms) -> list[str]:
    """One sentence for each arm against the first, at most for the three that get most out of a GPU."""
    (base_name, base), *others = arms.items()
    best = sorted(others, key=lambda item: item[1]["output_throughput_per_gpu"] or 0.0, reverse=True)[:VERDICTS]
    return [verdict(name, entry, base_name, base) for name, entry in others if (name, entry) in best]


def caches(arms: Arms) -> list[str]:
    """What rounds of sessions found in prefix caches, and what of their histories was computed again."""
    known = {name: entry for name, entry in arms.items() if entry.get("cached_share") is not None}
    if not known:
        return []
    cached = together((percent(entry["cached_share"], 1), name) for name, entry in known.items())
    said = f"Found in prefix caches, of the prompts' tokens: {in_arms(cached)}"
    again = together(
        (percent(entry["recomputed_share"], 1), name)
        for name, entry in known.items()
        if entry["recomputed_share"] is not None
    )
    return [
        f"{said}. Computed again of what a session's round before had left: {in_arms(again)}." if again else f"{said}."
    ]


def filling(arms: Arms) -> list[str]:
    """That rounds are still to come of sessions that are measured, so that the load grows; nothing where as many end as begin."""
    low = {name: entry for name, entry in arms.items() if (entry.get("steady_share") or 1.0) < STEADY}
    if not low:
        return []
    came = together((percent(entry["steady_share"], 0), name) for name, entry in low.items())
    longest = max(entry["p99_session_duration_s"] or 0.0 for entry in low.values())
    return [
        (
            f"The load still grows when measuring ends, as more sessions begin than end: of the rounds that come in the long run, "
            f"so many came: {in_arms(came)}. Sessions take up to {number(longest)} s (p99): a longer measure.warmup_s, and "
            f"workload.duration_s beyond it, measure the whole load, which may take more GPUs."
        )
    ]


def other_models(of_arms: Mapping[str, str]) -> list[str]:
    """Whether the arms, by name, are of more than one base model."""
    found = together((model, name) for name, model in of_arms.items())
    if len(found) < 2:
        return []
    parts = listed([f"{model} in {listed(names)}" for model, names in found.items()])
    text = "what differs between such arms comes from the models as well as from the way of serving"
    return [f"The arms do not serve the same base model: {parts}; {text}."]


def verdict(name: str, entry: Entry, base_name: str, base: Entry) -> str:
    """What an arm carries, with how many GPUs and how fast, against another."""
    if ("decode" in stages(worker_pools(entry))) != ("decode" in stages(worker_pools(base))):
        return f"{name} is not compared with {base_name}: without decode a request ends with its first token."
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
    """How many GPUs each has: all of them first, then those of decode where there are others too."""
    has, had = entry["gpus"], base["gpus"]
    if stages(worker_pools(entry)) != stages(worker_pools(base)):
        return f"with {_doing(entry)}, against {_doing(base)}"
    per = against("output_throughput_per_gpu", entry, base)
    if is_elastic({"": entry}) or is_elastic({"": base}):
        return f"with {held(entry)} instead of {held(base)} ({times(per)} per GPU)"
    apart = all(worker_pools(arm) == {"prefill", "decode"} for arm in (entry, base))
    if has == had:
        return f"with as many GPUs ({count(has)}{_of_decode(entry, base) if apart else ''})"
    part = _of_decode(entry, base) if apart else ""
    return f"with {counted(has, 'GPU')} instead of {count(had)} ({times(per)} per GPU{part})"


def _of_decode(entry: Entry, base: Entry) -> str:
    has, had = entry["decode_gpus"], base["decode_gpus"]
    if has == had:
        return f"; decode has {count(has)} in both" if entry["gpus"] != base["gpus"] else ""
    per = against("output_throughput_per_decode_gpu", entry, base)
    return f"; decode has {count(has)} instead of {count(had)}, {times(per)} per decode GPU"


def _doing(entry: Entry) -> str:
    return f"{counted(entry['gpus'], 'GPU')} {'that also prefill' if 'prefill' in stages(worker_pools(entry)) else 'for decode alone'}"


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
    what = ["TTFT"] + (["goodput"] if any(entry["request_goodput"] is not None for entry in arms.values()) else [])
    what += ["TPOT (prefill emits the first token)"] if in_tpot else []
    text = f"* Overloaded: {listed(found)}. The queue still grows when measuring ends, so the run's length decides how large"
    return [f"{text} {listed(what)} come{'s' if len(what) == 1 else ''} out: no ratios are given."]


def unfinished(arms: Arms) -> list[str]:
    """How many requests the stop cut off."""
    cut = {name: entry for name, entry in arms.items() if entry["unfinished"]}
    if not cut:
        return []
    numbers = [f"{name} {count(entry['unfinished'])}" for name, entry in cut.items()]
    said = [f"Unfinished at the stop: {listed(numbers)}", "they are in no figure of TTFT, TPOT or E2EL"]
    emitting = {name: entry for name, entry in cut.items() if "decode" in stages(worker_pools(entry))}
    unknown = [name for name, entry in emitting.items() if entry["output_throughput_window"] is None]
    if len(unknown) < len(emitting):
        said.append("what they had emitted is estimated, at the finished ones' median TPOT")
    if unknown:
        said.append(f"what they had emitted in {listed(unknown)} is not known, as no finished one tells a TPOT")
    return [f"{'; '.join(said)}."]


def preemptions(arms: Arms) -> list[str]:
    """How often requests lost their place for want of KV blocks."""
    lost = [f"{name} {count(entry['preemptions'])}" for name, entry in arms.items() if entry["preemptions"]]
    text = "KV occupancy is not given of workers that preempted or prefilled again"
    return [f"Preemptions for want of KV blocks: {listed(lost)}; {text}."] if lost else []


def limits(arms: Arms) -> str:
    """Which stage holds each arm back; arms of which that is equally true are named together."""
    found = together((_limit(entry["limiting"]), name) for name, entry in arms.items())
    if list(found) == ["nothing"]:
        longest_ms = max(entry["limiting"]["mean_wait_ms"] for entry in arms.values())
        return f"No stage limits: the longest mean wait at any worker is {milliseconds(longest_ms)}."
    return f"Limited by: {in_arms(found)}."


def _limit(limit: Entry) -> str:
    where = f" ({limit['worker']}, mean wait {milliseconds(limit['mean_wait_ms'])})" if limit["worker"] else ""
    return f"{'nothing' if limit['stage'] == 'none' else limit['stage']}{where}"


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
    found = together((steps, name) for name, entry in arms.items() for steps in outside_steps(entry))
    return f"Outside the measured range: {in_arms(found)}." if found else "Every step is inside the measured range."


def basis(kinds: Mapping[str, list[str]]) -> list[str]:
    """What the figures rest on; measured, derived and assumed are kept apart."""
    return [f"{kind.replace('_', ' ').capitalize()}: {'; '.join(facts)}." for kind, facts in kinds.items() if facts]


def short_window(window: Entry, arms: Arms) -> list[str]:
    """That the window tells no rates, and the rates that can be told."""
    if not window["too_short"]:
        return []
    rates = [
        f"{name} {number(entry['request_throughput'])} requests/s and {number(entry['output_throughput'])} tokens/s"
        for name, entry in arms.items()
    ]
    length = milliseconds((window["end_s"] - window["start_s"]) * 1000)
    text = f"Requests arrive within {length}, in less time than one takes, so rates, means over time and goodput are not given"
    return [f"{text}; over the whole run, drain included: {listed(rates)}."]
