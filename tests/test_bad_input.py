"""What a user does wrong, and the one line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sunsim.errors import InputError
from sunsim.scenario import build_requests, load_scenario
from tests.scenario_files import SCENARIO, TRACE, write_scenario, write_trace

HEADER = "arrival_s,prompt_tokens,output_tokens\n"
MODEL_HEADER = "arrival_s,model,prompt_tokens,output_tokens\n"

# (what the scenario says, what the user wrote instead, the line, the message)
SCENARIOS = [
    ("rate_rps: 60", "rate_rps: -5", 9, "workload.arrivals.rate_rps is -5, must be above 0"),
    (
        "rate_rps: 60",
        "rate_rps: 6e8",
        9,
        "workload.arrivals.rate_rps is 6e+08, must bring at most 100,000,000 requests, not 72,000,000,000",
    ),
    ("rate_rps: 60", "rate: 60", 9, "unknown key workload.arrivals.rate, did you mean rate_rps?"),
    (
        "first_token: decode",
        "colour: red",
        29,
        (
            "unknown key colour, must be one of name, seed, models, workload, slo, measure, stop, arms, transfer, "
            "first_token, sweep, plan"
        ),
    ),
    ("rate_rps: 60", 'rate_rps: "60"', 9, "workload.arrivals.rate_rps is '60', must be a number"),
    ("rate_rps: 60", "rate_rps: .nan", 9, "workload.arrivals.rate_rps is nan, must be a finite number"),
    ("duration_s: 120", "duration_s: .inf", 6, "workload.duration_s is inf, must be a finite number"),
    ("rate_rps: 60", "rate_rps:", 9, "workload.arrivals.rate_rps is empty, must be a number"),
    ("    rate_rps: 60\n", "", 7, "workload.arrivals.rate_rps is missing, must be given"),
    (
        "kind: poisson",
        "kind: pareto",
        8,
        "workload.arrivals.kind is 'pareto', must be one of poisson, gamma, constant, closed",
    ),
    (
        "    kind: poisson\n    rate_rps: 60",
        "    kind: closed\n    concurrency: 8",
        4,
        "workload: arrivals are closed, so requests must be given and duration_s left out: it ends with its requests",
    ),
    (
        "lengths: {kind: azure-conv}",
        "lengths: {}",
        10,
        "workload.lengths.kind is missing, must be one of fixed, lognormal, azure-conv, azure-code",
    ),
    ("lengths: {kind: azure-conv}", "lengths: long", 10, "workload.lengths is 'long', must be a mapping"),
    ("  duration_s: 120\n", "", 4, "workload: duration_s and requests are missing, one of them must be given"),
    (
        "slo: {ttft_ms: 2000, tpot_ms: 25}",
        "slo:\n  tpot_ms: 25\n  models:\n    m2: {tpot_ms: 9}\n    moon: {tpot_ms: 9}",
        15,
        "slo.models.moon is no model of the scenario, must be one of m1, m2, m3, m4",
    ),
    (
        "slo: {ttft_ms: 2000, tpot_ms: 25}",
        "slo:\n  tpot_ms: 25\n  itl_ms: 30",
        13,
        (
            "unknown key slo.itl_ms, must be tpot_ms: of a request only the first and the last token are timed, so the "
            "largest gap is not known"
        ),
    ),
    ("seed: 7", "seed: true", 2, "seed is true, must be a whole number"),
    ("seed: 7", "seed: 7.5", 2, "seed is 7.5, must be a whole number"),
    (
        "seed: 7",
        "seed: 7\nname: again",
        3,
        "key name is given twice in the mapping that starts in line 1, must be given once",
    ),
    ("seed: 7", "seed: [7", 3, "not YAML: expected ',' or ']', but got ':'"),
    ("count: 4", "count: 0", 3, "models.count is 0, must be at least 1"),
    (
        "models: {count: 4, popularity: {kind: zipf, alpha: 3.0}}",
        "models: 4",
        3,
        "models is 4, must be a mapping or a list",
    ),
    ("warmup_s: 10", "warmup_s: 120", 12, "measure.warmup_s is 120, must be less than workload.duration_s (120)"),
    (
        "profile: tiny.json, policy: isolated",
        "profile: h100-80gb/none, policy: isolated",
        16,
        (
            "arms.isolated.prefill.profile is 'h100-80gb/none', must be a .json file or one of the shipped profiles: "
            "h100-80gb/shipped"
        ),
    ),
    (
        "m4: 1",
        "m5: 1",
        16,
        "arms.isolated.prefill.workers.m5 is no model of the scenario, must be one of m1, m2, m3, m4",
    ),
    (", m4: 1", "", 16, "arms.isolated.prefill.workers lacks m4, must name every model of the scenario"),
    (
        "workers: 9",
        "workers: 3",
        20,
        "arms.isolated.decode.workers is 3, must be at least 4: policy isolated needs a worker for each model",
    ),
    ("workers: 9", "workers: many", 20, "arms.isolated.decode.workers is 'many', must be a whole number"),
    (
        "workers: 4",
        "workers: {m1: 4}",
        27,
        "arms.sun.decode.workers is a mapping, must be a number because policy is shared",
    ),
    (
        "workers: 4",
        "workers: 4\n      allocation: equal",
        28,
        "arms.sun.decode.allocation is equal, must be left out: it spreads a number of workers when policy is isolated",
    ),
    (
        "router: least-tokens",
        "router: fastest",
        26,
        (
            "arms.sun.decode.router is 'fastest', must be one of round-robin, random, least-requests, least-tokens, "
            "power-of-two-choices, least-predicted-tpot, least-harm, session-affinity, prefix-affinity"
        ),
    ),
    ("name: sun", "name: isolated", 22, "arms: the name isolated is given twice, each must have its own"),
    (
        "workers: 4",
        "workers: 4\n      max_model_len: 8192",
        10,
        (
            "workload.lengths can draw 15050 tokens (prompt + output), must be at most 8192: max_model_len of "
            "arms.sun.decode"
        ),
    ),
    (
        "workers: 4",
        "workers: 4\n      num_gpu_blocks: 941",
        10,
        (
            "workload.lengths can draw 15050 tokens (prompt + output), must be at most 15041: num_gpu_blocks of "
            "arms.sun.decode (941 blocks of 16 tokens)"
        ),
    ),
    (
        "workers: 4",
        "workers: 4\n      max_num_batched_tokens: 128",
        28,
        "arms.sun.decode.max_num_batched_tokens is 128, must be at least max_num_seqs (256), as vLLM has it",
    ),
    (
        "policy: isolated, workers: {m1: 3, m2: 1, m3: 1, m4: 1}",
        "policy: shared, workers: 6",
        16,
        (
            "arms.isolated.prefill.policy is shared, but the weights of 8 models do not fit on one GPU of {profile} "
            "(112.0 GB more than one model's, 50.3 GB are free), must be isolated or serve fewer models"
        ),
    ),
    (
        "  - name: sun\n    decode:",
        "  - name: sun\n    colocated:",
        25,
        (
            "arms.sun.colocated.policy is shared, must be isolated: only adapters share workers that prefill, {profile} "
            "has none"
        ),
    ),
    (
        "    prefill: {profile: tiny.json, policy: isolated,",
        "    colocated: {profile: tiny.json, policy: isolated,",
        15,
        "arms.isolated: colocated is given, prefill and decode must be left out: its workers do both",
    ),
]

TRACES = [
    ("", "trace.csv: the trace is empty, must have a line for each request"),
    (HEADER, "trace.csv: the trace has no request, must have at least one line after the column names"),
    (
        "arrival_s,prompt_tokens\n0,5\n",
        "trace.csv:1: column output_tokens is missing, must be there once; the columns are arrival_s, prompt_tokens",
    ),
    (HEADER + "0,5,5\nsoon,5,5\n", "trace.csv:3: arrival_s is 'soon', must be a number of seconds from 0 to 8,640,000"),
    (HEADER + "0,5,5\nnan,5,5\n", "trace.csv:3: arrival_s is 'nan', must be a number of seconds from 0 to 8,640,000"),
    (HEADER + "-1,5,5\n", "trace.csv:2: arrival_s is '-1', must be a number of seconds from 0 to 8,640,000"),
    (
        HEADER + "1,5,5\n0.5,5,5\n",
        (
            "trace.csv:3: arrival_s is 0.5 after 1 in the line before, must not fall; `sunsim trace convert FILE "
            "--out requests.csv` sorts requests and counts from the first"
        ),
    ),
    (
        HEADER + "1764424800,5,5\n",
        (
            "trace.csv:2: arrival_s is '1764424800', must be a number of seconds from 0 to 8,640,000; `sunsim trace convert "
            "FILE --out requests.csv` sorts requests and counts from the first"
        ),
    ),
    (
        HEADER + "1,5,0\n",
        "trace.csv:2: output_tokens is '0', must be a whole number of at least 1, below 1,073,741,824",
    ),
    (
        HEADER + "1,5.5,1\n",
        "trace.csv:2: prompt_tokens is '5.5', must be a whole number of at least 1, below 1,073,741,824",
    ),
    (HEADER + "1,,1\n", "trace.csv:2: prompt_tokens is '', must be a whole number of at least 1, below 1,073,741,824"),
    (HEADER + "1,5,1,9\n", "trace.csv:2: the line has 4 values, must have 3"),
    (HEADER + "1,5,1\n\n2,5,1\n", "trace.csv:3: the line has 0 values, must have 3"),
    (
        MODEL_HEADER + "1,a,5,1\n2,c,5,1\n",
        "trace.csv:3: model is 'c', must be a model of the scenario (a, b) or mapped to one by workload.models",
    ),
    (
        HEADER + "1,5,1\n2,16380,5\n",
        (
            "trace.csv:3: the request has 16385 tokens (prompt + output), must have at most 16384: max_model_len of "
            "arms.sun.decode; workload.too_long: drop leaves such requests out"
        ),
    ),
]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sunsim.scenario.checks.list_profiles", lambda: ["h100-80gb/shipped"])


@pytest.mark.parametrize(("right", "wrong", "line", "message"), SCENARIOS, ids=[case[3][:60] for case in SCENARIOS])
def test_a_wrong_scenario_is_refused_in_one_line(
    tmp_path: Path, shipped: None, right: str, wrong: str, line: int, message: str
) -> None:
    text = SCENARIO.replace(right, wrong, 1)
    assert text != SCENARIO
    if "8 models" in message:
        text = text.replace("count: 4", "count: 8")
    path = write_scenario(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value) == f"{path}:{line}: {message.replace('{profile}', str(tmp_path / 'tiny.json'))}"


@pytest.mark.parametrize(("trace", "message"), TRACES, ids=[case[1][:60] for case in TRACES])
def test_a_wrong_trace_is_refused_in_one_line(tmp_path: Path, trace: str, message: str) -> None:
    scenario = load_scenario(write_trace(tmp_path, trace))
    with pytest.raises(InputError) as caught:
        build_requests(scenario)
    assert str(caught.value) == f"{tmp_path}/{message}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.arrivals.rate_rps=-5", "--set: workload.arrivals.rate_rps is -5, must be above 0"),
        (
            "workload.arrivals.rate_rps",
            "--set: 'workload.arrivals.rate_rps' has no path or no value, must be path=value",
        ),
        ("slo.ttft=3", "--set: unknown key slo.ttft, did you mean ttft_ms?"),
        ("slo.models.m9.tpot_ms=3", "--set: slo.models.m9 is no model of the scenario, must be one of m1, m2, m3, m4"),
        (
            "slo.models.m2.worst_window_s=3",
            "--set: unknown key slo.models.m2.worst_window_s, must be one of ttft_ms, tpot_ms, e2el_ms",
        ),
        ("seed.x=3", "--set: seed.x: seed is 7, must be a mapping or a list"),
        (
            "arms.moon.decode.workers=3",
            "--set: arms.moon: no such entry, must be a number below 2 or one of isolated, sun",
        ),
        ("arms.sum.decode.workers=3", "--set: arms.sum: no such entry, did you mean sun?"),
        ("arms.2.decode.workers=3", "--set: arms.2: no such entry, must be a number below 2 or one of isolated, sun"),
        ("arms.sun.decode.workers=0", "--set: arms.sun.decode.workers is 0, must be at least 1"),
        ("slo=[", "--set: '[' is no YAML value, must be path=value with a value as it stands in a scenario file"),
    ],
)
def test_a_wrong_override_is_reported_as_the_option(tmp_path: Path, override: str, message: str) -> None:
    path = write_scenario(tmp_path)
    with pytest.raises(InputError) as caught:
        load_scenario(path, [override])
    assert str(caught.value) == message


def test_a_wrong_seed_is_reported_as_the_option(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    with pytest.raises(InputError) as caught:
        load_scenario(path, seed=-1)
    assert str(caught.value) == "--seed: seed is -1, must be at least 0"


def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path) -> None:
    folder, binary, empty, words = (tmp_path / name for name in ("folder", "binary", "empty", "words"))
    folder.mkdir()
    binary.write_bytes(b"\xff\xfe\x00")
    empty.write_text("")
    words.write_text("just words")
    expected = {
        tmp_path / "none.yaml": "there is no such file, must be a scenario file or the name of a shipped scenario: "
        "`sunsim scenarios` lists those",
        folder: "cannot be read (Is a directory), must be a scenario file",
        binary: "is not UTF-8 text, must be a scenario file",
    }
    mapping = "must be a mapping with the keys of a scenario"
    for path, message in expected.items():
        with pytest.raises(InputError) as caught:
            load_scenario(path)
        assert str(caught.value) == f"{path}: {message}"
    for path, value in ((empty, "empty"), (words, "'just words'")):
        with pytest.raises(InputError) as caught:
            load_scenario(path)
        assert str(caught.value) == f"{path}:1: the file is {value}, {mapping}"


def test_a_missing_trace_is_refused_at_its_line(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, TRACE)
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value) == (
        f"{path}:3: workload.path is 'trace.csv', must be a trace file: there is none at {tmp_path}/trace.csv"
    )


def test_a_rate_that_brings_no_request_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario(write_scenario(tmp_path), ["workload.arrivals.rate_rps=1e-9"])
    with pytest.raises(InputError) as caught:
        build_requests(scenario)
    assert str(caught.value) == (
        "scenario zipf3: workload.arrivals.rate_rps is 1e-09, must be high enough for a request within 120 seconds"
    )


def test_a_profile_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    (tmp_path / "tiny.json").write_text("{}")
    with pytest.raises(InputError, match="not a profile") as caught:
        load_scenario(path)
    assert caught.value.file == tmp_path / "tiny.json"


def test_prefill_and_decode_of_different_models_are_refused(tmp_path: Path) -> None:
    path = write_scenario(tmp_path)
    other = (tmp_path / "tiny.json").read_text().replace("test-8b", "other-8b")
    (tmp_path / "other.json").write_text(other)
    with pytest.raises(InputError, match=r"decode\.profile is a profile of other-8b, must be one of test-8b"):
        load_scenario(path, ["arms.isolated.decode.profile=other.json"])


def test_where_every_entry_of_a_list_is_wrong_the_entry_is_named(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, TRACE)
    (tmp_path / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,10\n")
    text = path.read_text()
    assert text.count("  - name: ") == 1
    path.write_text(text.replace("workers: ", "workers: -"))
    with pytest.raises(InputError, match=r"decode\.workers is -\d+, must be at least 1"):
        load_scenario(path)


@pytest.mark.parametrize("name", ["../out", ".", "a/b", "/abs", "x" * 101])
def test_a_name_that_would_leave_the_results_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="must be a name of 1 to 100 characters"):
        load_scenario(write_scenario(tmp_path), [f"name={name}"])
