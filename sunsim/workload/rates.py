"""The rate of arrivals that changes, as a scenario says it."""

import math
from itertools import islice
from pathlib import Path

import numpy as np

from sunsim.clock import MAX_S
from sunsim.errors import InputError, clipped, clipped_list, limit_text
from sunsim.latency.document import once
from sunsim.workload.blocks import Arrivals
from sunsim.workload.changes import Bursts, Curve, Diurnal, RateSteps
from sunsim.workload.lines import Floats, Lines
from sunsim.workload.streams import stream
from sunsim.workload.traces.table import UNCLOSED, values_at, values_of
from sunsim.workload.traces.text import read_text

SIDES = 1440
"""Of the polygon that stands for a period of a diurnal curve: off by at most 2.4 millionths of its mean."""
TIME, RATE = "time_s", "rate_rps"
MUST = "must be a CSV file with the columns time_s and rate_rps"


def rate_of(arrivals: Arrivals, duration_s: float) -> Lines:
    """Requests per second of completed arrivals from 0 to `duration_s`, without bursts; `rate_rps` in the mean.

    Raises:
        InputError: as `own_rate`.
    """
    if arrivals.curve is None:
        return Lines.steps(np.array([0.0, duration_s]), np.array([arrivals.mean_rps]))
    own = own_rate(arrivals.curve, duration_s)
    times = arrivals.mean_rps / own_mean(own)
    return Lines(own.edge_s, own.first * times, own.last * times)


def drawn_rate(arrivals: Arrivals, duration_s: float, seed: int) -> Lines:
    """`rate_of` with the bursts of a seed."""
    rate = rate_of(arrivals, duration_s)
    return rate if arrivals.bursts is None else _with_bursts(rate, arrivals.bursts, seed)


def own_mean(own: Lines) -> float:
    """The mean of an `own_rate`, in requests per second; 0 where there would be none."""
    return float(own.integral[-1] / own.end_s)


def own_rate(curve: Curve, duration_s: float) -> Lines:
    """What a curve says from 0 to `duration_s`, in requests per second; of a diurnal one times its mean.

    Raises:
        InputError: a file cannot be read, is wrong or ends too early.
    """
    if isinstance(curve, Diurnal):
        side_s = curve.period_s / SIDES
        time_s: Floats = side_s * np.arange(math.ceil(duration_s / side_s) + 2, dtype=np.float64)
        swing: Floats = np.cos(2 * np.pi / curve.period_s * (time_s - curve.peak_s))
        return Lines.between(time_s, 1 + (curve.peak_to_mean - 1) * swing).until(duration_s)
    if isinstance(curve, RateSteps):
        from_s, rates = np.array(curve.rates).T
        edge_s = np.append(from_s, max(duration_s, from_s[-1] + 1.0))
        return Lines.steps(edge_s, rates).until(duration_s)
    points = read_rates(curve.path)
    if points.end_s < duration_s:
        message = f"{TIME} ends at {points.end_s:g}, must go on to workload.duration_s ({duration_s:g})"
        raise InputError(message, curve.path, points.edge_s.size + 1)
    return points.until(duration_s)


def _with_bursts(rate: Lines, bursts: Bursts, seed: int) -> Lines:
    edge_s = _bursts_s(bursts, rate.end_s, seed)
    parted = rate.split(edge_s)
    # Bursts begin and end in turn.
    inside = np.searchsorted(edge_s, parted.edge_s[:-1], side="right") % 2 == 1
    times = np.where(inside, bursts.factor, 1.0)
    return Lines(parted.edge_s, parted.first * times, parted.last * times)


def _bursts_s(bursts: Bursts, end_s: float, seed: int) -> Floats:
    """When bursts begin and end, in turn, at least to `end_s`; a later end only appends some."""
    rng = stream(seed, "bursts")
    expected = end_s / (bursts.every_s + bursts.length_s)
    some = math.ceil(expected + 4 * math.sqrt(expected)) + 10
    gaps_s = np.zeros(0)
    while not gaps_s.size or gaps_s.sum() + bursts.length_s * gaps_s.size < end_s:
        gaps_s = np.append(gaps_s, bursts.every_s * rng.standard_exponential(some))
    begin_s = np.cumsum(gaps_s) + bursts.length_s * np.arange(gaps_s.size)
    return np.stack([begin_s, begin_s + bursts.length_s], axis=1).ravel()


@once(8)
def read_rates(path: Path) -> Lines:
    """The points of a file of rates.

    Raises:
        InputError: it cannot be read, lacks a column or a second line, or a line of it is wrong.
    """
    text = read_text(path, MUST)
    header = values_of(text.line(1)) if text.data else []
    if header is None:
        raise InputError(UNCLOSED, path, 1)
    for name in (TIME, RATE):
        if header.count(name) != 1:
            problem = "is there twice" if name in header else "is missing"
            message = f"column {name} {problem}, must be there once; the columns are {clipped_list(header)}"
            raise InputError(message, path, 1)
    if text.lines < 3:
        message = f"has {text.lines - 1} points, must have at least two lines after the column names"
        raise InputError(message, path)
    found: list[tuple[float, float]] = []
    for number, line in islice(enumerate(text, 1), 1, None):
        values = values_at(text, number, line, header)
        point = (_number(values[TIME], TIME, MAX_S, path, number), _number(values[RATE], RATE, 1e9, path, number))
        if not found and point[0]:
            message = f"{TIME} is {clipped(values[TIME])} in the first line, must be 0: when the run begins"
            raise InputError(message, path, number)
        if found and point[0] <= found[-1][0]:
            message = f"{TIME} is {clipped(values[TIME])} after {found[-1][0]:g} in the line before, must rise"
            raise InputError(message, path, number)
        found.append(point)
    time_s, rates = np.array(found).T
    return Lines.between(time_s, rates)


def _number(value: str, name: str, most: float, path: Path, line: int) -> float:
    try:
        # Python reads digits of every script, and as if an underscore were not there.
        number = float(value) if value.isascii() and "_" not in value else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        message = f"{name} is '{clipped(value)}', must be a number from 0 to {limit_text(most)}"
        raise InputError(message, path, line)
    return number
