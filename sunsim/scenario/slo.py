"""The `slo` block of a scenario: latency limits of all requests, and of a model's own."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sunsim.document.block import UNKNOWN_KEY, Block, Duration, Milliseconds

NO_ITL = "must be tpot_ms: of a request only the first and the last token are timed, so the largest gap is not known"


class Limits(Block):
    """Latency limits in milliseconds, by the names of vLLM's goodput; None means that there is none."""

    ttft_ms: Milliseconds | None = None
    tpot_ms: Milliseconds | None = None
    e2el_ms: Milliseconds | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_gap_alone(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "itl_ms" in data:
            raise PydanticCustomError(UNKNOWN_KEY, UNKNOWN_KEY, {"key": "itl_ms", "hint": NO_ITL})
        return data

    @property
    def stated(self) -> dict[str, float]:
        """Those that are stated, by their keys."""
        return {key: limit for key in Limits.model_fields if (limit := getattr(self, key)) is not None}


class Slo(Limits):
    """The limits of all requests.

    Attributes:
        models: those of a model's requests, by its name; they replace the others key by key.
        worst_window_s: how long the window is whose attainment is given beside the mean, in seconds; see
            `sunsim.metrics.worst`. None: none is, but `sunsim plan` takes 60 s.
    """

    models: dict[str, Limits] = Field(default_factory=dict)
    worst_window_s: Duration | None = None

    def of(self, model: str) -> dict[str, float]:
        """The limits of this model's requests, by their keys: its own, and for the others those of all."""
        return self.stated | (self.models[model].stated if model in self.models else {})

    def strictest(self, key: str, models: Iterable[str]) -> float | None:
        """The least limit under a key that some of these models' requests have; None if none has one."""
        return min((limits[key] for model in models if key in (limits := self.of(model))), default=None)

    @property
    def limits(self) -> dict[str, Any]:
        """The limits that are stated, as `sunsim.metrics.slo` takes them."""
        own = {name: limits.stated for name, limits in self.models.items() if limits.stated}
        return self.stated | ({"models": own} if own else {})
