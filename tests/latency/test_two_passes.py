"""A step with another module's prompts: one pass after the other."""

from __future__ import annotations

from sunsim.latency.steps import Chunk
from sunsim.latency.two_passes import DraftTwoPasses, TwoPasses
from tests.cluster.draft_worlds import DraftHosted, DraftSteps
from tests.cluster.worlds import Host, Hosted, Steps

DECODE = Hosted(Steps(100, decode=7, context=2), Host(graph_launch=5, lead=3, every=50, stall=1))
PREFILL = Hosted(Steps(1000, decode=9999, context=9999, token=30), Host(launch=40, lead=20, tail=10))
BOTH = TwoPasses(DECODE, PREFILL)
CHUNKS = [Chunk(8, 4), Chunk(2, 0)]


def test_a_step_takes_as_long_as_its_decodes_and_its_prompts_alone() -> None:
    line = DECODE.decode_line(3, 50)
    alone_ps = line.base_ps + line.slope_ps * 50
    assert BOTH.chunked_step(3, 50, CHUNKS) == (alone_ps + 1000 + 10 * 30, None)
    assert BOTH.chunked_step(0, 0, CHUNKS) == PREFILL.chunked_step(0, 0, CHUNKS)
    assert BOTH.decode_line(3, 50) == line


def test_the_host_launches_prompts_as_prefill_does_and_all_else_as_decode() -> None:
    assert (BOTH.launch_ps(10, 0), BOTH.lead_ps(10), BOTH.tail_ps(10)) == (40, 20, 10)
    assert (BOTH.launch_ps(0, 0), BOTH.lead_ps(0), BOTH.tail_ps(0)) == (5, 3, 0)
    assert BOTH.pause_ps == 0
    assert BOTH.take_in_ps(9) == 0
    assert next(BOTH.stalls(0.0)) == (50, 1)


def test_with_drafts_who_enters_is_in_the_pass_of_the_decodes() -> None:
    decode = DraftSteps(100, decode=7, context=2, token=5, draft=4)
    both = DraftTwoPasses(DraftHosted(decode, Host()), PREFILL)
    decodes_ps = 100 + 3 * 7 + 50 * 2 + 3 * 2 * 4
    assert both.chunked_step_k(3, 50, CHUNKS, 2) == (decodes_ps + 1000 + 10 * 30, None)
    assert both.chunked_step_k(3, 50, [*CHUNKS, Chunk(1, 20)], 2) == (decodes_ps + 5 + 1000 + 10 * 30, None)
    assert both.chunked_step_k(3, 50, [Chunk(1, 20)], 2) == decode.chunked_step_k(3, 50, [Chunk(1, 20)], 2)
    assert both.chunked_step_k(0, 0, CHUNKS, 2) == PREFILL.chunked_step(0, 0, CHUNKS)
    assert both.decode_line_k(3, 50, 2) == decode.decode_line_k(3, 50, 2)
