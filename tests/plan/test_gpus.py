"""A worker that shares its model over several GPUs counts as so many, wherever GPUs are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.errors import InputError
from sunsim.plan.bench import Bench
from sunsim.plan.headline import failures
from sunsim.plan.run import load
from sunsim.plan.search import Found, Reason, Sizes, climb
from sunsim.roles import Role, Stage
from tests.plan.small import SCENARIO, invoke, write_plan
from tests.plan.test_search import Answer, answered
from tests.synthetic import synthetic_profile

PLAN = "plan: {seeds: 1, max_prefill_gpus: 8, max_decode_gpus: 9, sensitivity: false, price_per_gpu_hour: 2}\n"
PAIR = SCENARIO.replace("decode: {profile: profile.json", "decode: {profile: pair.json").replace(
    "duration_s: 3", "duration_s: 1.5"
)


def folder_of(folder: Path, gpus: int) -> Path:
    """The small plan with decode workers of so many GPUs; their steps are the same."""
    file = write_plan(folder, PLAN, PAIR)
    args = synthetic_profile()["engine_args"] | {"tensor_parallel_size": gpus}
    (folder / "pair.json").write_text(json.dumps(synthetic_profile(engine_args=args)))
    return file


def test_a_plan_counts_the_gpus_of_its_workers(tmp_path: Path) -> None:
    code, stdout, _ = invoke("plan", folder_of(tmp_path, 2), "--out", tmp_path / "out", "--jobs", 1)
    assert code == 0
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    arm = content["arms"]["sun"]
    prefill, decode = sum(arm["workers"]["prefill"].values()), arm["workers"]["decode"]
    assert arm["gpus"] == {"prefill": prefill, "decode": 2 * decode, "all": prefill + 2 * decode}
    assert arm["cost"]["per_hour"] == 2 * arm["gpus"]["all"]
    entry, figures = arm["portrait"]["entry"], arm["figures"]
    assert (entry["gpus"], entry["decode_gpus"]) == (arm["gpus"]["all"], 2 * decode)
    output = figures["output_throughput_window"]["mean"]
    assert figures["output_throughput_per_decode_gpu"]["mean"] == pytest.approx(output / (2 * decode))
    assert figures["output_throughput_per_gpu"]["mean"] == pytest.approx(output / arm["gpus"]["all"])
    (less,) = [less for less in arm["one_less"] if less["pool"].startswith("decode")]
    assert (less["pool"], less["gpus"]) == ("decode workers of 2 GPUs", 2)
    text = " ".join(stdout.split())
    assert "with one less of its decode workers of 2 GPUs" in text
    assert "one worker less of any pool that has more than one fails" in text


def test_the_most_to_try_is_of_gpus(tmp_path: Path) -> None:
    scenario = load(folder_of(tmp_path, 2), (), None).scenario
    bench = Bench(scenario, scenario.arms[1], [])
    most = {role.stage: most for role, most in bench.most.items()}
    assert most == {Stage.PREFILL: 8, Stage.DECODE: 4}
    with pytest.raises(
        InputError, match=r"plan\.max_decode_gpus is 9, must be at least 10: a worker of arms\.\w+\.decode"
    ):
        load(folder_of(tmp_path, 10), (), None)
    assert {role.stage: gpus for role, gpus in bench.gpus.items()} == {Stage.PREFILL: 1, Stage.DECODE: 2}


def test_the_nearest_pool_of_an_arm_that_fails_is_told_in_gpus(tmp_path: Path) -> None:
    file = folder_of(tmp_path, 2)
    least = ("--set", "plan.max_decode_gpus=2", "--set", "plan.max_prefill_gpus=1", "--set", "slo.ttft_ms=1")
    assert invoke("plan", file, "--out", tmp_path / "out", "--jobs", 1, "--quiet", *least)[0] == 3
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    (row,) = [row for row in failures(content).rows if row[0] == "sun"]
    assert row[2].endswith(" prefill + 2 decode")


@pytest.mark.parametrize(("gpus", "cheapest"), [(1, (1, 2)), (4, (3, 1))])
def test_the_cheapest_pools_are_those_of_the_fewest_gpus(gpus: int, cheapest: tuple[int, int]) -> None:
    """Another decode worker would do as well as two more of prefill."""
    prefill, decode = Role(Stage.PREFILL, "m1"), Role(Stage.DECODE, None)

    def judge(sizes: Sizes) -> Any:
        verdict = yield [sizes]
        return verdict[0]

    search = climb({prefill: 1, decode: 1}, judge, {prefill: 9, decode: 9}, {prefill: 1, decode: gpus})
    found, _ = answered(search, lambda sizes: Answer(sizes[prefill] + 2 * sizes[decode] >= 5))
    assert found == Found(dict(zip((prefill, decode), cheapest, strict=True)), Reason.FOUND)
