"""Rounds of one session, moment by moment: blocks hold 4 tokens, a step takes 10 us and 1 us more a prompt token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sunsim.clock import END_PS, MAX_S, to_ps
from sunsim.errors import InputError
from sunsim.latency.steps import WorkerTimes
from tests.cluster.drawn import PROFILE
from tests.cluster.talks import Round, Talk, serve_talks
from tests.cluster.worlds import Host, Hosted, Steps, pool, scenario, write_profile

US = 10**6
STEP, TOKEN, MOVED, THINK = 10, 1, 20, 500
"""Microseconds of a step, of a prompt token more in it, of a token on the link, and between two rounds."""
PS = 1e-6
MAX_PS = to_ps(MAX_S)
CACHES = {"enable_prefix_caching": True}
TALK = [Talk(0, [Round(0, 12, 5), Round(0, 3, 5, THINK * US)])]
"""12 tokens and 5 more; then 3 more than these 17, of which the last has no KV, so 16 are in full blocks."""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token's KV is a million bytes, which take 20 us on the link."""
    return write_profile(tmp_path_factory.mktemp("profile"), **PROFILE)


def times(_: WorkerTimes) -> WorkerTimes:
    return Hosted(Steps(STEP * US, token=TOKEN * US), Host())


def served(
    profile: Path, pools: dict[str, dict[str, Any]], talks: list[Talk] = TALK, system: int = 0, **blocks: Any
) -> pd.DataFrame:
    complete = {stage: pool(profile, **(CACHES | options)) for stage, options in pools.items()}
    models = ["a", "b"]
    transfer = {"bandwidth_gbit_s": 400.0, "latency_ms": 0.0}
    world = scenario(models, complete, transfer=transfer, **blocks)
    return serve_talks(world, talks, times, system).rows


def us(rows: pd.DataFrame, column: str) -> list[float]:
    """Microseconds since each round's arrival, without the picosecond in which a later round comes."""
    later_ps = (rows["round"] > 0) * PS
    return list(((rows[column] - rows["arrival_s"]) * 1e6 - later_ps).round(7))


def isolated(**options: Any) -> dict[str, Any]:
    return {"policy": "isolated", "workers": {"a": 1, "b": 1}} | options


def test_a_colocated_worker_computes_what_it_has_not(profile: Path) -> None:
    rows = served(profile, {"colocated": isolated()})
    assert us(rows, "first_token_s") == [STEP + 12, STEP + 4]
    assert us(rows, "last_token_s") == [5 * STEP + 12, 5 * STEP + 4]
    assert rows["arrival_s"][1] == pytest.approx((5 * STEP + 12 + THINK) * 1e-6, abs=1e-15)
    assert list(rows["cached_tokens"]) == [0, 16]
    assert list(rows["moved_tokens"]) == [0, 0]
    assert rows["appended"].isna().all()


@pytest.mark.parametrize("thought", [END_PS, MAX_PS], ids=["the-clock's-end", "the-longest"])
def test_who_thinks_beyond_the_end_of_the_clock_is_refused(thought: int, profile: Path) -> None:
    """Its picoseconds are more than 64 bits hold."""
    talks = [Talk(MAX_PS, [Round(0, 12, 5), Round(0, 3, 5, thought)])]
    with pytest.raises(InputError, match=r"where the clock ends: .* less time to think, or stop"):
        served(profile, {"colocated": isolated()}, talks)
    rows = served(profile, {"colocated": isolated()}, talks, stop={"when": "time", "limit_s": MAX_S})
    assert list(rows["round"]) == [0]


def test_without_a_cache_all_is_computed_again(profile: Path) -> None:
    rows = served(profile, {"colocated": isolated(enable_prefix_caching=False)})
    assert us(rows, "first_token_s") == [STEP + 12, STEP + 20]
    assert list(rows["cached_tokens"]) == [0, 0]


def remote(computed: int, moved: int, back: int = 0) -> tuple[float, float]:
    """When prefill ends and when the first token comes, where so many tokens are computed and moved, and moved back."""
    end = back * MOVED + STEP + computed * TOKEN
    return end, end + moved * MOVED + STEP


@pytest.mark.parametrize(
    ("decode", "computed", "moved", "back"),
    [
        # Prefill has the first prompt's 12 tokens, the decode worker of the same module the answer's too.
        (isolated(), 8, 4, 0),
        (isolated(history="keep"), 4, 4, 4),
        # A shared decoder's KV of the answer is not the task's: all but the first prompt is made and moved again.
        ({"policy": "shared"}, 8, 8, 0),
        ({"policy": "shared", "history": "keep"}, 4, 4, 4),
        (isolated(enable_prefix_caching=False), 8, 20, 0),
    ],
    ids=["isolated", "isolated-keep", "rebuild", "keep", "no-cache"],
)
def test_remote_rounds_compute_and_move_what_is_lacking(
    decode: dict[str, Any], computed: int, moved: int, back: int, profile: Path
) -> None:
    rows = served(profile, {"prefill": isolated(), "decode": decode})
    ends, firsts = zip(remote(12, 12), remote(computed, moved, back), strict=True)
    assert us(rows, "prefill_end_s") == list(ends)
    assert us(rows, "first_token_s") == list(firsts)
    assert us(rows, "last_token_s") == [first + 4 * STEP for first in firsts]
    assert list(rows["cached_tokens"]) == [0, 12]
    assert list(rows["moved_tokens"]) == [12, moved + back]
    assert list(rows["appended"]) == ["remote", "remote"]


@pytest.mark.parametrize(("blocks", "pulled"), [(100, 4), (13, 0)])
def test_history_that_decode_has_lost_while_a_request_waits_for_prefill_is_not_pulled(
    blocks: int, pulled: int, profile: Path
) -> None:
    """Two prompts come before the second round's, one at a time; the first needs ten blocks in decode."""
    first = remote(12, 12)[1] + 4 * STEP
    others = [Talk(int(first + THINK - wait) * US, [Round(0, new, 5)]) for wait, new in ((12, 40), (11, 4))]
    decode = isolated(history="keep", num_gpu_blocks=blocks)
    rows = served(profile, {"prefill": isolated(max_num_seqs=1), "decode": decode}, [*TALK, *others])
    assert list(rows["cached_tokens"]) == [0, 12, 0, 0]
    assert list(rows["pulled_tokens"]) == [0, pulled, 0, 0]


@pytest.mark.parametrize("policy", ["isolated", "shared"])
def test_a_prompt_that_decode_has_is_given_up_by_prefill(policy: str, profile: Path) -> None:
    """Prefill has room for one prompt, which is all in full blocks; the last of three equal ones comes through, too."""
    decode = isolated() if policy == "isolated" else {"policy": policy}
    talks = [Talk(i * THINK * US, [Round(0, 0, 5)]) for i in range(3)]
    pools = {"prefill": isolated(num_gpu_blocks=4), "decode": decode}
    rows = served(profile, pools, talks, system=12, first_token="prefill")
    assert set(rows["outcome"]) == {"finished"}
    assert list(rows["cached_tokens"]) == [0, 8, 8]
    assert list(rows["moved_tokens"]) == [12, 0, 0]
    assert us(rows, "transfer_end_s") == [STEP + 12 + 12 * MOVED, STEP + 4, STEP + 4]


@pytest.mark.parametrize("rule", [{"append_prefill": "local"}, {"append_prefill": "auto", "append_rule": "bounded"}])
@pytest.mark.parametrize("first_token", ["decode", "prefill"])
def test_a_local_round_is_computed_where_its_history_is(rule: dict[str, Any], first_token: str, profile: Path) -> None:
    rows = served(profile, {"prefill": isolated(), "decode": isolated(**rule)}, first_token=first_token)
    assert us(rows, "first_token_s")[1] == STEP + 4
    assert us(rows, "last_token_s")[1] == 5 * STEP + 4
    assert list(rows["cached_tokens"]) == [0, 16]
    assert list(rows["moved_tokens"]) == [12, 0]
    assert list(rows["appended"]) == ["remote", "local"]
    assert rows["prefill_worker"].isna().tolist() == [False, True]
    assert rows["prefill_end_s"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("history", "cached"), [("rebuild", 12), ("keep", 16)])
def test_a_shared_decoder_appends_with_the_task_s_module(history: str, cached: int, profile: Path) -> None:
    decode = {"policy": "shared", "append_prefill": "local", "history": history}
    rows = served(profile, {"prefill": isolated(), "decode": decode})
    assert us(rows, "first_token_s")[1] == STEP + 20 - cached
    assert rows["cached_tokens"][1] == cached


@pytest.mark.parametrize(
    ("first", "new", "local"), [(12, 36, True), (12, 37, False), (6000, 2046, True), (6000, 2047, False)]
)
def test_a_bounded_rule_appends_little_to_much(first: int, new: int, local: bool, profile: Path) -> None:
    """What is new, and a token without KV: 37 of 53 is just below 0.7 of them, and 2,047 below 2,048."""
    talk = [Talk(0, [Round(0, first, 5), Round(0, new, 5, THINK * US)])]
    decode = isolated(append_prefill="auto", append_rule="bounded")
    rows = served(profile, {"prefill": isolated(), "decode": decode}, talk)
    assert list(rows["appended"]) == ["remote", "local" if local else "remote"]


def test_a_round_of_another_model_goes_where_its_worker_is(profile: Path) -> None:
    talk = [Talk(0, [Round(0, 12, 5), Round(1, 3, 5, THINK * US), Round(0, 3, 5, THINK * US)])]
    rows = served(profile, {"prefill": isolated(), "decode": isolated(append_prefill="local")}, talk)
    assert list(rows["appended"]) == ["remote", "remote", "remote"]
    assert list(rows["decode_worker"]) == ["decode/a/0", "decode/b/0", "decode/a/0"]


@pytest.mark.parametrize(("module", "computed"), [("own", 20), ("shared", 8)])
def test_a_shared_prefill_module_s_kv_serves_every_model(module: str, computed: int, profile: Path) -> None:
    """Another model's round on the same context: its decode worker has nothing of it, a shared prefill worker has."""
    talk = [Talk(0, [Round(0, 12, 5), Round(1, 3, 5, THINK * US)])]
    prefill = {"policy": "shared", "module": module}
    rows = served(profile, {"prefill": prefill, "decode": isolated()}, talk)
    assert us(rows, "first_token_s") == [remote(12, 12)[1], remote(computed, 20)[1]]
    assert list(rows["cached_tokens"]) == [0, 20 - computed]
    assert list(rows["moved_tokens"]) == [12, 20]


def test_both_modules_shared_move_a_context_once_for_all_models(profile: Path) -> None:
    talk = [Talk(0, [Round(0, 12, 5), Round(1, 3, 5, THINK * US)])]
    pools = {"prefill": {"policy": "shared", "module": "shared"}, "decode": {"policy": "shared", "history": "keep"}}
    rows = served(profile, pools, talk)
    assert list(rows["cached_tokens"]) == [0, 12]
    assert list(rows["moved_tokens"]) == [12, 8]  # the answer to prefill, and what is new from there


def test_a_step_of_a_shared_prefill_module_mixes_models(profile: Path) -> None:
    talks = [Talk(0, [Round(0, 12, 1)]), Talk(0, [Round(1, 12, 1)])]
    ends = {
        module: us(served(profile, {"prefill": {"policy": "shared", "module": module}}, talks), "prefill_end_s")
        for module in ("own", "shared")
    }
    assert ends == {"own": [STEP + 12, 2 * (STEP + 12)], "shared": [STEP + 24, STEP + 24]}


def test_a_stop_leaves_out_rounds_that_have_not_come(profile: Path) -> None:
    talks = [Talk(0, TALK[0].rounds), Talk(10 * US, TALK[0].rounds)]
    whole = served(profile, {"colocated": isolated()}, talks)
    limit_s = float(whole["arrival_s"].iloc[[1, 3]].mean())
    rows = served(profile, {"colocated": isolated()}, talks, stop={"when": "time", "limit_s": limit_s})
    assert sorted(whole["arrival_s"].iloc[[1, 3]]) == list(whole["arrival_s"].iloc[[1, 3]])
    assert list(rows["request_id"]) == [0, 1, 2]
    assert list(rows["outcome"]) == ["finished", "unfinished", "finished"]
