"""vLLM's NixlConnector, which also writes down how long each transfer took."""

import time
from typing import TYPE_CHECKING, Any

from vllm.distributed.kv_transfer.kv_connector.v1.nixl import NixlConnector

from profiler.transfers import append_transfer

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
    from vllm.v1.kv_cache_interface import KVCacheConfig


class TimedNixlConnector(NixlConnector):  # type: ignore[misc]
    """Nothing else differs."""

    def __init__(self, vllm_config: "VllmConfig", role: "KVConnectorRole", kv_cache_config: "KVCacheConfig") -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        if self.connector_worker is None:
            return
        agent = self.connector_worker.nixl_wrapper
        inherited = agent.get_xfer_telemetry

        def get_xfer_telemetry(handle: Any) -> Any:
            """Asked for once a transfer, when it is seen to be done; Nixl's times are microseconds."""
            told = inherited(handle)
            append_transfer(
                (time.monotonic(), told.totalBytes, told.xferDuration / 1e6, told.postDuration / 1e6, told.descCount)
            )
            return told

        agent.get_xfer_telemetry = get_xfer_telemetry
