"""A result with `--max-concurrency` beside its simulation: a loop that is closed is simulated as one, no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.validation.bench_run import ServerOptions, read_bench
from sunsim.validation.limit import Limit
from sunsim.validation.replay import replay
from sunsim.validation.served import Served
from sunsim.validation.worker_run import ActualRun
from tests.validation.bench_results import bench_result, served_result, write_result
from tests.validation.runs import invoke, profile_document, write_profile

CLIENTS = 16
ASKED_AT_ONCE = {"request_rate": "inf", "max_concurrency": CLIENTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the synthetic profile, and the same with steps that take 10 % longer."""
    path = tmp_path_factory.mktemp("loop")
    write_profile(path / "p.json", profile_document())
    write_profile(path / "slow.json", profile_document(factor=1.1))
    return path


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """What sixteen clients saw of a server that is as the profile says."""
    return served_result(folder / "p.json", clients=CLIENTS)


def validated(folder: Path, result: dict[str, Any], code: int = 0) -> tuple[str, dict[str, Any]]:
    """What the verb prints, and its figures."""
    path = write_result(folder / "result.json", result)
    shown, stdout, stderr = invoke(path, "--profile", folder / "p.json")
    assert (shown, stderr) == (code, "")
    (run,) = json.loads(invoke(path, "--profile", folder / "p.json", "--json")[1])["runs"]
    return stdout, run["figures"]


def read(folder: Path, result: dict[str, Any]) -> ActualRun:
    return read_bench(write_result(folder / "read.json", result), load_profile(folder / "p.json"), ServerOptions())


def limit(folder: Path, result: dict[str, Any]) -> Limit | None:
    client = read(folder, result).client
    assert client
    return client.limit


def replayed(folder: Path, run: ActualRun, profile: str = "p.json") -> Served:
    return replay(run, LatencyModel(load_profile(folder / profile))).served


def test_a_server_as_the_profile_says_is_not_off_at_all(folder: Path, result: dict[str, Any]) -> None:
    said, figures = validated(folder, result)
    # The gaps within a request are even here, so that those of all requests agree in the mean alone.
    for tag in figures.keys() - {"median_itl_ms", "p99_itl_ms"}:
        assert figures[tag]["error_percent"] == pytest.approx(0, abs=1e-5), tag
    assert (
        "Simulated as a closed loop of 16 clients: after the first, a request is sent when another has ended, 0" in said
    )
    assert "300 requests in" in said
    assert ", from a closed loop of 16 clients; profile from" in said


def test_a_server_that_is_slower_has_less_output_too(folder: Path) -> None:
    result = served_result(folder / "slow.json", clients=CLIENTS)
    said, figures = validated(folder, result, code=3)
    assert "TPOT 10.0 % slower (" in said.splitlines()[0]
    # Steps take 10 % longer; the front end, of a few milliseconds a request, does not.
    assert figures["output_throughput"]["error_percent"] == pytest.approx(10, abs=0.1)
    assert "output 9.1 % lower (" in said.splitlines()[0]
    assert figures["mean_batch"]["error_percent"] == pytest.approx(0, abs=0.1)
    # At the recorded times the server's slowness is in both.
    _, figures = validated(folder, result | {"request_rate": 1000.0}, code=3)
    assert abs(figures["output_throughput"]["error_percent"]) < 2
    assert figures["mean_batch"]["error_percent"] < -5


def test_requests_are_sent_in_order_as_places_come_free(folder: Path, result: dict[str, Any]) -> None:
    run = read(folder, result)
    served = replayed(folder, run, "slow.json")
    ends_s = np.sort(served.client_last_token_s)
    assert served.submit_s[:CLIENTS].tolist() == run.served.submit_s[:CLIENTS].tolist()
    assert served.submit_s[CLIENTS:].tolist() == ends_s[:-CLIENTS].tolist()
    assert served.submit_s[-1] > 1.05 * run.served.submit_s[-1]
    assert served.prompt_tokens.tolist() == run.served.prompt_tokens.tolist()
    # Nothing is used of when the others were sent and answered.
    later = replace(run.served, submit_s=run.served.submit_s + np.where(np.arange(300) < CLIENTS, 0.0, 7.0))
    assert (
        replayed(folder, replace(run, served=later), "slow.json").last_token_s.tolist() == served.last_token_s.tolist()
    )


def test_the_client_s_own_time_is_measured_and_passes(folder: Path) -> None:
    """One client: four tokens in 80 ms, and 3 ms until the next request but for one."""
    starts_s = [0.0, 0.083, 0.166, 0.3, 0.383]
    result = bench_result(
        starts_s, [100] * 5, [4] * 5, [0.05] * 5, [[0.01] * 3] * 5, request_rate="inf", max_concurrency=1
    )
    found = limit(folder, result)
    assert found
    assert (found.concurrency, found.closed) == (1, True)
    assert found.full == pytest.approx(1 - (3 * 0.003 + 0.054) / 0.383)
    assert found.gap_s == pytest.approx(0.003)
    served = replayed(folder, read(folder, result))
    assert (served.submit_s[1:] - served.client_last_token_s[:-1]).tolist() == pytest.approx([0.003] * 4)


@pytest.mark.parametrize(
    "changes",
    [{"request_rate": 50.0}, {"max_concurrency": None}, {"max_concurrency": 300}, {"max_concurrency": 40}],
    ids=["a rate", "no limit", "as many as requests", "more than were under way"],
)
def test_other_results_are_simulated_at_their_recorded_times(
    folder: Path, result: dict[str, Any], changes: dict[str, Any]
) -> None:
    run = read(folder, result | changes)
    assert run.client
    assert run.client.loop is None
    served = replayed(folder, run, "slow.json")
    assert served.submit_s.tolist() == pytest.approx(run.served.submit_s.tolist(), abs=1e-11)


def test_a_limit_with_a_rate_beside_it_is_told_where_it_held_requests_back(
    folder: Path, result: dict[str, Any]
) -> None:
    said = " ".join(validated(folder, result | {"request_rate": 50.0})[0].split())
    assert "The limit of 16 requests under way was reached for >99.9 % of the time." in said
    assert "closed loop" not in said
    seldom, _ = validated(folder, served_result(folder / "p.json") | {"max_concurrency": 100})
    assert "The limit" not in seldom


def test_a_failed_request_is_left_out_of_the_loop(folder: Path, result: dict[str, Any]) -> None:
    lists = {key: list(result[key]) for key in ("output_lens", "ttfts", "itls")}
    for key, nothing in (("output_lens", 0), ("ttfts", 0.0), ("itls", [])):
        lists[key][150] = nothing
    run = read(folder, result | lists)
    assert run.client
    assert run.client.loop
    assert run.client.loop.gap_s == 0
    served = replayed(folder, run)
    assert served.submit_s[CLIENTS:].tolist() == np.sort(served.client_last_token_s)[:-CLIENTS].tolist()


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "64", True, [64]])
def test_what_is_no_limit_is_refused(folder: Path, result: dict[str, Any], wrong: Any) -> None:
    path = write_result(folder / "wrong.json", result | {"max_concurrency": wrong})
    code, stdout, stderr = invoke(path, "--profile", folder / "p.json")
    assert (code, stdout) == (2, "")
    assert stderr == f"{path}: max_concurrency is no number of requests, must be a whole number from 1, or null\n"


def test_a_request_that_never_fits_is_refused(folder: Path, result: dict[str, Any]) -> None:
    path = write_result(folder / "cramped.json", result)
    code, _, stderr = invoke(path, "--profile", folder / "p.json", "--num-gpu-blocks", "20")
    assert (code, "never fits into the run's 20 KV blocks" in stderr) == (2, True)
