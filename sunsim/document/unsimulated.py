"""What people ask a scenario for that is not simulated, and where the documents say why, and what comes close."""

PAGE = "docs/assumptions.md"

NOT_SIMULATED = {
    "tensor_parallel_size": "parallelism",
    "pipeline_parallel_size": "parallelism",
    "data_parallel_size": "parallelism",
    "decode_context_parallel_size": "parallelism",
    "enable_expert_parallel": "experts",
    "num_experts": "experts",
    "moe": "experts",
    "cpu_offload_gb": "offloading",
    "swap_space": "offloading",
    "kv_offloading_size": "offloading",
    "kv_offloading_backend": "offloading",
    "scheduling_policy": "priorities",
    "priority": "priorities",
    "priorities": "priorities",
    "failures": "failures",
}
"""By a key of a scenario, or a value of `kind`: the anchor in `PAGE`."""


def reference(word: object) -> str | None:
    """Where a word that is not simulated is explained; None for any other."""
    anchor = NOT_SIMULATED.get(word) if isinstance(word, str) else None
    return anchor and f"{PAGE}#{anchor} says why, and what comes close"
