"""The lengths that meet in a scenario's batches."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sunsim.latency.attention import LengthMix
from sunsim.workload.lengths import draw_lengths
from sunsim.workload.traces.of_scenario import trace_of

if TYPE_CHECKING:
    from sunsim.scenario.blocks import Scenario
    from sunsim.workload.blocks import Lengths

DRAWS = 2000
SEED = 20_261_125


def length_mix(scenario: Scenario) -> LengthMix:
    """Of the scenario's law, not of its seed's requests, so that all seeds share one step-time model."""
    workload = scenario.workload
    if workload.kind == "trace":
        rows = trace_of(scenario, workload).rows
        return LengthMix.of(rows.prompt_tokens, rows.output_tokens)
    return _drawn(workload.lengths)


@lru_cache(maxsize=8)
def _drawn(lengths: Lengths) -> LengthMix:
    draws = np.random.default_rng(SEED).random((2, DRAWS))
    return LengthMix.of(*draw_lengths(lengths, *draws))
