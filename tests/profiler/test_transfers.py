"""The KV link between live workers and a worker that comes and goes, on workers that only pretend."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler.cluster import beside, transfer_points
from profiler.cluster.beside import Fetched, Traffic, points_of
from profiler.cluster.cluster import ClusterOrder, cluster
from profiler.cluster.elastic import ElasticOrder, elastic, logged_parts
from profiler.cluster.handle import WorkerError, WorkerHandle
from profiler.cluster.messages import Begin, Measure, Serve
from profiler.cluster.plan import all_runs, one_worker_run, subject_of
from profiler.progress import Progress
from profiler.recording import RequestStamps, Step
from profiler.streams import StreamError
from profiler.transfers import Transfer
from sunsim.latency.transfer import load_transfers
from tests.profiler.pretend_worker import FAILING_PROMPT, main
from tests.profiler.test_cluster import pool, write

STEP = Step(0.0, 0.0, 0.0, 0.010, False, 8, 8, 8, 100, (), (), 0, 8, 0, 0, 99)


def steps(*times_s: tuple[float, float, float]) -> list[Step]:
    """(scheduled, end, duration) of each."""
    return [replace(STEP, scheduled_s=scheduled, end_s=end, step_s=step) for scheduled, end, step in times_s]


def test_the_lead_is_what_a_step_comes_later_than_its_time_and_the_hosts_for_the_transfer() -> None:
    # The output at 0.01 lets it decide; the step takes 10 ms, the host 30 ms for the transfer, and it is out at 0.053.
    found = steps((-0.01, 0.01, 0.01), (0.001, 0.042, 0.01), (0.0102, 0.053, 0.01), (0.043, 0.063, 0.01))
    moved = Transfer(0.05, 1000, 0.038, 0.029, 1, 0.012, 0.030, 0.0, 1)
    request = RequestStamps("decode-0", "decode", 10, 2, 0.004, queued_s=0.005, scheduled_s=0.058)
    (point,) = points_of(Traffic(8, prompts=False), Fetched([request], [moved], found))
    assert point["lead_ms_median"] == pytest.approx(53 - 10 - 10 - 30)
    assert (point["begin_ms_median"], point["admit_ms_median"]) == (pytest.approx(7), pytest.approx(8))
    assert (point["transfer_ms_median"], point["host_ms_median"], point["decode_requests"]) == (38, 30, 8)


def test_no_lead_is_known_where_the_gpu_did_not_wait_for_the_host_or_nothing_was_decoded() -> None:
    found = steps((-0.01, 0.01, 0.01), (0.001, 0.02, 0.01), (0.0102, 0.03, 0.01))
    moved = Transfer(0.02, 1000, 0.006, 0.004, 1, 0.012, 0.005, 0.0, 1)
    request = RequestStamps("decode-0", "decode", 10, 2, 0.004, queued_s=0.005, scheduled_s=0.04)
    for traffic in (Traffic(8, prompts=False), Traffic(0, prompts=True)):
        (point,) = points_of(traffic, Fetched([request], [replace_host(moved, traffic)], found))
        assert point["lead_ms_median"] is None


def replace_host(moved: Transfer, traffic: Traffic) -> Transfer:
    """Longer than a step where that must not matter."""
    return moved if traffic.decode_requests else moved._replace(host_s=1.0)


def test_a_link_is_measured_alone_and_beside_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_points, "SIZES", (16, 128))
    monkeypatch.setattr(transfer_points, "CONCURRENT", ((16, 3),))
    for name, value in {"SIZES": (16, 64), "REPEATS": 2, "RAMP_S": 0.05, "GAP_S": 0.001}.items():
        monkeypatch.setattr(beside, name, value)
    monkeypatch.setattr(beside, "TRAFFIC", (Traffic(0, prompts=False), Traffic(3, prompts=True)))
    scenario = write(tmp_path, {"sun": {"prefill": pool("isolated", 2), "decode": pool("shared", 1)}})
    runs = all_runs([scenario], [], [], [], 3)
    link = tmp_path / "link.json"
    order = ClusterOrder(
        subject=subject_of(runs, quick=True, log_dir=None), runs=runs, gpus=3, out=tmp_path, transfers=link, main=main
    )
    outcome = asyncio.run(cluster(order, Progress()))
    assert (outcome.played, outcome.failed) == (["live-sun"], [])
    data = load_transfers(link).data
    assert [(point.bytes, point.concurrent) for point in data.transfer_points] == [
        (16_000, 1),
        (128_000, 1),
        (16_000, 3),
    ]
    assert [point.decode_requests for point in data.beside_points] == [0, 0, 3, 3]
    assert all(point.host_ms_median == pytest.approx(0.5) for point in data.transfer_points)


def test_workers_have_met_before_any_run_and_the_one_that_decodes_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, Any]] = []
    send = WorkerHandle.send

    def noted(worker: WorkerHandle, message: Any) -> None:
        told.append((worker.gpu, message))
        send(worker, message)

    monkeypatch.setattr(WorkerHandle, "send", noted)
    scenario = write(tmp_path, {"sun": {"prefill": pool("isolated", 2), "decode": pool("shared", 1)}})
    runs = all_runs([scenario], [], [], [], 3)
    subject = subject_of(runs, quick=True, log_dir=None)
    profile = tmp_path / "profile.json"
    order = ClusterOrder(subject=subject, runs=runs, gpus=3, out=tmp_path, profile=profile, main=main)
    assert asyncio.run(cluster(order, Progress())).failed == []
    begins = next(i for i, (_, message) in enumerate(told) if isinstance(message, Begin) and message.run)
    fetched = [
        (message.kv_transfer_params["from"], gpu)
        for gpu, message in told[:begins]
        if isinstance(message, Serve) and message.kind == "decode" and message.kv_transfer_params
    ]
    assert fetched == [(0, 1), (0, 2), (1, 2)]
    assert [gpu for gpu, message in told if isinstance(message, Measure)] == [2]


def test_a_second_worker_comes_gets_requests_and_goes(tmp_path: Path) -> None:
    prompts = [100] * 400
    run = one_worker_run(write(tmp_path, {"one": {"decode": pool("shared", 1)}}, prompts, outputs=50))
    subject = subject_of([run], quick=True, log_dir=None)
    order = ElasticOrder(subject=subject, run=run, out=tmp_path, grow_s=0.1, serve_s=0.3, main=main)
    found = asyncio.run(elastic(order, Progress()))["second"]
    assert 0.1 <= found["asked_s"] < found["open_s"] < found["drain_s"] < 4.0
    assert found["start"]["process_s"] <= found["start"]["open_s"] <= found["start"]["first_token_s"]
    assert 0 < found["requests"] < 60
    assert found["stop"]["drain_s"] < 0.3


def test_a_request_that_fails_ends_what_two_workers_play(tmp_path: Path) -> None:
    run = one_worker_run(write(tmp_path, {"one": {"decode": pool("shared", 1)}}, [100, FAILING_PROMPT]))
    subject = subject_of([run], quick=True, log_dir=None)
    order = ElasticOrder(subject=subject, run=run, out=tmp_path, grow_s=9.0, serve_s=0.1, main=main)
    with pytest.raises(WorkerError, match="worker 0: request 1: the engine ended it with error"):
        asyncio.run(elastic(order, Progress()))


def test_a_scenario_of_two_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="must be at least 2"):
        one_worker_run(write(tmp_path, {"two": {"decode": pool("shared", 2)}}))
    with pytest.raises(StreamError, match="must have one arm, of one decode worker"):
        one_worker_run(write(tmp_path, {name: {"decode": pool("shared", 1)} for name in ("one", "other")}))


def test_parts_of_a_start_are_read_from_the_engines_log() -> None:
    log = """\
(EngineCore pid=1) INFO 11-29 20:21:36 [model_runner.py:302] Model loading took 15.0 GiB and 1.619443 seconds
(EngineCore pid=1) INFO 11-29 20:21:56 [monitor.py:53] torch.compile took 18.80 s in total
(EngineCore pid=1) INFO 11-29 20:22:01 [model_runner.py:726] Graph capturing finished in 3 secs, took 0.59 GiB
(EngineCore pid=1) INFO 11-29 20:22:16 [core.py:337] init engine (profile, create kv cache, warmup model) took 39.16 s
"""
    assert logged_parts(log) == {"weights_s": 1.619443, "compile_s": 18.8, "graphs_s": 3.0, "engine_init_s": 39.16}
