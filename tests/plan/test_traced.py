"""`sunsim plan requests.csv`: what is made of a file of requests alone."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sunsim
from docs.blocks import ROOT
from examples import make_requests
from sunsim.errors import InputError
from sunsim.latency.profile import list_profiles, load_named, load_profile
from sunsim.plan.conclusion import assumed
from sunsim.plan.rivals import most_measured, rivals
from sunsim.plan.run import load
from sunsim.plan.traced import Made, made_for
from sunsim.report.format import listed
from sunsim.scenario import load_scenario
from tests.plan.small import invoke, write_plan
from tests.plan.test_plan import check_by_brute_force

LOG = make_requests.FILE

HEADER = "arrival_s,prompt_tokens,output_tokens"
NAMED = f"{HEADER},model\n" + "".join(
    f"{n / 10},{100 + n},{5 + n % 7},{'chat' if n % 4 else 'sql'}\n" for n in range(40)
)
QUICK = ("--set", "plan.sensitivity=false", "--jobs", 1)
BASE = "h100-80gb/llama-3.1-8b-bf16"


def write(folder: Path, text: str = NAMED, name: str = "requests.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def made(file: Path, *overrides: str) -> Made:
    found = made_for(file, overrides, None)
    assert found
    return found


def arms(base: str, models: int) -> dict[str, dict[str, Any]]:
    return {arm.pop("name"): arm for arm in rivals(load_named(base), base, models, sessions=False)}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder of a plan of two models, its content, and what was printed."""
    folder = tmp_path_factory.mktemp("requests")
    out = folder / "results" / "plan"
    code, stdout, stderr = invoke("plan", write(folder), "--out", out, *QUICK)
    assert (code, stderr) == (0, "")
    return out, json.loads((out / "plan.json").read_text()), stdout


def test_a_file_of_requests_is_enough(planned: tuple[Path, dict[str, Any], str]) -> None:
    _, content, stdout = planned
    assert content["scenario"] == "requests"
    assert content["models"] == ["chat", "sql"]
    assert content["seeds"] == [0]
    assert list(content["arms"]) == [*arms(most_measured(2), 2)]
    said = " ".join(stdout.split())
    assert (
        f"Assumed, as a file of requests does not say it: the card and the base model of {most_measured(2)} (profile)"
        in said
    )
    assert "TTFT within 2,000 ms (slo.ttft_ms), TPOT within 25 ms (slo.tpot_ms)" in said


def test_its_scenario_makes_the_same_plan(planned: tuple[Path, dict[str, Any], str]) -> None:
    out, content, _ = planned
    file = out / "scenario.yaml"
    assert "chat, sql" in file.read_text()
    assert "path: ../../requests.csv" in file.read_text()
    again = sunsim.plan(file, out, overrides=["plan.sensitivity=false"], jobs=1).document
    differ = {key for key in content if content[key] != again[key]}
    assert differ == {"command", "assumed"}
    assert again["assumed"] == []


def test_it_does_the_same_in_python(tmp_path: Path, planned: tuple[Path, dict[str, Any], str]) -> None:
    out, content, _ = planned
    result = sunsim.plan(str(out.parents[1] / "requests.csv"), out, overrides=["plan.sensitivity=false"], jobs=1)
    assert result.document == content
    assert "scenario.yaml" in result.save(tmp_path / "saved")
    assert load_scenario(tmp_path / "saved" / "scenario.yaml").model_names == ("chat", "sql")


@pytest.mark.benchmark
def test_the_shipped_log_s_plan_is_what_a_search_of_all_sizes_finds(tmp_path: Path) -> None:
    """Takes a minute: every way to spread all numbers of GPUs up to the planned one."""
    out = tmp_path / "out"
    assert invoke("plan", LOG, "--out", out, "--quiet", "--set", "plan.sensitivity=false")[0] == 0
    content = json.loads((out / "plan.json").read_text())
    for arm in ("lora-colocated", "lora"):
        check_by_brute_force(LOG, content, [*content["arms"]].index(arm))


def test_the_shipped_log_is_what_its_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_requests, "FILE", tmp_path / LOG.name)
    make_requests.main()
    assert (tmp_path / LOG.name).read_bytes() == LOG.read_bytes()
    assert len(LOG.read_bytes()) < 400_000
    scenario = load(LOG, (), None).scenario
    assert scenario.model_names[0] == "support-chat"
    assert set(scenario.model_names) == {*make_requests.MODELS}


def test_most_asked_models_come_first_and_a_file_without_names_is_of_one(tmp_path: Path) -> None:
    assert load(write(tmp_path), (), None).scenario.model_shares == (0.75, 0.25)
    alone = write(tmp_path, f"{HEADER}\n0,10,10\n1,10,10\n", "a.b.csv")
    scenario = load(alone, (), None).scenario
    assert (scenario.name, scenario.model_names) == ("a.b", ("m1",))
    assert [arm.name for arm in scenario.arms] == ["colocated", "isolated"]


def test_a_trace_of_another_format_is_known_by_its_first_line(tmp_path: Path) -> None:
    text = "Timestamp,Model,Request tokens,Response tokens\n5,GPT-4,10,10\n6,ChatGPT,10,10\n"
    scenario = load(write(tmp_path, text, "log.txt"), (), None).scenario
    assert scenario.model_names == ("GPT-4", "ChatGPT")


def test_overrides_replace_what_is_assumed(tmp_path: Path) -> None:
    file = write(tmp_path)
    found = made(file, "slo.ttft_ms=500", "profile=h200-141gb/llama-3.1-8b-bf16", "transfer={latency_ms: 1}")
    assert found.assumed == ["TPOT within 25 ms (slo.tpot_ms)"]
    scenario = load(file, ["slo.ttft_ms=500", "profile=h200-141gb/llama-3.1-8b-bf16"], 3).scenario
    assert (scenario.seed, scenario.slo.limits) == (3, {"ttft_ms": 500, "tpot_ms": 25})
    assert {profile.data.gpu for profile in scenario.profiles.values()} == {"h200-141gb"}
    link = "h200-141gb/links/nixl-nvlink"
    measured = made(file, f"transfer.measured={link}")
    assert "a KV link of 400 Gbit/s (transfer.bandwidth_gbit_s)" not in measured.assumed
    assert load(file, [f"transfer.measured={link}"], 3).scenario.transfer.measured == link


def test_a_profile_of_your_own_is_found_from_the_scenario_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_plan(tmp_path).with_name("profile.json")
    monkeypatch.chdir(tmp_path)
    found = made(write(tmp_path), f"profile={own.name}")
    (tmp_path / "deep").mkdir()
    copy = tmp_path / "deep" / "scenario.yaml"
    copy.write_text(found.text(copy.parent))
    monkeypatch.chdir("/")
    assert set(load_scenario(copy).profiles) == {str(own)}


@pytest.mark.parametrize("base", [name for name in list_profiles() if not load_named(name).adapters])
def test_arms_are_of_one_card_and_one_base_model(base: str) -> None:
    data = load_named(base).data
    found = arms(base, 5)
    used = {pool["profile"] for arm in found.values() for pool in arm.values()}
    assert {(load_named(name).data.gpu, load_named(name).data.model) for name in used} == {(data.gpu, data.model)}
    assert {stage: pool["profile"] for stage, pool in found["isolated"].items()} == {"prefill": base, "decode": base}
    quantized = any(
        (other := load_named(name)).data.weight_bytes < data.weight_bytes
        and (other.data.gpu, other.data.model) == (data.gpu, data.model)
        for name in list_profiles()
    )
    assert ("qsun" in found) is quantized


def test_adapters_are_shared_on_every_gpu() -> None:
    found = arms(BASE, 5)
    lora = "h100-80gb/llama-3.1-8b-lora-r16"
    pool = {"profile": lora, "policy": "shared", "workers": 1}
    assert (found["lora"], found["lora-colocated"]) == ({"prefill": pool, "decode": pool}, {"colocated": pool})
    assert found["qsun"]["decode"] == {"profile": "h100-80gb/llama-3.1-8b-awq", "policy": "shared", "workers": 1}


@pytest.mark.parametrize(("models", "measured"), [(2, 4), (4, 4), (5, 16), (16, 16), (17, 64), (100, 64)])
def test_adapters_are_as_many_as_were_measured_if_they_can_be(models: int, measured: int) -> None:
    found = arms("h200-141gb/llama-3.1-8b-bf16", models)["lora"]["decode"]["profile"]
    assert load_named(found).data.engine_args.max_loras == measured


@pytest.mark.parametrize(
    ("base", "models", "absent"),
    [
        (BASE, 2, []),
        ("h200-141gb/qwen3-8b-awq", 2, ["LoRA adapters", "a quantized shared decoder"]),
        ("h200-141gb/qwen3-8b-awq", 1, []),
        ("h100-80gb/qwen3-8b-bf16", 2, ["LoRA adapters"]),
    ],
)
def test_ways_without_a_profile_are_named(tmp_path: Path, base: str, models: int, absent: list[str]) -> None:
    text = NAMED if models == 2 else NAMED.replace("sql", "chat")
    assert made(write(tmp_path, text), f"profile={base}").absent == absent
    said = assumed({"assumed": [], "absent": absent})
    assert said == (
        [f"Not compared, for no profile of that card and base model is shipped: {listed(absent)}."] if absent else []
    )


def test_the_most_measured_is_taken_unasked() -> None:
    shipped = Counter((load_named(name).data.gpu, load_named(name).data.model) for name in list_profiles())
    taken = load_named(most_measured(2))
    assert shipped[taken.data.gpu, taken.data.model] == max(shipped.values())
    assert not taken.adapters
    # With more models than any adapters were measured for, pairs are equal, and their models' sizes do not matter.
    profiles = [profile for profile in map(load_named, list_profiles()) if not profile.adapters]
    plain = Counter((profile.data.gpu, profile.data.model) for profile in profiles)
    taken = load_named(most_measured(10**6))
    assert (taken.data.gpu, taken.data.model) == plain.most_common(1)[0][0]


# (the file's name, its text, what is said)
BAD = [
    ("requests.csv", "ts,in,out\n1,2,3\n", ":1: the first line shows none of the known formats, must be a scenario with a"),
    ("requests.csv", "arrival_s,prompt_tokens,model\n1,2,a\n", ":1: the first line lacks the column output_tokens, must have"),
    ("scenario.txt", "name: x\n", ":1: the first line shows none of the known formats, must be a scenario with a name that"),
    ("requests.csv", "", ": the trace is empty, must have a line for each request"),
    ("requests.csv", f"{HEADER}\n0,5,x\n", ":2: output_tokens is 'x', must be a whole number of at least 1"),
    ("requests.csv", f"{HEADER},model\n0,5,5,\n1,5,5,a\n", ":2: model is '', must be a name of 1 to 200 characters"),
    ("requests.csv", f"{HEADER}\n0,5,5\n0,5,5\n", "all 2 requests arrive at once, must arrive over some time to plan for"),
    ("requests.csv", f"{HEADER}\n0,99999,5\n1,5,5\n", "must have at most 16384: max_model_len of arms."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "said"), BAD, ids=range(len(BAD)))
def test_a_file_that_cannot_be_planned_for_is_said_to_be_so(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, text, name), (), None)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said_on_one_line(tmp_path: Path) -> None:
    code, stdout, stderr = invoke("plan", tmp_path / "no.csv")
    assert (code, stdout) == (2, "")
    assert stderr.endswith("no.csv: cannot be read (No such file or directory), must be a trace file\n")
    code, _, stderr = invoke("plan", write(tmp_path), "--set", "profile=gone")
    assert code == 2
    assert stderr.startswith(
        "--set: profile is 'gone', must be a .json file or one of the shipped profiles: h100-80gb/"
    )


def test_a_scenario_is_planned_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plan-zipf", "zipf1.5-eight-models", "h200/chat"):
        assert made_for(name, [], None) is None
    (tmp_path / "mine.v2.yaml").write_text("name: mine")
    assert made_for(Path("mine.v2"), [], None) is None
    code, _, stderr = invoke("plan", "plan-zpf")
    assert (code, stderr.count("\n")) == (2, 1)
    assert "did you mean plan-zipf" in stderr


def test_half_of_the_weights_on_each_of_two_gpus_is_no_quantized_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    base = "h200-141gb/llama-3.1-8b-bf16"
    (two,) = ROOT.glob("profiles/h200-141gb/**/llama-3.1-8b-bf16-tp2.json")
    shipped = [load_named(base), load_profile(two)]
    assert shipped[1].weight_bytes < shipped[0].weight_bytes
    monkeypatch.setattr(sys.modules[rivals.__module__], "_shipped", lambda: shipped)
    assert "qsun" not in arms(base, 2)


def test_every_way_comes_with_pools_that_grow_and_shrink_too_where_that_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path)
    plain, both = load(file, (), None).scenario, load(file, (), None, elastic=True).scenario
    ways = [arm.name for arm in plain.arms]
    assert [arm.name for arm in both.arms] == [*ways, *(f"{way}-elastic" for way in ways)]
    for fixed, grows in zip(both.arms, both.arms[len(ways) :], strict=False):
        for (stage, pool), other in zip(fixed.pools().items(), grows.pools().values(), strict=True):
            assert not pool.elastic
            assert other.elastic
            assert (other.stage, other.profile_name, other.shared) == (stage, pool.profile_name, pool.shared)
            assert {other.bounds(role).max for role in other.roles} == {16}
    found = made_for(file, (), None, elastic=True)
    assert found
    assert (
        "elastic pools of 1 to 16 workers that follow the tokens that come, 85 s from order to ready (arms)"
        in found.assumed
    )
    # The pools of a log of 3.9 s may grow for a third of it.
    assert (plain.measure.warmup_s, both.measure.warmup_s) == (0, 1.3)
    assert "the first 1.3 s not measured, in which elastic pools grow (measure.warmup_s)" in found.assumed
    # What it leaves is a scenario that says it all.
    (tmp_path / "again.yaml").write_text(found.text(tmp_path))
    again = load(tmp_path / "again.yaml", (), None).scenario
    assert [arm.block for arm in again.arms] == [arm.block for arm in both.arms]
    assert again.measure == both.measure


def test_elastic_pools_are_measured_after_two_starts_or_as_is_said(tmp_path: Path) -> None:
    file = write(tmp_path, f"{HEADER}\n" + "".join(f"{60 * n},100,5\n" for n in range(60)))
    assert load(file, (), None, elastic=True).scenario.measure.warmup_s == 170
    own = made_for(file, ("measure.warmup_s=300",), None, elastic=True)
    assert own
    assert own.source.values()["measure"]["warmup_s"] == 300
    assert not any("measure.warmup_s" in each for each in own.assumed)


def test_elastic_pools_of_a_scenario_are_its_own_to_say(tmp_path: Path) -> None:
    said = "--elastic: is given, must be left out: of a scenario its arms say which pools are elastic\n"
    assert invoke("plan", write_plan(tmp_path), "--elastic") == (2, "", said)
