"""A stand-in for the GPU under vLLM's real front end, scheduler and connector: steps that sleep a known time."""

# ruff: noqa: ARG002  # the signatures are vLLM's

import random
import time
from concurrent.futures import Future
from typing import Any

import torch
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.request import LoRARequest
from vllm.v1.executor.abstract import Executor
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput
from vllm.v1.worker.worker_base import CompilationTimes

# 380,000 tokens of one layer with 8 heads: about what is left beside an 8B model in bf16 on an 80 GB card.
KV_BYTES = 380_000 * 4096


def step_s(requests: int, tokens: int) -> float:
    """Seconds a step of the fake GPU takes."""
    return 4e-3 + 20e-6 * requests + 5e-6 * (tokens - requests)


class _Running(Future):  # type: ignore[type-arg]
    """Becomes ready at a moment in time, as a GPU's output does."""

    def __init__(self, ready_s: float, output: ModelRunnerOutput) -> None:
        super().__init__()
        self._ready_s = ready_s
        self.output = output

    def result(self, timeout: float | None = None) -> Any:
        time.sleep(max(0.0, self._ready_s - time.monotonic()))
        return self.output


class FakeExecutor(Executor):  # type: ignore[misc]
    """One worker whose model emits token 1."""

    def _init_executor(self) -> None:
        self._free_s = 0.0
        self._scheduled: Any = None
        self._still_prefilling: dict[str, int] = {}
        self._adapters: set[int] = set()
        self._acceptance: list[float] = []
        self._draws = random.Random(0)

    def collective_rpc(
        self,
        method: Any,
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        non_block: bool = False,
    ) -> Any:
        if method == "add_lora":
            return [self._add_adapter(*args)]
        if method == "profiler_set_acceptance_rates":
            (self._acceptance,) = args
            return [self._acceptance]
        config = self.vllm_config.model_config
        spec = FullAttentionSpec(
            block_size=16, num_kv_heads=config.get_total_num_kv_heads(), head_size=128, dtype=torch.bfloat16
        )
        answers: dict[Any, Any] = {
            "get_kv_cache_spec": {"layer.0": spec},
            "determine_available_memory": KV_BYTES,
            "compile_or_warm_up_model": CompilationTimes(0.0, 0.0),
            "get_supported_tasks": ("generate",),
            "profiler_weight_bytes": {"total": 1000, "embedding": 100},
            "profiler_processors": 132,
            "profiler_copy_bandwidth_gb_s": 2000.0,
            "list_loras": self._adapters,
        }
        return [answers.get(method)]

    def _accepted(self, drafts: int) -> int:
        """How many of so many drafts are accepted, by the rates that were set last; none before."""
        drawn = self._draws.random()
        return sum(drawn < rate for rate in self._acceptance[:drafts])

    def _add_adapter(self, request: LoRARequest) -> bool:
        helper = PEFTHelper.from_local_dir(request.lora_path, None)
        helper.validate_legal(self.lora_config)
        self._adapters.add(request.lora_int_id)
        return True

    def _check_adapter(self, request: LoRARequest | None) -> None:
        """With LoRA each request brings an adapter that has been loaded before; without it none does."""
        wanted = None if request is None else request.lora_int_id
        if wanted not in (self._adapters if self.lora_config else {None}):
            msg = f"a request for adapter {wanted}, loaded are {sorted(self._adapters)}"
            raise ValueError(msg)

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        future: Future[Any] = Future()
        self._scheduled = scheduler_output
        future.set_result(None if scheduler_output.total_num_scheduled_tokens else EMPTY_MODEL_RUNNER_OUTPUT)
        return future

    def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
        scheduled = self._scheduled
        for new in scheduled.scheduled_new_reqs:
            self._check_adapter(new.lora_request)
            self._still_prefilling[new.req_id] = len(new.prompt_token_ids or ()) - new.num_computed_tokens
        cached = scheduled.scheduled_cached_reqs
        for identifier, computed in zip(cached.req_ids, cached.num_computed_tokens, strict=True):
            if identifier in cached.resumed_req_ids:
                self._still_prefilling[identifier] = len(cached.all_token_ids[identifier]) - computed
        identifiers = list(scheduled.num_scheduled_tokens)
        tokens = []
        for identifier in identifiers:
            left = self._still_prefilling.get(identifier, 0) - scheduled.num_scheduled_tokens[identifier]
            self._still_prefilling[identifier] = max(0, left)
            drafts = len(scheduled.scheduled_spec_decode_tokens.get(identifier, ()))
            tokens.append([] if left > 0 else [1] * (1 + self._accepted(drafts)))
        for identifier in scheduled.finished_req_ids:
            self._still_prefilling.pop(identifier, None)
        duration_s = step_s(len(identifiers), scheduled.total_num_scheduled_tokens)
        self._free_s = max(self._free_s, time.monotonic()) + duration_s
        output = ModelRunnerOutput(
            req_ids=identifiers,
            req_id_to_index={identifier: i for i, identifier in enumerate(identifiers)},
            sampled_token_ids=tokens,
        )
        return _Running(self._free_s, output)

    def check_health(self) -> None:
        """Always well."""

    def shutdown(self) -> None:
        """Nothing to give back."""

    @classmethod
    def supports_async_scheduling(cls) -> bool:
        return True
