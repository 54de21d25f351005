"""Steps of a decode worker that computes prompts with another module than it decodes with."""

from collections.abc import Iterator
from dataclasses import dataclass

from sunsim.latency.steps import Chunk, DecodeLine, DraftWorkerTimes, Outside, WorkerTimes


@dataclass(frozen=True, slots=True)
class TwoPasses:
    """A step with prompts is two passes, one after the other: one of the decodes alone, one of the prompts alone.

    Assumed, not measured: nothing is gained or lost by having both on one GPU, and the launch of the decodes is hidden
    behind the prompts'.

    Attributes:
        decode: times of the module that decodes; `prefill`: of the one that computes prompts.
    """

    decode: WorkerTimes
    prefill: WorkerTimes

    @property
    def pause_ps(self) -> int:
        return self.decode.pause_ps

    def decode_line(self, batch: int, context_tokens: int) -> DecodeLine:
        return self.decode.decode_line(batch, context_tokens)

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        prompts_ps, outside = self.prefill.chunked_step(0, 0, chunks)
        if not batch:
            return prompts_ps, outside
        line = self.decode.decode_line(batch, context_tokens)
        return prompts_ps + line.base_ps + line.slope_ps * context_tokens, line.outside or outside

    def launch_ps(self, tokens: int, nth: int) -> int:
        return (self.prefill if tokens else self.decode).launch_ps(tokens, nth)

    def lead_ps(self, tokens: int) -> int:
        return (self.prefill if tokens else self.decode).lead_ps(tokens)

    def take_in_ps(self, prompt_tokens: int) -> int:
        return self.decode.take_in_ps(prompt_tokens)

    def tail_ps(self, tokens: int) -> int:
        return (self.prefill if tokens else self.decode).tail_ps(tokens)

    def stalls(self, offset: float) -> Iterator[tuple[int, int]]:
        return self.decode.stalls(offset)


@dataclass(frozen=True, slots=True)
class DraftTwoPasses(TwoPasses):
    """As `TwoPasses` where the decodes have drafts; who enters with one token is in the decodes' pass."""

    decode: DraftWorkerTimes

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        return self.decode.decode_line_k(batch, context_tokens, k)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        prompts = [chunk for chunk in chunks if chunk.tokens > 1]
        entering = [chunk for chunk in chunks if chunk.tokens == 1]
        prompts_ps, beyond = self.prefill.chunked_step(0, 0, prompts) if prompts else (0, None)
        if entering:
            decodes_ps, outside = self.decode.chunked_step_k(batch, context_tokens, entering, k)
            return prompts_ps + decodes_ps, outside or beyond
        if not batch:
            return prompts_ps, beyond
        line = self.decode.decode_line_k(batch, context_tokens, k)
        return prompts_ps + line.base_ps + line.slope_ps * context_tokens, line.outside or beyond
