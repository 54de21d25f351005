"""The connector of workers on fake GPUs in a cluster with prefill: what prefill has computed counts as arrived at once."""

from typing import Any

from profiler import connector


class ArrivedKVConnector(connector.ArrivedKVConnector):
    """Says where a prompt's KV is when that is asked to be kept for decode, and keeps nothing."""

    def request_finished_all_groups(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
        """(False: the blocks are free, what the decode worker is to be told)."""
        kept, _ = super().request_finished_all_groups(request, block_ids)
        wanted = (request.kv_transfer_params or {}).get("do_remote_decode")
        return kept, {"do_remote_prefill": True} if wanted else None

    def request_finished(self, request: Any, block_ids: Any) -> tuple[bool, dict[str, Any] | None]:
        """The same."""
        return self.request_finished_all_groups(request, (block_ids,))
