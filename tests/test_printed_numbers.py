"""Every verb prints the numbers of its JSON, whole, however narrow the place and however long the names."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plots.plan import pictures
from sunsim.cli import app
from sunsim.figures.claims import GRID, Finding, findings
from sunsim.figures.claims_files import claims_report
from sunsim.figures.claims_files import to_json as claims_json
from sunsim.latency.profile import list_profiles, load_profile
from sunsim.plan.report import plan_report
from sunsim.profiles import named_profile
from sunsim.report.compare import against
from sunsim.report.format import count, number, percent, times
from sunsim.report.html import to_html
from sunsim.report.markdown import to_markdown
from sunsim.report.summary import summary_report
from sunsim.report.terminal import say
from sunsim.sweep import picture
from sunsim.validation.figures import signed_percent
from tests.figures.small import grid
from tests.plan.small import SCENARIO as PLANNED
from tests.plan.small import write_plan
from tests.printed import WIDTHS, printed_cells
from tests.sweep.small import SCENARIO as SWEPT
from tests.sweep.small import SWEEP, write_sweep
from tests.validation.campaigns import PLAN as CAMPAIGN
from tests.validation.campaigns import write_campaign
from tests.validation.runs import profile_document, stream, write_profile, write_run
from tests.validation.test_clusters import write_run as write_live

LENGTHS = (1, 9, 60)
"""Characters of names."""
LONG = 60


def names(length: int) -> tuple[str, str]:
    """Two names of so many characters."""
    return ("isolated-" * 7)[:length], ("sun-half-" * 7)[:length]


def renamed(text: str, length: int) -> str:
    """A scenario whose arms have such names, or what was made of one with names of `LONG`."""
    for old, new in zip(names(LONG), names(length), strict=True):
        text = text.replace(old, new)
    return text


def of_long_names(scenario: str) -> str:
    first, second = names(LONG)
    return scenario.replace("name: isolated", f"name: {first}").replace("name: sun", f"name: {second}")


def invoke(*arguments: object) -> str:
    """Stdout of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code in {0, 3}, result.output
    return result.stdout


@pytest.fixture(params=WIDTHS, ids=str)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """COLUMNS, set or not."""
    columns: int | None = request.param
    set_columns(columns, monkeypatch)
    return columns


def set_columns(columns: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))


@pytest.fixture(scope="module", params=LENGTHS)
def length(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


RUN = {
    "output tok/s": ("output_throughput_window", number),
    "per decode GPU tok/s": ("output_throughput_per_decode_gpu", number),
    "per GPU tok/s": ("output_throughput_per_gpu", number),
    "goodput req/s": ("request_goodput", number),
    "interactivity tok/s/user": ("median_interactivity", number),
}
LATENCY = {
    f"{key.upper()} {stat} ms": (f"{stat}_{key}_ms", number)
    for key in ("ttft", "tpot")
    for stat in ("mean", "median", "p99")
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def run_printed(run_folder: Path) -> str:
    """What `sunsim run` prints of arms with long names."""
    file = write_plan(run_folder, "", of_long_names(PLANNED))
    return invoke("run", file, "--out", run_folder / "out")


@pytest.fixture
def summary(run_folder: Path, run_printed: str, length: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(renamed((run_folder / "out" / "summary.json").read_text(), length))
    return content


def test_run(summary: dict[str, Any], width: int | None) -> None:
    cells = printed_cells(told(lambda file: say(summary_report(summary).blocks, file)))
    arms = summary["arms"]
    base = next(iter(arms.values()))
    for name, entry in arms.items():
        row = name + "*" * entry["overloaded"]
        assert cells["", row, "decode GPUs"] == str(entry["decode_gpus"])
        assert cells["", row, "all GPUs"] == str(entry["gpus"])
        assert cells["", row, "SLO met"] == percent(entry["slo_attainment"], 1)
        for header, (tag, written) in {**RUN, **LATENCY}.items():
            assert cells["", row, header] == with_ratio(tag, entry, base, written)
        for model in (summary["hot_model"], summary["coldest_model"]):
            (heading,) = {key[0] for key in cells if key[0].startswith(f"{model} (")}
            own = entry["models"][model]
            for header, (tag, written) in LATENCY.items():
                cell = cells[heading, name + "*" * own["overloaded"], header]
                assert cell == with_ratio(tag, own, base["models"][model], written)


def with_ratio(tag: str, entry: Any, base: Any, written: Callable[[float | None], str]) -> str:
    """A figure, and behind a blank what it is of the first arm's."""
    ratio = "" if entry is base else f" {times(against(tag, entry, base)):>5}"
    return f"{written(entry[tag])}{ratio}"


def told(show: Callable[[io.StringIO], None]) -> str:
    file = io.StringIO()
    show(file)
    return file.getvalue()


@pytest.mark.parametrize("length", [LONG], indirect=True)
def test_the_command_prints_that(summary: dict[str, Any], run_printed: str) -> None:
    assert printed_cells(run_printed) == printed_cells(told(lambda file: say(summary_report(summary).blocks, file)))


@pytest.fixture(scope="module")
def plan_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("plan")
    block = "plan: {seeds: 1, max_prefill_gpus: 8, max_decode_gpus: 8, sensitivity: false, price_per_gpu_hour: 2.5}\n"
    file = write_plan(folder, block, of_long_names(PLANNED))
    return invoke("plan", file, "--out", folder / "out", "--jobs", 1, "--json")


@pytest.fixture
def plan(plan_text: str, length: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(renamed(plan_text, length))
    return content


def test_plan(plan: dict[str, Any], width: int | None) -> None:
    cells = printed_cells(told(lambda file: say(plan_report(plan, "", {}).blocks, file)))
    assert any(arm["gpus"] for arm in plan["arms"].values())
    for name, arm in plan["arms"].items():
        for pool in ("prefill", "decode", "all"):
            assert cells["", name, f"{pool} GPUs"] == str((arm["gpus"] or {}).get(pool, "-"))
        if arm["gpus"]:
            assert cells["", name, "SLO met"].removesuffix("!") == percent(arm["attained"]["share"], 1)
            assert cells["", name, "per hour"] == number(arm["cost"]["per_hour"])
            assert cells["", name, "per million output tokens"] == number(arm["cost"]["per_million_output_tokens"])


def test_plan_files_show_names_as_text(plan_text: str) -> None:
    hostile = "\x1b[31m<script>|$_$\n[x](y)\u202e"
    content = json.loads(plan_text.replace(names(LONG)[0], json.dumps(hostile)[1:-1]))
    report = plan_report(content, f"name: {hostile}\n", pictures(content))
    for made in (to_markdown(report), to_html(report)):
        assert made.replace("\n", "").isprintable()
    report = plan_report(content, "name: small\n", pictures(content))
    text = to_markdown(report)
    assert "<script>" not in text
    assert r"\<script\>" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    assert "<script>" not in to_html(report)


@pytest.mark.parametrize(("length", "columns"), [(1, 60), (60, 100)], indirect=["length"])
def test_sweep(length: int, columns: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_columns(columns, monkeypatch)
    monkeypatch.setattr(picture, "draw", lambda path, *_: path.touch())
    file = write_sweep(tmp_path, SWEEP.replace("seeds: 4", "seeds: 2"), renamed(of_long_names(SWEPT), length))
    cells = printed_cells(invoke("sweep", file, "--out", tmp_path / "out", "--jobs", 1))
    first, _ = names(length)
    headers = {
        "per GPU tok/s": "output_throughput_per_gpu",
        "TPOT mean ms": "mean_tpot_ms",
        "TPOT p99 ms": "p99_tpot_ms",
    }
    for combination in json.loads((tmp_path / "out" / "summary.json").read_text())["combinations"]:
        heading = ", ".join(f"{path.rsplit('.', 1)[-1]} {value}" for path, value in combination["values"].items())
        for name, arm in combination["arms"].items():
            for header, tag in headers.items():
                own, other = arm["figures"][tag], arm["difference_to_first_arm"].get(tag)
                row = name + "*" * arm["overloaded"]
                assert cells[heading, row, header] == f"{number(own['mean'])} ±{number(own['half_width_95'])}"
                if other:
                    sign = "+" * (other["mean"] >= 0)
                    said = f"{sign}{number(other['mean'])} ±{number(other['half_width_95'])}"
                    assert cells[heading, f"- {first}", header] == said


def test_trace_describe(length: int, width: int | None, tmp_path: Path) -> None:
    a, b = names(length)
    file = tmp_path / "trace.csv"
    rows = [f"{i * 0.37},{100 + i * 1234},{7 + i},{a if i % 3 else b}" for i in range(40)]
    file.write_text("arrival_s,prompt_tokens,output_tokens,model\n" + "\n".join(rows) + "\n")
    facts = json.loads(invoke("trace", "describe", file, "--json"))
    cells = printed_cells(invoke("trace", "describe", file))
    assert cells["", "requests/s", "mean"] == number(facts["mean_rate_rps"])
    assert cells["", "requests/s", "busiest minute"] == number(facts["peak_minute_rate_rps"])
    assert cells["", "requests/s", "busiest second"] == number(facts["peak_second_rate_rps"])
    assert cells["", "coefficient of variation", "gaps"] == number(facts["gap_cv"])
    assert cells["", "index of dispersion", "per second"] == number(facts["dispersion_second"])
    for kind in ("prompt", "output"):
        assert cells["", f"{kind} tokens/s", "mean"] == number(facts[f"{kind}_tokens_per_s"])
        for statistic, tokens in facts[f"{kind}_tokens"].items():
            assert cells["", kind, statistic] == count(tokens)
    for model, requests in facts["models"].items():
        assert cells["", model, "requests"] == count(requests)
        assert cells["", model, "share"] == percent(requests / facts["requests"], 1)


FIGURES = {"mean_tpot_ms": "TPOT mean (ms)", "p99_tpot_ms": "TPOT p99 (ms)"}


@pytest.mark.parametrize(("length", "columns"), [(1, None), (9, 60), (60, 80)], indirect=["length"])
def test_validate(length: int, columns: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_columns(columns, monkeypatch)
    write_profile(tmp_path / "p.json", profile_document(engine_start="start-1"))
    paths = [
        write_run(tmp_path / f"{name}.parquet", stream(60, 10.0), profile_document(factor))
        for name, factor in zip(names(length), (1.0, 1.03), strict=True)
    ]
    options = (*paths, "--profile", tmp_path / "p.json")
    first, second = json.loads(invoke("validate", *options, "--json"))["runs"]
    cells = printed_cells(invoke("validate", *options))
    for run in (first, second):
        for tag, header in (("mean_tpot_ms", "TPOT mean"), ("p99_tpot_ms", "TPOT p99")):
            figure = run["figures"][tag]
            missed = "!" * (figure["holds"] is False)
            assert cells["", run["name"], header] == signed_percent(figure["error_percent"]).removesuffix(" %") + missed
    cells = printed_cells(invoke("validate", *options[1:]))
    for tag, label in FIGURES.items():
        figure = second["figures"][tag]
        assert cells["", label, "actual"] == number(figure["actual"])
        assert cells["", label, "simulated"] == number(figure["simulated"])
        assert cells["", label, "error"] == signed_percent(figure["error_percent"])


@pytest.mark.parametrize(("length", "columns"), [(1, 60), (60, 100)], indirect=["length"])
def test_validate_arms(length: int, columns: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_columns(columns, monkeypatch)
    _, named = names(length)
    folder = write_campaign(tmp_path / "c", CAMPAIGN.replace("shared-1:", f"{named}:"), 1.02)
    (campaign,) = json.loads(invoke("validate", folder, "--json"))["campaigns"]
    cells = printed_cells(invoke("validate", folder), keys=2)
    for arm in campaign["arms"]:
        name = arm["name"] + "*" * arm["overloaded"]
        for side in ("actual", "simulated"):
            for stat in ("mean", "median"):
                assert cells["", name, side, f"TPOT {stat}"] == number(arm[side][f"{stat}_tpot_ms"])


@pytest.mark.parametrize("columns", [None, 60, 100])
def test_validate_live_clusters(columns: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_columns(columns, monkeypatch)
    folder = tmp_path / "live"
    for arm in ("isolated", "sun"):
        write_live(folder, f"run-{arm}", 1.1, arm=arm)
    (cluster,) = json.loads(invoke("validate", folder, "--json"))["clusters"]
    cells = printed_cells(invoke("validate", folder))
    for point in cluster["points"]:
        for arm in point["arms"]:
            for side, header in (("actual", "actual"), ("simulated", "simul.")):
                row = (point["name"], arm["arm"] + "*" * arm["overloaded"])
                assert cells[*row, f"TPOT mean {header}"] == number(arm[side]["mean_tpot_ms"])
                assert cells[*row, f"SLO met {header}"] == percent(arm[side]["slo_attainment"], 1).removesuffix(" %")


def test_profiles(width: int | None) -> None:
    cells = printed_cells(invoke("profiles"))
    for name in list_profiles():
        data = named_profile(name).data
        assert cells["", name, "card"] == data.card
        assert cells["", name, "decode points"] == count(len(data.decode_points))
        assert cells["", name, "KV blocks"] == count(data.num_gpu_blocks)


def test_profiles_show(length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_columns(60, monkeypatch)
    file = tmp_path / f"{names(length)[0]}.json"
    write_profile(file)
    monkeypatch.setattr("sunsim.profiles.draw_profile", lambda *_: None)
    cells = printed_cells(invoke("profiles", "show", file, "--out", tmp_path / "x.png"))
    profile = load_profile(file)
    assert cells["", profile.name, "decode points"] == count(len(profile.data.decode_points))
    assert cells["", profile.name, "KV blocks"] == count(profile.data.num_gpu_blocks)


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    return findings(dict.fromkeys(GRID.values(), grid({"sun-2": {"output_throughput_per_decode_gpu": 2.0}})))


def test_figures(found: list[Finding], width: int | None) -> None:
    cells = printed_cells(told(lambda file: say(claims_report(found, [], grid({}).head(0), []).blocks, file)))
    for claim in json.loads(claims_json(found, [], []))["claims"]:
        header = "holds in" if claim["first_token"] == "decode" else "first token from prefill"
        assert cells["", claim["label"], header] == f"{claim['holds_in']} of {claim['settings']}"
        assert claim["verdict"] in cells["", claim["label"], "verdict"]
