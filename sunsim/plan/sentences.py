"""What a plan says, in plain sentences: the verdict first, then what breaks, then how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.plan.search import Reason
from sunsim.plan.tables import breaking, pools
from sunsim.plan.variants import TYPICAL
from sunsim.report.format import count, listed, number, percent
from sunsim.report.sentences import basis, outside_measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Entry = Mapping[str, Any]

PASSING = (
    "A pool passes if each model's share is met over all seeds together and no queue still grows when measuring ends. That "
    "more GPUs, fewer requests or looser limits never fail where fewer pass is taken for granted; what was seen to break "
    "it is told here."
)

FEW = 100
"""Requests of a model below which its share is coarse."""


def heading(plan: Entry) -> str:
    """What was planned for."""
    slo = ", ".join(f"{key.removesuffix('_ms').upper()} {number(limit)} ms" for key, limit in plan["slo"].items())
    seeds = len(plan["seeds"])
    return (
        f"{plan['scenario']}: {number(plan['rate_rps'])} requests/s, {len(plan['models'])} "
        f"model{'s' if len(plan['models']) > 1 else ''}, {seeds} seed{'s' if seeds > 1 else ''}; at least "
        f"{percent(plan['attainment'])} of each model's requests must meet SLO {slo}"
    )


def verdict(plan: Entry) -> list[str]:
    """How many GPUs, what breaks first, how sure."""
    arms = {name: arm for name, arm in plan["arms"].items() if arm["gpus"]}
    passing = {name: arm for name, arm in arms.items() if arm["passes"]}
    said = [_cheapest(plan, passing)] if plan["size"] != "none" else []
    said += [_none(name, arm) for name, arm in plan["arms"].items() if not arm["gpus"] or not arm["passes"]]
    if not passing:
        return said
    best = min(passing, key=lambda name: passing[name]["gpus"]["all"])
    said += [_breaks(best, passing[best])]
    said.append(" ".join(filter(None, (_margin(plan, best, passing[best]), _error(plan, best, passing)))))
    return said


def _cheapest(plan: Entry, passing: Mapping[str, Entry]) -> str:
    if not passing:
        return "No arm meets the SLO within the largest pools that were to be tried."
    fewest = min(arm["gpus"]["all"] for arm in passing.values())
    best = [name for name, arm in passing.items() if arm["gpus"]["all"] == fewest]
    first = next(iter(plan["arms"]))
    said = f"{listed(best)} meet{'s' if len(best) == 1 else ''} the SLO with {_gpus(passing[best[0]])}"
    if first in passing and first not in best:
        base = passing[first]
        fewer = 1 - fewest / base["gpus"]["all"]
        said += f"; {first} needs {_gpus(base)}, so that is {percent(fewer)} fewer"
        decode, was = (arm["gpus"].get("decode") for arm in (passing[best[0]], base))
        if decode and was and "prefill" in base["gpus"]:
            said += f" ({percent(1 - decode / was)} fewer for decode)"
        cost, of_base = passing[best[0]]["cost"], base["cost"]
        if cost and of_base:
            said += f", {number(cost['per_hour'])} instead of {number(of_base['per_hour'])} an hour at {number(plan['price_per_gpu_hour'])} a GPU"
    others = [f"{name} needs {_gpus(arm)}" for name, arm in passing.items() if name not in best and name != first]
    return f"{said}.{f' Of the others, {listed(others)}.' if others else ''}"


def _gpus(arm: Entry) -> str:
    gpus = arm["gpus"]
    parts = [f"{count(gpus[stage])} {stage}" for stage in ("prefill", "decode") if stage in gpus]
    plural = "s" if gpus["all"] != 1 else ""
    if len(parts) == 1:
        return f"{parts[0]} GPU{plural}"
    return f"{count(gpus['all'])} GPU{plural} ({' + '.join(parts)})"


def _none(name: str, arm: Entry) -> str:
    if arm["gpus"] is None:
        why = {
            Reason.NO_PASS.value: "even the largest pools that may be tried fail",
            Reason.BUDGET.value: "the budget was spent before a pool was found that passes",
        }
        return f"{name}: no plan ({why[arm['reason']]})."
    met = arm["attained"]
    worst = met["worst_model"]
    return f"{name} fails with {_gpus(arm)}: {percent(met['models'][worst]['share'], 1)} of {worst}'s requests meet the SLO."


def _breaks(name: str, arm: Entry) -> str:
    found = breaking(arm)
    if not found:
        return f"{name}: nothing breaks in the range that was tried."
    what = f"the {found['slo']} limit of {found['model']}" if found["slo"] != "queue" else f"{found['model']}'s queue"
    share = f"{'' if found['whole'] else 'at most '}{percent(found['share'], 1)} of its requests meet the SLO"
    if "pool" in found:
        return f"What breaks first in {name}: with one less of its {found['pool']}, {what} ({share})."
    return f"What breaks first in {name}: at {arm['rates']['fails']:.2f} times the rate, {what} ({share})."


def _margin(plan: Entry, name: str, arm: Entry) -> str:
    rates = arm["rates"]
    if not rates or rates["passes"] is None:
        return ""
    rate = plan["rate_rps"] * rates["passes"]
    beyond = "" if rates["fails"] else " at least, the highest that was tried"
    return f"How sure: {name} sustains {rates['passes']:.2f} times this rate ({number(rate)} requests/s){beyond}."


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
        *_stops(plan),
        *_not_monotone(arms),
        *_intervals(plan, arms),
        *_errors(plan),
        *(f"Measured of {name}: {text}." for name, text in plan["measured_ranges"].items() if text),
        *([outside_measured(portraits)] if portraits else []),
        *basis(plan["basis"]),
        PASSING,
    ]


def _stops(plan: Entry) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for name, arm in plan["arms"].items():
        by_reason.setdefault(arm["reason"], []).append(name)
    said = {
        Reason.FOUND.value: "one GPU less of any pool that has more than one fails",
        Reason.NO_FAILURE.value: "one GPU in every pool is enough",
        Reason.NO_PASS.value: "the largest pools fail too",
        Reason.BUDGET.value: "what is given may not be the smallest",
    }
    if plan["size"] != "none":
        texts = [f"{reason} in {listed(names)} ({said[reason]})" for reason, names in by_reason.items()]
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
                yield f"{name} passes with one less of its {less['pool']} too: the search ended before it could follow that."
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
        return
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
