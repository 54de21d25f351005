"""Arrival times of a renewal process, whose rate may change."""

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import since_s
from sunsim.workload.blocks import Arrivals, Constant, Gamma, Poisson
from sunsim.workload.lines import Lines

_CHUNK = 65_536


def draw_arrivals(
    arrivals: Arrivals, rng: np.random.Generator, duration_s: float | None, requests: int | None
) -> NDArray[np.float64]:
    """Arrival times in seconds, float64[n], non-decreasing, all before `duration_s` on the clock, at most `requests`
    of them.

    Gaps are exponential, gamma of shape `burstiness` (``CV = 1 / sqrt(burstiness)``, as vLLM's benchmark has it) or
    equal, with mean ``1 / rate_rps``. A longer duration only appends arrivals; another rate only scales them.

    Raises:
        ValueError: neither `duration_s` nor `requests` is given.
    """
    if duration_s is None and requests is None:
        message = "one of duration_s and requests must be given"
        raise ValueError(message)
    end_s = np.inf if duration_s is None else duration_s
    wanted = np.inf if requests is None else requests
    chunks: list[NDArray[np.float64]] = []
    drawn, last_s = 0, 0.0
    while last_s < end_s and drawn < wanted:
        if isinstance(arrivals, Constant):
            times = np.arange(drawn, drawn + _CHUNK) / arrivals.mean_rps
        else:
            times = last_s + np.cumsum(_gaps(arrivals, rng))
        chunks.append(times)
        drawn += times.size
        last_s = float(times[-1])
    every = np.concatenate(chunks)[: None if requests is None else requests]
    if duration_s is None:
        return every
    return every[since_s(every, duration_s) < 0]


def draw_along(
    arrivals: Arrivals, rate_rps: Lines, rng: np.random.Generator, requests: int | None
) -> NDArray[np.float64]:
    """Arrival times at a rate that changes, in seconds, float64[n], non-decreasing, all before its end.

    The process of rate 1 in the place of time has the expected number of arrivals, the integral of the rate: each of its
    events is when that is reached. Of a Poisson process this makes the Poisson process of that rate exactly (Çinlar,
    Introduction to Stochastic Processes, 1975), of others one of which the gaps vary as much in expected
    arrivals as they would in time at a rate that stays (Gerhardt and Nelson, Transforming Renewal Processes for
    Simulation of Nonstationary Arrival Processes, INFORMS Journal on Computing 21, 2009).
    """
    unit = arrivals.model_copy(update={"rate_rps": 1.0})
    times = rate_rps.where(draw_arrivals(unit, rng, float(rate_rps.integral[-1]), requests))
    return times[since_s(times, rate_rps.end_s) < 0]


def _gaps(arrivals: Poisson | Gamma, rng: np.random.Generator) -> NDArray[np.float64]:
    if isinstance(arrivals, Poisson):
        return rng.standard_exponential(_CHUNK) / arrivals.mean_rps
    shape = arrivals.burstiness
    return rng.standard_gamma(shape, _CHUNK) / (shape * arrivals.mean_rps)
