"""What a plan says of pools that grow and shrink, beside fixed ones, from the content of `plan.json`."""

from collections.abc import Iterator, Mapping
from typing import Any

from sunsim.report.format import ABSENT, count, listed, number, percent
from sunsim.report.text_table import TextTable

Entry = Mapping[str, Any]
Arms = Mapping[str, Entry]

SECONDS_AN_HOUR = 3600


def some_elastic(plan: Entry) -> bool:
    """Whether an arm has a pool that grows and shrinks."""
    return any("elastic" in arm for arm in plan["arms"].values())


def gpu_count(value: float | None) -> str:
    """GPUs of a fixed pool as a whole number, those that an elastic one held in the mean with decimals."""
    return number(value) if isinstance(value, float) else count(value)


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


def _length_h(plan: Entry) -> float:
    return float(plan["window"]["end_s"] - plan["window"]["start_s"]) / SECONDS_AN_HOUR


def compared(plan: Entry, passing: Arms) -> Iterator[str]:
    """The fewest GPU-hours, and those of each elastic arm against the same way to serve with fixed pools."""
    if not some_elastic(plan) or not passing:
        return
    held = {name: hours(plan, arm) or 0.0 for name, arm in passing.items()}
    best = min(held, key=held.__getitem__)
    kind = "elastic pools" if "elastic" in passing[best] else "fixed pools"
    yield (
        f"Over the {number(_length_h(plan))} hours that are planned for, {best} ({kind}) needs the fewest GPU-hours, "
        f"{number(held[best])}: {_met(plan, passing[best])}."
    )
    for name, arm in passing.items():
        if "elastic" in arm:
            yield _against_fixed(plan, name, passing, held)


def _against_fixed(plan: Entry, name: str, passing: Arms, held: Mapping[str, float]) -> str:
    alike = [other for other, arm in passing.items() if "elastic" not in arm and _way(arm) == _way(passing[name])]
    said = f"{name} needs {number(held[name])} GPU-hours"
    if not alike:
        return f"{said}; no arm that passes serves the same way with fixed pools."
    fixed = min(alike, key=held.__getitem__)
    share = held[name] / held[fixed] - 1
    if share < 0:
        said += f", {percent(-share)} fewer than {fixed}, the same way with fixed pools ({number(held[fixed])})"
    elif share == 0:
        said += f", as many as {fixed}, the same way with fixed pools"
    else:
        said += f", {percent(share)} more than {fixed}, the same way with fixed pools ({number(held[fixed])})"
        said += ": to grow and shrink saves nothing here"
    return f"{said}; {_met(plan, passing[name])}, with {fixed} {_met(plan, passing[fixed], short=True)}."


def _met(plan: Entry, arm: Entry, *, short: bool = False) -> str:
    """The share that meets the SLO, in the mean and in the worst window."""
    met = arm["attained"]
    window = f"{plan['worst_window']['length_s']:g} s"
    worst = f"{percent(met['worst_window']['share'], 1)} in the worst {window}" if met["worst_window"] else ""
    mean = percent(met["share"], 1)
    if short:
        return f"{mean}{f' and {worst}' if worst else ''}"
    return f"{mean} of its requests meet the SLO{f', {worst}' if worst else ''}"


def _way(arm: Entry) -> Any:
    """What two arms have in common that serve alike."""
    return arm["profiles"], arm["policies"], arm["needs"]


def pool_table(plan: Entry) -> TextTable:
    """A pool a row of each arm with an elastic one: its policy, what it is given, and GPUs held."""
    headers = ("arm", "pool", "policy", "given", "GPU-\nhours", "GPUs\nmean", "GPUs\npeak", "per hour")
    rows = [
        row for name, arm in plan["arms"].items() if "elastic" in arm and arm["gpus"] for row in _pool_rows(name, arm)
    ]
    priced = plan["price_per_gpu_hour"] is not None
    return TextTable("", headers if priced else headers[:-1], rows if priced else [row[:-1] for row in rows], left=4)


def _pool_rows(name: str, arm: Entry) -> Iterator[tuple[str, ...]]:
    elastic = arm["elastic"]
    for stage in (*arm["stages"], "all"):
        pool = elastic["pools"].get(stage)
        yield (
            name,
            stage,
            ABSENT if stage == "all" else pool["kind"] if pool else "fixed",
            settings(pool["values"]) if pool and pool["values"] else ABSENT,
            number(elastic["gpu_hours"][stage]),
            gpu_count(arm["gpus"][stage]),
            count(elastic["peak_gpus"][stage]),
            number(arm["cost"]["per_hour"]) if stage == "all" and arm["cost"] else ABSENT,
        )
