"""How long a KV transfer takes, from a bandwidth or from measured transfers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sunsim.cluster.events import Clock
from sunsim.cluster.link import KVLink
from sunsim.errors import InputError
from sunsim.inputs import files
from sunsim.latency.transfer import load_transfers, measured_link, steady_link
from sunsim.scenario import load_scenario, resolved
from tests.scenario_files import SCENARIO, write_scenario

MS = 10**9


def points(
    *alone: tuple[int, float], several: tuple[int, int, float] | None = None, post_ms: float = 0.0
) -> list[dict[str, Any]]:
    found = [{"bytes": size, "concurrent": 1, "transfer_ms_median": ms} for size, ms in alone]
    if several:
        found.append({"bytes": several[0], "concurrent": several[1], "transfer_ms_median": several[2]})
    return [point | {"post_ms_median": post_ms} for point in found]


def write(folder: Path, found: list[dict[str, Any]], **changes: Any) -> Path:
    path = folder / "link.json"
    content = {"schema_version": 1, "card": "a card", "date": "2026-01-01", "transfer_points": found} | changes
    path.write_text(json.dumps(content))
    return path


def alone_ms(path: Path, num_bytes: int) -> float:
    """What a transfer takes that has the link alone."""
    env, done = Clock(), []
    KVLink(env, measured_link(load_transfers(path).data)).start("a", "b", num_bytes, lambda: done.append(env.now_ps))
    env.run()
    return float(done[0]) / MS


@pytest.mark.parametrize(
    ("num_bytes", "ms"),
    [(1_000, 2.0), (10, 2.0), (3_000, 3.0), (5_000, 4.0), (7_500, 6.5), (10_000, 9.0), (15_000, 14.0)],
)
def test_measured_sizes_take_what_was_measured_and_others_lie_on_the_lines(
    num_bytes: int, ms: float, tmp_path: Path
) -> None:
    path = write(tmp_path, points((5_000, 4.0), (1_000, 2.0), (10_000, 9.0), several=(1_000, 4, 77.0)))
    assert alone_ms(path, num_bytes) == pytest.approx(ms, abs=1e-6)


def test_a_bandwidth_and_a_latency() -> None:
    link = steady_link(bandwidth_gbit_s=8.0, latency_ms=0.5)
    assert (link.latency_ps, link.moves_ps(1_000_000)) == (MS // 2, MS)


def test_noise_in_the_points_does_not_run_backwards(tmp_path: Path) -> None:
    path = write(tmp_path, points((1_000, 2.0), (2_000, 3.0), (3_000, 2.5)))
    assert alone_ms(path, 3_000) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (points((1_000, 2.0)), "less than two sizes"),
        (points((1_000, 2.0), (1_000, 2.5)), "less than two sizes"),
        (points((0, 2.0), (1_000, 2.5)), "transfer_points.0.bytes"),
    ],
)
def test_a_file_that_says_too_little_is_refused(found: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_transfers(write(tmp_path, found))


def scenario_with(folder: Path, transfer: str) -> Path:
    text = SCENARIO.replace("transfer: {bandwidth_gbit_s: 400, latency_ms: 0.1}", f"transfer: {transfer}")
    assert text != SCENARIO
    return write_scenario(folder, text)


def test_a_scenario_names_the_file_and_says_so_again(tmp_path: Path) -> None:
    write(tmp_path, points((1_000, 2.0), (2_000, 3.0)))
    scenario = load_scenario(scenario_with(tmp_path, "{measured: link.json}"))
    assert scenario.transfer.measured == str(tmp_path / "link.json")
    again = tmp_path / "again.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario


def test_the_shipped_link_is_named_as_profiles_are(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_with(tmp_path, "{measured: h100-80gb/links/nixl-nvlink}"))
    assert scenario.transfer.measured == "h100-80gb/links/nixl-nvlink"
    assert scenario.transfer.measured in files(scenario)


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        ("{measured: link.json, latency_ms: 1}", "latency_ms is given, must be left out: measured says it"),
        ("{measured: other.json}", "transfer.measured is 'other.json', must be a .json file"),
    ],
)
def test_a_scenario_that_says_it_twice_or_names_no_file_is_refused(transfer: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, points((1_000, 2.0), (2_000, 3.0)))
    with pytest.raises(InputError, match=message):
        load_scenario(scenario_with(tmp_path, transfer))


def beside(decodes: int, lead_ms: float | None, begin_ms: float = 1.0, admit_ms: float = 3.0) -> dict[str, Any]:
    return {
        "decode_requests": decodes,
        "lead_ms_median": lead_ms,
        "begin_ms_median": begin_ms,
        "admit_ms_median": admit_ms,
    }


def test_what_the_host_adds_is_a_line_through_the_leads_and_medians_of_an_idle_worker(tmp_path: Path) -> None:
    found = [beside(0, None, 0.5, 2.0), beside(0, None, 0.7, 4.0), beside(10, 2.0), beside(30, 3.0), beside(50, None)]
    path = write(tmp_path, points((5_000, 4.0), (1_000, 2.0)), beside_points=found)
    host = measured_link(load_transfers(path).data).host
    assert host
    assert (host.begin_ps, host.admit_ps) == (0.6 * MS, 3 * MS)
    assert [host.launched_ps(decodes) for decodes in (10, 30, 110)] == pytest.approx([2 * MS, 3 * MS, 7 * MS], abs=9)


@pytest.mark.parametrize(
    "found", [[], [beside(0, None)], [beside(10, 2.0), beside(30, 3.0)], [beside(0, None), beside(10, 2.0)]]
)
def test_without_idle_points_and_two_leads_the_host_adds_nothing(found: list[dict[str, Any]], tmp_path: Path) -> None:
    path = write(tmp_path, points((5_000, 4.0), (1_000, 2.0)), beside_points=found)
    assert measured_link(load_transfers(path).data).host is None


def test_beside_another_transfer_the_host_takes_as_long_a_byte_as_with_several_at_a_time(tmp_path: Path) -> None:
    alone = [{"bytes": 1_000, "post_ms_median": 1.0}, {"bytes": 4_000, "post_ms_median": 9.0, "host_ms_median": 10.0}]
    several = {"bytes": 2_000, "concurrent": 4, "post_ms_median": 3.5, "host_ms_median": 4.0}
    found = [{"concurrent": 1, "transfer_ms_median": 12.0} | point for point in [*alone, several]]
    link = measured_link(load_transfers(write(tmp_path, found)).data)
    # 4 ms for 2,000 bytes is 2 ms for 1,000; the 8 ms that 4,000 would take are less than alone.
    assert [link.posts_ps(size) / MS for size in (1_000, 4_000)] == [1.0, 10.0]
    assert [link.posts_ps(size, beside=True) / MS for size in (1_000, 4_000)] == [2.0, 10.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"decode_requests": -1}, "decode_requests"),
        ({"lead_ms_median": -1.0}, "lead_ms_median"),
        ({"admit_ms_median": None}, "admit_ms_median"),
    ],
)
def test_a_wrong_point_beside_decodes_is_named(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, points((5_000, 4.0), (1_000, 2.0)), beside_points=[beside(10, 2.0) | wrong])
    with pytest.raises(InputError, match=message):
        load_transfers(path)
