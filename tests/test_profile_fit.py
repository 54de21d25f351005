"""What `profiles show` says of a profile's step model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.latency.profile import Profile, load_profile
from sunsim.profile_fit import attention, fit_blocks
from sunsim.report.terminal import plain
from sunsim.residuals import BATCHES, band_names, residuals
from tests.synthetic import synthetic_profile

SPREAD = ("step_ms_median", "step_ms_mean", "step_ms_p10", "step_ms_p90")
SLOW, FAST = 1 / 0.8, 1 / 1.2
"""Against what steady batches say: the model is 20 % short, and 20 % long. Three steps to two of these pull least squares
of relative errors equally in both directions, so that nothing is learned."""
HEADS = {"num_key_value_heads": 8, "num_attention_heads": 32, "head_dim": 128}
BANDS = [(0, 0), (0, 3), (2, 0), (2, 3)]
FA3 = {"attention": "FLASH_ATTN FA3"}


def written(folder: Path, **changes: Any) -> Profile:
    (folder / "profile.json").write_text(json.dumps(synthetic_profile(**changes)))
    return load_profile(folder / "profile.json")


def traffic(sweep: str, times: float, steps: int) -> list[dict[str, Any]]:
    """Points of a sweep that take so many times as long as the synthetic profile's steady batches."""
    return [
        {"batch": batch, "context_tokens": batch * each, "lengths": "traffic", "traffic": sweep, "steps": steps}
        | dict.fromkeys(SPREAD, times * (7 + 0.02 * batch + 4e-5 * batch * each))
        for batch in (8, 64)
        for each in (400, 3000)
    ]


def sweeps(folder: Path, *found: tuple[str, float, int], **changes: Any) -> Profile:
    points = [point for each in found for point in traffic(*each)]
    lengths = [{"traffic": name, "prompt_tokens": [1000], "output_tokens": [100]} for name, *_ in found]
    steady = synthetic_profile()["decode_points"]
    return written(folder, decode_points=steady + points, served_lengths=lengths, **changes)


def test_residuals_are_of_all_steps_time_by_sweep_and_by_band(tmp_path: Path) -> None:
    left = residuals(sweeps(tmp_path, ("slow", SLOW, 30), ("fast", FAST, 20), ("even", 1.0, 10)))
    assert {name: each.steps for name, each in left.by_sweep.items()} == {"slow": 120, "fast": 80, "even": 40}
    errors = {name: each.error for name, each in left.by_sweep.items()}
    assert errors == pytest.approx({"slow": -0.2, "fast": 0.2, "even": 0.0}, abs=1e-9)
    mixed = 60 / (30 * SLOW + 20 * FAST + 10) - 1
    assert {band: each.steps for band, each in left.by_band.items()} == dict.fromkeys(BANDS, 60)
    assert {band: each.error for band, each in left.by_band.items()} == pytest.approx(dict.fromkeys(BANDS, mixed))


def test_bands_end_where_their_names_say() -> None:
    assert band_names(BATCHES) == ["up to 8", "9 to 32", "33 to 64", "65 to 128", "129 to 256", "over 256"]


def test_the_report_has_sweeps_and_bands_and_leaves_out_what_was_not_seen(tmp_path: Path) -> None:
    profile = sweeps(tmp_path, ("slow", SLOW, 30), ("fast", FAST, 20), ("even", 1.0, 10))
    lines = plain(fit_blocks(profile), 120).splitlines()
    assert max(map(len, lines)) <= 120
    rows = [line.split() for line in lines]
    assert ["100", "requests", "in", "a", "step", "add", "+0.000", "ms"] in rows
    assert ["even", "40", "+0.00", "0.00", "+0.00"] in rows
    assert next(row for row in rows if row[:1] == ["slow"])[-1] == "-20.00"
    assert ["up", "to", "8", "-6.49", "-6.49"] in rows
    assert not any(row[:3] == ["9", "to", "32"] for row in rows)
    assert not any("prompts alone" in line for line in lines)


def test_two_sweeps_are_not_judged_and_one_says_what_to_do(tmp_path: Path) -> None:
    two = plain(fit_blocks(sweeps(tmp_path, ("a", 1.0, 10), ("b", 1.0, 10))), 120)
    assert "2 sweeps of traffic are too few to judge one by the others" in two
    assert ["a", "40", "-", "-", "+0.00"] in [line.split() for line in two.splitlines()]
    one = plain(fit_blocks(sweeps(tmp_path, ("a", 1.0, 10))), 120).splitlines()
    assert one == [
        "The profile does not name its attention kernel: lengths are taken as even.",
        "Too little traffic to learn from (1 sweep with known lengths, at least 2 are needed): measure again with `python -m",
        "  profiler measure`.",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"kernels": FA3, "model_config": HEADS, "processors": 132},
            "FLASH_ATTN FA3 is known: 8 KV heads, 132 processors.",
        ),
        ({"kernels": {"attention": "FLASHINFER"}}, "FLASHINFER is not known here: lengths are taken as even."),
        ({"kernels": FA3, "model_config": HEADS}, "does not say how many processors its card has: lengths are"),
        (
            {"kernels": FA3, "model_config": HEADS | {"head_dim": 64}, "processors": 132},
            "known here only with heads of 128 dimensions: lengths are taken as even.",
        ),
    ],
)
def test_an_attention_that_is_not_known_is_told(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in attention(written(tmp_path, **changes).data)


def test_steps_with_prompts_are_told_where_traffic_set_them_right(tmp_path: Path) -> None:
    prefill = synthetic_profile()["prefill_points"]
    served = [
        {**point, "lengths": "traffic", **dict.fromkeys(SPREAD, point["step_ms_mean"] + extra_ms), "steps": 10}
        for point, extra_ms in ((prefill[1], 2.0), (prefill[3], -3.0))
    ]
    rows = plain(fit_blocks(written(tmp_path, prefill_points=prefill + served)), 120).splitlines()
    alone = next(row for row in rows if row.startswith("prompts alone"))
    assert alone.split()[2:9] == ["512", "to", "4,096", "2", "-3.00", "to", "+2.00"]
    assert not any("beside decodes" in row for row in rows)
