"""Jobs are done in their order on what there is; one that fails, or a process that dies, ends only itself."""

import json
import os
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from profiler.progress import Progress
from profiler.tuning.experiment.order import Job, Order, jobs_of
from profiler.tuning.experiment.runner import Runner

ORDER = Order(tasks=("math-words", "call-format"), seeds=2)


def serve(pipe: Connection, order: Order, folder: Path, device: str, who: str) -> None:
    """In place of the process with torch: does as the job's method says."""
    while (job := pipe.recv()) is not None:
        marks = folder / "tried"
        tries = marks.read_text().count(f"{job.name}\n") if marks.exists() else 0
        with marks.open("a") as file:
            file.write(f"{job.name}\n")
        if job.method == "dies" or (job.method == "dies once" and not tries):
            os._exit(1)
        if job.method == "fails":
            pipe.send("what went wrong")
            return
        if job.method == "long":
            time.sleep(60)
        begin = time.time()
        time.sleep(0.05)
        (folder / "done").mkdir(exist_ok=True)
        done = {"device": device, "seconds": 0.05, "begin": begin, "end": time.time()}
        (folder / "done" / f"{job.name}.json").write_text(json.dumps(done))
        pipe.send("")


def ran(
    folder: Path, jobs: list[Job], *, devices: int = 1, per_device: int = 1, budget_s: float = 60, serve: Any = serve
) -> Runner:
    """A runner that has done what it could."""
    runner = Runner(
        ORDER,
        jobs,
        folder,
        devices=[f"cuda:{i}" for i in range(devices)],
        per_device=per_device,
        deadline=time.time() + budget_s,
        progress=Progress(),
        serve=serve,
    )
    runner.run()
    return runner


def done(folder: Path, name: str) -> dict[str, Any]:
    """What a job has left."""
    found: dict[str, Any] = json.loads((folder / "done" / f"{name}.json").read_text())
    return found


def test_the_jobs_of_an_experiment() -> None:
    jobs = jobs_of(ORDER)
    assert [job.name for job in jobs[:3]] == ["pretrain-100m", "pretrain-30m", "rate-30m-full-0.0001"]
    tunings = [job for job in jobs if job.kind == "tuning"]
    assert [job.name for job in tunings[:5]] == [
        "30m-math-words-0-full",
        "30m-math-words-0-prefill-only",
        "30m-math-words-0-prefill-only-int4-tuned",
        "30m-math-words-0-lora",
        "100m-math-words-0-full",
    ]
    assert [job.seed for job in tunings] == [0] * 16 + [1] * 16
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names) == 2 + 2 * 9 + 2 * 2 * 2 * 4
    for i, job in enumerate(jobs):
        assert set(job.after) <= set(names[:i])


def test_a_fourth_seed_begins_when_three_of_all_sizes_are_whole() -> None:
    tunings = [job for job in jobs_of(replace(ORDER, seeds=5)) if job.kind == "tuning"]
    three = {job.name for job in tunings if job.seed < 3}
    for job in tunings:
        assert three.issubset(job.after) if job.seed >= 3 else three.isdisjoint(job.after)


def test_each_job_waits_for_those_that_it_needs_and_alone_means_alone(tmp_path: Path) -> None:
    jobs = [
        Job("first", "pretrain", "100m", alone=True),
        Job("second", "pretrain", "30m", alone=True),
        *(Job(f"third-{i}", "tuning", "30m", after=("second",)) for i in range(4)),
    ]
    runner = ran(tmp_path, jobs, devices=2, per_device=2)
    assert not runner.waiting
    assert {done(tmp_path, "first")["device"], done(tmp_path, "second")["device"]} == {"cuda:0", "cuda:1"}
    for i in range(4):
        third = done(tmp_path, f"third-{i}")
        assert third["begin"] >= done(tmp_path, "second")["end"]
        alone = done(tmp_path, "first")
        if third["device"] == alone["device"]:
            assert third["begin"] >= alone["end"]


@pytest.mark.parametrize("how", ["fails", "dies"])
def test_what_fails_twice_is_left_and_so_is_what_needs_it(tmp_path: Path, how: str) -> None:
    jobs = [
        Job("bad", "rate", "30m", method=how),
        Job("needs", "tuning", "30m", after=("bad",)),
        Job("good", "tuning", "30m"),
    ]
    runner = ran(tmp_path, jobs)
    assert runner.failures == {"bad": 2}
    assert [job.name for job in runner.waiting] == ["needs"]
    assert (tmp_path / "tried").read_text().split() == ["bad", "bad", "good"]
    assert done(tmp_path, "good")


def test_a_job_whose_process_dies_once_is_done_by_another(tmp_path: Path) -> None:
    runner = ran(tmp_path, [Job("bad", "rate", "30m", method="dies once")])
    assert runner.failures == {"bad": 1}
    assert done(tmp_path, "bad")


def never(pipe: Connection, order: Order, folder: Path, device: str, who: str) -> None:
    """A process that dies before it takes a job, as without a GPU that works."""


def test_processes_that_never_begin_end_the_experiment(tmp_path: Path) -> None:
    runner = ran(tmp_path, [Job("one", "tuning", "30m"), Job("two", "tuning", "30m")], serve=never)
    assert runner.failures == {"one": 2, "two": 2}


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    jobs = [Job("one", "tuning", "30m"), Job("two", "tuning", "30m")]
    ran(tmp_path, jobs[:1])
    ran(tmp_path, jobs)
    assert (tmp_path / "tried").read_text().split() == ["one", "two"]


def test_the_deadline_ends_what_still_runs(tmp_path: Path) -> None:
    begin = time.monotonic()
    runner = ran(tmp_path, [Job("long", "tuning", "30m", method="long"), Job("late", "tuning", "30m")], budget_s=2)
    assert time.monotonic() - begin < 20
    assert [job.name for job in runner.waiting] == ["late"]
    assert not (tmp_path / "done").exists()
    assert not any(each.process.is_alive() for each in runner._processes)
