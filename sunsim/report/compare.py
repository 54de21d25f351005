"""Arms against the first arm: which ratios may be stated."""

from collections.abc import Collection

from sunsim.report.entries import Entry
from sunsim.report.format import ratio

OUTPUT = "output_throughput"
QUEUEING = ("_ttft_ms", "_e2el_ms", "_session_duration_s", "request_goodput", "slo_attainment")
PACE = ("_tpot_ms", "_itl_ms", "_interactivity")
"""These hold the wait for decode where prefill emits the first token."""


def against(tag: str, entry: Entry, base: Entry) -> float | None:
    """The ratio of a metric to the first arm's.

    None where either arm is overloaded and the metric depends on its queue: that ratio would grow with the run. None for
    the output of arms that do not do the same part of the work.
    """
    if any(arm["overloaded"] and tag.endswith(queueing(arm)) for arm in (entry, base)):
        return None
    if tag.startswith(OUTPUT) and not same_work(tag, worker_pools(entry), worker_pools(base)):
        return None
    return ratio(entry[tag], base[tag])


def worker_pools(entry: Entry) -> set[str]:
    """The kinds of workers that an arm has: ``prefill``, ``decode``, ``colocated``."""
    return {name.split("/")[0] for name in entry["workers"]}


def stages(pools: Collection[str]) -> set[str]:
    """What these kinds of workers do: ``prefill``, ``decode`` or both."""
    return {"prefill", "decode"} if "colocated" in pools else set(pools)


def same_work(tag: str, pools: Collection[str], base: Collection[str]) -> bool:
    """Whether a figure of output is of the same work in two arms with these kinds of workers.

    Without decode a request ends with its first token. GPUs are compared where all of a request's work is counted in
    both, or the same part of it; decode GPUs where none of them prefills too, as colocated ones do, or all.
    """
    one, other = stages(pools), stages(base)
    if tag == "output_throughput_per_gpu":
        return one == other
    if tag == "output_throughput_per_decode_gpu":
        return ("colocated" in pools) == ("colocated" in base)
    return ("decode" in one) == ("decode" in other)


def queueing(entry: Entry) -> tuple[str, ...]:
    """How the tags end that depend on an arm's queue."""
    return QUEUEING + PACE if entry["decode_wait_in_tpot"] else QUEUEING
