"""Several tokens a step: what a scenario may say of drafts, what is made of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sunsim.errors import InputError
from sunsim.latency.velocity import decode_step_s
from sunsim.scenario import Scenario, load_scenario, resolved
from sunsim.workload.acceptance import Rates
from tests.synthetic import write_family

SCENARIO = """\
name: drafts
models: {count: 2}
workload:
  kind: synthetic
  requests: 8
  arrivals: {kind: constant, rate_rps: 4}
  lengths: {kind: fixed, prompt_tokens: 600, output_tokens: 40}
slo: {ttft_ms: 2000, tpot_ms: 25}
arms:
  - name: sun
    prefill: {profile: synthetic.json, policy: isolated, workers: 2}
    decode: {profile: synthetic.json, policy: shared, workers: 1}
  - name: sun-mtp
    prefill:
      profile: synthetic.json
      policy: isolated
      workers: 2
    decode:
      profile: synthetic.json
      policy: shared
      workers: 1
      speculative_config:
        num_speculative_tokens: 3
        synthetic_acceptance_rates: [0.75, 0.55, 0.4]
"""
DECODE = "arms.sun-mtp.decode"
CONFIG = f"{DECODE}.speculative_config"


def write(folder: Path, *ks: int, text: str = SCENARIO, **changes: Any) -> Path:
    write_family(folder, *(ks or (1, 3)), **changes)
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


def load(folder: Path, *overrides: str, ks: tuple[int, ...] = (1, 3)) -> Scenario:
    return load_scenario(write(folder, *ks), overrides)


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_scenario(path, overrides)
    return str(caught.value)


def test_the_room_and_the_kv_are_those_of_the_profile_with_drafts(tmp_path: Path) -> None:
    plain, drafting = load(tmp_path).arms
    assert plain.decode
    assert drafting.decode
    assert (plain.decode.num_gpu_blocks, drafting.decode.num_gpu_blocks) == (25_000, 24_000)
    assert (plain.kv_bytes_per_token, drafting.kv_bytes_per_token) == (131_072, 135_168)
    assert drafting.prefill
    assert drafting.prefill.profile is plain.decode.profile


def test_a_result_rests_on_the_profiles_that_its_steps_come_from(tmp_path: Path) -> None:
    found = load(tmp_path, f"{CONFIG}.num_speculative_tokens=2", f"{CONFIG}.synthetic_acceptance_rates=[0.7, 0.5]")
    assert [Path(name).name for name in found.profiles] == [
        "synthetic-eagle-k1.json",
        "synthetic-eagle-k3.json",
        "synthetic.json",
    ]
    assert [Path(name).name for name in load(tmp_path).profiles] == ["synthetic-eagle-k3.json", "synthetic.json"]


def test_the_completed_document_loads_to_the_same(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        f"{CONFIG}.synthetic_acceptance_rates=[0.75, 0.55, 0.4]",
        f"{CONFIG}.models={{m2: {{synthetic_acceptance_length: 2.25}}}}",
        f"{CONFIG}.contexts=[{{from_tokens: 620, synthetic_acceptance_length: 1.5}}]",
        f"{CONFIG}.num_speculative_tokens_per_batch_size=[[1, 16, 3], [32, 64, 1], [65, 256, 0]]",
    )
    again = tmp_path / "again.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario


def test_rates_of_a_model_and_from_a_context_on(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        f"{CONFIG}.models={{m2: {{synthetic_acceptance_length: 2.25}}}}",
        f"{CONFIG}.contexts=[{{from_tokens: 620, synthetic_acceptance_length: 4}}]",
    )
    decode = scenario.arms[1].decode
    assert decode
    assert decode.drafting
    assert decode.drafting.rates(scenario.model_names) == [
        [Rates(0, (0.75, 0.55, 0.4)), Rates(620, (1.0, 1.0, 1.0))],
        [Rates(0, (1.0, 0.25, 0.0)), Rates(620, (1.0, 1.0, 1.0))],
    ]


def test_a_number_by_batch_carries_on_over_gaps_and_beyond(tmp_path: Path) -> None:
    decode = load(tmp_path, f"{CONFIG}.num_speculative_tokens_per_batch_size=[[1, 2, 3], [5, 6, 1]]").arms[1].decode
    assert decode
    assert decode.drafting
    assert decode.drafting.config.by_batch(8) == (3, 3, 3, 3, 3, 1, 1, 1, 1)
    assert decode.drafting.config.numbers == [1, 3]


@pytest.mark.parametrize(("method", "lookahead"), [("eagle", 3), ("ngram_gpu", 0)])
def test_only_a_drafter_with_a_cache_needs_blocks_ahead(method: str, lookahead: int, tmp_path: Path) -> None:
    path = write(tmp_path)
    write_family(tmp_path, 3, method="ngram_gpu")
    decode = load_scenario(path, [f"{CONFIG}.method={method}"]).arms[1].decode
    assert decode
    assert decode.drafting
    assert decode.drafting.lookahead == lookahead


def test_prefill_may_be_measured_with_drafts(tmp_path: Path) -> None:
    scenario = load(tmp_path, "arms.sun-mtp.prefill.profile=drafts/synthetic-eagle-k3.json")
    prefill = scenario.arms[1].prefill
    assert prefill
    assert prefill.profile.drafts == 3
    assert prefill.num_gpu_blocks == 24_000


# What the user wrote in place of what, in which line it stands, and the message.
REFUSED = [
    (
        "num_speculative_tokens: 3",
        "num_speculative_tokens: 0",
        23,
        f"{CONFIG}.num_speculative_tokens is 0, must be at least 1",
    ),
    (
        "num_speculative_tokens: 3",
        "num_speculative_tokens: 17",
        23,
        f"{CONFIG}.num_speculative_tokens is 17, must be at most 16",
    ),
    (
        "num_speculative_tokens: 3",
        "method: medusa\n        num_speculative_tokens: 3",
        23,
        f"{CONFIG}.method is 'medusa', must be one of eagle, ngram_gpu",
    ),
    (
        "[0.75, 0.55, 0.4]",
        "[0.75, 0.55]",
        24,
        f"{CONFIG}.synthetic_acceptance_rates is 2 numbers, must have 3, one for each of num_speculative_tokens",
    ),
    (
        "[0.75, 0.55, 0.4]",
        "[0.5, 0.6, 0.4]",
        24,
        (
            f"{CONFIG}.synthetic_acceptance_rates is 0.5 and then 0.6, must not rise: entry i is the share of drafts "
            "whose first i + 1 tokens are all accepted"
        ),
    ),
    ("[0.75, 0.55, 0.4]", "[1.5, 0.5, 0.4]", 24, f"{CONFIG}.synthetic_acceptance_rates.0 is 1.5, must be at most 1"),
    (
        "synthetic_acceptance_rates: [0.75, 0.55, 0.4]",
        "synthetic_acceptance_length: 4.5",
        24,
        f"{CONFIG}.synthetic_acceptance_length is 4.5, must be at most 4: num_speculative_tokens and one more",
    ),
    (
        "        synthetic_acceptance_rates: [0.75, 0.55, 0.4]\n",
        "",
        22,
        (
            f"{CONFIG}: synthetic_acceptance_rates and synthetic_acceptance_length are missing, one of them must be "
            "given"
        ),
    ),
    (
        "[0.75, 0.55, 0.4]",
        "[0.75, 0.55, 0.4]\n        models:\n          m1: {synthetic_acceptance_length: 2}\n          m9: {synthetic_acceptance_length: 2}",
        27,
        f"{CONFIG}.models.m9 is no model of the scenario, must be one of m1, m2",
    ),
    (
        "[0.75, 0.55, 0.4]",
        (
            "[0.75, 0.55, 0.4]\n        contexts:\n          - {from_tokens: 900, synthetic_acceptance_length: 2}\n"
            "          - {from_tokens: 900, synthetic_acceptance_length: 1}"
        ),
        27,
        f"{CONFIG}.contexts.1.from_tokens is 900, must be more than that of the entry before (900)",
    ),
    (
        "[0.75, 0.55, 0.4]",
        "[0.75, 0.55, 0.4]\n        num_speculative_tokens_per_batch_size:\n          - [1, 16, 3]\n          - [8, 32, 1]",
        27,
        (
            f"{CONFIG}.num_speculative_tokens_per_batch_size.1 is [8, 32, 1], must begin after 16, where the range "
            "before it ends"
        ),
    ),
    (
        "[0.75, 0.55, 0.4]",
        "[0.75, 0.55, 0.4]\n        num_speculative_tokens_per_batch_size: [[2, 16, 3]]",
        25,
        (
            f"{CONFIG}.num_speculative_tokens_per_batch_size.0 is [2, 16, 3], must begin with 1, so that every batch "
            "has a number"
        ),
    ),
    (
        "[0.75, 0.55, 0.4]",
        "[0.75, 0.55, 0.4]\n        num_speculative_tokens_per_batch_size: [[1, 16, 4]]",
        25,
        (
            f"{CONFIG}.num_speculative_tokens_per_batch_size.0 is [1, 16, 4], must have at most "
            "num_speculative_tokens (3)"
        ),
    ),
    (
        "      policy: shared\n      workers: 1",
        "      policy: shared\n      workers: 1\n      max_num_seqs: 2100",
        24,
        (
            f"{CONFIG}.num_speculative_tokens is 3, must be at most 2: 2100 requests (max_num_seqs) of these and one "
            "more are to be within max_num_batched_tokens (8192)"
        ),
    ),
    (
        "      policy: shared\n      workers: 1",
        "      policy: shared\n      workers: 1\n      max_num_seqs: 8192",
        24,
        (
            f"{CONFIG}.num_speculative_tokens is 3, must be with fewer requests: 8192 requests (max_num_seqs) of these "
            "and one more are to be within max_num_batched_tokens (8192)"
        ),
    ),
    (
        "      policy: shared\n      workers: 1",
        "      policy: shared\n      router: least-harm\n      workers: 1",
        23,
        f"{CONFIG} is given, must be left out, or router be another than least-harm: it reckons with a token a step",
    ),
    (
        "      policy: shared\n      workers: 1",
        "      policy: shared\n      convertible: {workers: 1}\n      workers: 1",
        23,
        f"{CONFIG} is given, must be left out, or convertible be: both together are not simulated",
    ),
    (
        "  - name: sun-mtp\n",
        "  - name: sun-mtp\n    admission: {kind: shed}\n",
        23,
        f"{CONFIG} is given, must be left out, or admission be: it reckons with a token a step",
    ),
    (
        "      policy: isolated\n      workers: 2\n",
        "      policy: isolated\n      workers: 2\n      speculative_config: {num_speculative_tokens: 1, synthetic_acceptance_length: 1.5}\n",
        18,
        "arms.sun-mtp.prefill.speculative_config is given, must be left out: prefill workers decode nothing",
    ),
    (
        "decode:\n      profile: synthetic.json",
        "decode:\n      profile: drafts/synthetic-eagle-k3.json",
        19,
        (
            f"{DECODE}.profile is drafts/synthetic-eagle-k3.json, must be the one without drafts, and "
            "speculative_config say how many: {folder}/drafts/synthetic-eagle-k3.json has 3"
        ),
    ),
]


@pytest.mark.parametrize(("right", "wrong", "line", "message"), REFUSED)
def test_what_does_not_go_together_is_refused_at_its_place(
    right: str, wrong: str, line: int, message: str, tmp_path: Path
) -> None:
    assert SCENARIO.count(right) == 1
    path = write(tmp_path, text=SCENARIO.replace(right, wrong))
    assert refused(path) == f"{path}:{line}: {message.replace('{folder}', str(tmp_path))}"


def test_adapters_do_not_draft(tmp_path: Path) -> None:
    said = refused(write(tmp_path, variant="lora-r16"))
    assert f"{CONFIG} is given, must be left out: no steps of adapters with drafts were measured" in said


def test_without_a_measured_profile_it_says_which_file_and_how_to_make_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    file = tmp_path / "drafts" / "synthetic-ngram_gpu-k3.json"
    assert refused(path, f"{CONFIG}.method=ngram_gpu") == (
        f"{path}:22: {CONFIG} is given, must be left out, or there must be a profile with drafts, {file}: "
        "python -m profiler measure --speculative ngram_gpu --num-speculative-tokens 3 measures one"
    )


def test_a_number_with_a_zero_before_it_names_no_profile(tmp_path: Path) -> None:
    """Else it would be a second file of the same number, and whichever is read last would count."""
    path = write(tmp_path)
    other = tmp_path / "drafts" / "synthetic-eagle-k03.json"
    other.write_text((tmp_path / "drafts" / "synthetic-eagle-k3.json").read_text().replace("24000", "10000"))
    decode = load_scenario(path).arms[1].decode
    assert decode
    assert decode.num_gpu_blocks == 24_000


@pytest.mark.parametrize("made", ["folder", "link"])
def test_what_has_the_name_of_a_profile_with_drafts_but_is_no_file_is_refused(made: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    other = tmp_path / "drafts" / "synthetic-eagle-k5.json"
    if made == "folder":
        other.mkdir()
    else:
        other.symlink_to("nowhere")
    why = {"folder": "Is a directory", "link": "No such file or directory"}[made]
    assert refused(path) == f"{other}: cannot be read ({why}), must be a profile with drafts, or be removed"


def test_tokens_a_step_by_the_models_shares_and_the_context(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        "models=[{name: a, weight: 3}, {name: b, weight: 1}]",
        f"{CONFIG}.models={{b: {{synthetic_acceptance_rates: [0.35, 0.15, 0]}}}}",
        f"{CONFIG}.contexts=[{{from_tokens: 620, synthetic_acceptance_length: 1}}]",
    )
    decode = scenario.arms[1].decode
    assert decode
    assert decode.drafting
    assert decode.drafting.tokens_a_step(619) == pytest.approx((1, 1.65, 1.65 + 0.45, 1.65 + 0.45 + 0.3))
    assert decode.drafting.tokens_a_step(620) == (1, 1, 1, 1)


def test_what_a_token_takes_is_what_pools_are_sized_by(tmp_path: Path) -> None:
    """A request of 600 and 40 tokens stands at 620 in the mean; a step with 3 drafts emits 2.7 of its tokens."""
    plain, drafting = load(tmp_path).arms
    assert plain.decode
    assert drafting.decode
    assert plain.decode.token_times is plain.decode.times
    token_s = decode_step_s(drafting.decode.token_times, 8, 600, 40)
    step_ms = 7 + 3 + 0.02 * 8 * 4 + 4.125e-5 * 8 * 620
    assert token_s * 1000 == pytest.approx(step_ms / 2.7, rel=1e-3)


@pytest.mark.parametrize(("method", "ahead"), [("eagle", 3), ("ngram_gpu", 0)])
def test_a_request_must_leave_room_for_drafts(method: str, ahead: int, tmp_path: Path) -> None:
    path = write(tmp_path)
    write_family(tmp_path, 3, method="ngram_gpu")
    options = [f"{CONFIG}.method={method}", f"{DECODE}.num_gpu_blocks=101", f"{DECODE}.max_model_len=2000"]
    limits = {limit.reason: limit.tokens for limit in load_scenario(path, options).limits}
    assert limits[f"max_model_len of {DECODE}, less the drafts of two steps"] == 2000 - 6
    assert (
        limits[f"num_gpu_blocks of {DECODE} (101 blocks of 16 tokens), less the drafts of two steps"]
        == 1601 - 6 - ahead
    )
    longest = f"workload.lengths.output_tokens={1601 - 6 - ahead - 600}"
    load_scenario(path, [*options, longest])
    said = refused(path, *options, f"workload.lengths.output_tokens={1602 - 6 - ahead - 600}")
    assert (
        f"can draw {1602 - 6 - ahead} tokens (prompt + output), must be at most {1601 - 6 - ahead}: num_gpu_blocks"
        in said
    )


def test_beside_a_shipped_profile_one_of_ones_own_is_asked_for(tmp_path: Path) -> None:
    """Nobody is to write among what is installed."""
    path = write(tmp_path)
    with pytest.raises(InputError) as refused:
        load_scenario(path, [f"{DECODE}.profile=h200-141gb/llama-3.1-8b-fp8"])
    said = str(refused.value)
    assert "none is shipped of h200-141gb/llama-3.1-8b-fp8: measure your own, or copy " in said
    assert said.endswith("--num-speculative-tokens 3 --out drafts/my-eagle-k3.json measures one beside it")


def test_a_pool_without_room_for_any_request_says_so(tmp_path: Path) -> None:
    assert refused(write(tmp_path), f"{DECODE}.num_gpu_blocks=1").endswith(
        "scenario.yaml:7: workload.lengths can draw 640 tokens (prompt + output), there is room for no request: "
        f"num_gpu_blocks of {DECODE} (1 blocks of 16 tokens), less the drafts of two steps"
    )
