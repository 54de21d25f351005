"""The order of free KV blocks, on vLLM's own block pool; runs only where vLLM is installed."""

import importlib.util
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

BLOCKS = 400


@pytest.fixture
def scheduler() -> Any:
    """As much of a scheduler as scatters blocks."""
    from tests.profiler.fake_platform import install_platform  # noqa: PLC0415

    install_platform()
    from vllm.v1.core.block_pool import BlockPool  # noqa: PLC0415

    from profiler.scheduler import RecordingScheduler  # noqa: PLC0415

    found = RecordingScheduler.__new__(RecordingScheduler)
    pool = BlockPool(num_gpu_blocks=BLOCKS, enable_caching=False, hash_block_size=16)
    found.kv_cache_manager = SimpleNamespace(block_pool=pool)
    return found


def test_scattered_blocks_are_not_neighbours_and_none_is_lost(scheduler: Any) -> None:
    pool = scheduler.kv_cache_manager.block_pool
    held = pool.get_new_blocks(9)
    scheduler._scatter_blocks()
    assert pool.get_num_free_blocks() == BLOCKS - 1 - len(held)
    got = [block.block_id for block in pool.get_new_blocks(pool.get_num_free_blocks())]
    everything = {*got, *(block.block_id for block in held), pool.null_block.block_id}
    assert everything == set(range(BLOCKS))
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(got))
    assert neighbours < BLOCKS / 40
