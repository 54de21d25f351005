"""The largest chunk beside decodes, against what can be added up by hand."""

from __future__ import annotations

import pytest

from sunsim.latency.chunk import largest_chunk
from sunsim.latency.steps import Chunk, Outside
from tests.cluster.worlds import Steps


class Attending(Steps):
    """A prompt token also takes a picosecond for each token before it."""

    def chunked_step(self, batch: int, context_tokens: int, chunks: list[Chunk]) -> tuple[int, Outside | None]:
        step_ps, outside = super().chunked_step(batch, context_tokens, chunks)
        return step_ps + sum(chunk.tokens * chunk.before for chunk in chunks), outside


STEPS = Steps(1000, decode=20, context=1, token=10)
BESIDE = 1000 + 20 * 30 + 500
"""Of 30 decodes with 500 tokens."""


@pytest.mark.parametrize(
    ("limit", "chunk"),
    [(BESIDE + 159, 0), (BESIDE + 160, 16), (BESIDE + 319, 16), (BESIDE + 320, 32), (BESIDE + 10_000, 960)],
)
def test_it_is_what_the_limit_leaves_in_whole_blocks(limit: int, chunk: int) -> None:
    # 16 tokens take 160; there is room for 970.
    assert largest_chunk(STEPS, 30, 500, 400, 16, 970, limit) == (chunk, BESIDE + 160)


@pytest.mark.parametrize(("prompt", "before"), [(100, 68), (48, 16), (40, 8), (5, 0)])
def test_it_attends_to_the_prompt_before_it(prompt: int, before: int) -> None:
    takes = BESIDE + 10 * 32 + 32 * before
    steps = Attending(1000, decode=20, context=1, token=10)
    assert largest_chunk(steps, 30, 500, prompt, 16, 32, takes)[0] == 32
    assert largest_chunk(steps, 30, 500, prompt, 16, 32, takes - 1)[0] < 32
