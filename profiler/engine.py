"""One running vLLM engine, fed by token counts. vLLM is imported on use only, so that the rest can be read without it."""

import asyncio
import contextlib
import gc
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from profiler.power import PowerMeter
from profiler.recording import RequestStamps, Step, StepLog
from profiler.request_ids import UNMARKED, Kind, Mark, request_id
from profiler.settings import EngineSettings
from sunsim.workload.acceptance import are_rates

PROMPT_TOKEN_IDS: Sequence[int] = range(1000, 1016)
FORGET_TIMEOUT_S = 60.0
"""NixlConnector keeps the KV of a prompt that nobody fetches for half a minute."""


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


def keep_external_tokens() -> None:
    """From now on a request's metrics tell how much of its prompt's KV came from elsewhere, which vLLM but adds up."""
    from vllm.v1.metrics.stats import IterationStats, RequestStateStats  # noqa: PLC0415

    inherited = IterationStats.update_from_output

    def update_from_output(
        self: Any, output: Any, at_s: float, is_prefilling: bool, stats: RequestStateStats, *rest: Any
    ) -> None:
        if output.prefill_stats is not None:
            stats.num_external_cached_tokens = output.prefill_stats.num_external_cached_tokens
        inherited(self, output, at_s, is_prefilling, stats, *rest)

    IterationStats.update_from_output = update_from_output


class RequestError(RuntimeError):
    """The engine gave a request up."""


class Engine:
    """A running engine. Most requests are token counts, as what they say does not matter to how long they take.

    Where the engine keeps KV for later prompts, those alone are found again whose token ids are given. Requests use
    `adapters`, vLLM's LoRARequests, in turn; none while there are none. `best_prefill_tokens_per_s` is as found while it
    was warmed up.
    """

    def __init__(self, llm: Any, settings: EngineSettings, step_log: StepLog) -> None:
        self.llm = llm
        self.settings = settings
        self.step_log = step_log
        self.adapters: list[Any] = []
        self.best_prefill_tokens_per_s = 0.0
        self.power: PowerMeter | None = None
        self._serial = itertools.count()
        self._groups = itertools.count()
        self._prompts: dict[int, list[int]] = {}
        self._prompt_token_ids = PROMPT_TOKEN_IDS
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

    @property
    def launches_drafts_ahead(self) -> bool:
        """Whether steps with drafts are launched while the one before runs; vLLM's first model runner waits for that one."""
        return bool(self.settings.speculative) and self.step_log.header.get("model_runner") != "v1"

    def new_group(self) -> int:
        """A number for requests that are to join in one step."""
        return next(self._groups)

    @property
    def vocabulary(self) -> int:
        """How many token ids the model has."""
        return int(self.llm.model_config.get_vocab_size())

    def prompt(self, tokens: int) -> list[int]:
        """Token ids of a prompt of which nothing but its length matters."""
        # Shared by all requests of a length: building 256 prompts of 8192 tokens takes longer than a step.
        if tokens not in self._prompts:
            ids = itertools.islice(itertools.cycle(self._prompt_token_ids), tokens)
            self._prompts[tokens] = list(ids)
        return self._prompts[tokens]

    async def request(
        self,
        kind: Kind,
        prompt: int | Sequence[int],
        output_tokens: int,
        *,
        mark: Mark = UNMARKED,
        on_tokens: Callable[[Sequence[int]], None] | None = None,
        streamed: bool = False,
        kv_transfer_params: Mapping[str, Any] | None = None,
    ) -> RequestStamps:
        """Serves one request to its end.

        prompt: its tokens; or their ids, where prompts that begin alike are to be found in the engine's cache.
        streamed: every token comes to the client, as in serving; otherwise only the end does, which leaves the client
        idle while a large batch runs. `on_tokens`, which gets the ids of new tokens, implies it.
        kv_transfer_params: what the connector is to do with the request's KV; the stamps have what it says in the end.

        Raises RequestError for a request that did not come to its end, as one whose KV could not be fetched.
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
        ids = self.prompt(prompt) if isinstance(prompt, int) else list(prompt)
        text = TokensPrompt(prompt_token_ids=ids)
        if isinstance(prompt, int) and self.settings.enable_prefix_caching:
            # Part of what the engine knows a block of KV by, so no other prompt finds these.
            text["cache_salt"] = identifier
        stamps = RequestStamps(identifier, kind, len(ids), output_tokens, time.monotonic())
        adapter = self.adapters[serial % len(self.adapters)] if self.adapters else None
        async for output in self.llm.generate(text, params, identifier, lora_request=adapter):
            stamps.last_token_s = time.monotonic()
            stamps.bursts += 1
            if streamed and stamps.first_token_s is None:
                stamps.first_token_s = stamps.last_token_s
            if on_tokens is not None:
                on_tokens(output.outputs[0].token_ids)
            if output.finished and (reason := output.outputs[0].finish_reason) != "length":
                msg = f"{identifier}: the engine ended it with {reason}"
                raise RequestError(msg)
            if output.finished:
                stamps.kv_transfer_params = output.kv_transfer_params
                stamps.cached_tokens = output.num_cached_tokens
            if output.finished and output.metrics is not None:
                stamps.external_tokens = getattr(output.metrics, "num_external_cached_tokens", None)
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

    async def scatter_blocks(self) -> None:
        """Puts the free KV blocks of an idle engine in random order."""
        await self.request("decode", 2, 1, mark=Mark(scatter=True))
        await self.settle()

    async def settle(self) -> None:
        """Returns when the engine has nothing left to do and has written all its steps."""
        await self.request("decode", 2, 1)
        await asyncio.sleep(0.02)

    async def forget(self) -> None:
        """No later prompt finds KV that is there by now. Waits for an engine that still holds some."""
        give_up_s = time.monotonic() + FORGET_TIMEOUT_S
        while not await self.llm.reset_prefix_cache():
            if time.monotonic() > give_up_s:
                msg = "the engine did not empty its prefix cache"
                raise RuntimeError(msg)
            # KV that somebody has fetched is let go of in a step.
            await self.settle()
            await asyncio.sleep(0.1)

    def drain_steps(self) -> list[Step]:
        """Steps recorded since the last call, with the card's power where that is read."""
        steps = self.step_log.drain()
        return self.power.beside(steps) if self.power else steps

    async def worker_call(self, method: str) -> Any:
        """Result of one of the worker extension's methods, or None where the worker cannot give it."""
        try:
            results = await asyncio.wait_for(self.llm.collective_rpc(method), timeout=60)
        except Exception:  # noqa: BLE001  # a fact that is missing is worth less than the measurements it would end
            return None
        return results[0]

    async def set_acceptance_rates(self, rates: Sequence[float]) -> None:
        """From now on rates[i] is the share of drafts whose first i + 1 tokens are all accepted, in an engine with drafts.

        Raises ValueError for rates that vLLM would not take.
        """
        drafts = self.settings.num_speculative_tokens
        if len(rates) != drafts or not are_rates(rates):
            msg = f"acceptance rates: are {list(rates)}, must be {drafts} from 0 to 1, none above the one before"
            raise ValueError(msg)
        method = "profiler_set_acceptance_rates"
        await asyncio.wait_for(self.llm.collective_rpc(method, args=([float(rate) for rate in rates],)), timeout=60)

    async def find_drafts(self) -> None:
        """Makes model and prompts say one token again and again, so that drafts taken from what was said are always there.

        Raises RuntimeError where the model says others as well.
        """
        await self.llm.collective_rpc("profiler_forget_tokens")
        (token, *_) = await self._said(1)
        await self.llm.collective_rpc("profiler_prefer_token", args=(token,))
        self._prompt_token_ids = [token]
        self._prompts.clear()
        said = await self._said(20)
        if set(said) != {token}:
            msg = f"the model says {said}, must say {token} again and again for drafts to be found"
            raise RuntimeError(msg)
        await self.settle()
        self.drain_steps()

    async def _said(self, tokens: int) -> list[int]:
        said: list[int] = []
        await self.request("decode", 16, tokens, on_tokens=said.extend)
        return said
