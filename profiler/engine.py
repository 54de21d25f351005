"""One vLLM engine as a disaggregated worker runs it: started with every argument stated, fed by token counts.

`measure` and anything else that plays requests on a real engine starts it here. vLLM is imported on use only, so that
the rest of the package can be read without it.
"""

import asyncio
import contextlib
import gc
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profiler.adapters import LoraSettings, load_adapters
from profiler.engine_log import cause
from profiler.recording import STEP_LOG_VARIABLE, RequestStamps, Step, StepLog
from profiler.request_ids import UNMARKED, BlockOrder, Kind, Mark, request_id

PROMPT_TOKEN_IDS = range(1000, 1016)


# Modules of our connectors.
CONNECTORS = {"ArrivedKVConnector": "profiler.connector", "TimedNixlConnector": "profiler.nixl_connector"}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Arguments of every reference profile and run, under vLLM's names."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    gpu_memory_utilization: float = 0.85
    max_model_len: int = 16384
    enable_prefix_caching: bool = False
    enable_chunked_prefill: bool = True
    async_scheduling: bool = True
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "auto"
    tensor_parallel_size: int = 1
    seed: int = 0
    distributed_executor_backend: str | None = None
    num_gpu_blocks_override: int | None = None
    kv_connector: str | None = "ArrivedKVConnector"
    """None is an ordinary worker; on one with a connector, vLLM frees the blocks of a preempted request a step later."""
    lora: LoraSettings | None = None

    def _flat(self) -> dict[str, Any]:
        """Without LoRA none of its arguments is there, as in profiles from before it could be asked for."""
        flat = asdict(self)
        del flat["lora"]
        return flat | (self.lora.arguments() if self.lora else {})

    def recorded(self) -> dict[str, Any]:
        """As a profile states them."""
        return self._flat() | {"kv_role": "kv_both" if self.kv_connector else None}

    def arguments(self) -> dict[str, Any]:
        """As vLLM's AsyncEngineArgs takes them, without those of the KV connector."""
        flat = self._flat()
        del flat["kv_connector"]
        return {name: value for name, value in flat.items() if value is not None}


def set_environment(step_log: Path) -> None:
    """What the engine process inherits; anything the caller has set stays."""
    for name, value in {
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }.items():
        os.environ.setdefault(name, value)
    os.environ[STEP_LOG_VARIABLE] = str(step_log)
    # vLLM forks its engine unless CUDA is in use, but the import path must hold for a spawned one as well.
    root = str(Path(__file__).resolve().parent.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Sends this process's output, and for good that of processes started meanwhile, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection: one over the objects that vLLM holds takes as long as several steps."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def count_preemptions() -> Counter[str]:
    """How often each request has been preempted from now on, by vLLM's own id of it.

    The engine sends these events to its client, which keeps only their sum.
    """
    from vllm.v1.engine import EngineCoreEventType  # noqa: PLC0415
    from vllm.v1.metrics.stats import IterationStats  # noqa: PLC0415

    counts: Counter[str] = Counter()
    inherited = IterationStats.update_from_events

    def update_from_events(self: Any, req_id: str, events: Sequence[Any], *rest: Any) -> None:
        for event in events:
            if event.type == EngineCoreEventType.PREEMPTED:
                counts[req_id] += 1
        inherited(self, req_id, events, *rest)

    IterationStats.update_from_events = update_from_events
    return counts


class EngineStartError(Exception):
    """An engine does not start; says why in one line, and where its log is."""


def require_vllm() -> None:
    """Raises EngineStartError where vLLM is not installed."""
    if find_spec("vllm") is None:
        msg = "vLLM is not installed, must be where the GPU is: pip install 'sunsim[profiler]'"
        raise EngineStartError(msg)


class Engine:
    """A running engine. Requests are token counts; what they say does not matter to how long they take.

    They use `adapters`, vLLM's LoRARequests, in turn; none while there are none.
    """

    def __init__(self, llm: Any, settings: EngineSettings, step_log: StepLog) -> None:
        self.llm = llm
        self.settings = settings
        self.step_log = step_log
        self.adapters: list[Any] = []
        self._serial = itertools.count()
        self._groups = itertools.count()
        self._prompts: dict[int, list[int]] = {}
        self.step_log.drain()

    @property
    def num_gpu_blocks(self) -> int:
        """KV blocks the engine has."""
        return int(self.llm.vllm_config.cache_config.num_gpu_blocks)

    @property
    def block_size(self) -> int:
        """Tokens a KV block holds."""
        return int(self.llm.vllm_config.cache_config.block_size)

    @property
    def capture_sizes(self) -> list[int]:
        """Batch sizes with a CUDA graph of their own, rising."""
        return list(self.step_log.header.get("cudagraph_capture_sizes", []))

    def new_group(self) -> int:
        """A number for requests that are to join in one step."""
        return next(self._groups)

    def prompt(self, tokens: int) -> list[int]:
        """Token ids of a prompt."""
        # Shared by all requests of a length: building 256 prompts of 8192 tokens takes longer than a step.
        if tokens not in self._prompts:
            ids = itertools.islice(itertools.cycle(PROMPT_TOKEN_IDS), tokens)
            self._prompts[tokens] = list(ids)
        return self._prompts[tokens]

    async def request(
        self,
        kind: Kind,
        prompt_tokens: int,
        output_tokens: int,
        *,
        mark: Mark = UNMARKED,
        on_tokens: Callable[[int], None] | None = None,
        streamed: bool = False,
        kv_transfer_params: Mapping[str, Any] | None = None,
    ) -> RequestStamps:
        """Serves one request to its end.

        streamed: every token comes to the client, as in serving; otherwise only the end does, which leaves the client
        idle while a large batch runs. `on_tokens`, which gets the number of new tokens, implies it.
        kv_transfer_params: what the connector is to do with the request's KV; the stamps have what it says in the end.
        """
        from vllm import SamplingParams  # noqa: PLC0415
        from vllm.inputs import TokensPrompt  # noqa: PLC0415
        from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415

        streamed = streamed or on_tokens is not None
        # Not min_tokens: it adds a logits processor to every step, and ignore_eos alone fixes the length.
        params = SamplingParams(
            temperature=0.0,
            max_tokens=output_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
            extra_args={"kv_transfer_params": dict(kv_transfer_params)} if kv_transfer_params else None,
        )
        serial = next(self._serial)
        identifier = request_id(kind, serial, mark)
        prompt = TokensPrompt(prompt_token_ids=self.prompt(prompt_tokens))
        stamps = RequestStamps(identifier, kind, prompt_tokens, output_tokens, time.monotonic())
        adapter = self.adapters[serial % len(self.adapters)] if self.adapters else None
        async for output in self.llm.generate(prompt, params, identifier, lora_request=adapter):
            stamps.last_token_s = time.monotonic()
            if streamed and stamps.first_token_s is None:
                stamps.first_token_s = stamps.last_token_s
            if on_tokens is not None:
                on_tokens(len(output.outputs[0].token_ids))
            if output.finished:
                stamps.kv_transfer_params = output.kv_transfer_params
            if output.finished and output.metrics is not None:
                stamps.queued_s = output.metrics.queued_ts
                stamps.scheduled_s = output.metrics.scheduled_ts
                stamps.engine_first_token_s = output.metrics.first_token_ts
                stamps.engine_last_token_s = output.metrics.last_token_ts
        return stamps

    async def batch(
        self, prompt_tokens: Sequence[int], output_tokens: Sequence[int], *, streamed: bool = False
    ) -> list[RequestStamps]:
        """Serves decode requests that all join in one step."""
        together = Mark(self.new_group(), len(prompt_tokens))
        return list(
            await asyncio.gather(
                *(
                    self.request("decode", p, o, mark=together, streamed=streamed)
                    for p, o in zip(prompt_tokens, output_tokens, strict=True)
                )
            )
        )

    async def arrange_blocks(self, order: BlockOrder) -> None:
        """Puts the free KV blocks of an idle engine in this order."""
        await self.request("decode", 2, 1, mark=Mark(blocks=order))
        await self.settle()

    async def settle(self) -> None:
        """Returns when the engine has nothing left to do and has written all its steps."""
        await self.request("decode", 2, 1)
        await asyncio.sleep(0.02)

    def drain_steps(self) -> list[Step]:
        """Steps recorded since the last call."""
        return self.step_log.drain()

    async def worker_call(self, method: str) -> Any:
        """Result of one of the worker extension's methods, or None where the worker cannot give it."""
        try:
            results = await asyncio.wait_for(self.llm.collective_rpc(method), timeout=60)
        except Exception:  # noqa: BLE001  # a fact that is missing is worth less than the measurements it would end
            return None
        return results[0]


def kv_transfer(settings: EngineSettings) -> Any:
    """vLLM's KVTransferConfig, or None for an ordinary worker."""
    from vllm.config import KVTransferConfig  # noqa: PLC0415

    if settings.kv_connector is None:
        return None
    return KVTransferConfig(
        kv_connector=settings.kv_connector,
        kv_connector_module_path=CONNECTORS[settings.kv_connector],
        kv_role="kv_both",
        # Workers name the same model by directories of their own, which NixlConnector takes for different models.
        kv_connector_extra_config={"enforce_handshake_compat": False},
    )


def engine_arguments(settings: EngineSettings, model: Path, *, dummy_weights: bool) -> dict[str, Any]:
    """Arguments of vLLM's AsyncEngineArgs, without those of the KV connector."""
    return settings.arguments() | {
        "model": str(model),
        "load_format": "dummy" if dummy_weights else "auto",
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "enable_log_requests": False,
        "disable_log_stats": False,
        "scheduler_cls": "profiler.scheduler.RecordingScheduler",
        "worker_extension_cls": "profiler.worker_extension.ProfilerWorkerExtension",
    }


def write_model(directory: Path, config: dict[str, Any]) -> Path:
    """A model directory that holds a config.json and no weights."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    return directory


def start(settings: EngineSettings, model: Path, *, dummy_weights: bool) -> Any:
    """vLLM's AsyncLLM."""
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    arguments = engine_arguments(settings, model, dummy_weights=dummy_weights)
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments, kv_transfer_config=kv_transfer(settings)))


@contextlib.asynccontextmanager
async def running_engine(
    settings: EngineSettings, model: Path, *, dummy_weights: bool, log_directory: Path, adapter: Path | None = None
) -> AsyncIterator[Engine]:
    """Starts an engine; its log goes to engine.log, its steps to steps.jsonl under `log_directory`.

    adapter: directory of the weights that all LoRA adapters get; needed if the settings have any.

    Raises EngineStartError if it does not start.
    """
    step_log, log = log_directory / "steps.jsonl", log_directory / "engine.log"
    set_environment(step_log)
    try:
        with output_to(log):
            llm = start(settings, model, dummy_weights=dummy_weights)
    except Exception as error:
        msg = f"the engine did not start: {cause(log.read_text(errors='replace'), error)}; its log is {log}"
        raise EngineStartError(msg) from error
    try:
        engine = Engine(llm, settings, StepLog(step_log))
        if settings.lora and adapter:
            await load_adapters(engine, adapter, settings.lora.max_loras)
        yield engine
    finally:
        llm.shutdown()
