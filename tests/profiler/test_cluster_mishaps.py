"""What goes wrong on a live cluster costs no more than it must, on workers that only pretend."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler.cluster import cluster as cluster_module
from profiler.cluster import play as play_module
from profiler.cluster import transfer_points
from profiler.cluster.cluster import ClusterOrder, ClusterOutcome, cluster
from profiler.cluster.messages import Broken, Done, Ended, Ready, Serve
from profiler.cluster.plan import all_runs, subject_of
from profiler.cluster.play import Play
from profiler.progress import Progress
from profiler.recording import RequestStamps
from tests.profiler.pretend_worker import FAILING_PROMPT, FATAL_PROMPT, LOST_PROMPT, SILENT_PROMPT, main
from tests.profiler.test_cluster import play, pool, rows, write
from tests.profiler.test_cluster_rounds import written

APART = {"prefill": pool("isolated", 2), "decode": pool("shared", 1)}


def order(scenario: Path, gpus: int, **more: Any) -> ClusterOrder:
    again = more.pop("again", [])
    runs = all_runs([scenario], [], [], again, gpus)
    subject = subject_of(runs, quick=True, log_dir=None)
    return ClusterOrder(subject=subject, runs=runs, gpus=gpus, out=scenario.parent / "out", main=main, **more)


def played(wanted: ClusterOrder) -> ClusterOutcome:
    return asyncio.run(cluster(wanted, Progress()))


def test_a_run_with_a_request_that_fails_is_played_once_more_on_the_same_workers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arms = {"first": {"decode": pool("shared", 1)}, "second": {"decode": pool("shared", 1)}}
    outcome = play(write(tmp_path, arms, [100, FAILING_PROMPT, 100]), 1, tmp_path / "out")
    assert (outcome.played, outcome.failed) == (["live-second", "live-first"], [])
    said = "live-first: failed: WorkerError request 1 at decode: the engine ended it with error"
    assert said in capfd.readouterr().err
    for name in outcome.played:
        found = rows(tmp_path / "out", name)
        order = ["submit_s", "first_token_s", "last_token_s", "known_s"]
        assert (found[order].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_a_request_that_comes_to_no_end_ends_its_run_when_no_worker_says_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play_module, "SILENCE_S", 0.5)
    outcome = play(write(tmp_path, {"sun": APART}, [100, LOST_PROMPT, 100]), 3, tmp_path / "out")
    assert (outcome.played, outcome.failed) == ([], ["live-sun"])
    assert "live-sun: failed: WorkerError no word for 0 s of 1 requests: 1 at prefill" in capfd.readouterr().err


def test_a_run_ends_when_the_time_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play_module, "DRAIN_TIMEOUT_S", 0.3)
    assert play(write(tmp_path, {"sun": APART}, [100, LOST_PROMPT]), 3, tmp_path / "out").failed == ["live-sun"]
    assert "TimeoutError 1 of 2 requests have come to no end in 0 s" in capfd.readouterr().err


@pytest.mark.parametrize("prompt", [FAILING_PROMPT, SILENT_PROMPT])
def test_a_link_that_cannot_be_measured_costs_no_run(
    prompt: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_points, "SIZES", (prompt,))
    link = tmp_path / "link.json"
    outcome = played(order(write(tmp_path, {"sun": APART}), 3, transfers=link))
    assert (outcome.played, outcome.failed) == (["live-sun"], [str(link)])


def test_a_worker_that_the_link_has_cost_gets_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transfer_points, "SIZES", (FATAL_PROMPT,))
    link = tmp_path / "link.json"
    outcome = played(order(write(tmp_path, {"sun": APART}), 4, transfers=link))
    assert (outcome.played, outcome.failed) == (["live-sun"], [str(link)])
    assert "live-sun: failed" not in capfd.readouterr().err


def test_a_profile_is_said_to_have_failed_where_no_worker_is_left(tmp_path: Path) -> None:
    scenario = write(tmp_path, {"sun": {"decode": pool("shared", 1)}}, [FATAL_PROMPT])
    profile = tmp_path / "profile.json"
    assert played(order(scenario, 1, profile=profile)).failed == ["live-sun", str(profile)]


def test_a_repetition_is_left_out_where_no_time_would_be_left_for_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "LEAST_PROFILE_S", 1000.0)
    wanted = order(
        write(tmp_path, {"sun": {"decode": pool("shared", 1)}}),
        1,
        profile=tmp_path / "profile.json",
        again=["live-sun"],
        budget_s=1000.0,
    )
    outcome = played(wanted)
    assert (outcome.played, outcome.left_out, outcome.failed) == (["live-sun"], ["live-sun-again"], [])
    outcome = played(replace(wanted, profile=None))
    assert (outcome.played, outcome.kept) == (["live-sun-again"], ["live-sun"])


class _Worker:
    """Keeps what it is told, and is ready at once."""

    def __init__(self, gpu: int) -> None:
        self.gpu = gpu
        self.told: list[Any] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_message: Any = None

    def send(self, message: Any) -> None:
        self.told.append(message)

    async def next(self, kind: type) -> Any:
        return Ready(self.told[-1].run) if kind is Ready else Ended([], {})

    def ignore(self) -> None:
        self.on_message = lambda _message: None


def test_of_a_broken_run_nothing_is_handed_on_and_no_round_comes_later(tmp_path: Path) -> None:
    async def broken() -> tuple[list[Serve], list[Serve]]:
        run = all_runs([written(tmp_path)], [], [], [], 2)[0]
        prefill, decode = _Worker(0), _Worker(1)
        playing = Play(run, [prefill, decode], vocabulary=5000)  # type: ignore[list-item]
        serving = asyncio.create_task(playing.serve())
        while len(prefill.told) < 2:
            await asyncio.sleep(0.01)
        number, now_s = prefill.told[0].run, asyncio.get_running_loop().time()
        stamps = RequestStamps("a", "prefill", 100, 1, now_s, first_token_s=now_s, last_token_s=now_s)
        stamps.kv_transfer_params = {"do_remote_prefill": True}
        prefilled = Done(number, 0, stamps)
        prefill.on_message(prefilled)
        decode.on_message(Done(number, 0, stamps, [1] * 20))
        # The next round is due in 50 ms.
        decode.on_message(Broken(number, 0, "gone"))
        with pytest.raises(ExceptionGroup, match="unhandled"):
            await serving
        prefill.on_message(prefilled)
        await asyncio.sleep(0.1)
        return prefill.told[1:], decode.told[1:]

    to_prefill, to_decode = asyncio.run(broken())
    assert [each.index for each in to_prefill] == [0]
    assert [each.index for each in to_decode] == [0]
