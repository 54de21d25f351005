"""Scenario files for tests: a profile of one decode and one prefill step, and a scenario that uses it."""

from __future__ import annotations

import json
from pathlib import Path

STATS = {"step_ms_median": 10.0, "step_ms_mean": 10.0, "step_ms_p10": 10.0, "step_ms_p90": 10.0, "steps": 9}
PROFILE = {
    "schema_version": 1,
    "gpu": "test-gpu",
    "card": "Test GPU",
    "model": "test-8b",
    "variant": "bf16",
    "engine_args": {
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "max_model_len": 16384,
        "gpu_memory_utilization": 0.85,
    },
    "num_gpu_blocks": 24000,
    "block_size": 16,
    "cudagraph_capture_sizes": [1, 2, 4, 8],
    "weight_bytes": 16_000_000_000,
    "streamed_weight_bytes": 15_000_000_000,
    "kv_bytes_per_token": 131_072,
    "memory_bandwidth_gb_s": 3350.0,
    "decode_points": [{"batch": 1, "context_tokens": 1024, **STATS}],
    "prefill_points": [{"prompts": 1, "new_tokens": 1024, "attended_pairs": 524_800, **STATS}],
}

SCENARIO = """\
name: zipf3
seed: 7
models: {count: 4, popularity: {kind: zipf, alpha: 3.0}}
workload:
  kind: synthetic
  duration_s: 120
  arrivals:
    kind: poisson
    rate_rps: 60
  lengths: {kind: azure-conv}
slo: {ttft_ms: 2000, tpot_ms: 25}
measure: {warmup_s: 10, until: last-arrival}
stop: {when: all-finished}
arms:
  - name: isolated
    prefill: {profile: tiny.json, policy: isolated, workers: {m1: 3, m2: 1, m3: 1, m4: 1}}
    decode:
      profile: tiny.json
      policy: isolated
      workers: 9
      allocation: proportional
  - name: sun
    decode:
      profile: tiny.json
      policy: shared
      router: least-tokens
      workers: 4
transfer: {bandwidth_gbit_s: 400, latency_ms: 0.1}
first_token: decode
"""

TRACE = """\
name: replay
models: [{name: a, weight: 3}, {name: b, weight: 1}]
workload: {kind: trace, format: csv, path: trace.csv}
arms:
  - name: sun
    decode: {profile: tiny.json, policy: shared, workers: 1}
"""


def write_scenario(folder: Path, text: str = SCENARIO) -> Path:
    """Writes the scenario and its profile into `folder`; the scenario's path."""
    (folder / "tiny.json").write_text(json.dumps(PROFILE))
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


def write_trace(folder: Path, trace: str) -> Path:
    """Writes a scenario that replays the CSV text `trace`; the scenario's path."""
    (folder / "trace.csv").write_text(trace)
    return write_scenario(folder, TRACE)
