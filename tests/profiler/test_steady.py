import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from profiler.phases import steady
from profiler.phases.steady import is_steady, until_steady


def windows_of(medians_ms: Sequence[float], seconds: float) -> dict[str, Any]:
    """What comes out where the last of these medians repeats for ever, and each window takes so many seconds."""
    now_s = 100.0
    left = list(medians_ms)

    async def window_ms() -> float:
        nonlocal now_s
        now_s += seconds
        return left.pop(0) if len(left) > 1 else left[0]

    return asyncio.run(until_steady(window_ms, lambda: now_s))


@pytest.mark.parametrize(
    ("medians_ms", "expected"),
    [
        ([], False),
        ([10, 10, 10, 10], False),
        ([10, 10, 10, 10, 10], True),
        ([9, 10, 10.02, 10, 10.01, 10], True),
        ([10, 10.021, 10, 10, 10], False),
        ([10.04, 10.03, 10.02, 10.01, 10], False),
    ],
)
def test_five_windows_within_a_fifth_of_a_percent_are_steady(medians_ms: list[float], expected: bool) -> None:
    assert is_steady(medians_ms) is expected


def test_a_warm_card_is_kept_busy_for_the_least_time() -> None:
    assert windows_of([10], seconds=1) == {"steady": True, "steady_after_s": 10.0, "step_ms_medians": [10] * 10}


def test_a_cold_card_is_kept_busy_until_its_steps_repeat() -> None:
    cold = [11 - 0.05 * i for i in range(15)]
    went = windows_of([*cold, 10], seconds=1)
    assert went["steady"]
    assert went["step_ms_medians"] == [*cold, 10, 10, 10, 10, 10]


def test_a_card_that_never_settles_is_given_up_and_said() -> None:
    went = windows_of([10 + 0.1 * i for i in range(100)], seconds=2)
    assert not went["steady"]
    assert steady.MOST_S <= went["steady_after_s"] < steady.MOST_S + 2
