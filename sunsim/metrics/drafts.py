"""What drafting gave: tokens a step and gaps between bursts; there only where workers of any arm of a run draft tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sunsim.metrics.rows import Floats, Requests, Window
from sunsim.metrics.serving import Figures, per, statistics
from sunsim.records import ArmResult, WorkerRecord

REQUEST_ITL = ("median", "p99")


@dataclass(frozen=True, slots=True)
class Drafted(Requests):
    """What was drafted for requests, and in how many bursts their tokens came, in the order of an arm's rows.

    Attributes:
        bursts: steps in which tokens of each came out; 0 of those that have not finished.
        drafts, draft_tokens, accepted_tokens: steps that checked drafts, the tokens drafted in them and the accepted ones.
    """

    bursts: Floats
    drafts: Floats
    draft_tokens: Floats
    accepted_tokens: Floats

    @property
    def itl_s(self) -> Floats:
        """Of each request its mean gap between bursts, last - first token over their number less one; NaN without a gap."""
        gaps = np.where(self.finished & (self.bursts > 1), self.bursts - 1, np.nan)
        return (self.last_token_s - self.first_token_s) / gaps


def add_drafts(summary: Mapping[str, Any], arms: Sequence[ArmResult]) -> None:
    """Adds what was drafted to the arms of a summary, to their models and to their workers.

    Args:
        summary: of `arms`, in their order.
        arms: as simulated; those whose rows do not say what was drafted stay as they are.
    """
    window = Window(**summary["window"])
    for entry, arm in zip(summary["arms"].values(), arms, strict=True):
        if "drafts" not in arm.rows:
            continue
        drafted = Drafted.from_rows(arm.rows)
        inside = window.holds(drafted.arrival_s)
        for worker in arm.workers:
            entry["workers"][worker.name].update(_counted([worker]))
        entry.update(_counted(arm.workers), **itl(drafted.where(inside)))
        for model, own in entry["models"].items():
            of_model = (arm.rows["model"] == model).to_numpy(np.bool_)
            own.update(acceptance(drafted.where(of_model)), **itl(drafted.where(of_model & inside)))


def acceptance(drafted: Drafted) -> Figures:
    """Drafts of these requests, and what was accepted of them; what is not defined is None."""
    columns = (drafted.drafts, drafted.draft_tokens, drafted.accepted_tokens)
    return _rates(*(int(column.sum()) for column in columns))


def itl(drafted: Drafted) -> Figures:
    """Gaps between bursts in milliseconds: the mean of all gaps, and quantiles of the requests' own means."""
    own_s = drafted.itl_s
    known = ~np.isnan(own_s)
    between_s = (drafted.last_token_s - drafted.first_token_s)[known]
    mean_s = per(float(between_s.sum()), float((drafted.bursts[known] - 1).sum()))
    found = statistics(own_s * 1000, REQUEST_ITL)
    return {
        "mean_itl_ms": None if mean_s is None else 1000 * mean_s,
        **{f"{name}_request_itl_ms": value for name, value in found.items()},
    }


def _counted(workers: Sequence[WorkerRecord]) -> Figures:
    """What these workers counted, as vLLM's metrics do: over the whole run."""
    drafts = sum(worker.num_drafts for worker in workers)
    drafted = sum(worker.num_draft_tokens for worker in workers)
    longest = max((len(worker.num_accepted_tokens_per_pos) for worker in workers), default=0)
    accepted = [
        sum(worker.num_accepted_tokens_per_pos[i] for worker in workers if i < len(worker.num_accepted_tokens_per_pos))
        for i in range(longest)
    ]
    by_position = [per(number, drafts) for number in accepted]
    return {**_rates(drafts, drafted, sum(accepted)), "acceptance_rate_per_pos": by_position if drafts else None}


def _rates(drafts: int, drafted: int, accepted: int) -> Figures:
    given = per(accepted, drafts)
    return {
        "num_drafts": drafts,
        "num_draft_tokens": drafted,
        "num_accepted_tokens": accepted,
        "mean_acceptance_length": None if given is None else 1 + given,
        "draft_acceptance_rate": per(accepted, drafted),
    }
