"""A stream on one worker is what the cluster simulation makes of an arm of one worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sunsim.clock import to_ps
from sunsim.cluster.simulation import simulate_arm
from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from sunsim.scenario import Scenario
from sunsim.scenario.blocks import ArmBlock, Document, ModelWeight
from sunsim.validation.replay import replay
from sunsim.validation.served import Served
from sunsim.validation.worker_run import read_run
from sunsim.workload.blocks import Constant, FixedLengths, Synthetic
from sunsim.workload.requests import Requests
from tests.validation.runs import profile_document, stream, write_profile, write_run


def cluster_rows(profile: Path, role: str, served: Served, blocks: int) -> pd.DataFrame:
    """The rows of an arm of one worker."""
    # Isolated: a preempted request is prefilled again on the worker, as on a real one that stands alone.
    measured = load_profile(profile)
    pool = {
        "profile": str(profile),
        "policy": "isolated",
        "workers": {"m": 1},
        "max_num_seqs": measured.max_num_seqs,
        "max_num_batched_tokens": measured.max_num_batched_tokens,
        "max_model_len": measured.max_model_len,
        "num_gpu_blocks": blocks,
    }
    arm = ArmBlock.model_validate({"name": "one", role: pool})
    document = Document(
        name="one",
        models=(ModelWeight(name="m", weight=1.0),),
        workload=Synthetic(
            requests=1, arrivals=Constant(rate_rps=1), lengths=FixedLengths(prompt_tokens=1, output_tokens=1)
        ),
        arms=(arm,),
    )
    tokens = (served.prompt_tokens.astype(np.int32), served.output_tokens.astype(np.int32))
    requests = Requests(to_ps(served.submit_s), np.zeros(len(served), dtype=np.int32), *tokens, ("m",))
    scenario = Scenario(document)
    return simulate_arm(scenario, scenario.arms[0], requests).rows


@pytest.mark.parametrize("blocks", [25_000, 700])
@pytest.mark.parametrize("role", ["decode", "prefill"])
def test_same_as_an_arm_of_one_worker(tmp_path: Path, role: str, blocks: int) -> None:
    profile = write_profile(tmp_path / "p.json")
    path = write_run(tmp_path / "run.parquet", stream(200, 15.0, output_tokens=200), role=role, num_gpu_blocks=blocks)
    run = read_run(path)
    served = replay(run, LatencyModel(profile)).served
    rows = cluster_rows(profile.path, role, run.served, blocks)
    assert served.client_first_token_s.tolist() == rows["first_token_s"].tolist()
    assert served.client_last_token_s.tolist() == rows["last_token_s"].tolist()
    assert served.preemptions.tolist() == rows["preemptions"].tolist()
    if role == "decode":
        assert served.scheduled_s.tolist() == rows["decode_scheduled_s"].tolist()
        assert served.first_token_s.tolist() == rows["decode_first_token_s"].tolist()
        assert (served.preemptions.sum() > 0) == (blocks == 700)


def test_a_colocated_worker_prefills_and_decodes(tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "p.json")
    requests = stream(100, 2.0)
    by_role = {
        role: replay(
            read_run(write_run(tmp_path / f"{role}.parquet", requests, role=role)), LatencyModel(profile)
        ).served
        for role in ("decode", "prefill", "colocated")
    }
    colocated = by_role["colocated"]
    assert colocated.ttft_ms.mean() > by_role["decode"].ttft_ms.mean()
    assert colocated.tpot_ms[colocated.output_tokens > 1].mean() > np.nanmean(by_role["decode"].tpot_ms)
    # A prompt that nobody else disturbs takes as long as on a prefill worker.
    assert (colocated.first_token_s - colocated.scheduled_s).min() == (
        by_role["prefill"].first_token_s - by_role["prefill"].scheduled_s
    ).min()


def test_outcomes_are_not_used(tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "p.json")
    requests = stream(100, 5.0)
    fast = read_run(write_run(tmp_path / "fast.parquet", requests))
    slow = read_run(write_run(tmp_path / "slow.parquet", requests, profile_document(factor=2.0)))
    assert fast.served.last_token_s.tolist() != slow.served.last_token_s.tolist()
    model = LatencyModel(profile)
    assert replay(fast, model).served.last_token_s.tolist() == replay(slow, model).served.last_token_s.tolist()


def test_a_request_that_never_fits_is_refused(tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "p.json")
    path = write_run(tmp_path / "run.parquet", stream(50, 5.0))
    run = read_run(path)
    small = run.meta.model_copy(update={"num_gpu_blocks": 20})
    cramped = type(run)(run.name, run.path, small, run.request_ids, run.served, None)
    with pytest.raises(InputError, match="never fits into the run's 20 KV blocks"):
        replay(cramped, LatencyModel(profile))


def test_waiting_for_the_running_step_is_not_queueing(tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "p.json")
    requests = stream(200, 10.0)
    light = read_run(write_run(tmp_path / "light.parquet", requests))
    args = light.meta.engine_args.model_dump() | {"max_num_seqs": 2}
    full = read_run(write_run(tmp_path / "full.parquet", requests, engine_args=args))
    at_ease, in_line = (replay(run, LatencyModel(profile)).served for run in (light, full))
    assert at_ease.queueing_ms.max() == 0
    assert (at_ease.queued_s > at_ease.submit_s).all()
    assert not at_ease.waits
    assert in_line.waits
    assert in_line.queueing_ms.max() > 1000
