"""What vLLM's own scheduler decides in small cases, for `tests.cluster.test_vllm_decisions`; runs only beside vLLM.

`python -m tests.profiler.vllm_decisions OUT.jsonl` drives vLLM's AsyncScheduler through the engine core's own
`step_with_batch_queue`, with a device whose steps take a known time by a clock that only the device moves. Of the engine
core's loop one thing is left out: the millisecond that it sleeps after a step without tokens while requests are left.
"""

import json
import queue
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.profiler.fake_platform import install_platform

install_platform()  # before anything else of vLLM is imported

import torch
from vllm import SamplingParams, __version__
from vllm.config import KVTransferConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.engine.core import EngineCore
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from profiler.connector import ArrivedKVConnector
from profiler.request_ids import kv_arrived, request_id
from profiler.settings import EngineSettings
from profiler.start import engine_arguments, write_model
from tests.profiler.vllm_cases import Case, Times, Worker, cases

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput

MODEL = Path(__file__).resolve().parents[2] / "profiler" / "models" / "llama-3.1-8b.json"


class ReturningKVConnector(ArrivedKVConnector):
    """A preempted request's prompt is there again; only what was generated is computed again."""

    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int, bool]:
        """(tokens whose KV counts as received, False: they are there at once)."""
        if not kv_arrived(request.request_id):
            return 0, False
        return max(0, min(request.num_prompt_tokens, request.num_tokens - 1) - num_computed_tokens), False


class Device:
    """Stands in for the executor, and keeps the time.

    Args:
        texts: the tokens of each request, prompt and output.
    """

    def __init__(self, times: Times, texts: list[list[int]]) -> None:
        self.times = times
        self.texts = texts
        self.now = 0
        self.free_at = 0
        self.core: Any = None
        self.rows: list[list[Any]] = []
        self.enter_alone = False  # a step of requests that enter, of a kind of its own, shows its launch
        self._sampled: Any = None

    def execute_model(self, scheduled: "SchedulerOutput", *, non_block: bool) -> "Future[Any]":
        """Launches a step; what it samples is out when its time on the device is over."""
        assert non_block
        composed, tokens = self.now, scheduled.num_scheduled_tokens
        future: Future[Any] = Future()
        future.set_result(None if tokens else EMPTY_MODEL_RUNNER_OUTPUT)
        if tokens:
            self._sampled = self._launch(scheduled)
        if tokens or scheduled.preempted_req_ids:
            free = self.core.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
            counts = [] if max(tokens.values(), default=1) == 1 else list(tokens.values())
            preempted = sorted(map(serial, scheduled.preempted_req_ids or ()))
            self.rows.append([composed, free, [*map(serial, tokens)], counts, preempted])
        return future

    def sample_tokens(self, grammar: None, *, non_block: bool) -> "Future[Any]":  # noqa: ARG002
        """The output of the step just launched."""
        assert non_block
        return self._sampled  # type: ignore[no-any-return]

    def _launch(self, scheduled: "SchedulerOutput") -> "Future[Any]":
        times = self.times
        step_time, chunk_tokens = self._step(scheduled)
        idle = not any(earlier.total_num_scheduled_tokens for _, earlier, _ in self.core.batch_queue)
        ready = self.now
        if chunk_tokens or idle or self.enter_alone:
            ready += times.lead
            self.now += times.launch if chunk_tokens else times.graph_launch
        self.free_at = max(self.free_at, ready) + step_time
        names = list(scheduled.num_scheduled_tokens)
        output = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: index for index, name in enumerate(names)},
            sampled_token_ids=[self._sample(name, scheduled) for name in names],
        )
        return _Output(self, self.free_at, output)

    def _step(self, scheduled: "SchedulerOutput") -> tuple[int, int]:
        """How long it takes on the device, and how many tokens it computes beside those of decodes."""
        times, requests = self.times, self.core.scheduler.requests
        decodes = context = chunk_tokens = 0
        for name, count in scheduled.num_scheduled_tokens.items():
            if count == 1 and not requests[name].is_prefill_chunk:
                decodes += 1
                context += requests[name].num_computed_tokens
            else:
                chunk_tokens += count
        return times.base + times.decode * decodes + times.context * context + times.token * chunk_tokens, chunk_tokens

    def _sample(self, name: str, scheduled: "SchedulerOutput") -> list[int]:  # noqa: ARG002
        """What comes out of a request in a step."""
        one = self.core.scheduler.requests[name]
        return [] if one.is_prefill_chunk else [self.texts[serial(name)][one.num_computed_tokens]]


class _Output(Future):  # type: ignore[type-arg]
    def __init__(self, device: Device, out_at: int, output: ModelRunnerOutput) -> None:
        super().__init__()
        self._device, self._out_at, self._output = device, out_at, output

    def result(self, timeout: float | None = None) -> Any:  # noqa: ARG002
        """Waiting for it moves the clock."""
        self._device.now = max(self._device.now, self._out_at)
        return self._output


class Core(EngineCore):  # type: ignore[misc]
    """As much of vLLM's engine core as its step needs."""

    def __init__(self, config: Any, scheduler: AsyncScheduler, device: Device) -> None:
        self.vllm_config = config
        self.scheduler = scheduler
        self.model_executor = device
        self.batch_queue_size = config.max_concurrent_batches
        self.batch_queue: deque[Any] = deque(maxlen=self.batch_queue_size)
        self.is_ec_consumer = True
        self.is_pooling_model = False
        self.aborts_queue: queue.Queue[list[str]] = queue.Queue()


def serial(name: str) -> int:
    """The number at the end of a request's id."""
    return int(name.rpartition("-")[2])


def make_core(worker: Worker, device: Device, model: Path, *, caching: bool = False, **more: Any) -> Core:
    """An engine core whose scheduler is vLLM's, under the arguments of every reference profile but the worker's.

    more: arguments of vLLM's AsyncEngineArgs.
    """
    settings = EngineSettings(num_gpu_blocks_override=worker.num_gpu_blocks, enable_prefix_caching=caching)
    transfer = None
    if worker.connector:
        path = "tests.profiler.vllm_decisions"
        transfer = KVTransferConfig(kv_connector=worker.connector, kv_connector_module_path=path, kv_role="kv_both")
    arguments = engine_arguments(settings, model, dummy_weights=True) | {
        "block_size": worker.block_size,
        "max_num_seqs": worker.max_num_seqs,  # fewer, of both, than a profile is worth
        "max_num_batched_tokens": worker.max_num_batched_tokens,
    }
    config = AsyncEngineArgs(**arguments | more, kv_transfer_config=transfer).create_engine_config()
    config.cache_config.num_gpu_blocks = worker.num_gpu_blocks
    spec = FullAttentionSpec(block_size=worker.block_size, num_kv_heads=8, head_size=128, dtype=torch.bfloat16)
    blocks = KVCacheConfig(
        num_blocks=worker.num_gpu_blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer.0"], spec)],
    )
    scheduler = AsyncScheduler(config, blocks, StructuredOutputManager(config), block_size=worker.block_size)
    scheduler.use_v2_model_runner = True  # as on a GPU; without Triton vLLM settles on the other
    core = device.core = Core(config, scheduler, device)
    assert core.batch_queue_size == 2
    return core


def record(case: Case, model: Path) -> dict[str, Any]:
    """Runs a case to its end.

    Gives, for each request, when it was first scheduled, when its first and its last token were out and how often it
    was preempted; and for each step when it was composed, the free blocks then left, who was scheduled in which order
    and how many tokens of each (nothing if one of each), and who was preempted.
    """
    device = Device(case.times, [[1] * (prompt + output) for _, prompt, output, _ in case.requests])
    return asdict(case) | run(case, make_core(case.worker, device, model), device)


def run(case: Case, core: Core, device: Device, block_hasher: Any = None) -> dict[str, Any]:
    """The stamps and the rows of `record`."""
    coming = deque(enumerate(case.requests))
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    while coming or core.scheduler.has_requests() or core.batch_queue:
        if not (core.scheduler.has_requests() or core.batch_queue):
            device.now = max(device.now, coming[0][1][0])
        while coming and coming[0][1][0] <= device.now:
            number, (_, prompt, output, arrived) = coming.popleft()
            params = SamplingParams(max_tokens=output, ignore_eos=True)
            name = request_id("decode" if arrived else "prefill", number)
            tokens = device.texts[number][:prompt]
            core.scheduler.add_request(Request(name, tokens, params, None, block_hasher=block_hasher))
        outputs, _ = core.step_with_batch_queue()
        for some in (outputs or {}).values():
            for one in some.outputs:
                number = serial(one.request_id)
                first.setdefault(number, device.now)
                if one.finish_reason is not None:
                    last[number] = device.now
    scheduled: dict[int, int] = {}
    preemptions: Counter[int] = Counter()
    for composed, _, taken, _, preempted, *_ in device.rows:
        for number in taken:
            scheduled.setdefault(number, composed)
        preemptions.update(preempted)
    stamps = [[scheduled[i], first[i], last[i], preemptions[i]] for i in range(len(case.requests))]
    return {"stamps": stamps, "rows": device.rows}


def record_all(out: str, recorded: Callable[[Path], Iterator[dict[str, Any]]]) -> None:
    """A line a case."""
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder), json.loads(MODEL.read_text()))
        lines = [json.dumps({"vllm": __version__} | each, separators=(",", ":")) + "\n" for each in recorded(model)]
    Path(out).write_text("".join(lines))


if __name__ == "__main__":
    record_all(sys.argv[1], lambda model: (record(case, model) for case in cases()))
