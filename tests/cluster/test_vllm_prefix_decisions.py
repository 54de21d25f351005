"""The engine finds, keeps and loses the blocks that vLLM does: cases that vLLM 0.24's own scheduler ran, played again.

They come from `tests.profiler.vllm_prefix_decisions`, which says what is in a line.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.prefix_cache import CachingBlocks
from sunsim.latency.steps import StepTimes
from tests.cluster.plain_blocks import Keys, TextKeys
from tests.cluster.test_prefix_twin import unheld_keys
from tests.cluster.test_vllm_decisions import Noted, NotedStepwise, config, replay
from tests.cluster.texts import Texts
from tests.cluster.worlds import Steps

RECORDED = Path(__file__).with_name("vllm_prefix_decisions.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text().splitlines()]


class NotedCaching(NotedStepwise):
    """Writes down, too, whom it admits and how much of each it finds."""

    def __init__(self, config: EngineConfig, times: StepTimes, keys: Keys) -> None:
        super().__init__(config, times, keys)
        self._admitted: list[list[int]] = []

    def _take_found(self, job: Any, found: list[int]) -> None:
        self._admitted.append([job.sequence.request, len(found) * self.config.block_size])
        super()._take_found(job, found)

    def _launch(self, now: int, taken: list[tuple[Any, int]], *, held: bool, launched: bool) -> int:
        rows = len(self.rows)
        start = super()._launch(now, taken, held=held, launched=launched)
        if len(self.rows) > rows:
            self.rows[-1].append(sorted(self._admitted))
            self._admitted = []
        return start


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_engine_finds_what_vllm_finds(case: dict[str, Any]) -> None:
    size, number = case["worker"]["block_size"], len(case["requests"])
    texts = Texts.grown(case["begun"], case["asked"], [output for _, _, output, _ in case["requests"]])
    plain_keys = TextKeys([texts.text(i) for i in range(number)], size, [0] * number)
    keys = BlockKeys(texts.sessions(), size, None)
    caching = replace(config(case), enable_prefix_caching=True)
    stepping_times, leaping_times = Noted(Steps(**case["times"])), Noted(Steps(**case["times"]))
    stepping = NotedCaching(caching, stepping_times, plain_keys)
    leaping = Engine(caching, leaping_times, keys=keys)

    assert replay(cast("Engine", stepping), case) == case["stamps"]
    assert stepping.rows == case["rows"]
    assert replay(leaping, case) == case["stamps"]
    assert leaping.steps == sum(bool(taken) for _, _, taken, *_ in case["rows"])
    assert leaping_times.asked == stepping_times.asked

    pool, blocks = stepping.blocks, leaping.blocks
    assert isinstance(blocks, CachingBlocks)
    left = [(request, size * (place + 1)) for request, place in case["left"]]
    assert [key for block in pool.free if (key := pool.key[block])] == [plain_keys.of(*one)[-1] for one in left]
    assert unheld_keys(blocks) == [keys.of(*one)[-1] for one in left]
    first: dict[int, int] = {}
    for *_, admitted in case["rows"]:
        first = dict(admitted) | first
    assert blocks.hits == sum(first.values())
