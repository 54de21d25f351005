"""Which arm of a plan is the cheapest, and how much more the others need, in plain sentences."""

from collections.abc import Iterator, Mapping

from sunsim.plan.search import Reason
from sunsim.plan.way_tables import by_work, cards, work
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import count, gpu_count, listed, number, percent


def best_of(passing: Arms) -> str:
    """The cheapest arm, of those that do the work of both stages if there are any."""
    return min(passing, key=lambda name: (-len(work(passing[name])), *rank(passing[name])))


def cheapest(plan: Entry, passing: Arms) -> Iterator[str]:
    """The cheapest arms, and what the others need."""
    if not passing:
        yield _nothing(plan)
    yield from (_cheapest_of(plan, arms) for arms in by_work(passing))


def rank(arm: Entry) -> tuple[float, int]:
    """What arms are ordered by: their cost where prices are given, then GPUs."""
    return (round(arm["cost"]["per_hour"], 6) if arm["cost"] else 0.0, arm["gpus"]["all"])


def _nothing(plan: Entry) -> str:
    """Why no arm has a pool that passes."""
    ended = [name for name, arm in plan["arms"].items() if arm["reason"] == Reason.BUDGET]
    failed = [name for name in plan["arms"] if name not in ended]
    if ended:
        rest = f"; {listed(failed)} fail{'s' if len(failed) == 1 else ''} within the largest pools" if failed else ""
        return f"The budget ended the search before a pool was found that meets the SLO ({listed(ended)}){rest}."
    if all(arm["hopeless"] for arm in plan["arms"].values()):
        return "No arm can meet the SLO, however many GPUs it has."
    return "No arm meets the SLO within the largest pools that were to be tried."


def _cheapest_of(plan: Entry, arms: Arms) -> str:
    least = min(map(rank, arms.values()))
    best = {name: arm for name, arm in arms.items() if rank(arm) == least}
    first, winner = next(iter(plan["arms"])), next(iter(best.values()))
    if len({gpus_of(plan, arm) for arm in best.values()}) == 1:
        said = f"{listed(list(best))} meet{'s' if len(best) == 1 else ''} the SLO with {gpus_of(plan, winner)}"
    else:
        said = listed([f"{name} meets the SLO with {gpus_of(plan, arm)}" for name, arm in best.items()])
    if first in arms and first not in best:
        said += f"; {first} needs {gpus_of(plan, arms[first])}, so that is {_fewer(plan, winner, arms[first])}"
    elif winner["cost"] and not _prices_differ(plan):
        said += f", {number(winner['cost']['per_hour'])} an hour{_a_gpu(plan)}"
    others = [f"{name} needs {gpus_of(plan, arm)}" for name, arm in arms.items() if name not in best and name != first]
    return f"{said}.{f' Of the others, {listed(others)}.' if others else ''}"


def _fewer(plan: Entry, arm: Entry, base: Entry) -> str:
    """How many GPUs less than the base an arm needs, and what that saves; where prices differ only the latter counts."""
    if _prices_differ(plan):
        return f"{percent(1 - arm['cost']['per_hour'] / base['cost']['per_hour'])} cheaper"
    said = f"{percent(1 - arm['gpus']['all'] / base['gpus']['all'])} fewer"
    decode, was = arm["gpus"].get("decode"), base["gpus"].get("decode")
    if decode and was and len(base["stages"]) > 1:
        said += f" ({percent(1 - decode / was)} fewer for decode)" if decode < was else " (none of them for decode)"
    if arm["cost"] and base["cost"]:
        hourly = f"{number(arm['cost']['per_hour'])} instead of {number(base['cost']['per_hour'])} an hour"
        said += f", {hourly}{_a_gpu(plan)}"
    return said


def _prices_differ(plan: Entry) -> bool:
    """Whether not all of the plan's GPUs cost the same."""
    prices = plan["price_per_gpu_hour"]
    return isinstance(prices, Mapping) and len({prices[card] for card in cards(plan)}) > 1


def _a_gpu(plan: Entry) -> str:
    """The price that all GPUs have."""
    prices = plan["price_per_gpu_hour"]
    return f" at {number(prices[cards(plan)[0]] if isinstance(prices, Mapping) else prices)} a GPU"


def gpus_of(plan: Entry, arm: Entry) -> str:
    """GPUs by stage, on which cards if there are several in the plan, and what they cost if they cost differently."""
    gpus, own, mean = arm["gpus"], dict.fromkeys(arm["cards"].values()), ""
    if "elastic" in arm:
        mean = f" in the mean, {count(arm['elastic']['peak_gpus']['all'])} at most"
    on = {stage: f" on {card}" if len(own) > 1 else "" for stage, card in arm["cards"].items()}
    parts = [f"{gpu_count(gpus[stage])} {stage}{on[stage]}" for stage in arm["stages"]]
    unit = f"GPU{'s' if gpus['all'] != 1 else ''}"
    if len(parts) == 1:
        said = f"{parts[0]} {unit}{mean}"
    else:
        said = f"{gpu_count(gpus['all'])} {unit} ({' + '.join(parts)}{mean})"
    if len(own) == 1 < len(cards(plan)):
        said += f" on {next(iter(own))}"
    return f"{said} for {number(arm['cost']['per_hour'])} an hour" if _prices_differ(plan) else said
