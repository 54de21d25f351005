"""Whether pools of some sizes hold: what the simulations of all seeds say together, and how `plan.json` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sunsim.metrics.slo import LIMITS
from sunsim.plan.conditions import Conditions
from sunsim.plan.knobs import Knob
from sunsim.plan.search import Sizes
from sunsim.points.estimate import estimate
from sunsim.points.outcome import Row
from sunsim.roles import Role

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Met:
    """How the requests of one model, or of all, fare over the seeds that were simulated.

    Attributes:
        requests: those of the measured window.
        missed: of these, how many miss their SLO; as far as a run went that was ended early.
        late: how many miss each limit, by its key.
        allowed: how many of all seeds' requests may miss.
        beyond: windows in which more miss than may.
        by_seed: the share that meets the SLO, with each seed that has requests.
        worst: the worst window with any seed: its `share`, `start_s` and `seed`; None where no run with such requests
            came to its end.
    """

    requests: int
    missed: int
    late: dict[str, int]
    allowed: int
    beyond: int
    by_seed: list[float]
    worst: dict[str, Any] | None

    @classmethod
    def of(cls, rows: Sequence[Row], allowed: int, first_seed: int) -> Met:
        """Of one entry of each seed's row, in order."""
        total = {key: sum(row[key] for row in rows) for key in ("requests", "missed", "beyond")}
        late = {key: sum(row[key] for row in rows) for key in LIMITS}
        by_seed = [1 - row["missed"] / row["requests"] for row in rows if row["requests"]]
        worst = [row["worst"] | {"seed": first_seed + n} for n, row in enumerate(rows) if row["worst"]]
        known = [window for window in worst if window["share"] is not None]
        least = min(known, key=lambda window: float(window["share"]), default=None)
        return cls(**total, late=late, allowed=allowed, by_seed=by_seed, worst=least)

    @property
    def share(self) -> float | None:
        """That meets every SLO; an upper bound where a run was ended early."""
        return 1 - self.missed / self.requests if self.requests else None

    @property
    def worst_share(self) -> float | None:
        """The same of the worst window."""
        return self.worst["share"] if self.worst else None


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """Whether sizes hold under conditions.

    Attributes:
        model: the one whose requests were simulated; None for all.
        rows: of the seeds, in order. Fewer than seeds where the first was enough to fail.
        models: how the requests of each model fare.
        together: how all of them do.
        every_window: whether each model must meet its share in every window of every seed, else over all together.
    """

    sizes: Sizes
    conditions: Conditions
    model: str | None
    rows: Sequence[Row]
    models: Mapping[str, Met]
    together: Met
    every_window: bool

    @property
    def whole(self) -> bool:
        """Whether all seeds ran to their end, so that the shares are exact and not only bounds."""
        return all(row["stopped_s"] is None for row in self.rows)

    @property
    def passes(self) -> bool:
        """No model misses more than it may, and no queue still grows when measuring ends."""
        return not any(map(self._too_many, self.models.values())) and not self.overloaded

    def _too_many(self, met: Met) -> bool:
        return met.beyond > 0 if self.every_window else met.missed > met.allowed

    def _excess(self, met: Met) -> float:
        """How far beyond what may be missed, as a share of the requests or of those of the worst window."""
        if self.every_window:
            return 1 - (1.0 if met.worst_share is None else met.worst_share)
        return (met.missed - met.allowed) / max(met.requests, 1)

    @property
    def overloaded(self) -> list[str]:
        """Models whose queue still grows when measuring ends, with at least one seed; `all` if it is none's alone."""
        return sorted({name for row in self.rows for name in row["overloaded"]})

    @property
    def worst_model(self) -> str:
        """The model that a run was ended for, or the one furthest beyond what it may miss."""
        for row in self.rows:
            if row["broke"]:
                return str(row["broke"])
        worst = max(self.models, key=lambda name: self._excess(self.models[name]))
        if self.overloaded and not self._too_many(self.models[worst]):
            queues = [name for name in self.overloaded if name in self.models]
            return max(queues or self.models, key=lambda name: self.models[name].requests)
        return worst

    @property
    def broken_slo(self) -> str:
        """Which limit its worst model misses more often, or ``queue`` if it only is overloaded."""
        worst = self.models[self.worst_model]
        if not self._too_many(worst):
            return "queue"
        return max(worst.late, key=worst.late.__getitem__).removesuffix("_ms").upper()

    @property
    def held(self) -> dict[str, dict[str, float]]:
        """GPUs that an arm with elastic pools held, by stage and of all: means over the seeds, and the most with any."""
        rows = [row["held"] for row in self.rows if "held" in row]
        return {
            stage: {
                tag: (max if tag == "peak_gpus" else fmean)(row[stage][tag] for row in rows) for tag in rows[0][stage]
            }
            for stage in (rows[0] if rows else ())
        }

    def figure(self, tag: str) -> list[float]:
        """A figure with each seed that ran to its end and has it."""
        return [row["figures"][tag] for row in self.rows if row["figures"] and row["figures"][tag] is not None]


def share(counts: Mapping[str, int]) -> float | None:
    """That meets every SLO; None of no requests."""
    return 1 - counts["missed"] / counts["requests"] if counts["requests"] else None


def attained(verdict: Verdict) -> Entry:
    """The share of requests that meet every SLO: of all and of each model, with 95 % intervals over the seeds.

    Beside each share that of the worst window, when it begins and with which seed.
    """
    met, models = verdict.together, verdict.models
    return _interval(met) | {
        **{
            key.removesuffix("_ms"): 1 - late / met.requests if met.requests else None for key, late in met.late.items()
        },
        "worst_model": min(models, key=lambda name: 1.0 if (share := models[name].share) is None else share),
        "models": {
            name: {
                "requests": own.requests,
                **_interval(own),
                "allowed_misses": own.allowed,
                "missed": own.missed,
                **{f"missed_{key.removesuffix('_ms')}": late for key, late in own.late.items()},
            }
            for name, own in models.items()
        },
    }


def _interval(met: Met) -> Entry:
    made = estimate(met.by_seed, "slo_attainment", met.requests)
    return {"share": met.share, "half_width_95": made.half_width if made else None, "worst_window": met.worst}


def figures_of(verdict: Verdict) -> Entry:
    """Means over the seeds with their intervals."""
    tags = verdict.rows[0]["figures"] or {}
    made = {tag: estimate(verdict.figure(tag), tag) for tag in tags}
    return {tag: one and {"mean": one.mean, "half_width_95": one.half_width} for tag, one in made.items()}


def broken(verdict: Verdict, to_the_end: Verdict | None = None) -> Entry:
    """What breaks first, in a verdict that fails, and how badly: as far as it went, or to the end."""
    worst, last = verdict.worst_model, to_the_end or verdict
    return {
        "passes": verdict.passes,
        "model": worst,
        "slo": verdict.broken_slo,
        "share": last.models[worst].share,
        "worst_window_share": last.models[worst].worst_share,
        "whole": last.whole,
    }


def point(verdict: Verdict, knobs: Mapping[Role, Knob]) -> Entry:
    """A line of the table of everything that was tried; `knobs` by the roles whose sizes are places of their values."""
    worst = verdict.worst_model
    fixed = {role: size for role, size in verdict.sizes.items() if role not in knobs}
    scaling = {role.stage: knob.at(verdict.sizes[role]) for role, knob in knobs.items() if role in verdict.sizes}
    return {
        "conditions": verdict.conditions.plain(),
        "model": verdict.model,
        "sizes": {f"{role.stage}/{role.serves}": size for role, size in fixed.items()},
        **({"scaling": scaling} if scaling else {}),
        "seeds": len(verdict.rows),
        "requests": verdict.together.requests,
        "share": verdict.together.share,
        "worst_model": worst,
        "worst_share": verdict.models[worst].share,
        "worst_window_share": verdict.models[worst].worst_share,
        "whole": verdict.whole,
        "stopped_s": max((row["stopped_s"] for row in verdict.rows if row["stopped_s"] is not None), default=None),
        "passes": verdict.passes,
        "broken": None if verdict.passes else verdict.broken_slo,
    }
