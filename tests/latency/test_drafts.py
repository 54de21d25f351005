"""Step times with drafts, from a family of made-up profiles whose steps are known in closed form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.clock import PS_PER_MS
from sunsim.errors import InputError
from sunsim.latency.attention import LengthMix
from sunsim.latency.drafts import DraftFamily, DraftTimes, TokenTimes
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.latency.steps import Chunk
from tests.synthetic import drafting_profile, synthetic_profile, write_family

MIX = LengthMix((1024,), (64,))


def family(folder: Path, *ks: int, most: int) -> DraftFamily:
    made = DraftFamily.of(load_profile(write_family(folder, *ks)), "eagle", most)
    assert made
    return made


def times(folder: Path, *ks: int, most: int) -> DraftTimes:
    return DraftTimes(family(folder, *ks, most=most), MIX)


def decode_ms(made: DraftTimes, batch: int, context: int, k: int) -> float:
    line = made.decode_line_k(batch, context, k)
    return (line.base_ps + line.slope_ps * context) / PS_PER_MS


def said_ms(batch: int, context: int, k: int) -> float:
    """What the made-up profiles say; see `drafting_profile`."""
    return 7 + k + 0.02 * batch * (k + 1) + (4.125e-5 if k else 4e-5) * context


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_a_measured_number_is_exact(k: int, tmp_path: Path) -> None:
    made = times(tmp_path, 1, 3, 5, most=5)
    for batch, context in ((1, 500), (16, 16_000), (128, 120_000)):
        assert decode_ms(made, batch, context, k) == pytest.approx(said_ms(batch, context, k), rel=1e-9)
        assert made.decode_line_k(batch, context, k).outside is None


def test_a_number_between_two_is_on_the_line_between_them(tmp_path: Path) -> None:
    made = times(tmp_path, 1, 5, most=5)
    for k, share in ((2, 0.25), (3, 0.5), (4, 0.75)):
        expected = (1 - share) * said_ms(16, 16_000, 1) + share * said_ms(16, 16_000, 5)
        assert decode_ms(made, 16, 16_000, k) == pytest.approx(expected, rel=1e-9)
        assert made.decode_line_k(16, 16_000, k).outside is None


def test_a_line_is_the_same_whatever_was_asked_for_before(tmp_path: Path) -> None:
    contexts = (1, 16_000, 10**9)
    rising = times(tmp_path, 1, 3, most=3)
    falling = times(tmp_path, 1, 3, most=3)
    lines = [rising.decode_line_k(16, context, 2) for context in contexts]
    assert lines == [falling.decode_line_k(16, context, 2) for context in reversed(contexts)][::-1]
    assert [line.outside for line in lines] == ["context", None, "context"]


def test_beyond_the_largest_the_line_goes_on_and_says_so(tmp_path: Path) -> None:
    made = times(tmp_path, 1, 3, most=5)
    expected = said_ms(16, 16_000, 3) + (said_ms(16, 16_000, 3) - said_ms(16, 16_000, 1))
    assert decode_ms(made, 16, 16_000, 5) == pytest.approx(expected, rel=1e-9)
    assert made.decode_line_k(16, 16_000, 5).outside == "drafts"
    assert made.chunked_step_k(4, 4000, [Chunk(512, 0)], 5)[1] == "drafts"
    assert made.chunked_step_k(4, 4000, [Chunk(512, 0)], 3)[1] is None


def test_beyond_the_largest_nothing_gets_cheaper(tmp_path: Path) -> None:
    write_family(tmp_path, 1, 3)
    quick = drafting_profile(3, decode_points=drafting_profile(0)["decode_points"])
    (tmp_path / "drafts" / "synthetic-eagle-k3.json").write_text(json.dumps(quick))
    made = DraftFamily.of(load_profile(tmp_path / "synthetic.json"), "eagle", 5)
    assert made
    lines = [DraftTimes(made, MIX).decode_line_k(16, 16_000, k) for k in (3, 4, 5)]
    assert all(line[:2] == lines[0][:2] for line in lines)


def test_batches_are_padded_as_their_tokens_are(tmp_path: Path) -> None:
    """Graphs of 4, 8, 16, 24 and 32 tokens are for 1, 2, 4, 6 and 8 requests of 3 drafts: 3 take as long as 4."""
    every = synthetic_profile()["decode_points"]
    few = [point for point in drafting_profile(3)["decode_points"] if point["batch"] in {1, 4, 8}]
    assert len(few) < len(every)
    write_family(tmp_path, 3)
    sizes = [4, 8, 16, 32]
    changed = drafting_profile(3, decode_points=few, cudagraph_capture_sizes=sizes)
    (tmp_path / "drafts" / "synthetic-eagle-k3.json").write_text(json.dumps(changed))
    model = LatencyModel(load_profile(tmp_path / "drafts" / "synthetic-eagle-k3.json"))
    bases = [model.decode_line(batch, batch * 1000).base_ps for batch in range(1, 9)]
    assert bases[2] == bases[3]
    assert bases[4] == bases[5] == bases[6] == bases[7]
    assert bases[0] < bases[1] < bases[2] < bases[4]


def test_a_step_with_a_prompt_computes_the_drafts_too(tmp_path: Path) -> None:
    """A prefill step takes ``8 ms + 20 us a token`` and its pairs; the decodes' KV is read on top."""
    made = times(tmp_path, 3, most=3)
    step_ps, _ = made.chunked_step_k(32, 32_000, [Chunk(1024, 0)], 3)
    expected_ms = 8 + 0.02 * (32 * 4 + 1024) + 8e-7 * 1024 * 1025 / 2 + 4.125e-5 * 32_000
    assert step_ps / PS_PER_MS == pytest.approx(expected_ms, rel=1e-3)


def test_a_step_that_requests_enter_takes_as_long_as_if_they_had_drafts(tmp_path: Path) -> None:
    made = times(tmp_path, 3, most=3)
    entering = [Chunk(1, 1999), Chunk(1, 999)]
    step_ps, outside = made.chunked_step_k(62, 62_000, entering, 3)
    assert step_ps / PS_PER_MS == pytest.approx(said_ms(64, 65_000, 3), rel=1e-9)
    assert outside is None
    assert made.chunked_step_k(0, 0, entering[:1], 3)[0] / PS_PER_MS == pytest.approx(said_ms(1, 2000, 3), rel=1e-9)


def test_who_enters_beside_a_prompt_computes_one_token_and_reads_its_kv(tmp_path: Path) -> None:
    made = times(tmp_path, 3, most=3)
    step_ps, _ = made.chunked_step_k(31, 31_000, [Chunk(1024, 0), Chunk(1, 999)], 3)
    expected_ms = 8 + 0.02 * (31 * 4 + 1 + 1024) + 8e-7 * 1024 * 1025 / 2 + 4.125e-5 * 32_000
    assert step_ps / PS_PER_MS == pytest.approx(expected_ms, rel=1e-3)


def test_without_drafts_who_enters_is_one_decode_more(tmp_path: Path) -> None:
    made = times(tmp_path, 3, most=3)
    step_ps, _ = made.chunked_step_k(16, 16_000, [Chunk(1, 999)], 0)
    assert step_ps / PS_PER_MS == pytest.approx(said_ms(17, 17_000, 0), rel=1e-9)


def test_the_room_is_that_of_the_next_number_measured(tmp_path: Path) -> None:
    assert [family(tmp_path, 1, 3, most=most).limiting.drafts for most in (1, 2, 3, 4)] == [1, 3, 3, 3]


def test_what_a_worker_rests_on(tmp_path: Path) -> None:
    made = family(tmp_path, 1, 3, 5, most=2)
    assert list(made.used([2])) == [0, 1, 3]
    assert list(family(tmp_path, 1, 3, 5, most=5).used([5])) == [0, 5]
    assert list(family(tmp_path / "few", 1, 3, most=7).used([7])) == [0, 1, 3]


def test_there_may_be_none(tmp_path: Path) -> None:
    path = write_family(tmp_path, 3, method="ngram_gpu")
    assert DraftFamily.of(load_profile(path), "eagle", 3) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"engine_args": synthetic_profile()["engine_args"]},
            "engine_args.speculative_config is none, must be eagle with 3",
        ),
        (
            {"engine_args": drafting_profile(2)["engine_args"]},
            "engine_args.speculative_config is eagle with 2, must be eagle with 3 num_speculative_tokens, as the file's name says",
        ),
        ({"variant": "awq"}, "variant is awq, must be bf16, as in the profile without drafts, "),
        ({"gpu": "other"}, "gpu is other, must be test-gpu, as in the profile without drafts, "),
        ({"prefill_points": []}, "has no prefill_points, must have some: "),
    ],
)
def test_a_file_that_is_of_something_else_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_family(tmp_path)
    file = tmp_path / "drafts" / "synthetic-eagle-k3.json"
    file.write_text(json.dumps(drafting_profile(3, **changes)))
    with pytest.raises(InputError) as caught:
        DraftFamily.of(load_profile(path), "eagle", 3)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_token_takes_its_part_of_a_step(tmp_path: Path) -> None:
    made = times(tmp_path, 1, 3, most=3)
    tokens = (1.0, 1.75, 2.3, 2.7)
    for batch, drafts in ((2, 3), (8, 1), (64, 0)):
        paced = TokenTimes(made, tokens, (3, 3, 3, *[1] * 6, 0))
        line = paced.decode_line(batch, batch * 1000)
        token_ms = (line.base_ps + line.slope_ps * batch * 1000) / PS_PER_MS
        assert token_ms == pytest.approx(said_ms(batch, batch * 1000, drafts) / tokens[drafts], rel=1e-5)
    line = TokenTimes(made, tokens, None).decode_line(64, 64_000)
    assert (line.base_ps + line.slope_ps * 64_000) / PS_PER_MS == pytest.approx(said_ms(64, 64_000, 3) / 2.7, rel=1e-5)
