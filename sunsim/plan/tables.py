"""The tables of a plan, from the content of `plan.json`; console, Markdown and page show the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.plan.search import Reason
from sunsim.plan.variants import TYPICAL, WORST
from sunsim.report.format import ABSENT, count, number, percent
from sunsim.report.text_table import MISSED, TextTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    Entry = Mapping[str, Any]

FAILS = "fails!"
SHORT = {TYPICAL: "steps slower,\ntypical error", WORST: "steps slower,\nworst error"}


def overview(plan: Entry) -> TextTable:
    """An arm a row: GPUs, cost, what is met, the highest rate, what breaks first."""
    priced = plan["price_per_gpu_hour"] is not None
    costs = ("per hour", "per million\noutput tokens") if priced else ()
    rate = "rate\nsustained"
    headers = (
        "arm",
        "all\nGPUs",
        "prefill\nGPUs",
        "decode\nGPUs",
        *costs,
        "SLO\nmet",
        worst(plan),
        rate,
        "breaks first",
    )
    return TextTable("", headers, [_overview_row(name, arm, priced) for name, arm in plan["arms"].items()])


def _overview_row(name: str, arm: Entry, priced: bool) -> tuple[str, ...]:
    gpus = arm["gpus"]
    if gpus is None:
        return (name, *([ABSENT] * (6 + 2 * priced)), arm["reason"])
    cost = arm["cost"] or {}
    costs = (number(cost.get("per_hour")), number(cost.get("per_million_output_tokens"))) if priced else ()
    return (
        name,
        *(ABSENT if gpus.get(key) is None else count(gpus[key]) for key in ("all", "prefill", "decode")),
        *costs,
        percent(arm["attained"]["share"], 1) + ("" if arm["passes"] else "!"),
        _worst_share(arm["attained"]),
        sustained(arm),
        first_break(arm),
    )


def worst(plan: Entry) -> str:
    """The header of the worst window's share."""
    return f"worst\n{plan['worst_window']['length_s']:g} s"


def _worst_share(met: Entry) -> str:
    return percent(met["worst_window"] and met["worst_window"]["share"], 1)


def sustained(arm: Entry) -> str:
    """The highest rate as a multiple of the planned one."""
    rates = arm["rates"]
    if rates is None:
        return ABSENT
    if rates["passes"] is None:
        return f"below {rates['fails']:.2f}x" if rates["fails"] else ABSENT
    return f"{rates['passes']:.2f}x" if rates["reason"] == Reason.FOUND.value else f"{rates['passes']:.2f}x or more"


def first_break(arm: Entry) -> str:
    """The limit and the model that break first: with one decode GPU less, or else at a higher rate."""
    found = breaking(arm)
    return f"{found['slo']} of {found['model']}" if found else ABSENT


def breaking(arm: Entry) -> Entry | None:
    """What fails with one GPU less, decode's before prefill's; without such a pool, what fails at a higher rate."""
    failing = [less for less in arm["one_less"] if not less["passes"]]
    decode = [less for less in failing if less["pool"].startswith("decode")]
    for less in (*decode, *failing):
        found: Entry = less
        return found
    at_rate: Entry | None = arm["rates"] and arm["rates"]["breaks"]
    return at_rate


def slos(plan: Entry) -> TextTable:
    """An arm a row, and one for each of its pools with a GPU less: the share of requests within each limit."""
    limits = [f"{key.removesuffix('_ms').upper()} up to\n{number(limit)} ms" for key, limit in plan["slo"].items()]
    keys = [key.removesuffix("_ms") for key in plan["slo"]]
    target = f"target {percent(plan['attainment'])}"
    headers = ("arm", "GPUs", *limits, "all SLOs\nmet", "±", worst(plan), "worst model", target)
    rows = []
    for name, arm in plan["arms"].items():
        if arm["gpus"] is None:
            continue
        met = arm["attained"]
        least = met["worst_model"]
        rows.append(
            (
                name,
                count(arm["gpus"]["all"]),
                *(percent(met[key], 1) for key in keys),
                percent(met["share"], 1),
                ABSENT if met["half_width_95"] is None else f"{100 * met['half_width_95']:.1f}",
                _worst_share(met),
                f"{percent(met['models'][least]['share'], 1)} {least}",
                "pass" if arm["passes"] else FAILS,
            )
        )
        for less in arm["one_less"]:
            bound = "" if less["whole"] else "at most "
            rows.append(
                (
                    f"  one less of {less['pool']}",
                    count(arm["gpus"]["all"] - 1),
                    *(less["slo"] + " breaks" if less["slo"].lower() == key else ABSENT for key in keys),
                    ABSENT,
                    ABSENT,
                    percent(less["worst_window_share"], 1),
                    f"{bound}{percent(less['share'], 1)} {less['model']}",
                    "passes!" if less["passes"] else FAILS,
                )
            )
    return TextTable("", headers, rows)


CURVE = {
    "request_goodput": "goodput\nreq/s",
    "output_throughput_per_decode_gpu": "per decode\nGPU tok/s",
    "output_throughput_per_gpu": "per GPU\ntok/s",
    "median_interactivity": "interactivity\ntok/s/user",
    "p99_ttft_ms": "TTFT p99\nms",
    "p99_tpot_ms": "TPOT p99\nms",
}


def curve(plan: Entry) -> TextTable:
    """An arm and rate a row, with the first seed."""
    rows = [
        (
            name,
            f"{point['rate']:.2f}x",
            percent(point["attained"], 1),
            *(number(point[tag]) for tag in CURVE),
        )
        for name, arm in plan["arms"].items()
        for point in arm.get("curve", ())
    ]
    return TextTable("", ("arm", "rate", "SLO\nmet", *CURVE.values()), rows)


def models(plan: Entry) -> TextTable:
    """An arm and model a row: how each model fares, the hottest and the coldest among them."""
    headers = (
        "arm",
        "model",
        "requests",
        "SLO\nmet",
        "±",
        worst(plan),
        "TTFT mean\nms",
        "TTFT p99\nms",
        "TPOT mean\nms",
        "TPOT p99\nms",
    )
    rows = []
    for name, arm in plan["arms"].items():
        if not arm.get("portrait"):
            continue
        for model, met in arm["attained"]["models"].items():
            own = arm["portrait"]["entry"]["models"][model]
            rows.append(
                (
                    name,
                    model,
                    count(met["requests"]),
                    percent(met["share"], 1),
                    ABSENT if met["half_width_95"] is None else f"{100 * met['half_width_95']:.1f}",
                    _worst_share(met),
                    *(number(own[f"{stat}_{key}_ms"]) for key in ("ttft", "tpot") for stat in ("mean", "p99")),
                )
            )
    return TextTable("", headers, rows, left=2)


def workers(plan: Entry) -> TextTable:
    """A pool a row: how busy and how full its workers are, with the first seed."""
    headers = ("arm", "pool", "GPUs", "busy\nmean", "busy\nmost", "batch\nmean", "batch\npeak", "KV\nmean", "KV\npeak")
    rows = []
    for name, arm in plan["arms"].items():
        pools_of: dict[str, list[Entry]] = {}
        for worker in (arm.get("portrait") or {"entry": {"workers": {}}})["entry"]["workers"].values():
            group = "" if worker["model"] == "*" else f" {worker['model']}"
            pools_of.setdefault(f"{worker['stage']}{group}", []).append(worker)
        for pool, own in pools_of.items():
            busy = _known(own, "utilisation")
            rows.append(
                (
                    name,
                    pool,
                    count(len(own)),
                    percent(sum(busy) / len(busy) if busy else None),
                    percent(max(busy, default=None)),
                    number(_mean(own, "mean_batch")),
                    count(max(_known(own, "peak_batch"), default=None)),
                    percent(_mean(own, "mean_kv_occupancy")),
                    percent(max(_known(own, "peak_kv_occupancy"), default=None)),
                )
            )
    return TextTable("", headers, rows, left=2)


def _known(entries: list[Entry], key: str) -> list[float]:
    return [entry[key] for entry in entries if entry.get(key) is not None]


def _mean(entries: list[Entry], key: str) -> float | None:
    values = _known(entries, key)
    return sum(values) / len(values) if values else None


def sensitivity(plan: Entry) -> TextTable | None:
    """An arm a row, a condition a column: all GPUs that would be needed."""
    names = list(dict.fromkeys(name for arm in plan["arms"].values() for name in arm.get("variants", {})))
    if not names:
        return None
    rows = [
        (name, count(arm["gpus"]["all"]), *(_needed(arm, variant) for variant in names))
        for name, arm in plan["arms"].items()
        if arm["gpus"]
    ]
    return TextTable("", ("GPUs in all", "as\nplanned", *(SHORT.get(n, n.replace(" ", "\n", 1)) for n in names)), rows)


def _needed(arm: Entry, variant: str) -> str:
    found = arm["variants"].get(variant)
    if found is None:
        return ABSENT
    if found["gpus"] is None:
        return str(found["reason"])
    return count(found["gpus"]["all"])


def points(plan: Entry) -> TextTable:
    """Every verdict, in the order in which it was asked for."""
    headers = (
        "arm",
        "conditions",
        "requests of",
        "GPUs by pool",
        "seeds",
        "requests",
        "SLO met",
        "worst model",
        worst(plan),
        "",
    )
    rows = [
        (
            name,
            conditions(point["conditions"]),
            point["model"] or "all",
            pools(point["sizes"]),
            count(point["seeds"]),
            count(point["requests"]),
            _bound(point, point["share"]),
            f"{_bound(point, point['worst_share'])} {point['worst_model']}",
            _bound(point, point["worst_window_share"]),
            "pass" if point["passes"] else f"{MISSED}: {point['broken']}" + _stopped(point),
        )
        for name, arm in plan["arms"].items()
        for point in arm["points"]
    ]
    return TextTable("", headers, rows, left=4)


def _bound(point: Entry, share: float | None) -> str:
    return percent(share, 1) if point["whole"] or share is None else f"≤ {percent(share, 1)}"


def _stopped(point: Entry) -> str:
    return "" if point["stopped_s"] is None else f", certain after {number(point['stopped_s'])} s"


def conditions(changed: Mapping[str, float]) -> str:
    """What departs from the scenario, in words."""
    names = {"rate": "rate", "outputs": "outputs", "decode_time": "decode steps", "prefill_time": "prefill steps"}
    parts = [f"{names[key]} {value:.3f}x" for key, value in changed.items() if key in names]
    parts += [f"alpha {changed['alpha']:+g}"] if "alpha" in changed else []
    return ", ".join(parts) or "as planned"


def pools(sizes: Mapping[str, int]) -> str:
    """Sizes as prefill m1 2, others 1; decode 3."""
    return (
        "; ".join(_stage(stage, sizes) for stage in dict.fromkeys(name.split("/")[0] for name in sizes)) or "as given"
    )


def _stage(stage: str, sizes: Mapping[str, int]) -> str:
    own = {name.split("/", 1)[1]: size for name, size in sizes.items() if name.startswith(f"{stage}/")}
    if "*" in own:
        return f"{stage} {own['*']}"
    larger = ", ".join(f"{group} {size}" for group, size in own.items() if size > 1)
    if len(own) == 1:
        return f"{stage} {next(iter(own.values()))}"
    return f"{stage} {larger}, others 1" if larger else f"{stage} 1 each"
