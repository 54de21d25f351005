"""With drafts, too, the engine finds, keeps and loses the blocks that vLLM does: cases that vLLM 0.24's own scheduler ran.

They come from `tests.profiler.vllm_prefix_draft_decisions`, which says what is in a line.
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
from tests.cluster.plain_blocks import TextKeys
from tests.cluster.test_prefix_twin import unheld_keys
from tests.cluster.test_vllm_draft_decisions import Noted, replay
from tests.cluster.test_vllm_draft_decisions import config as draft_config
from tests.cluster.test_vllm_prefix_decisions import NotedCaching
from tests.cluster.texts import Texts

RECORDED = Path(__file__).with_name("vllm_prefix_draft_decisions.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text().splitlines()]
NAMED = pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))


def config(case: dict[str, Any]) -> EngineConfig:
    """The worker's options."""
    return replace(draft_config(case), enable_prefix_caching=True, use_eagle=case["speculation"]["method"] == "eagle")


def texts_of(case: dict[str, Any]) -> Texts:
    return Texts.grown(case["begun"], case["asked"], [output for _, _, output, _ in case["requests"]])


def plain_keys(case: dict[str, Any]) -> TextKeys:
    texts, number = texts_of(case), len(case["requests"])
    return TextKeys([texts.text(i) for i in range(number)], case["worker"]["block_size"], [0] * number)


def left(case: dict[str, Any]) -> list[tuple[int, int]]:
    """The blocks that can be found in the end, the next to be lost first: a request and its tokens until their end."""
    return [(request, case["worker"]["block_size"] * (place + 1)) for request, place in case["left"]]


@NAMED
def test_twin_finds_what_vllm_finds(case: dict[str, Any]) -> None:
    keys = plain_keys(case)
    stepping = NotedCaching(config(case), Noted(**case["times"]), keys)
    assert replay(cast("Engine", stepping), case) == case["stamps"]
    assert stepping.rows == case["rows"]
    pool = stepping.blocks
    assert [key for block in pool.free if (key := pool.key[block])] == [keys.of(*one)[-1] for one in left(case)]


@NAMED
def test_engine_finds_what_vllm_finds(case: dict[str, Any]) -> None:
    keys = BlockKeys(texts_of(case).sessions(), case["worker"]["block_size"], None)
    stepping_times, leaping_times = Noted(**case["times"]), Noted(**case["times"])
    leaping = Engine(config(case), leaping_times, keys=keys)
    assert replay(leaping, case) == case["stamps"]
    assert leaping.steps == sum(bool(taken) for _, _, taken, *_ in case["rows"])
    replay(cast("Engine", NotedCaching(config(case), stepping_times, plain_keys(case))), case)
    assert leaping_times.asked == stepping_times.asked
    blocks = leaping.blocks
    assert isinstance(blocks, CachingBlocks)
    assert unheld_keys(blocks) == [keys.of(*one)[-1] for one in left(case)]
    first: dict[int, int] = {}
    for *_, admitted in case["rows"]:
        first = dict(admitted) | first
    assert blocks.hits == sum(first.values())
