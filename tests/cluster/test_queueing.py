"""A worker with one place and equal steps is an M/D/1 queue, and obeys its laws."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sunsim.clock import PS_PER_S
from sunsim.cluster.block_keys import BlockKeys
from sunsim.cluster.engine import Engine
from sunsim.cluster.engine_config import EngineConfig
from sunsim.cluster.outcome import Outcome
from sunsim.cluster.sequence import KV, Sequence
from sunsim.cluster.simulation import simulate_arm
from sunsim.latency.steps import StepTimes
from sunsim.scenario import build_requests, load_scenario
from tests.cluster.worlds import Steps, config, driven_by, play, write_profile

OUTPUT_TOKENS = 4
STEP_PS = 250_000
SERVICE_PS = OUTPUT_TOKENS * STEP_PS
WARMUP = 500  # requests left out, because the queue starts empty

SCENARIO = """\
name: md1
models: {{count: 1}}
workload:
  kind: synthetic
  requests: 4500
  arrivals: {{kind: poisson, rate_rps: {rate_rps}}}
  lengths: {{kind: fixed, prompt_tokens: 100, output_tokens: 5}}
arms:
  - name: one-place
    decode: {{profile: profile.json, policy: shared, workers: 1, max_num_seqs: 1}}
"""
SCENARIO_SERVICE_S = 0.05  # 5 steps of 10 ms


def poisson(load: float, seed: int, requests: int) -> NDArray[np.int64]:
    """Arrival times in picoseconds at which a worker of `SERVICE_PS` is busy for the share `load` of the time."""
    gaps = np.random.default_rng([seed, round(100 * load)]).exponential(SERVICE_PS / load, requests)
    return np.rint(np.cumsum(gaps)).astype(np.int64)


def serve(arrival_ps: NDArray[np.int64], places: int = 1) -> tuple[list[Sequence], list[tuple[int, int]]]:
    """The requests served and the changes of their number."""
    sequences = [Sequence(i, 0, 10, OUTPUT_TOKENS, KV.GIVEN) for i in range(arrival_ps.size)]
    engine = Engine(config(max_num_seqs=places), Steps(STEP_PS))
    return sequences, play(engine, list(zip(arrival_ps.tolist(), sequences, strict=True)))


def agrees(means: list[float], expected: float) -> bool:
    """Whether `expected` lies in the 99.9 % confidence interval of replications that are tight enough to tell."""
    half = float(stats.t.ppf(0.9995, len(means) - 1)) * float(np.std(means, ddof=1)) / len(means) ** 0.5
    assert half < 0.25 * expected
    return bool(abs(float(np.mean(means)) - expected) <= half)


def constant_step_profile(folder: Path) -> None:
    spread = dict.fromkeys(("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90"), 10.0)
    points = [{"batch": 1, "context_tokens": context, "steps": 20, **spread} for context in (64, 1024, 8192)]
    write_profile(folder, decode_points=points)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_mean_wait_is_that_of_an_md1_queue(load: float) -> None:
    means = []
    for seed in range(12):
        arrival_ps = poisson(load, seed, 3000)
        sequences, _ = serve(arrival_ps)
        waits = [sequence.started_ps - at for sequence, at in zip(sequences, arrival_ps.tolist(), strict=True)]
        means.append(float(np.mean(waits[WARMUP:])))
    assert agrees(means, load * SERVICE_PS / (2 * (1 - load)))


def test_every_wait_follows_lindleys_recursion_to_the_picosecond() -> None:
    arrival_ps = poisson(0.9, 1, 2000).tolist()
    sequences, _ = serve(np.array(arrival_ps))
    free_at = 0
    for at, sequence in zip(arrival_ps, sequences, strict=True):
        started = max(at, free_at)
        free_at = started + SERVICE_PS
        assert (sequence.started_ps, sequence.last_ps) == (started, free_at)


@pytest.mark.parametrize("places", [1, 4])
def test_number_in_system_is_rate_times_sojourn(places: int) -> None:
    arrival_ps = poisson(0.8 if places == 1 else 2.5, 2, 2000)
    sequences, changes = serve(arrival_ps, places)
    area = number = last = 0
    for at, change in changes:
        area += number * (at - last)
        number, last = number + change, at
    assert number == 0
    assert area == sum(sequence.last_ps for sequence in sequences) - int(arrival_ps.sum())


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_simulated_scenario_is_an_md1_queue(load: float, tmp_path: Path) -> None:
    constant_step_profile(tmp_path)
    (tmp_path / "scenario.yaml").write_text(SCENARIO.format(rate_rps=load / SCENARIO_SERVICE_S))
    means = []
    for seed in range(10):
        scenario = load_scenario(tmp_path / "scenario.yaml", seed=seed)
        rows = simulate_arm(scenario, scenario.arms[0], build_requests(scenario)).rows
        means.append(float((rows["decode_scheduled_s"] - rows["arrival_s"])[WARMUP:].mean()))
        assert ((rows["last_token_s"] - rows["decode_scheduled_s"]) * 1e3).to_numpy() == pytest.approx(50.0)
    assert agrees(means, load * SCENARIO_SERVICE_S / (2 * (1 - load)))


class Counting(Engine):
    """Adds up the time that requests spend here, from their number alone."""

    def __init__(
        self, options: EngineConfig, times: StepTimes, stalls: Iterable[tuple[int, int]], keys: BlockKeys | None = None
    ) -> None:
        super().__init__(options, times, stalls, keys)
        self.area_ps = self.number = self.since_ps = 0

    def count(self, now_ps: int, change: int) -> None:
        self.area_ps += self.number * (now_ps - self.since_ps)
        self.number, self.since_ps = self.number + change, now_ps

    def submit(self, now_ps: int, sequence: Sequence, *, first: bool = False) -> None:
        self.count(now_ps, 1)
        super().submit(now_ps, sequence, first=first)

    def wake(self, now_ps: int) -> Outcome:
        outcome = super().wake(now_ps)
        self.count(now_ps, -len(outcome.finished))
        return outcome


def test_littles_law_holds_in_a_simulated_scenario(tmp_path: Path) -> None:
    constant_step_profile(tmp_path)
    (tmp_path / "scenario.yaml").write_text(SCENARIO.format(rate_rps=16))
    scenario = load_scenario(tmp_path / "scenario.yaml")
    engines: list[Counting] = []

    class Kept(Counting):
        def __init__(
            self,
            options: EngineConfig,
            times: StepTimes,
            stalls: Iterable[tuple[int, int]],
            keys: BlockKeys | None = None,
        ) -> None:
            super().__init__(options, times, stalls, keys)
            engines.append(self)

    with driven_by(Kept):
        rows = simulate_arm(scenario, scenario.arms[0], build_requests(scenario)).rows
    arrival_ps, last_ps = (np.rint(rows[name] * PS_PER_S).astype(np.int64) for name in ("arrival_s", "last_token_s"))
    assert engines[0].number == 0
    assert engines[0].area_ps == int(last_ps.sum() - arrival_ps.sum())
