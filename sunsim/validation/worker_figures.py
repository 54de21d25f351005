"""Figure by figure: one worker's requests against their simulation."""

from collections.abc import Iterator

import numpy as np

from sunsim.cluster.drafting.counts import DraftCounts
from sunsim.metrics import registry
from sunsim.metrics.registry import QUANTILES
from sunsim.metrics.rows import Floats, Window
from sunsim.metrics.serving import latency, tokens_inside
from sunsim.metrics.workers import running
from sunsim.roles import Role
from sunsim.validation.drafts import gap_figure, length_figure
from sunsim.validation.figures import Figure, change_percent, error_interval, signed_percent
from sunsim.validation.rounds import Rounds
from sunsim.validation.served import Ints, Served

MOST_SLICES = 200
FEWEST_SLICES = 10

LATENCIES = {
    "tpot": ("mean", "median", "p90", "p99"),
    "ttft": ("mean", "median", "p99"),
    "engine_ttft": ("mean", "median", "p99"),
    "queueing": ("mean", "p99"),
    "e2el": ("mean", "median", "p99"),
}
"""Statistics of each latency."""

GAPS = {"itl": ("mean", "median", "p99")}
"""Of gaps between chunks, which only a client has: vLLM's inter-token latency."""

ROUNDS = ("round_0", "round_1", "round_2", "later_rounds")
"""How TTFT is told apart in sessions: by round, and all those that few sessions reach together."""

UNSEEN = ("mean_engine_ttft_ms", "median_engine_ttft_ms", "p99_engine_ttft_ms", "preemptions")
"""Figures that a client does not have."""

NAMES = {key: name for key, (name, _) in registry.LATENCIES.items()} | {
    "engine_ttft": "engine TTFT",
    "queueing": "queueing",
    "itl": "ITL",
}

HEADERS = {
    **{
        f"{stat}_{key}_ms": (f"{NAMES[key]} {stat}", "ms")
        for key, stats in ({"tpot": LATENCIES["tpot"]} | GAPS | LATENCIES).items()
        for stat in stats
    },
    **{f"{name}_mean_ttft_ms": (f"TTFT mean, {name.replace('_', ' ')}", "ms") for name in ROUNDS},
    "cached_share": ("cached share", "%"),
    "saturated_mean_queueing_ms": ("queueing mean, saturated", "ms"),
    "output_throughput": ("output, with drain", "tok/s"),
    "prompt_throughput": ("prompts, with drain", "tok/s"),
    "saturated_output_throughput": ("output, saturated", "tok/s"),
    "mean_acceptance_length": ("mean acceptance length", "tokens"),
    "mean_batch": ("requests running", ""),
    "preemptions": ("preemptions", ""),
}
"""Header and unit of every figure that a comparison may have."""


def error_unit(tag: str) -> str:
    """What the error of a figure is counted in: that of a share is a difference, in percentage points."""
    return "points" if HEADERS[tag][1] == "%" else "%"


def signed_error(figure: Figure) -> str:
    """A figure's error with its unit."""
    return signed_percent(figure.error_percent).replace("%", error_unit(figure.tag))


def limit(figure: Figure) -> str | None:
    """How far off a figure may be, with its unit; None if nothing is said."""
    most, unit = figure.tolerance_percent, error_unit(figure.tag)
    if most is None:
        return None
    return f"{most:g} {unit.removesuffix('s') if most == 1 else unit}"


def worker_figures(
    actual: Served,
    simulated: Served,
    role: Role,
    saturated: Window | None,
    drafts: tuple[DraftCounts, DraftCounts] | None = None,
) -> list[Figure]:
    """Every figure that the run's role has, in the order of `HEADERS`.

    Args:
        actual, simulated: the same requests in the same order.
        role: what the worker does.
        saturated: the stretch in which the actual run had a queue; None without one.
        drafts: of both sides; None of a worker that does not draft, or without any.
    """
    found = [*_latencies(actual, simulated, role), *_rates(actual, simulated, role)]
    if drafts:
        found += [length_figure(*drafts), gap_figure(actual, simulated, drafts)]
    if saturated:
        found += _saturated(actual, simulated, saturated, role)
    return _in_order(found)


def round_figures(actual: Served, simulated: Served, rounds: Rounds, cached_tokens: Ints) -> list[Figure]:
    """Figures that sessions have beside those of `worker_figures`, in the order of `HEADERS`.

    Args:
        actual, simulated: the same requests in the same order.
        rounds: which of whose rounds they are, and what of them was cached.
        cached_tokens: of each simulated prompt, int64[n].
    """
    last = len(ROUNDS) - 1
    number = np.minimum(rounds.sessions.round, last)
    found: list[Figure] = []
    for i, name in enumerate(ROUNDS):
        there = number == i
        if there.any():
            block = max(1, round(_in_flight(actual) * float(there.mean())))
            sides = actual.ttft_ms[there], simulated.ttft_ms[there]
            found += _resampled([f"{name}_mean_ttft_ms"], *sides, ("mean",), block)
    real, model = (
        float(cached.sum() / actual.prompt_tokens.sum()) * 100 for cached in (rounds.cached_tokens, cached_tokens)
    )
    return [*found, Figure("cached_share", real, model, model - real)]


def client_figures(actual: Served, simulated: Served, role: Role, itl_ms: tuple[Floats, Floats]) -> list[Figure]:
    """Every figure that a client has; `itl_ms` are the gaps of both sides, which belong to no requests."""
    (real, model) = (latency("itl", side, GAPS["itl"]) for side in itl_ms)
    gaps = [
        Figure(tag, value, model[tag], change_percent(model[tag], value))
        for tag, value in real.items()
        if value is not None
    ]
    seen = [figure for figure in worker_figures(actual, simulated, role, None) if figure.tag not in UNSEEN]
    return _in_order([*seen, *gaps])


def _in_order(figures: list[Figure]) -> list[Figure]:
    places = list(HEADERS)
    return sorted(figures, key=lambda figure: places.index(figure.tag))


def _latencies(actual: Served, simulated: Served, role: Role) -> Iterator[Figure]:
    block = _in_flight(actual)
    for key, stats in LATENCIES.items():
        # A prefill worker's only token is its first and its last.
        if not role.decodes and key in {"tpot", "e2el"}:
            continue
        if key == "queueing" and not (actual.waits or simulated.waits):
            continue
        real, model = getattr(actual, f"{key}_ms"), getattr(simulated, f"{key}_ms")
        there = ~np.isnan(real)
        if there.any():
            tags = [f"{stat}_{key}_ms" for stat in stats]
            yield from _resampled(tags, real[there], model[there], stats, block)


def _resampled(
    tags: list[str], actual: Floats, simulated: Floats, stats: tuple[str, ...], block: int
) -> Iterator[Figure]:
    def reduce(values: Floats) -> Floats:
        return np.stack([_statistic(values, stat) for stat in stats])

    real, model = reduce(actual), reduce(simulated)
    low, high = error_interval(simulated, actual, reduce, block)
    for i, tag in enumerate(tags):
        yield Figure.of(tag, real[i], model[i], float(low[i]), float(high[i]))


def _statistic(values: Floats, stat: str) -> Floats:
    """Of the last axis: the mean, or an exact quantile (linear between samples, as vLLM's)."""
    return np.asarray(values.mean(axis=-1) if stat == "mean" else np.quantile(values, QUANTILES[stat], axis=-1))


def _rates(actual: Served, simulated: Served, role: Role) -> Iterator[Figure]:
    tag = "output_throughput" if role.decodes else "prompt_throughput"
    tokens = (actual.output_tokens if role.decodes else actual.prompt_tokens).sum()
    yield Figure.of(tag, tokens / actual.duration_s, tokens / simulated.duration_s)
    if actual.submissions.length_s:
        slices = _slices(actual.submissions)
        # Each side while its own requests are sent: in a closed loop a faster worker is done earlier.
        real, model = (
            np.array([running(side.requests()).mean(part) for part in side.submissions.parts(slices)])
            for side in (actual, simulated)
        )
        yield from _resampled(["mean_batch"], real, model, ("mean",), _cube_root(slices))
    yield Figure.of("preemptions", actual.preemptions.sum(), simulated.preemptions.sum())


def _saturated(actual: Served, simulated: Served, window: Window, role: Role) -> Iterator[Figure]:
    there = window.holds(actual.queued_s)
    if there.any():
        real, model = actual.queueing_ms[there], simulated.queueing_ms[there]
        yield from _resampled(["saturated_mean_queueing_ms"], real, model, ("mean",), _in_flight(actual))
    if role.decodes:
        slices = _slices(window)
        parts = window.parts(slices)
        sides = actual.requests(), simulated.requests()
        real, model = (np.array([tokens_inside(side, part).sum() / part.length_s for part in parts]) for side in sides)
        yield from _resampled(["saturated_output_throughput"], real, model, ("mean",), _cube_root(slices))


def _in_flight(served: Served) -> int:
    """Requests that are in the worker at once, in the mean (Little's law): they share steps, so they share luck."""
    together = float(np.mean(served.last_token_s - served.submit_s)) * len(served) / max(served.duration_s, 1e-9)
    return max(1, round(together))


def _slices(window: Window) -> int:
    """How many equal parts of a second or so the window has."""
    return min(max(int(window.length_s), FEWEST_SLICES), MOST_SLICES)


def _cube_root(n: int) -> int:
    """The order of the best block length for a mean (Hall, Horowitz and Jing 1995)."""
    return max(1, round(float(np.cbrt(n))))
