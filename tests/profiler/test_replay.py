"""Streams and their results without an engine: what is read, planned, written, kept and refused."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from profiler import run_file
from profiler.cli import app
from profiler.profile_file import OtherSetupError
from profiler.recording import RequestStamps, Step
from profiler.replay import ReplayOrder, by_own_id, fits, limit_tokens, measure_budget_s, with_rates
from profiler.settings import EngineSettings, SpeculativeSettings
from profiler.streams import Role, Stream, StreamError, read_stream, read_streams, split_argument

HEADER = "arrival_s,prompt_tokens,output_tokens"


def stream_of(tmp_path: Path, *lines: str, header: str = HEADER, role: Role = "decode") -> Stream:
    path = tmp_path / "s.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return read_stream(path, role, limit_tokens=16384)


def test_other_columns_are_carried_with_their_types(tmp_path: Path) -> None:
    header = "request_id,arrival_s,prompt_tokens,output_tokens,model,weight,turn"
    stream = stream_of(tmp_path, "r1,0.5,10,2,m1,0.5,1", "r2,0.5,11,3,m2,2,2", header=header)

    assert (stream.name, stream.role, len(stream)) == ("s", "decode", 2)
    assert stream.arrival_s == [0.5, 0.5]
    assert (stream.prompt_tokens, stream.output_tokens) == ([10, 11], [2, 3])
    assert stream.carried == {"request_id": ["r1", "r2"], "model": ["m1", "m2"], "weight": [0.5, 2.0], "turn": [1, 2]}


def test_blank_lines_at_the_end_are_no_requests(tmp_path: Path) -> None:
    assert len(stream_of(tmp_path, "0,1,1", "", "")) == 1


def test_requests_without_ids_are_numbered(tmp_path: Path) -> None:
    assert stream_of(tmp_path, "0,1,1", "1,1,1").carried == {"request_id": [0, 1]}


def test_a_prefill_worker_emits_one_token(tmp_path: Path) -> None:
    assert stream_of(tmp_path, "0,10,700", "1,16383,9000", role="prefill").output_tokens == [1, 1]


def test_role_and_rates_may_stand_behind_the_path() -> None:
    assert split_argument("a/b.csv:prefill", "decode") == (Path("a/b.csv"), "prefill", None)
    assert split_argument("a/b.csv", "colocated") == (Path("a/b.csv"), "colocated", None)
    assert split_argument("a:b.csv", "decode") == (Path("a:b.csv"), "decode", None)
    both = (Path("a.csv"), "colocated", (0.75, 0.5))
    assert split_argument("a.csv:colocated:rates=0.75/0.5", "decode") == both
    assert split_argument("a.csv:rates=0.75/0.5:colocated", "decode") == both
    assert split_argument("a.csv:rates=1", "decode") == (Path("a.csv"), "decode", (1.0,))
    with pytest.raises(StreamError, match=r"a.csv: acceptance rates are 0.75, x, must be numbers such as 0.75, 0.55"):
        split_argument("a.csv:rates=0.75/x", "decode")


DRAFTS = SpeculativeSettings("eagle", 2)


def test_streams_without_rates_get_those_of_the_command(tmp_path: Path) -> None:
    plain = stream_of(tmp_path, "0,1,1")
    own = replace(plain, acceptance_rates=(0.5, 0.25))
    found = with_rates([plain, own], (0.75, 0.5), DRAFTS)
    assert [stream.acceptance_rates for stream in found] == [(0.75, 0.5), (0.5, 0.25)]
    assert with_rates([plain], None, None) == [plain]


@pytest.mark.parametrize(
    ("rates", "drafts", "fault"),
    [
        ((0.75, 0.5), None, "s: has acceptance rates, must be with --speculative"),
        (None, DRAFTS, "s: has no acceptance rates, must have 2: --synthetic-acceptance-rates"),
        ((0.75,), DRAFTS, "s: acceptance rates are 0.75, must be 2 from 0 to 1 that do not rise"),
        ((0.5, 0.75), DRAFTS, "s: acceptance rates are 0.5, 0.75, must be 2 from 0 to 1 that do not rise"),
        ((1.5, 0.5), DRAFTS, "s: acceptance rates are 1.5, 0.5, must be 2 from 0 to 1 that do not rise"),
        ((0.5, -0.1), DRAFTS, "s: acceptance rates are 0.5, -0.1, must be 2 from 0 to 1 that do not rise"),
        ((float("nan"), 0.1), DRAFTS, "s: acceptance rates are nan, 0.1, must be 2 from 0 to 1 that do not rise"),
    ],
)
def test_rates_that_the_engine_would_not_take_are_refused(
    tmp_path: Path, rates: tuple[float, ...] | None, drafts: SpeculativeSettings | None, fault: str
) -> None:
    with pytest.raises(StreamError, match=f"^{fault}$"):
        with_rates([stream_of(tmp_path, "0,1,1")], rates, drafts)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--synthetic-acceptance-rates", "0.5,half"], "--synthetic-acceptance-rates: acceptance rates are 0.5, half"),
        (["--synthetic-acceptance-rates", "0.5"], "s: has acceptance rates, must be with --speculative"),
        (["--speculative", "eagle", "--num-speculative-tokens", "2"], "s: has no acceptance rates, must have 2"),
    ],
)
def test_bad_rates_end_the_command_before_any_engine(tmp_path: Path, options: list[str], fault: str) -> None:
    stream_of(tmp_path, "0,1,1")
    command = ["replay", str(tmp_path / "s.csv"), "--model", "llama-3.1-8b", "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert fault in result.stderr


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([HEADER, "0,5,1", "x,5,1"], "s.csv:3: arrival_s is 'x', must be a number of seconds from 0"),
        ([HEADER, "nan,5,1"], "s.csv:2: arrival_s is 'nan', must be"),
        ([HEADER, "1,5,1", "0.5,5,1"], "s.csv:3: arrival_s is 0.5 after 1 in the line before, must not fall"),
        ([HEADER, "0,0,1"], "s.csv:2: prompt_tokens is '0', must be a whole number of at least 1"),
        ([HEADER, "0,5,1.5"], "s.csv:2: output_tokens is '1.5', must be"),
        ([HEADER, "0,5"], "s.csv:2: the line has 1 values too few"),
        ([HEADER, "0,16000,385"], "s.csv:2: prompt and output are 16385 tokens, must be at most 16384"),
        ([HEADER, "0,5,1", '1,"5,1', "2,5,1"], "s.csv:3: the line is no csv (unexpected end of data)"),
        ([HEADER, f"0,5,{'9' * 200_000}"], f"s.csv:2: output_tokens is '{'9' * 80}...', must be"),
        ([HEADER], "s.csv: has no request"),
        (["arrival_s,prompt_tokens", "0,5"], "s.csv:1: column output_tokens is missing"),
        ([f"{HEADER},submit_s", "0,5,1,0"], "s.csv:1: column 'submit_s' is one that replay writes"),
        ([f"{HEADER},model,model", "0,5,1,a,a"], "s.csv:1: column 'model' is there twice"),
    ],
)
def test_a_bad_csv_ends_the_command_before_any_engine(tmp_path: Path, lines: list[str], fault: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text("\n".join(lines) + "\n")
    command = ["replay", str(path), "--model", "llama-3.1-8b", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 2
    assert fault in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_streams_need_names_of_their_own(tmp_path: Path) -> None:
    stream_of(tmp_path, "0,1,1")
    path = str(tmp_path / "s.csv")
    with pytest.raises(StreamError, match="a stream named s is there already"):
        read_streams([path, f"{path}:prefill"], "decode", limit_tokens=100)


def test_a_cache_too_small_for_one_request_is_refused() -> None:
    assert limit_tokens(EngineSettings(num_gpu_blocks_override=1025)) == 16384
    with pytest.raises(StreamError, match="is 1024, must be at least 1025"):
        limit_tokens(EngineSettings(num_gpu_blocks_override=1024))


def test_a_stream_lasts_until_its_queue_is_drained(tmp_path: Path) -> None:
    # One request of 50 tokens at 12 ms; then 100,000 tokens at 12,000 a second, the last of them 1,000 tokens long.
    assert stream_of(tmp_path, "10,5,50").expected_s() == pytest.approx(10 + 50 / 12_000 + 0.6)
    assert stream_of(tmp_path, *["0,5,1000"] * 100).expected_s() == pytest.approx(100_000 / 12_000 + 12)
    assert stream_of(tmp_path, *["0,4000,9"] * 100, role="prefill").expected_s() == pytest.approx(10.012)
    assert stream_of(tmp_path, *["0,4000,1000"] * 100, role="colocated").expected_s() == pytest.approx(
        10 + 100_000 / 12_000 + 12
    )


def test_no_stream_starts_that_would_end_after_the_budget(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "10,5,50")
    assert fits(stream, 0.0, None)
    assert fits(stream, 80.0, 95.0)
    assert not fits(stream, 84.0, 95.0)

    order = ReplayOrder(model="m", variant="bf16", streams=[stream], out=tmp_path, budget_s=100.0)
    limit_s = measure_budget_s(order, [stream])
    assert limit_s is not None
    assert fits(stream, limit_s + 15.0, 100.0)
    assert measure_budget_s(replace(order, budget_s=None), [stream]) is None


def stamps_of(identifier: str, submit_s: float, first_s: float, last_s: float) -> RequestStamps:
    """Queued 1 ms after submission, scheduled 1 ms later; the client sees each token 2 ms late."""
    return RequestStamps(
        identifier,
        "decode",
        10,
        3,
        submit_s,
        first_token_s=first_s + 0.002,
        last_token_s=last_s + 0.002,
        queued_s=submit_s + 0.001,
        scheduled_s=submit_s + 0.002,
        engine_first_token_s=first_s,
        engine_last_token_s=last_s,
    )


def step(end_s: float, step_s: float, *, chunks: tuple[tuple[int, int], ...] = (), decodes: int = 1) -> Step:
    return Step(
        scheduled_s=end_s - step_s,
        schedule_s=1e-4,
        end_s=end_s,
        step_s=step_s,
        idle_start=False,
        requests=decodes + len(chunks),
        tokens=decodes + sum(n for n, _ in chunks),
        decode_requests=decodes,
        context_tokens=100 * decodes,
        joined=(),
        chunks=chunks,
        finished=0,
        running=decodes,
        waiting=0,
        preempted=0,
        free_blocks=70,
    )


FACTS: dict[str, Any] = {
    "schema_version": 1,
    "stream": "s",
    "csv_sha256": "abc",
    "role": "decode",
    "card": "H100",
    "model": "m",
    "engine_args": {"max_num_seqs": 256},
    "engine_start": "e1",
}


def test_rows_are_in_seconds_after_the_start(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "0,10,3,a", "1,10,3,b", header=f"{HEADER},model")
    stamps = [stamps_of("decode-7", 1000.004, 1000.5, 1000.7), stamps_of("decode-8", 1001.0, 1001.5, 1001.9)]
    columns = run_file.request_columns(stream, stamps, 1000.0, {"decode-8": 2})

    assert columns["submit_s"] == [0.004, 1.0]
    assert columns["queued_s"] == [0.005, 1.001]
    assert columns["first_token_s"] == [0.5, 1.5]
    assert columns["client_last_token_s"] == [0.702, 1.902]
    assert columns["preemptions"] == [0, 2]
    assert columns["model"] == ["a", "b"]

    summary = run_file.summary(columns, [step(1000.7, 0.6), step(1001.9, 0.8)])
    assert summary["mean_tpot_ms"] == pytest.approx(150.0)
    assert summary["submit_lag_ms"]["max"] == pytest.approx(4.0)
    # With a request from 5 ms to 0.7 s and from 1.001 to 1.9 s, in steps for 1.4 s of it.
    assert summary["busy_s"] == pytest.approx(0.695 + 0.899)
    assert summary["idle_share"] == pytest.approx(1 - 1.4 / 1.594, abs=1e-6)


def test_preemptions_go_by_the_ids_we_gave() -> None:
    assert by_own_id(Counter({"decode-7-1a2b3c4d": 2})) == {"decode-7": 2}


def test_files_hold_rows_steps_and_where_they_are_from(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "0,10,3")
    columns = run_file.request_columns(stream, [stamps_of("decode-0", 5.0, 5.5, 5.7)], 5.0, {})
    steps = [step(5.5, 0.4, chunks=((3, 10),)), step(5.7, 0.2)]
    out = tmp_path / "out"
    run_file.write(out, "s", columns, run_file.step_columns(steps, 5.0), FACTS)

    assert sorted(path.name for path in out.iterdir()) == ["s.parquet", "s.steps.parquet"]
    assert pd.read_parquet(out / "s.parquet")["last_token_s"].tolist() == [0.7]
    written = pd.read_parquet(out / "s.steps.parquet")
    assert written["chunk_tokens"].tolist() == [3, 0]
    assert written["chunk_attended_pairs"].tolist() == [36, 0]
    assert written["end_s"].dtype == "float32"
    assert json.loads(pq.read_schema(out / "s.parquet").metadata[b"sunsim"]) == FACTS


def test_steps_with_drafts_say_who_had_none_and_what_was_accepted() -> None:
    drafting = replace(
        # Two with three drafts each, one that comes in with its KV there, and a piece of a prompt.
        step(1.0, 0.1, chunks=((1, 200), (16, 32)), decodes=2),
        tokens=2 * 4 + 1 + 16,
        num_drafts=2,
        num_draft_tokens=6,
        num_accepted_tokens_per_pos=(2, 1, 0),
    )
    ghost = replace(step(1.1, 0.1, decodes=1), tokens=4)
    columns = run_file.step_columns([drafting, ghost], 0.0, drafts=True)

    assert {name: columns[name].tolist() for name in ("requests", "decode_requests", "draft_tokens")} == {
        "requests": [4, 1],
        "decode_requests": [2, 1],
        "draft_tokens": [6, 3],
    }
    assert columns["chunk_tokens"].tolist() == [16, 0]
    assert columns["chunk_attended_pairs"].tolist() == [16 * 32 + 16 * 17 // 2, 0]
    assert columns["entering_requests"].tolist() == [1, 0]
    assert columns["entering_context_tokens"].tolist() == [201, 0]
    assert columns["accepted_tokens"].tolist() == [3, 0]
    assert run_file.draft_counts([drafting, ghost]) == {
        "num_drafts": 2,
        "num_draft_tokens": 6,
        "num_accepted_tokens": 3,
        "num_accepted_tokens_per_pos": [2, 1, 0],
        "mean_acceptance_length": 2.5,
    }


def test_a_finished_stream_is_kept_and_another_set_up_refused(tmp_path: Path) -> None:
    assert not run_file.is_kept(tmp_path, "s", FACTS)
    run_file.write(tmp_path, "s", {"arrival_s": [0.0]}, {"end_s": [0.0]}, FACTS)

    assert run_file.is_kept(tmp_path, "s", FACTS | {"engine_start": "e2"})
    with pytest.raises(OtherSetupError, match=r"replayed with csv_sha256 'abc', this is 'xyz'; give another --out"):
        run_file.is_kept(tmp_path, "s", FACTS | {"csv_sha256": "xyz"})
    with pytest.raises(OtherSetupError, match=r"replayed with speculative_config None, this is \{'method'"):
        run_file.is_kept(tmp_path, "s", FACTS | {"speculative_config": {"method": "eagle"}})

    (tmp_path / "s.steps.parquet").unlink()
    assert not run_file.is_kept(tmp_path, "s", FACTS)
    (tmp_path / "s.steps.parquet").touch()
    (tmp_path / "s.parquet").write_text("no parquet")
    with pytest.raises(OtherSetupError, match="not a run that replay has written"):
        run_file.is_kept(tmp_path, "s", FACTS)


def test_an_ordinary_worker_receives_no_kv(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(f"{HEADER}\n0,5,1\n")
    order = ["replay", f"{tmp_path}/s.csv:decode", "--model", "llama-3.1-8b", "--out", str(tmp_path), "--ordinary"]

    as_decode = CliRunner().invoke(app, order)
    with_profile = CliRunner().invoke(app, [*order, "--measure", str(tmp_path / "p.json")])

    assert (as_decode.exit_code, with_profile.exit_code) == (2, 2)
    assert as_decode.stderr.strip() == "s: has role decode, must be colocated with --ordinary"
    assert "must be without --ordinary" in with_profile.stderr
