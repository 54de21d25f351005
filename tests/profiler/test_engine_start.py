"""An engine that does not start: one line with its own last error, and where its log is."""

import os
import signal
import sys
from multiprocessing import Pipe
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from profiler.cli import app
from profiler.cluster import worker
from profiler.cluster.messages import Failed
from profiler.engine_log import cause, last_error
from profiler.measure import Subject

# As vLLM 0.24 writes it: its engine is a process, which says why it gave up; its client only says that it has.
LOG = """\
INFO 11-29 04:00:00 [__init__.py:216] Automatically detected platform cuda.
(EngineCore_DP0 pid=71) INFO 11-29 04:00:03 [core.py:77] Initializing a V1 LLM engine (v0.24.0) with config: model='x'
(EngineCore_DP0 pid=71) ERROR 11-29 04:00:09 [core.py:708] EngineCore failed to start.
(EngineCore_DP0 pid=71) ERROR 11-29 04:00:09 [core.py:708] Traceback (most recent call last):
(EngineCore_DP0 pid=71) ERROR 11-29 04:00:09 [core.py:708]   File "/vllm/v1/engine/core.py", line 699, in run_engine_core
(EngineCore_DP0 pid=71) ERROR 11-29 04:00:09 [core.py:708]     raise ValueError(
(EngineCore_DP0 pid=71) ERROR 11-29 04:00:09 [core.py:708] ValueError: Free memory on device (9.1/79.2 GiB) is too small.
(EngineCore_DP0 pid=71) Process EngineCore_DP0:
(EngineCore_DP0 pid=71) Traceback (most recent call last):
(EngineCore_DP0 pid=71)   File "/usr/lib/python3.11/multiprocessing/process.py", line 314, in _bootstrap
(EngineCore_DP0 pid=71) ValueError: Free memory on device (9.1/79.2 GiB) is too small.
[rank0]:[W1129 04:00:10 ProcessGroupNCCL.cpp:1538] Warning: destroy_process_group() was not called
"""
WORKER_LOG = (
    LOG.replace("EngineCore_DP0", "Worker_TP1")
    + "(EngineCore_DP0 pid=7) Exception: WorkerProc initialization failed due to an exception in a background process. "
    "See stack trace for root cause.\n"
)
SECOND_HAND = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
OWN = "ValueError: Free memory on device (9.1/79.2 GiB) is too small."


@pytest.mark.parametrize("log", [LOG, WORKER_LOG])
def test_what_a_process_of_the_engine_said_is_the_cause(log: str) -> None:
    assert cause(log, SECOND_HAND) == OWN
    assert last_error(log) == OWN


def test_an_error_of_the_client_s_own_is_the_cause() -> None:
    error = ValueError("1 validation error for ModelConfig\n  Value error, max_model_len is too large")
    assert cause(LOG, error) == "ValueError: 1 validation error for ModelConfig Value error, max_model_len is too large"


def test_a_log_that_names_no_error_is_not_taken_for_one() -> None:
    assert (
        last_error("INFO 11-29 04:00:00 [vllm.py:1] Final priority: IrOpPriorityConfig(rms_norm=['native'])\n") is None
    )
    assert last_error("") is None
    assert cause("killed\n", SECOND_HAND) == f"RuntimeError: {SECOND_HAND}"


def broken_start(*_: Any, **__: Any) -> None:
    os.write(1, LOG.encode())
    raise SECOND_HAND


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """vLLM is there, and its engine does not start."""
    monkeypatch.setattr("profiler.measure.require_vllm", lambda: None)
    monkeypatch.setattr("profiler.start.start", broken_start)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "environ", os.environ.copy())


def verbs(folder: Path) -> list[list[str]]:
    (folder / "stream.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,10\n")
    model = ["--model", "llama-3.1-8b", "--out"]
    return [
        ["measure", *model, str(folder / "p.json"), "--quick"],
        ["replay", str(folder / "stream.csv"), *model, str(folder / "runs"), "--ordinary", "--role", "colocated"],
    ]


@pytest.mark.parametrize("verb", [0, 1])
@pytest.mark.parametrize("kept", [True, False])
def test_an_engine_that_does_not_start_is_one_line(tmp_path: Path, broken: None, verb: int, kept: bool) -> None:
    told = ["--log-dir", str(tmp_path / "logs")] if kept else []
    result = CliRunner().invoke(app, verbs(tmp_path)[verb] + told)
    last = result.stderr.splitlines()[-1]
    assert (result.exit_code, result.stdout) == (1, "")
    assert last.startswith(f"the engine did not start: {OWN}; its log is {tmp_path}")
    assert Path(last.rpartition(" ")[2]).read_text() == LOG
    # The others are progress: seconds, and what is going on.
    assert all(line.split()[1] == "s" for line in result.stderr.splitlines()[:-1])


def test_a_cluster_s_worker_says_it_in_one_line(tmp_path: Path, broken: None) -> None:
    ours, theirs = Pipe()
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        worker.main(theirs, Subject(model="llama-3.1-8b", variant="bf16", log_dir=tmp_path), 0)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert ours.recv() == Failed(f"the engine did not start: {OWN}; its log is {tmp_path}/engine.log")


@pytest.mark.parametrize("verb", [0, 1])
def test_without_vllm_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: int) -> None:
    monkeypatch.setattr("profiler.start.find_spec", lambda _: None)
    result = CliRunner().invoke(app, verbs(tmp_path)[verb])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("vLLM is not installed, must be where the GPU is")


@pytest.mark.parametrize("verb", [0, 1])
def test_without_a_gpu_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: int) -> None:
    monkeypatch.setattr("profiler.measure.require_vllm", lambda: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    # vLLM's own, as it is where it has found nothing; there is no more of vLLM, so that nothing of it is started.
    platform = SimpleNamespace(is_unspecified=lambda: True)
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", SimpleNamespace(current_platform=platform))
    result = CliRunner().invoke(app, verbs(tmp_path)[verb])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "no GPU found that vLLM can use, must run where one is"


def test_an_option_of_the_wrong_kind_is_one_line() -> None:
    result = CliRunner().invoke(app, ["measure", "--model", "llama-3.1-8b", "--out", "x", "--budget-s", "soon"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "'--budget-s'" in result.stderr
