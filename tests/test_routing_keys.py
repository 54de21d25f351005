"""What a scenario may say about routers and admission, what it leaves out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.scenario import Scenario, load_scenario, resolved
from tests.scenario_files import SCENARIO, write_scenario

DECODE = "arms.sun.decode."


def loaded(folder: Path, *overrides: str, text: str = SCENARIO) -> Scenario:
    return load_scenario(write_scenario(folder, text), overrides)


def refused(folder: Path, *overrides: str, text: str = SCENARIO) -> str:
    with pytest.raises(InputError) as caught:
        loaded(folder, *overrides, text=text)
    return str(caught.value).removeprefix("--set: ")


def test_who_uses_none_of_it_reads_none_of_it(tmp_path: Path) -> None:
    text = resolved(loaded(tmp_path))
    assert "output_lengths" not in text
    assert "admission" not in text


@pytest.mark.parametrize("router", ["least-predicted-tpot", "least-harm"])
def test_without_a_word_about_outputs_their_mean_is_known(router: str, tmp_path: Path) -> None:
    text = resolved(loaded(tmp_path, f"{DECODE}router={router}"))
    assert "    output_lengths:\n      known: none\n" in text
    assert "accuracy" not in text


def test_predictions_are_right_as_often_as_tokenscale_s(tmp_path: Path) -> None:
    (_, arm) = loaded(tmp_path, f"{DECODE}output_lengths={{known: predicted}}").arms
    assert arm.decode
    assert arm.decode.block.output_lengths
    assert arm.decode.block.output_lengths.accuracy == 0.85
    scenario = loaded(tmp_path, f"{DECODE}output_lengths={{known: predicted, accuracy: 0.5}}", "arms.sun.admission={}")
    assert load_scenario(write_scenario(tmp_path, resolved(scenario))) == scenario
    assert scenario.arms[1].block.admission
    assert scenario.arms[1].block.admission.factor == 1


def test_a_scenario_s_mean_lengths_are_its_law_s(tmp_path: Path) -> None:
    fixed = "workload.lengths={kind: fixed, prompt_tokens: 7, output_tokens: 9}"
    (_, arm) = loaded(tmp_path, fixed).arms
    assert arm.decode
    assert (arm.decode.mean_prompt, arm.decode.mean_output) == (7, 9)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["arms.isolated.prefill.router=least-harm"],
            (
                "arms.isolated.prefill.router is least-harm, must be another: prefill workers decode nothing, the wait is "
                "shortest with least-tokens"
            ),
        ),
        (
            ["arms.isolated.prefill.router=least-tokens", "arms.isolated.prefill.output_lengths={known: exact}"],
            (
                "arms.isolated.prefill.output_lengths is given, must be left out: on a prefill worker a request ends with its "
                "first token"
            ),
        ),
        (
            [f"{DECODE}router=least-requests", f"{DECODE}output_lengths={{known: exact}}"],
            "arms.sun.decode.output_lengths is given, must be left out: router least-requests does not look at them",
        ),
        (
            [f"{DECODE}output_lengths={{known: exact, accuracy: 0.9}}"],
            "arms.sun.decode.output_lengths.accuracy is 0.9, must be left out: known is exact, not predicted",
        ),
        (
            [f"{DECODE}output_lengths={{known: predicted, accuracy: 1.1}}"],
            "arms.sun.decode.output_lengths.accuracy is 1.1, must be at most 1",
        ),
        (
            [f"{DECODE}output_lengths={{known: guessed}}"],
            "arms.sun.decode.output_lengths.known is 'guessed', must be one of exact, predicted, none",
        ),
        (
            [f"{DECODE}router=random", f"{DECODE}load_report={{every_ms: 5}}"],
            "arms.sun.decode.load_report is given, must be left out: router random does not look at loads",
        ),
        (
            ["arms.sun.admission={kind: queue}"],
            "arms.sun.admission.kind is 'queue', must be shed",
        ),
        (["arms.sun.admission={factor: 0}"], "arms.sun.admission.factor is 0, must be at least 0.01"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, *overrides) == said


@pytest.mark.parametrize(
    ("slo", "stage", "must"),
    [
        ("{}", "decode", "slo.ttft_ms or slo.tpot_ms"),
        ("{e2el_ms: 9000}", "decode", "slo.ttft_ms or slo.tpot_ms"),
        ("{tpot_ms: 25}", "prefill", "slo.ttft_ms"),
    ],
)
def test_admission_needs_a_limit_that_it_can_predict(slo: str, stage: str, must: str, tmp_path: Path) -> None:
    text = SCENARIO.replace("slo: {ttft_ms: 2000, tpot_ms: 25}", f"slo: {slo}")
    text = text.replace("  - name: sun\n    decode:", f"  - name: sun\n    admission: {{kind: shed}}\n    {stage}:")
    line = text[: text.index("    admission")].count("\n") + 1
    where = f"{tmp_path / 'scenario.yaml'}:{line}: arms.sun.admission"
    assert refused(tmp_path, text=text) == f"{where} is given, must be left out, or have {must}"


def test_admission_needs_to_know_who_computes_a_prompt(tmp_path: Path) -> None:
    said = refused(tmp_path, "arms.isolated.admission={}", "arms.isolated.decode.append_prefill=local")
    assert said == "arms.isolated.admission is given, must be left out: decode.append_prefill is local, not remote"
