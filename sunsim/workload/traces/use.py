"""What a workload uses of its trace: a window, models, and what its workers can take."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sunsim.errors import InputError, clipped, clipped_list
from sunsim.workload.blocks import Trace
from sunsim.workload.traces.formats import read_trace
from sunsim.workload.traces.known import FORMATS
from sunsim.workload.traces.rows import TraceRows
from sunsim.workload.traces.select import Selection, Window, refuse_too_late, select


class TokenLimit(NamedTuple):
    """The most tokens that one request may have in one pool, and what sets the limit."""

    tokens: int
    prompt_only: bool
    reason: str

    def needed(self, prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.integer]) -> NDArray[np.int64]:
        """Tokens of each request that count against it, int64[n]."""
        return prompt_tokens + (1 if self.prompt_only else output_tokens)


def trace_of(workload: Trace, models: tuple[str, ...], limits: tuple[TokenLimit, ...]) -> Selection:
    """The requests of a `workload`; their `model` is an index into `models`. The last ones used are kept.

    Args:
        workload: with an absolute path.
        models: names of the scenario's models.
        limits: on the tokens of a request.

    Raises:
        InputError: the trace is wrong, names a model that is none of `models`, has a request beyond a limit that is not
            to be dropped, lasts too long, or no request is left.
    """
    return _use(workload, models, limits, read_trace(workload.path, workload.format))


@lru_cache(maxsize=2)
def _use(workload: Trace, models: tuple[str, ...], limits: tuple[TokenLimit, ...], whole: TraceRows) -> Selection:
    rows = _with_models(whole, models, workload)
    too_long = _too_long(rows, limits) if workload.too_long == "drop" else None
    selection = select(rows, _window(workload), workload.path, too_long)
    refuse_too_late(selection, workload.path)
    _refuse_too_long(selection.rows, limits, workload)
    return selection


def arrivals_of(workload: Trace) -> NDArray[np.float64]:
    """When the requests of a `workload` arrive, in seconds, float64[n], of rounds of a session all with the first one.

    Those that are too long are not left out.

    Args:
        workload: with an absolute path.

    Raises:
        InputError: the trace is wrong, or no request is left.
    """
    return select(read_trace(workload.path, workload.format), _window(workload), workload.path).rows.arrival_s


def _window(workload: Trace) -> Window:
    return Window(
        workload.start_s, workload.duration_s, workload.requests, workload.rate_scale, workload.stretches or ()
    )


def _with_models(rows: TraceRows, models: tuple[str, ...], workload: Trace) -> TraceRows:
    if rows.model is None and isinstance(workload.models, dict):
        column = FORMATS[workload.format].model
        message = f"the trace has no column {column}, must have one as workload.models says what its names mean"
        raise InputError(message, workload.path, 1)
    if rows.model is None or workload.models == "popularity":
        return replace(rows, model=None, names=())
    index = {name: i for i, name in enumerate(models)}
    if isinstance(workload.models, dict):
        known = {name: index[model] for name, model in workload.models.items()}
        expected = f"one of the names in workload.models: {clipped_list(known)}"
    else:
        known = index
        expected = f"a model of the scenario ({clipped_list(index)}) or mapped to one by workload.models"
    of_name = np.array([known.get(name, -1) for name in rows.names], np.int64)
    model = of_name[rows.model]
    if (model < 0).any():
        row = np.flatnonzero(model < 0)[rows.line[model < 0].argmin()]
        name = clipped(rows.names[rows.model[row]])
        message = f"{FORMATS[workload.format].model} is '{name}', must be {expected}"
        raise InputError(message, workload.path, int(rows.line[row]))
    return replace(rows, model=model, names=models)


def _too_long(rows: TraceRows, limits: Sequence[TokenLimit]) -> Mapping[str, NDArray[np.bool_]]:
    """By the limit that they exceed, which requests do not fit."""
    found: dict[str, NDArray[np.bool_]] = {}
    for limit in limits:
        needed = limit.needed(rows.prompt_tokens, rows.output_tokens)
        found[f"of more than {limit.tokens} tokens ({limit.reason})"] = needed > limit.tokens
    return found


def _refuse_too_long(rows: TraceRows, limits: Sequence[TokenLimit], workload: Trace) -> None:
    for limit in limits:
        needed = limit.needed(rows.prompt_tokens, rows.output_tokens)
        too_long = needed > limit.tokens
        if too_long.any():
            row = int(too_long.argmax())
            kind = "prompt + first token" if limit.prompt_only else "prompt + output"
            message = f"the request has {needed[row]} tokens ({kind}), must have at most {limit.tokens}: {limit.reason}"
            hint = "; workload.too_long: drop leaves such requests out"
            raise InputError(message + hint, workload.path, int(rows.line[row]))
