"""The rounds of sessions on a live cluster beside their simulation: what each got, and what was found and moved for it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sunsim.metrics.rows import Bools, Floats, Requests, Window
from sunsim.validation.figures import Figure, change_percent, known
from sunsim.validation.worker_figures import ROUNDS

TTFT, TPOT, CACHED, MOVED = "mean_ttft_ms", "mean_tpot_ms", "cached_share", "mean_moved_tokens"


@dataclass(frozen=True, slots=True)
class ComparedRound:
    """One round of all sessions, or the later ones together.

    Attributes:
        name: of `ROUNDS`.
        requests: how many it has.
        figures: latencies; the share of the prompts' tokens that the worker which computed them had cached, in percent,
            its error in percentage points; and the tokens whose KV was moved for a request.
    """

    name: str
    requests: int
    figures: list[Figure]


def compared_rounds(actual: pd.DataFrame, simulated: pd.DataFrame, window: Window) -> tuple[ComparedRound, ...]:
    """Round by round, of the requests that really came inside the window.

    Args:
        actual, simulated: rows of the results contract with the columns of sessions, of the same requests in one order.
    """
    number = np.minimum(actual["round"].to_numpy(np.int64), len(ROUNDS) - 1)
    within = window.holds(actual["arrival_s"].to_numpy(np.float64))
    found = []
    for i, name in enumerate(ROUNDS):
        own = within & (number == i)
        if own.any():
            figures = [
                Figure(tag, real, model, _error(tag, model, real))
                for (tag, real), model in zip(_means(actual, own).items(), _means(simulated, own).values(), strict=True)
            ]
            found.append(ComparedRound(name, int(own.sum()), figures))
    return tuple(found)


def _means(rows: pd.DataFrame, own: Bools) -> dict[str, float | None]:
    requests = Requests.from_rows(rows).where(own)
    cached, moved, prompts = (
        rows[name].to_numpy(np.float64)[own] for name in ("cached_tokens", "moved_tokens", "prompt_tokens")
    )
    return {
        TTFT: _mean(requests.ttft_s) * 1000,
        TPOT: known(_mean(requests.tpot_s) * 1000),
        CACHED: float(cached.sum() / prompts.sum()) * 100,
        MOVED: _mean(moved),
    }


def _mean(values: Floats) -> float:
    """Of those that have one."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _error(tag: str, simulated: float | None, actual: float | None) -> float | None:
    if tag == CACHED and simulated is not None and actual is not None:
        return simulated - actual
    return change_percent(simulated, actual)
