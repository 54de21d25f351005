"""What a run prints and keeps of drafted tokens; and that it says nothing of them where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sunsim.cluster.drafted import Drafted, draft_columns
from sunsim.cluster.sequence import KV, Sequence
from sunsim.metrics.drafts import add_drafts
from sunsim.records import DRAFT_COLUMNS, ArmResult
from sunsim.report.drafts import drafts
from sunsim.report.html import to_html
from sunsim.report.markdown import to_markdown
from sunsim.report.summary import summary_report
from sunsim.report.terminal import plain
from sunsim.result import Result, read
from tests.metrics.synthetic import drafted, table, toy_summary, toy_worker

TOKENS = 61


def arm(name: str, gap_s: float, accepted: int = 0, drafts: int = 0) -> ArmResult:
    """Four requests a second apart; each with so many steps with three drafts, or none, of which so many are accepted."""
    bursts = drafts + 1 if drafts else TOKENS
    rows = [
        {
            "arrival_s": float(i),
            "first_token_s": i + 0.25,
            "decode_scheduled_s": float(i),
            "decode_first_token_s": i + 0.25,
            "last_token_s": i + 0.25 + gap_s * (bursts - 1),
            "output_tokens": TOKENS,
            "bursts": bursts,
            "drafts": drafts,
            "draft_tokens": 3 * drafts,
            "accepted_tokens": accepted,
        }
        for i in range(4)
    ]
    counted: dict[str, Any] = {"num_drafts": 4 * drafts, "num_draft_tokens": 12 * drafts}
    by_position = (2 * accepted, accepted, accepted) if drafts else ()
    worker = toy_worker("d", "decode", steps=500, **counted, num_accepted_tokens_per_pos=by_position)
    return ArmResult(drafted(*rows, arm=name), [worker])


def summary_of(*arms: ArmResult) -> dict[str, Any]:
    summary = toy_summary(*arms, meta={"scenario": "toy", "seed": 1})
    add_drafts(summary, arms)
    return summary


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """Steps that take a quarter longer and give 2.5 tokens."""
    made = summary_of(arm("sun", 0.008), arm("sun-mtp", 0.01, accepted=36, drafts=24))
    made["arms"]["sun-mtp"]["without_drafts"] = "sun"
    return made


DRAFTS = """\
Drafts
         acceptance                    by    ITL mean        request     request
arm      length tok  accepted    position          ms  ITL median ms  ITL p99 ms
───────  ──────────  ────────  ──────────  ──────────  ─────────────  ──────────
sun               -         -           -  8.00           8.00        8.00
sun-mtp        2.50    50.0 %  75/38/38 %  10.0 1.25x     10.0 1.25x  10.0 1.25x
"""


def test_a_table_and_a_sentence(summary: dict[str, Any]) -> None:
    printed = plain(summary_report(summary).blocks, 120)
    assert DRAFTS in printed
    (said,) = drafts(summary["arms"])
    assert said == (
        "sun-mtp: a step with drafts gives a request 2.50 tokens (50 % of what is drafted is accepted); against sun, the same "
        "without drafts, mean TPOT is 0.50x and output is 1.00x."
    )
    assert f"- {said[:60]}" in printed
    for text in (to_markdown(summary_report(summary)), to_html(summary_report(summary))):
        assert "acceptance" in text


def test_an_arm_that_has_no_like_is_compared_with_none() -> None:
    (said,) = drafts(summary_of(arm("mtp", 0.01, accepted=36, drafts=24))["arms"])
    assert said.endswith("; no arm is the same without drafts.")


def test_more_drafts_than_measured_are_said_with_what_they_change(summary: dict[str, Any]) -> None:
    entry = summary["arms"]["sun-mtp"]
    beyond = {"outside_measured": {"decode": {"batch": 10, "drafts": 490}}, "outside_measured_share": {"decode": 1.0}}
    (said,) = drafts({**summary["arms"], "sun-mtp": entry | beyond})
    assert said.endswith(
        "mean TPOT is 0.50x and output is 1.00x; these speeds are extrapolated: outside the measured range are 100.0 % of "
        "decode steps (batch size not measured and more drafts than measured)."
    )
    as_without = {"outside_measured": {"decode": {"batch": 10}}, "outside_measured_share": {"decode": 0.02}}
    assert drafts({**summary["arms"], "sun-mtp": entry | as_without}) == drafts(summary["arms"])


def test_without_drafts_nothing_is_said() -> None:
    rows = table({"decode_worker": "d", "arrival_s": 0.0, "first_token_s": 1.0, "last_token_s": 2.0})
    found = toy_summary(ArmResult(rows, [toy_worker("d", "decode", steps=1)]))
    assert drafts(found["arms"]) == []
    assert "draft" not in plain(summary_report(found).blocks, 120).lower()


def test_the_columns_of_drafts_are_kept_and_read_again(tmp_path: Path, summary: dict[str, Any]) -> None:
    rows = {"sun": arm("sun", 0.008).rows, "sun-mtp": arm("sun-mtp", 0.01, accepted=36, drafts=24).rows}
    made = Result(rows, summary | {"sunsim_version": "0", "profiles": {}}, "name: toy\n")
    made.save(tmp_path / "toy")
    again = read(tmp_path / "toy")
    pd.testing.assert_frame_equal(again.requests, made.requests)
    assert list(again.requests)[-len(DRAFT_COLUMNS) :] == [column.name for column in DRAFT_COLUMNS]
    assert made.table()["ITL mean (ms)"].tolist() == pytest.approx([8.0, 10.0])


def test_a_burst_of_prefill_counts_and_what_has_not_finished_has_none() -> None:
    """Prefill emits the first of three requests' tokens: of 10, 1 and 10."""
    rows = table({"output_tokens": 10}, {"output_tokens": 1}, {"output_tokens": 10, "outcome": "unfinished"})
    counts = Drafted(3)
    for request, bursts in ((0, 4), (2, 2)):
        sequence = Sequence(request, 0, 100, 9, KV.GIVEN)
        sequence.bursts, sequence.drafts, sequence.draft_tokens, sequence.accepted_tokens = bursts, bursts - 1, 6, 5
        counts.note(sequence)
    emitted = np.ones(3, np.int32)
    found = draft_columns(counts, rows, slice(None), emitted)
    assert found["bursts"].tolist() == [5, 1, 0]
    assert found["drafts"].tolist() == [3, 0, 1]
    assert found["accepted_tokens"].tolist() == [5, 0, 5]
    without = draft_columns(None, rows, slice(None), emitted)
    assert without["bursts"].tolist() == [10, 1, 0]
    assert without[["drafts", "draft_tokens", "accepted_tokens"]].to_numpy().sum() == 0
    assert {str(kind) for kind in (*found.dtypes, *without.dtypes)} == {"int64"}


def test_without_decode_a_request_is_one_burst() -> None:
    rows = table({"output_tokens": 10}, {"output_tokens": 1})
    assert draft_columns(None, rows, slice(None), np.array([10, 1], np.int32))["bursts"].tolist() == [1, 1]
