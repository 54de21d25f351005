"""From the engine's token to the client: over the batch, from an idle worker's delay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_profile
from tests.cluster.worlds import pool, scenario, serve, write_profile

MS = 10**9


def point(where: str, batch: int, out_ms: float) -> dict[str, Any]:
    nothing = {"median": 0.0}
    return {
        "where": where,
        "batch": batch,
        "prompt_tokens": 100,
        "submit_to_queued_ms": nothing,
        "queued_to_scheduled_ms": nothing,
        "first_token_to_client_ms": {"median": out_ms},
    }


@pytest.mark.parametrize(
    ("busy", "expected_ms"),
    [
        ([], [2.0, 2.0, 2.0]),
        ([(10, 2.5), (100, 7.0)], [2.0, 2.5, 7.0]),
        ([(10, 1.0)], [2.0, 2.0, 2.0]),  # never less than on an idle worker
    ],
)
def test_the_way_out_grows_with_the_batch(
    busy: list[tuple[int, float]], expected_ms: list[float], tmp_path: Path
) -> None:
    points = [point("idle", 0, 2.0), *(point("traffic", batch, ms) for batch, ms in busy)]
    model = LatencyModel(load_profile(write_profile(tmp_path, first_token_points=points)))
    assert (model.out_ps(np.array([0, 10, 100])) / MS).tolist() == pytest.approx(expected_ms)


def test_bands_of_batches_count_each_request_once_and_the_slope_goes_on(tmp_path: Path) -> None:
    points = [point("idle", 0, 2.0), *(point("traffic", *at) for at in ((17, 3.0), (20, 6.0), (64, 4.0)))]
    points[1]["requests"] = 2
    model = LatencyModel(load_profile(write_profile(tmp_path, first_token_points=points)))

    # 18 requests and 4 ms, and it never falls; the slope is (18 * 2 + 64 * 2) / (18 * 18 + 64 * 64).
    slope = 164 / 4420
    asked = np.array([0, 9, 18, 40, 64, 164])
    assert (model.out_ps(asked) / MS).tolist() == pytest.approx([2.0, 3.0, 4.0, 4.0, 4.0, 4.0 + 100 * slope])


def test_the_way_out_of_a_prefill_worker_is_what_traffic_had(tmp_path: Path) -> None:
    idle = [point("idle", 0, 2.0)]
    served = [point("prefill", 1, 2.5) | {"requests": 3}, point("prefill", 4, 4.5) | {"requests": 1}]

    without, with_traffic = (
        LatencyModel(load_profile(write_profile(tmp_path, first_token_points=points)))
        for points in (idle, idle + served)
    )

    assert without.prefill_out_ps == 2 * MS
    assert with_traffic.prefill_out_ps == 3 * MS
    assert with_traffic.out_ps(np.array([0])).tolist() == [2 * MS]


def test_a_clients_tokens_come_later_beside_others_and_in_order(tmp_path: Path) -> None:
    points = [point("idle", 0, 1.0), point("traffic", 10, 101.0)]  # 10 ms a request
    profile = write_profile(tmp_path, first_token_points=points)
    decode = pool(profile, policy="shared", workers=1)
    rows = serve(scenario(["a"], {"decode": decode}), [(0, 0, 10, 2), (0, 0, 10, 2), (0, 0, 10, 40)]).rows
    out_ms = (rows["first_token_s"] - rows["decode_first_token_s"]) * 1000
    assert out_ms.tolist() == pytest.approx([31.0, 31.0, 31.0])
    # The last one is alone in the end.
    assert rows["last_token_s"][2] - rows["last_token_s"][0] > 0.2
    assert (rows["last_token_s"] >= rows["first_token_s"]).all()
