"""Which limits hold for a request, and which requests meet theirs.

An SLO is plain data, as `summary.json` has it: limits in milliseconds under the keys of `LIMITS`, which hold for all requests,
and under ``models``, by name, those of one model's, which replace these key by key. The names are those of vLLM's
``--goodput``, and so are the meanings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sunsim.clock import PS_PER_MS, PS_PER_S
from sunsim.metrics.rows import Bools, Floats, Requests

LIMITS = ("ttft_ms", "tpot_ms", "e2el_ms")

Slo = Mapping[str, Any]
Limits = Mapping[str, float | Floats]
"""A limit for all requests, or one for each, in their order: infinite where a request has none."""


def limits_of(slo: Slo, model: str) -> dict[str, float]:
    """The limits of this model's requests, in milliseconds: its own, and for the others those of all."""
    own: Slo = slo.get("models", {}).get(model, {})
    return {key: own.get(key, slo.get(key)) for key in LIMITS if key in own or key in slo}


def limits_each(slo: Slo, models: "pd.Series[str]") -> Limits:
    """The limits of requests of these models, one name a request."""
    if "models" not in slo:
        return limits_of(slo, "")
    places, names = pd.factorize(models)
    of_name = [limits_of(slo, str(name)) for name in names]
    stated = [key for key in LIMITS if any(key in limits for limits in of_name)]
    return {key: np.array([limits.get(key, np.inf) for limits in of_name])[places] for key in stated}


def limit_values(slo: Slo, models: Iterable[str]) -> dict[str, list[float]]:
    """Of each limit that any of these models has, its values, ascending, each once."""
    of_model = [limits_of(slo, model) for model in models]
    found = {key: {limits[key] for limits in of_model if key in limits} for key in LIMITS}
    return {key: sorted(values) for key, values in found.items() if values}


def missed(requests: Requests, limits: Limits) -> dict[str, Bools]:
    """For each limit, which requests have it and did not finish within it, on the clock.

    A one-token output meets any TPOT.
    """
    arrival_ps, first_ps, last_ps = (
        np.rint(time_s * PS_PER_S) for time_s in (requests.arrival_s, requests.first_token_s, requests.last_token_s)
    )
    gaps = requests.output_tokens - 1
    took_ps = {
        "ttft_ms": first_ps - arrival_ps,
        "tpot_ms": np.where(gaps > 0, last_ps - first_ps, 0.0),
        "e2el_ms": last_ps - arrival_ps,
    }
    found = {}
    for key, limit_ms in limits.items():
        times = np.maximum(gaps, 1) if key == "tpot_ms" else 1.0
        within = requests.finished & (took_ps[key] <= limit_ms * PS_PER_MS * times)
        found[key] = ~within & np.isfinite(limit_ms)
    return found


def meets_slo(requests: Requests, limits: Limits) -> Bools:
    """Which requests finished within every limit that they have."""
    met = requests.finished.copy()
    for late in missed(requests, limits).values():
        met &= ~late
    return met
