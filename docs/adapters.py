"""The table of LoRA adapters in docs/profiling.md, for ``python -m docs.refresh adapters``."""

from __future__ import annotations

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_named

PROFILES = {
    "without": "bf16",
    "4 adapters": "lora-r16-a4",
    "16 adapters": "lora-r16-a16",
    "64 adapters": "lora-r16-a64",
}
BATCHES = (1, 4, 16, 64, 128, 256)
CONTEXT = 1024


def adapters() -> dict[str, str]:
    """Milliseconds of steady decode steps of an H200, without LoRA adapters and with some."""
    times = [LatencyModel(load_named(f"h200-141gb/llama-3.1-8b-{name}")) for name in PROFILES.values()]
    cells = [("requests", *PROFILES), ("---",) * (1 + len(PROFILES))]
    cells += [(str(n), *(f"{each.decode_step_ms(n, n * CONTEXT):.1f}" for each in times)) for n in BATCHES]
    return {"adapters": "".join(f"| {' | '.join(row)} |\n" for row in cells)}
