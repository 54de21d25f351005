"""vLLM's NixlConnector, which also writes down how long each transfer took, and takes KV as arrived where it may.

A request that is told where its KV is fetches it. A `decode-` request that is told nothing counts as in
`profiler.connector`: so one engine start has a profile, what goes on beside transfers, and runs.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.distributed.kv_transfer.kv_connector.v1.nixl import NixlConnector

from profiler.request_ids import kv_arrived
from profiler.transfers import Transfer, append_transfer

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.request import Request


@dataclass(slots=True)
class _Posted:
    """What the host has done for a transfer so far; seconds."""

    begin_s: float
    host_s: float = 0.0
    look_s: float = 0.0
    looks: int = 0


class TimedNixlConnector(NixlConnector):  # type: ignore[misc]
    """Transfers are vLLM's own."""

    def __init__(self, vllm_config: "VllmConfig", role: "KVConnectorRole", kv_cache_config: "KVCacheConfig") -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        if self.connector_worker is not None:
            _time(self.connector_worker)

    def get_num_new_matched_tokens(self, request: "Request", num_computed_tokens: int) -> tuple[int | None, bool]:
        """(tokens whose KV comes from elsewhere, whether it is still to be moved)."""
        if request.kv_transfer_params or request.num_preemptions or not kv_arrived(request.request_id):
            matched: tuple[int | None, bool] = super().get_num_new_matched_tokens(request, num_computed_tokens)
            return matched
        return max(0, request.num_tokens - num_computed_tokens - 1), False


def _time(worker: Any) -> None:
    """Has the connector of a worker's process write down its transfers."""
    agent = worker.nixl_wrapper
    read, transfer, look, told_of = (
        worker._read_blocks_for_req,  # all that the host does to begin a transfer
        agent.transfer,
        agent.check_xfer_state,
        agent.get_xfer_telemetry,
    )
    posted: dict[int, _Posted] = {}
    beginning: list[_Posted] = []

    def timed_read(*args: Any, **kwargs: Any) -> None:
        begin_s = time.monotonic()
        beginning.append(_Posted(begin_s))
        read(*args, **kwargs)
        beginning.pop().host_s = time.monotonic() - begin_s

    def timed_transfer(handle: Any, *args: Any, **kwargs: Any) -> Any:
        if beginning:
            posted[id(handle)] = beginning[-1]
        return transfer(handle, *args, **kwargs)

    def timed_look(handle: Any) -> Any:
        begin_s = time.monotonic()
        state = look(handle)
        if own := posted.get(id(handle)):
            own.look_s += time.monotonic() - begin_s
            own.looks += 1
        return state

    def noted(handle: Any) -> Any:
        """Asked for once a transfer, when it is seen to be done; Nixl's times are microseconds."""
        told, end_s = told_of(handle), time.monotonic()
        own = posted.pop(id(handle), _Posted(end_s - told.xferDuration / 1e6))
        moved = told.totalBytes, told.xferDuration / 1e6, told.postDuration / 1e6, told.descCount
        append_transfer(Transfer(end_s, *moved, own.begin_s, own.host_s, own.look_s, own.looks))
        return told

    worker._read_blocks_for_req = timed_read
    agent.transfer, agent.check_xfer_state, agent.get_xfer_telemetry = timed_transfer, timed_look, noted
