"""``burstgpt``: the BurstGPT traces, https://github.com/HPMLL/BurstGPT.

Columns ``Timestamp`` (seconds since the first midnight), ``Model`` (ChatGPT, GPT-4), ``Request tokens`` and
``Response tokens``, which is 0 where a request failed.
"""

from __future__ import annotations

from sunsim.workload.traces.rows import MAX_CLOCK_S
from sunsim.workload.traces.table import Seconds, Table

BURSTGPT = Table(Seconds("Timestamp", MAX_CLOCK_S), "Request tokens", "Response tokens", "Model")
