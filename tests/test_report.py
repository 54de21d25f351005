"""What a run prints."""

from __future__ import annotations

import io
from typing import Any

import pytest

from plots.throughput import seen
from sunsim.records import ArmResult
from sunsim.report.compare import against
from sunsim.report.format import change, count, listed, milliseconds, number, percent
from sunsim.report.sentences import (
    limits,
    other_models,
    outside_measured,
    overload,
    preemptions,
    prefill,
    sentences,
    unfinished,
    verdicts,
)
from sunsim.report.summary import summary_report, tables
from sunsim.report.terminal import say
from tests.metrics.synthetic import table, toy_summary, toy_worker


def arm(name: str, *, workers: int, tpot_s: float, late_s: float = 0.0) -> ArmResult:
    """Eight requests of two models, one every second from 0 s on, 65 tokens each."""
    rows = []
    for i in range(8):
        worker = f"decode/{name}/{i % workers}"
        first = i + 0.25 + late_s * i
        rows.append(
            {
                "model": "m2" if i % 4 == 3 else "m1",
                "arrival_s": float(i),
                "output_tokens": 65,
                "prefill_worker": "prefill/shared/0",
                "decode_worker": worker,
                "prefill_start_s": float(i),
                "prefill_end_s": i + 0.125,
                "transfer_start_s": i + 0.125 + late_s * i,
                "transfer_end_s": i + 0.1875 + late_s * i,
                "decode_scheduled_s": i + 0.1875 + late_s * i,
                "decode_first_token_s": first,
                "first_token_s": first,
                "last_token_s": first + 64 * tpot_s,
            }
        )
    decode = [toy_worker(f"decode/{name}/{i}", "decode", max_num_seqs=4, steps=500) for i in range(workers)]
    return ArmResult(table(*rows, arm=name), [toy_worker("prefill/shared/0", "prefill", steps=8), *decode])


def summary() -> dict[str, Any]:
    """Two decode GPUs against one that is a little slower."""
    basis = {"measured": ["step times of h100"], "derived": [], "assumed": ["Poisson arrivals"]}
    return toy_summary(
        arm("isolated", workers=2, tpot_s=0.0078125),
        arm("sun-half", workers=1, tpot_s=0.015625),
        slo={"ttft_ms": 2000.0, "tpot_ms": 12.0},
        warmup_s=1.0,
        meta={"scenario": "toy", "basis": basis},
    )


def printed(content: dict[str, Any]) -> str:
    """What the command prints where it is no terminal."""
    text = io.StringIO()
    say(summary_report(content).blocks, text, "results/toy/")
    return text.getvalue()


GOLDEN = """\
toy: 8 requests, measured from 1.00 s to 7.00 s; SLO TTFT 2,000 ms, TPOT 12.0 ms; ratios are to the first arm

           all  decode      output     per GPU  per decode     goodput      SLO  busiest  busiest
arm       GPUs    GPUs       tok/s       tok/s   GPU tok/s       req/s      met   decode  prefill
────────  ────  ──────  ──────────  ──────────  ──────────  ──────────  ───────  ───────  ───────
isolated     3       2  65.0        21.7        32.5        1.00        100.0 %   0.28/4     12 %
sun-half     2       1  65.0 1.00x  32.5 1.50x  65.0 2.00x  0.00 0.00x    0.0 %   1.06/4     12 %

          TTFT mean  TTFT median   TTFT p99   TPOT mean  TPOT median    TPOT p99  interactivity
arm              ms           ms         ms          ms           ms          ms     tok/s/user
────────  ─────────  ───────────  ─────────  ──────────  ───────────  ──────────  ─────────────
isolated  250          250        250        7.81         7.81        7.81            128
sun-half  250 1.00x    250 1.00x  250 1.00x  15.6 2.00x   15.6 2.00x  15.6 2.00x     64.0 0.50x

             TPOT mean  TPOT median    TPOT p99  TTFT mean  TTFT median   TTFT p99
model               ms           ms          ms         ms           ms         ms
──────────  ──────────  ───────────  ──────────  ─────────  ───────────  ─────────
m1 (hot, 75 %)
  isolated  7.81         7.81        7.81        250          250        250
  sun-half  15.6 2.00x   15.6 2.00x  15.6 2.00x  250 1.00x    250 1.00x  250 1.00x
m2 (coldest, 25 %)
  isolated  7.81         7.81        7.81        250          250        250
  sun-half  15.6 2.00x   15.6 2.00x  15.6 2.00x  250 1.00x    250 1.00x  250 1.00x

- sun-half carries the same load as isolated with 2 GPUs instead of 3 (1.50x per GPU; decode has 1 instead of 2, 2.00x
  per decode GPU), mean TPOT 15.6 ms against 7.81 ms (+100 %) and p99 TPOT 15.6 ms against 7.81 ms (+100 %).
- No stage limits: the longest mean wait at any worker is 62.5 ms.
- No prefill worker is busy for more than 70 % of the window (busiest: prefill/shared/0 in isolated, 12 %).
- Every step is inside the measured range.
- Measured: step times of h100.
- Assumed: Poisson arrivals.
Files: results/toy/
"""


def test_the_whole_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert printed(summary()) == GOLDEN


def test_at_100_columns_no_line_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, printed(summary()).splitlines())) <= 100


def overloaded() -> dict[str, Any]:
    """The second arm's queue grows by half a second a request."""
    content = summary()
    content["arms"]["sun-half"]["overloaded"] = True
    content["arms"]["sun-half"]["models"]["m1"]["overloaded"] = True
    return content


def test_no_ratio_of_queueing_against_an_overloaded_arm() -> None:
    arms = overloaded()["arms"]
    base, entry = arms["isolated"], arms["sun-half"]
    assert against("mean_ttft_ms", entry, base) is None
    assert against("p99_e2el_ms", entry, base) is None
    assert against("request_goodput", entry, base) is None
    assert against("mean_ttft_ms", base, entry) is None
    assert against("mean_tpot_ms", entry, base) == 2.0
    assert against("output_throughput_per_decode_gpu", entry, base) == 2.0


def test_no_ratio_of_tpot_where_it_holds_an_overloaded_arms_wait_for_decode() -> None:
    content = overloaded()
    arms = content["arms"]
    base, entry = arms["isolated"], arms["sun-half"]
    base["decode_wait_in_tpot"] = True  # not overloaded: its own TPOT does not depend on the run's length
    assert against("mean_tpot_ms", entry, base) == 2.0
    entry["decode_wait_in_tpot"] = True
    for tag in ("mean_tpot_ms", "p99_tpot_ms", "median_interactivity"):
        assert against(tag, entry, base) is against(tag, base, entry) is None
    assert against("output_throughput_per_decode_gpu", entry, base) == 2.0
    assert "TPOT" not in verdicts(arms)[0]
    assert "how large TTFT, goodput and TPOT (prefill emits the first token) come out" in overload(arms)[0]


def test_models_without_requests_do_not_count_as_less_loaded() -> None:
    arms = overloaded()["arms"]
    models = arms["sun-half"]["models"]
    models["m3"] = models["m2"] | {"requests": 0}
    models["m2"]["overloaded"] = True
    assert overload(arms)[0].startswith("* Overloaded: sun-half. ")


def test_an_overloaded_arm_is_marked_and_explained() -> None:
    text = printed(overloaded())
    assert "sun-half*" in text
    assert "* Overloaded: sun-half (by m1)." in text


def test_an_arm_that_carries_less_says_so() -> None:
    content = summary()
    content["arms"]["sun-half"]["output_throughput_window"] /= 2
    assert verdicts(content["arms"])[0].startswith(
        "sun-half carries 0.50x the output of isolated with 2 GPUs instead of 3"
    )


def test_a_verdict_says_when_an_arm_carries_less_than_is_asked_of_it() -> None:
    arms = overloaded()["arms"]
    base = next(iter(arms.values()))

    assert ", less than is asked of it" in verdicts(arms)[0]
    base["overloaded"] = True
    assert ", both less than is asked of them" in verdicts(arms)[0]


def test_at_most_three_verdicts_of_the_arms_that_get_most_out_of_a_gpu() -> None:
    content = summary()
    base, other = content["arms"].values()
    rates = {"a": 10.0, "b": 40.0, "c": 30.0, "d": 20.0}
    arms = {"base": base} | {name: other | {"output_throughput_per_gpu": rate} for name, rate in rates.items()}
    assert [verdict.split()[0] for verdict in verdicts(arms)] == ["b", "c", "d"]


def test_one_arm_has_no_verdict() -> None:
    content = summary()
    del content["arms"]["sun-half"]
    assert verdicts(content["arms"]) == []
    assert printed(content).count("isolated") > 0
    assert "ratios" not in printed(content)


def test_a_colocated_arm_is_compared_by_all_gpus() -> None:
    content = summary()
    half = content["arms"]["sun-half"]
    half["workers"] = {name.replace("decode/", "colocated/"): worker for name, worker in half["workers"].items()}
    (verdict,) = verdicts(content["arms"])
    assert "with 2 GPUs instead of 3 (1.50x per GPU)" in verdict
    assert against("output_throughput_per_decode_gpu", half, content["arms"]["isolated"]) is None


@pytest.mark.parametrize(
    ("prefill", "decode", "of_base", "said"),
    [
        (3, 4, (3, 4), "with as many GPUs (7)"),
        (1, 2, (3, 4), "with 3 GPUs instead of 7 (2.33x per GPU; decode has 2 instead of 4, 2.00x per decode GPU)"),
        (5, 2, (3, 4), "with as many GPUs (7; decode has 2 instead of 4, 2.00x per decode GPU)"),
        (9, 4, (3, 4), "with 13 GPUs instead of 7 (0.54x per GPU; decode has 4 in both)"),
        (9, 1, (3, 4), "with 10 GPUs instead of 7 (0.70x per GPU; decode has 1 instead of 4, 4.00x per decode GPU)"),
        (0, 1, (0, 4), "with 1 GPU instead of 4 (4.00x per GPU)"),
        (0, 2, (3, 4), "with 2 GPUs for decode alone, against 7 GPUs that also prefill"),
        (3, 4, (0, 2), "with 7 GPUs that also prefill, against 2 GPUs for decode alone"),
        (3, 0, (3, 4), "without decode a request ends with its first token"),
    ],
)
def test_all_gpus_come_first_and_only_equal_work_is_compared(
    prefill: int, decode: int, of_base: tuple[int, int], said: str
) -> None:
    half, base = summary()["arms"]["sun-half"], summary()["arms"]["isolated"]
    (verdict,) = verdicts({"base": served_by(base, *of_base), "sun": served_by(half, prefill, decode)})
    assert said in verdict


def served_by(entry: dict[str, Any], prefill: int, decode: int) -> dict[str, Any]:
    """The entry of an arm with so many workers; its output stays."""
    rate = entry["output_throughput_window"]
    workers: dict[str, Any] = {f"prefill/shared/{i}": {} for i in range(prefill)} | {
        f"decode/shared/{i}": {} for i in range(decode)
    }
    figures = {
        "workers": workers,
        "decode_gpus": decode,
        "gpus": prefill + decode,
        "output_throughput_per_gpu": rate / (prefill + decode),
        "output_throughput_per_decode_gpu": rate / decode if decode else None,
    }
    return entry | figures


def test_the_picture_counts_the_gpus_that_the_verdict_counts() -> None:
    half, base = summary()["arms"]["sun-half"], summary()["arms"]["isolated"]
    arms = {"base": served_by(base, 8, 4), "sun": served_by(half, 13, 1)}
    assert "with 14 GPUs instead of 12 (0.86x per GPU; " in verdicts(arms)[0]
    assert seen(arms).startswith("sun carries 0.86x as much per GPU (all GPUs) as base, ")
    assert seen({"base": served_by(base, 0, 1), "sun": served_by(half, 1, 1)}).startswith("What each arm carries")


def test_arms_of_other_base_models_are_said_before_any_other_caveat() -> None:
    content = summary()
    assert other_models({"isolated": "llama-3.1-8b", "sun-half": "llama-3.1-8b"}) == []
    content["base_models"] = {"isolated": "llama-3.1-8b", "sun-half": "qwen3-8b"}
    said = sentences(content)
    assert said[len(verdicts(content["arms"]))].startswith(
        "The arms do not serve the same base model: llama-3.1-8b in isolated and qwen3-8b in sun-half; "
    )


def test_what_is_not_known_of_unfinished_requests_is_not_called_estimated() -> None:
    arms = summary()["arms"]
    for entry in arms.values():
        entry |= {"unfinished": 3, "output_throughput_window": None}
    assert "estimated" not in unfinished(arms)[0]
    assert "what they had emitted in isolated and sun-half is not known" in unfinished(arms)[0]
    half = served_by(summary()["arms"]["sun-half"] | {"unfinished": 3}, 1, 0)
    assert unfinished({"front": half}) == [
        "Unfinished at the stop: front 3; they are in no figure of TTFT, TPOT or E2EL."
    ]


def test_an_arm_that_nothing_limits_is_not_limited_by_none() -> None:
    arms = summary()["arms"]
    arms["isolated"]["limiting"] = {"stage": "decode", "worker": "decode/m1/0", "mean_wait_ms": 500.0}
    assert limits(arms) == ("Limited by: decode (decode/m1/0, mean wait 500 ms) in isolated; nothing in sun-half.")


def test_goodput_is_not_spoken_of_without_an_slo() -> None:
    arms = overloaded()["arms"]
    for entry in arms.values():
        entry["request_goodput"] = None
    assert overload(arms)[0].endswith("decides how large TTFT comes out: no ratios are given.")


def test_busy_prefill_is_named() -> None:
    arms = summary()["arms"]
    head = {"hottest_worker": "prefill/m1/0", "utilisation": 0.93, "above_70_percent": ["prefill/m1/0"]}
    arms["isolated"]["prefill_headroom"] = head
    assert "prefill/m1/0 in isolated (busiest: prefill/m1/0 in isolated, 93 %)" in prefill(arms)[0]


def test_limits_outside_steps_and_unfinished_are_said_once_for_all_arms_alike() -> None:
    arms = summary()["arms"]
    for entry in arms.values():
        entry["limiting"] = {"stage": "decode", "worker": "decode/shared/0", "mean_wait_ms": 12_345.0}
        entry["outside_measured"] = {"decode": {"context": 1}}
        entry["outside_measured_share"] = {"decode": 0.002}
        entry["unfinished"] = 3
    assert limits(arms) == "Limited by: decode (decode/shared/0, mean wait 12.3 s) in isolated and sun-half."
    assert (
        outside_measured(arms)
        == "Outside the measured range: 0.2 % of decode steps (context of the batch not measured) in isolated and sun-half."
    )
    assert unfinished(arms) == [
        (
            "Unfinished at the stop: isolated 3 and sun-half 3; they are in no figure of TTFT, TPOT or E2EL; what they had "
            "emitted is estimated, at the finished ones' median TPOT."
        )
    ]


def test_preemptions_are_told() -> None:
    arms = summary()["arms"]
    assert preemptions(arms) == []
    arms["sun-half"]["preemptions"] = 1200
    assert preemptions(arms) == [
        (
            "Preemptions for want of KV blocks: sun-half 1,200; KV occupancy is not given of workers that preempted or "
            "prefilled again."
        )
    ]


def test_an_arm_without_decode_prints_dashes() -> None:
    rows = table(
        *(
            {
                "prefill_worker": "prefill/shared/0",
                "arrival_s": float(i),
                "prefill_start_s": float(i),
                "prefill_end_s": i + 0.5,
                "first_token_s": i + 0.5,
                "last_token_s": i + 0.5,
            }
            for i in range(4)
        )
    )
    content = toy_summary(ArmResult(rows, [toy_worker("prefill/shared/0", "prefill")]))
    assert "no SLO" in printed(content)
    assert sentences(content)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00"),
        (7.414, "7.41"),
        (9.999, "10.0"),
        (13.94, "13.9"),
        (99.96, "100"),
        (29_599.4, "29,599"),
    ],
)
def test_numbers_have_about_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "-"), (0.0, "0.0 %"), (1.0, "100.0 %"), (0.9999, ">99.9 %"), (0.0001, "<0.1 %"), (0.5, "50.0 %")],
)
def test_percentages_keep_the_difference_to_all_and_nothing(share: float | None, text: str) -> None:
    assert percent(share, 1) == text


def test_small_words() -> None:
    assert count(None) == "-"
    assert count(7200.0) == "7,200"
    assert (change(109, 100), change(91, 100), change(99.9, 100)) == ("+9 %", "-9 %", "+0 %")
    assert (milliseconds(None), milliseconds(153.0), milliseconds(29_500.0)) == ("-", "153 ms", "29.5 s")
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")


def test_small_rates_keep_their_digits() -> None:
    content = summary()
    for entry in content["arms"].values():
        entry["output_throughput_window"], entry["output_throughput_per_gpu"] = 3.4, 1.7
    throughput = tables(content)[0]
    assert all("3.40" in " ".join(row) and "1.70" in " ".join(row) for row in throughput.rows)
