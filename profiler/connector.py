"""KV connector under which one engine is a prefill worker for some requests and a decode worker for others."""

from typing import TYPE_CHECKING, Any

from vllm.distributed.kv_transfer.kv_connector.v1.decode_bench_connector import (
    DecodeBenchConnector,
    DecodeBenchConnectorMetadata,
)

from profiler.request_ids import kv_arrived

if TYPE_CHECKING:
    from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata
    from vllm.forward_context import ForwardContext
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request


class ArrivedKVConnector(DecodeBenchConnector):  # type: ignore[misc]
    """Prompts of `decode-` requests count as received, at no cost; all others are prefilled."""

    def get_num_new_matched_tokens(self, request: "Request", num_computed_tokens: int) -> tuple[int, bool]:
        """(tokens whose KV counts as received, False: they are there at once)."""
        # A preempted request has lost what it received; a real decode worker computes it again, and so does this one.
        if request.num_preemptions or not kv_arrived(request.request_id):
            return 0, False
        return max(0, request.num_tokens - num_computed_tokens - 1), False

    def update_state_after_alloc(self, request: "Request", blocks: "KVCacheBlocks", num_external_tokens: int) -> None:
        """Nothing to remember: no block is filled."""

    def build_connector_meta(self, scheduler_output: "SchedulerOutput") -> "KVConnectorMetadata":  # noqa: ARG002
        """Empty: the worker has nothing to load."""
        return DecodeBenchConnectorMetadata(reqs_to_fill={})

    def start_load_kv(self, forward_context: "ForwardContext", **kwargs: Any) -> None:
        """Filling the blocks would add its own time to the step that admits a request."""
