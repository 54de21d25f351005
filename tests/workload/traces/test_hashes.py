"""What prompts have in common by the hashes of their blocks, and which request of a chat follows which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.errors import InputError
from sunsim.report.basis import basis
from sunsim.run import check
from sunsim.scenario import build_requests, load_scenario
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Sessions
from sunsim.workload.texts import repeated_tokens
from tests.plan.small import invoke
from tests.scenario_files import TRACE, write_scenario

CACHED = (
    "arms=[{name: cached, colocated: {profile: tiny.json, policy: isolated, workers: 2, enable_prefix_caching: true}}]"
)


def block(at: int, prompt: int, hashes: list[int] | None, **more: Any) -> dict[str, Any]:
    told = {} if hashes is None else {"hash_ids": hashes}
    return {"timestamp": at, "input_length": prompt, "output_length": 10, **told, **more}


def chat(name: int, parent: int, turn: int) -> dict[str, Any]:
    return {"chat_id": name, "parent_chat_id": parent, "type": "text", "turn": turn}


MOONCAKE = [
    block(0, 1200, [7, 8, 9]),
    block(1000, 1500, [7, 8, 10]),
    block(2000, 1200, [7, 8, 9]),
    # The last hash is of a part of a block: of 176 tokens above, of 100 here.
    block(3000, 1124, [7, 8, 9]),
    block(4000, 600, [3, 8]),
]
BAILIAN = [
    block(5, 40, [1, 2, 3], **chat(7, -1, 1)),
    block(6, 33, [1, 2, 4], **chat(8, -1, 1)),
    block(9, 70, [1, 2, 5, 6, 9], **chat(9, 7, 2)),
    block(9, 20, None, **chat(10, -1, 1)),
    block(12, 90, [1, 2, 5, 6, 10, 11], **chat(11, 9, 3)),
    block(13, 20, [1, 12], **chat(12, 4, 2)),
]


def write(folder: Path, name: str, lines: list[dict[str, Any]]) -> Path:
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return write_scenario(folder, TRACE.replace("format: csv, path: trace.csv", f"format: {name}, path: {name}.jsonl"))


def requests_of(folder: Path, name: str, lines: list[dict[str, Any]], *overrides: str) -> Requests:
    return build_requests(load_scenario(write(folder, name, lines), [CACHED, *overrides]))


def told(requests: Requests) -> Sessions:
    assert requests.sessions
    return requests.sessions


def test_prompts_of_mooncake_share_blocks_of_512_tokens(tmp_path: Path) -> None:
    requests = requests_of(tmp_path, "mooncake", MOONCAKE)
    assert repeated_tokens(told(requests)).tolist() == [0, 1024, 1200, 1024, 0]
    sessions = told(requests)
    assert (sessions.previous == UNKNOWN).all()
    assert (sessions.session.tolist(), sessions.round.tolist()) == ([0, 1, 2, 3, 4], [0] * 5)
    assert np.array_equal(sessions.segments.end[sessions.prompt], requests.prompt_tokens)
    assert np.array_equal(sessions.segments.end[sessions.answer], requests.prompt_tokens + 10)


def test_prompts_of_bailian_share_blocks_of_16_tokens_in_chats(tmp_path: Path) -> None:
    sessions = told(requests_of(tmp_path, "bailian", BAILIAN))
    assert repeated_tokens(sessions).tolist() == [0, 32, 32, 0, 64, 16]
    assert sessions.session.tolist() == [0, 1, 0, 2, 0, 3]
    assert sessions.round.tolist() == [0, 0, 1, 0, 2, 0]
    assert not sessions.react


def test_what_is_not_used_of_a_trace_is_not_shared(tmp_path: Path) -> None:
    window = "workload.start_s=4"
    sessions = told(requests_of(tmp_path, "bailian", BAILIAN, window))
    assert repeated_tokens(sessions).tolist() == [0, 0, 64, 16]
    assert sessions.session.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(("name", "lines"), [("mooncake", MOONCAKE), ("bailian", BAILIAN)])
def test_requests_are_the_same_whether_anything_is_cached_or_not(
    tmp_path: Path, name: str, lines: list[dict[str, Any]]
) -> None:
    scenario = load_scenario(write(tmp_path, name, lines))
    plain, cached = build_requests(scenario), requests_of(tmp_path, name, lines)
    assert plain.sessions is None
    for column in ("arrival_ps", "model", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(plain, column), getattr(cached, column))
    assert "what prompts have in common is computed for each of them" in basis(scenario)["assumed"]
    known = [
        fact for fact in basis(load_scenario(write(tmp_path, name, lines), [CACHED]))["assumed"] if "hashes" in fact
    ]
    assert len(known) == 1


def test_the_check_says_how_many_chats_there_are(tmp_path: Path) -> None:
    assert check(write(tmp_path, "bailian", BAILIAN), [CACHED], None).startswith(
        "ok: replay: 6 requests of 4 sessions in "
    )
    assert check(write(tmp_path, "mooncake", MOONCAKE), [CACHED], None).startswith(
        "ok: replay: 5 requests in 4.00 s for "
    )


def test_hashes_are_looked_at_only_where_something_is_cached(tmp_path: Path) -> None:
    wrong = [{**MOONCAKE[0], "hash_ids": [1]}]
    assert len(build_requests(load_scenario(write(tmp_path, "mooncake", wrong)))) == 1
    assert invoke("trace", "convert", tmp_path / "mooncake.jsonl", "--out", tmp_path / "out.csv")[0] == 0
    said = invoke("trace", "describe", tmp_path / "mooncake.jsonl")[1]
    assert (
        f"What prompts have in common is not known: {tmp_path}/mooncake.jsonl:1: the length of hash_ids is 1, must be 3"
        in said
    )


def test_what_repeats_is_described(tmp_path: Path) -> None:
    write(tmp_path, "bailian", BAILIAN)
    said = invoke("trace", "describe", tmp_path / "bailian.jsonl")[1]
    assert said.startswith("bailian.jsonl (bailian): 6 requests of 4 sessions in 8.00 s at 5 different times\n")
    assert "52.7 % of the prompt tokens repeat the beginning of an earlier request." in said
    assert "requests/s" in said


# (the format, what the second line has, the message)
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("mooncake", {"hash_ids": [1, 2]}, "the length of hash_ids is 2, must be 3: one for each 512 tokens of 1200"),
    ("mooncake", {"hash_ids": 3}, "hash_ids is 3, must be a list of whole numbers"),
    ("mooncake", {"hash_ids": [1, 2, "x"]}, "hash_ids is a list, must be a list of whole numbers"),
    ("bailian", {"chat_id": [1]}, "chat_id is a list, must be a number or a name"),
    ("bailian", {"parent_chat_id": None}, "parent_chat_id is null, must be a number or a name"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG, ids=[message[:30] for *_, message in WRONG])
def test_what_is_wrong_is_refused_at_its_line(tmp_path: Path, name: str, change: dict[str, Any], message: str) -> None:
    good = MOONCAKE[0] if name == "mooncake" else BAILIAN[0]
    with pytest.raises(InputError) as caught:
        requests_of(tmp_path, name, [good, {**good, **change}])
    assert str(caught.value) == f"{tmp_path}/{name}.jsonl:2: {message}"
