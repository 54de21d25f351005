"""A result of `vllm bench serve` beside its simulation: what is there is found, what cannot be compared is refused."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs.blocks import DOCS, block
from docs.refresh import server
from sunsim.errors import InputError
from sunsim.latency.model import LatencyModel
from sunsim.latency.profile import load_named, load_profile
from sunsim.validation.bench_run import ServerOptions, read_bench
from sunsim.validation.replay import replay
from tests.validation.bench_results import bench_result, served_result, write_result
from tests.validation.runs import invoke, profile_document, stream, write_profile, write_run

ONE = ([0.0], [100], [4], [0.05], [[0.01, 0.01, 0.01]])
"""One request, as the arguments of `bench_result`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the synthetic profile."""
    path = tmp_path_factory.mktemp("server")
    write_profile(path / "p.json", profile_document())
    return path


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """What a server that is as the profile says did."""
    return served_result(folder / "p.json")


def validated(folder: Path, result: dict[str, Any], *options: str, code: int = 0) -> tuple[str, dict[str, Any]]:
    """What the verb prints, and its figures."""
    path = write_result(folder / "result.json", result)
    shown, stdout, stderr = invoke(path, "--profile", folder / "p.json", *options)
    assert (shown, stderr) == (code, "")
    content = json.loads(invoke(path, "--profile", folder / "p.json", *options, "--json")[1])
    (run,) = content["runs"]
    return stdout, run["figures"]


def test_a_server_as_the_profile_says_is_not_off_at_all(folder: Path, result: dict[str, Any]) -> None:
    said, figures = validated(folder, result)
    assert said.startswith(f"Your server (result) against profile {folder}/p.json: TPOT the same (")
    assert re.search(r"TPOT the same \(.*\), TTFT the same \(.*\), output the same \(.*\)\.\n", said)
    # The gaps within a request are even here, so that those of all requests agree in the mean alone.
    apart = {"median_itl_ms", "p99_itl_ms"}
    for tag in figures.keys() - apart:
        assert figures[tag]["error_percent"] == pytest.approx(0, abs=1e-5), tag
    named = {f"{stat}_{key}_ms" for key in ("ttft", "tpot", "itl", "e2el") for stat in ("mean", "median", "p99")}
    assert figures.keys() == named | {"p90_tpot_ms", "output_throughput", "mean_batch"}


def test_a_server_that_is_slower_is_said_to_be_so(folder: Path) -> None:
    said, figures = validated(folder, served_result(folder / "p.json", slower=1.1), code=3)
    assert "TPOT 10.0 % slower (" in said.splitlines()[0]
    assert "TTFT the same (" in said.splitlines()[0]
    assert figures["mean_tpot_ms"]["error_percent"] == pytest.approx((1 / 1.1 - 1) * 100)
    assert "TPOT is longer than by the profile: another card" in said
    said, _ = validated(folder, served_result(folder / "p.json", slower=0.9), code=3)
    assert "TPOT 10.0 % faster (" in said.splitlines()[0]
    assert "TPOT is shorter than by the profile: another card" in said


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.3, "TTFT is longer than by the profile and TPOT is not"),
        (0.5, "TTFT is shorter than by the profile: prefix caching"),
    ],
)
def test_late_and_early_first_tokens_have_reasons_of_their_own(
    folder: Path, result: dict[str, Any], factor: float, said: str
) -> None:
    assert said not in validated(folder, result)[0]
    assert said in validated(folder, result | {"ttfts": [factor * s for s in result["ttfts"]]}, code=3)[0]


def test_the_server_s_options_count(folder: Path) -> None:
    result = served_result(folder / "p.json", {"max_num_seqs": 6, "num_gpu_blocks": 700})
    assert validated(folder, result, code=3)[1]["mean_ttft_ms"]["error_percent"] < -20
    said, figures = validated(folder, result, "--max-num-seqs", "6", "--num-gpu-blocks", "700")
    assert figures["mean_ttft_ms"]["error_percent"] == pytest.approx(0, abs=1e-5)
    taken = "--max-num-seqs 6 --max-num-batched-tokens 8192 --max-model-len 16384 --num-gpu-blocks 700, without prefix"
    assert f"taken for llama-3.1-8b bf16 on Test GPU with {taken} caching" in said


def test_requests_that_failed_are_left_out_and_counted(folder: Path) -> None:
    failed = bench_result([0.0, 9.0], [100, 100], [0, 4], [0.0, 0.05], [[], [0.01, 0.01, 0.01]])
    said, figures = validated(folder, failed, "--tolerance", "none")
    assert "1 request of 2 failed: left out" in said
    assert figures["mean_ttft_ms"]["actual"] == pytest.approx(50)
    assert figures["output_throughput"]["actual"] == pytest.approx(4 / 0.08)


def test_what_the_file_tells_of_its_server_is_said(folder: Path) -> None:
    together = bench_result([0.0], [100], [7], [0.05], [[0.01, 0.01]])
    said, figures = validated(folder, together, "--tolerance", "none")
    assert "57.1 % of the output tokens came in a chunk with others" in said
    assert figures["mean_itl_ms"]["actual"] == pytest.approx(10)
    assert figures["mean_tpot_ms"]["actual"] == pytest.approx(20 / 6)
    drafts = bench_result(*ONE, spec_decode_acceptance_rate=60.0)
    assert "The server decoded speculatively" in validated(folder, drafts, "--tolerance", "none")[0]


def test_gaps_are_those_of_the_steps(folder: Path) -> None:
    """A request alone has a step of one decode for each token after the first."""
    profile = load_profile(folder / "p.json")
    model = LatencyModel(profile)
    path = write_result(folder / "alone.json", bench_result(*ONE))
    gaps_ms = replay(read_bench(path, profile, ServerOptions()), model).itl_ms
    assert gaps_ms is not None
    contexts = [model.decode_step_ms(1, tokens) for tokens in (101, 102, 103)]
    assert gaps_ms.tolist() == pytest.approx(contexts, abs=1e-6)


@pytest.mark.parametrize("name", [None, "h100-80gb/llama-3.1-8b-bf16"], ids=["made up", "with launches and stalls"])
def test_noting_every_step_changes_nothing_and_misses_no_token(
    folder: Path, result: dict[str, Any], name: str | None
) -> None:
    profile = load_named(name or f"{folder}/p.json")
    run = read_bench(write_result(folder / "steps.json", result), profile, ServerOptions())
    seen = replay(run, LatencyModel(profile))
    inside = replay(replace(run, client=None), LatencyModel(profile)).served
    assert seen.served.client_first_token_s.tolist() == inside.client_first_token_s.tolist()
    assert seen.served.client_last_token_s.tolist() == inside.client_last_token_s.tolist()
    assert seen.itl_ms is not None
    assert len(seen.itl_ms) == (inside.output_tokens - 1).sum()
    took_s = (inside.client_last_token_s - inside.client_first_token_s).sum()
    assert seen.itl_ms.sum() / 1000 == pytest.approx(took_s)


def test_the_example_is_current() -> None:
    shown = block((DOCS / "your-server.md").read_text(encoding="utf-8"), "server")
    assert shown.splitlines() == [line.rstrip() for line in server()["server"].splitlines()]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ttfts": None}, "ttfts is null, must be a list with an entry for each request"),
    ({"itls": [0.1]}, "itls has something else for request 1, must be a list of seconds from 0"),
    ({"itls": [[0.1, "x"]]}, "itls has something else for request 1"),
    (
        {"itls": [[], []]},
        "(start_times 1, input_lens 1, output_lens 1, ttfts 1, itls 2), must have one for each request",
    ),
    ({"ttfts": [-1.0]}, "ttfts has -1.0 for request 1, must be a number from 0"),
    ({"ttfts": [0.0]}, "ttfts has 0 for request 1, which got tokens: must be from a backend that streams"),
    ({"output_lens": [0]}, "none of 1 request got an output token, must be at least one"),
    ({"input_lens": [0]}, "none of 1 request got an output token"),
    (
        {"input_lens": [16_381]},
        "request 1 has 16,385 tokens (prompt + output), must have at most 16,384, or the server's",
    ),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=[said[:30] for _, said in REFUSED])
def test_what_cannot_be_compared_is_refused_in_a_line(folder: Path, changes: dict[str, Any], said: str) -> None:
    path = write_result(folder / "wrong.json", bench_result(*ONE) | changes)
    code, stdout, stderr = invoke(path, "--profile", folder / "p.json")
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"{path}: ")
    assert said in stderr
    assert stderr.count("\n") == 1


def test_a_result_needs_details_a_profile_and_a_file(folder: Path) -> None:
    path = write_result(folder / "bare.json", {"num_prompts": 3, "request_rate": "inf"})
    code, _, stderr = invoke(path, "--profile", folder / "p.json")
    assert (code, "must be there: write the result with vllm bench serve --save-result --save-detailed" in stderr) == (
        2,
        True,
    )
    code, _, stderr = invoke(path)
    assert code == 2
    assert (
        "is a server's result, which does not tell its card: --profile must be given, a .json file or one of:" in stderr
    )
    code, _, stderr = invoke(folder / "none.json", "--profile", folder / "p.json")
    assert (code, "none.json: cannot be read (No such file or directory), must be" in stderr) == (2, True)


def test_options_that_no_server_takes_are_refused(folder: Path) -> None:
    path = write_result(folder / "one.json", bench_result(*ONE))
    code, _, stderr = invoke(path, "--profile", folder / "p.json", "--max-num-batched-tokens", "255")
    assert code == 2
    assert stderr == "--max-num-batched-tokens: is 255, must be at least --max-num-seqs (256)\n"
    assert invoke(path, "--profile", folder / "p.json", "--num-gpu-blocks", "1")[0] == 2
    code, _, stderr = invoke(path, "--profile", folder / "p.json", "--num-gpu-blocks", "5")
    assert (code, "never fits into the run's 5 KV blocks" in stderr) == (2, True)


def test_options_of_a_server_are_refused_where_there_is_none(folder: Path) -> None:
    run = write_run(folder / "run.parquet", stream(20, 5.0))
    code, _, stderr = invoke(run, "--profile", folder / "p.json", "--max-num-seqs", "8")
    assert (code, stderr.startswith("--max-num-seqs: is given, must be left out where there is no result")) == (2, True)


TIMES = st.floats(0, 60)
REQUESTS = st.tuples(
    TIMES, st.integers(0, 3000), st.integers(0, 300), st.floats(1e-3, 5), st.lists(st.floats(0, 1), max_size=6)
)


@settings(max_examples=60, deadline=None)
@given(requests=st.lists(REQUESTS, min_size=1, max_size=12), cut=st.integers(-1, 4))
def test_any_lists_are_read_whole_or_refused(
    folder: Path, requests: list[tuple[float, int, int, float, list[float]]], cut: int
) -> None:
    columns: list[list[Any]] = [list(column) for column in zip(*requests, strict=True)]
    if cut >= 0:
        columns[cut].pop()
    answered = [request for request in requests if request[1] and request[2]]
    with tempfile.TemporaryDirectory() as place:
        path = write_result(Path(place) / "any.json", bench_result([], [], [], [], []) | _lists(columns))
        if cut >= 0 or not answered:
            with pytest.raises(InputError, match="must"):
                read_bench(path, load_profile(folder / "p.json"), ServerOptions())
            return
        run = read_bench(path, load_profile(folder / "p.json"), ServerOptions())
    assert run.client
    assert run.client.failed == len(requests) - len(answered)
    assert len(run.client.itl_ms) == sum(len(request[4]) for request in answered)
    served = run.served
    assert (np.diff(served.submit_s) >= 0).all()
    assert served.submit_s[0] == 0
    assert sorted(served.ttft_ms) == pytest.approx(sorted(request[3] * 1000 for request in answered), abs=1e-6)
    e2el_s = [ttft_s + (sum(gaps) if tokens > 1 else 0) for _, _, tokens, ttft_s, gaps in answered]
    assert sorted(served.e2el_ms / 1000) == pytest.approx(sorted(e2el_s), abs=1e-8)
    assert sorted(served.output_tokens) == sorted(request[2] for request in answered)


def _lists(columns: list[list[Any]]) -> dict[str, list[Any]]:
    return dict(zip(("start_times", "input_lens", "output_lens", "ttfts", "itls"), columns, strict=True))
