"""The tables of a plan, from the content of `plan.json`."""

from collections.abc import Callable, Iterator
from statistics import fmean

from sunsim.metrics.slo import limit_values, limits_of
from sunsim.plan.elastic import hours, settings, some_elastic, written_hours
from sunsim.plan.search import Reason
from sunsim.plan.variants import TYPICAL, WORST
from sunsim.plan.way_tables import cards
from sunsim.report.accuracy import HEADER, exact_match
from sunsim.report.columns import cells, columns
from sunsim.report.entries import Entry
from sunsim.report.format import ABSENT, count, gpu_count, number, percent, together
from sunsim.report.text_table import TextTable, table
from sunsim.roles import Stage

Row = dict[str, str]

FAILS = "fails!"
SHORT = {TYPICAL: "steps slower,\ntypical error", WORST: "steps slower,\nworst error"}

RATE = columns(
    "request_goodput",
    "output_throughput_per_decode_gpu",
    "output_throughput_per_gpu",
    "median_interactivity",
    "p99_ttft_ms",
    "p99_tpot_ms",
)
MODEL = columns("mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "p99_tpot_ms")
E2EL = columns("mean_e2el_ms", "p99_e2el_ms")
"""Shown where it is limited."""
CACHED = columns("cached_share")
POOL: dict[str, tuple[str, Callable[[list[float]], float], Callable[[float | None], str]]] = {
    "busy\nmean": ("utilisation", fmean, percent),
    "busy\nmost": ("utilisation", max, percent),
    "batch\nmean": ("mean_batch", fmean, number),
    "batch\npeak": ("peak_batch", max, count),
    "KV\nmean": ("mean_kv_occupancy", fmean, percent),
    "KV\npeak": ("peak_kv_occupancy", max, percent),
}
"""A figure of a pool's workers, what is made of theirs, and how it is written."""


def overview(plan: Entry) -> TextTable:
    """An arm a row: GPUs, cost, what is met, the highest rate, what breaks first."""
    return table(_overview(plan, name, arm) for name, arm in plan["arms"].items())


def _overview(plan: Entry, name: str, arm: Entry) -> Row:
    gpus, cost, met = arm["gpus"] or {}, arm.get("cost") or {}, arm.get("attained")
    used = [stage for stage in Stage if any(stage in each["stages"] for each in plan["arms"].values())]
    row = {"arm": name} | {f"{stage}\nGPUs": gpu_count(gpus.get(stage)) for stage in ("all", *used)}
    if some_elastic(plan):
        row["GPU-\nhours"] = written_hours(hours(plan, arm))
    if "accuracy" in plan:
        row[HEADER] = exact_match(arm["accuracy"])
    if len(cards(plan)) > 1:
        row["cards"] = " + ".join(dict.fromkeys(arm["cards"].values()))
    if plan["price_per_gpu_hour"] is not None:
        row |= {
            "per hour": number(cost.get("per_hour")),
            "per million\noutput tokens": number(cost.get("per_million_output_tokens")),
        }
    return row | {
        "SLO\nmet": percent(met["share"], 1) + ("" if arm["passes"] else "!") if met else ABSENT,
        worst_header(plan): _worst_share(met),
        "rate\nsustained": _sustained(arm.get("rates")),
        "breaks first": _first_break(arm) if met else arm["reason"],
    }


def worst_header(plan: Entry) -> str:
    """The header of the worst window's share."""
    return f"worst\n{plan['worst_window']['length_s']:g} s"


def _worst_share(met: Entry | None) -> str:
    return percent(met["worst_window"]["share"] if met and met["worst_window"] else None, 1)


def _sustained(rates: Entry | None) -> str:
    """The highest rate as a multiple of the planned one."""
    if rates is None:
        return ABSENT
    if rates["passes"] is None:
        return f"below {rates['fails']:.2f}x" if rates["fails"] else ABSENT
    return f"{rates['passes']:.2f}x{'' if rates['reason'] == Reason.FOUND else ' or more'}"


def _first_break(arm: Entry) -> str:
    found = breaking(arm)
    return f"{found['slo']} of {found['model']}" if found else ABSENT


def breaking(arm: Entry) -> Entry | None:
    """What fails with one GPU less, decode's before prefill's; without such a pool, what fails at a higher rate."""
    failing = [less for less in arm["one_less"] if not less["passes"]]
    failing.sort(key=lambda less: not less["pool"].startswith("decode"))
    found: Entry | None = failing[0] if failing else arm["rates"] and arm["rates"]["breaks"]
    return found


def slos(plan: Entry) -> TextTable:
    """An arm a row, and one for each of its pools with a GPU less: the share of requests within each limit."""
    return table(row for name, arm in plan["arms"].items() if arm["gpus"] for row in _slo_rows(plan, name, arm))


def _slo_rows(plan: Entry, name: str, arm: Entry) -> Iterator[Row]:
    met, target = arm["attained"], f"target {percent(plan['attainment'])}"
    if plan["require"] == "worst-window":
        target += f"\nin any {plan['worst_window']['length_s']:g} s"
    limits = {
        key.removesuffix("_ms"): f"{key.removesuffix('_ms').upper()} up to\n{_one(values)}"
        for key, values in limit_values(plan["slo"], plan["models"]).items()
    }
    row = {
        "arm": name,
        "GPUs": gpu_count(arm["gpus"]["all"]),
        **{header: percent(met[key], 1) for key, header in limits.items()},
        "all SLOs\nmet": percent(met["share"], 1),
        "±": _half_width(met),
        worst_header(plan): _worst_share(met),
        "worst model": f"{percent(met['models'][met['worst_model']]['share'], 1)} {met['worst_model']}",
        target: "pass" if arm["passes"] else FAILS,
    }
    yield row
    for less in arm["one_less"]:
        without = {"arm": f"  one less of {less['pool']}"}
        if "looser" in less:
            without = {"arm": f"  {less['pool']} with {settings(less['looser'])}"}
        else:
            without["GPUs"] = gpu_count(arm["gpus"]["all"] - less["gpus"])
        breaks = {header: f"{less['slo']} breaks" for key, header in limits.items() if less["slo"].lower() == key}
        yield (
            dict.fromkeys(row, ABSENT)
            | without
            | breaks
            | {
                worst_header(plan): percent(less["worst_window_share"], 1),
                "worst model": f"{'' if less['whole'] else 'at most '}{percent(less['share'], 1)} {less['model']}",
                target: "passes!" if less["passes"] else FAILS,
            }
        )


def _one(values: list[float]) -> str:
    """The limit, if it is the same for every model that has it."""
    return f"{number(values[0])} ms" if len(values) == 1 else "its model's"


def _half_width(met: Entry) -> str:
    """In percentage points."""
    return ABSENT if met["half_width_95"] is None else f"{100 * met['half_width_95']:.1f}"


def rates(plan: Entry) -> TextTable:
    """An arm and rate a row, with the first seed."""
    return table(
        {"arm": name, "rate": f"{point['rate']:.2f}x", "SLO\nmet": percent(point["attained"], 1)}
        | cells(RATE, point)
        | _cached(plan, point)
        for name, arm in plan["arms"].items()
        for point in arm.get("curve", ())
    )


def models(plan: Entry) -> TextTable:
    """An arm and model a row: how each model fares, the hottest and the coldest among them."""
    shown = [*MODEL, *(E2EL if "e2el_ms" in limit_values(plan["slo"], plan["models"]) else [])]
    rows = [
        {
            "arm": name,
            "model": model,
            "requests": count(met["requests"]),
            **_own_limits(plan, model),
            "SLO\nmet": percent(met["share"], 1),
            "±": _half_width(met),
            worst_header(plan): _worst_share(met),
            **cells(shown, arm["portrait"]["entry"]["models"][model]),
            **_cached(plan, arm["portrait"]["entry"]["models"][model]),
        }
        for name, arm in plan["arms"].items()
        if arm.get("portrait")
        for model, met in arm["attained"]["models"].items()
    ]
    return table(rows, left=2)


def _own_limits(plan: Entry, model: str) -> Row:
    """The model's limits, where models differ."""
    if "models" not in plan["slo"]:
        return {}
    own = limits_of(plan["slo"], model)
    stated = limit_values(plan["slo"], plan["models"])
    return {f"{key.removesuffix('_ms').upper()}\nup to ms": number(own.get(key)) for key in stated}


def _cached(plan: Entry, entry: Entry) -> Row:
    """What was found in prefix caches, where any arm looked for it."""
    found = any("cached_share" in point for arm in plan["arms"].values() for point in arm.get("curve", ()))
    return cells(CACHED, {"cached_share": None, **entry}) if found else {}


def workers(plan: Entry) -> TextTable:
    """A pool a row: how busy and how full its workers are, with the first seed."""
    pools_of = together(
        ((name, worker.split("/")[0], entry["model"]), entry)
        for name, arm in plan["arms"].items()
        if arm.get("portrait")
        for worker, entry in arm["portrait"]["entry"]["workers"].items()
    )
    rows = [
        _pool_row(name, f"{stage} {model}" if model in plan["models"] else stage, own)
        | _held(plan["arms"][name], stage, model)
        for (name, stage, model), own in pools_of.items()
    ]
    return table(rows, left=2)


def _held(arm: Entry, stage: str, model: str) -> Row:
    """Of an elastic pool the GPUs that it held in the mean, and how busy these were; its workers are not always there."""
    pools = arm["portrait"]["entry"].get("pools", {}) if stage in arm.get("elastic", {}).get("pools", {}) else {}
    pool = pools.get(f"{stage}/{model}") or pools.get(stage)
    if pool is None:
        return {}
    over_time = dict.fromkeys(("busy\nmost", "batch\nmean", "KV\nmean"), ABSENT)
    return {"GPUs": gpu_count(pool["mean_gpus"]), "busy\nmean": percent(pool["utilisation"])} | over_time


def _pool_row(name: str, pool: str, own: list[Entry]) -> Row:
    row = {"arm": name, "pool": pool, "GPUs": count(sum(worker["gpus"] for worker in own))}
    for header, (tag, of_all, written) in POOL.items():
        known = [worker[tag] for worker in own if worker.get(tag) is not None]
        row[header] = written(of_all(known) if known else None)
    return row


def sensitivity(plan: Entry) -> TextTable:
    """An arm a row, a condition a column: all GPUs that would be needed."""
    names = list(dict.fromkeys(name for arm in plan["arms"].values() for name in arm.get("variants", {})))
    return table(
        {"GPUs in all": name, "as\nplanned": gpu_count(arm["gpus"]["all"])}
        | {SHORT.get(each, each.replace(" ", "\n", 1)): _needed(arm["variants"].get(each)) for each in names}
        for name, arm in plan["arms"].items()
        if names and arm["gpus"]
    )


def _needed(found: Entry | None) -> str:
    if found is None:
        return ABSENT
    return gpu_count(found["gpus"]["all"]) if found["gpus"] else str(found["reason"])
