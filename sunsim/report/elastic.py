"""What elastic pools did, and what they save: there only where a pool of the scenario is elastic, or an arm
sheds or converts requests.
"""

from sunsim.report.columns import cells, columns
from sunsim.report.compare import against, same_work, worker_pools
from sunsim.report.entries import Arms, Entry
from sunsim.report.format import count, counted, in_arms, listed, milliseconds, number, percent, times, together
from sunsim.report.text_table import TextTable, table

SAME_SHARE = 0.005
"""An arm is said to miss more if its share of met SLOs is lower by more, and to save if its GPU-hours are by more of them."""
SAME_OUTPUT = 0.02
"""The same of outputs."""
SAID = 3
"""Arms that are spoken of."""
SHORT_MS = 1.0
"""Mean waits below are not worth a sentence."""

MOST_POOLS = 12
"""Of an arm, up to which its models' own pools are shown beside their stages."""

POOL = columns(
    "gpu_hours",
    "mean_gpus",
    "peak_gpus",
    "starting_share",
    "draining_share",
    "warm_share",
    "grown",
    "shrunk",
    "utilisation",
    "mean_wait_while_starting_ms",
)


def is_elastic(arms: Arms) -> bool:
    """Whether some pool may change its size; then every arm says what its pools held."""
    return any("pools" in entry for entry in arms.values())


def pools_table(arms: Arms) -> TextTable:
    """What each elastic pool held and did, by stage, and by model where there are not too many."""
    rows: list[dict[str, str]] = []
    for name, entry in arms.items():
        pools = {pool: own for pool, own in entry.get("pools", {}).items() if own["elastic"]}
        if len(pools) > MOST_POOLS:
            pools = {pool: own for pool, own in pools.items() if pool == own["stage"]}
        rows += [{"pool": name}] if pools else []
        rows += [{"pool": f"  {pool}"} | cells(POOL, own) for pool, own in pools.items()]
    return table(rows, "Elastic pools")


def savings(arms: Arms, worst_window_s: float | None) -> list[str]:
    """One sentence for each arm but the first, and one for the rest.

    An elastic arm is compared with a fixed one that serves the same way where there is one, and every other with the first.
    Three are spoken of: those that take fewest GPU-hours, and of these first the ones that do not miss more.
    """
    bases = {name: _base(name, arms) for name in list(arms)[1:]}
    order = sorted(bases, key=lambda name: (bool(_lower(arms[name], arms[bases[name]])), arms[name]["gpu_hours"]))
    rest = [
        name for name in order[SAID:] if _saves(arms[name], arms[bases[name]]) and _lower(arms[name], arms[bases[name]])
    ]
    said = [_saving(name, base, arms, worst_window_s) for name, base in bases.items() if name in order[:SAID]]
    if rest:
        said.append(
            f"{listed(rest)} {'take' if len(rest) > 1 else 'takes'} fewer GPU-hours and miss{'' if len(rest) > 1 else 'es'} more, too."
        )
    return said


def _base(name: str, arms: Arms) -> str:
    """The arm that another one is compared with."""
    return str(arms[name].get("same_way") or next(iter(arms)))


def _saving(name: str, base_name: str, arms: Arms, worst_window_s: float | None) -> str:
    entry, base = arms[name], arms[base_name]
    hours, had = entry["gpu_hours"], base["gpu_hours"]
    if not same_work("output_throughput_per_gpu", worker_pools(entry), worker_pools(base)):
        text = f"not compared with {base_name}, which does another part of the work"
        return f"{name} takes {number(hours)} GPU-hours ({held(entry)}), {text}."
    change = hours / had - 1 if had else 0.0
    than = (
        f"{percent(abs(change))} {'fewer' if change < 0 else 'more'} than" if abs(change) > SAME_SHARE else "as many as"
    )
    way = ", the same way with fixed pools" if entry.get("same_way") else ""
    said = f"{name} takes {number(hours)} GPU-hours, {than} {base_name} ({number(had)}){way}: {held(entry)}, against {held(base)}"
    carried = against("output_throughput_window", entry, base) or 1.0
    said += f", at {times(carried)} the output" if abs(carried - 1) >= SAME_OUTPUT else ""
    if entry["slo_attainment"] is None or base["slo_attainment"] is None:
        return f"{said}."
    own, other = (_met(each, worst_window_s) for each in (entry, base))
    met = f"{own} of its requests meet the SLO, {f'{other} of' if own != other else 'as many as of'} {base_name}'s"
    return f"{said}. {met}{_cost(entry, base, carried)}."


def _cost(entry: Entry, base: Entry, carried: float) -> str:
    """What an arm's saving costs: misses, requests that it refuses, output, or nothing."""
    lower, saves = _lower(entry, base), _saves(entry, base)
    costs = [f"misses more{lower}"] if lower else []
    if (refused := _refused(entry)) > _refused(base):
        costs.append(f"refuses {percent(refused, 1)} of the requests")
    if saves and carried <= 1 - SAME_OUTPUT:
        costs.append("carries less")
    if costs:
        return f": it {listed([*(['saves GPUs'] if saves else []), *costs])}"
    free = saves and not refused and not _lower(entry, base, 0.0)
    return ": the saving costs no attainment" if free else ""


def _refused(entry: Entry) -> float:
    """The share of an arm's requests that admission refused."""
    return float(entry.get("shed", 0) / entry["requests"])


def held(entry: Entry) -> str:
    """How many GPUs: of an elastic arm in the mean, and at most."""
    if entry.get("peak_gpus", entry["gpus"]) == entry["gpus"]:
        return counted(entry["gpus"], "GPU")
    return f"{number(entry['gpus'])} GPUs in the mean, {count(entry['peak_gpus'])} at most"


def _met(entry: Entry, worst_window_s: float | None) -> str:
    worst = entry["worst_window_slo_attainment"]
    in_worst = (
        "" if worst is None or not worst_window_s else f" (in the worst {worst_window_s:g} s {percent(worst, 1)})"
    )
    return f"{percent(entry['slo_attainment'], 1)}{in_worst}"


def _saves(entry: Entry, base: Entry) -> bool:
    return bool(entry["gpu_hours"] < base["gpu_hours"] * (1 - SAME_SHARE))


def _lower(entry: Entry, base: Entry, by: float = SAME_SHARE) -> str:
    """Where an arm meets the SLO for a share smaller by more: over all requests, or in the worst window alone; empty if nowhere."""
    for tag, what in (("slo_attainment", ""), ("worst_window_slo_attainment", " in its worst window")):
        if entry[tag] is not None and base[tag] is not None and entry[tag] < base[tag] - by:
            return what or " of them"
    return ""


def changes(arms: Arms) -> list[str]:
    """Which pools kept their size, what of the GPU time served nobody, and how long requests waited for starting workers."""
    pools = {
        name: [own for pool, own in entry.get("pools", {}).items() if own["elastic"] and pool == own["stage"]]
        for name, entry in arms.items()
    }
    still = together(
        (f"{own['stage']}{_why_still(own, arms[name])}", name)
        for name, stages in pools.items()
        for own in stages
        if not own["grown"] + own["shrunk"]
    )
    unused = together(
        (percent(_unused(arms[name]), 1), name) for name, stages in pools.items() if stages and _unused(arms[name])
    )
    waits = together(
        (f"{milliseconds(own['mean_wait_while_starting_ms'])} for {own['stage']}", name)
        for name, stages in pools.items()
        for own in stages
        if (own["mean_wait_while_starting_ms"] or 0.0) >= SHORT_MS
    )
    return [
        *([f"Elastic, but never of another size: {in_arms(still)}."] if still else []),
        *([f"GPU time paid for while workers start, drain or are in reserve: {in_arms(unused)}."] if unused else []),
        *([f"Mean wait of the requests while a worker was starting: {in_arms(waits)}."] if waits else []),
    ]


def _why_still(pool: Entry, entry: Entry) -> str:
    """Why a pool that goes by KV usage alone never grew, where its workers' KV tells; else nothing."""
    target = pool.get("kv_target")
    own = [worker for worker in entry["workers"].values() if worker["stage"] == pool["stage"] and worker["requests"]]
    peaks = [worker["peak_kv_occupancy"] for worker in own]
    if target is None or not peaks or None in peaks or max(peaks) >= target:
        return ""
    said = f"KV is used up to {percent(max(peaks))}, below the target of {percent(target)}"
    full = [worker["max_num_seqs"] for worker in own if (worker.get("peak_places") or 0) >= worker["max_num_seqs"]]
    return f" ({said}: all {count(max(full))} places of a worker are taken before)" if full else f" ({said})"


def _unused(entry: Entry) -> float:
    return sum(entry[f"{state}_share"] or 0.0 for state in ("starting", "draining", "warm"))


def converted(arms: Arms) -> list[str]:
    """How many requests decode workers took as a whole, and how these and the others kept the TPOT limit."""
    return [_converted(name, entry["converted"]) for name, entry in arms.items() if "converted" in entry]


def _converted(name: str, own: Entry) -> str:
    if not own["requests"]:
        return f"No request was taken as a whole by a decode worker in {name}."
    said = f"Taken as a whole by a decode worker in {name}: {counted(own['requests'], 'request')}"
    if own["p99_tpot_ms"] is not None:
        said += f", TPOT p99 {milliseconds(own['p99_tpot_ms'])}"
    missed, others = own["missed_tpot_share"], own["others_missed_tpot_share"]
    if missed is None:
        return f"{said}."
    beside = f", {percent(others, 1)} of the others" if others is not None else ""
    return f"{said}; {percent(missed, 1)} of them miss the TPOT limit{beside}."


def shed(arms: Arms) -> list[str]:
    """How many requests admission refused."""
    refused = together(
        (f"{count(entry['shed'])} ({percent(entry['shed'] / entry['requests'], 1)})", name)
        for name, entry in arms.items()
        if entry.get("shed")
    )
    if not refused:
        return []
    return [
        f"Refused by admission: {in_arms(refused)}; they count as missed, and are in no figure of goodput, TTFT, TPOT or E2EL."
    ]
