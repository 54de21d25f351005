"""What somebody who reads nothing else of a plan should see: three large numbers, or why there are none."""

from collections.abc import Iterator

from sunsim.plan.cheapest import best_of, rank
from sunsim.plan.conclusion import no_plan
from sunsim.plan.elastic import settings
from sunsim.plan.way_tables import work
from sunsim.report.blocks import Headline, Number
from sunsim.report.entries import Entry
from sunsim.report.format import ABSENT, count, gpu_count, number, percent, together
from sunsim.report.text_table import TextTable, table

NEAREST, MET = "nearest GPUs that were tried", "SLO met there"


def headline(plan: Entry) -> Headline:
    """GPUs of the cheapest arm that passes, what it costs or what another needs, and how far the SLO is met."""
    passing = {name: arm for name, arm in plan["arms"].items() if arm["passes"]}
    if not passing or plan["size"] == "none":
        return Headline([])
    best = best_of(passing)
    others = {name: arm for name, arm in passing.items() if name != best and work(arm) == work(passing[best])}
    first = next(iter(plan["arms"]))
    rival = first if first in others else min(others, key=lambda name: rank(others[name]), default=None)
    return Headline(list(_numbers(plan, best, rival)))


def _numbers(plan: Entry, best: str, rival: str | None) -> Iterator[Number]:
    arm, other = plan["arms"][best], plan["arms"][rival] if rival else None
    needs = f"; {rival} needs {gpu_count(other['gpus']['all'])}" if other else ""
    mean = " with so many in the mean" if "elastic" in arm else ""
    yield Number(_gpus(arm), f"{best} meets the SLO{mean}{needs}")
    if arm["cost"]:
        instead = f"; {rival} {number(other['cost']['per_hour'])}" if other and other["cost"] else ""
        yield Number(f"{number(arm['cost']['per_hour'])} an hour", f"{best}{instead}")
    elif other:
        yield Number(_gpus(other), f"{rival}, to compare")
    met = arm["attained"]
    worst = f"{percent(met['models'][met['worst_model']]['share'], 1)} of {met['worst_model']}'s, the worst model"
    yield Number(percent(met["share"], 1), f"of {best}'s requests meet the SLO; {worst}")


def _gpus(arm: Entry) -> str:
    gpus = arm["gpus"]["all"]
    return f"{gpu_count(gpus)} GPU{'' if gpus == 1 else 's'}"


def failures(plan: Entry) -> TextTable:
    """Why each arm has no pool that passes, and how near the search came."""
    failing = {name: arm for name, arm in plan["arms"].items() if not arm["gpus"]}
    return table(({"arm": name, "why": no_plan(arm)} | _nearest(arm) for name, arm in failing.items()), left=4)


def _nearest(arm: Entry) -> dict[str, str]:
    """Of the model that is worst off where each model's pools are searched for themselves."""
    tried = [point for point in arm["points"] if not point["conditions"] and point["worst_share"] is not None]
    of_model = together((point["model"], point) for point in tried)
    # The smallest of equals: more GPUs that change nothing say nothing.
    best = [
        max(own, key=lambda point: (point["worst_share"], -sum(point["sizes"].values()))) for own in of_model.values()
    ]
    if not best:
        return {NEAREST: ABSENT, MET: ABSENT}
    point = min(best, key=lambda point: point["worst_share"])
    stages = together((pool.split("/")[0], size) for pool, size in point["sizes"].items())
    each = arm["gpus_a_worker"]
    parts = [f"{count(sum(sizes) * each[stage])} {stage}" for stage, sizes in stages.items()]
    parts += [f"{stage} with {settings(values)}" for stage, values in point.get("scaling", {}).items()]
    share = f"{'' if point['whole'] else 'at most '}{percent(point['worst_share'], 1)}"
    return {NEAREST: " + ".join(parts), MET: f"{share} of {point['worst_model']}'s requests"}
