"""Arms against the first arm: which ratios may be stated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sunsim.report.format import ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUEING = ("_ttft_ms", "_e2el_ms", "request_goodput", "slo_attainment")


def against(tag: str, entry: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """The ratio of a metric to the first arm's.

    None where either arm is overloaded and the metric depends on its queue: that ratio would grow with the run.
    """
    if tag.endswith(QUEUEING) and (entry["overloaded"] or base["overloaded"]):
        return None
    return ratio(entry[tag], base[tag])
