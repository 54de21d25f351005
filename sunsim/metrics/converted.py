"""What became of the requests that convertible decode workers took as a whole; there only where an arm has such workers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sunsim.metrics.rows import Bools, Requests, Window
from sunsim.metrics.serving import per, statistics
from sunsim.metrics.slo import Slo, limits_each, missed
from sunsim.records import ArmResult


def add_converted(summary: Mapping[str, Any], arm: ArmResult) -> None:
    """Adds `converted` to the entry of an arm with convertible workers.

    Args:
        summary: that has the arm.
        arm: as simulated. A request converted if a decode worker has it and no prefill worker had.
    """
    window, slo = Window(**summary["window"]), summary["slo"] or {}
    summary["arms"][str(arm.rows["arm"].iloc[0])]["converted"] = _converted(arm, window, slo)


def _converted(arm: ArmResult, window: Window, slo: Slo) -> dict[str, Any]:
    every = Requests.from_rows(arm.rows)
    inside = window.holds(every.arrival_s) & ~every.shed
    whole = (arm.rows["prefill_worker"].isna() & arm.rows["decode_worker"].notna()).to_numpy(np.bool_)
    late = missed(every, limits_each(slo, arm.rows["model"])).get("tpot_ms")
    own = every.where(inside & whole)
    return {
        "requests": len(own),
        "p99_tpot_ms": statistics(own.tpot_s * 1000, ("p99",))["p99"],
        "missed_tpot_share": _share(late, inside & whole),
        "others_missed_tpot_share": _share(late, inside & ~whole),
    }


def _share(late: Bools | None, of: Bools) -> float | None:
    return None if late is None else per(int(late[of].sum()), int(of.sum()))
