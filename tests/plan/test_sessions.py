"""Plans of sessions: their rate, longer answers, more skew, and the smallest pools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.cluster.simulation import simulate_arm
from sunsim.measured import summary_of, window_of
from sunsim.plan.bench import Bench
from sunsim.plan.conditions import AS_PLANNED, Conditions, can_lengthen, only, requests_under, take_turns, under
from sunsim.plan.fastest import hopeless
from sunsim.plan.run import load
from sunsim.plan.traced import made_for
from sunsim.plan.variants import variants
from sunsim.scenario import Scenario, build_requests
from sunsim.workload.requests import Requests
from sunsim.workload.sessions import UNKNOWN, Sessions
from tests.plan.small import invoke, write_plan

SCENARIO = """\
name: talks
seed: 3
models: {count: 2, popularity: {kind: zipf, alpha: 1}}
workload:
  kind: sessions
  duration_s: 4
  arrivals: {kind: poisson, rate_rps: 30}
  rounds: {mean: 2.7366, max: 6}
  think_s: {mean: 0.3}
  system_prompt_tokens: 100
  user: {kind: lognormal, median_tokens: 200, sigma: 0.5, max_tokens: 800}
  output: {kind: lognormal, median_tokens: 30, sigma: 0.5, max_tokens: 100}
slo: {ttft_ms: 60, tpot_ms: 9}
measure: {warmup_s: 0.5}
arms:
- name: own
  prefill: {profile: profile.json, policy: isolated, workers: 2, enable_prefix_caching: true, router: session-affinity}
  decode: {profile: profile.json, policy: isolated, workers: 2, enable_prefix_caching: true}
- name: whole
  prefill: {profile: profile.json, policy: isolated, workers: 2}
  decode: {profile: profile.json, policy: isolated, workers: 2}
"""
PLAN = "plan: {seeds: 2, max_prefill_gpus: 8, max_decode_gpus: 8, sensitivity: false}\n"
TRACE = "session,round,arrival_s,think_s,prompt_tokens,output_tokens\n"


def loaded(folder: Path, *overrides: str) -> Scenario:
    return load(write_plan(folder, PLAN, SCENARIO), overrides, None).scenario


def talked(requests: Requests) -> Sessions:
    assert requests.sessions
    return requests.sessions


def at(scenario: Scenario, conditions: Conditions) -> Requests:
    return requests_under(under(scenario, conditions), conditions)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The file of a plan, its content, and what it printed."""
    folder = tmp_path_factory.mktemp("talks")
    file = write_plan(folder, PLAN, SCENARIO)
    code, stdout, stderr = invoke("plan", file, "--out", folder / "out", "--jobs", 1)
    assert (code, stderr) == (0, "")
    return file, json.loads((folder / "out" / "plan.json").read_text()), stdout


def test_another_rate_is_that_of_sessions_whose_users_think_as_long(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    slow, fast = at(scenario, AS_PLANNED), at(scenario, Conditions(rate=2.0))
    same = len(slow)
    assert talked(fast).begun > 1.5 * talked(slow).begun
    assert np.abs(2 * fast.arrival_ps[:same] - slow.arrival_ps).max() <= 2
    for name in ("prompt_tokens", "output_tokens", "model"):
        assert (getattr(fast, name)[:same] == getattr(slow, name)).all()
    assert (talked(fast).think_ps[:same] == talked(slow).think_ps).all()


@pytest.mark.parametrize(
    "output", ["{kind: fixed, tokens: 30}", "{kind: lognormal, median_tokens: 30, sigma: 0.5, max_tokens: 90}"]
)
def test_longer_answers_make_all_later_prompts_longer(tmp_path: Path, output: str) -> None:
    scenario = loaded(tmp_path, f"workload.output={output}")
    before, after = at(scenario, AS_PLANNED), at(scenario, Conditions(outputs=2.0))
    assert (talked(after).session == talked(before).session).all()
    assert np.abs(after.output_tokens - 2.0 * before.output_tokens).max() <= 1
    longer = after.output_tokens - before.output_tokens
    for i, previous in enumerate(talked(before).previous.tolist()):
        grown = after.prompt_tokens[i] - before.prompt_tokens[i]
        assert grown == (
            0
            if previous == UNKNOWN
            else after.prompt_tokens[previous] - before.prompt_tokens[previous] + longer[previous]
        )


def test_more_skew_moves_whole_sessions_to_the_hotter_model(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    before, after = at(scenario, AS_PLANNED), at(scenario, Conditions(alpha=1.0))
    assert (after.model <= before.model).all()
    assert (after.model < before.model).any()
    assert not take_turns(after)


def test_only_keeps_a_models_sessions_whole(tmp_path: Path) -> None:
    requests = at(loaded(tmp_path), AS_PLANNED)
    own, number = only(requests, "m2"), np.flatnonzero(requests.model == 1)
    assert len(own) == len(number)
    sessions, of_all = talked(own), talked(requests)
    waits = sessions.previous != UNKNOWN
    assert (number[sessions.previous[waits]] == of_all.previous[number][waits]).all()
    assert (of_all.previous[number][~waits] == UNKNOWN).all()
    assert (sessions.segments.end[sessions.prompt] == own.prompt_tokens).all()


def test_models_that_take_turns_are_not_sized_apart(tmp_path: Path) -> None:
    apart, together = loaded(tmp_path), loaded(tmp_path, "workload.take_turns=true")
    assert take_turns(at(together, AS_PLANNED))
    assert list(Bench(apart, apart.arms[0], []).problems) == ["m1", "m2"]
    assert list(Bench(together, together.arms[0], []).problems) == [None]


def test_no_probe_is_ended_for_misses_among_requests_that_may_never_come(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    bench = Bench(scenario, scenario.arms[0], [])
    assert [probe.allowed for probe in bench.probes(bench.given, None)] == [None, None]


def test_a_cached_prompt_may_be_faster_than_the_shortest_prefill(tmp_path: Path) -> None:
    """A step of one token takes 8 ms and decode's first 7: 20 ms can be met, though no prompt has less than 100 tokens."""
    possible, impossible = (loaded(tmp_path, f"slo.ttft_ms={limit}") for limit in (20, 8))
    assert hopeless(possible, possible.arms[0]) == []
    assert [found["limit"] for found in hopeless(impossible, impossible.arms[0])] == ["ttft_ms"]


def holds(scenario: Scenario, bench: Bench, sizes: Any) -> bool:
    """The long way: all seeds to their end, what misses counted in summaries."""
    assert scenario.plan
    came, late = dict.fromkeys(scenario.model_names, 0), dict.fromkeys(scenario.model_names, 0)
    for seed in range(scenario.plan.seeds):
        seeded = scenario.changed(seed=scenario.seed + seed)
        requests = build_requests(seeded)
        result = simulate_arm(seeded, bench.sized(sizes), requests)
        (entry,) = summary_of(seeded, [result], window_of(seeded, requests))["arms"].values()
        if entry["overloaded"]:
            return False
        for name, own in entry["models"].items():
            came[name] += own["window_requests"]
            late[name] += own["window_requests"] - round((own["slo_attainment"] or 0) * own["window_requests"])
    return all(late[name] <= came[name] * (1 - scenario.plan.attainment) + 1e-9 for name in came)


def test_the_pools_hold_and_one_less_does_not(done: tuple[Path, dict[str, Any], str]) -> None:
    file, content, _ = done
    scenario = load(file, (), None).scenario
    for arm in scenario.arms:
        bench, found = Bench(scenario, arm, []), content["arms"][arm.name]
        sizes = {
            role: found["workers"][role.stage] if role.model is None else found["workers"][role.stage][role.model]
            for role in bench.roles
        }
        assert sum(sizes.values()) > len(sizes)
        assert holds(scenario, bench, sizes)
        for role, size in sizes.items():
            assert size == 1 or not holds(scenario, bench, sizes | {role: size - 1})


def test_it_says_sessions_and_what_was_cached(done: tuple[Path, dict[str, Any], str]) -> None:
    _, content, stdout = done
    said = " ".join(stdout.split())
    assert f"talks: {content['sessions_rps']:.1f} sessions/s ({content['rate_rps']:.1f} requests/s), 2 models" in said
    assert "Rates are of sessions" in said
    assert "longer outputs make all later prompts longer" in said
    own, whole = (content["arms"][name] for name in ("own", "whole"))
    assert own["portrait"]["entry"]["cached_share"] > 0.5
    assert f"{own['portrait']['entry']['cached_share'] * 100:.1f} % in own; 0.0 % in whole" in said
    assert all(point["cached_share"] > 0.5 for point in own["curve"])
    assert whole["gpus"]["all"] > own["gpus"]["all"]
    # Blocks that requests share are not told by rows.
    assert "kv_fullest" not in own["portrait"]["over_time"]
    assert "kv_fullest" in whole["portrait"]["over_time"]
    markdown = (done[0].parent / "out" / "plan.md").read_text()
    assert "sessions/s)" in markdown
    assert markdown.count("cached") >= 2


def test_other_answers_of_a_trace_are_not_tried_and_that_is_said(tmp_path: Path) -> None:
    rows = "".join(f"{n},0,{n / 10},,50,20\n{n},1,,0.2,100,20\n" for n in range(30))
    (tmp_path / "talks.csv").write_text(TRACE + rows)
    trace = "workload={kind: trace, format: csv, path: talks.csv}"
    plan = PLAN.replace("sensitivity: false", "sensitivity: true").replace("seeds: 2", "seeds: 1")
    file = write_plan(tmp_path, plan, SCENARIO)
    scenario = load(file, (trace,), None).scenario
    assert not can_lengthen(scenario)
    assert not [
        name for name in variants(scenario, scenario.arms[0], {"prefill": {}, "decode": {}}) if "outputs" in name
    ]
    _, stdout, stderr = invoke("plan", file, "--set", trace, "--out", tmp_path / "out", "--jobs", 1)
    assert stderr == ""
    assert "the prompts of a trace hold its answers, so other outputs were not tried" in " ".join(stdout.split())


def test_answers_of_a_trace_with_hashes_may_be_longer(tmp_path: Path) -> None:
    """No later prompt is known to hold them, so only the answers' own texts grow."""
    lines = [
        {"timestamp": 100 * n, "input_length": 600, "output_length": 20, "hash_ids": [0, n + 1]} for n in range(30)
    ]
    (tmp_path / "hashed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    scenario = loaded(tmp_path, "workload={kind: trace, format: mooncake, path: hashed.jsonl}")
    assert can_lengthen(scenario)
    before, after = at(scenario, AS_PLANNED), at(scenario, Conditions(outputs=2.0))
    assert (after.output_tokens == 40).all()
    grown = talked(after).segments.end - talked(before).segments.end
    assert (grown[talked(before).answer] == 20).all()
    assert grown.sum() == 20 * len(lines)


def test_a_scenario_made_for_a_file_of_sessions_has_caches(tmp_path: Path) -> None:
    (tmp_path / "talks.csv").write_text(TRACE + "0,0,0,,50,20\n0,1,,0.2,100,20\n1,0,1,,50,20\n")
    made = made_for(tmp_path / "talks.csv", (), None)
    assert made
    pools = [pool for arm in made.source.values()["arms"] for pool in arm.values() if isinstance(pool, dict)]
    assert pools
    assert all(pool["enable_prefix_caching"] and pool["router"] == "session-affinity" for pool in pools)
    assert "prefix caches, and routers that keep a session where it was (arms)" in made.assumed


def test_a_plan_of_prompts_with_hashes_is_one_of_requests_and_says_what_was_cached(tmp_path: Path) -> None:
    lines = [{"timestamp": 50 * n, "input_length": 600, "output_length": 9, "hash_ids": [0, n + 1]} for n in range(40)]
    (tmp_path / "hashed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    trace = "workload={kind: trace, format: mooncake, path: hashed.jsonl}"
    file = write_plan(tmp_path, PLAN.replace("seeds: 2", "seeds: 1"), SCENARIO)
    _, stdout, stderr = invoke(
        "plan", file, "--set", trace, "--set", "slo.ttft_ms=200", "--out", tmp_path / "out", "--jobs", 1
    )
    assert stderr == ""
    said = " ".join(stdout.split())
    assert "requests/s" in said
    assert "sessions/s" not in said
    assert "Found in prefix caches, of the prompts' tokens: " in said
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert content["arms"]["own"]["portrait"]["entry"]["cached_share"] == pytest.approx(512 / 600)
    assert (tmp_path / "out" / "plan.md").read_text().count("cached") >= 2
