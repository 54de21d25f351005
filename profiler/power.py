"""The card's power beside the steps, as NVML reads it; a point gets the median of the readings during its steps.

NVML calls are kept out of measurements unless they are asked for: they go to the driver that launches the steps.
"""

import asyncio
import importlib
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, Self

from profiler.recording import Step

INTERVAL_S = 0.02
"""A plateau of small batches takes a tenth of a second."""
LEAST_READINGS = 3
IDLE_S = 2.0
"""How long the card is left alone before its idle power counts, and for how long it counts then."""

POWER_INSTANT = 186
"""NVML_FI_DEV_POWER_INSTANT; what NVML calls power usage is a mean over a second on Ampere cards and later ones."""

Watts = Callable[[], float]


def nvml_watts() -> Watts:
    """Reads the power, in watts, of the GPU that the engine uses; of several, the first.

    Raises ValueError where there is no NVML, or it does not know that GPU.
    """
    nvml = _nvml()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    try:
        nvml.nvmlInit()
        by = nvml.nvmlDeviceGetHandleByIndex if visible.isdecimal() else nvml.nvmlDeviceGetHandleByUUID
        handle = by(int(visible) if visible.isdecimal() else visible)
    except nvml.NVMLError as error:
        msg = f"--power: NVML says {error}, must be where the GPU is"
        raise ValueError(msg) from error

    def watts() -> float:
        (field,) = nvml.nvmlDeviceGetFieldValues(handle, [POWER_INSTANT])
        milliwatts = field.value.uiVal if field.nvmlReturn == 0 else nvml.nvmlDeviceGetPowerUsage(handle)
        return float(milliwatts) / 1000

    return watts


def _nvml() -> Any:
    """NVIDIA's Python binding, installed or as vLLM brings it."""
    for name in ("pynvml", "vllm.third_party.pynvml"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    msg = "--power: there is no NVML for Python, must be installed: pip install nvidia-ml-py"
    raise ValueError(msg)


class PowerMeter:
    """Readings, each with its time on the clock of the steps, CLOCK_MONOTONIC; taken in a thread while it is entered.

    A reading that fails is the last one: what is measured after it has no power.
    """

    def __init__(self, watts: Watts, interval_s: float = INTERVAL_S) -> None:
        self._watts = watts
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._at_s: list[float] = []
        self._readings_w: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def note(self, at_s: float, watts: float) -> None:
        """Takes one reading; times must rise."""
        self._readings_w.append(watts)
        self._at_s.append(at_s)

    def during(self, begin_s: float, end_s: float) -> tuple[float, ...]:
        """Readings after `begin_s`, up to `end_s`."""
        return tuple(self._readings_w[bisect_right(self._at_s, begin_s) : bisect_right(self._at_s, end_s)])

    def beside(self, steps: Sequence[Step]) -> list[Step]:
        """The steps, each with the readings from its begin to its end."""
        return [replace(step, watts=self.during(step.end_s - step.step_s, step.end_s)) for step in steps]

    async def idle_power_w(self, seconds: float = IDLE_S) -> float | None:
        """The median while nothing runs, after as long a rest; None without readings."""
        await asyncio.sleep(2 * seconds)
        now_s = time.monotonic()
        found = self.during(now_s - seconds, now_s)
        return round(median(found), 1) if found else None

    def _read(self) -> None:
        while not self._ended.wait(self._interval_s):
            try:
                watts = self._watts()
            except Exception:  # noqa: BLE001  # power is worth less than the measurements that it would end
                return
            self.note(time.monotonic(), watts)


def average_power(steps: Sequence[Step]) -> dict[str, float]:
    """`avg_power_w` of a point of these steps; empty with fewer than `LEAST_READINGS` during them."""
    watts = [reading for step in steps for reading in step.watts]
    return {"avg_power_w": round(median(watts), 1)} if len(watts) >= LEAST_READINGS else {}
