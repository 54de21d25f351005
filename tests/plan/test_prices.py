"""Cards that cost differently: the cheapest pools are found, and the cheapest arm wins, not that with the fewest GPUs."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunsim.plan.bench import Bench
from sunsim.plan.conclusion import conclusion
from sunsim.plan.headline import headline
from sunsim.plan.run import load
from sunsim.plan.search import Reason, climb, shrink
from sunsim.plan.tables import overview
from sunsim.roles import Stage
from tests.plan.small import SCENARIO, invoke, write_plan
from tests.plan.test_search import P1, Answer, D, answered, judge
from tests.synthetic import synthetic_profile

PRICES = "plan: {seeds: 1, max_prefill_gpus: 8, max_decode_gpus: 8, sensitivity: false, price_per_gpu_hour: {%s}}\n"
MIXED = SCENARIO.replace("prefill: {profile: profile.json", "prefill: {profile: big.json")

few = st.integers(1, 6)


@given(few, few, st.integers(1, 30), st.sampled_from([0.5, 1.0, 3.0]))
def test_climb_finds_the_cheapest_sizes(p: int, d: int, needed: int, price: float) -> None:
    limits, prices = {P1: 9, D: 9}, {P1: price, D: 1.0}
    found, _ = answered(
        climb({P1: 1, D: 1}, judge, limits, prices), lambda sizes: Answer(p * sizes[P1] + d * sizes[D] >= needed)
    )
    every = [(a, b) for a in range(1, 10) for b in range(1, 10) if p * a + d * b >= needed]
    if not every:
        assert found.reason is Reason.NO_PASS
        return
    assert found.sizes
    assert price * found.sizes[P1] + found.sizes[D] == min(price * a + b for a, b in every)


def test_the_dearest_gpus_are_taken_away_first() -> None:
    start, _ = answered(climb({P1: 3, D: 3}, judge, {P1: 3, D: 3}), lambda _: Answer(passes=True))
    for prices, left in (({P1: 2.0}, {P1: 1, D: 3}), ({D: 2.0}, {P1: 3, D: 1})):
        found, _ = answered(shrink(start, judge, prices), lambda sizes: Answer(sizes[P1] + sizes[D] >= 4))
        assert found.sizes == left


def write(folder: Path, prices: str) -> Path:
    """Prefill runs on a card of another name."""
    file = write_plan(folder, PRICES % prices, MIXED)
    (folder / "big.json").write_text(json.dumps(synthetic_profile(gpu="big-gpu")))
    return file


def test_each_gpu_costs_what_its_card_does(tmp_path: Path) -> None:
    file = write(tmp_path, "test-gpu: 3, big-gpu: 4.5")
    scenario = load(file, (), None).scenario
    prices = Bench(scenario, scenario.arms[1], []).prices
    assert {role.stage: price for role, price in prices.items()} == {Stage.PREFILL: 1.5, Stage.DECODE: 1.0}
    code, stdout, stderr = invoke("plan", file, "--out", tmp_path / "out", "--jobs", 1)
    assert (code, stderr) == (0, "")
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    for arm in content["arms"].values():
        assert arm["cards"] == {"prefill": "big-gpu", "decode": "test-gpu"}
        assert arm["cost"]["per_hour"] == 4.5 * arm["gpus"]["prefill"] + 3 * arm["gpus"]["decode"]
    assert "big-gpu + test-gpu" in stdout
    assert " prefill on big-gpu + " in " ".join(stdout.split())


def test_a_card_without_a_price_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "test-gpu: 3")
    said = "small.yaml:18: plan.price_per_gpu_hour has no price of big-gpu, must have one: arms.isolated.prefill runs on it\n"
    assert invoke("plan", "small.yaml") == (2, "", said)
    write(tmp_path, "test-gpu: 0")
    said = "small.yaml:18: plan.price_per_gpu_hour.test-gpu is 0, must be above 0\n"
    assert invoke("plan", "small.yaml") == (2, "", said)


def priced(done: tuple[Path, dict[str, Any], str], **arms: tuple[str, int]) -> dict[str, Any]:
    """The plan with arms of so many decode GPUs of a card, `small` at 1 and `large` at 4 an hour."""
    content = deepcopy(done[1])
    prices = content["price_per_gpu_hour"] = {"small": 1.0, "large": 4.0}
    arm = content["arms"]["sun"]
    content["arms"] = {
        name: arm
        | {"stages": ["colocated"], "cards": {"colocated": card}, "gpus": {"colocated": gpus, "all": gpus}}
        | {"cost": {"per_hour": prices[card] * gpus, "per_million_output_tokens": 1.0}}
        for name, (card, gpus) in arms.items()
    }
    return content


def test_the_cheapest_arm_wins_and_not_that_with_the_fewest_gpus(done: tuple[Path, dict[str, Any], str]) -> None:
    said = conclusion(priced(done, first=("large", 3), second=("small", 9), third=("large", 4)))
    assert said[0] == (
        "second meets the SLO with 9 colocated GPUs on small for 9.00 an hour; first needs 3 colocated GPUs on large for "
        "12.0 an hour, so that is 25 % cheaper. Of the others, third needs 4 colocated GPUs on large for 16.0 an hour."
    )
    assert any(sentence.startswith("What breaks first in second") for sentence in said)


def test_the_rival_is_the_next_cheapest(done: tuple[Path, dict[str, Any], str]) -> None:
    gpus, cost, _ = headline(priced(done, first=("small", 9), second=("large", 3), third=("small", 11))).numbers
    assert (gpus.value, gpus.of) == ("9 GPUs", "first meets the SLO; third needs 11")
    assert cost.of == "first; third 11.0"


def test_where_all_cost_the_same_gpus_are_counted(done: tuple[Path, dict[str, Any], str]) -> None:
    content = priced(done, first=("small", 8), second=("small", 6))
    said = (
        "second meets the SLO with 6 colocated GPUs; first needs 8 colocated GPUs, so that is 25 % fewer, 6.00 instead "
    )
    assert conclusion(content)[0] == f"{said}of 8.00 an hour at 1.00 a GPU."
    alone = priced(done, first=("small", 6), second=("small", 8))
    assert conclusion(alone)[0].startswith("first meets the SLO with 6 colocated GPUs, 6.00 an hour at 1.00 a GPU.")
    assert "cards" not in overview(content).headers
