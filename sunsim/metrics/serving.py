"""What users got: counts, throughput, latency and goodput of an arm, or of one of its models."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from sunsim.metrics.registry import QUANTILES, STATISTICS
from sunsim.metrics.rows import Floats, Requests, Window
from sunsim.metrics.slo import Limits, meets_slo
from sunsim.metrics.worst import Worst, worst_window

Numbers = dict[str, float | None]
Figures = dict[str, Any]
"""With lists and further ones in it."""


def statistics(values: Floats, names: tuple[str, ...] = STATISTICS) -> Numbers:
    """Mean, population standard deviation and exact quantiles (linear between samples, as vLLM's).

    All are None where there is no sample: 0 would read as a very good latency.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return dict.fromkeys(names)
    known = {"mean": float(values.mean()), "std": float(values.std())}
    quantiles = np.quantile(values, list(QUANTILES.values()), method="linear")
    known.update(zip(QUANTILES, quantiles.tolist(), strict=True))
    return {name: known[name] for name in names}


def latency(key: str, values_ms: Floats, names: tuple[str, ...] = STATISTICS) -> Numbers:
    """Statistics of a latency under their tags, such as `mean_ttft_ms`."""
    return {f"{name}_{key}_ms": value for name, value in statistics(values_ms, names).items()}


def tokens_inside(requests: Requests, window: Window) -> Floats:
    """How many of each request's tokens fall inside the window.

    A request's n tokens are taken as evenly spaced from its first to its last: token k is emitted at
    `first + k * (last - first) / (n - 1)`. Where prefill emits the first, the others are spaced from decode's first:
    between the two lies the wait for decode, in which nothing is emitted.
    """
    by_prefill = requests.first_token_s < requests.decode_first_token_s
    alone = by_prefill & (requests.first_token_s >= window.start_s) & (requests.first_token_s < window.end_s)
    first_s = np.where(by_prefill, requests.decode_first_token_s, requests.first_token_s)
    until_s = requests.emitting_until_s
    waits_for_decode = by_prefill.any() & np.isnan(requests.decode_first_token_s) & ~requests.finished
    tokens = np.where(np.isnan(until_s) | waits_for_decode, 1.0, requests.output_tokens - by_prefill)
    gap_s = np.where(tokens > 1, (until_s - first_s) / np.maximum(tokens - 1, 1), 0.0)

    def emitted_before(time_s: float) -> Floats:
        spaced = gap_s > 0
        steps = np.ceil((time_s - first_s) / np.where(spaced, gap_s, 1.0))
        return np.where(spaced, np.clip(steps, 0, tokens), np.where(first_s < time_s, tokens, 0))

    inside = emitted_before(window.end_s) - emitted_before(window.start_s)
    return np.where(np.isnan(first_s), 0.0, inside + alone)


def output_rate(requests: Requests, window: Window) -> float | None:
    """Tokens emitted inside the window over its length.

    None where requests were cut off while emitting and none that finished says at which pace.
    """
    emitting = np.isnan(requests.emitting_until_s) & (requests.first_token_s < window.end_s)
    if (emitting & (requests.output_tokens > 1)).any():
        return None
    return per(float(tokens_inside(requests, window).sum()), window.length_s)


def typical_s(requests: Requests) -> float | None:
    """What the median request takes, but for its waits in queues, in seconds; None where none finished."""
    waits = stage_times_s(requests)
    waited_s = sum(np.nan_to_num(waits[key]) for key in ("prefill_queue", "transfer_wait", "decode_wait"))
    return statistics(requests.e2el_s - waited_s, ("median",))["median"]


def rated(window: Window, arms: Iterable[Requests]) -> Window:
    """The window, marked where it is too short: empty, or shorter than the typical request of every arm."""
    took_s = min((took for requests in arms if (took := typical_s(requests)) is not None), default=0.0)
    return replace(window, too_short=not window.length_s > took_s)


def stage_times_s(requests: Requests) -> dict[str, Floats]:
    """Seconds that each request spent in each stage, NaN for a stage that it did not pass."""
    r = requests
    # What has nothing to be moved is there when its prefill ends.
    there_s = np.fmax(np.fmax(r.arrival_s, r.prefill_end_s), r.transfer_end_s)
    return {
        "prefill_queue": r.prefill_start_s - r.arrival_s,
        "prefill": r.prefill_end_s - r.prefill_start_s,
        "transfer_wait": r.transfer_start_s - r.prefill_end_s,
        "transfer": r.transfer_end_s - r.transfer_start_s,
        "decode_wait": r.decode_scheduled_s - there_s,
    }


def counts(requests: Requests, duration_s: float) -> Numbers:
    """Whole-run figures under vLLM's names; the duration includes the drain."""
    done = requests.finished
    completed = int(done.sum())
    inputs, outputs = int(requests.prompt_tokens[done].sum()), int(requests.output_tokens[done].sum())
    return {
        "requests": len(requests),
        "completed": completed,
        "unfinished": len(requests.taken) - completed,
        "preemptions": int(requests.preemptions.sum()),
        "duration": duration_s,
        "total_input_tokens": inputs,
        "total_output_tokens": outputs,
        "request_throughput": per(completed, duration_s),
        "output_throughput": per(outputs, duration_s),
        "total_token_throughput": per(inputs + outputs, duration_s),
    }


def serving(
    requests: Requests,
    window: Window,
    slo: Limits,
    duration_s: float,
    worst_window_s: float | None = None,
) -> Numbers:
    """Every figure that an arm and a model have in common; the worst window is sought where its length is given.

    Args:
        slo: the limits of these requests; empty if they have none.
    """
    within = window.holds(requests.arrival_s)
    inside = requests.where(within)
    done = inside.where(inside.finished)
    met = meets_slo(requests, slo)
    # As with tokens, what is completed inside counts, so that no queue is taken for something that was done.
    good = met & (requests.last_token_s >= window.start_s) & (requests.last_token_s < window.end_s)
    entry = counts(requests, duration_s)
    entry["window_requests"] = len(inside)
    entry["output_throughput_window"] = output_rate(requests, window)
    entry["request_goodput"] = per(int(good.sum()), window.length_s) if slo else None
    entry["slo_attainment"] = per(int(met[within].sum()), len(inside)) if slo else None
    worst = Worst(None, None)
    if slo and worst_window_s is not None:
        worst = worst_window(inside.arrival_s, met[within], window, worst_window_s)
    entry |= {"worst_window_slo_attainment": worst.share, "worst_window_start_s": worst.start_s}
    for key, values_s in (("ttft", done.ttft_s), ("tpot", done.tpot_s), ("e2el", done.e2el_s)):
        entry |= latency(key, values_s * 1000)
    pace = done.tpot_s[done.tpot_s > 0]
    entry |= {f"{name}_interactivity": value for name, value in statistics(1 / pace, ("mean", "median")).items()}
    for key, values_s in stage_times_s(inside).items():
        entry |= latency(key, values_s * 1000, ("mean", "median", "p99"))
    return entry


def per(amount: float | None, unit: float) -> float | None:
    """A rate, None where there is nothing to divide or to divide by."""
    return None if amount is None or not unit else amount / unit
