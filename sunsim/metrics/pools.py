"""GPUs that the pools of an arm hold over time: those of a worker from its order to its release, used or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sunsim.metrics.rows import Floats, Requests, Window
from sunsim.metrics.serving import per
from sunsim.records import ArmResult
from sunsim.roles import Stage

STATES = ("ready", "starting", "draining", "warm")
SECONDS_AN_HOUR = 3600.0

Figures = dict[str, Any]


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


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Workers of one stage that serve the same models.

    Attributes:
        stage: as files have it.
        model: the one that it serves, ``*`` for all.
        busy_gpus: of its GPUs, those of workers with something to do, in the mean over the window.
        waits_s: of each request that arrived inside the window and went on to it, how long it waited for that while a
            worker of the pool was starting.
    """

    stage: str
    model: str
    held: Held
    elastic: bool
    busy_gpus: float
    waits_s: Floats


def add_pools(summary: Mapping[str, Any], arms: Sequence[ArmResult]) -> None:
    """Adds what their pools held to all arms of a summary, if a pool of any is elastic; GPUs of that arm become means.

    Args:
        summary: of `arms`, in their order.
        arms: as simulated.
    """
    if all(arm.sizes is None for arm in arms):
        return
    window = Window(**summary["window"])
    for entry, arm in zip(summary["arms"].values(), arms, strict=True):
        entry.update(pool_figures(arm, entry["workers"], window))
        if arm.sizes is not None:
            entry.update(_means(arm, entry))


def pool_figures(arm: ArmResult, workers: Mapping[str, Figures], window: Window) -> Figures:
    """What an arm's pools held inside the window: all of them, and under `pools` each stage's and each model's.

    Args:
        workers: the arm's entries of the summary, by name.
    """
    requests = Requests.from_rows(arm.rows)
    inside = window.holds(requests.arrival_s)
    pools = _pools(arm, requests.where(inside), arm.rows["model"].to_numpy()[inside], workers)
    of_stage: dict[str, list[Pool]] = {}
    for pool in pools:
        of_stage.setdefault(pool.stage, []).append(pool)
    found = {}
    for stage, own in of_stage.items():
        found[stage] = _entry(stage, "*", own, window)
        found |= {
            f"{stage}/{pool.model}": _entry(stage, pool.model, [pool], window) for pool in own if pool.model != "*"
        }
    return {**_held([pool.held for pool in pools], window), "pools": found}


def _means(arm: ArmResult, entry: Figures) -> Figures:
    """Of an elastic arm, what a fixed one has of its number of GPUs; its own are those that it held in the mean."""
    decode_gpus = entry["pools"].get("decode", {}).get("mean_gpus", 0.0)
    rate, decoders = entry["output_throughput_window"], [worker for worker in arm.workers if worker.role.decodes]
    places = sum(entry["workers"][worker.name]["mean_batch_share"] or 0.0 for worker in decoders)
    return {
        "decode_gpus": decode_gpus,
        "gpus": entry["mean_gpus"],
        "output_throughput_per_decode_gpu": per(rate, decode_gpus),
        "output_throughput_per_gpu": per(rate, entry["mean_gpus"]),
        "mean_decode_batch_share": per(places * decoders[0].gpus, decode_gpus)
        if decoders and rate is not None
        else None,
    }


def pool_of(entry: Mapping[str, Any], worker: Mapping[str, Any]) -> Figures:
    """The entry of a worker's pool, in an arm's entry that has pools."""
    pools: Mapping[str, Figures] = entry["pools"]
    stage, model = worker["stage"], worker["model"]
    return pools[stage if model == "*" else f"{stage}/{model}"]


def _pools(arm: ArmResult, inside: Requests, models: npt.NDArray[Any], workers: Mapping[str, Figures]) -> list[Pool]:
    """In the order of the workers; `inside` are the requests that arrived in the window, and `models` theirs."""
    sizes = {}
    if arm.sizes is not None:
        counted_as = arm.sizes["stage"].replace(Stage.COLOCATED, Stage.DECODE)
        sizes = dict(iter(arm.sizes.groupby([counted_as, "model"])))
    together: dict[tuple[str, str], list[Figures]] = {}
    for entry in workers.values():
        together.setdefault((entry["stage"], entry["model"]), []).append(entry)
    pools = []
    for (stage, model), own in together.items():
        rows, gpus = sizes.get((stage, model)), [entry["gpus"] for entry in own]
        held = Held.fixed(sum(gpus)) if rows is None else Held.of_sizes(rows, gpus[0])
        busy = sum(entry["gpus"] * (entry["utilisation"] or 0.0) for entry in own)
        waits_s = _wait_while_starting_s(stage, held, inside if model == "*" else inside.where(models == model))
        pools.append(Pool(stage, model, held, rows is not None, busy, waits_s))
    return pools


def _entry(stage: str, model: str, pools: Sequence[Pool], window: Window) -> Figures:
    held = _held([pool.held for pool in pools], window)
    grown, shrunk = (sum(moves) for moves in zip(*(pool.held.moves(window) for pool in pools), strict=True))
    waits_s = np.concatenate([pool.waits_s for pool in pools])
    return {
        "stage": stage,
        "model": model,
        "elastic": any(pool.elastic for pool in pools),
        **held,
        "grown": grown,
        "shrunk": shrunk,
        "utilisation": per(sum(pool.busy_gpus for pool in pools), held["mean_gpus"]) if window.length_s else None,
        "mean_wait_while_starting_ms": float(waits_s.mean()) * 1000 if len(waits_s) else None,
    }


def _held(parts: Sequence[Held], window: Window) -> Figures:
    held = Held.total(parts)
    states = dict(zip(STATES, held.mean(window).tolist(), strict=True))
    mean = sum(states.values())
    return {
        "gpu_hours": mean * (window.end_s - window.start_s) / SECONDS_AN_HOUR,
        "mean_gpus": mean,
        "peak_gpus": held.peak(window),
        **{f"{state}_share": per(states[state], mean) for state in STATES if state != "ready"},
    }


def _wait_while_starting_s(stage: str, held: Held, requests: Requests) -> Floats:
    """How long each request waited for a pool of this stage while a worker of it was starting."""
    r = requests
    if stage == "prefill":
        waited_s = held.starting_s(r.arrival_s, r.prefill_start_s)
    else:
        waited_s = held.starting_s(
            np.fmax(r.arrival_s, r.prefill_end_s), np.fmin(r.transfer_start_s, r.decode_scheduled_s)
        )
    return waited_s[~np.isnan(waited_s)]
