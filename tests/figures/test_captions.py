"""Captions: every setting that somebody chose."""

from __future__ import annotations

from sunsim.figures.captions import choices, swept
from sunsim.figures.roofline import table
from sunsim.figures.sweeps import SweepFile, plans
from sunsim.scenario.blocks import Transfer
from tests.figures.small import SHORT


def test_choices_name_swept_values_and_gpus() -> None:
    plan = plans([SHORT])["transfer"]
    facts = choices(plan.scenario, swept(plan))
    assert "4 models, Zipf alpha 2" in facts
    assert "KV link 50 and 400 Gbit/s a worker and 0.1 ms" in facts
    assert "GPUs: isolated 6P4D, sun 6P4D, sun-half 6P2D" in facts
    assert any(fact.startswith("Poisson arrivals at 50 req/s for 6 s") for fact in facts)


def test_an_override_makes_another_sweep() -> None:
    other = SweepFile("other", "transfer", (*SHORT.overrides, "first_token=prefill"))
    assert plans([other])["other"].scenario.first_token == "prefill"


def test_parts_of_a_step_add_up_to_the_measured_time() -> None:
    made = table({})
    assert {"bf16", "awq"} == set(made["variant"])
    total = made["weights_ms"] + made["kv_ms"] + made["rest_ms"]
    assert (total - made["step_ms"]).abs().max() < 1e-9
    assert (made["step_ms_p10"] <= made["step_ms_p90"]).all()


def test_a_measured_link_is_not_called_by_the_defaults_that_it_replaces() -> None:
    scenario = plans([SHORT])["transfer"].scenario
    measured = scenario.changed(transfer=Transfer(measured="h100-80gb/links/nixl-nvlink"))
    assert "KV link h100-80gb/links/nixl-nvlink, of which transfers at a time get equal shares" in choices(measured, {})
    assert not any("Gbit/s" in fact for fact in choices(measured, {}))
