"""Files that grow without end, and numbers that no cluster has: refused at once, at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.scenario import load_scenario
from tests.scenario_files import write_scenario

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (LAUGHS, 1, "the aliases from here on stand for more than 500,000 values, must be fewer"),
        ("name: x\nmodels: " + "[" * 50 + "]" * 50, 2, "is nested more than 40 deep, must be nested less"),
        ("&a {b: *a}", 1, "is nested more than 40 deep, must be nested less"),
        ('name: x\nmodels:\n  "\\ud800": 1', 3, r"\ud800 has half a character (a lone surrogate), must be whole text"),
        ("name: x\n[a, b]: 1", 1, "a list or a mapping stands where a key should, must be text"),
    ],
)
def test_yaml_that_grows_without_end_is_refused_at_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write_scenario(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value) == f"{path}:{line}: {message}"


def test_a_file_that_is_too_large_or_has_no_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("# \n" * 400_000)
    for file in (path, Path("/dev/zero")):
        with pytest.raises(InputError) as caught:
            load_scenario(file)
        assert str(caught.value) == f"{file}: has more than 1,000,000 bytes, must be a scenario file"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.arrivals.rate_rps=1e-300", "workload.arrivals.rate_rps is 1e-300, must be at least 0.000000001"),
        ("workload.arrivals.rate_rps=1e308", "workload.arrivals.rate_rps is 1e+308, must be at most 1,000,000,000"),
        ("workload.duration_s=1e-300", "workload.duration_s is 1e-300, must be at least 0.000001"),
        ("workload.duration_s=1e308", "workload.duration_s is 1e+308, must be at most 8,640,000 (100 days)"),
        ("models.popularity.alpha=1e308", "models.popularity.alpha is 1e+308, must be at most 20"),
        ("models=[{name: m1, weight: 1e308}]", "models.m1.weight is 1e+308, must be at most 1,000,000,000"),
        ("seed=99999999999999999999", "seed is 99999999999999999999, must be at most 4,611,686,018,427,387,904"),
        ("seed=0x" + "f" * 5000, "seed is above 1e40, must be at most 4,611,686,018,427,387,904"),
        ("slo.tpot_ms=1e-300", "slo.tpot_ms is 1e-300, must be at least 0.001"),
        ("transfer.bandwidth_gbit_s=1e-300", "transfer.bandwidth_gbit_s is 1e-300, must be at least 0.001"),
        ("transfer.latency_ms=1e308", "transfer.latency_ms is 1e+308, must be at most 3,600,000"),
        ("arms.sun.decode.workers=10001", "arms.sun.decode.workers is 10001, must be at most 10,000"),
        ("arms.sun.decode.max_num_seqs=1073741824", "arms.sun.decode.max_num_seqs is 1073741824, must be less than"),
        (
            "arms.isolated.decode.workers={m1: 9000, m2: 1000, m3: 1, m4: 1}",
            "arms.isolated.decode.workers adds up to 10002, must be at most 10,000 in all",
        ),
        (
            "workload={kind: synthetic, requests: 100000000, arrivals: {kind: poisson, rate_rps: 1}, lengths: {kind: azure-conv}}",
            "workload.arrivals.rate_rps is 1, must bring 100,000,000 requests within 8,640,000 s, not 100,000,000 s",
        ),
        ("arms.sun.name=" + "x" * 201, f"arms.{'x' * 80}....name is '{'x' * 80}...', must be at most 200 characters"),
        ('arms.sun.name="a\\e[31mb"', r"arms.a\x1b[31mb.name: 'a\x1b[31mb' has a control character, must have none"),
    ],
)
def test_numbers_and_names_have_limits(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(
            write_scenario(tmp_path), [override, *(["arms.isolated.decode.allocation="] if "adds" in message else [])]
        )
    assert str(caught.value).startswith(f"--set: {message}")


def test_the_smallest_limits_are_above_nothing_to_who_wrote_nothing(tmp_path: Path) -> None:
    """What is above 0 and yet too small is told the limit itself."""
    for value, must in (
        ("0", "above 0"),
        ("-5", "above 0"),
        ("1e-7", "at least 0.000001"),
        ("8640001", "at most 8,640,000 (100 days)"),
    ):
        with pytest.raises(InputError) as caught:
            load_scenario(write_scenario(tmp_path), [f"workload.duration_s={value}"])
        assert caught.value.message.endswith(f", must be {must}")
    load_scenario(write_scenario(tmp_path), ["workload.duration_s=8640000", "workload.arrivals.rate_rps=1e-9"])


def test_what_real_clusters_and_traces_have_is_within_the_limits(tmp_path: Path) -> None:
    large = [
        *("workload.duration_s=8640000", "workload.arrivals.rate_rps=11", "models.count=10000"),
        *("arms.isolated.prefill.workers=10000", "arms.isolated.decode.workers=10000", "arms.sun.decode.workers=10000"),
    ]
    scenario = load_scenario(write_scenario(tmp_path), large)
    assert [arm.decode.gpus for arm in scenario.arms if arm.decode] == [10_000, 10_000]
    load_scenario(write_scenario(tmp_path), ["workload.duration_s=1000", "workload.arrivals.rate_rps=100000"])
