"""Traces in scenarios: which model, which window, what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sunsim.clock import to_s
from sunsim.errors import InputError
from sunsim.report.basis import basis
from sunsim.run import check
from sunsim.scenario import build_requests, load_scenario, resolved
from sunsim.workload.requests import Requests
from sunsim.workload.streams import stream
from tests.scenario_files import TRACE, write_scenario
from tests.trace_files import write

MAPPED = "workload.models={ChatGPT: a, GPT-4: b}"


MODELS = "models: [{name: a, weight: 3}, {name: b, weight: 1}]\n"


def scenario_of(folder: Path, name: str, models: str = MODELS) -> Path:
    """A scenario, of the models a and b if not told otherwise, that replays the requests of `tests.trace_files`."""
    path = write(folder, name)
    text = TRACE.replace("format: csv, path: trace.csv", f"format: {name}, path: {path.name}")
    return write_scenario(folder, text.replace(MODELS, models))


def requests_of(folder: Path, name: str, *overrides: str) -> Requests:
    return build_requests(load_scenario(scenario_of(folder, name), overrides))


@pytest.mark.parametrize("name", ["azure", "bailian", "mooncake", "vidur", "vllm-bench"])
def test_models_are_drawn_where_a_trace_names_none(tmp_path: Path, name: str) -> None:
    requests = requests_of(tmp_path, name)
    assert to_s(requests.arrival_ps).tolist() == [0.0, 0.25, 0.25, 90.5]
    assert requests.prompt_tokens.tolist() == [374, 396, 879, 6758]
    assert requests.output_tokens.tolist() == [44, 109, 55, 500]
    assert np.array_equal(requests.model, stream(0, "model").random(4) >= 0.75)


def test_models_left_to_the_trace_are_those_that_it_names(tmp_path: Path) -> None:
    path = scenario_of(tmp_path, "burstgpt", models="")
    scenario = load_scenario(path)
    assert (scenario.model_names, scenario.model_shares) == (("ChatGPT", "GPT-4"), (0.6, 0.4))
    assert build_requests(scenario).model.tolist() == [0, 1, 0, 1]
    again = tmp_path / "resolved.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario
    assert load_scenario(scenario_of(tmp_path, "azure", models="")).model_names == ("m1",)


def test_limits_are_of_the_models_that_the_trace_names(tmp_path: Path) -> None:
    path = scenario_of(tmp_path, "burstgpt", models="")
    assert load_scenario(path, ["slo.models={GPT-4: {ttft_ms: 9}}"]).slo.models["GPT-4"].ttft_ms == 9
    with pytest.raises(InputError, match=r"slo\.models\.gpt-4 is no model of the scenario, .*GPT-4"):
        load_scenario(path, ["slo.models={gpt-4: {ttft_ms: 9}}"])


def test_models_are_left_to_nothing_but_a_trace_s_own_names(tmp_path: Path) -> None:
    path = scenario_of(tmp_path, "burstgpt", models="")
    drawn = (
        "workload={kind: synthetic, requests: 1, arrivals: {kind: constant, rate_rps: 1}, lengths: {kind: azure-code}}"
    )
    for override, why in (
        (drawn, ""),
        ("workload.models=popularity", ": workload.models says that the trace's names are not theirs"),
        (MAPPED, ": workload.models says that the trace's names are not theirs"),
    ):
        with pytest.raises(InputError) as caught:
            load_scenario(path, [override])
        assert str(caught.value) == f"{path}:1: models is missing, must be given{why}"


def test_a_trace_s_names_are_mapped(tmp_path: Path) -> None:
    assert requests_of(tmp_path, "burstgpt", MAPPED).model.tolist() == [0, 1, 0, 1]
    assert requests_of(tmp_path, "burstgpt", "workload.models={ChatGPT: b, GPT-4: b}").model.tolist() == [1, 1, 1, 1]
    assert requests_of(tmp_path, "csv", "workload.models={a: b, b: a}").model.tolist() == [1, 0, 1, 1, 0]


def test_popularity_may_take_the_place_of_a_trace_s_names(tmp_path: Path) -> None:
    drawn = requests_of(tmp_path, "burstgpt", "workload.models=popularity").model
    assert np.array_equal(drawn, stream(0, "model").random(4) >= 0.75)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            (),
            "burstgpt.csv:2: Model is 'ChatGPT', must be a model of the scenario (a, b) or mapped to one by workload.",
        ),
        (
            ("workload.models={ChatGPT: a}",),
            "burstgpt.csv:3: Model is 'GPT-4', must be one of the names in workload.mo",
        ),
    ],
)
def test_a_name_that_means_nothing_is_refused_at_its_line(
    tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        requests_of(tmp_path, "burstgpt", *overrides)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_a_mapping_needs_the_column_that_it_maps(tmp_path: Path) -> None:
    path = scenario_of(tmp_path, "burstgpt")
    write(tmp_path, "burstgpt", "Timestamp,Request tokens,Response tokens\n5,10,10\n")
    with pytest.raises(InputError, match=r"burstgpt\.csv:1: the trace has no column Model, must have one"):
        build_requests(load_scenario(path, [MAPPED]))


# (the format, what stands in the workload's line, the message)
WRONG = [
    ("burstgpt", "models: {ChatGPT: c}", "workload.models.ChatGPT is 'c', which is no model of the scenario, "),
    ("azure", "models: {x: a}", "workload.models is given, must be left out: a trace of format azure names no models"),
    ("burstgpt", "models: zipf", "workload.models: must be a mapping from names of the trace to models of the "),
    ("burstgpt", "models: [a]", "workload.models: must be a mapping from names of the trace to models of the "),
    ("burstgpt", "models: {}", "workload.models: must be a mapping from names of the trace to models of the "),
    ("burstgpt", "models: {ChatGPT: 3}", "workload.models.ChatGPT is 3, must be text"),
    ("azure", "rate_scale: 0", "workload.rate_scale is 0, must be above 0"),
    ("azure", "rate_scale: fast", "workload.rate_scale is 'fast', must be a number"),
    ("azure", "start_s: -1", "workload.start_s is -1, must be at least 0"),
    ("azure", "duration_s: 0", "workload.duration_s is 0, must be above 0"),
    ("azure", "requests: 0", "workload.requests is 0, must be at least 1"),
    ("azure", "too_long: skip", "workload.too_long is 'skip', must be one of refuse, drop"),
    (
        "azure",
        "speed: 2",
        "unknown key workload.speed, must be one of kind, format, path, models, start_s, duration_s, ",
    ),
]


@pytest.mark.parametrize(("name", "wrong", "message"), WRONG, ids=[case[1] for case in WRONG])
def test_a_wrong_key_or_value_is_refused_at_its_line(tmp_path: Path, name: str, wrong: str, message: str) -> None:
    path = scenario_of(tmp_path, name)
    text = (
        path.read_text()
        .replace("workload: {", "workload: {\n  ")
        .replace(f"{write(tmp_path, name).name}}}", f"{name}.csv,\n  {wrong}}}")
    )
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}:5: {message}")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="must be one of csv, azure, bailian, burstgpt, lmcache, mooncake, tracelab, vid"
    ):
        requests_of(tmp_path, "azure", "workload.format=sharegpt")


def test_a_trace_is_cut_then_scaled(tmp_path: Path) -> None:
    window = ("workload.start_s=0.25", "workload.duration_s=90.5", "workload.rate_scale=2")
    requests = requests_of(tmp_path, "azure", *window)
    assert to_s(requests.arrival_ps).tolist() == [0.0, 0.0, 45.125]
    assert len(requests_of(tmp_path, "azure", *window, "workload.requests=2")) == 2


def test_requests_that_fit_nowhere_are_refused_or_dropped(tmp_path: Path) -> None:
    short = "arms.sun.decode.max_model_len=934"
    with pytest.raises(InputError) as caught:
        requests_of(tmp_path, "azure", short)
    assert str(caught.value).startswith(f"{tmp_path}/azure.csv:6: the request has 7258 tokens (prompt + output), must ")
    drop = "workload.too_long=drop"
    assert requests_of(tmp_path, "azure", short, drop).prompt_tokens.tolist() == [374, 396, 879]
    said = check(scenario_of(tmp_path, "azure"), [short, drop], None)
    assert said.endswith(
        "; the trace without 2 of its 5 requests: 1 without an output token, "
        "1 of more than 934 tokens (max_model_len of arms.sun.decode)"
    )
    prefill = "arms.sun.prefill={profile: tiny.json, policy: shared, workers: 1, max_model_len: 880}"
    assert len(requests_of(tmp_path, "azure", prefill, drop)) == 3


def test_what_is_outside_the_window_need_not_fit(tmp_path: Path) -> None:
    short = ("arms.sun.decode.max_model_len=934", "workload.duration_s=60")
    assert len(requests_of(tmp_path, "azure", *short)) == 3


def test_step_times_are_those_of_the_requests_that_are_used(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_of(tmp_path, "azure"), ["workload.requests=2", "workload.rate_scale=3"])
    assert scenario.mix.prompt_tokens == (374, 396)


def test_a_resolved_trace_scenario_loads_again(tmp_path: Path) -> None:
    scenario = load_scenario(scenario_of(tmp_path, "burstgpt"), [MAPPED, "workload.duration_s=60"])
    again = tmp_path / "again.yaml"
    again.write_text(resolved(scenario))
    assert load_scenario(again) == scenario


NAMED = "models of requests as csv.csv names them, not by "


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("[{name: a, weight: 3}, {name: b, weight: 1}]", f"{NAMED}popularity as given"),
        ("[{name: a, weight: 2}, {name: b, weight: 2}]", ""),
    ],
)
def test_popularity_that_a_trace_s_names_override_is_said(tmp_path: Path, models: str, said: str) -> None:
    path = scenario_of(tmp_path, "csv")
    path.write_text(path.read_text().replace("[{name: a, weight: 3}, {name: b, weight: 1}]", models))
    assert check(path, (), None).endswith(f"; {said}" if said else "sun (1 decode)")
    scenario = load_scenario(path)
    assert [fact for fact in basis(scenario)["assumed"] if NAMED in fact] == [said] * bool(said)
    # Where they are drawn, popularity is what they are drawn by.
    drawn = load_scenario(path, ["workload.models=popularity"])
    assert not [fact for fact in basis(drawn)["assumed"] if NAMED in fact]


def test_a_zipf_popularity_that_is_not_used_is_named(tmp_path: Path) -> None:
    path = scenario_of(tmp_path, "csv")
    zipf = "models={count: 2, popularity: {kind: zipf, alpha: 1.5}}"
    said = check(path, [zipf, "workload.models={a: m1, b: m2}"], None)
    assert said.endswith(f"; {NAMED}Zipf popularity, alpha 1.5")
