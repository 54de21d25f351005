"""How a metric is declared."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

ARRIVED = "Over the requests that arrived inside the window and finished."


@dataclass(frozen=True, slots=True)
class Metric:
    """One declared metric; `short` is its header where that has less place than `header`, broken where it may be."""

    tag: str
    header: str
    definition: str
    unit: str = ""
    form: Literal["number", "count", "share"] = "number"
    short: str = ""

    @property
    def label(self) -> str:
        """Header and unit in one line."""
        return f"{self.header} ({self.unit})" if self.unit else self.header


count, share = partial(Metric, form="count"), partial(Metric, form="share")
