"""What a scenario says of caches, shared prefill modules and later rounds: filled in, fitted into memory, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.roles import Module
from sunsim.scenario import Arm, load_scenario, resolved
from tests.scenario_files import PROFILE, write_scenario

SCENARIO = """\
name: talks
models: {count: 2}
workload:
  kind: sessions
  duration_s: 10
  arrivals: {kind: poisson, rate_rps: 1}
  rounds: {mean: 4, max: 20}
  think_s: {mean: 10}
  user: {kind: fixed, tokens: 100}
  output: {kind: fixed, tokens: 100}
arms:
  - name: arm
    prefill:
      profile: tiny.json
      policy: shared
      enable_prefix_caching: true
      workers: 1
    decode:
      profile: tiny.json
      policy: shared
      enable_prefix_caching: true
      workers: 1
"""
BLOCK_BYTES = PROFILE["block_size"] * PROFILE["kv_bytes_per_token"]  # type: ignore[operator]
LESS = -(-PROFILE["weight_bytes"] // BLOCK_BYTES)  # type: ignore[operator]
"""Blocks that make room for the weights of one more module."""


def loaded(folder: Path, *overrides: str) -> Arm:
    return load_scenario(write_scenario(folder, SCENARIO), [f"arms.arm.{override}" for override in overrides]).arms[0]


def test_what_a_file_leaves_out_is_vllm_s_way_without_a_cache(tmp_path: Path) -> None:
    text = resolved(load_scenario(write_scenario(tmp_path)))
    for line in ("enable_prefix_caching: false", "module: own", "append_prefill: remote", "history: rebuild"):
        assert line in text
    assert "append_rule" not in text
    assert "max_imbalance" not in text


def test_a_rule_and_an_imbalance_are_filled_in_where_they_are_used(tmp_path: Path) -> None:
    arm = loaded(
        tmp_path,
        "decode.append_prefill=auto",
        "decode.policy=isolated",
        "decode.router=prefix-affinity",
        "decode.workers=2",
    )
    assert arm.block.decode
    assert (arm.block.decode.append_rule, arm.block.decode.max_imbalance) == ("bounded", 32)


@pytest.mark.parametrize(
    ("prefill", "decode", "modules", "differ"),
    [
        ("own", "isolated", (Module.OWN, Module.OWN), False),
        ("own", "shared", (Module.OWN, Module.SHARED), True),
        ("shared", "isolated", (Module.SHARED, Module.DECODER), True),
        ("shared", "shared", (Module.SHARED, Module.SHARED), True),
    ],
)
def test_only_the_module_that_prefills_recomputes(
    prefill: str, decode: str, modules: tuple[Module, Module], differ: bool, tmp_path: Path
) -> None:
    arm = loaded(tmp_path, f"prefill.module={prefill}", f"decode.policy={decode}", "decode.workers=2")
    assert arm.prefill
    assert arm.decode
    assert (arm.prefill.module, arm.decode.module) == modules
    assert arm.modules_differ == differ
    assert all(role.recomputes for role in arm.prefill.roles)
    assert all(role.recomputes != differ for role in arm.decode.roles)
    appending = loaded(
        tmp_path,
        f"prefill.module={prefill}",
        f"decode.policy={decode}",
        "decode.workers=2",
        "decode.append_prefill=local",
    ).decode
    assert appending
    assert all(role.recomputes for role in appending.roles)


@pytest.mark.parametrize(
    ("overrides", "prefill_less", "decode_less"),
    [
        ([], 1, 0),
        (["prefill.module=shared"], 0, 0),
        (["decode.append_prefill=local"], 1, 2),
        (["decode.append_prefill=auto", "decode.policy=isolated", "decode.workers=2"], 1, 0),
        (["decode.append_prefill=auto", "prefill.module=shared"], 0, 1),
        (["decode.append_prefill=local", "prefill.module=shared", "decode.policy=isolated", "decode.workers=2"], 0, 1),
    ],
)
def test_weights_beside_a_worker_s_own_take_room_from_its_kv_blocks(
    overrides: list[str], prefill_less: int, decode_less: int, tmp_path: Path
) -> None:
    arm = loaded(tmp_path, *overrides)
    assert arm.prefill
    assert arm.decode
    for pool, less in ((arm.prefill, prefill_less), (arm.decode, decode_less)):
        assert 0 <= PROFILE["num_gpu_blocks"] - pool.num_gpu_blocks - less * (LESS - 1) <= less  # type: ignore[operator]


def with_adapters(folder: Path) -> str:
    (folder / "lora.json").write_text(json.dumps(PROFILE | {"variant": "lora-r16"}))
    return "profile=lora.json"


def test_adapters_that_append_beside_a_shared_decoder_have_one_base(tmp_path: Path) -> None:
    arm = loaded(tmp_path, f"prefill.{with_adapters(tmp_path)}", "decode.append_prefill=local")
    assert arm.decode
    assert LESS - 1 <= PROFILE["num_gpu_blocks"] - arm.decode.num_gpu_blocks <= LESS  # type: ignore[operator]


@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_a_shared_prefill_module_has_no_adapters_beside_it(stage: str, tmp_path: Path) -> None:
    overrides = ["prefill.module=shared", f"{stage}.{with_adapters(tmp_path)}"]
    said = refused(tmp_path, SCENARIO, *(f"arms.arm.{override}" for override in overrides))
    assert said.startswith(f"--set: arms.arm.{stage}.profile is lora.json, must be one without adapters: ")


SYNTHETIC = "  kind: synthetic\n  lengths: {kind: fixed, prompt_tokens: 9, output_tokens: 9}"
OF_SESSIONS = """\
  rounds: {mean: 4, max: 20}
  think_s: {mean: 10}
  user: {kind: fixed, tokens: 100}
  output: {kind: fixed, tokens: 100}
"""
NOT_SIMPLE = "must be left out: requests of kind synthetic are no sessions"


def refused(folder: Path, text: str, *overrides: str) -> str:
    path = write_scenario(folder, text)
    with pytest.raises(InputError) as caught:
        load_scenario(path, overrides)
    return str(caught.value).removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("stage", "line", "said"),
    [
        ("prefill", "module: shared", "module is shared, must be own, or policy must be shared"),
        ("prefill", "module: frozen", "module is 'frozen', must be one of own, shared"),
        (
            "decode",
            "router: prefix-affinity",
            "router is prefix-affinity, must be another, or have enable_prefix_caching: true",
        ),
        ("decode", "max_imbalance: 3", "max_imbalance is 3, must be left out: only router prefix-affinity has it"),
        ("decode", "append_rule: slack", "append_rule is slack, must be left out: only append_prefill auto has it"),
        (
            "decode",
            "append_prefill: local",
            "append_prefill is local, must be remote, or have enable_prefix_caching: true",
        ),
        ("decode", "history: keep", "history is keep, must be rebuild, or have enable_prefix_caching: true"),
        ("decode", "enable_prefix_caching: 1", "enable_prefix_caching is 1, must be true or false"),
    ],
)
def test_what_does_not_go_together_is_refused_at_its_line(stage: str, line: str, said: str, tmp_path: Path) -> None:
    head, tail = SCENARIO.split(f"    {stage}:\n")
    tail = tail.replace("      enable_prefix_caching: true\n", f"      {line}\n", 1)
    if stage == "prefill":
        tail = tail.replace("policy: shared", "policy: isolated", 1).replace("workers: 1", "workers: 2", 1)
    text = f"{head}    {stage}:\n{tail}"
    assert refused(tmp_path, text) == f"{text[: text.index(line)].count(chr(10)) + 1}: arms.arm.{stage}.{said}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["decode.module=shared"], "unknown key arms.arm.decode.module"),
        (["prefill.history=keep"], "unknown key arms.arm.prefill.history"),
        (
            ["decode.history=keep", "prefill.enable_prefix_caching=false"],
            "arms.arm.decode.history is keep, must be rebuild, or have enable_prefix_caching: true in prefill too",
        ),
        (
            ["decode.append_prefill=auto", "decode.append_rule=slack"],
            "arms.arm.decode.append_rule is slack, must be bounded, or have slo.ttft_ms and slo.tpot_ms: m1 lacks one",
        ),
        (
            ["decode.num_gpu_blocks=20000", "decode.append_prefill=local"],
            "arms.arm.decode.num_gpu_blocks is 20000, must be at most",
        ),
    ],
)
def test_overrides_are_refused_as_such(overrides: list[str], said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, SCENARIO, *(f"arms.arm.{override}" for override in overrides)).startswith(f"--set: {said}")


def test_more_prefill_modules_than_fit_are_refused(tmp_path: Path) -> None:
    overrides = ["models={count: 4}", "arms.arm.prefill.policy=isolated", "arms.arm.prefill.workers=4"]
    assert refused(tmp_path, SCENARIO, *overrides, "arms.arm.decode.append_prefill=local") == (
        "--set: arms.arm.decode.append_prefill is local, but the weights of 4 prefill modules do not fit beside decode's on "
        f"one GPU of {tmp_path}/tiny.json (64.0 GB more than one model's, 50.3 GB are free), must be remote or serve fewer "
        "models"
    )


def test_prompts_are_not_computed_with_another_card_s_times(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(PROFILE | {"card": "Other GPU"}))
    overrides = ["arms.arm.prefill.profile=other.json", "arms.arm.decode.append_prefill=local"]
    assert refused(tmp_path, SCENARIO, *overrides) == (
        "--set: arms.arm.decode.append_prefill is local, must be remote: prompts would take prefill's times, and its card "
        "is Other GPU, not Test GPU"
    )


def test_a_decode_worker_that_appends_needs_steps_with_prompts(tmp_path: Path) -> None:
    (tmp_path / "decode.json").write_text(json.dumps(PROFILE | {"prefill_points": []}))
    overrides = ["profile=decode.json", "policy=isolated", "workers=2", "append_prefill=local"]
    assert refused(tmp_path, SCENARIO, *(f"arms.arm.decode.{override}" for override in overrides)) == (
        f"--set: arms.arm.decode.profile is '{tmp_path}/decode.json', must be one with prefill_points: it has none"
    )


@pytest.mark.parametrize("key", ["enable_prefix_caching", "append_prefill", "history"])
def test_without_prefill_there_is_nothing_to_find(key: str, tmp_path: Path) -> None:
    value = {"enable_prefix_caching": "true", "append_prefill": "local", "history": "keep"}[key]
    head, tail = SCENARIO.split("    prefill:\n")
    text = (
        head
        + "    decode:\n"
        + tail.split("    decode:\n")[1].replace("enable_prefix_caching: true", f"{key}: {value}")
    )
    line = text.split(f"{key}: {value}")[0].count("\n") + 1
    said = f"{line}: arms.arm.decode.{key} is {value}, must be left out: without prefill nothing is computed"
    assert refused(tmp_path, text) == said


@pytest.mark.parametrize("value", ["router=session-affinity", "append_prefill=local", "history=keep"])
def test_drawn_requests_have_no_rounds(value: str, tmp_path: Path) -> None:
    text = SCENARIO.replace("  kind: sessions", SYNTHETIC).replace(OF_SESSIONS, "")
    said = f"--set: arms.arm.decode.{value.replace('=', ' is ')}, {NOT_SIMPLE}"
    assert refused(tmp_path, text, f"arms.arm.decode.{value}") == said
