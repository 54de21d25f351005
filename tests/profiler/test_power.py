"""The card's power: readings beside steps, points with their median, and NVML behind them."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from profiler import measure as measuring
from profiler.chunks import prefill_points
from profiler.engine import Engine
from profiler.measure import Order
from profiler.phases.base import Phase, Points
from profiler.phases.traffic import Sweep, traffic_points
from profiler.plateaus import decode_points
from profiler.power import PowerMeter, average_power, nvml_watts
from profiler.progress import Progress
from profiler.recording import Step, StepLog, StepLogReader
from profiler.settings import EngineSettings
from tests.profiler.fake_log import FakeLog


def metered(log: FakeLog, readings: Sequence[tuple[float, float]]) -> list[Step]:
    """The log's steps beside (seconds since its start, watts)."""
    meter = PowerMeter(lambda: 0.0)
    for at_s, watts in readings:
        meter.note(100.0 + at_s, watts)
    return meter.beside(StepLogReader().feed(log.finished_lines()))


def test_a_reading_belongs_to_the_step_that_runs_then() -> None:
    log = FakeLog()
    log.step(10.0, 1, 50)
    log.step(10.0, 1, 51)
    log.idle(1.0)
    log.step(10.0, 1, 52)
    first, second, third = metered(log, [(0.005, 300), (0.01, 310), (0.015, 320), (0.5, 100), (1.025, 330)])
    assert (first.watts, second.watts, third.watts) == ((300, 310), (320,), (330,))


def test_a_plateau_has_the_median_of_its_readings() -> None:
    """Two batch sizes for 20 steps of 10 ms each; a reading each 20 ms, 500 W first, then 400 W, and one that is off."""
    log = FakeLog()
    for batch in (4, 2):
        for i in range(20):
            log.step(10.0, batch, batch * (100 + i))
    readings = [(0.005 + 0.02 * i, 500 if i < 10 else 400) for i in range(20)]
    readings[15] = (readings[15][0], 9999)
    points = decode_points(metered(log, readings), "uniform", 0)
    assert [(point["batch"], point["avg_power_w"]) for point in points] == [(4, 500), (2, 400)]


def test_points_with_few_readings_have_no_power() -> None:
    log = FakeLog()
    for _ in range(20):
        log.step(10.0, 4, 400)
    (point,) = decode_points(metered(log, [(0.05, 500), (0.1, 500)]), "uniform", 0)
    assert "avg_power_w" not in point
    assert average_power([]) == {}


def test_prompts_and_traffic_have_power_too() -> None:
    log = FakeLog()
    for _ in range(8):
        log.step(30.0, chunks=[(1024, 0)])
        log.idle(0.01)
    readings = [(0.01 + 0.04 * i, 600 + i) for i in range(8)]
    (point,) = prefill_points(metered(log, readings))
    assert point["avg_power_w"] == 603.5

    log = FakeLog()
    for _ in range(20):
        log.step(10.0, 4, 400)
    steps = metered(log, [(0.005 + 0.02 * i, 450) for i in range(10)])
    (point,) = traffic_points(Sweep(0.0, [], steps[1:]), "chat")
    assert point["avg_power_w"] == 450


def test_the_meter_reads_while_it_is_entered() -> None:
    before_s = time.monotonic()
    with PowerMeter(lambda: 250.0, interval_s=0.001) as meter:
        while len(meter.during(before_s, time.monotonic())) < 5:
            time.sleep(0.001)
        assert asyncio.run(meter.idle_power_w(seconds=0.02)) == 250.0
    ended_s = time.monotonic()
    time.sleep(0.01)
    assert set(meter.during(before_s, ended_s)) == {250.0}
    assert meter.during(ended_s, ended_s + 10) == ()


def test_a_reading_that_fails_ends_the_readings_and_nothing_else() -> None:
    watts = iter([200.0, 210.0])
    with PowerMeter(lambda: next(watts), interval_s=0.001) as meter:
        time.sleep(0.05)
    assert meter.during(0, time.monotonic()) == (200.0, 210.0)


class FakeNvml(ModuleType):
    """A card that draws 350 W now, and 300 W in the mean over a second."""

    NVMLError = RuntimeError

    def __init__(self, instant: bool = True) -> None:
        super().__init__("pynvml")
        self.status = 0 if instant else 3
        self.asked: list[object] = []

    def nvmlInit(self) -> None:
        """NVML's names."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:
        if index > 7:
            msg = "Invalid Argument"
            raise RuntimeError(msg)
        self.asked.append(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:
        self.asked.append(uuid)
        return uuid

    def nvmlDeviceGetFieldValues(self, _: object, fields: list[int]) -> list[Any]:
        assert fields == [186]
        return [SimpleNamespace(nvmlReturn=self.status, value=SimpleNamespace(uiVal=350_000))]

    def nvmlDeviceGetPowerUsage(self, _: object) -> int:
        return 300_000


@pytest.mark.parametrize(("instant", "expected"), [(True, 350.0), (False, 300.0)])
def test_power_is_the_instant_one_where_the_card_has_it(
    instant: bool, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(instant))
    assert nvml_watts()() == expected


@pytest.mark.parametrize(
    ("visible", "asked"), [(None, 0), ("", 0), ("3", 3), ("5,6", 5), ("GPU-8f2a", "GPU-8f2a"), (" 2 ,1", 2)]
)
def test_it_is_that_of_the_engine_s_first_gpu(
    visible: str | None, asked: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml_watts()
    assert nvml.asked == [asked]


def test_without_nvml_or_such_a_gpu_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "9")
    with pytest.raises(ValueError, match="--power: NVML says Invalid Argument, must be where the GPU is"):
        nvml_watts()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "vllm.third_party.pynvml", None)
    with pytest.raises(ValueError, match="there is no NVML for Python"):
        nvml_watts()


@pytest.mark.parametrize("asked", [True, False])
def test_a_measurement_has_power_if_it_is_asked_for(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through `measure`, with an engine that only writes its log: twenty steps that end now, at 10 ms each."""
    engine = Engine(None, EngineSettings(), StepLog(tmp_path / "steps.jsonl"))

    @contextlib.asynccontextmanager
    async def started(*_: object) -> AsyncIterator[Engine]:
        yield engine

    async def decode(engine: Engine) -> Points:
        log = FakeLog(now_s=time.monotonic())
        await asyncio.sleep(0.25)
        for i in range(20):
            log.step(10.0, 4, 400 + i)
        engine.step_log.path.write_text("\n".join(log.finished_lines()) + "\n")
        return {"decode_points": decode_points(engine.drain_steps(), "uniform", 0)}

    async def nothing(*_: object) -> dict[str, Any]:
        return {}

    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    monkeypatch.setattr(PowerMeter.idle_power_w, "__defaults__", (0.05,))
    monkeypatch.setattr(measuring, "started", started)
    monkeypatch.setattr(measuring, "state_engine", nothing)
    monkeypatch.setattr(measuring, "warm", nothing)
    monkeypatch.setattr(measuring, "missing_phases", lambda *_: [Phase("decode", decode)])
    order = Order(model="llama-3.1-8b", variant="bf16", out=tmp_path / "profile.json", power=asked)
    profile = asyncio.run(measuring.measure(order, Progress()))
    (point,) = profile["decode_points"]
    assert point.get("avg_power_w") == (350.0 if asked else None)
    assert profile.get("idle_power_w") == (350.0 if asked else None)
