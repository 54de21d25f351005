"""What a plan's sentences say of the plan that all these tests share, and of the same with other outcomes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sunsim.plan.caveats import caveats
from sunsim.plan.conclusion import conclusion
from sunsim.plan.doubt import Seen
from sunsim.plan.errors import error_table
from sunsim.plan.result import PlanResult
from sunsim.plan.tables import overview
from sunsim.plan.variants import TYPICAL
from sunsim.report.accuracy import HEADER, NOWHERE

Done = tuple[Path, dict[str, Any], str]


def test_the_error_of_a_profile_of_ones_own_is_not_known(done: Done) -> None:
    _, content, stdout = done
    assert content["errors"] == []
    said = " ".join(stdout.split())
    assert "Never compared with a real run: prefill and decode workers of sun's card, model and variant." in said
    (name,) = content["profiles"]
    closest = "How far off, on what comes closest to this traffic"
    assert f"{closest}: prefill steps of {name} not known; decode steps of {name} not known." in stdout
    assert f"Nothing tells how far off prefill steps of {name} and decode steps of {name} are." in stdout


SEEN = {
    (Seen.ALIKE, 5, 4.0): "1.0 % in the mean, real ones up to 4.0 % slower, in 5 real runs of requests about as long",
    (Seen.SWEEPS, 8, 4.0): (
        "1.0 % in the mean, real ones up to 4.0 % slower, on the profile's own traffic, each sweep as predicted from the others"
    ),
    (Seen.RUNS, 1, 0.0): "1.0 %, none slower, in 1 real run of requests of any length",
}


@pytest.mark.parametrize("seen", SEEN)
def test_a_plan_says_one_error_of_each_kind_of_steps_and_where_it_was_seen(
    done: Done, seen: tuple[Seen, int, float]
) -> None:
    content = deepcopy(done[1])
    (name,) = content["profiles"]
    error = {"profile": name, "stage": "decode", "runs": 6, "seen": seen[0], "seen_in": seen[1], "mean_percent": 1.04}
    content["errors"] = [error | {"too_fast_percent": seen[2]}]
    assert f"decode steps of {name} {SEEN[seen]}." in "\n".join(conclusion(content))
    rows = [row[:1] + row[3:] for row in error_table(content).rows]
    assert rows[0] == ("prefill", "never", "-", "-", "-")
    assert rows[1][:4] == ("decode", "6", "1.0 %", f"{seen[2]} %")
    assert not any(name in each for each in caveats(content) if "% " in each and "steps of" in each)


@pytest.mark.parametrize(("share", "said"), [(1.0, "All of"), (0.6, "60 % of"), (0.4, None), (None, None)])
def test_a_winner_of_which_hardly_a_step_was_measured_is_an_extrapolation(
    done: Done, share: float | None, said: str | None
) -> None:
    content = deepcopy(done[1])
    for arm in content["arms"].values():
        arm["portrait"]["entry"]["outside_measured_share"] = {"prefill": 0.0, "decode": share}
    sentence = "sun's decode steps are outside the measured range, so its number is an extrapolation."
    assert (f"{said} {sentence}" in conclusion(content)) == (said is not None)
    assert any(sentence in each for each in conclusion(content)) == (said is not None)


def test_a_plan_within_the_error_of_its_profiles_says_so(done: Done) -> None:
    content = deepcopy(done[1])
    for arm, needed in (("sun", None), ("isolated", 9)):
        within = needed is not None
        content["arms"][arm]["within_error"] = within
        content["arms"][arm]["variants"][TYPICAL] = {"gpus": {"all": needed or content["arms"][arm]["gpus"]["all"]}}
    said = " ".join(conclusion(content))
    assert "With steps slower by the typical error of its profiles, it still passes." in said
    assert (
        "Within the simulator's error: with steps slower by that of the profiles, isolated would need 9 GPUs." in said
    )


def test_an_arm_whose_real_runs_were_faster_may_need_fewer(done: Done) -> None:
    content = deepcopy(done[1])
    figures = {"mean_tpot_ms": {"mean_percent": 25.0, "worst_percent": 25.0}}
    content["arms"]["sun"]["validated"][0] |= {"runs": 1, "figures": figures}
    said = "sun may need fewer GPUs: mean TPOT of a real run of such workers was 20 % lower than simulated."
    assert said in " ".join(conclusion(content))
    content["arms"]["sun"]["within_error"] = True
    content["arms"]["sun"]["variants"][TYPICAL] = {"gpus": {"all": 9}}
    both = (
        "sun's number is a guess: mean TPOT of a real run of such workers was 20 % lower than simulated, but with steps"
        " slower by its profiles' error it would need 9 GPUs."
    )
    assert both in " ".join(conclusion(content))
    assert "may need fewer" not in " ".join(conclusion(content))
    figures["mean_tpot_ms"] = {"mean_percent": 25.0, "worst_percent": -25.0}
    assert "may need fewer" not in " ".join(conclusion(content))


def of_stages(done: Done, **gpus: tuple[int, int]) -> dict[str, Any]:
    """The plan with arms of so many prefill and decode GPUs; without any of a stage they lack it."""
    content = deepcopy(done[1])
    arm = content["arms"]["sun"]
    content["arms"] = {}
    for name, (prefill, decode) in gpus.items():
        has = {stage: size for stage, size in (("prefill", prefill), ("decode", decode)) if size}
        own = {"cards": dict.fromkeys(has, "test-gpu"), "cost": None}
        content["arms"][name] = arm | {"stages": list(has), "gpus": has | {"all": prefill + decode}} | own
    return content


def test_arms_with_as_many_gpus_are_each_given_their_own(done: Done) -> None:
    said = conclusion(of_stages(done, a=(3, 1), b=(2, 2), c=(2, 3)))[0]
    assert said.startswith("a meets the SLO with 4 GPUs (3 prefill + 1 decode) and b meets the SLO with 4 GPUs (2 ")
    assert "c needs 5 GPUs (2 prefill + 3 decode)" in said
    assert conclusion(of_stages(done, a=(2, 3), b=(1, 3)))[0].endswith("20 % fewer (none of them for decode).")


def test_arms_of_one_stage_are_no_rivals_of_whole_ones(done: Done) -> None:
    said = conclusion(of_stages(done, whole=(3, 3), back=(0, 2)))
    assert said[0] == "whole meets the SLO with 6 GPUs (3 prefill + 3 decode)."
    assert said[1] == "back meets the SLO with 2 decode GPUs."
    assert any("breaks first in whole" in sentence for sentence in said)


def test_other_base_models_are_said_first_of_the_caveats(done: Done) -> None:
    content = deepcopy(done[1])
    assert content["base_models"] == {"isolated": "llama-3.1-8b", "sun": "llama-3.1-8b"}
    content["base_models"]["sun"] = "qwen3-8b"
    assert caveats(content)[0].startswith(
        "The arms do not serve the same base model: llama-3.1-8b in isolated and qwen3-8b"
    )


def test_a_rate_that_a_budget_left_open_is_a_lower_bound(done: Done) -> None:
    content = deepcopy(done[1])
    for arm in content["arms"].values():
        arm["rates"] |= {"passes": 1.25, "fails": 1.5, "reason": "budget spent"}
    assert any("1.25 times this rate" in text and "at least; the budget" in text for text in conclusion(content))
    assert [row[-2] for row in overview(content).rows] == ["1.25x or more"] * 2


def test_a_plan_without_an_accuracy_file_says_that_accuracy_is_not_known(done: Done) -> None:
    _, content, stdout = done
    assert "- Accuracy is not known here: no arm names an accuracy file" in stdout
    assert caveats(content).count(NOWHERE) == 1
    assert HEADER not in overview(content).headers
    assert "accuracy" not in content


def test_a_plan_with_one_has_a_column_beside_the_gpus(done: Done) -> None:
    content = deepcopy(done[1])
    content["accuracy"] = {
        "a.json": {
            "sha256": "0" * 64,
            "model": "made-up-30m",
            "parameters": 999_999,
            "seeds": 1,
            "card": "Test GPU",
            "measured": "2026-11-29",
        }
    }
    content["arms"]["isolated"]["accuracy"] = None
    content["arms"]["sun"]["accuracy"] = {
        "method": "prefill-only",
        "file": "a.json",
        "exact_match": 0.8,
        "low": 0.75,
        "seeds": 3,
        "high": 0.85,
        "requests": 100,
        "tasks": ["sums"],
    }
    shown = overview(content)
    column = shown.headers.index(HEADER)
    assert shown.headers[column - 1] == "decode\nGPUs"
    assert {row[0]: row[column] for row in shown.rows} == {"isolated": "not known", "sun": "80.0 (75.0 to 85.0)"}
    said = caveats(content)
    assert NOWHERE not in said
    assert (
        "Exact match, with its 95 % interval, is of made-up-30m (999,999 parameters) on 1 task (sums), 1 seed, measured on "
        "Test GPU (2026-11-29), not your models: prefill-only (sun)."
    ) in said
    assert "Accuracy is not known here of isolated." in said
    assert PlanResult(content, "").table()["exact_match"]["sun"] == 0.8
