"""Figures of a trace: rates, burstiness, lengths, popularity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import since_s, to_s
from sunsim.workload.sessions import UNKNOWN, Sessions
from sunsim.workload.texts import repeated_tokens
from sunsim.workload.traces.rows import TraceRows

PERCENTILES = (50, 90, 95, 99)
MINUTE_S = 60.0
SECOND_S = 1.0
US_PER_S = 1e6


def statistics(rows: TraceRows, sessions: Sessions | None = None) -> dict[str, Any]:
    """Figures of requests by arrival; None where there are too few for one.

    Where rounds of `sessions` wait for each other, arrivals are those of sessions. Rates are per second from the first arrival to the last: the mean is 1 over the mean gap, the peaks are those of the
    busiest minute and second, wherever they begin. Burstiness: coefficient of variation of the gaps, and index of
    dispersion (variance over mean of the requests in each whole second, or minute, from the first arrival on); both
    are 1 for Poisson arrivals and 0 for equal gaps.
    """
    known_s = rows.arrival_s if rows.rounds is None else rows.arrival_s[rows.rounds.opens]
    arrival_s = since_s(known_s, float(known_s[0]))
    duration_s = float(arrival_s[-1])
    gaps_s = np.diff(arrival_s)
    mean_rate = gaps_s.size / duration_s if duration_s > 0 else None
    tokens = {"prompt": rows.prompt_tokens, "output": rows.output_tokens}
    return {
        "requests": len(rows),
        "duration_s": duration_s,
        "arrival_times": int(np.unique(arrival_s).size),
        "mean_rate_rps": mean_rate,
        "peak_minute_rate_rps": _peak_rate(arrival_s, MINUTE_S),
        "peak_second_rate_rps": _peak_rate(arrival_s, SECOND_S),
        "gap_cv": float(gaps_s.std() / gaps_s.mean()) if duration_s > 0 else None,
        "dispersion_minute": _dispersion(arrival_s, MINUTE_S),
        "dispersion_second": _dispersion(arrival_s, SECOND_S),
        **{
            f"{name}_tokens_per_s": None if mean_rate is None else mean_rate * float(column.sum() / known_s.size)
            for name, column in tokens.items()
        },
        **{f"{name}_tokens": _lengths(column) for name, column in tokens.items()},
        "total_tokens": _lengths(rows.prompt_tokens + rows.output_tokens),
        "models": _popularity(rows),
        **(_of_sessions(rows, sessions) if sessions else {}),
    }


def _of_sessions(rows: TraceRows, sessions: Sessions) -> dict[str, Any]:
    """How long sessions are, how long their users think, and how much of the prompts is there in earlier requests."""
    think_s = to_s(sessions.think_ps[sessions.previous != UNKNOWN])
    rounds = np.unique(sessions.session, return_counts=True)[1]
    return {
        "sessions": int(rounds.size),
        "rounds": _lengths(rounds),
        "think_s": _lengths(think_s) if think_s.size else None,
        "repeated_share": float(repeated_tokens(sessions).sum() / rows.prompt_tokens.sum()),
    }


def _peak_rate(arrival_s: NDArray[np.float64], width_s: float) -> float | None:
    """Of the half-open interval of `width_s` with most arrivals."""
    if arrival_s[-1] < width_s:
        return None
    # Whole microseconds, so that equal times compare equal.
    arrival_us = np.rint(arrival_s * US_PER_S)
    counts = np.searchsorted(arrival_us, arrival_us + width_s * US_PER_S, side="left") - np.arange(arrival_us.size)
    return float(counts.max()) / width_s


def _dispersion(arrival_s: NDArray[np.float64], width_s: float) -> float | None:
    whole = int(arrival_s[-1] // width_s)
    if whole < 2:
        return None
    interval = (arrival_s // width_s).astype(np.int64)
    # Most intervals of a trace of months may be empty.
    _, counts = np.unique(interval[interval < whole], return_counts=True)
    mean = counts.sum() / whole
    return float((counts @ counts / whole - mean**2) / mean)


def _lengths(tokens: NDArray[np.int64] | NDArray[np.float64]) -> dict[str, float]:
    levels = np.quantile(tokens, np.array(PERCENTILES) / 100)
    return {
        "mean": float(tokens.mean()),
        "std": float(tokens.std()),
        "min": tokens.min().item(),
        **{f"p{percent}": float(level) for percent, level in zip(PERCENTILES, levels, strict=True)},
        "max": tokens.max().item(),
    }


def _popularity(rows: TraceRows) -> dict[str, int] | None:
    """Requests of each model, most popular first."""
    if rows.model is None:
        return None
    counts = np.bincount(rows.model, minlength=len(rows.names))
    return {rows.names[i]: int(counts[i]) for i in np.argsort(-counts, kind="stable") if counts[i]}
