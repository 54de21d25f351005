"""The verb `accuracy` says in one line what is wrong with its options, and counts the GPUs that it may use."""

from pathlib import Path

import pytest

from profiler.cli import app
from profiler.tuning.experiment.cli import visible_gpus
from profiler.tuning.experiment.order import Order
from profiler.tuning.experiment.tasks import TASKS


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--sizes", "30m,8b", "--sizes: 8b is not known, must be of tiny, 30m, 100m"),
        ("--quick", "--sizes=7b", "--sizes: 7b is not known, must be of tiny, 30m, 100m"),
        ("--tasks", "gsm8k", "--tasks: gsm8k is not known, must be of math-words, list-operators, call-words"),
    ],
)
def test_a_name_that_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["accuracy", "--out", str(tmp_path / "out"), "--gpus", "0", option, value])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "sizes", "tasks", "seeds", "steps", "budget_s"),
    [
        ("", ("30m", "100m"), tuple(TASKS), 3, 240, 1500),
        ("--quick", ("tiny",), ("call-format",), 1, 20, 120),
        ("--quick --sizes 30m,tiny", ("30m", "tiny"), ("call-format",), 1, 20, 120),
        ("--quick --tasks math-words,list-format --seeds 2 --steps 240 --budget-s 1500", ("tiny",),
         ("math-words", "list-format"), 2, 240, 1500),
    ],
)  # fmt: skip
def test_a_try_does_little_unless_more_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    sizes: tuple[str, ...],
    tasks: tuple[str, ...],
    seeds: int,
    steps: int,
    budget_s: float,
) -> None:
    asked: list[tuple[Order, float]] = []

    def experiment(order: Order, _: Path, *, budget_s: float, **__: object) -> dict[str, object]:
        asked.append((order, budget_s))
        return {}

    monkeypatch.setattr("profiler.tuning.experiment.cli.experiment", experiment)
    monkeypatch.setattr("profiler.tuning.experiment.cli.require_torch", lambda: None)
    with pytest.raises(SystemExit):
        app(["accuracy", "--out", str(tmp_path), "--gpus", "0", *given.split()])
    [(order, seconds)] = asked
    assert (order.sizes, order.tasks, order.seeds, order.steps, seconds) == (sizes, tasks, seeds, steps, budget_s)


@pytest.mark.parametrize(("stated", "number"), [("", 0), ("0", 1), ("2,3", 2), ("GPU-8a1b,GPU-77c0,", 2)])
def test_stated_gpus_are_counted(monkeypatch: pytest.MonkeyPatch, stated: str, number: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
    assert visible_gpus() == number


def test_gpus_are_those_that_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == 0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-a)'\necho 'GPU 1: NVIDIA H200 (UUID: GPU-b)'\n")
    tool.chmod(0o755)
    assert visible_gpus() == 2
