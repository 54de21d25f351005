"""Hit rates by cache size of a Mooncake trace, beside the published ones: ``python -m benchmarks.sessions.mooncake FILE``.

A cache may be larger than what a card has room for: then the simulator's is driven without a clock, a prompt after the
other. What fits is also simulated in a worker.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.show import show
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.prefix_cache import CachingBlocks
from sunsim.cluster.sequence import KV
from sunsim.cluster.sequence import Sequence as Request
from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.report.text_table import TextTable
from sunsim.scenario import load_scenario
from sunsim.scenario.requests import build_requests
from sunsim.workload.sessions import Sessions
from sunsim.workload.traces.formats import read_trace
from sunsim.workload.traces.hashes import BLOCK_TOKENS, HASHES, hashed_sessions

TOKENS = BLOCK_TOKENS["mooncake"]
SIZES = (1_000, 3_000, 10_000, 30_000, 50_000)
"""Blocks."""
PUBLISHED = {1_000: 0.30, 10_000: 0.40, 50_000: 0.50, None: 0.51}
"""Least recently used, by blocks, None: no limit. Of the trace of Mooncake's paper (2407.00079)."""
WORKER_BLOCKS = 1_000
"""The only one of these sizes that fits beside the weights of an 8B model into a card that was measured."""
SLOWER = 0.2
"""Of the trace's rates: more is too much for one worker."""
NOTE = (
    "Blocks have 512 tokens. Cache: tokens found over tokens of all prompts, the simulator's cache driven a prompt after the "
    "other, in blocks of 512 tokens; only full blocks are found. Worker: the same of one simulated H200 with as much room, "
    "blocks of 16 tokens, answers in the cache too, the trace five times slower. Plain: blocks found over blocks of all "
    "prompts, in a cache that drops the least recently used. Published: of another of Mooncake's traces."
)


def plain_share(prompts: Iterable[Sequence[int]], capacity: int) -> float:
    """Share of all blocks that a plain cache finds, which drops the least recently used.

    Args:
        prompts: hashes of the blocks of each.
        capacity: blocks.
    """
    cache: OrderedDict[int, None] = OrderedDict()
    asked = found = 0
    for hashes in prompts:
        asked += len(hashes)
        missed = False
        for block in hashes:
            missed = missed or block not in cache
            found += not missed
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return found / asked


def cached_share(sessions: Sessions, prompt_tokens: Sequence[int], capacity: int, block_tokens: int = TOKENS) -> float:
    """Share of all prompt tokens that the simulator's cache finds; answers take no room, as in Mooncake's count.

    Args:
        sessions: what the prompts have in common.
        prompt_tokens: of each.
        capacity: blocks, enough for any one prompt.
        block_tokens: of a block.
    """
    config = EngineConfig(
        max_num_seqs=1,
        max_num_batched_tokens=1,
        num_gpu_blocks=capacity + 1,  # one is vLLM's own
        block_size=block_tokens,
        enable_prefix_caching=True,
    )
    blocks = CachingBlocks(config, BlockKeys(sessions, block_tokens, None))
    for request, tokens in enumerate(prompt_tokens):
        sequence = Request(request, 0, tokens, 1, KV.COMPUTE)
        admitted = blocks.admit(sequence)
        assert admitted
        blocks.grow(sequence, tokens)
        blocks.free(sequence)
    return blocks.hits / blocks.queries


def worker_share(path: Path, capacity: int) -> float:
    """Share of all prompt tokens that one simulated worker finds that has room for so many blocks of 512 tokens.

    Raises:
        InputError: the file is no such trace.
    """
    pool = {
        "profile": "h200-141gb/llama-3.1-8b-bf16",
        "policy": "isolated",
        "workers": 1,
        "enable_prefix_caching": True,
        "num_gpu_blocks": 1 + capacity * TOKENS // 16,
        "max_model_len": 131_072,
    }
    scenario = load_scenario(
        {
            "name": "mooncake",
            "models": {"count": 1},
            "workload": {"kind": "trace", "format": "mooncake", "path": str(path.resolve()), "rate_scale": SLOWER},
            "arms": [{"name": "worker", "colocated": pool}],
        }
    )
    (worker,) = simulate_arm(scenario, scenario.arms[0], build_requests(scenario)).workers
    return worker.prefix_cache_hits / worker.prefix_cache_queries


def table(path: Path) -> TextTable:
    """Hit rates by cache size.

    Raises:
        InputError: the file is no such trace.
    """
    rows = read_trace(path, "mooncake")
    sessions = hashed_sessions(rows, path, TOKENS)
    prompts = [json.loads(line).get(HASHES, []) for line in path.read_text(encoding="utf-8").splitlines()]
    prompt_tokens = rows.prompt_tokens.tolist()
    largest = max(map(len, prompts))
    unlimited = sum(map(len, prompts))
    lines = []
    for size in [*(size for size in SIZES if size >= largest), None]:
        capacity = size or unlimited
        published = PUBLISHED.get(size)
        lines.append(
            (
                f"{size:,}" if size else "no limit",
                f"{cached_share(sessions, prompt_tokens, capacity):.3f}",
                f"{worker_share(path, capacity):.3f}" if size == WORKER_BLOCKS else "",
                f"{plain_share(prompts, capacity):.3f}",
                f"{published:.2f}" if published else "",
            )
        )
    title = f"{path.name}: {len(rows):,} requests, {sum(prompt_tokens):,} prompt tokens"
    return TextTable(title, ("blocks", "cache", "worker", "plain", "published,\nother trace"), lines)


def main() -> None:
    """Prints the table of the file on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.sessions.mooncake TRACE.jsonl")
    try:
        found = table(Path(sys.argv[1]))
    except InputError as error:
        sys.exit(str(error))
    show([NOTE, found])


if __name__ == "__main__":
    main()
