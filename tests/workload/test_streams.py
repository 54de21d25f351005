"""Which draws depend on what."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sunsim.scenario import build_requests, load_scenario
from sunsim.workload.requests import Requests
from sunsim.workload.streams import stream
from tests.scenario_files import write_scenario, write_trace

LENGTHS = "workload.lengths={kind: lognormal, prompt: &l {median_tokens: 50, sigma: 1, max_tokens: 999}, output: *l}"
SHARED = (
    "arms.isolated.prefill=null",
    "arms.isolated.decode={profile: tiny.json, policy: shared, workers: 1}",
)


def _requests(folder: Path, *overrides: str) -> Requests:
    return build_requests(load_scenario(write_scenario(folder), [*SHARED, *overrides]))


def test_streams_differ_by_name_and_seed_and_repeat() -> None:
    draws = {(seed, name): stream(seed, name).random() for seed in (0, 1) for name in ("arrivals", "model")}
    assert len(set(draws.values())) == 4
    assert stream(1, "model").random() == draws[1, "model"]


def test_adding_a_model_changes_no_arrival_and_no_length(tmp_path: Path) -> None:
    four, five = _requests(tmp_path), _requests(tmp_path, "models.count=5")
    assert np.array_equal(four.arrival_ps, five.arrival_ps)
    assert np.array_equal(four.prompt_tokens, five.prompt_tokens)
    assert np.array_equal(four.output_tokens, five.output_tokens)
    assert five.models == ("m1", "m2", "m3", "m4", "m5")


def test_more_skew_moves_each_request_towards_the_popular_models(tmp_path: Path) -> None:
    models = [_requests(tmp_path, f"models.popularity.alpha={alpha}").model for alpha in (0, 0.5, 1, 2, 4)]
    for flatter, steeper in itertools.pairwise(models):
        assert (steeper <= flatter).all()
        assert (steeper < flatter).any()


def test_other_lengths_change_neither_arrivals_nor_models(tmp_path: Path) -> None:
    azure, lognormal = _requests(tmp_path), _requests(tmp_path, LENGTHS)
    assert np.array_equal(azure.arrival_ps, lognormal.arrival_ps)
    assert np.array_equal(azure.model, lognormal.model)


def test_a_longer_run_begins_like_the_shorter_one(tmp_path: Path) -> None:
    short, long = _requests(tmp_path), _requests(tmp_path, "workload.duration_s=2000")
    size = len(short)
    assert len(long) > 65_536
    for name in ("arrival_ps", "model", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(short, name), getattr(long, name)[:size])


def test_columns_have_the_promised_types(tmp_path: Path) -> None:
    trace = "arrival_s,prompt_tokens,output_tokens\n0,10,20\n0.000000000001,1,1\n"
    traced = build_requests(load_scenario(write_trace(tmp_path, trace)))
    assert traced.arrival_ps.tolist() == [0, 1]
    for requests in (_requests(tmp_path), traced):
        assert requests.arrival_ps.dtype == np.int64
        for name in ("model", "prompt_tokens", "output_tokens"):
            assert getattr(requests, name).dtype == np.int32


@pytest.mark.parametrize("cap", [1, 100, 100_000])
def test_requests_are_capped(tmp_path: Path, cap: int) -> None:
    assert len(_requests(tmp_path, f"workload.requests={cap}")) == min(cap, len(_requests(tmp_path)))
    assert len(_requests(tmp_path, f"workload.requests={cap}", "workload.duration_s=null")) == cap


def test_the_hash_seed_of_the_interpreter_changes_nothing(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    code = (
        "import hashlib, pathlib, sys\n"
        "from sunsim.scenario import load_scenario, resolved\n"
        "from sunsim.scenario import build_requests\n"
        "scenario = load_scenario(pathlib.Path(sys.argv[1]))\n"
        "r = build_requests(scenario)\n"
        "digest = hashlib.sha256(resolved(scenario).encode())\n"
        "[digest.update(column.tobytes()) for column in (r.arrival_ps, r.model, r.prompt_tokens, r.output_tokens)]\n"
        "sys.stdout.write(digest.hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(digests) == 1
