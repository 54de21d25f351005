"""What admission refused; there only where an arm has it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sunsim.metrics.rows import Requests, places_of
from sunsim.records import ArmResult


def add_shed(summary: Mapping[str, Any], arms: Sequence[ArmResult]) -> None:
    """Adds `shed` to all arms of a summary, of which one may refuse requests, and to their models.

    Args:
        summary: of `arms`, in their order.
        arms: as simulated.
    """
    for entry, arm in zip(summary["arms"].values(), arms, strict=True):
        shed, of_model = Requests.from_rows(arm.rows).shed, places_of(arm.rows["model"])
        entry["shed"] = int(shed.sum())
        for name, own in entry["models"].items():
            own["shed"] = int(shed[of_model[name]].sum())
