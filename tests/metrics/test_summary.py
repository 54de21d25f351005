"""The content of `summary.json`."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sunsim.metrics import REGISTRY, to_json
from sunsim.metrics.admission import add_shed
from sunsim.metrics.converted import add_converted
from sunsim.metrics.drafts import add_drafts
from sunsim.metrics.pools import add_pools
from sunsim.metrics.sessions import add_sessions
from sunsim.records import ArmResult
from sunsim.roles import Module
from tests.metrics.synthetic import drafted, sizes, table, talk, toy_arm, toy_summary, toy_worker

META = {"sunsim_version": "0", "scenario": "toy", "seed": 1, "profiles": {"p": "0f"}}


def summary_of(*arms: ArmResult, slo: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return toy_summary(*arms, slo=slo, warmup_s=5.0, meta=META, **options)


@pytest.fixture(scope="module")
def toy() -> dict[str, Any]:
    """Four models on four GPUs of their own, on four shared ones, and on one with few places."""
    arms = (
        toy_arm("isolated", shared=False, decode_workers=4),
        toy_arm("sun", shared=True, decode_workers=4),
        toy_arm("tiny", shared=True, decode_workers=1, places=16),
    )
    return summary_of(*arms, slo={"ttft_ms": 500.0}, worst_window_s=10.0)


def test_it_says_where_it_came_from(toy: dict[str, Any]) -> None:
    assert {key: toy[key] for key in META} == META
    assert toy["schema_version"] == 1
    assert toy["window"]["start_s"] == 5.0
    assert toy["slo"] == {"ttft_ms": 500.0}
    assert toy["worst_window_s"] == 10.0


def test_every_key_is_declared(toy: dict[str, Any]) -> None:
    for arm in toy["arms"].values():
        assert set(arm) <= set(REGISTRY)
        for entry in (*arm["models"].values(), *arm["workers"].values()):
            assert set(entry) <= set(REGISTRY)


def test_every_declared_metric_is_used_and_defined(toy: dict[str, Any]) -> None:
    arm = toy["arms"]["sun"]
    used = set(arm).union(*arm["models"].values(), *arm["workers"].values())
    used |= {"mean_power_w", "energy_j_per_output_token"}  # there only where a profile has power
    sessions = ArmResult(talk({}), [toy_worker("decode/m1/0", "decode", "m1")])
    talked = toy_summary(sessions)
    add_sessions(talked, [sessions], {"a": 1})
    used |= set(talked["arms"]["a"]).union(*talked["arms"]["a"]["rounds"])
    elastic = ArmResult(talk({}), sessions.workers, sizes((0.0, 1, 0, 0, 0), model="m1"))
    changing = toy_summary(elastic)
    add_pools(changing, [elastic])
    add_shed(changing, [elastic])
    used |= set(changing["arms"]["a"]).union(*changing["arms"]["a"]["pools"].values())
    add_converted(changing, elastic)
    used |= set(changing["arms"]["a"]) | {
        "same_way",
        "kv_target",
        "without_drafts",
        "accuracy",
    }  # what only a scenario tells
    drafting = ArmResult(drafted({}), [toy_worker("d", "decode")])
    guessed = toy_summary(drafting)
    add_drafts(guessed, [drafting])
    used |= set(guessed["arms"]["a"])
    assert set(REGISTRY) == used
    assert all(metric.definition.endswith(".") for metric in REGISTRY.values())


def test_throughput_is_given_per_decode_gpu_and_per_gpu(toy: dict[str, Any]) -> None:
    arm = toy["arms"]["isolated"]
    assert (arm["decode_gpus"], arm["gpus"]) == (4, 8)
    assert arm["output_throughput_per_decode_gpu"] == arm["output_throughput_window"] / 4
    assert arm["output_throughput_per_gpu"] == arm["output_throughput_window"] / 8


def test_models_add_up_to_the_arm(toy: dict[str, Any]) -> None:
    arm = toy["arms"]["sun"]
    for tag in ("requests", "completed", "total_output_tokens", "output_throughput_window", "request_goodput"):
        assert sum(model[tag] for model in arm["models"].values()) == pytest.approx(arm[tag])
    assert list(arm["models"]) == ["m1", "m2", "m3", "m4"]
    assert (toy["hot_model"], toy["coldest_model"]) == ("m1", "m4")


def test_models_without_requests_are_listed() -> None:
    arm = toy_arm("sun", shared=True, decode_workers=4)
    summary = summary_of(arm, slo={"ttft_ms": 500.0}, model_names=[f"m{i}" for i in range(1, 13)])
    models = summary["arms"]["sun"]["models"]
    assert list(models) == [f"m{i}" for i in range(1, 13)]
    assert (models["m12"]["requests"], models["m12"]["output_throughput_window"]) == (0, 0.0)
    assert models["m12"]["mean_ttft_ms"] is models["m12"]["slo_attainment"] is None
    assert models["m12"]["overloaded"] is False
    assert (summary["hot_model"], summary["coldest_model"]) == ("m1", "m4")


@pytest.mark.parametrize(("module", "utilisation"), [(Module.SHARED, 0.75), (Module.OWN, 0.25)])
def test_prefill_had_second_passes_where_decode_cannot_prefill_what_it_preempts(
    module: Module, utilisation: float
) -> None:
    stamps = {"arrival_s": 5.0, "prefill_start_s": 5.0, "prefill_end_s": 6.0, "first_token_s": 6.5, "last_token_s": 7.0}
    last = {"arrival_s": 9.0, "first_token_s": 9.0, "last_token_s": 9.0}
    workers_of = {"prefill_worker": "p", "decode_worker": "d"}
    rows = table({**workers_of, **stamps, "output_tokens": 2}, {**workers_of, **last})
    workers = [toy_worker("p", "prefill", busy_s=3.0), toy_worker("d", "decode", preemptions=1, module=module)]
    workers_entry = summary_of(ArmResult(rows, workers))["arms"]["a"]["workers"]
    assert workers_entry["p"]["utilisation"] == utilisation
    assert (workers_entry["p"]["mean_kv_occupancy"] is not None) is (module is Module.OWN)


def test_workers_add_up_to_the_arm(toy: dict[str, Any]) -> None:
    arm = toy["arms"]["sun"]
    decode = [worker for worker in arm["workers"].values() if worker["stage"] == "decode"]
    assert sum(worker["requests"] for worker in decode) == arm["requests"]
    assert sum(w["output_throughput_window"] for w in decode) == pytest.approx(arm["output_throughput_window"])


def test_overload_and_its_cause(toy: dict[str, Any]) -> None:
    assert {name: arm["overloaded"] for name, arm in toy["arms"].items()} == {
        "isolated": False,
        "sun": False,
        "tiny": True,
    }
    assert toy["arms"]["tiny"]["limiting"]["stage"] == "decode"
    assert toy["arms"]["tiny"]["limiting"]["worker"] == "decode/shared/0"


def test_steps_outside_the_measured_range_are_summed_by_stage(toy: dict[str, Any]) -> None:
    arm = toy["arms"]["isolated"]
    assert arm["outside_measured"] == {"prefill": {}, "decode": {"context": 48}}
    assert arm["outside_measured_share"]["decode"] == 48 / 24_000


def test_json_has_no_nan_even_where_nothing_finished() -> None:
    rows = table(
        {"decode_worker": "decode/shared/0", "arrival_s": 6.0, "outcome": "unfinished"},
        {"decode_worker": None, "arrival_s": 8.0, "outcome": "unfinished"},
    )
    summary = summary_of(ArmResult(rows, [toy_worker("decode/shared/0", "decode")]), stop_s=7.0)
    text = to_json(summary)
    assert "NaN" not in text
    assert "Infinity" not in text
    arm = json.loads(text)["arms"]["a"]
    assert arm["mean_ttft_ms"] is None
    assert arm["output_throughput"] == 0.0
    assert (arm["unfinished"], arm["window_requests"]) == (2, 1)
    assert summary["window"] == {"start_s": 5.0, "end_s": 7.0, "too_short": False}


def test_equal_rows_give_equal_text(toy: dict[str, Any]) -> None:
    again = summary_of(toy_arm("sun", shared=True, decode_workers=4), slo={"ttft_ms": 500.0}, worst_window_s=10.0)
    assert to_json({"arms": again["arms"]["sun"]}) == to_json({"arms": toy["arms"]["sun"]})


@pytest.mark.benchmark
def test_a_hundred_thousand_requests_take_about_a_second() -> None:
    arm = toy_arm("big", shared=True, decode_workers=8, rate_rps=100, duration_s=1000)
    began = time.perf_counter()
    summary_of(arm)
    assert time.perf_counter() - began < 1.5
