"""Runs of workers that draft: what is accepted is drawn on both sides, and how far that alone takes them apart is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.latency.profile import load_profile
from sunsim.validation.drafts import SEEDS
from sunsim.validation.floor import pair_of
from sunsim.validation.worker import check_run
from sunsim.validation.worker_run import read_run
from tests.synthetic import drafting_profile
from tests.validation.runs import (
    FIRST_TOKENS,
    Stream,
    columns_of,
    invoke,
    meta,
    played,
    stream,
    write_profile,
    write_table,
)

RATES = [0.75, 0.55, 0.4]
KIND = {"method": "eagle", "num_speculative_tokens": 3}
ARGS = drafting_profile(3)["engine_args"]


def facts_of(role: str = "decode", rates: list[float] = RATES, **changes: Any) -> dict[str, Any]:
    """Metadata of a run with three drafts, none counted yet."""
    drafts = {"speculative_config": KIND | {"synthetic_acceptance_rates": rates}}
    counts = {"num_drafts": 0, "num_draft_tokens": 0, "num_accepted_tokens_per_pos": [0, 0, 0]}
    return meta(role, engine_args=ARGS, **(drafts | counts | changes))


def document() -> dict[str, Any]:
    """A profile with three drafts, measured in the engine start of the runs."""
    return drafting_profile(3, first_token_points=FIRST_TOKENS, engine_start="start-1")


def write_run(path: Path, requests: Stream, seed: int = 0, profile: dict[str, Any] | None = None, **facts: Any) -> Path:
    """What a drafting worker does with the requests, its luck drawn from the seed."""
    stated = facts_of(**facts)
    found = played(requests, profile or document(), stated, path.parent, seed)
    assert found.drafts
    return write_table(path, columns_of(found.served), stated | found.drafts._asdict())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the drafting profile."""
    write_profile(tmp_path / "p.json", document())
    return tmp_path


def checked(folder: Path, *runs: Path, code: int = 0) -> list[dict[str, Any]]:
    """What the verb says of the runs."""
    found, stdout, stderr = invoke(*runs, "--profile", folder / "p.json", "--json")
    assert (found, stderr) == (code, "")
    content: list[dict[str, Any]] = json.loads(stdout)["runs"]
    return content


@pytest.mark.parametrize("role", ["decode", "colocated"])
def test_the_simulation_itself_is_not_off_at_all(folder: Path, role: str) -> None:
    (run,) = checked(folder, write_run(folder / "run.parquet", stream(200, 10.0), role=role))
    for figure in run["figures"].values():
        assert figure["error_percent"] == pytest.approx(0, abs=1e-6)
    targets = {tag: figure["tolerance_percent"] for tag, figure in run["figures"].items() if figure["holds"]}
    drafted = {"mean_tpot_ms": 2, "median_tpot_ms": 2, "p99_tpot_ms": 2, "output_throughput": 2}
    drafted |= {"mean_acceptance_length": 1}
    assert targets == drafted | ({"mean_ttft_ms": 5, "p99_ttft_ms": 10} if role == "colocated" else {})
    assert run["figures"]["mean_acceptance_length"]["actual"] == pytest.approx(1 + sum(RATES), rel=0.03)
    # A burst comes a step after the one before it.
    figures = run["figures"]
    assert 10 < figures["mean_itl_ms"]["actual"] < (13 if role == "decode" else 30)
    assert figures["mean_itl_ms"]["actual"] > 1.5 * figures["mean_tpot_ms"]["actual"]


def test_other_luck_is_as_far_off_as_the_spread_says(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(400, 20.0), seed=SEEDS.stop)
    result = check_run(read_run(path), load_profile(folder / "p.json"))
    deviations = {each.tag: each.deviation_percent or 0.0 for each in result.spread}
    assert set(deviations) >= {"mean_tpot_ms", "p99_tpot_ms", "output_throughput", "mean_acceptance_length"}
    # The variance of what one draft accepts, and its mean, which so many drafts have.
    variance = sum((2 * i + 1) * rate for i, rate in enumerate(RATES)) - sum(RATES) ** 2
    of_length = np.sqrt(variance / (result.run.meta.num_drafts or 0)) / (1 + sum(RATES)) * 100
    # That of nine draws is within these but once in a thousand times.
    assert 0.3 * of_length < deviations["mean_acceptance_length"] < 1.9 * of_length
    for tag in ("mean_tpot_ms", "mean_acceptance_length"):
        assert 0 < abs(result.error_percent(tag) or 0.0) < 6 * deviations[tag]


def test_slower_steps_are_found_beside_the_scatter(folder: Path) -> None:
    slow = document()
    for point in slow["decode_points"]:
        point.update({key: value * 1.1 for key, value in point.items() if key.startswith("step_ms")})
    (run,) = checked(folder, write_run(folder / "run.parquet", stream(200, 10.0), profile=slow), code=3)
    assert -11 < run["figures"]["mean_tpot_ms"]["error_percent"] < -7
    by_tag = {each["tag"]: each for each in run["spread"]}
    assert -11 < by_tag["mean_tpot_ms"]["mean_error_percent"] < -7


@pytest.mark.parametrize(("rates", "steps"), [([1.0, 1.0, 1.0], 8), ([0.0, 0.0, 0.0], 31)])
def test_one_request_takes_as_many_steps_as_its_bursts_need(folder: Path, rates: list[float], steps: int) -> None:
    # The first step emits one token, each later one 1 or 4; 31 more are to come.
    alone = Stream(np.array([0.0]), np.array([100.0]), np.array([32.0]))
    served = played(alone, document(), facts_of(rates=rates), folder).served
    tokens = 32 - 1
    mean_context = 100 + 1 + (tokens if rates[0] else tokens - 1) / 2
    assert steps == -(-tokens // (4 if rates[0] else 1))
    took_ms = (served.last_token_s[0] - served.first_token_s[0]) * 1000
    assert took_ms == pytest.approx(steps * (10 + 0.08 + 4.125e-5 * mean_context), rel=2e-3)


def test_recorded_steps_are_checked_apart_where_somebody_enters(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(50, 5.0))
    decode_ms = 10 + 0.08 * 16 + 4.125e-5 * 16_000
    # One that enters beside fifteen is as if there were sixteen.
    entered_ms = decode_ms
    columns = {
        "step_s": np.array([decode_ms, entered_ms]) * 1.01 / 1000,
        "requests": [16, 16],
        "decode_requests": [16, 15],
        "context_tokens": [16_000, 15_000],
        "chunk_tokens": [0, 0],
        "chunk_attended_pairs": [0, 0],
        "draft_tokens": [48, 45],
        "entering_requests": [0, 1],
        "entering_context_tokens": [0, 1000],
    }
    write_table(folder / "run.steps.parquet", columns, None)
    bands = {band["batches"]: band for band in checked(folder, path)[0]["steps"]}
    assert {name: band["steps"] for name, band in bands.items()} == {
        "2-16": 1,
        "all decode": 1,
        "with one that enters": 1,
    }
    assert bands["all decode"]["error_percent"] == pytest.approx(-0.99, abs=0.01)
    assert bands["with one that enters"]["error_percent"] == pytest.approx(-0.99, abs=0.3)


def test_the_terminal_tells_what_draws_scatter(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(100, 10.0), seed=20)
    _, stdout, _ = invoke(path, "--profile", folder / "p.json")
    assert f"simulated with {len(SEEDS) + 1} seeds" in stdout
    assert re.search(r"^run, mean of the seeds +[+-]\d\.\d\d ", stdout, re.MULTILINE)
    assert re.search(r"mean acceptance length \(tokens\) +2\.\d+ +2\.\d+ .* 1 % ", stdout)


def test_the_same_stream_with_other_rates_is_no_repeat(folder: Path) -> None:
    one, other, again = (
        read_run(write_run(folder / f"{name}.parquet", stream(50, 5.0), rates=rates))
        for name, rates in (("one", RATES), ("other", [0.5, 0.2, 0.1]), ("again", RATES))
    )
    assert pair_of(one, again)
    assert pair_of(one, other) is None


def test_a_prefill_worker_that_could_draft_drafts_nothing(folder: Path) -> None:
    run = read_run(write_run(folder / "run.parquet", stream(50, 5.0), role="prefill"))
    result = check_run(run, load_profile(folder / "p.json"))
    assert result.holds
    assert (result.figure("mean_acceptance_length"), result.spread) == (None, [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"speculative_config": None}, "ran without drafts, but profile"),
        ({"speculative_config": KIND}, "metadata speculative_config.synthetic_acceptance_rates: Field required"),
        (
            {"speculative_config": KIND | {"synthetic_acceptance_rates": [0.5, 0.6, 0.1]}},
            "3 numbers from 0 to 1 that do",
        ),
        (
            {"speculative_config": KIND | {"synthetic_acceptance_rates": [0.5, 0.1]}},
            "3 numbers from 0 to 1 that do not",
        ),
        ({"num_drafts": None}, "num_drafts, num_draft_tokens and num_accepted_tokens_per_pos must be there"),
        ({"engine_args": ARGS | {"enable_prefix_caching": True}}, "ran with drafts and a prefix cache, which are not"),
    ],
)
def test_what_cannot_be_simulated_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    stated = facts_of()
    columns = columns_of(played(stream(20, 5.0), document(), stated, folder).served)
    path = write_table(folder / "run.parquet", columns, stated | changes)
    code, stdout, stderr = invoke(path, "--profile", folder / "p.json")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert said in stderr


def test_a_profile_with_other_drafts_is_refused(folder: Path) -> None:
    path = write_run(folder / "run.parquet", stream(20, 5.0))
    write_profile(folder / "plain.json")
    code, _, stderr = invoke(path, "--profile", folder / "plain.json")
    assert code == 2
    assert "ran with 3 drafts of eagle, but profile" in stderr
    assert "was measured without drafts: must be one measured with 3 drafts of eagle" in stderr
    # None is shipped of this card.
    code, _, stderr = invoke(path)
    assert code == 2
    assert "there is no profile test-gpu/drafts/llama-3.1-8b-bf16-eagle-k3, --profile must be" in stderr


@pytest.mark.parametrize(
    "counts",
    [
        {"num_drafts": 100, "num_accepted_tokens_per_pos": [80, 60]},
        {"num_drafts": 100, "num_accepted_tokens_per_pos": [60, 80, 40]},
        {"num_drafts": 70, "num_accepted_tokens_per_pos": [80, 60, 40]},
        {"num_drafts": 100, "num_accepted_tokens_per_pos": [80, 60, -1]},
        {"num_draft_tokens": 301, "num_accepted_tokens_per_pos": [80, 60, 40]},
        {"num_draft_tokens": 179, "num_accepted_tokens_per_pos": [80, 60, 40]},
        {"num_drafts": 0, "num_draft_tokens": 0, "num_accepted_tokens_per_pos": [1, 0, 0]},
    ],
)
def test_counts_that_contradict_each_other_are_refused(counts: dict[str, Any], folder: Path) -> None:
    run = folder / "run.parquet"
    stated = facts_of() | {"num_drafts": 100, "num_draft_tokens": 300} | counts
    write_table(run, columns_of(played(stream(3, 1.0), document(), facts_of(), folder, 0).served), stated)
    code, stdout, stderr = invoke(run, "--profile", folder / "p.json")
    assert (code, stdout) == (2, "")
    assert f"{run}: not a run of schema version 1: " in stderr
    assert "counts of drafts contradict each other: " in stderr


def test_no_rates_are_refused_by_their_number(folder: Path) -> None:
    stated = facts_of(rates=[])
    run = write_table(
        folder / "run.parquet", columns_of(played(stream(3, 1.0), document(), facts_of(), folder, 0).served), stated
    )
    code, _, stderr = invoke(run, "--profile", folder / "p.json")
    assert code == 2
    assert "synthetic_acceptance_rates must be 3 numbers from 0 to 1 that do not rise" in stderr
