"""What a run with elastic pools prints, keeps and reads again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plots.throughput import _workers
from sunsim.compare.tables import FIGURES
from sunsim.errors import InputError
from sunsim.metrics.admission import add_shed
from sunsim.metrics.converted import add_converted
from sunsim.metrics.pools import add_pools
from sunsim.records import SIZE_COLUMNS, ArmResult
from sunsim.report.columns import written
from sunsim.report.elastic import changes, converted, pools_table, shed
from sunsim.report.sentences import sentences, verdict
from sunsim.report.summary import summary_report, tables
from sunsim.report.terminal import plain
from sunsim.result import POOLS, Result, read
from tests.metrics.synthetic import sizes, table, toy_summary, toy_worker
from tests.printed import WIDTHS, printed_cells

HALF = sizes((0, 1, 0, 0, 0), (1000, 1, 1, 0, 0), (1100, 2, 0, 0, 0), (1900, 1, 0, 1, 0), (2000, 1, 0, 0, 0))
"""From 0 to 3600 s: 1,000 of these seconds two workers of four GPUs, else one: 4600 s x 4 GPUs."""


def arm(name: str, frame: pd.DataFrame | None = None, *, late: int = 0, prefill: int = 1) -> ArmResult:
    """A request a minute for an hour; the first token of the first `late` takes ten seconds, of the others one."""
    rows = []
    for i in range(61):
        waits = 10.0 if i < late else 1.0
        first = 60.0 * i + waits
        stamps = {"decode_scheduled_s": first - 0.5, "first_token_s": first, "decode_first_token_s": first}
        rows.append({"arrival_s": 60.0 * i, "decode_worker": "decode/shared/0", "output_tokens": 65, **stamps})
        rows[-1] |= {"last_token_s": first + 0.64, "prefill_worker": "prefill/shared/0"}
        rows[-1] |= {"prefill_start_s": first - 1, "prefill_end_s": first - 0.75, "transfer_start_s": first - 0.75}
        rows[-1] |= {"transfer_end_s": first - 0.625}
    workers = [toy_worker(f"decode/shared/{i}", "decode", gpus=4, steps=9) for i in range(2)]
    before = [toy_worker(f"prefill/shared/{i}", "prefill", steps=9) for i in range(prefill)]
    return ArmResult(table(*rows, arm=name), [*before, *workers], frame)


def summary_of(*arms: ArmResult, **options: Any) -> dict[str, Any]:
    """Limits of 2 s to the first token; the worst half hour."""
    summary = toy_summary(*arms, slo={"ttft_ms": 2000.0}, worst_window_s=1800.0, **options)
    add_pools(summary, arms)
    return summary


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """A fixed arm, and one with half a pool for most of the time that misses the first ten."""
    return summary_of(arm("fixed"), arm("elastic", HALF, late=10))


def test_gpu_hours_stand_first_for_every_arm(summary: dict[str, Any]) -> None:
    throughput = tables(summary)[0]
    assert [" ".join(header.split()) for header in throughput.headers[:4]] == [
        "arm",
        "GPU- hours",
        "mean GPUs",
        "most GPUs",
    ]
    cells = [[cell.split() for cell in row[:4]] for row in throughput.rows]
    # Nine GPUs for an hour; one for prefill and 4600 x 4 / 3600 for decode.
    assert cells == [[["fixed"], ["9.00"], ["9.00"], ["9"]], [["elastic"], ["6.11", "0.68x"], ["6.11"], ["9"]]]


def test_what_pools_did(summary: dict[str, Any]) -> None:
    """100 s of starting and 100 s of draining, of four GPUs each, in 6.11 GPU-hours."""
    unused = "GPU time paid for while workers start, drain or are in reserve: 3.6 % in elastic."
    assert changes(summary["arms"]) == [unused]
    (heading, pool) = pools_table(summary["arms"]).rows
    assert heading == ("elastic",)
    cells = [cell.strip() for cell in pool]
    assert cells[:9] == ["decode", "5.11", "5.11", "8", "2.2 %", "2.2 %", "0.0 %", "1", "1"]


def test_waits_for_starting_workers_are_said_and_pools_that_keep_their_size() -> None:
    """Of 61 requests the one of 1020 s, whose prefill ends at 1020.25 s, waits 60 s for decode."""
    slow = arm("elastic", HALF)
    rows = slow.rows.copy()
    rows.loc[17, ["transfer_start_s", "decode_scheduled_s"]] = 1080.25
    found = summary_of(replace(slow, rows=rows), arm("still", HALF.head(1)), arm("too", HALF.head(1)))
    still, _, waits = changes(found["arms"])
    assert still == "Elastic, but never of another size: decode in still and too."
    assert waits == "Mean wait of the requests while a worker was starting: 984 ms for decode in elastic."


def test_pools_of_few_models_are_shown_and_of_many_their_stages_alone() -> None:
    def of_models(number: int) -> list[str]:
        models = [f"m{i + 1}" for i in range(number)]
        frames = pd.concat([HALF.assign(model=model) for model in models])
        workers = [toy_worker(f"decode/{model}/{i}", "decode", model) for model in models for i in range(2)]
        rows = arm("a").rows.assign(decode_worker="decode/m1/0", model="m1", prefill_worker=None)
        return [row[0].strip() for row in pools_table(summary_of(ArmResult(rows, workers, frames))["arms"]).rows]

    assert of_models(3) == ["a", "decode", "decode/m1", "decode/m2", "decode/m3"]
    assert of_models(40) == ["a", "decode"]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_cell_is_cut(width: int | None, summary: dict[str, Any]) -> None:
    cells = printed_cells(plain(summary_report(summary).blocks, width or 1000))
    assert cells["", "elastic", "GPU- hours"].split() == ["6.11", "0.68x"]
    assert cells["elastic", "decode", "most GPUs"] == "8"


def test_what_was_refused_is_said() -> None:
    fixed = arm("fixed")
    outcome = fixed.rows["outcome"].where(fixed.rows.index % 2 == 0, "shed")
    arms = [fixed, arm("sheds")]
    arms[1] = replace(arms[1], rows=arms[1].rows.assign(outcome=outcome))
    found = toy_summary(*arms, slo={"ttft_ms": 2000.0})
    add_shed(found, arms)
    assert shed(found["arms"]) == [
        "Refused by admission: 30 (49.2 %) in sheds; they count as missed, and are in no figure of goodput, TTFT, TPOT or E2EL."
    ]
    assert tables(found)[0].headers.count("shed") == 1
    assert shed(toy_summary(fixed)["arms"]) == []


def test_converted_requests_and_their_pace_are_said() -> None:
    """Of 61 requests with 10 ms a token, a decode worker takes the first ten whole: four with 20 ms, and six with 40 ms."""
    rows = arm("a").rows
    rows.loc[:9, ["prefill_worker"]] = None
    rows.loc[:9, "last_token_s"] = rows.loc[:9, "first_token_s"] + 1.28
    rows.loc[:5, "output_tokens"] = 33
    made = replace(arm("a"), rows=rows)
    for limits, said in (
        ({"tpot_ms": 30.0}, "; 60.0 % of them miss the TPOT limit, 0.0 % of the others."),
        ({"tpot_ms": 15.0}, "; 100.0 % of them miss the TPOT limit, 0.0 % of the others."),
        ({"ttft_ms": 30.0}, "."),
    ):
        found = toy_summary(made, slo=limits)
        add_converted(found, made)
        expected = f"Taken as a whole by a decode worker in a: 10 requests, TPOT p99 40.0 ms{said}"
        assert converted(found["arms"]) == [expected]
        assert expected in sentences(found)
    none = toy_summary(arm("a"))
    assert converted(none["arms"]) == []
    add_converted(none, arm("a"))
    assert converted(none["arms"]) == ["No request was taken as a whole by a decode worker in a."]


def test_other_verbs_write_means_of_gpus_as_they_are(summary: dict[str, Any]) -> None:
    fixed, elastic = summary["arms"].values()
    assert written("gpus", elastic["gpus"]) == "6.11"
    assert written("gpus", fixed["gpus"]) == "9"
    assert _workers(elastic) == "1P5.11D"
    assert {"gpu_hours", "peak_gpus", "shed"} <= {column.tag for column in FIGURES}
    assert " with 6.11 GPUs in the mean, 9 at most instead of 9 GPUs (1.47x per GPU)" in verdict(
        "b", elastic, "a", fixed
    )


def result(*arms: ArmResult) -> Result:
    """As a simulation gives it."""
    made = summary_of(*arms) | {"sunsim_version": "0", "profiles": {}, "seed": 1}
    names = [str(each.rows["arm"].iloc[0]) for each in arms]
    found = {name: each.sizes for name, each in zip(names, arms, strict=True) if each.sizes is not None}
    return Result({name: each.rows for name, each in zip(names, arms, strict=True)}, made, "name: toy\n", found)


def test_sizes_are_kept_and_read_again(tmp_path: Path) -> None:
    made = result(arm("fixed"), arm("elastic", HALF))
    assert POOLS in made.save(tmp_path / "one")
    again = read(tmp_path / "one")
    pd.testing.assert_frame_equal(again.pools, made.pools)
    assert list(made.pools.columns) == ["arm", *(column.name for column in SIZE_COLUMNS)]
    assert made.pools["ready"].tolist() == HALF["ready"].tolist()
    assert set(made.pools["arm"]) == {"elastic"}
    assert again.table()["GPU-hours"].round(2).tolist() == [9.0, 6.11]
    again.save(tmp_path / "two")
    assert (tmp_path / "two" / POOLS).read_bytes() == (tmp_path / "one" / POOLS).read_bytes()


def test_fixed_pools_alone_leave_no_file(tmp_path: Path) -> None:
    made = result(arm("fixed"))
    assert POOLS not in made.save(tmp_path / "out")
    again = read(tmp_path / "out")
    assert (len(again.pools), list(again.pools.columns)) == (0, list(made.pools.columns))


@pytest.mark.parametrize("kept", [True, False])
def test_a_folder_that_lacks_its_sizes_is_refused(tmp_path: Path, *, kept: bool) -> None:
    result(arm("elastic", HALF)).save(tmp_path / "out")
    (tmp_path / "out" / POOLS).unlink()
    if not kept:
        (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(InputError, match="is damaged" if kept else "cannot be read"):
        read(tmp_path / "out")
