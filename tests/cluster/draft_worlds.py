"""Step times of workers that draft, to add up by hand."""

from __future__ import annotations

from dataclasses import dataclass

from sunsim.latency.steps import Chunk, DecodeLine, Outside
from tests.cluster.worlds import Steps


@dataclass(frozen=True)
class DraftSteps(Steps):
    """As `Steps`; a step takes `draft` more for each draft in it."""

    draft: int = 0

    def decode_line_k(self, batch: int, context_tokens: int, k: int) -> DecodeLine:
        base, slope, limit, outside = self.decode_line(batch, context_tokens)
        return DecodeLine(base + self.draft * batch * k, slope, limit, outside)

    def chunked_step_k(
        self, batch: int, context_tokens: int, chunks: list[Chunk], k: int
    ) -> tuple[int, Outside | None]:
        step_ps, outside = self.chunked_step(batch, context_tokens, chunks)
        return step_ps + self.draft * batch * k, outside
