"""Arms against the first arm: which ratios may be stated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.report.format import ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUEING = ("_ttft_ms", "_e2el_ms", "request_goodput", "slo_attainment")
PACE = ("_tpot_ms", "_interactivity")
"""These hold the wait for decode where prefill emits the first token."""


def against(tag: str, entry: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """The ratio of a metric to the first arm's.

    None where either arm is overloaded and the metric depends on its queue: that ratio would grow with the run.
    """
    if any(arm["overloaded"] and tag.endswith(queueing(arm)) for arm in (entry, base)):
        return None
    return ratio(entry[tag], base[tag])


def queueing(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """How the tags end that depend on an arm's queue."""
    return QUEUEING + PACE if entry["decode_wait_in_tpot"] else QUEUEING
