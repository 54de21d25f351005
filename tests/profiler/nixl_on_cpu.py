"""NixlConnector whole, scheduler's and worker's half, on a machine without a GPU: KV lies in this host's memory, and moves.

The KV of a token is its id and where it stands, so a worker sees whether what it has of a prompt is what was said.
"""

import os
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.distributed import parallel_state
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.distributed.kv_transfer.kv_connector.v1.nixl import base_worker
from vllm.v1.attention.backends.flash_attn import FlashAttentionBackend
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput

from profiler.request_ids import kv_arrived
from tests.profiler.fake_vllm import FakeExecutor

BLOCK = 16
BLOCKS = 23_750
LAYER = "layer.0"
VARIED = 2000
"""Answers are ids from here on."""
SPEC = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)

BROKEN = "BROKEN_TRANSFER"
"""Variable that says which transfer of a worker fails, counted from 1; none at 0."""


def _break(agent: Any, number: int) -> None:
    begin, look = agent.transfer, agent.check_xfer_state
    begun: list[Any] = []

    def counted(handle: Any, *args: Any, **kwargs: Any) -> Any:
        begun.append(handle)
        return begin(handle, *args, **kwargs)

    def broken(handle: Any) -> Any:
        if number and begun.index(handle) == number - 1:
            return "ERR"
        return look(handle)

    agent.transfer, agent.check_xfer_state = counted, broken


class NixlExecutor(FakeExecutor):
    """One worker whose KV is real."""

    def _init_executor(self) -> None:
        super()._init_executor()
        self._connector: Any = None
        self._kv = torch.zeros(BLOCKS, 2, BLOCK, 1, 1)
        self._blocks: dict[str, list[int]] = {}
        self._tokens: dict[str, list[int]] = {}
        self._moved: set[str] = set()

    def collective_rpc(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        if method == "initialize_from_config":
            (configs,) = kwargs["args"]
            self._connect(configs[0])
            return [None]
        if method == "get_kv_connector_handshake_metadata":
            return [{(0, 0): self._connector.get_handshake_metadata()}]
        answers: dict[Any, Any] = {
            "get_kv_cache_spec": {LAYER: SPEC},
            "determine_available_memory": BLOCKS * SPEC.page_size_bytes,
        }
        return [answers[method]] if method in answers else super().collective_rpc(method, *args, **kwargs)

    def _connect(self, config: Any) -> None:
        parallel_state._TP = SimpleNamespace(rank_in_group=0, world_size=1, destroy=lambda: None)
        base_worker.get_current_attn_backends = lambda *_: [FlashAttentionBackend]
        with set_current_vllm_config(self.vllm_config):
            self._connector = KVConnectorFactory.create_connector(self.vllm_config, KVConnectorRole.WORKER, config)
            self._connector.register_kv_caches({LAYER: self._kv})
        _break(self._connector.connector_worker.nixl_wrapper, int(os.environ.get(BROKEN, "0")))

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        if scheduler_output.total_num_scheduled_tokens:
            return super().execute_model(scheduler_output, non_block)
        self._begin(scheduler_output)
        future: Future[Any] = Future()
        future.set_result(ModelRunnerOutput.with_kv_conn_output_only(self._end(scheduler_output)))
        return future

    def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
        scheduled = self._scheduled
        self._begin(scheduled)
        computed = self._note(scheduled)
        running = super().sample_tokens(grammar_output, non_block)
        output = running.output
        for request, sampled in zip(output.req_ids, output.sampled_token_ids, strict=True):
            tokens = self._tokens[request]
            if sampled:
                sampled[:] = [VARIED + len(tokens) % VARIED]
                tokens += sampled
            where = range(computed[request], computed[request] + scheduled.num_scheduled_tokens[request])
            block, slot = self._slots(request, where)
            self._kv[block, 0, slot, 0, 0] = torch.tensor([tokens[i] for i in where], dtype=torch.float32)
            self._kv[block, 1, slot, 0, 0] = torch.tensor(where, dtype=torch.float32)
        output.kv_connector_output = self._end(scheduled)
        return running

    def _begin(self, scheduled: Any) -> None:
        self._connector.handle_preemptions(scheduled.kv_connector_metadata)
        self._connector.bind_connector_metadata(scheduled.kv_connector_metadata)
        self._connector.start_load_kv(None)

    def _end(self, scheduled: Any) -> KVConnectorOutput:
        """As vLLM's model runners, when a step has been launched."""
        output = KVConnectorOutput()
        output.finished_sending, output.finished_recving = self._connector.get_finished(scheduled.finished_req_ids)
        output.invalid_block_ids = self._connector.get_block_ids_with_load_errors()
        output.kv_connector_stats = self._connector.get_kv_connector_stats()
        self._connector.clear_connector_metadata()
        self._moved |= output.finished_recving or set()
        for request in scheduled.finished_req_ids:
            self._tokens.pop(request, None)
        return output

    def _slots(self, request: str, where: range) -> tuple[list[int], list[int]]:
        blocks = self._blocks[request]
        return [blocks[i // BLOCK] for i in where], [i % BLOCK for i in where]

    def _note(self, scheduled: Any) -> dict[str, int]:
        """Takes in what is new; the tokens whose KV each request has. Raises RuntimeError where that is not its KV."""
        computed = {}
        for new in scheduled.scheduled_new_reqs:
            self._tokens[new.req_id], self._blocks[new.req_id] = list(new.prompt_token_ids), list(new.block_ids[0])
            computed[new.req_id] = new.num_computed_tokens
            self._check(new.req_id, new.num_computed_tokens)
        old = scheduled.scheduled_cached_reqs
        for name, blocks, count in zip(old.req_ids, old.new_block_ids, old.num_computed_tokens, strict=True):
            fresh = list(blocks[0]) if blocks else []
            self._blocks[name] = fresh if name in old.resumed_req_ids else self._blocks[name] + fresh
            computed[name] = count
        return computed

    def _check(self, request: str, computed: int) -> None:
        if kv_arrived(request) and request not in self._moved:
            return
        block, slot = self._slots(request, range(computed))
        said = self._kv[block, 0, slot, 0, 0].long().tolist()
        where = self._kv[block, 1, slot, 0, 0].long().tolist()
        if said != self._tokens[request][:computed] or where != list(range(computed)):
            msg = f"{request}: the KV of its first {computed} tokens is that of others"
            raise RuntimeError(msg)
