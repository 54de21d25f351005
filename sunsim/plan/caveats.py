"""What to know before believing a plan, in plain sentences."""

from collections.abc import Iterator

from sunsim.plan.conclusion import window_length
from sunsim.plan.elastic import settings, some_elastic
from sunsim.plan.errors import errors
from sunsim.plan.knobs import STEP
from sunsim.plan.search import Reason
from sunsim.plan.tried import pools
from sunsim.report.accuracy import NOWHERE, accuracy_told
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import listed, percent, together
from sunsim.report.sentences import basis, caches, filling, other_models, outside_measured

SHORT = "All requests arrive in less time than one takes, so rates (per second and sustained) say little, and none is given per GPU."
FEW = 100
"""Requests of a model below which its share is coarse."""


def caveats(plan: Entry) -> list[str]:
    """The arms' differences, why the search stopped, how far results scatter, what they rest on."""
    arms = {name: arm for name, arm in plan["arms"].items() if arm["gpus"]}
    portraits = {name: arm["portrait"]["entry"] for name, arm in arms.items() if arm["portrait"]}
    return [
        *other_models(plan["base_models"]),
        *_accuracy(plan),
        *_stops(plan),
        *_of_sessions(plan),
        *filling(portraits),
        *caches(portraits),
        *([SHORT] if plan["window"]["too_short"] else []),
        *_not_monotone(arms),
        *_steps(plan),
        *_seeds(plan),
        *_intervals(plan, arms),
        *_few(arms),
        *_errors(plan),
        *(f"Measured of {name}: {text}." for name, text in plan["measured_ranges"].items() if text),
        *_outside(portraits),
        *basis(plan["basis"]),
        _passing(plan),
    ]


def _accuracy(plan: Entry) -> list[str]:
    """How right the arms' models answer, or that no arm says so."""
    if "accuracy" not in plan:
        return [NOWHERE]
    return accuracy_told({name: arm["accuracy"] for name, arm in plan["arms"].items()}, plan["accuracy"])


def _stops(plan: Entry) -> Iterator[str]:
    said = {
        Reason.FOUND: "one {unit} less of any pool that has more than one fails",
        Reason.NO_FAILURE: "one {unit} in every pool is enough",
        Reason.NO_PASS: "the largest pools fail too",
        Reason.BUDGET: "what is given may not be the smallest",
    }

    of_elastic = said | {
        Reason.FOUND: "a step looser of any policy, or one GPU less of a fixed pool, fails",
        Reason.NO_FAILURE: "the loosest policies are enough",
        Reason.NO_PASS: "the tightest policies fail too",
    }

    def why(arm: Entry) -> str:
        if not arm["gpus"] and arm["hopeless"]:
            return "no number of GPUs can meet a limit"
        spent = not arm["gpus"] and arm["reason"] == Reason.BUDGET
        if "elastic" in arm and not spent:
            return of_elastic[arm["reason"]]
        unit = "GPU" if max(arm["gpus_a_worker"].values()) == 1 else "worker"
        return "before a pool was found that passes" if spent else said[arm["reason"]].format(unit=unit)

    if plan["size"] != "none":
        stopped = together(((arm["reason"], why(arm)), name) for name, arm in plan["arms"].items())
        texts = [f"{reason} in {listed(names)} ({text})" for (reason, text), names in stopped.items()]
        yield f"Why the search stopped: {'; '.join(texts)}."


def _of_sessions(plan: Entry) -> Iterator[str]:
    """What rates and outputs mean where requests are rounds of sessions."""
    if "sessions_rps" not in plan:
        return
    outputs = "the prompts of a trace hold its answers, so other outputs were not tried"
    if not plan["trace"]:
        outputs = "longer outputs make all later prompts longer"
    yield (
        f"Rates are of sessions, whose rounds come when the one before has been answered, so they come later where that "
        f"takes longer, and how many are measured differs; {outputs}."
    )


def _not_monotone(arms: Arms) -> Iterator[str]:
    for name, arm in arms.items():
        for point in arm["not_monotone"]:
            yield (
                f"{name} fails with {'a tighter policy' if 'scaling' in point else 'more GPUs'} ({pools(point)}: {percent(point['worst_share'], 2)} of "
                f"{point['worst_model']}), so its number is uncertain by as much."
            )
        for less in arm["one_less"]:
            if less["passes"] and "looser" in less:
                yield f"{name} passes with {settings(less['looser'])} for {less['pool']} too, so its number may be too high."
            elif less["passes"]:
                one = "one" if less["gpus"] == 1 else less["gpus"]
                yield f"{name} passes with one less of its {less['pool']} too, so its number may be {one} too high."
        if arm["overloaded"]:
            yield f"{name} is overloaded: the queue of {listed(arm['overloaded'])} still grows when measuring ends."


def _steps(plan: Entry) -> Iterator[str]:
    if some_elastic(plan):
        yield (
            f"Elastic pools are sized by what their policy is given, tried in steps of {percent(STEP - 1)} from what the "
            "scenario says, so a little less than what was found may do; interval, start and cooldown stay. They begin with "
            "`initial` workers, the least if none is given: `measure.warmup_s` leaves the beginning out."
        )


def _seeds(plan: Entry) -> Iterator[str]:
    if plan["trace"]:
        yield (
            "A trace brings the same requests with every seed; only drawn models, routers that draw, and host stalls differ, "
            "so intervals over the seeds do not say how another day would be."
        )
    if len(plan["seeds"]) == 1:
        yield "One seed: how far other requests of the same kind would change the result is not known."


def _intervals(plan: Entry, arms: Arms) -> Iterator[str]:
    unsure = [
        f"{model} in {name} ({percent(met['share'], 1)} ±{100 * met['half_width_95']:.1f})"
        for name, arm in arms.items()
        if arm["passes"]
        for model, met in arm["attained"]["models"].items()
        if None not in (met["share"], met["half_width_95"]) and met["share"] - met["half_width_95"] < plan["attainment"]
    ]
    if unsure:
        yield (
            f"Over the seeds the 95 % interval of the share reaches below {percent(plan['attainment'])}: {listed(unsure)}. "
            "With other requests of the same kind one more GPU may be needed."
        )


def _few(arms: Arms) -> Iterator[str]:
    few = {m for arm in arms.values() for m, met in arm["attained"]["models"].items() if 0 < met["requests"] < FEW}
    if few:
        yield f"Few requests (under {FEW} over all seeds), so that single ones count: {listed(sorted(few))}."


def _errors(plan: Entry) -> Iterator[str]:
    unknown = [f"{steps} steps of {profile}" for (steps, profile), (_, found) in errors(plan).items() if not found]
    if unknown:
        yield f"Nothing tells how far off {listed(unknown)} are."


def _outside(portraits: Arms) -> Iterator[str]:
    if portraits:
        said = outside_measured(portraits)
        yield f"At the planned rate with the first seed: {said[0].lower()}{said[1:]}"


def _passing(plan: Entry) -> str:
    """When a pool passes."""
    when = "over all seeds together"
    if plan["require"] == "worst-window":
        when = (
            f"with each seed in every window of {window_length(plan)}, which goes on until it holds "
            f"{plan['worst_window']['fewest_requests']} of the model's requests"
        )
    return (
        f"A pool passes if each model's share is met {when}, and no queue still grows when measuring ends. That more GPUs, "
        "fewer requests or looser limits never fail where fewer pass is taken for granted; what was seen to break it is "
        "told here."
    )
