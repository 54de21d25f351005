"""What conversations got: how long they took, and what their rounds found in caches; there only where a run has sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sunsim.metrics.rows import Floats, Requests, Window
from sunsim.metrics.serving import Figures, latency, per, statistics
from sunsim.records import ArmResult

STATISTICS = ("mean", "median", "p99")
COUNTERS = ("prefix_cache_queries", "prefix_cache_hits")
"""Of a worker, under vLLM's names."""


@dataclass(frozen=True, slots=True)
class Rounds(Requests):
    """The rounds of an arm's sessions, in the order of its rows.

    Attributes:
        round: of its session, from 0.
        cached_tokens: of each prompt, those found in the cache of the worker that computed it.
        pulled_tokens: of each prompt, those that this worker got from a decode worker.
        history_tokens: of each prompt, those that the round before it had in its prompt or answer.
    """

    round: Floats
    cached_tokens: Floats
    pulled_tokens: Floats
    history_tokens: Floats

    @property
    def cached_share(self) -> float | None:
        """Of the tokens of these prompts."""
        return per(float(self.cached_tokens.sum()), float(self.prompt_tokens.sum()))

    @property
    def recomputed_share(self) -> float | None:
        """Of the tokens of these rounds' histories; what is found or pulled is taken for history first."""
        lacking = np.maximum(self.history_tokens - self.cached_tokens - self.pulled_tokens, 0.0)
        return per(float(lacking.sum()), float(self.history_tokens.sum()))


def has_sessions(rows: pd.DataFrame) -> bool:
    """Whether the rows of an arm are rounds of sessions."""
    return "session" in rows


def add_sessions(summary: Mapping[str, Any], arms: Sequence[ArmResult], kv_bytes: Mapping[str, int]) -> None:
    """Adds what is known of sessions to the arms of a summary, to their models and to their workers.

    Args:
        summary: of `arms`, in their order.
        arms: as simulated; those without sessions stay as they are.
        kv_bytes: of an arm, by name, the bytes that a token's KV takes.
    """
    window = Window(**summary["window"])
    for (name, entry), arm in zip(summary["arms"].items(), arms, strict=True):
        if not has_sessions(arm.rows):
            continue
        rounds = Rounds.from_rows(arm.rows)
        inside = window.holds(rounds.arrival_s)
        entry.update(shares(rounds.where(inside)), **durations(arm.rows, window), rounds=by_round(rounds.where(inside)))
        entry["moved_gb"] = int(arm.rows["moved_tokens"].sum()) * kv_bytes[name] / 1e9
        for model, own in entry["models"].items():
            own.update(shares(rounds.where(inside & (arm.rows["model"] == model).to_numpy(np.bool_))))
        for tag in COUNTERS:
            for worker in arm.workers:
                entry["workers"][worker.name][tag] = getattr(worker, tag)
            entry[tag] = sum(getattr(worker, tag) for worker in arm.workers)


def shares(rounds: Rounds) -> Figures:
    """Of those that finished, what was found in caches, and what was computed again."""
    done = rounds.where(rounds.finished)
    return {"cached_share": done.cached_share, "recomputed_share": done.recomputed_share}


def by_round(rounds: Rounds) -> list[Figures]:
    """An entry for each round that any session came to, in order."""
    found = []
    for number in np.unique(rounds.round).tolist():
        own = rounds.where(rounds.round == number)
        ttft_ms = own.where(own.finished).ttft_s * 1000
        entry = {"round": int(number), "window_requests": len(own), **latency("ttft", ttft_ms, STATISTICS)}
        found.append(entry | shares(own))
    return found


def durations(rows: pd.DataFrame, window: Window) -> Figures:
    """How long sessions took that began inside the window, and of which no round that came is unfinished.

    And whether as many rounds came inside as will when as many sessions end as begin.
    """
    done = (rows["outcome"] == "finished").to_numpy(np.bool_)
    columns = {"begin_s": rows["arrival_s"], "end_s": rows["last_token_s"], "whole": done, "rounds": rows["round"]}
    kinds = {"begin_s": "min", "end_s": "max", "whole": "all", "rounds": "size"}
    spans = pd.DataFrame(columns).groupby(rows["session"]).agg(kinds)
    begin_s, end_s, rounds = (spans[name].to_numpy(np.float64) for name in ("begin_s", "end_s", "rounds"))
    begun = window.holds(begin_s)
    took_s = (end_s - begin_s)[begun & spans["whole"].to_numpy(np.bool_)]
    figures = {f"{name}_session_duration_s": value for name, value in statistics(took_s, STATISTICS).items()}
    came = window.holds(rows["arrival_s"].to_numpy(np.float64)).sum()
    return {"sessions": int(begun.sum()), **figures, "steady_share": per(float(came), float(rounds[begun].sum()))}
