"""`profiler.tuning.engine` on a machine without a GPU: vLLM's front end, scheduler and connectors are its own.

Only the worker is another: transformers computes, and keys and values lie in blocks where the scheduler says.
"""

# ruff: noqa: ARG002  # the signatures are vLLM's

import sys
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from tests.profiler.fake_platform import install_platform

install_platform()  # before anything else of vLLM is imported

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.v1.executor.abstract import Executor
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput
from vllm.v1.worker.worker_base import CompilationTimes

from profiler.tuning import engine
from profiler.tuning.engine import EngineJob

# Fewer than the requests of a test need at once: some are preempted, and get their KV again.
BLOCKS = 64


class TransformersExecutor(Executor):  # type: ignore[misc]
    """Computes a request at a time, and samples the likeliest token."""

    def _init_executor(self) -> None:
        config = self.vllm_config.model_config
        self._model = AutoModelForCausalLM.from_pretrained(config.model, dtype=config.dtype).eval()
        own = self._model.config
        self._spec = FullAttentionSpec(
            block_size=16, num_kv_heads=own.num_key_value_heads, head_size=own.head_dim, dtype=config.dtype
        )
        self._names = [f"model.layers.{i}.self_attn.attn" for i in range(own.num_hidden_layers)]
        # As vLLM's attention backends have them; what was never written must not be read.
        shape = (BLOCKS, 2, 16, own.num_key_value_heads, own.head_dim)
        self._kv = {name: torch.full(shape, float("nan"), dtype=config.dtype) for name in self._names}
        self._tokens: dict[str, list[int]] = {}
        self._blocks: dict[str, list[int]] = {}
        self._scheduled: Any = None
        self._connector: Any = None

    def collective_rpc(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        if method == "initialize_from_config":
            (configs,) = kwargs["args"]
            self._connector = KVConnectorFactory.create_connector(self.vllm_config, KVConnectorRole.WORKER, configs[0])
        answers: dict[Any, Any] = {
            "get_kv_cache_spec": dict.fromkeys(self._names, self._spec),
            "determine_available_memory": BLOCKS * len(self._names) * self._spec.page_size_bytes,
            "compile_or_warm_up_model": CompilationTimes(0.0, 0.0),
            "get_supported_tasks": ("generate",),
        }
        return [answers.get(method)]

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        self._scheduled = scheduler_output
        future: Future[Any] = Future()
        future.set_result(None if scheduler_output.total_num_scheduled_tokens else EMPTY_MODEL_RUNNER_OUTPUT)
        return future if non_block else future.result()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
        scheduled = self._scheduled
        computed = self._note(scheduled)
        layers = {name: SimpleNamespace(kv_cache=kv) for name, kv in self._kv.items()}
        context = SimpleNamespace(attn_metadata=dict.fromkeys(self._names), no_compile_layers=layers)
        self._connector.bind_connector_metadata(scheduled.kv_connector_metadata)
        self._connector.start_load_kv(context)
        sampled = [
            [self._compute(request, computed[request], count)]
            for request, count in scheduled.num_scheduled_tokens.items()
        ]
        for name, kv in self._kv.items():
            self._connector.save_kv_layer(name, kv, None)
        self._connector.clear_connector_metadata()
        names = list(scheduled.num_scheduled_tokens)
        future: Future[Any] = Future()
        future.set_result(
            ModelRunnerOutput(
                req_ids=names, req_id_to_index={name: i for i, name in enumerate(names)}, sampled_token_ids=sampled
            )
        )
        return future if non_block else future.result()

    def _note(self, scheduled: Any) -> dict[str, int]:
        """Takes in what is new; the tokens whose KV each request has."""
        computed = {}
        for new in scheduled.scheduled_new_reqs:
            self._tokens[new.req_id], self._blocks[new.req_id] = list(new.prompt_token_ids), list(new.block_ids[0])
            computed[new.req_id] = new.num_computed_tokens
        old = scheduled.scheduled_cached_reqs
        for name, blocks, count in zip(old.req_ids, old.new_block_ids, old.num_computed_tokens, strict=True):
            back = name in old.resumed_req_ids
            self._blocks[name] = (
                (list(blocks[0]) if blocks else []) if back else self._blocks[name] + list(blocks[0] if blocks else [])
            )
            computed[name] = count
        return computed

    def _compute(self, request: str, computed: int, count: int) -> int:
        tokens = self._tokens[request]
        slots = torch.tensor([block * 16 + i for block in self._blocks[request] for i in range(16)])
        past, fresh = slots[:computed], slots[computed : computed + count]
        cache = DynamicCache()
        for layer, kv in enumerate(self._kv.values() if computed else ()):
            known = kv[past // 16, :, past % 16].permute(1, 2, 0, 3)[:, None]
            cache.update(known[0], known[1], layer)
        given = {"input_ids": torch.tensor([tokens[computed : computed + count]]), "use_cache": True}
        where = torch.arange(computed, computed + count)[None]
        logits = self._model(**given, position_ids=where, past_key_values=cache).logits
        for layer, kv in enumerate(self._kv.values()):
            kept = torch.stack([cache.layers[layer].keys[0], cache.layers[layer].values[0]])
            kv[fresh // 16, :, fresh % 16] = kept[:, :, computed:].permute(2, 0, 1, 3)
        token = int(logits[0, -1].argmax())
        tokens.append(token)
        return token

    def check_health(self) -> None:
        """Always well."""

    def shutdown(self) -> None:
        """Nothing to give back."""

    @classmethod
    def supports_async_scheduling(cls) -> bool:
        return True


if __name__ == "__main__":
    of_gpu = engine.arguments

    def arguments(job: EngineJob) -> dict[str, Any]:
        """The GPU's, but for the worker."""
        return of_gpu(job) | {"distributed_executor_backend": TransformersExecutor}

    engine.arguments = arguments
    engine.main(sys.argv[1])
