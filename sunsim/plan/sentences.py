"""What a plan says, in plain sentences: the verdict first, then what breaks, then how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.plan.search import Reason
from sunsim.plan.tables import breaking, pools
from sunsim.plan.variants import TYPICAL
from sunsim.report.format import count, listed, milliseconds, number, percent
from sunsim.report.sentences import basis, other_models, outside_measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Entry = Mapping[str, Any]

ASSUMED = (
    "That more GPUs, fewer requests or looser limits never fail where fewer pass is taken for granted; what was seen to "
    "break it is told here."
)

SHORT = "All requests arrive in less time than one takes, so rates (per second and sustained) say little, and none is given per GPU."

FEW = 100
"""Requests of a model below which its share is coarse."""


def heading(plan: Entry) -> str:
    """What was planned for."""
    slo = ", ".join(f"{key.removesuffix('_ms').upper()} {number(limit)} ms" for key, limit in plan["slo"].items())
    seeds, window = len(plan["seeds"]), plan["window"]
    load = f"{number(plan['rate_rps'])} requests/s"
    if window["too_short"]:
        load = f"{count(plan['requests'])} requests within {milliseconds((window['end_s'] - window['start_s']) * 1000)}"
    return (
        f"{plan['scenario']}: {load}, {len(plan['models'])} "
        f"model{'s' if len(plan['models']) > 1 else ''}, {seeds} seed{'s' if seeds > 1 else ''}; at least "
        f"{percent(plan['attainment'])} of each model's requests must meet SLO {slo}"
        f"{f', in every {_window(plan)} too' if plan['require'] == 'worst-window' else ''}"
    )


def verdict(plan: Entry) -> list[str]:
    """How many GPUs, what breaks first, how sure."""
    arms = {name: arm for name, arm in plan["arms"].items() if arm["gpus"]}
    passing = {name: arm for name, arm in arms.items() if arm["passes"]}
    said = _cheapest(plan, passing) if plan["size"] != "none" else []
    said += [_none(plan, name, arm) for name, arm in plan["arms"].items() if not arm["gpus"] or not arm["passes"]]
    if not passing:
        return said
    best = min(passing, key=lambda name: (-len(passing[name]["stages"]), passing[name]["gpus"]["all"]))
    said += _hidden(plan, passing)
    said += [_breaks(plan, best, passing[best])]
    said.append(" ".join(filter(None, (_margin(plan, best, passing[best]), _error(plan, best, passing)))))
    return said


def _cheapest(plan: Entry, passing: Mapping[str, Entry]) -> list[str]:
    """The arms with the fewest GPUs, and what the others need; arms of one stage are no rivals of those of both."""
    if not passing:
        return [_nothing(plan)]
    alike: dict[tuple[str, ...], dict[str, Entry]] = {}
    for name, arm in sorted(passing.items(), key=lambda item: -len(item[1]["stages"])):
        alike.setdefault(tuple(arm["stages"]), {})[name] = arm
    return [_cheapest_of(plan, arms) for arms in alike.values()]


def _cheapest_of(plan: Entry, arms: Mapping[str, Entry]) -> str:
    fewest = min(arm["gpus"]["all"] for arm in arms.values())
    best = {name: arm for name, arm in arms.items() if arm["gpus"]["all"] == fewest}
    first, cheapest = next(iter(plan["arms"])), next(iter(best.values()))
    if len({_gpus(arm) for arm in best.values()}) == 1:
        said = f"{listed(list(best))} meet{'s' if len(best) == 1 else ''} the SLO with {_gpus(cheapest)}"
    else:
        said = f"{listed([f'{name} meets the SLO with {_gpus(arm)}' for name, arm in best.items()])}"
    if first in arms and first not in best:
        base = arms[first]
        fewer = 1 - fewest / base["gpus"]["all"]
        said += f"; {first} needs {_gpus(base)}, so that is {percent(fewer)} fewer"
        decode, was = (arm["gpus"].get("decode") for arm in (cheapest, base))
        if decode and was and len(base["stages"]) > 1:
            said += f" ({percent(1 - decode / was)} fewer for decode)" if decode < was else " (none of them for decode)"
        cost, of_base = cheapest["cost"], base["cost"]
        if cost and of_base:
            said += f", {number(cost['per_hour'])} instead of {number(of_base['per_hour'])} an hour at {number(plan['price_per_gpu_hour'])} a GPU"
    others = [f"{name} needs {_gpus(arm)}" for name, arm in arms.items() if name not in best and name != first]
    return f"{said}.{f' Of the others, {listed(others)}.' if others else ''}"


def _nothing(plan: Entry) -> str:
    """Why no arm has a pool that passes."""
    ended = [name for name, arm in plan["arms"].items() if arm["reason"] == Reason.BUDGET.value]
    failed = [name for name in plan["arms"] if name not in ended]
    if ended:
        rest = f"; {listed(failed)} fail{'s' if len(failed) == 1 else ''} within the largest pools" if failed else ""
        return f"The budget ended the search before a pool was found that meets the SLO ({listed(ended)}){rest}."
    if all(arm["hopeless"] for arm in plan["arms"].values()):
        return "No arm can meet the SLO, however many GPUs it has."
    return "No arm meets the SLO within the largest pools that were to be tried."


def _gpus(arm: Entry) -> str:
    gpus = arm["gpus"]
    parts = [f"{count(gpus[stage])} {stage}" for stage in ("prefill", "decode") if stage in gpus]
    plural = "s" if gpus["all"] != 1 else ""
    if len(parts) == 1:
        return f"{parts[0]} GPU{plural}"
    return f"{count(gpus['all'])} GPU{plural} ({' + '.join(parts)})"


def _none(plan: Entry, name: str, arm: Entry) -> str:
    too_slow = [_too_slow(plan, found) for found in arm["hopeless"]]
    if arm["gpus"] is None:
        why = {
            Reason.NO_PASS.value: listed(too_slow) if too_slow else "even the largest pools that may be tried fail",
            Reason.BUDGET.value: "the budget was spent before a pool was found that passes",
        }
        return f"{name}: no plan ({why[arm['reason']]})."
    met = arm["attained"]
    least = met["worst_model"]
    share = met["models"][least]["share"]
    window = met["models"][least]["worst_window"]
    if plan["require"] == "worst-window" and window and window["share"] < plan["attainment"] <= share:
        what = f"{percent(window['share'], 1)} of {least}'s requests in its worst {_window(plan)} meet the SLO"
    elif share is not None and share >= plan["attainment"] and arm["overloaded"]:
        what = f"the queue of {listed(arm['overloaded'])} still grows when measuring ends"
    else:
        what = f"{percent(share, 1)} of {least}'s requests meet the SLO"
    return f"{name} fails with {_gpus(arm)}: {what}{f' ({listed(too_slow)})' if too_slow else ''}."


def _too_slow(plan: Entry, found: Entry) -> str:
    """A limit that no pool can meet, and why."""
    limit = found["limit"]
    steps = f"the fastest {' and '.join(found['steps'])} step{'s' if len(found['steps']) > 1 else ''} alone"
    name, most = limit.removesuffix("_ms").upper(), number(plan["slo"][limit])
    takes = "take" if len(found["steps"]) > 1 else "takes"
    return f"no number of GPUs can meet the {name} limit of {most} ms: {steps} {takes} {number(found['ms'])} ms"


def _window(plan: Entry) -> str:
    return f"{plan['worst_window']['length_s']:g} s"


def _hidden(plan: Entry, passing: Mapping[str, Entry]) -> list[str]:
    """Where the mean hides a window in which fewer requests meet the SLO than are asked for in the mean."""
    found = []
    for name, arm in passing.items():
        known = {m: met for m, met in arm["attained"]["models"].items() if met["worst_window"]}
        model = min(known, key=lambda m: known[m]["worst_window"]["share"], default=None)
        if model is not None and known[model]["worst_window"]["share"] < plan["attainment"]:
            met, window = known[model], known[model]["worst_window"]
            found.append(
                f"{percent(window['share'], 1)} of {model}'s in {name} (from {number(window['start_s'])} s on with seed "
                f"{window['seed']}; {percent(met['share'], 1)} in the mean)"
            )
    if not found:
        return []
    text = f"In the worst {_window(plan)} fewer than {percent(plan['attainment'])} meet the SLO: {listed(found)}"
    return [f"{text}. plan.require: worst-window asks for the share in every window."]


def _breaks(plan: Entry, name: str, arm: Entry) -> str:
    found = breaking(arm)
    if not found:
        return f"{name}: nothing breaks in the range that was tried."
    what = f"the {found['slo']} limit of {found['model']}" if found["slo"] != "queue" else f"{found['model']}'s queue"
    share = f"{'' if found['whole'] else 'at most '}{percent(found['share'], 1)} of its requests meet the SLO"
    if plan["require"] == "worst-window" and found["slo"] != "queue":
        window = found["worst_window_share"]
        # A run that was ended early says only that a window is sure to fail.
        of_it = f"fewer than {percent(plan['attainment'])}" if window is None else percent(window, 1)
        share = f"{of_it} of its requests in its worst {_window(plan)} meet the SLO"
    if "pool" in found:
        return f"What breaks first in {name}: with one less of its {found['pool']}, {what} ({share})."
    return f"What breaks first in {name}: at {arm['rates']['fails']:.2f} times the rate, {what} ({share})."


def _margin(plan: Entry, name: str, arm: Entry) -> str:
    rates = arm["rates"]
    if not rates or rates["passes"] is None or plan["window"]["too_short"]:
        return ""
    rate = plan["rate_rps"] * rates["passes"]
    beyond = {
        Reason.NO_FAILURE.value: " at least, the highest that was tried",
        Reason.BUDGET.value: " at least; the budget ended the search",
    }
    return (
        f"How sure: {name} sustains {rates['passes']:.2f} times this rate ({number(rate)} requests/s)"
        f"{beyond.get(rates['reason'], '')}."
    )


def _error(plan: Entry, best: str, passing: Mapping[str, Entry]) -> str:
    """Whether the error that the profiles were seen to have would change a number of GPUs."""
    if not plan["profile_errors"]:
        return "How far off its profiles are is not known: no actual run of their card, model and variant is shipped."
    close = {name: arm for name, arm in passing.items() if arm["within_error"]}
    said = []
    if passing[best]["within_error"] is False:
        said.append("With steps slower by the typical error of its profiles, it still passes.")
    if close:
        needs = [f"{name} would need {_needed(arm)}" for name, arm in close.items()]
        said.append(f"Within the simulator's error: with steps slower by that of the profiles, {listed(needs)}.")
    return " ".join(said)


def _needed(arm: Entry) -> str:
    found = arm["variants"][TYPICAL]["gpus"]
    return f"{count(found['all'])} GPUs" if found else "more than may be tried"


def caveats(plan: Entry) -> list[str]:
    """What to know before believing it."""
    arms = {name: arm for name, arm in plan["arms"].items() if arm["gpus"]}
    portraits = {name: arm["portrait"]["entry"] for name, arm in arms.items() if arm["portrait"]}
    return [
        *other_models(plan["base_models"]),
        *_stops(plan),
        *([SHORT] if plan["window"]["too_short"] else []),
        *_not_monotone(arms),
        *_intervals(plan, arms),
        *_errors(plan),
        *(f"Measured of {name}: {text}." for name, text in plan["measured_ranges"].items() if text),
        *([f"At the planned rate with the first seed: {_small(outside_measured(portraits))}"] if portraits else []),
        *basis(plan["basis"]),
        _passing(plan),
    ]


def _small(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _passing(plan: Entry) -> str:
    """When a pool passes."""
    when = "over all seeds together"
    if plan["require"] == "worst-window":
        when = (
            f"with each seed in every window of {_window(plan)}, which goes on until it holds "
            f"{plan['worst_window']['fewest_requests']} of the model's requests"
        )
    return f"A pool passes if each model's share is met {when}, and no queue still grows when measuring ends. {ASSUMED}"


def _stops(plan: Entry) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for name, arm in plan["arms"].items():
        what = "" if arm["gpus"] else "/hopeless" if arm["hopeless"] else "/none"
        by_reason.setdefault(arm["reason"] + what, []).append(name)
    said = {
        Reason.FOUND.value: "one GPU less of any pool that has more than one fails",
        Reason.NO_FAILURE.value: "one GPU in every pool is enough",
        f"{Reason.NO_PASS.value}/none": "the largest pools fail too",
        f"{Reason.NO_PASS.value}/hopeless": "no number of GPUs can meet a limit",
        Reason.BUDGET.value: "what is given may not be the smallest",
        f"{Reason.BUDGET.value}/none": "before a pool was found that passes",
    }
    if plan["size"] != "none":
        texts = [f"{reason.split('/')[0]} in {listed(names)} ({said[reason]})" for reason, names in by_reason.items()]
        yield f"Why the search stopped: {'; '.join(texts)}."


def _not_monotone(arms: Mapping[str, Entry]) -> Iterator[str]:
    for name, arm in arms.items():
        for point in arm["not_monotone"]:
            yield (
                f"{name} fails with more GPUs ({pools(point['sizes'])}: {percent(point['worst_share'], 2)} of "
                f"{point['worst_model']}), so its number is uncertain by as much."
            )
        for less in arm["one_less"]:
            if less["passes"]:
                yield f"{name} passes with one less of its {less['pool']} too, so its number may be one too high."
        if arm["overloaded"]:
            yield f"{name} is overloaded: the queue of {listed(arm['overloaded'])} still grows when measuring ends."


def _intervals(plan: Entry, arms: Mapping[str, Entry]) -> Iterator[str]:
    if plan["trace"]:
        yield (
            "A trace brings the same requests with every seed; only drawn models, routers that draw, and host stalls differ, "
            "so intervals over the seeds do not say how another day would be."
        )
    if len(plan["seeds"]) == 1:
        yield "One seed: how far other requests of the same kind would change the result is not known."
    unsure = []
    for name, arm in arms.items():
        for model, met in arm["attained"]["models"].items():
            low = met["share"] is not None and met["half_width_95"] is not None and met["share"] - met["half_width_95"]
            if arm["passes"] and low is not False and low < plan["attainment"]:
                unsure.append(f"{model} in {name} ({percent(met['share'], 1)} ±{100 * met['half_width_95']:.1f})")
    if unsure:
        yield (
            f"Over the seeds the 95 % interval of the share reaches below {percent(plan['attainment'])}: {listed(unsure)}. "
            "With other requests of the same kind one more GPU may be needed."
        )
    few = sorted(
        {m for arm in arms.values() for m, met in arm["attained"]["models"].items() if 0 < met["requests"] < FEW}
    )
    if few:
        yield f"Few requests (under {FEW} over all seeds), so that single ones count: {listed(few)}."


def _errors(plan: Entry) -> Iterator[str]:
    for error in plan["profile_errors"]:
        what = "mean TPOT" if error["stage"] == "decode" else "mean TTFT"
        yield (
            f"{error['profile']} against {error['runs']} actual runs ({error['stage']}): {what} is off by "
            f"{error['typical_percent']:.1f} % (root mean square); the run that was underrated most was "
            f"{error['too_fast_percent']:.1f} % slower than simulated."
        )
    known = {error["profile"] for error in plan["profile_errors"]}
    unknown = sorted(set(plan["profiles"]) - known)
    if unknown:
        yield f"No reported actual run is shipped of {listed(unknown)}, so the error there is not known."
