"""Which requests of a trace are used, when they arrive, and what is left out and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sunsim.clock import MAX_S, since_s
from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.workload.changes import Stretch
from sunsim.workload.traces.rows import TraceRows

NO_PROMPT = "without a prompt token"
NO_OUTPUT = "without an output token"


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a trace that is used, in the trace's own time, and how fast it is played.

    Attributes:
        start_s: requests before it are left out; arrivals count from here.
        duration_s: requests that arrive so long after `start_s` or later are left out; None for no end.
        requests: the most that are used; None for all.
        rate_scale: arrivals are divided by it, last of all.
        stretches: parts that are played one after the other, none of which overlaps another, instead of the one that
            `start_s` and `duration_s` tell.
    """

    start_s: float = 0.0
    duration_s: float | None = None
    requests: int | None = None
    rate_scale: float = 1.0
    stretches: tuple[Stretch, ...] = ()


@dataclass(frozen=True, eq=False)
class Selection:
    """What is used of a trace.

    Attributes:
        rows: the requests that are used, arrivals as they are played.
        in_file: requests in the file.
        outside_window: of these, how many are left out by the window.
        dropped: how many in the window cannot be used, by reason; no reason stands for none.
    """

    rows: TraceRows
    in_file: int
    outside_window: int
    dropped: Mapping[str, int]

    @cached_property
    def mix(self) -> LengthMix:
        """The lengths that meet in batches."""
        return LengthMix.of(self.rows.prompt_tokens, self.rows.output_tokens)


def select(
    rows: TraceRows, window: Window, path: Path, too_long: Mapping[str, NDArray[np.bool_]] | None = None
) -> Selection:
    """Cuts by time, drops what cannot be used, cuts by number, then scales.

    Args:
        rows: the whole trace.
        window: what to use of it.
        path: of the trace, for messages.
        too_long: by reason, which requests to drop besides those without a prompt or output token, bool[n] each.

    Raises:
        InputError: no request is left.
    """
    in_file = len(rows)
    if window.stretches:
        order, played_s = _laid_end_to_end(rows, window.stretches, path)
        rows = replace(rows.take(order), arrival_s=played_s)
        if rows.rounds:
            rows = replace(rows, rounds=replace(rows.rounds, session=np.cumsum(rows.rounds.opens) - 1))
        too_long = {reason: wrong[order] for reason, wrong in (too_long or {}).items()}
        inside = np.ones(len(rows), np.bool_)
    else:
        since_start_s = since_s(rows.arrival_s, window.start_s) if window.start_s else rows.arrival_s
        inside = since_start_s >= 0
        if window.duration_s is not None:
            inside &= since_s(since_start_s, window.duration_s) < 0
        rows = replace(rows, arrival_s=since_start_s)
    usable = np.ones(len(rows), np.bool_)
    causes: dict[str, NDArray[np.bool_]] = {}
    unfit = {NO_PROMPT: rows.prompt_tokens < 1, NO_OUTPUT: rows.output_tokens < 1, **(too_long or {})}
    for reason, wrong in unfit.items():
        causes[reason] = wrong & usable
        usable &= ~wrong
    if window.requests is not None:
        inside &= _among_first(window.requests, inside & usable, rows)
    used = replace(rows, arrival_s=rows.arrival_s / window.rate_scale).take(inside & usable)
    counts = {reason: int((wrong & inside).sum()) for reason, wrong in causes.items()}
    dropped = {reason: count for reason, count in counts.items() if count}
    outside = in_file - int(inside.sum())
    if not len(used):
        left_out = [f"{outside} outside the window"] if outside else []
        left_out += [f"{count} {reason}" for reason, count in dropped.items()]
        message = f"no request is left of {in_file} ({', '.join(left_out)}), must be at least one"
        raise InputError(message, path)
    return Selection(used, in_file, outside, dropped)


def _laid_end_to_end(
    rows: TraceRows, stretches: Sequence[Stretch], path: Path
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The requests of some parts in the order in which they are played, int64[n], and when, float64[n].

    Raises:
        InputError: a part begins after the last request.
    """
    chosen: list[NDArray[np.int64]] = []
    played_s: list[NDArray[np.float64]] = []
    begin_s = 0.0
    for stretch in stretches:
        if stretch.start_s > rows.arrival_s[-1]:
            message = f"the last request arrives at {rows.arrival_s[-1]:g} s, must not be before the stretch from"
            message += f" {stretch.start_s:g} s"
            raise InputError(message, path, int(rows.line[-1]))
        since_start_s = since_s(rows.arrival_s, stretch.start_s)
        inside = np.flatnonzero((since_start_s >= 0) & (since_s(since_start_s, stretch.duration_s) < 0))
        chosen.append(inside)
        played_s.append(begin_s + since_start_s[inside] / stretch.rate_scale)
        begin_s += stretch.duration_s / stretch.rate_scale
    # Rounding must not take a request beyond its stretch.
    return np.concatenate(chosen), np.maximum.accumulate(np.concatenate(played_s))


def _among_first(number: int, used: NDArray[np.bool_], rows: TraceRows) -> NDArray[np.bool_]:
    """What is there up to so many used requests; a session is left out whole that is not whole among them, bool[n]."""
    counted = used.astype(np.int64)
    so_far = np.cumsum(counted)
    if rows.rounds is None:
        return so_far - counted < number
    last = np.searchsorted(rows.rounds.session, rows.rounds.session, side="right") - 1
    through: NDArray[np.int64] = so_far[last]
    return through <= number


def refuse_too_late(selection: Selection, path: Path) -> None:
    """Raises:
    InputError: the last request arrives later than a scenario may last.
    """
    last_s = float(selection.rows.arrival_s[-1])
    if last_s > MAX_S:
        message = f"the request arrives at {last_s:,.10g} s, must arrive by {MAX_S:,.0f} s: lower duration_s or raise rate_scale"
        raise InputError(message, path, int(selection.rows.line[-1]))
