"""Timelines of one worker that can be checked with pencil and paper: when each request waits, joins, emits and leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.cluster.engine import Engine
from sunsim.cluster.sequence import KV, Sequence
from sunsim.latency.transfer import HostTimes
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import (
    Host,
    Hosted,
    Neighbours,
    Steps,
    config,
    given,
    play,
    pool,
    posting,
    prompt,
    pulled,
    scenario,
    serve,
    stamps,
    write_profile,
)


def test_idle_worker_gives_a_token_after_one_step() -> None:
    request = given(output_tokens=3)
    play(Engine(config(), Steps(10)), [(5, request)])
    assert stamps(request) == (5, 5, 15, 35)


@pytest.mark.parametrize(("arrival", "decision"), [(1, 10), (11, 20), (13, 20), (20, 20), (21, 30)])
def test_arrival_waits_for_the_rest_of_the_running_step_and_two_full_ones(arrival: int, decision: int) -> None:
    running, late = given(output_tokens=20), given(output_tokens=1)
    play(Engine(config(), Steps(10)), [(0, running), (arrival, late)])
    assert stamps(late) == (decision, decision + 10, decision + 20, decision + 20)


def test_a_finished_requests_place_idles_for_a_step() -> None:
    short, long, waiting = given(output_tokens=2), given(output_tokens=5), given(output_tokens=1)
    play(Engine(config(max_num_seqs=2), Steps(10)), [(0, short), (0, long), (0, waiting)])
    assert short.last_ps == 20
    assert stamps(waiting) == (20, 30, 40, 40)
    assert long.last_ps == 50


def test_the_only_place_is_taken_at_once_when_nothing_else_runs() -> None:
    first, second = given(output_tokens=2), given(output_tokens=1)
    play(Engine(config(max_num_seqs=1), Steps(10)), [(0, first), (0, second)])
    assert first.last_ps == 20
    assert stamps(second) == (20, 20, 30, 30)


def test_step_time_follows_who_joins_and_leaves() -> None:
    a, b, c = given(4, prompt_tokens=5), given(2, prompt_tokens=7), given(3, prompt_tokens=1)
    engine = Engine(config(), Steps(100, decode=10, context=1))
    play(engine, [(0, a), (50, b), (240, c)])
    # 0 to 115: a (5). 115 to 231: a (6). 231 to 365: a (7), b (7). 365 to 501: a (8), b (8).
    # c joins at the decision at 365: 501 to 612: c (1), then 112 and 113.
    assert stamps(a) == (0, 0, 115, 501)
    assert stamps(b) == (115, 231, 365, 501)
    assert stamps(c) == (365, 501, 612, 837)
    assert (engine.steps, engine.busy_ps) == (7, 837)


def test_a_prompt_over_the_budget_is_cut_into_chunks() -> None:
    request = prompt(20, output_tokens=2)
    play(Engine(config(max_num_batched_tokens=8, max_num_seqs=8), Steps(10, token=1)), [(0, request)])
    assert stamps(request) == (0, 0, 18 + 18 + 14, 18 + 18 + 14 + 10)


def test_a_chunk_takes_what_budget_the_decodes_leave() -> None:
    decoding, late = given(output_tokens=6), prompt(12, output_tokens=2)
    engine = Engine(config(max_num_batched_tokens=8, max_num_seqs=8), Steps(100, decode=10, token=1))
    play(engine, [(0, decoding), (5, late)])
    # 0, 110 and 220: the decode. Then it with 7 prompt tokens (117), with 5 (115), two decodes (120), one (110).
    assert stamps(late) == (110, 220, 452, 572)
    assert decoding.last_ps == 682


def test_prompts_share_a_step_in_order_of_arrival() -> None:
    first, second = prompt(6), prompt(6)
    play(Engine(config(max_num_batched_tokens=8, max_num_seqs=8), Steps(10, token=1)), [(0, first), (0, second)])
    assert stamps(first) == (0, 0, 18, 18)
    assert stamps(second) == (0, 0, 32, 32)


def test_a_step_never_mixes_models_where_told_so() -> None:
    first, second = prompt(3), Sequence(1, 1, 4, 1, KV.COMPUTE)
    play(Engine(config(one_model_a_step=True), Steps(10, token=1)), [(0, first), (0, second)])
    assert stamps(first) == (0, 0, 13, 13)
    assert stamps(second) == (0, 13, 27, 27)


def test_a_preempted_request_starts_over_when_blocks_are_free() -> None:
    a, b = prompt(4, output_tokens=8), prompt(4, output_tokens=8)
    engine = Engine(config(block_size=4, num_gpu_blocks=5), Steps(10, token=1))
    play(engine, [(0, a), (0, b)])
    # Prompts until 18, a token each until 58. At 48, step 6 needs a third block for a: b gives up its two.
    assert stamps(a) == (0, 0, 18, 58 + 3 * 10)
    # b knows 9 tokens then, so it waits for 3 blocks until a is done, and computes them in one step.
    assert stamps(b) == (0, 0, 18, 88 + 19 + 2 * 10)
    assert (a.preemptions, b.preemptions, engine.preemptions) == (0, 1, 1)
    assert engine.blocks.unused == 4


def test_a_shared_decoder_sends_a_preempted_request_back_and_computes_only_what_it_had_generated() -> None:
    a, b = pulled(4, 8), pulled(4, 8)
    engine = Engine(config(block_size=4, num_gpu_blocks=5, recompute=False), Steps(10, token=1))
    play(engine, [(0, a), (0, b)], Neighbours(transfer=7, way_back=20))
    assert stamps(a) == (7, 7, 17, 87)
    # b was sent back at 47 and here again at 67. From 87 there is room; KV at 94, 5 tokens in one step, 2 more.
    assert stamps(b) == (7, 7, 17, 94 + 15 + 2 * 10)
    assert (a.preemptions, b.preemptions) == (0, 1)
    assert engine.blocks.unused == 4


def test_the_last_admitted_is_preempted_even_if_another_needs_the_block() -> None:
    old, young = given(12, prompt_tokens=5), given(12, prompt_tokens=5)
    play(Engine(config(block_size=4, num_gpu_blocks=5), Steps(10)), [(0, old), (1, young)])
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert old.last_ps == 120


@pytest.mark.parametrize(
    "scarce", [{"max_num_seqs": 1}, {"block_size": 4, "num_gpu_blocks": 3}], ids=["place", "blocks"]
)
def test_place_and_blocks_are_held_while_the_kv_is_on_its_way(scarce: dict[str, int]) -> None:
    a, b = pulled(5, 2), pulled(5, 1)
    play(Engine(config(**scarce), Steps(10)), [(0, a), (0, b)], Neighbours(transfer=100))
    assert stamps(a) == (100, 100, 110, 120)
    assert stamps(b) == (220, 220, 230, 230)


def test_transfers_overlap_where_nothing_is_scarce() -> None:
    a, b = pulled(5, 2), pulled(5, 1)
    play(Engine(config(), Steps(10)), [(0, a), (0, b)], Neighbours(transfer=100))
    assert stamps(a) == (100, 100, 110, 120)
    assert stamps(b) == (100, 100, 110, 110)


def test_pinned_blocks_hold_up_the_next_prompt() -> None:
    a, b = prompt(8), prompt(8)
    engine = Engine(config(block_size=4, num_gpu_blocks=3, pin_finished=True), Steps(10, token=1))
    play(engine, [(0, a), (0, b)], Neighbours(fetch=50))
    assert stamps(a) == (0, 0, 18, 18)
    assert stamps(b) == (68, 68, 86, 86)


def test_a_full_decode_worker_pushes_back_on_prefill(tmp_path: Path) -> None:
    us = 10**6
    profile = write_profile(tmp_path, kv_bytes_per_token=125)
    pools = {
        "prefill": pool(profile, num_gpu_blocks=2),  # room for one prompt
        "decode": pool(profile, max_num_seqs=1),
    }
    world = scenario(["m"], pools, transfer={"bandwidth_gbit_s": 8.0, "latency_ms": 0.0})  # a prompt moves in 1 us
    rows = serve(world, [(0, 0, 8, 3)] * 3, lambda _: Hosted(Steps(10 * us), Host())).rows

    def microseconds(column: str) -> list[int]:
        return [round(value) for value in rows[column] * 1e6]

    assert microseconds("prefill_start_s") == [0, 11, 42]
    assert microseconds("prefill_end_s") == [10, 21, 52]
    assert microseconds("transfer_start_s") == [10, 41, 72]
    assert microseconds("transfer_end_s") == [11, 42, 73]
    assert microseconds("decode_first_token_s") == [21, 52, 83]
    assert microseconds("last_token_s") == [41, 72, 103]


@pytest.mark.parametrize(("post", "last_ps"), [(4, 30), (15, 35), (40, 60)])
def test_beginning_a_pull_holds_the_next_launch_up_where_the_gpu_does_not_hide_it(post: int, last_ps: int) -> None:
    running, late = given(output_tokens=3), pulled(prompt_tokens=5, output_tokens=1)
    late.pulling = posting(lambda _: post)
    engine = Engine(config(), Steps(10))
    play(engine, [(0, running), (3, late)], Neighbours(transfer=100))
    # The decision at 10, with the step from 10 to 20 under way, begins the pull; the step after that is launched later.
    assert (running.first_ps, running.last_ps) == (10, last_ps)


def test_pulls_begun_together_hold_the_host_one_after_the_other() -> None:
    both = [pulled(prompt_tokens=tokens, output_tokens=1) for tokens in (3, 4)]
    for request in both:
        request.pulling = posting(lambda tokens: tokens)
    engine = Engine(config(), Steps(10))
    play(engine, [(0, both[0]), (0, both[1])], Neighbours(transfer=1))
    assert [request.scheduled_ps for request in both] == [7, 7]


HOST = HostTimes(begin_ps=1, lead_ps=2.0, lead_ps_per_decode=0.0, admit_ps=3)


@pytest.mark.parametrize(
    ("transfer", "scheduled_ps"), [(4, 30), (6, 30), (7, 40), (12, 40), (13, 50), (22, 50), (23, 60)]
)
def test_kv_is_seen_when_a_step_is_launched_and_heard_of_with_its_output(transfer: int, scheduled_ps: int) -> None:
    running, late = given(output_tokens=20), pulled(prompt_tokens=5, output_tokens=1)
    late.pulling = posting(lambda _: 4, HOST)
    play(Engine(config(), Steps(10)), [(0, running), (3, late)], Neighbours(transfer=transfer))
    # The decision at 10 begins it, and its step is launched at 16; those decided at 20 and 30 are launched at 22 and 32.
    # The output of a step is out at the second decision after its own: at 30, 40 and 50.
    assert (late.scheduled_ps, running.last_ps) == (scheduled_ps, 200)


def test_a_step_that_waits_for_its_host_starts_when_that_has_begun_the_transfer_and_launched_it() -> None:
    running, late = given(output_tokens=3), pulled(prompt_tokens=5, output_tokens=1)
    late.pulling = posting(lambda _: 15, HOST)
    play(Engine(config(), Steps(10, lead=7)), [(0, running), (3, late)], Neighbours(transfer=100))
    # Decided at 17, when the step from 7 to 17 is done: 17 + 2 + 15, in place of 27; `lead` is in the 2.
    assert (running.first_ps, running.last_ps) == (17, 44)


def test_a_worker_with_nothing_else_to_do_begins_and_takes_up_as_measured() -> None:
    late = pulled(prompt_tokens=5, output_tokens=1)
    late.pulling = posting(lambda _: 4, HOST)
    play(Engine(config(), Steps(10)), [(3, late)], Neighbours(transfer=20))
    assert (late.post_ps, late.scheduled_ps) == (1 + 4, 3 + 20 + 3)


@pytest.mark.parametrize("make", [Engine, StepwiseEngine])
@pytest.mark.parametrize("submitted_ps", [3, 5, 6, 10])
def test_kv_that_comes_while_other_is_taken_up_is_heard_of_with_it(submitted_ps: int, make: type[Engine]) -> None:
    host = HostTimes(begin_ps=1, lead_ps=2.0, lead_ps_per_decode=0.0, admit_ps=8)
    first, second = (pulled(prompt_tokens=5, output_tokens=1) for _ in range(2))
    first.pulling = second.pulling = posting(lambda _: 0, host)
    play(make(config(), Steps(10)), [(3, first), (submitted_ps, second)], Neighbours(transfer=20))
    # The first is there at 23 and taken up until 31; so is all that is there by then.
    assert (first.scheduled_ps, second.scheduled_ps) == (31, 31)
