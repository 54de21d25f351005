"""Every point that a plan tried, from the content of `plan.json`."""

from collections.abc import Mapping

from sunsim.plan.elastic import settings
from sunsim.plan.tables import worst_header
from sunsim.report.entries import Entry
from sunsim.report.format import count, number, percent, together
from sunsim.report.text_table import MISSED, TextTable, table


def points(plan: Entry) -> TextTable:
    """Every verdict, in the order in which it was asked for."""
    rows = [
        {
            "arm": name,
            "conditions": _conditions(point["conditions"]),
            "requests of": point["model"] or "all",
            "workers by pool": pools(point),
            "seeds": count(point["seeds"]),
            "requests": count(point["requests"]),
            "SLO met": _bound(point, "share"),
            "worst model": f"{_bound(point, 'worst_share')} {point['worst_model']}",
            worst_header(plan): _bound(point, "worst_window_share"),
            "": "pass" if point["passes"] else f"{MISSED}: {point['broken']}{_stopped(point)}",
        }
        for name, arm in plan["arms"].items()
        for point in arm["points"]
    ]
    return table(rows, left=4)


def _bound(point: Entry, share: str) -> str:
    return f"{'' if point['whole'] or point[share] is None else '≤ '}{percent(point[share], 1)}"


def _stopped(point: Entry) -> str:
    return "" if point["stopped_s"] is None else f", certain after {number(point['stopped_s'])} s"


def _conditions(changed: Mapping[str, float]) -> str:
    """What departs from the scenario, in words."""
    names = {
        "rate": "rate",
        "outputs": "outputs",
        "decode_time": "decode steps",
        "prefill_time": "prefill steps",
        "accepted": "accepted drafts",
    }
    parts = [f"{names[key]} {value:.3f}x" for key, value in changed.items() if key in names]
    parts += [f"alpha {changed['alpha']:+g}"] if "alpha" in changed else []
    return ", ".join(parts) or "as planned"


def pools(point: Entry) -> str:
    """Sizes as prefill m1 2, others 1; decode 3. Of elastic pools what their policy was given: decode target 0.8."""
    of_stages = together((name.split("/")[0], (name.split("/", 1)[1], size)) for name, size in point["sizes"].items())
    parts = [f"{stage} {_spread(dict(own))}" for stage, own in of_stages.items()]
    parts += [f"{stage} {settings(values)}" for stage, values in point.get("scaling", {}).items()]
    return "; ".join(parts) or "as given"


def _spread(own: Mapping[str, int]) -> str:
    if len(own) == 1:
        return str(next(iter(own.values())))
    larger = ", ".join(f"{model} {size}" for model, size in own.items() if size > 1)
    return f"{larger}, others 1" if larger else "1 each"
