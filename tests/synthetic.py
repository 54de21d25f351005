"""A made-up profile of round numbers, for tests that need one but not its values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BATCHES = [1, 2, 4, 8, 16, 17, 32, 33, 64, 65, 128, 129, 192, 193, 256]
CONTEXTS = [128, 1024, 4096, 8192]
PREFILLS = [(1, 16), (1, 512), (1, 1024), (1, 4096), (1, 8192), (2, 512), (2, 4096), (8, 1024)]


def _stats(step_ms: float) -> dict[str, Any]:
    return {
        "step_ms_median": step_ms,
        "step_ms_mean": step_ms,
        "step_ms_p10": step_ms,
        "step_ms_p90": step_ms,
        "step_ms_min": step_ms,
        "steps": 20,
    }


def synthetic_profile(**changes: Any) -> dict[str, Any]:
    """The JSON document of a profile: a decode step takes ``7 ms + 20 us a request + 40 ns a context token``."""
    document: dict[str, Any] = {
        "schema_version": 1,
        "gpu": "test-gpu",
        "card": "Test GPU",
        "memory_bandwidth_gb_s": 3352.0,
        "date": "2026-01-01T00:00:00Z",
        "model": "llama-3.1-8b",
        "variant": "bf16",
        "versions": {"vllm": "0.24.0"},
        "engine_args": {
            "kv_connector": "ArrivedKVConnector",
            "max_num_seqs": 256,
            "max_num_batched_tokens": 8192,
            "max_model_len": 16384,
            "gpu_memory_utilization": 0.85,
        },
        "num_gpu_blocks": 25_000,
        "block_size": 16,
        "cudagraph_capture_sizes": [1, 2, 4, *range(8, 257, 8)],
        "weight_bytes": 16_060_522_496,
        "streamed_weight_bytes": 15_009_849_344,
        "kv_bytes_per_token": 131_072,
        "decode_points": [
            {
                "batch": batch,
                "context_tokens": batch * context,
                "lengths": "uniform",
                "run": 0,
                **_stats(7 + 0.02 * batch + 4e-5 * batch * context),
            }
            for batch in BATCHES
            for context in CONTEXTS
            if batch * context <= 400_000
        ],
        "prefill_points": [
            {
                "prompts": prompts,
                "new_tokens": prompts * length,
                "attended_pairs": prompts * length * (length + 1) / 2,
                **_stats(8 + 0.02 * prompts * length + 8e-7 * prompts * length * (length + 1) / 2),
            }
            for prompts, length in PREFILLS
        ],
        "mixed_points": [],
        "join_points": [],
        "leave_points": [],
        "first_token_points": [],
    }
    return document | changes


def drafting_profile(k: int, method: str = "eagle", **changes: Any) -> dict[str, Any]:
    """The same measured with `k` drafts a request, 33 layers in place of 32.

    A decode step takes ``7 ms + 1 ms a draft + 20 us a token computed + 41.25 ns a context token``.
    """
    plain = synthetic_profile()
    decode_points = [
        point | _stats(7 + k + 0.02 * point["batch"] * (k + 1) + 4.125e-5 * point["context_tokens"])
        for point in plain["decode_points"]
    ]
    sizes = sorted(
        {-(-size // (k + 1)) * (k + 1) for size in [*plain["cudagraph_capture_sizes"], *range(272, 513, 16)]}
    )
    drafted = {"method": method, "num_speculative_tokens": k}
    return (
        plain
        | {
            "engine_args": plain["engine_args"] | {"speculative_config": drafted},
            "num_gpu_blocks": 24_000,
            "cudagraph_capture_sizes": [size for size in sizes if size <= 512],
            "weight_bytes": plain["weight_bytes"] + 486_539_264,
            "kv_bytes_per_token": 135_168,
            "decode_points": decode_points,
        }
        | changes
    )


def write_family(folder: Path, *ks: int, method: str = "eagle", name: str = "synthetic.json", **changes: Any) -> Path:
    """Writes the profile without drafts, changed, and beside it those with each of the numbers of drafts; the former's path."""
    path = folder / name
    (folder / "drafts").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(synthetic_profile(**changes)))
    for k in ks:
        file = folder / "drafts" / f"{path.stem}-{method}-k{k}.json"
        file.write_text(json.dumps(drafting_profile(k, method, **changes)))
    return path
