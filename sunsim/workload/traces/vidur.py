"""``vidur``: the traces that vidur replays, https://github.com/microsoft/vidur.

Columns ``arrived_at`` (seconds), ``num_prefill_tokens``, ``num_decode_tokens``. One model.
"""

from __future__ import annotations

from sunsim.workload.traces.rows import MAX_CLOCK_S
from sunsim.workload.traces.table import Seconds, Table

VIDUR = Table(Seconds("arrived_at", MAX_CLOCK_S), "num_prefill_tokens", "num_decode_tokens")
