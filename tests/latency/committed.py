"""The measured profiles that are shipped, and their decode curves as measured."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import Profile, load_profile, profiles_root

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

PATHS = {f"{path.parent.name}/{path.stem}": path for path in sorted(profiles_root().glob("*/*.json"))}
NAMES = list(PATHS)


@cache
def profile(name: str) -> Profile:
    return load_profile(PATHS[name])


@cache
def model(name: str) -> LatencyModel:
    return LatencyModel(profile(name))


@cache
def even_model(name: str) -> LatencyModel:
    """The model without what serving adds to steady batches of even lengths."""
    found = profile(name)
    steady = [point for point in found.data.decode_points if point.lengths != "traffic"]
    return LatencyModel(replace(found, data=found.data.model_copy(update={"decode_points": steady})))


@cache
def measured_curves(name: str, run: int | None = None) -> dict[int, Curve]:
    """Contexts and step times (median over the runs, or those of one run) of each batch size, even lengths only."""
    points: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in profile(name).data.decode_points:
        if point.lengths == "uniform" and run in (None, point.run):
            points[point.batch][point.context_tokens].append(point.step_ms_median)
    return {
        batch: (np.array(sorted(at)), np.array([np.median(at[context]) for context in sorted(at)]))
        for batch, at in sorted(points.items())
    }
