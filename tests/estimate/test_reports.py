"""Nothing that rests on an estimate looks measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sunsim.estimate.errors import kept
from sunsim.estimate.estimate import estimate
from sunsim.latency.profile import Profile, load_named
from sunsim.plan.doubt import doubts
from sunsim.plan.variants import TYPICAL, WORST
from sunsim.report.origin import estimate_facts
from tests.estimate.models import LLAMA, write_config
from tests.plan.small import SCENARIO, invoke

ONE = SCENARIO.replace("profile.json", "made.json").replace("rate_rps: 100", "rate_rps: 10")
ONE = ONE.replace("ttft_ms: 300, tpot_ms: 8", "ttft_ms: 3000, tpot_ms: 40")
SAID = "made.json, not measured: NVIDIA H100 SXM 80 GB, from h100-80gb/llama-3.1-8b-bf16 (NVIDIA H100 80GB HBM3, vLLM 0.24.0"
KEPT = kept()["model"]
OFF = f"off by {KEPT['decode_typical']} % on decode steps"
UNKNOWN = "a model 9.8 times as large and tensor parallel"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Llama 70B on four H100, and a scenario of it."""
    folder = tmp_path_factory.mktemp("estimated")
    (folder / "small.yaml").write_text(ONE + "sweep: {seeds: 1}\nplan: {seeds: 1, size: decode, sensitivity: true}\n")
    return estimate(load_named(LLAMA), model=write_config(folder), tensor_parallel_size=4, out=folder / "made.json")


def plain(printed: str) -> str:
    return " ".join(printed.split())


def check(printed: str) -> None:
    text = plain(printed)
    for part in ("Estimated: ", SAID, OFF, UNKNOWN):
        assert part in text, text


def test_the_command_says_so(tmp_path: Path) -> None:
    out = tmp_path / "made.json"
    config = write_config(tmp_path)
    code, stdout, stderr = invoke(
        "profiles", "estimate", "--from", LLAMA, "--model", config, "--tensor-parallel-size", 4, "--out", out
    )
    assert (code, stderr) == (0, "")
    check(stdout)
    assert "(estimated)" in stdout
    assert f"Estimate: {out}" in plain(stdout)


@pytest.mark.parametrize("change", [["--variant", "fp8"], ["--gpu", "h200-141gb"], []])
def test_nothing_is_called_unknown_where_pairs_tell_of_all_changes(tmp_path: Path, change: list[str]) -> None:
    out = tmp_path / "made.json"
    code, stdout, stderr = invoke("profiles", "estimate", "--from", LLAMA, "--out", out, *change)
    assert (code, stderr) == (0, "")
    assert "not measured: NVIDIA H" in plain(stdout)
    assert "what no measurement tells" not in plain(stdout)


def test_profiles_show_says_so_and_judges_no_traffic(made: Profile, tmp_path: Path) -> None:
    code, stdout, _ = invoke("profiles", "show", made.path, "--out", tmp_path / "made.png")
    assert code == 0
    check(stdout)
    assert "(estimated)" in stdout
    assert "Error of decode steps" not in stdout
    assert (tmp_path / "made.png").is_file()


def test_runs_say_so_and_count_gpus(made: Profile, tmp_path: Path) -> None:
    code, stdout, _ = invoke("run", made.path.with_name("small.yaml"), "--out", tmp_path / "out")
    assert code == 0
    check(stdout)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert not any("made.json" in fact for fact in summary["basis"]["measured"])
    assert {name: arm["gpus"] for name, arm in summary["arms"].items()} == {"isolated": 16, "sun": 12}
    arm = summary["arms"]["sun"]
    assert arm["decode_gpus"] == 4
    assert arm["output_throughput_per_gpu"] == pytest.approx(arm["output_throughput_window"] / 12)
    assert {worker["gpus"] for worker in arm["workers"].values()} == {4}


def test_sweeps_say_so(made: Profile, tmp_path: Path) -> None:
    code, stdout, _ = invoke("sweep", made.path.with_name("small.yaml"), "--out", tmp_path / "out", "--jobs", 1)
    assert code == 0
    check(stdout)


def test_plans_say_so_and_widen_their_ranges(made: Profile, tmp_path: Path) -> None:
    code, stdout, _ = invoke("plan", made.path.with_name("small.yaml"), "--out", tmp_path / "out", "--jobs", 1)
    assert code == 0
    check(stdout)
    text = plain(stdout)
    assert (
        f"Estimated, not measured: prefill steps of {made.path} (typically off by {KEPT['prefill_typical']} %; not known: "
        f"the error of {UNKNOWN})" in text
    )
    assert "Measured of" not in text
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    (name,) = content["profiles"]
    told = {found["stage"]: found for found in content["estimate_errors"]}
    typical, slower = KEPT["decode_typical"], KEPT["decode_slower"]
    assert told["decode"] == {
        "profile": name,
        "stage": "decode",
        "typical_percent": typical,
        "slower_percent": slower,
        "unknown": ["a model 9.8 times as large", "tensor parallel"],
    }
    for variant, kind in ((TYPICAL, "typical"), (WORST, "slower")):
        times = {f"{stage}_time": 1 + KEPT[f"{stage}_{kind}"] / 100 for stage in ("decode", "prefill")}
        assert content["arms"]["sun"]["variants"][variant]["conditions"] == pytest.approx(times)
    check(re.sub("<[^>]*>", " ", (tmp_path / "out" / "plan.html").read_text()))


def test_no_error_is_told_where_none_is_known(tmp_path: Path) -> None:
    """Two GPUs share the model, which no pair of measured profiles tells of; nothing else changes."""
    made = estimate(load_named(LLAMA), tensor_parallel_size=2, out=tmp_path / "made.json")
    assert made.data.estimated
    assert made.data.estimated.judged == []
    facts = estimate_facts("made.json", made)
    assert facts[1:] == ["what no measurement tells the error of: tensor parallel"]
    (tmp_path / "small.yaml").write_text(ONE + "plan: {seeds: 1, size: decode, sensitivity: true}\n")
    code, stdout, _ = invoke("plan", tmp_path / "small.yaml", "--out", tmp_path / "out", "--jobs", 1)
    assert code == 0
    text = plain(stdout)
    assert f"decode steps of {made.path} (not known: the error of tensor parallel)" in text
    assert f"Nothing tells how far off prefill steps of {made.path} and decode steps of {made.path} are." in text
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    for arm in content["arms"].values():
        assert arm["within_error"] is None
        assert not {TYPICAL, WORST} & arm["variants"].keys()


def test_an_estimate_is_doubted_by_no_less_than_estimates_were_off(made: Profile) -> None:
    about = made.data.estimated
    assert about
    for stage, errors in (("decode", about.decode), ("prefill", about.prefill)):
        doubt = doubts(stage, {"made.json": made}, (1000, 100))["made.json"]
        assert (doubt.slower, doubt.slower_at_worst) == (errors.typical_percent, errors.slower_percent)
        assert doubt.errors == doubt.left_out == {}
    assert doubts("decode", {LLAMA: load_named(LLAMA)}, (1000, 100))[LLAMA].estimate is None
