"""Live clusters against their simulation, on runs that the simulator itself made up with slower steps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from docs.blocks import PLACES, block
from docs.fidelity import cluster_errors
from docs.fidelity_tables import live_text
from profiler.rounds import rounds_of
from sunsim.cli import app
from sunsim.cluster.simulation import simulate_arm
from sunsim.scenario import build_requests, load_scenario, resolved
from sunsim.validation.check import check_cluster
from sunsim.validation.cluster_run import CONTRACT
from sunsim.validation.folders import committed_clusters, read_cluster
from tests.golden.fidelity.errors import complaints, kept
from tests.synthetic import synthetic_profile

DRAWN = """{kind: synthetic, requests: 200, arrivals: {kind: poisson, rate_rps: 20},
  lengths: {kind: fixed, prompt_tokens: 300, output_tokens: 40}}"""
SCENARIO = """\
name: live
seed: {seed}
models: {{count: 2, popularity: {{kind: zipf, alpha: {alpha}}}}}
workload: {workload}
slo: {{tpot_ms: 1000}}
arms:
  - name: {arm}
    decode: {{profile: {profile}, policy: {policy}, router: least-requests, workers: 2}}
"""

SESSIONS = """\
name: live
seed: {seed}
models: {{count: 1}}
workload:
  kind: sessions
  duration_s: 20
  arrivals: {{kind: poisson, rate_rps: 2}}
  rounds: {{mean: 5, max: 5}}
  think_s: {{mean: 0.5}}
  system_prompt_tokens: 100
  user: {{kind: fixed, tokens: 60}}
  output: {{kind: fixed, tokens: 20}}
arms:
  - name: {arm}
    prefill: {{profile: {profile}, policy: isolated, workers: 1, enable_prefix_caching: true}}
    decode: {{profile: {profile}, policy: isolated, workers: 1, enable_prefix_caching: true, append_prefill: remote}}
"""


def slower(factor: float) -> dict[str, Any]:
    """A profile all of whose steps take `factor` as long."""
    document = synthetic_profile(card="a card", model="m", variant="bf16")
    for point in [*document["decode_points"], *document["prefill_points"]]:
        point.update({key: value * factor for key, value in point.items() if key.startswith("step_ms")})
    return document


def write_run(
    folder: Path,
    name: str,
    factor: float,
    *,
    arm: str,
    alpha: float = 1.0,
    workload: str = DRAWN,
    text: str = SCENARIO,
    **facts: Any,
) -> Path:
    """A run as the profiler writes it, of a cluster whose steps take `factor` as long as the folder's profile says."""
    folder.mkdir(exist_ok=True)
    (folder / "p.json").write_text(json.dumps(slower(1.0)))
    (folder / "cluster.yaml").write_text("profile: p.json\nhost: X\n")
    slow, told = folder.parent / f"slow-{factor}.json", folder.parent / f"{name}.yaml"
    slow.write_text(json.dumps(slower(factor)))
    policy = "isolated" if arm == "isolated" else "shared"
    told.write_text(text.format(seed=3, alpha=alpha, arm=arm, policy=policy, profile=slow, workload=workload))
    scenario = load_scenario(told)
    requests = build_requests(scenario)
    rows = simulate_arm(scenario, scenario.arms[0], requests).rows
    columns = {there: rows[name] for name, there in CONTRACT.items() if rows[name].notna().all()}
    same = ["request_id", "model", "prompt_tokens", "output_tokens", "decode_worker", "preemptions"]
    frame = pd.DataFrame(columns).assign(
        **{column: rows[column] for column in same}, arrival_s=rows["arrival_s"], known_s=rows["last_token_s"] + 0.002
    )
    frame["last_token_s"] = rows["last_token_s"]
    if requests.sessions:
        found = {name: rows[name] for name in ("cached_tokens", "moved_tokens")}
        frame = frame.assign(**rounds_of(requests.sessions).columns(), **found)
    meta = {
        "role": "cluster",
        "stream": name,
        "arm": arm,
        "scenario": resolved(scenario).replace(str(slow), str(folder / "p.json")),
        "gpu": "g",
        "card": "a card",
        "model": "m",
        "variant": "bf16",
        "num_gpu_blocks": 5000,
        "staleness_ms": {"p50": 2.0, "p99": 2.0},
    } | facts
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({b"sunsim": json.dumps(meta)})
    path = folder / f"{name}.parquet"
    pq.write_table(table, path)
    return path


def validate(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("append", ["remote", "local"])
@pytest.mark.parametrize("factor", [1.0, 1.25])
def test_sessions_are_compared_round_by_round(append: str, factor: float, tmp_path: Path) -> None:
    text = SESSIONS.replace("remote", append)
    write_run(tmp_path / "f", "live-later", factor, arm="later", text=text)
    (arm,) = json.loads(validate(tmp_path / "f", "--json")[1])["clusters"][0]["points"][0]["arms"]
    assert list(arm["rounds"]) == ["round_0", "round_1", "round_2", "later_rounds"]
    run = read_cluster(tmp_path / "f").runs[0].rows
    for i, found in enumerate(arm["rounds"].values()):
        own = run[np.minimum(run["round"], 3) == i]
        # Later rounds of the last sessions come after the window.
        assert found["requests"] == len(own) if i == 0 else 0 < found["requests"] <= len(own)
        for tag in ("cached_share", "mean_moved_tokens"):
            assert found[tag]["simulated"] == pytest.approx(found[tag]["actual"])
        for tag in ("mean_ttft_ms", "mean_tpot_ms"):
            off = found[tag]["error_percent"]
            assert off == pytest.approx(0, abs=1e-3) if factor == 1 else off < -10
    table = validate(tmp_path / "f")[1]
    assert "Rounds of sessions, live and simulated" in table
    assert "later rounds" in table


def test_a_repeat_of_rounds_is_part_of_the_floor_though_they_came_at_other_times(tmp_path: Path) -> None:
    for name, factor in (("live-later", 1.0), ("live-later-again", 1.25)):
        write_run(tmp_path / "f", name, factor, arm="later", text=SESSIONS)
    (cluster,) = json.loads(validate(tmp_path / "f", "--json")[1])["clusters"]
    (pair,) = cluster["noise_floor"]
    assert (pair["first"], pair["second"]) == ("live-later", "live-later-again")
    assert pair["change_percent"]["mean_tpot_ms"] == pytest.approx(25, abs=1)


def test_a_round_that_is_missing_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_run(tmp_path / "f", "live-later", 1.0, arm="later", text=SESSIONS)
    table = pq.read_table(path)
    pq.write_table(table.filter(pc.not_equal(table["round"], 1)), path)
    code, _, error = validate(tmp_path / "f")
    assert (code, error.count("\n")) == (2, 1)
    assert "round 2 of session 0 is not after the round before it, must follow it" in error


@pytest.mark.parametrize(("factor", "error"), [(1.0, 0.0), (1.25, -20.0)])
def test_an_arm_is_off_by_what_its_steps_are(factor: float, error: float, tmp_path: Path) -> None:
    write_run(tmp_path / "f", "live-sun", factor, arm="sun")
    compared = check_cluster(read_cluster(tmp_path / "f"))
    assert cluster_errors([compared])["f/live-sun"]["mean_tpot_ms"] == pytest.approx(error, abs=0.5)


def test_the_gain_is_against_the_isolated_arm_on_both_sides(tmp_path: Path) -> None:
    write_run(tmp_path / "f", "live-isolated", 1.0, arm="isolated", alpha=3.0)
    write_run(tmp_path / "f", "live-sun", 1.0, arm="sun", alpha=3.0)
    (point,) = check_cluster(read_cluster(tmp_path / "f")).points
    assert [arm.name for arm in point.arms] == ["isolated", "sun"]
    (gain,) = point.gains
    assert gain.base == "isolated"
    assert gain.actual["mean_tpot_change_percent"] == pytest.approx(gain.simulated["mean_tpot_change_percent"], abs=0.1)
    assert (gain.actual["mean_tpot_change_percent"] or 0.0) < 0


def test_runs_of_blind_workers_that_differ_in_skew_alone_are_the_floor(tmp_path: Path) -> None:
    for alpha, factor in ((1.0, 1.0), (2.0, 1.1)):
        for arm in ("isolated", "sun"):
            write_run(tmp_path / "f", f"live-alpha-{alpha:g}-{arm}", factor, arm=arm, alpha=alpha)
    compared = check_cluster(read_cluster(tmp_path / "f"))
    assert [point.name for point in compared.points] == ["live: alpha 1", "live: alpha 2"]
    (repeat,) = compared.repeated
    assert (repeat.first, repeat.second) == ("live-alpha-1-sun", "live-alpha-2-sun")
    assert repeat.change_percent["mean_tpot_ms"] == pytest.approx(10.0, abs=0.5)


def test_a_run_again_is_no_arm_but_part_of_the_floor(tmp_path: Path) -> None:
    write_run(tmp_path / "f", "live-sun", 1.0, arm="sun")
    write_run(tmp_path / "f", "live-sun-again", 1.0, arm="sun")
    compared = check_cluster(read_cluster(tmp_path / "f"))
    assert [arm.runs[0] for point in compared.points for arm in point.arms] == ["live-sun"]
    assert [repeat.change_percent["mean_tpot_ms"] for repeat in compared.repeated] == [0.0]


def test_what_is_measured_of_a_trace_that_begins_late_begins_with_it(tmp_path: Path) -> None:
    lines = ["arrival_s,prompt_tokens,output_tokens", *(f"{1000 + i / 10},300,40" for i in range(100))]
    (tmp_path / "late.csv").write_text("\n".join(lines) + "\n")
    trace = f"{{kind: trace, format: csv, path: {tmp_path / 'late.csv'}}}\nmeasure: {{warmup_s: 2}}"
    write_run(tmp_path / "f", "live-sun", 1.0, arm="sun", workload=trace)
    (point,) = check_cluster(read_cluster(tmp_path / "f")).points
    assert (point.window.start_s, point.window.end_s) == (1002.0, 1009.9)


def test_tables_and_json_say_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "f", "live-isolated", 1.0, arm="isolated")
    write_run(tmp_path / "f", "live-sun", 1.0, arm="sun")
    code, printed, _ = validate(tmp_path / "f")
    assert code == 0
    assert "What sharing gains" in printed
    assert "the router learned of a request's end 2.0 ms late" in " ".join(printed.split())
    code, printed, _ = validate(tmp_path / "f", "--json")
    assert code == 0
    (entry,) = json.loads(printed)["clusters"]
    assert [arm["arm"] for arm in entry["points"][0]["arms"]] == ["isolated", "sun"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"card": "another"}, "ran on card another, but profile .* was measured on a card: must be the same card"),
        ({"model": "other"}, "ran on model other, but profile"),
        ({"role": "decode"}, "is no live run: metadata role"),
    ],
)
def test_a_foreign_run_is_refused_in_one_line(facts: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_run(tmp_path / "f", "live-sun", 1.0, arm="sun", **facts)
    code, _, complaint = validate(tmp_path / "f")
    assert code == 2
    assert complaint.count("\n") == 1
    assert re.search(message, complaint)


def test_what_is_missing_or_damaged_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_run(tmp_path / "f", "live-sun", 1.0, arm="sun")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["known_s"]), path)
    assert "column known_s is missing" in validate(tmp_path / "f")[2]
    pq.write_table(table.slice(0, 0), path)
    assert "has no row" in validate(tmp_path / "f")[2]
    path.write_text("no parquet")
    assert "is not a Parquet file" in validate(tmp_path / "f")[2]
    path.unlink()
    assert "has no run" in validate(tmp_path / "f")[2]
    (tmp_path / "f" / "cluster.yaml").write_text("profile: q.json\nhost: X\n")
    assert "cluster.yaml:1: profile q.json is not there" in validate(tmp_path / "f")[2]


def test_an_arm_without_decode_workers_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "f", "live-isolated", 1.0, arm="isolated")
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"sunsim"])
    of_decode_alone = re.sub(r"^ +(append_prefill|history):.*\n", "", meta["scenario"], flags=re.MULTILINE)
    meta["scenario"] = re.sub(r"^( +)decode:", r"\1colocated:", of_decode_alone, flags=re.MULTILINE)
    pq.write_table(table.replace_schema_metadata({b"sunsim": json.dumps(meta)}), path)
    code, _, complaint = validate(tmp_path / "f")
    assert code == 2
    assert "its arm isolated has no decode workers" in complaint
    assert complaint.count("\n") == 1


def test_live_clusters_stand_alone(tmp_path: Path) -> None:
    path = write_run(tmp_path / "f", "live-sun", 1.0, arm="sun")
    assert "must be a command of its own" in validate(tmp_path / "f", path)[2]
    assert "must be left out" in validate(tmp_path / "f", "--profile", "x")[2]


def test_the_committed_clusters_are_as_far_off_as_they_were_and_the_document_says_so() -> None:
    compared = [check_cluster(cluster) for cluster in committed_clusters()]
    found = cluster_errors(compared)
    before = {name: figures for name, figures in kept().items() if name in found}
    assert len(found) > 20
    assert not complaints(found, before)
    assert block(PLACES["live"].read_text(encoding="utf-8"), "live").strip() == live_text(compared).strip()
