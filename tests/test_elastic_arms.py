"""What a scenario says of pools that grow and shrink: filled in, written back, or refused at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.roles import Stage
from sunsim.scenario import Arm, build_requests, load_scenario, resolved
from sunsim.scenario.scaling import Bounds, TokenVelocity
from tests.scenario_files import write_scenario

SCENARIO = """\
name: day
models: {count: 2}
workload:
  kind: synthetic
  duration_s: 10
  arrivals: {kind: poisson, rate_rps: 1}
  lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 10}
arms:
  - name: arm
    prefill:
      profile: tiny.json
      policy: isolated
      workers: {min: 1, max: 3}
      scaling: {kind: token-velocity}
    decode:
      profile: tiny.json
      policy: shared
      workers: {min: 2, max: 4}
      scaling:
        kind: utilisation
"""
LINES = SCENARIO.splitlines()


def loaded(folder: Path, *overrides: str) -> Arm:
    path = write_scenario(folder, SCENARIO)
    return load_scenario(path, [f"arms.arm.{override}" for override in overrides]).arms[0]


def refused(folder: Path, old: str, new: str) -> str:
    """The line and the message of an error in the scenario with a part replaced."""
    assert SCENARIO.count(old) == 1
    path = write_scenario(folder, SCENARIO.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    return str(caught.value).removeprefix(f"{path}:")


def test_bounds_are_of_each_model_s_own_pool_and_the_most_counts_as_workers(tmp_path: Path) -> None:
    arm = loaded(tmp_path)
    assert arm.elastic
    assert arm.prefill
    assert arm.decode
    assert arm.prefill.workers == {"m1": Bounds(min=1, max=3), "m2": Bounds(min=1, max=3)}
    assert arm.decode.workers == Bounds(min=2, max=4)
    assert list(arm.prefill.roles.values()) == [3, 3]
    assert list(arm.decode.roles.values()) == [4]
    assert [arm.decode.bounds(role) for role in arm.decode.roles] == [Bounds(min=2, max=4)]


def test_each_model_may_have_bounds_of_its_own(tmp_path: Path) -> None:
    arm = loaded(tmp_path, "prefill.workers={m2: {min: 1, max: 1}, m1: {min: 2, max: 5}}")
    assert arm.prefill
    assert list(arm.prefill.roles.values()) == [5, 1]


@pytest.mark.parametrize(
    ("stage", "signal", "knobs"),
    [
        ("prefill", "in-flight", (1.5, None)),
        ("decode", "in-flight", (None, 0.8)),
        ("colocated", "in-flight", (1.5, 0.8)),
        ("prefill", "rate", (None, 1.0)),
        ("decode", "rate", (None, 1.0)),
        ("colocated", "rate", (None, 1.0)),
    ],
)
def test_a_velocity_has_the_knobs_of_its_stage_and_signal(
    stage: str, signal: str, knobs: tuple[float | None, float | None], tmp_path: Path
) -> None:
    block = "{profile: tiny.json, policy: isolated, workers: {min: 1, max: 2}, scaling: {kind: token-velocity, signal: "
    head = SCENARIO[: SCENARIO.index("    prefill:")]
    path = write_scenario(tmp_path, f"{head}    {stage}: {block}{signal}}}}}\n")
    scaling = load_scenario(path).arms[0].pools()[Stage(stage)].block.scaling
    assert isinstance(scaling, TokenVelocity)
    assert (scaling.threshold_s, scaling.target) == knobs


def test_a_resolved_scenario_resolves_to_itself(tmp_path: Path) -> None:
    schedule = "{kind: schedule, workers: {m1: [[0, 1], [3.5, 2]], m2: [[0, 1]]}, period_s: 60, warm_workers: 1}"
    text = SCENARIO.replace("{kind: token-velocity}", schedule)
    once = resolved(load_scenario(write_scenario(tmp_path, text)))
    assert resolved(load_scenario(write_scenario(tmp_path, once))) == once


FIXED = "workers: {min: 2, max: 4}"
POLICY = "        kind: utilisation"
REFUSED = [
    (FIXED, "workers: {min: 5, max: 4}", 18, "arms.arm.decode.workers: min is 5, must be at most max (4)"),
    (FIXED, "workers: {min: 0, max: 4}", 18, "arms.arm.decode.workers.min is 0, must be at least 1"),
    (FIXED, "workers: {min: 1, max: 10001}", 18, "arms.arm.decode.workers.max is 10001, must be at most 10,000"),
    (FIXED, "workers: {min: 2}", 18, "arms.arm.decode.workers.max is missing, must be given"),
    (
        FIXED,
        "workers: 4",
        19,
        "arms.arm.decode.scaling is given, must be left out: workers is a number, not {min, max}",
    ),
    (
        FIXED,
        "workers: {m1: {min: 1, max: 4}, m2: {min: 1, max: 4}}",
        18,
        "arms.arm.decode.workers is a mapping, must be a number because policy is shared",
    ),
    (
        "\n      scaling: {kind: token-velocity}",
        "",
        13,
        "arms.arm.prefill.workers has min and max, must be a number, or scaling must say when it changes",
    ),
    (
        "workers: {min: 1, max: 3}",
        "workers: {m1: {min: 1, max: 3}}",
        13,
        "arms.arm.prefill.workers lacks m2, must name every model of the scenario",
    ),
    (
        "workers: {min: 1, max: 3}",
        "workers: {min: 1, max: 6000}",
        13,
        "arms.arm.prefill.workers adds up to 12000, must be at most 10,000 in all",
    ),
    (
        "{kind: token-velocity}",
        "{kind: kv-usage}",
        14,
        "arms.arm.prefill.scaling.kind is kv-usage, must be another: prefill keeps KV only until it is pulled",
    ),
    (
        "{kind: token-velocity}",
        "{kind: token-velocity, target: 0.5}",
        14,
        "arms.arm.prefill.scaling.target is 0.5, must be left out: prefill with signal in-flight does not look at it",
    ),
    (
        "{kind: token-velocity}",
        "{kind: token-velocity, signal: rate, threshold_s: 2}",
        14,
        "arms.arm.prefill.scaling.threshold_s is 2.0, must be left out: prefill with signal rate does not look at it",
    ),
    (
        "{kind: token-velocity}",
        "{}",
        14,
        (
            "arms.arm.prefill.scaling.kind is missing, must be one of utilisation, kv-usage, token-velocity, "
            "request-rate, schedule, oracle"
        ),
    ),
    (
        POLICY,
        "        kind: fastest",
        20,
        (
            "arms.arm.decode.scaling.kind is 'fastest', must be one of utilisation, kv-usage, token-velocity, "
            "request-rate, schedule, oracle"
        ),
    ),
    (
        POLICY,
        f"{POLICY}\n        threshold_s: 2",
        21,
        (
            "unknown key arms.arm.decode.scaling.threshold_s, must be one of kind, interval_s, start_s, cooldown_s, grow, "
            "shrink, warm_workers, initial, target"
        ),
    ),
    (POLICY, f"{POLICY}\n        target: 0", 21, "arms.arm.decode.scaling.target is 0, must be greater than 0"),
    (POLICY, f"{POLICY}\n        target: 1.2", 21, "arms.arm.decode.scaling.target is 1.2, must be at most 1"),
    (POLICY, f"{POLICY}\n        interval_s: 0", 21, "arms.arm.decode.scaling.interval_s is 0, must be at least 0.001"),
    (
        POLICY,
        f"{POLICY}\n        grow: {{workers: 1}}",
        21,
        "arms.arm.decode.scaling.grow.every_s is missing, must be given",
    ),
    (POLICY, f"{POLICY}\n        start_s: -1", 21, "arms.arm.decode.scaling.start_s is -1, must be at least 0"),
    (
        POLICY,
        f"{POLICY}\n        initial: 1",
        21,
        "arms.arm.decode.scaling.initial is 1, must be from 2 to 4, as workers has it",
    ),
    (
        POLICY,
        f"{POLICY}\n        warm_workers: 4",
        21,
        "arms.arm.decode.scaling.warm_workers is 4, must be less than the most workers (4)",
    ),
    (
        POLICY,
        "        kind: request-rate",
        19,
        "arms.arm.decode.scaling.rps_per_worker is missing, must be given",
    ),
    (
        POLICY,
        "        kind: schedule\n        workers:\n          - [0, 2]\n          - [5, 1]",
        23,
        "arms.arm.decode.scaling.workers has 1 workers from 5 s, must be from 2 to 4, as workers has it",
    ),
    (
        POLICY,
        "        kind: schedule\n        workers:\n          - [0, 2]\n          - [5, 3]\n          - [5, 2]",
        24,
        "arms.arm.decode.scaling.workers has 2 workers from 5 s, must be later than the entry before (5 s)",
    ),
    (
        POLICY,
        "        kind: schedule\n        workers: [[1, 2]]",
        21,
        "arms.arm.decode.scaling.workers has 2 workers from 1 s, must begin with what holds from 0 s",
    ),
    (
        POLICY,
        "        kind: schedule\n        period_s: 5\n        workers: [[0, 2], [5, 3]]",
        22,
        "arms.arm.decode.scaling.workers has 3 workers from 5 s, must be before period_s (5 s)",
    ),
    (
        POLICY,
        "        kind: schedule\n        workers: {m1: [[0, 2]]}",
        21,
        "arms.arm.decode.scaling.workers is a mapping of m1, must be a list",
    ),
    (
        "{kind: token-velocity}",
        "{kind: schedule, workers: {m1: [[0, 1]]}}",
        14,
        (
            "arms.arm.prefill.scaling.workers is a mapping of m1, must be a list, or name every model of the scenario "
            "and no other"
        ),
    ),
    (
        POLICY,
        "        kind: schedule\n        workers: [[0, 2, 3]]",
        21,
        "arms.arm.decode.scaling.workers.0 is a list, must be at most 2 entries",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_does_not_go_together_is_refused_at_its_line(
    old: str, new: str, line: int, message: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, old, new) == f"{line}: {message}"


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [("append_prefill", "local", "remote"), ("append_prefill", "auto", "remote"), ("history", "keep", "rebuild")],
)
def test_history_on_a_worker_that_goes_is_refused(key: str, value: str, must: str, tmp_path: Path) -> None:
    talks = SCENARIO.replace("kind: synthetic", "kind: sessions\n  rounds: {mean: 2}\n  think_s: {mean: 1}")
    talks = talks.replace(
        "  lengths: {kind: fixed, prompt_tokens: 100, output_tokens: 10}",
        "  user: {kind: fixed, tokens: 100}\n  output: {kind: fixed, tokens: 10}",
    )
    talks = talks.replace("      policy:", "      enable_prefix_caching: true\n      policy:")
    assert load_scenario(write_scenario(tmp_path, talks)).arms[0].elastic
    path = write_scenario(tmp_path, talks.replace(f"      {FIXED}", f"      {FIXED}\n      {key}: {value}"))
    message = f"{key} is {value}, must be {must}: the pool is elastic, and a worker that has gone has no history"
    with pytest.raises(InputError, match=message):
        load_scenario(path)


def test_the_future_of_requests_that_wait_for_others_is_not_known(tmp_path: Path) -> None:
    closed = SCENARIO.replace("duration_s: 10", "requests: 5").replace("rate_rps: 1", "concurrency: 1")
    closed = closed.replace("poisson", "closed").replace(POLICY, "        kind: oracle")
    must = "must be another: when requests come that wait for others is not known beforehand"
    with pytest.raises(InputError, match=f"arms.arm.decode.scaling.kind is oracle, {must}"):
        load_scenario(write_scenario(tmp_path, closed))
    scenario = load_scenario(write_scenario(tmp_path, SCENARIO.replace(POLICY, "        kind: oracle")))
    assert len(build_requests(scenario))


def test_of_a_trace_its_rounds_say_whether_they_wait(tmp_path: Path) -> None:
    lines = SCENARIO.replace(POLICY, "        kind: oracle").splitlines()
    trace = ["  kind: trace", "  format: csv", "  path: talks.csv"]
    path = write_scenario(tmp_path, "\n".join([*lines[:3], *trace, *lines[7:]]))
    header, first, second = "arrival_s,prompt_tokens,output_tokens,session,round,think_s", "0,10,2,a,0,", ",15,2,a,1,1"
    (tmp_path / "talks.csv").write_text(f"{header}\n{first}\n1,10,2,b,0,\n")
    assert len(build_requests(load_scenario(path))) == 2
    (tmp_path / "talks.csv").write_text(f"{header}\n{first}\n{second}\n")
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    must = "must be another: when requests come that wait for others is not known beforehand"
    assert str(caught.value) == f"{path}:19: arms.arm.decode.scaling.kind is oracle, {must}"


def test_more_decisions_than_there_is_time_for_are_refused(tmp_path: Path) -> None:
    day = SCENARIO.replace("duration_s: 10", "duration_s: 86400")
    path = write_scenario(tmp_path, day.replace(POLICY, f"{POLICY}\n        interval_s: 0.001"))
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    must = "must be at least 0.0864: there would be more than 1,000,000 decisions"
    assert str(caught.value) == f"{path}:21: arms.arm.decode.scaling.interval_s is 0.001, {must}"


@pytest.mark.parametrize("names", [["min"], ["max", "min"]])
def test_models_that_are_all_named_like_bounds_are_refused(names: list[str], tmp_path: Path) -> None:
    # Their numbers of workers would be taken for bounds when the completed document is read again.
    path = write_scenario(
        tmp_path, SCENARIO.replace("{count: 2}", f"[{', '.join(f'{{name: {n}, weight: 1}}' for n in names)}]")
    )
    with pytest.raises(InputError, match=f":2: models are named {', '.join(names)} alone, must have other names"):
        load_scenario(path)
