"""Hit rates of a trace whose prompts are known."""

import json
from pathlib import Path

import pytest

from benchmarks.sessions.mooncake import TOKENS, cached_share, plain_share, table
from sunsim.errors import InputError
from sunsim.workload.traces.formats import read_trace
from sunsim.workload.traces.hashes import hashed_sessions


@pytest.mark.parametrize(("capacity", "found"), [(2, 2), (3, 2), (4, 4)])
def test_plain_cache_drops_the_least_recently_used(capacity: int, found: int) -> None:
    assert plain_share([[1, 2], [1, 2], [3, 4], [1, 2]], capacity) == found / 8


def test_plain_cache_finds_nothing_behind_a_block_that_is_missing() -> None:
    assert plain_share([[1, 2], [3, 2]], 10) == 0


def write(path: Path, prompts: list[tuple[int, list[int]]]) -> Path:
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    lines = [
        json.dumps(dict(zip(keys, (1000 * i, tokens, 1, ids), strict=True))) for i, (tokens, ids) in enumerate(prompts)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# The same prompt three times, another in between: two full blocks and a token each.
LONG = 2 * TOKENS + 1
PROMPTS = [(LONG, [1, 2, 3]), (LONG, [1, 2, 3]), (LONG, [4, 5, 6]), (LONG, [1, 2, 3])]


@pytest.mark.parametrize(("capacity", "found"), [(3, 2), (4, 3), (5, 4)])
def test_simulated_cache_drops_the_end_of_a_prompt_first(tmp_path: Path, capacity: int, found: int) -> None:
    path = write(tmp_path / "trace.jsonl", PROMPTS)
    rows = read_trace(path, "mooncake")
    share = cached_share(hashed_sessions(rows, path, TOKENS), rows.prompt_tokens.tolist(), capacity)
    assert share == found * TOKENS / (4 * LONG)


def test_last_token_is_always_computed(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.jsonl", [(2 * TOKENS, [1, 2])] * 2)
    rows = read_trace(path, "mooncake")
    share = cached_share(hashed_sessions(rows, path, TOKENS), rows.prompt_tokens.tolist(), 10)
    assert share == TOKENS / (4 * TOKENS)


def test_table_has_every_size_and_what_a_worker_finds(tmp_path: Path) -> None:
    rows = table(write(tmp_path / "trace.jsonl", PROMPTS)).rows
    assert rows[0] == ("1,000", "0.500", "0.500", "0.500", "0.30")
    assert rows[-1] == ("no limit", "0.500", "", "0.500", "0.51")


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("hash_ids\n", encoding="utf-8")
    with pytest.raises(InputError, match="must be a JSON object"):
        table(path)
