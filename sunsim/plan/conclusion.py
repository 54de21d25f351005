"""What a plan comes down to, in plain sentences: how many GPUs, what breaks first, how sure that is."""

from collections.abc import Iterator

from sunsim.plan.cheapest import best_of, cheapest, gpus_of
from sunsim.plan.elastic import compared, settings
from sunsim.plan.errors import errors, seen
from sunsim.plan.search import Reason
from sunsim.plan.tables import breaking
from sunsim.plan.variants import TYPICAL
from sunsim.plan.ways import ANY
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import count, counted, gpu_count, limits, listed, milliseconds, number, percent, together

MOST = 0.5
"""Share of steps outside the measured range from which on a number of GPUs rests on them."""


def heading(plan: Entry) -> str:
    """What was planned for."""
    load, window = rate(plan), plan["window"]
    if "sessions_rps" in plan:
        load += f" ({number(plan['rate_rps'])} requests/s)"
    if window["too_short"]:
        load = f"{count(plan['requests'])} requests within {milliseconds((window['end_s'] - window['start_s']) * 1000)}"
    return (
        f"{plan['scenario']}: {load}, {counted(len(plan['models']), 'model')}, {counted(len(plan['seeds']), 'seed')}; at "
        f"least {percent(plan['attainment'])} of each model's requests must meet SLO {limits(plan['slo'])}"
        f"{f', in every {window_length(plan)} too' if plan['require'] == 'worst-window' else ''}"
    )


def rate(plan: Entry, times: float = 1.0) -> str:
    """So many times the planned rate: of sessions where there are any, else of requests."""
    of = "sessions" if "sessions_rps" in plan else "requests"
    return f"{number(plan.get('sessions_rps', plan['rate_rps']) * times)} {of}/s"


def assumed(plan: Entry) -> list[str]:
    """What was assumed where only a trace was given, and how to change it; and which ways are not compared."""
    said = []
    if plan["assumed"]:
        what = f"Assumed, as a file of requests does not say it: {listed(plan['assumed'])}"
        said.append(
            f"{what}. --set KEY=VALUE changes what is in brackets; or edit scenario.yaml in the plan's folder, and plan it."
        )
    if plan["absent"]:
        said.append(f"Not compared, for no profile of that card and base model is shipped: {listed(plan['absent'])}.")
    return said


OVERRATED = 5.0
"""Percent that a real run's TPOT has to be overrated by for a plan to say so: the slow side is always counted."""


def window_length(plan: Entry) -> str:
    """That of the windows, as 60 s."""
    return f"{plan['worst_window']['length_s']:g} s"


def conclusion(plan: Entry) -> list[str]:
    """How many GPUs, what breaks first, how sure."""
    passing = {name: arm for name, arm in plan["arms"].items() if arm["passes"]}
    said = list(cheapest(plan, passing)) if plan["size"] != "none" else []
    said += compared(plan, passing)
    said += [_fails(plan, name, arm) for name, arm in plan["arms"].items() if not arm["passes"]]
    if not passing:
        return said
    best = best_of(passing)
    said += _needed(passing)
    said += _hidden(plan, passing)
    said.append(_breaks(plan, best, passing[best]))
    said.append(" ".join([*_margin(plan, best, passing[best]), *_error(plan, best, passing)]))
    said += _off_by(plan, best)
    said += _unmeasured(best, passing[best])
    return said


def _needed(passing: Arms) -> Iterator[str]:
    """What the models must be; nothing is said where any would do for all arms."""
    alike = together((tuple(arm["needs"]), name) for name, arm in passing.items())
    if alike.keys() != {(ANY,)}:
        parts = [f"{listed(list(needs))} ({listed(names)})" for needs, names in alike.items()]
        yield f"What the models must be: {'; '.join(parts)}."


def _fails(plan: Entry, name: str, arm: Entry) -> str:
    if arm["gpus"] is None:
        return f"{name}: no plan ({no_plan(arm)})."
    too_slow = listed([_too_slow(found) for found in arm["hopeless"]]) if arm["hopeless"] else ""
    model = arm["attained"]["worst_model"]
    met = arm["attained"]["models"][model]
    share, window = met["share"], met["worst_window"]
    if plan["require"] == "worst-window" and window and window["share"] < plan["attainment"] <= share:
        what = f"{percent(window['share'], 1)} of {model}'s requests in its worst {window_length(plan)} meet the SLO"
    elif share is not None and share >= plan["attainment"] and arm["overloaded"]:
        what = f"the queue of {listed(arm['overloaded'])} still grows when measuring ends"
    else:
        what = f"{percent(share, 1)} of {model}'s requests meet the SLO"
    return f"{name} fails with {gpus_of(plan, arm)}: {what}{f' ({too_slow})' if too_slow else ''}."


def no_plan(arm: Entry) -> str:
    """Why an arm has no pool that passes."""
    if arm["reason"] == Reason.BUDGET:
        return "the budget was spent before a pool was found that passes"
    too_slow = [_too_slow(found) for found in arm["hopeless"]]
    if too_slow:
        return listed(too_slow)
    if "elastic" in arm:
        return "even the tightest policies that were tried fail, within the pools' max"
    return "even the largest pools that may be tried fail"


def _too_slow(found: Entry) -> str:
    """A limit that no pool can meet, and why."""
    several = len(found["steps"]) > 1
    steps = (
        f"the fastest {' and '.join(found['steps'])} step{'s' if several else ''} alone take{'' if several else 's'}"
    )
    whose = f" ({listed(found['models'])})" if found["models"] else ""
    limit = f"the {found['limit'].removesuffix('_ms').upper()} limit of {number(found['limit_ms'])} ms{whose}"
    return f"no number of GPUs can meet {limit}: {steps} {number(found['ms'])} ms"


def _hidden(plan: Entry, passing: Arms) -> Iterator[str]:
    """Where the mean hides a window in which fewer requests meet the SLO than are asked for in the mean."""
    found = []
    for name, arm in passing.items():
        known = {model: met for model, met in arm["attained"]["models"].items() if met["worst_window"]}
        model = min(known, key=lambda model: known[model]["worst_window"]["share"], default=None)
        if model is not None and known[model]["worst_window"]["share"] < plan["attainment"]:
            met, window = known[model], known[model]["worst_window"]
            found.append(
                f"{percent(window['share'], 1)} of {model}'s in {name} (from {number(window['start_s'])} s on with seed "
                f"{window['seed']}; {percent(met['share'], 1)} in the mean)"
            )
    if found:
        text = (
            f"In the worst {window_length(plan)} fewer than {percent(plan['attainment'])} meet the SLO: {listed(found)}"
        )
        yield f"{text}. `--set plan.require=worst-window` asks for the share in every window."


def _breaks(plan: Entry, name: str, arm: Entry) -> str:
    found = breaking(arm)
    if not found:
        return f"{name}: nothing breaks in the range that was tried."
    queue = found["slo"] == "queue"
    what = f"{found['model']}'s queue" if queue else f"the {found['slo']} limit of {found['model']}"
    share = f"{'' if found['whole'] else 'at most '}{percent(found['share'], 1)} of its requests meet the SLO"
    if plan["require"] == "worst-window" and not queue:
        window = found["worst_window_share"]
        # A run that was ended early says only that a window is sure to fail.
        of_it = f"fewer than {percent(plan['attainment'])}" if window is None else percent(window, 1)
        share = f"{of_it} of its requests in its worst {window_length(plan)} meet the SLO"
    if "looser" in found:
        when = f"with {settings(found['looser'])} for {found['pool']}"
    elif "pool" in found:
        when = f"with one less of its {found['pool']}"
    else:
        when = f"at {arm['rates']['fails']:.2f} times the rate"
    return f"What breaks first in {name}: {when}, {what} ({share})."


def _margin(plan: Entry, name: str, arm: Entry) -> Iterator[str]:
    rates = arm["rates"]
    if rates and rates["passes"] is not None and not plan["window"]["too_short"]:
        beyond = {
            Reason.NO_FAILURE: " at least, the highest that was tried",
            Reason.BUDGET: " at least; the budget ended the search",
        }
        most = f"{rates['passes']:.2f} times this rate ({rate(plan, rates['passes'])})"
        yield f"How sure: {name} sustains {most}{beyond.get(rates['reason'], '')}."


def _error(plan: Entry, best: str, passing: Arms) -> Iterator[str]:
    """Whether the error that the profiles were seen to have would change a number of GPUs."""
    if plan["estimate_errors"]:
        off = [f"{found['stage']} steps of {found['profile']} ({_off(found)})" for found in plan["estimate_errors"]]
        yield f"Estimated, not measured: {listed(off)}."
    unseen = [each["stage"] for each in passing[best]["validated"] if not each["runs"]]
    if unseen:
        yield f"Never compared with a real run: {listed(unseen)} workers of {best}'s card, model and variant."
    unjudged = {found["profile"] for found in plan["estimate_errors"] if found["unknown"]}
    if passing[best]["within_error"] is False and not unjudged & set(passing[best]["profiles"].values()):
        yield "With steps slower by the typical error of its profiles, it still passes."
    needs = {name: _slower_needs(arm) for name, arm in passing.items() if arm["within_error"]}
    faster = {name: found for name, arm in passing.items() if (found := _faster(arm))}
    if alone := [f"{name} would need {need}" for name, need in needs.items() if name not in faster]:
        yield f"Within the simulator's error: with steps slower by that of the profiles, {listed(alone)}."
    for name, share in faster.items():
        real = f"mean TPOT of a real run of such workers was {share} lower than simulated"
        if name in needs:
            yield f"{name}'s number is a guess: {real}, but with steps slower by its profiles' error it would need {needs[name]}."
        else:
            yield f"{name} may need fewer GPUs: {real}."


def _slower_needs(arm: Entry) -> str:
    gpus = arm["variants"][TYPICAL]["gpus"]
    return f"{gpu_count(gpus['all'])} GPUs" if gpus else "more GPUs than may be tried"


def _faster(arm: Entry) -> str:
    """How much faster real workers were than simulated, where that is so much that fewer may do; empty elsewhere."""
    tpot = [each["figures"].get("mean_tpot_ms") for each in arm["validated"]]
    most = max((each["worst_percent"] for each in tpot if each), default=0.0)
    return percent(1 - 1 / (1 + most / 100)) if most >= OVERRATED else ""


def _off(estimate: Entry) -> str:
    """How far off such estimates were, as far as that is known."""
    known = [f"typically off by {estimate['typical_percent']:g} %"] if estimate["typical_percent"] else []
    unknown = [f"not known: the error of {listed(estimate['unknown'])}"] if estimate["unknown"] else []
    return "; ".join(known + unknown) or "the source itself"


def _off_by(plan: Entry, name: str) -> Iterator[str]:
    """How far off an arm's profiles are, on what comes closest to the planned traffic; of estimates it has been said."""
    estimated = {found["profile"] for found in plan["estimate_errors"]}
    told = [
        f"{steps} steps of {profile} {seen(found)}"
        for (steps, profile), (arms, found) in errors(plan).items()
        if name in arms and profile not in estimated
    ]
    if told:
        yield f"How far off, on what comes closest to this traffic: {'; '.join(told)}."


def _unmeasured(name: str, arm: Entry) -> Iterator[str]:
    """Stages of which hardly any step is inside the measured range."""
    shares = arm["portrait"]["entry"]["outside_measured_share"] if arm["portrait"] else {}
    for stage, share in shares.items():
        if share is not None and share >= MOST:
            many = "All" if share == 1 else percent(share)
            kind = arm["stages"][0] if len(arm["stages"]) == 1 else stage
            yield f"{many} of {name}'s {kind} steps are outside the measured range, so its number is an extrapolation."
