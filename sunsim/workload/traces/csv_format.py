"""``csv``, this project's own: `sunsim split` and `sunsim trace convert` write it, `profiler replay` plays it.

Columns ``arrival_s`` (seconds, not falling), ``prompt_tokens``, ``output_tokens`` (whole, at least 1) and maybe
``model``.
"""

from __future__ import annotations

from sunsim.clock import MAX_S
from sunsim.workload.traces.table import Seconds, Table

CSV = Table(Seconds("arrival_s", MAX_S), "prompt_tokens", "output_tokens", "model", least_tokens=1, sorted=True)
