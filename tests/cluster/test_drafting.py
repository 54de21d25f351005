"""Timelines of a worker that drafts, added up by hand. A step takes 10, and 1 for each draft in it."""

from __future__ import annotations

from typing import Any

import pytest

from sunsim.cluster.drafting.bursts import BurstDecodes
from sunsim.cluster.drafting.drafts import Drafts
from sunsim.cluster.engine import Engine
from sunsim.workload.acceptance import Acceptance, Rates
from tests.cluster.draft_worlds import DraftSteps
from tests.cluster.stepwise import StepwiseEngine
from tests.cluster.worlds import Neighbours, Steps, config, given, play, prompt, pulled, stamps

ENGINES = pytest.mark.parametrize("make", [Engine, StepwiseEngine])


def drafting(rates: list[float], by_batch: tuple[int, ...] | None = None, **changes: Any) -> Drafts:
    """As many drafts as rates."""
    of_drafts = {"lookahead": len(rates), "max_model_len": 10_000, "expected": False} | changes
    acceptance = Acceptance(0, [[Rates(0, tuple(rates))]], expected=of_drafts.pop("expected"))
    return Drafts(num_speculative_tokens=len(rates), acceptance=acceptance, by_batch=by_batch, **of_drafts)


@ENGINES
@pytest.mark.parametrize(("tokens", "steps"), [(5, 3), (6, 4), (7, 4)])
def test_who_may_have_had_one_token_to_come_is_computed_once_more(make: type[Engine], tokens: int, steps: int) -> None:
    request = given(tokens)
    engine = make(config(drafts=drafting([1.0, 1.0])), DraftSteps(10, draft=1))
    play(engine, [(0, request)])
    # A token without drafts until 10, and three until 22 and 34. With five tokens the last step is known to be it.
    assert stamps(request) == (0, 0, 10, 34)
    assert (engine.steps, engine.busy_ps) == (steps, 34 + 12 * (steps - 3))
    assert (request.drafts, request.draft_tokens, request.accepted_tokens, request.bursts) == (2, 4, 4, 3)


@ENGINES
def test_a_ghost_takes_time_and_its_place_comes_free_beside_it(make: type[Engine]) -> None:
    first, second = given(7), given(1)
    play(make(config(max_num_seqs=1, drafts=drafting([1.0, 1.0])), DraftSteps(10, draft=1)), [(0, first), (0, second)])
    assert first.last_ps == 34
    # Taken at 34, when the ghost runs until 46.
    assert stamps(second) == (34, 46, 56, 56)


@ENGINES
def test_ends_of_two(make: type[Engine]) -> None:
    long, short = given(8), given(3)
    engine = make(config(drafts=drafting([1.0, 1.0])), DraftSteps(10, draft=1))
    play(engine, [(0, long), (0, short)])
    # Steps of two until 24, where the short one ends, and with its ghost until 38; of one until 50.
    assert stamps(short) == (0, 0, 10, 24)
    assert stamps(long) == (0, 0, 10, 50)
    assert engine.steps == 4


@ENGINES
def test_nothing_accepted_is_a_token_a_step_in_steps_of_drafts(make: type[Engine]) -> None:
    a, b = given(6), given(3)
    engine = make(config(drafts=drafting([0.0, 0.0])), DraftSteps(10, draft=1))
    play(engine, [(0, a), (0, b)])
    plain = [given(6), given(3)]
    play(Engine(config(), Steps(10)), [(0, each) for each in plain])
    assert [each.last_ps for each in plain] == [60, 30]
    assert (b.last_ps, a.last_ps) == (10 + 2 * 14, 10 + 2 * 14 + 3 * 12)
    assert engine.steps == 6


@ENGINES
def test_who_enters_has_no_drafts_and_computes_beside_those_of_others(make: type[Engine]) -> None:
    running, late = given(9), prompt(6, output_tokens=2)
    play(make(config(drafts=drafting([1.0])), DraftSteps(10, token=1, draft=1)), [(0, running), (15, late)])
    # Of the first: 0 to 11 a token, 22 and 33 two each. From 33 two beside six of a prompt (17), then both with drafts.
    assert stamps(late) == (22, 33, 50, 62)
    assert stamps(running) == (0, 0, 11, 62)


@ENGINES
def test_who_enters_an_idle_worker_with_one_token_is_launched_as_decodes_are(make: type[Engine]) -> None:
    times = DraftSteps(10, draft=1, launch=7, tail=20)
    alone, with_prompt = given(1), prompt(2)
    for request in (alone, with_prompt):
        play(make(config(drafts=drafting([1.0])), times), [(0, request)])
    assert (alone.first_ps, with_prompt.first_ps) == (10, 27)


@ENGINES
def test_drafts_by_batch_are_off_a_step_after_the_batch_has_grown(make: type[Engine]) -> None:
    a, b = given(9), given(2)
    play(make(config(max_num_seqs=2, drafts=drafting([1.0], (1, 1, 0))), DraftSteps(10, draft=1)), [(0, a), (15, b)])
    # Alone until 10, 21 and 32: five tokens. From 32 two more, beside the first of b, until 43; then one each to 53; one.
    assert stamps(b) == (21, 32, 43, 53)
    assert stamps(a) == (0, 0, 10, 63)
    assert (a.drafts, a.draft_tokens, a.accepted_tokens, a.bursts) == (3, 3, 3, 6)
    assert (b.drafts, b.bursts) == (0, 2)


@ENGINES
def test_drafts_need_blocks_before_they_are_accepted(make: type[Engine]) -> None:
    a, b = prompt(4, output_tokens=8), prompt(4, output_tokens=8)
    engine = make(config(block_size=4, num_gpu_blocks=7, drafts=drafting([1.0])), DraftSteps(10, draft=1))
    play(engine, [(0, a), (0, b)])
    # Step 5 (decided at 34 for 46) needs room for 4 + 5 tokens, two that the step in flight may make, one draft and one
    # that is drafted next: a fourth block for a, where both have three. So b, with one token to come, starts over.
    assert stamps(a) == (0, 0, 10, 57)
    assert stamps(b) == (0, 0, 10, 67)
    assert (a.preemptions, b.preemptions, engine.free_blocks) == (0, 1, 6)
    assert (b.drafts, b.bursts) == (3, 5)


@ENGINES
def test_who_drafts_without_a_cache_of_its_own_needs_fewer_blocks(make: type[Engine]) -> None:
    a, b = prompt(4, output_tokens=8), prompt(4, output_tokens=8)
    drafts = drafting([1.0], lookahead=0)
    play(make(config(block_size=4, num_gpu_blocks=7, drafts=drafts), DraftSteps(10, draft=1)), [(0, a), (0, b)])
    assert (stamps(a), stamps(b), b.preemptions) == ((0, 0, 10, 58), (0, 0, 10, 58), 0)


@ENGINES
def test_nobody_has_blocks_beyond_the_longest_context(make: type[Engine]) -> None:
    request = prompt(4, output_tokens=8)
    drafts = drafting([1.0, 1.0, 1.0], max_model_len=12)
    play(make(config(block_size=4, num_gpu_blocks=4, drafts=drafts), DraftSteps(10, draft=1)), [(0, request)])
    assert (stamps(request), request.preemptions) == ((0, 0, 10, 36), 0)


@ENGINES
def test_what_is_pulled_has_room_for_drafts_when_it_enters(make: type[Engine]) -> None:
    a, b = pulled(8, 2), pulled(8, 2)
    engine = make(config(block_size=4, num_gpu_blocks=6, drafts=drafting([1.0])), DraftSteps(10, draft=1))
    play(engine, [(0, a), (0, b)], Neighbours(transfer=5))
    # Two blocks each, and the fifth for drafts of a. b, whose KV is there as early, enters when a has ended.
    assert stamps(a) == (5, 5, 15, 26)
    assert stamps(b) == (26, 26, 36, 47)


@ENGINES
def test_a_prompt_is_pulled_into_the_last_blocks_that_hold_it(make: type[Engine]) -> None:
    a, b = pulled(8, 2), pulled(8, 2)
    engine = make(config(block_size=4, num_gpu_blocks=5, drafts=drafting([1.0])), DraftSteps(10, draft=1))
    for sequence in (a, b):
        engine.submit(0, sequence)
    assert engine.wake(0).loads == [a, b]


@ENGINES
def test_as_many_steps_as_are_expected(make: type[Engine]) -> None:
    request = given(4)
    play(make(config(drafts=drafting([0.5], expected=True)), DraftSteps(10, draft=1)), [(0, request)])
    # One and then three more tokens, in 1 + 0.5 * 1.5 + 0.5 * 1 = 2.25 steps on average: two.
    assert stamps(request) == (0, 0, 10, 32)
    assert (request.drafts, request.accepted_tokens) == (2, 1)


def test_steps_in_which_nothing_changes_are_leaped_over() -> None:
    requests = [given(5000), given(3000)]
    engine = Engine(config(drafts=drafting([0.7, 0.4])), DraftSteps(10, draft=1))
    for request in requests:
        engine.submit(0, request)
    wakes = 0
    while (due := engine.next_wake()) is not None:
        engine.wake(due)
        wakes += 1
    assert engine.steps > 2000
    assert wakes < 10


def test_counts_of_the_worker_are_those_of_its_requests_at_any_time() -> None:
    requests = [given(40 + i) for i in range(5)]
    engine = Engine(config(drafts=drafting([0.8, 0.5, 0.2])), DraftSteps(10, draft=1))
    for request in requests:
        engine.submit(0, request)
    for moment in (0, 5, 37, 90, 140, 10_000):
        while (due := engine.next_wake()) is not None and due < moment:
            engine.wake(due)
        engine.advance(moment)
        counts = engine.count_drafts()
        assert counts
        per_pos = counts.num_accepted_tokens_per_pos
        assert counts.num_drafts == sum(request.drafts for request in requests)
        assert counts.num_draft_tokens == sum(request.draft_tokens for request in requests) == 3 * counts.num_drafts
        assert sum(per_pos) == sum(request.accepted_tokens for request in requests)
        assert counts.num_drafts >= per_pos[0] >= per_pos[1] >= per_pos[2]
    assert all(request.last_ps > 0 for request in requests)
    assert Engine(config(), Steps(10)).count_drafts() is None


def test_who_was_preempted_ends_after_those_admitted_meanwhile_though_it_would_have_ended_in_the_same_step() -> None:
    first, back, other = given(9), given(10), given(9)
    decodes = BurstDecodes(DraftSteps(10), drafting([1.0], by_batch=(0, 0, 0, 1)), block_size=16)
    decodes.join(first, 1)
    decodes.join(back, 1)
    decodes.scheduled(1, 2)
    assert (first.last_step, back.last_step) == (9, 10)  # without drafts, as long as there are two
    decodes.stop(back, 4)
    decodes.join(other, 5)
    decodes.scheduled(5, 2)
    decodes.join(back, 7)
    decodes.scheduled(7, 3)
    assert (first.last_step, back.last_step, other.last_step) == (8, 10, 10)  # two tokens a step from 8 on
    assert [decodes.pop_ended(step) for step in (9, 10, 11)] == [[first], [], [other, back]]
