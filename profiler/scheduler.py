"""vLLM's own scheduler, which also writes down each step and admits marked requests in groups.

The engine loads this by name in its own process; the reader of what it writes is `profiler.recording`.
"""

import json
import operator
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm.v1.core.kv_cache_utils import FreeKVCacheBlockQueue
from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from profiler.recording import STEP_LOG_VARIABLE
from profiler.request_ids import Mark, mark_of

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.outputs import ModelRunnerOutput
    from vllm.v1.spec_decode.metrics import SpecDecodingStats

MAX_BUFFERED_LINES = 50_000


class RecordingScheduler(AsyncScheduler):  # type: ignore[misc]
    """Costs some ten microseconds a step; without the log's variable in the environment it records nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        path = os.environ.get(STEP_LOG_VARIABLE)
        self._path = Path(path) if path else None
        self._lines: list[str] = []
        self.max_num_running_reqs: int
        self.max_num_scheduled_tokens: int
        self._released_groups: set[int] = set()
        self._latest: SchedulerOutput | None = None
        self._drafted: SpecDecodingStats | None = None
        if self._path:
            self._lines.append(json.dumps(["h", self._resolved()]))
            self._flush()

    def _resolved(self) -> dict[str, Any]:
        """What the engine settled on; the client's copy of the configuration may be older."""
        config = self.vllm_config
        compilation = config.compilation_config
        return {
            "num_gpu_blocks": config.cache_config.num_gpu_blocks,
            "block_size": config.cache_config.block_size,
            "cache_dtype": str(config.cache_config.cache_dtype),
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "quantization": config.model_config.quantization,
            "cudagraph_mode": getattr(compilation.cudagraph_mode, "name", str(compilation.cudagraph_mode)),
            "cudagraph_capture_sizes": sorted(compilation.cudagraph_capture_sizes or []),
            "compilation_mode": str(compilation.mode),
            "model_runner": "v2" if self.use_v2_model_runner else "v1",
            "max_concurrent_batches": config.max_concurrent_batches,
            "num_speculative_tokens": self.num_spec_tokens,
            "async_scheduling": bool(config.scheduler_config.async_scheduling),
            "prefix_caching": bool(config.cache_config.enable_prefix_caching),
        }

    def schedule(self, *args: Any, **kwargs: Any) -> "SchedulerOutput":
        begin = time.monotonic()
        mark = mark_of(self.waiting[0].request_id) if self.waiting else None
        output = super().schedule(*args, **kwargs) if mark is None else self._schedule_marked(mark, *args, **kwargs)
        if self._path:
            describe = self._describe_with_drafts if self.num_spec_tokens else self._describe
            self._lines.append(describe(output, begin))
        return output

    def _scatter_blocks(self) -> None:
        pool = self.kv_cache_manager.block_pool
        blocks = sorted(pool.free_block_queue.get_all_free_blocks(), key=lambda block: block.block_id)
        random.Random(0).shuffle(blocks)
        for block in blocks:
            block.prev_free_block = block.next_free_block = None
        pool.free_block_queue = FreeKVCacheBlockQueue(blocks)

    def _schedule_marked(self, mark: Mark, *args: Any, **kwargs: Any) -> "SchedulerOutput":
        if mark.scatter:
            self._scatter_blocks()
        limits = self.max_num_running_reqs, self.max_num_scheduled_tokens
        if mark.group is not None and mark.group not in self._released_groups:
            if len(self.waiting) < mark.group_size:
                self.max_num_running_reqs = len(self.running)
            else:
                # Once let go, a group is never held again, even if some of it did not fit.
                self._released_groups.add(mark.group)
        if mark.budget_tokens is not None:
            self.max_num_scheduled_tokens = min(self.max_num_scheduled_tokens, mark.budget_tokens)
        try:
            return super().schedule(*args, **kwargs)
        finally:
            self.max_num_running_reqs, self.max_num_scheduled_tokens = limits

    def _describe(self, output: "SchedulerOutput", begin: float) -> str:
        """One line a step; `profiler.recording` names its fields."""
        scheduled = output.num_scheduled_tokens
        cached = output.scheduled_cached_reqs
        new = [(scheduled[r.req_id], r.num_computed_tokens) for r in output.scheduled_new_reqs]
        contexts = [*cached.num_computed_tokens, *(computed for _, computed in new)]
        chunks: list[tuple[int, int]] = []
        if output.total_num_scheduled_tokens > len(scheduled):
            known = [
                *zip((scheduled[i] for i in cached.req_ids), cached.num_computed_tokens, strict=True),
                *new,
            ]
            contexts = [computed for count, computed in known if count == 1]
            chunks = [(count, computed) for count, computed in known if count > 1]
        return self._line(output, begin, contexts, new, chunks)

    def _describe_with_drafts(self, output: "SchedulerOutput", begin: float) -> str:
        """The same of a step with drafts: whoever is there without any computes a chunk, be it of one token.

        Not so where the step before chose none for all: then one token each makes a decode. Contexts count what is sure:
        what is known, and the one token that a step in flight emits at least. Its output tells the rest.
        """
        self._latest = output
        scheduled, drafts = output.num_scheduled_tokens, output.scheduled_spec_decode_tokens
        cached = output.scheduled_cached_reqs
        new = [(scheduled[r.req_id], r.num_computed_tokens) for r in output.scheduled_new_reqs]
        contexts, chunks = [], list(new)
        for identifier, computed, emitted in zip(
            cached.req_ids, cached.num_computed_tokens, cached.num_output_tokens, strict=True
        ):
            count, drafted = scheduled[identifier], len(drafts.get(identifier, ()))
            is_plain = not drafts and count == 1 and emitted and identifier not in cached.resumed_req_ids
            if drafted or is_plain:
                request = self.requests[identifier]
                in_flight = request.num_output_placeholders > 1 + drafted
                contexts.append(request.num_tokens + in_flight - 1)
            else:
                chunks.append((count, computed))
        return self._line(output, begin, contexts, new, chunks)

    def _line(
        self,
        output: "SchedulerOutput",
        begin: float,
        contexts: list[int],
        new: list[tuple[int, int]],
        chunks: list[tuple[int, int]],
    ) -> str:
        free = self.kv_cache_manager.block_pool.get_num_free_blocks()
        return (
            f'["s",{begin:.6f},{time.monotonic():.6f},{len(output.num_scheduled_tokens)},'
            f"{output.total_num_scheduled_tokens},{sum(contexts)},"
            f"{json.dumps(new) if new else '[]'},{json.dumps(chunks) if chunks else '[]'},"
            f"{len(output.finished_req_ids)},{len(self.running)},{len(self.waiting) + len(self.skipped_waiting)},"
            f"{len(output.preempted_req_ids or ())},{free},"
            f"{max(contexts, default=0)},{sum(map(operator.mul, contexts, contexts))}]"
        )

    def get_grammar_bitmask(self, *args: Any, **kwargs: Any) -> Any:
        """What vLLM asks for between the launch of a step and that of its sampling."""
        if self._path:
            self._lines.append(f'["l",{time.monotonic():.6f}]')
        return super().get_grammar_bitmask(*args, **kwargs)

    def update_from_output(
        self, scheduler_output: "SchedulerOutput", model_runner_output: "ModelRunnerOutput"
    ) -> dict[int, Any]:
        if not self._path:
            return super().update_from_output(scheduler_output, model_runner_output)  # type: ignore[no-any-return]
        begin = time.monotonic()
        self._drafted = None
        outputs: dict[int, Any] = super().update_from_output(scheduler_output, model_runner_output)
        accepted = self._accepted(scheduler_output, model_runner_output) if self.num_spec_tokens else ""
        self._lines.append(f'["u",{begin:.6f},{time.monotonic():.6f}{accepted}]')
        if not self.requests or len(self._lines) > MAX_BUFFERED_LINES:
            self._flush()
        return outputs

    def make_stats(self, spec_decoding_stats: "SpecDecodingStats | None" = None, *args: Any, **kwargs: Any) -> Any:
        """What vLLM asks for once a step, with its own counts of that step's drafts."""
        self._drafted = spec_decoding_stats
        return super().make_stats(spec_decoding_stats, *args, **kwargs)

    def _accepted(self, output: "SchedulerOutput", sampled: "ModelRunnerOutput") -> str:
        """Accepted drafts of requests that are in the step behind this one already, then vLLM's counts of this step."""
        behind = 0
        if self._latest is not None and self._latest is not output:
            there, at = self._latest.num_scheduled_tokens, sampled.req_id_to_index
            tokens = [sampled.sampled_token_ids[at[i]] for i in output.scheduled_spec_decode_tokens if i in there]
            behind = sum(len(found) - 1 for found in tokens if len(found))
        if self._drafted is None:
            return f",{behind},0,0,[]"
        drafted = self._drafted
        return (
            f",{behind},{drafted.num_drafts},{drafted.num_draft_tokens},"
            f"{json.dumps(drafted.num_accepted_tokens_per_pos)}"
        )

    def _flush(self) -> None:
        assert self._path is not None
        with self._path.open("a") as file:
            file.write("\n".join(self._lines) + "\n")
        self._lines.clear()

    def shutdown(self) -> None:
        if self._path and self._lines:
            self._flush()
        super().shutdown()
