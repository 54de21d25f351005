"""What a plan says of pools that grow and shrink, beside fixed ones, from the content of `plan.json`."""

from collections.abc import Iterator, Mapping
from typing import Any

from sunsim.metrics.pools import SECONDS_AN_HOUR
from sunsim.plan.way_tables import by_work
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import ABSENT, count, gpu_count, listed, number, percent, together
from sunsim.report.text_table import TextTable, table

ALIKE = 0.005
"""A smaller share more or less is no difference."""


def some_elastic(plan: Entry) -> bool:
    """Whether an arm has a pool that grows and shrinks."""
    return any("elastic" in arm for arm in plan["arms"].values())


def settings(values: Mapping[str, float]) -> str:
    """What a policy is given, as its keys in a scenario."""
    return listed([f"{key} {value:g}" for key, value in values.items()])


def hours(plan: Entry, arm: Entry) -> float | None:
    """GPU-hours of an arm over the measured window; None where none of its pools passes."""
    if not arm["gpus"]:
        return None
    if "elastic" in arm:
        return float(arm["elastic"]["gpu_hours"]["all"])
    return float(arm["gpus"]["all"] * _length_h(plan))


def written_hours(value: float | None) -> str:
    """Three digits also of the few that a short plan has."""
    return number(value) if value is None or value >= 1 else f"{value:.3g}"


def _length_h(plan: Entry) -> float:
    return float(plan["window"]["end_s"] - plan["window"]["start_s"]) / SECONDS_AN_HOUR


def compared(plan: Entry, passing: Arms) -> Iterator[str]:
    """The fewest GPU-hours, and those of each elastic arm against the same way to serve with fixed pools."""
    for arms in by_work(passing):
        yield from _compared(plan, arms)
    peaks = {name: arm["elastic"]["peak_gpus"]["all"] for name, arm in passing.items() if "elastic" in arm}
    if peaks:
        held = together((peak, name) for name, peak in peaks.items())
        yield (
            f"At their busiest these hold: {listed([f'{listed(names)} {count(peak)}' for peak, names in sorted(held.items())])} "
            "GPUs. Growing and shrinking saves where GPUs are paid by the hour, or used by others meanwhile, and not where they "
            "are bought."
        )


def _compared(plan: Entry, passing: Arms) -> Iterator[str]:
    """The same of arms that do the same work."""
    if not any("elastic" in arm for arm in passing.values()):
        return
    held = {name: hours(plan, arm) or 0.0 for name, arm in passing.items()}
    best = min(held, key=held.__getitem__)
    pools = "elastic" if "elastic" in passing[best] else "fixed"
    length = (
        f"{number(_length_h(plan))} hours" if _length_h(plan) >= 2 else f"{count(_length_h(plan) * SECONDS_AN_HOUR)} s"
    )
    yield (
        f"{best}, with {pools} pools, needs the fewest GPU-hours: {written_hours(held[best])} in the {length} that are measured"
        f"{_beside_fixed(plan, best, passing, held)}"
    )
    for name, arm in passing.items():
        if "elastic" in arm and name != best:
            yield f"{name} needs {written_hours(held[name])} GPU-hours{_beside_fixed(plan, name, passing, held)}"


def _beside_fixed(plan: Entry, name: str, passing: Arms, held: Mapping[str, float]) -> str:
    """What growing and shrinking saves, or costs, where an arm that passes serves the same way with fixed pools; and what
    is met.
    """
    arm = passing[name]
    met = f"Of its requests {_shares(plan, arm)} meet the SLO"
    if "elastic" not in arm:
        return f". {met}."
    alike = [other for other, each in passing.items() if "elastic" not in each and _way(each) == _way(arm)]
    if not alike:
        return f"; no arm that passes serves the same way with fixed pools. {met}."
    fixed = min(alike, key=held.__getitem__)
    share = held[name] / held[fixed] - 1
    differs = f"{percent(abs(share))} {'fewer' if share < 0 else 'more'} than" if abs(share) >= ALIKE else "as many as"
    said = f"{differs} {fixed} ({written_hours(held[fixed])}), the same way with fixed pools"
    by_seed = arm["elastic"]["gpu_hours_by_seed"]
    least, most = min(by_seed), max(by_seed)
    if least < held[fixed] < most:
        said += f", but {written_hours(least)} to {written_hours(most)} by seed, so that is not sure"
    if share > -ALIKE:
        said += ": to grow and shrink saves nothing here"
    return f", {said}. {met}; of {fixed}'s {_shares(plan, passing[fixed])}."


def _shares(plan: Entry, arm: Entry) -> str:
    """That meet the SLO, in the mean and in the worst window."""
    met = arm["attained"]
    mean, worst = percent(met["share"], 1), met["worst_window"]
    return (
        f"{mean} ({percent(worst['share'], 1)} in the worst {plan['worst_window']['length_s']:g} s)" if worst else mean
    )


def _way(arm: Entry) -> Any:
    """What two arms have in common that serve alike."""
    return arm["profiles"], arm["policies"], arm["needs"]


def pool_table(plan: Entry) -> TextTable:
    """A pool a row of each arm with an elastic one: its policy, what it is given, and GPUs held."""
    found = {name: arm for name, arm in plan["arms"].items() if "elastic" in arm and arm["gpus"]}
    rows = (_pool_row(plan, name, arm, stage) for name, arm in found.items() for stage in (*arm["stages"], "all"))
    return table(rows, left=4)


def _pool_row(plan: Entry, name: str, arm: Entry, stage: str) -> dict[str, str]:
    elastic = arm["elastic"]
    pool = elastic["pools"].get(stage)
    cost = number(arm["cost"]["per_hour"]) if stage == "all" and arm["cost"] else ABSENT
    return {
        "arm": name,
        "pool": stage,
        "policy": ABSENT if stage == "all" else pool["kind"] if pool else "fixed",
        "given": settings(pool["values"]) if pool and pool["values"] else ABSENT,
        "GPU-\nhours": written_hours(elastic["gpu_hours"][stage]),
        "GPUs\nmean": gpu_count(arm["gpus"][stage]),
        "GPUs\npeak": count(elastic["peak_gpus"][stage]),
        **({"per hour": cost} if plan["price_per_gpu_hour"] is not None else {}),
    }
