"""Which model a request is for, by the models' shares of the requests, which may change over a run."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sunsim.errors import InputError
from sunsim.workload.blocks import Closed, Trace, Workload
from sunsim.workload.changes import Flips, Popularity
from sunsim.workload.lines import Floats, Lines, mean_product
from sunsim.workload.rates import rate_of
from sunsim.workload.streams import stream
from sunsim.workload.traces.use import arrivals_of

MOST_SHARES = 2_000_000
"""Flips times models."""
AT_ONCE = 1_000_000
"""Shares that are sorted together."""


def draw_models(shares: Sequence[float], uniform: Floats) -> NDArray[np.int32]:
    """Which model each request is for: inverse CDF of the models ordered by falling share, ties in the order given.

    Because the draws are given, the same request moves towards the popular models as popularity gets more skewed.

    Args:
        shares: share of each model, adding up to 1.
        uniform: draws in [0, 1), float64[n].

    Returns:
        Index into `shares`, int32[n].
    """
    order = np.argsort(-np.asarray(shares), kind="stable")
    # No request is for a model without a share, whatever the sums of the others round to.
    edges = np.cumsum(np.asarray(shares)[order])[: np.count_nonzero(shares) - 1]
    return order.astype(np.int32)[np.searchsorted(edges, uniform, side="right")]


def shares_over(
    popularity: Popularity, models: Sequence[str], shares: Sequence[float], seed: int | None, end_s: float
) -> Lines:
    """Shares of the models from 0 to `end_s` at least, m at each edge, adding up to 1.

    Args:
        popularity: how they change.
        models: names.
        shares: of the models where `popularity` does not say others.
        seed: of a simulation; None for what is to be expected before it is known.

    Raises:
        InputError: they change too often; without a file.
    """
    own = np.asarray(shares)
    if isinstance(popularity, Flips):
        return _flipped(popularity, own, seed, end_s)
    told = np.array([[step.weights[model] for model in models] for step in popularity.steps], np.float64)
    values = told / told.sum(axis=1, keepdims=True)
    at_s = np.array([step.at_s for step in popularity.steps])
    if at_s[0]:
        at_s, values = np.append(0.0, at_s), np.vstack([own, values])
    edge_s = np.append(at_s, max(end_s, at_s[-1]) + 1.0)
    if popularity.between == "jump":
        return Lines.steps(edge_s, values)
    return Lines.between(edge_s, np.vstack([values, values[-1:]]))


def _flipped(flips: Flips, own: Floats, seed: int | None, end_s: float) -> Lines:
    pieces = math.floor(end_s / flips.every_s) + 2
    if pieces * own.size > MOST_SHARES:
        least_s = 2 * end_s * own.size / MOST_SHARES
        message = (
            f"workload.popularity.every_s is {flips.every_s:g}, must be at least {least_s:g} for {own.size} models"
        )
        raise InputError(message)
    edge_s = flips.every_s * np.arange(pieces + 1, dtype=np.float64)
    models = np.arange(own.size)
    if flips.order == "rotate":
        return Lines.steps(edge_s, own[(models - np.arange(pieces)[:, None]) % own.size])
    if seed is None:
        values = np.full((pieces, own.size), own.mean())
        values[0] = own
        return Lines.steps(edge_s, values)
    rng = stream(seed, "popularity")
    orders = [models, *(rng.permutation(own.size) for _ in range(pieces - 1))]
    return Lines.steps(edge_s, own[np.array(orders)])


def draw_models_over(shares: Lines, arrival_s: Floats, uniform: Floats) -> NDArray[np.int32]:
    """`draw_models` by the shares at each arrival.

    Args:
        shares: of m models.
        arrival_s: seconds, float64[n], non-decreasing.
        uniform: draws in [0, 1), float64[n].

    Returns:
        Index of a model, int32[n].
    """
    piece = shares.piece(arrival_s)
    starts = np.flatnonzero(np.diff(piece, prepend=-1)).tolist()
    drawn = np.empty(arrival_s.size, np.int32)
    for start, stop in zip(starts, [*starts[1:], arrival_s.size], strict=True):
        first, last = shares.first[piece[start]], shares.last[piece[start]]
        if (first == last).all():
            drawn[start:stop] = draw_models(first.tolist(), uniform[start:stop])
            continue
        rows = max(1, AT_ONCE // first.size)
        for low in range(start, stop, rows):
            some = slice(low, min(stop, low + rows))
            drawn[some] = _draw_each(shares.at(arrival_s[some]), uniform[some])
    return drawn


def _draw_each(shares: Floats, uniform: Floats) -> NDArray[np.int32]:
    """`draw_models` by shares of each request's own, float64[n, m]."""
    order = np.argsort(-shares, axis=1, kind="stable")
    falling = np.take_along_axis(shares, order, axis=1)
    edges = np.where(falling[:, 1:] > 0, np.cumsum(falling, axis=1)[:, :-1], np.inf)
    place = (edges <= uniform[:, None]).sum(axis=1)
    return np.take_along_axis(order, place[:, None], axis=1)[:, 0].astype(np.int32)


def expected_shares(workload: Workload, models: Sequence[str], shares: Sequence[float]) -> tuple[float, ...]:
    """Expected share of the requests of each model over a run, before its seed is known; they add up to 1.

    Weighted by the rate of arrivals, which bursts raise at any time alike; of a trace by the arrivals themselves, those
    of requests that are too long included.

    Args:
        workload: completed.
        models: names.
        shares: of the models where the workload does not say others.

    Raises:
        InputError: shares change too often, or the trace cannot be used.
    """
    popularity = workload.popularity
    if popularity is None:
        return tuple(shares)
    if isinstance(workload, Trace):
        arrival_s = arrivals_of(workload)
        changing = shares_over(popularity, models, shares, None, float(arrival_s[-1]))
        return _as_shares(_mean_at(changing, arrival_s))
    assert not isinstance(workload.arrivals, Closed)
    duration_s = workload.duration_s
    if duration_s is None:
        duration_s = (getattr(workload, "requests", None) or 1) / workload.arrivals.mean_rps
    changing = shares_over(popularity, models, shares, None, duration_s).until(duration_s)
    return _as_shares(mean_product(changing, rate_of(workload.arrivals, duration_s)))


def _mean_at(shares: Lines, time_s: Floats) -> Floats:
    piece = shares.piece(time_s)
    part = (time_s - shares.edge_s[piece]) / np.diff(shares.edge_s)[piece]
    pieces = len(shares.first)
    late = np.bincount(piece, weights=part, minlength=pieces)
    early = np.bincount(piece, minlength=pieces) - late
    return (early @ shares.first + late @ shares.last) / time_s.size


def _as_shares(means: Floats) -> tuple[float, ...]:
    return tuple((means / means.sum()).tolist())
