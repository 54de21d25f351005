"""What to simulate, read from YAML; every complaint names file and line.

`load_scenario` reads, checks and completes a file and looks its names up; `resolved` writes it back with every default
explicit. What a file may say is in `sunsim.scenario.blocks` and `sunsim.workload.blocks`, what it is once loaded in
`sunsim.scenario.scenario`, `sunsim.scenario.arms` and `sunsim.scenario.worker_pool`.
"""

from sunsim.scenario.allocation import allocate
from sunsim.scenario.arms import Arm
from sunsim.scenario.blocks import Sweep, Transfer
from sunsim.scenario.loading import checked, load_scenario, read_source, resolved
from sunsim.scenario.requests import build_requests
from sunsim.scenario.scenario import Scenario
from sunsim.scenario.worker_pool import Pool
from sunsim.workload.blocks import Synthetic, Trace

__all__ = [
    "Arm",
    "Pool",
    "Scenario",
    "Sweep",
    "Synthetic",
    "Trace",
    "Transfer",
    "allocate",
    "build_requests",
    "checked",
    "load_scenario",
    "read_source",
    "resolved",
]
