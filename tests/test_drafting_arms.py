"""Arms whose requests have drafts, from the scenario's file to the rows of its requests and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sunsim.plan.ways import needs
from sunsim.report.basis import basis
from sunsim.report.drafts import drafts
from sunsim.report.drafts_basis import BY_BATCH
from sunsim.report.sentences import basis as told
from sunsim.run import check
from sunsim.scenario import load_scenario
from sunsim.simulate import simulate
from tests.test_speculative_config import CONFIG, DECODE, write

ONE = ["workload.requests=1", "workload.lengths.output_tokens=41"]
ALL_ACCEPTED = f"{CONFIG}.synthetic_acceptance_rates=[1, 1, 1]"
PS_S = 1e-12


def rows(path: Path, *overrides: str) -> pd.DataFrame:
    found = simulate(load_scenario(path, overrides)).requests
    return found.set_index("arm")


def steps_s(drafts: int, contexts: range) -> float:
    """Steps of one request with `drafts` drafts at these contexts, as the made-up profile has them."""
    token_ms = 4.125e-5 if drafts else 4e-5
    return sum(7 + drafts + 0.02 * (drafts + 1) + token_ms * context for context in contexts) / 1000


def test_a_request_whose_drafts_are_all_accepted_has_four_tokens_a_step(tmp_path: Path) -> None:
    row = rows(write(tmp_path), *ONE, ALL_ACCEPTED).loc["sun-mtp"]
    expected_s = steps_s(3, range(601, 641, 4))
    assert row.last_token_s - row.first_token_s == pytest.approx(expected_s, abs=10 * PS_S)


def test_a_request_whose_drafts_are_all_refused_has_a_token_a_step(tmp_path: Path) -> None:
    row = rows(write(tmp_path), *ONE, f"{CONFIG}.synthetic_acceptance_rates=[0, 0, 0]").loc["sun-mtp"]
    assert row.last_token_s - row.first_token_s == pytest.approx(steps_s(3, range(601, 641)), abs=40 * PS_S)


def test_no_drafts_for_the_batch_are_plain_steps(tmp_path: Path) -> None:
    by_batch = f"{CONFIG}.num_speculative_tokens_per_batch_size=[[1, 256, 0]]"
    row = rows(write(tmp_path), *ONE, ALL_ACCEPTED, by_batch).loc["sun-mtp"]
    assert row.last_token_s - row.first_token_s == pytest.approx(steps_s(0, range(601, 641)), abs=40 * PS_S)


def test_the_drafters_kv_crosses_the_link_too(tmp_path: Path) -> None:
    found = rows(write(tmp_path), *ONE, "transfer.latency_ms=0", "transfer.bandwidth_gbit_s=1")
    moved_s = found.transfer_end_s - found.transfer_start_s
    assert moved_s["sun-mtp"] == pytest.approx(moved_s["sun"] * 135_168 / 131_072, abs=1e-9)


def test_acceptance_is_the_same_in_every_arm(tmp_path: Path) -> None:
    """Two arms that are equal have equal rows, and equal to those of a run with one of them."""
    path = write(tmp_path)
    text = path.read_text()
    arm = text[text.index("  - name: sun-mtp") :]
    path.write_text(text + arm.replace("sun-mtp", "again"))
    found = rows(path)
    own, again = (found[found.index == arm].reset_index(drop=True) for arm in ("sun-mtp", "again"))
    assert own.equals(again)


def test_what_is_derived_and_assumed_is_said(tmp_path: Path) -> None:
    ranges = f"{CONFIG}.num_speculative_tokens_per_batch_size=[[1, 16, 3], [17, 256, 2]]"
    found = basis(load_scenario(write(tmp_path), [ranges]))
    assert "steps with 2 drafts a request from those with 1 and 3 (sun-mtp)" in found["derived"]
    assert {
        "the first to the last of 3 drafts a step accepted in 0.75, 0.55, 0.4 of all, drawn (sun-mtp)",
        "a drafter for the shared decoder (sun-mtp)",
        "prefill makes the drafter's KV of a prompt in no time and room (sun-mtp)",
    } <= set(found["assumed"])
    assert found["upper_bound"] == [f"speeds of sun-mtp; {BY_BATCH}"]
    assert told(found)[0] == f"Upper bound: speeds of sun-mtp; {BY_BATCH}."
    assert "upper_bound" not in basis(load_scenario(write(tmp_path)))
    assert not [fact for kind in found for fact in found[kind] if "draft" in fact and "sun)" in fact]


def test_prefill_that_was_measured_with_drafts_makes_their_kv(tmp_path: Path) -> None:
    overrides = ["arms.sun-mtp.prefill.profile=drafts/synthetic-eagle-k3.json"]
    assert "in no time and room" not in " ".join(basis(load_scenario(write(tmp_path), overrides))["assumed"])


@pytest.mark.parametrize(
    ("policy", "drafter"), [("shared", "a drafter for the shared decoder"), ("isolated", "a drafter a model")]
)
def test_a_way_needs_its_drafters(policy: str, drafter: str, tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path), [f"{DECODE}.policy={policy}", f"{DECODE}.workers=2"])
    assert needs(scenario.arms[1], 2)[-1] == drafter
    assert not [need for need in needs(scenario.arms[0], 2) if "drafter" in need]


def test_more_drafts_than_measured_are_said_when_checked_and_when_run(tmp_path: Path) -> None:
    path = write(tmp_path)
    rates = f"{CONFIG}.synthetic_acceptance_rates=[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]"
    seven = [f"{CONFIG}.num_speculative_tokens=7", rates]
    beyond = "; steps with 7 drafts a request are extrapolated: at most 3 were measured (sun-mtp)"
    assert check(path, seven, None).endswith(beyond)
    assert "extrapolated" not in check(path, [], None)
    (said,) = drafts(simulate(load_scenario(path, seven)).summary["arms"])
    assert said.endswith(
        "these speeds are extrapolated: outside the measured range are 100.0 % of decode steps (more drafts than measured)."
    )
