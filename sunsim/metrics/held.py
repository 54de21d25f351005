"""GPUs that pools hold over time: those of a worker from its order to its release, used or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sunsim.metrics.rows import Floats, Window
from sunsim.roles import Stage

STATES = ("ready", "starting", "draining", "warm")

PoolKey = tuple[str, str]
"""Stage and model of a pool as files have them; ``*`` for all models."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """GPUs held in each state, as steps.

    Attributes:
        at_s: from when on, ascending; before the first nothing is held.
        gpus: [times, states], in the order of `STATES`.
    """

    at_s: Floats
    gpus: Floats

    @classmethod
    def fixed(cls, gpus: float) -> "Held":
        """As many as ever, all of them ready."""
        return cls(np.zeros(1), np.array([[gpus, 0.0, 0.0, 0.0]]))

    @classmethod
    def of_sizes(cls, sizes: pd.DataFrame, gpus: int) -> "Held":
        """Of rows of one pool with `records.SIZE_COLUMNS`, whose workers have so many GPUs each."""
        at_s, held = sizes["at_s"].to_numpy(np.float64), sizes[list(STATES)].to_numpy(np.float64) * gpus
        last = np.append(np.diff(at_s) > 0, True)
        return cls(at_s[last], held[last])

    @classmethod
    def total(cls, parts: Sequence["Held"]) -> "Held":
        """All of several pools; there is at least one."""
        at_s = np.unique(np.concatenate([part.at_s for part in parts]))
        together: Floats = np.stack([part.at(at_s) for part in parts]).sum(axis=0)
        return cls(at_s, together)

    def at(self, time_s: Floats) -> Floats:
        """[times, states]: what is held from each of these times on."""
        place = np.searchsorted(self.at_s, time_s, side="right")
        held: Floats = np.vstack([np.zeros(len(STATES)), self.gpus])[place]
        return held

    def mean(self, window: Window) -> Floats:
        """[states]: over the window's time; of an empty window what is held then."""
        lasts_s = self._lasts_s(window)
        length_s = window.end_s - window.start_s
        mean: Floats = lasts_s @ self.gpus / length_s if length_s > 0 else self.at(np.array([window.start_s]))[0]
        return mean

    def peak(self, window: Window) -> float:
        """The most at once inside the window."""
        held = self.gpus[self._lasts_s(window) > 0]
        return float((held if len(held) else self.at(np.array([window.start_s]))).sum(axis=1).max())

    def moves(self, window: Window) -> tuple[int, int]:
        """How often workers were added inside the window, and how often told to go; those taken back are added."""
        ready, starting, draining, _ = self.gpus.T
        serving = np.diff(ready + starting)
        # A started one that joins the warm ones serves no less, and neither goes.
        staying = np.diff(self.gpus.sum(axis=1) - draining)
        inside = (self.at_s[1:] >= window.start_s) & (self.at_s[1:] < window.end_s)
        return int((inside & (serving > 0)).sum()), int((inside & (serving < 0) & (staying < 0)).sum())

    def starting_s(self, since_s: Floats, until_s: Floats) -> Floats:
        """Of each of these intervals, the seconds in which a worker was starting; NaN where one has no end."""
        knots = np.append(self.at_s, np.fmax.reduce(until_s, initial=self.at_s[-1]))
        starts = self.gpus[:, STATES.index("starting")] > 0
        known = np.concatenate([[0.0], np.cumsum(np.where(starts, np.diff(knots), 0.0))])
        spent: Floats = np.interp(until_s, knots, known) - np.interp(since_s, knots, known)
        return spent

    def _lasts_s(self, window: Window) -> Floats:
        """[times]: how long each step lasts inside the window."""
        lasts_s: Floats = np.diff(np.clip(np.append(self.at_s, np.inf), window.start_s, window.end_s))
        return lasts_s


def held_by_pool(workers: Mapping[str, Mapping[str, Any]], sizes: pd.DataFrame | None) -> dict[PoolKey, Held]:
    """What each pool of an arm holds, in the order of its workers.

    Args:
        workers: the entries of a summary.
        sizes: of its elastic pools, with `records.SIZE_COLUMNS`; None if it has none.
    """
    of_pool = sizes_by_pool(sizes)
    gpus: dict[PoolKey, list[int]] = {}
    for entry in workers.values():
        gpus.setdefault((entry["stage"], entry["model"]), []).append(entry["gpus"])
    return {
        key: Held.of_sizes(of_pool[key], own[0]) if key in of_pool else Held.fixed(sum(own))
        for key, own in gpus.items()
    }


def sizes_by_pool(sizes: pd.DataFrame | None) -> dict[PoolKey, pd.DataFrame]:
    """The rows of each elastic pool; workers that do both count as decode."""
    if sizes is None:
        return {}
    counted_as = sizes["stage"].replace(Stage.COLOCATED, Stage.DECODE)
    return {(str(stage), str(model)): rows for (stage, model), rows in sizes.groupby([counted_as, "model"])}
