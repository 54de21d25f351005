"""KV connector that hands prompts' keys and values from engine to engine in files: vLLM's example, but to the token.

vLLM's ExampleConnector moves whole blocks of 16 tokens and leaves the rest, and at least two tokens, to the decode
engine, which would compute part of a prompt with the wrong weights. Here a decode engine computes a prompt's last token
alone, as with NixlConnector, and an engine that finds no KV for a request fails.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.example_connector import (
    ExampleConnector,
    ExampleConnectorMetadata,
    ReqMeta,
)

if TYPE_CHECKING:
    from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request


class PromptFilesConnector(ExampleConnector):  # type: ignore[misc]
    """Engines of `kv_role` kv_producer write, those of kv_consumer read.

    `kv_connector_extra_config`: `shared_storage_path`, a folder; `recomputed`, of an engine that writes, the last tokens
    of its prompts that the reader will compute: 1, or 0 where the reader's prompt has the first token of the response
    behind it.
    """

    def get_num_new_matched_tokens(self, request: "Request", num_computed_tokens: int) -> tuple[int, bool]:
        """(tokens whose KV is in files, False: they are there at once).

        Raises:
            RuntimeError: there are none for this prompt.
        """
        if not self._reads:
            return 0, False
        known = torch.tensor(request.prompt_token_ids[:-1])
        if not Path(self._generate_foldername_debug(known, [])).is_dir():
            msg = f"no KV of the {len(known)} tokens before the last of request {request.request_id}"
            raise RuntimeError(msg)
        return len(known) - num_computed_tokens, False

    def build_connector_meta(self, scheduler_output: "SchedulerOutput") -> "KVConnectorMetadata":
        """What this step writes or reads: the prompts of all requests that are new in it, or back after a preemption.

        Raises:
            RuntimeError: a prompt is computed in pieces.
        """
        metadata = ExampleConnectorMetadata()
        for new in scheduler_output.scheduled_new_reqs:
            if new.num_computed_tokens + scheduler_output.num_scheduled_tokens[new.req_id] < len(new.prompt_token_ids):
                msg = f"request {new.req_id} is computed in pieces, must be whole: with enable_chunked_prefill false"
                raise RuntimeError(msg)
            metadata.requests.append(self._moved(new.prompt_token_ids, new.block_ids[0]))
        old = scheduler_output.scheduled_cached_reqs
        for name, blocks in zip(old.req_ids, old.new_block_ids, strict=True):
            if name in old.resumed_req_ids and name in self._requests_need_load:
                metadata.requests.append(self._moved(self._requests_need_load[name].prompt_token_ids, blocks[0]))
        self._requests_need_load.clear()
        return metadata

    def _moved(self, prompt: list[int], blocks: list[int]) -> ReqMeta:
        left = 1 if self._reads else int(self._kv_transfer_config.get_from_extra_config("recomputed", 1))
        places = torch.tensor(blocks)[:, None] * self._block_size + torch.arange(self._block_size)
        known, slots = torch.tensor(prompt[: len(prompt) - left]), places.flatten()[: len(prompt) - left]
        return ReqMeta(known, slots, is_store=not self._reads, mm_hashes=[])

    @property
    def _reads(self) -> bool:
        return bool(self._kv_transfer_config.kv_role == "kv_consumer")
