"""What to simulate, read from YAML; every complaint names file and line.

`load_scenario` reads, checks and completes a file; `resolved` writes it back with every default explicit. The blocks
are in `sunsim.scenario.blocks` and `sunsim.workload.blocks`.
"""

from sunsim.scenario.allocation import allocate
from sunsim.scenario.blocks import (
    Arm,
    Measure,
    Planning,
    Pool,
    Scenario,
    Slo,
    StopAtTime,
    StopWhenFinished,
    Sweep,
    Transfer,
)
from sunsim.scenario.loading import checked, load_scenario, read_source, resolved
from sunsim.workload.blocks import Synthetic, Trace

__all__ = [
    "Arm",
    "Measure",
    "Planning",
    "Pool",
    "Scenario",
    "Slo",
    "StopAtTime",
    "StopWhenFinished",
    "Sweep",
    "Synthetic",
    "Trace",
    "Transfer",
    "allocate",
    "checked",
    "load_scenario",
    "read_source",
    "resolved",
]
